"""Files as larcv3 writes them, by h5py alone: tracks of charge in a volume, and the kind of each voxel."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

EXTENT = np.dtype({"names": ["first", "N"], "formats": ["<u8", "<u4"], "offsets": [0, 8], "itemsize": 16})
IMAGE = np.dtype([("first", "<u8"), ("N", "<u4"), ("ID", "<u4")])
VOXEL = np.dtype({"names": ["id", "value"], "formats": ["<u8", "<f4"], "offsets": [0, 8], "itemsize": 16})


def make_tracks(n_voxels: int, size: int, *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Flat numbers of at least so many voxels of ``size``³ that particles cross, rising, and their kinds, 0 to 2.

    Particles go straight on but for scattering; those of kind 1 are short and wide, as showers are.
    """
    random = np.random.default_rng(seed)
    found: dict[int, int] = {}
    while len(found) < n_voxels:
        kind = int(random.integers(0, 3))
        steps = 4 * size if kind != 1 else size // 2
        direction = np.cumsum(random.normal(0, 0.02 if kind != 1 else 0.1, (steps, 3)), axis=0) + random.normal(0, 1, 3)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        path = random.uniform(0, size, 3) + np.cumsum(0.7 * direction, axis=0)
        path = np.concatenate([path + random.normal(0, 0.6 if kind != 1 else 2.5, (steps, 3)) for _ in range(3)])
        inside = path[((path >= 0) & (path < size)).all(axis=1)].astype(np.int64)
        found |= dict.fromkeys(np.ravel_multi_index(tuple(inside.T), (size,) * 3).tolist(), kind)
    index = np.array(sorted(found))
    return index, np.array([found[number] for number in index.tolist()])


def write_larcv(
    path: Path, images: list[tuple[NDArray[np.int64], NDArray[np.int64]]], shape: tuple[int, ...], *, seed: int = 1
) -> Path:
    """Images of one volume an event, each a list of voxels' numbers and kinds; charges are made up."""
    random = np.random.default_rng(seed)
    counts = np.array([len(index) for index, _ in images])
    kind = f"sparse{len(shape)}d"
    meta = [("number_of_voxels", "<u8", (len(shape),))]
    charges = [random.exponential(20.0, count) + 1 for count in counts]
    with h5py.File(path, "w") as file:
        for producer, values in (("voxels", charges), ("segment", [labels for _, labels in images])):
            group = file.create_group(f"Data/{kind}_{producer}_group")
            extents, places = np.zeros(len(images), EXTENT), np.zeros(len(images), IMAGE)
            extents["first"], extents["N"] = np.arange(len(images)), 1
            places["first"], places["N"] = np.cumsum(counts) - counts, counts
            voxels = np.zeros(int(counts.sum()), VOXEL)
            voxels["id"], voxels["value"] = np.concatenate([index for index, _ in images]), np.concatenate(values)
            group["extents"], group["voxel_extents"], group["voxels"] = extents, places, voxels
            group["image_meta"] = np.array([(shape,)] * len(images), meta)
        event = np.zeros(len(images), [("run", "<i8"), ("subrun", "<i8"), ("event", "<i8")])
        event["event"] = np.arange(len(images))
        file["Events/event_id"] = event
    return path
