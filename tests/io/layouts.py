"""Files as pandas and the CaloChallenge write them, made with h5py alone."""

import pickle
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

BLOSC: dict[str, Any] = dict(hdf5plugin.Blosc(cname="blosclz", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE))
TOPTAG_NAMES = [f"{name}_{number}" for number in range(200) for name in ("E", "PX", "PY", "PZ")] + [
    f"truth{name}" for name in ("E", "PX", "PY", "PZ")
]


def make_toptag(n_jets: int, *, seed: int = 1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Values (n, 804) and labels (n, 2: ttv, is_signal_new) as the top-tagging reference dataset has them."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 80, n_jets)
    pt = np.sort(rng.exponential(10.0, (n_jets, 200)), axis=1)[:, ::-1] * (np.arange(200) < counts[:, None])
    eta = rng.normal(0, 0.5, (n_jets, 1)) + rng.normal(0, 0.3, (n_jets, 200))
    phi = rng.uniform(-np.pi, np.pi, (n_jets, 1)) + rng.normal(0, 0.3, (n_jets, 200))
    momenta = np.stack([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=2)
    values = np.concatenate([momenta.reshape(n_jets, 800), rng.normal(100, 10, (n_jets, 4))], axis=1)
    labels = np.stack([np.zeros(n_jets, np.int64), rng.integers(0, 2, n_jets)], axis=1)
    return values.astype(np.float32), labels


def write_pandas_table(path: Path, key: str, blocks: dict[str, tuple[list[Any], NDArray[Any]]], **options: Any) -> Path:
    """What ``DataFrame.to_hdf(path, key=key, format="table")`` writes: one compound dataset, names pickled beside it.

    ``blocks`` are ``values_block_0`` and so on, each with its columns' names.
    """
    n_rows = len(next(iter(blocks.values()))[1])
    kinds = [("index", "<i8"), *((name, values.dtype.str, values.shape[1:]) for name, (_, values) in blocks.items())]
    rows = np.zeros(n_rows, dtype=kinds)
    rows["index"] = np.arange(n_rows)
    with h5py.File(path, "w") as file:
        group = file.create_group(key)
        group.attrs["pandas_type"] = np.bytes_(b"frame_table")
        group.attrs["table_type"] = np.bytes_(b"appendable_frame")
        for name, (_, values) in blocks.items():
            rows[name] = values
        table = group.create_dataset("table", data=rows, chunks=(min(40, max(n_rows, 1)),), maxshape=(None,), **options)
        table.attrs["index_kind"] = np.bytes_(b"integer")
        for name, (names, values) in blocks.items():
            table.attrs[f"{name}_kind"] = np.bytes_(pickle.dumps(names, protocol=0))
            table.attrs[f"{name}_dtype"] = np.bytes_(values.dtype.name.encode())
    return path


def write_pandas_fixed(path: Path, key: str, blocks: list[tuple[list[Any], NDArray[Any]]], **options: Any) -> Path:
    """What ``DataFrame.to_hdf(path, key=key)`` writes: a dataset of names and one of values for each block."""
    with h5py.File(path, "w") as file:
        group = file.create_group(key)
        group.attrs["pandas_type"] = np.bytes_(b"frame")
        group.attrs["ndim"], group.attrs["nblocks"] = 2, len(blocks)
        group.create_dataset("axis1", data=np.arange(len(blocks[0][1])))
        for number, (names, values) in enumerate(blocks):
            stored = np.asarray(names) if isinstance(names[0], int) else np.asarray(names, dtype=np.bytes_)
            group.create_dataset(f"block{number}_items", data=stored)
            chunks = (max(min(20, len(values)), 1), values.shape[1])
            group.create_dataset(f"block{number}_values", data=values, chunks=chunks, **options)
    return path


def write_toptag(path: Path, n_jets: int, *, layout: str = "table", seed: int = 1) -> Path:
    """The top-tagging reference dataset in either of pandas' layouts, compressed with Blosc."""
    values, labels = make_toptag(n_jets, seed=seed)
    names = ["ttv", "is_signal_new"]
    if layout == "fixed":
        return write_pandas_fixed(path, "table", [(TOPTAG_NAMES, values), (names, labels)], **BLOSC)
    blocks: dict[str, tuple[list[Any], NDArray[Any]]] = {
        "values_block_0": (TOPTAG_NAMES, values),
        "values_block_1": (names, labels),
    }
    return write_pandas_table(path, "table", blocks, **BLOSC)


def write_showers(path: Path, n_showers: int, n_voxels: int, *, seed: int = 1, dtype: Any = np.float64) -> Path:
    """A CaloChallenge file: ``showers`` and ``incident_energies`` in MeV, gzipped."""
    rng = np.random.default_rng(seed)
    energies = 256.0 * 2.0 ** rng.integers(0, 15, (n_showers, 1))
    shares = rng.exponential(1.0, (n_showers, n_voxels)) * (rng.random((n_showers, n_voxels)) < 0.2)
    showers = 0.9 * energies * shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-9)
    with h5py.File(path, "w") as file:
        file.create_dataset("incident_energies", data=energies.astype(dtype), compression="gzip")
        file.create_dataset("showers", data=showers.astype(dtype), compression="gzip")
    return path
