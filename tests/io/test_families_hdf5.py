"""HDF5 and npz families against the file read by hand, jet by jet."""

import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import vector
import yaml

from hepcnn.errors import InputError, SchemaError
from hepcnn.images.grids import CylinderGrid, grid_from_record
from hepcnn.io.batch import JetBatch
from hepcnn.io.inspect import inspect_file
from hepcnn.io.native import native_grid
from hepcnn.io.plan import list_labels, name_label_values
from hepcnn.io.reader import iterate_jets, plan_jets
from tests.io.layouts import (
    BLOSC,
    TOPTAG_NAMES,
    make_toptag,
    write_pandas_fixed,
    write_pandas_table,
    write_showers,
    write_toptag,
)


def read_whole(path: Path, schema: str, **options: Any) -> JetBatch:
    """All jets of a file as one batch."""
    (batch,) = iterate_jets(path, schema, **options)
    return batch


@pytest.mark.parametrize("layout", ["table", "fixed"])
@pytest.mark.parametrize("step", [7, 20_000])
def test_toptag_by_hand(tmp_path: Path, layout: str, step: int) -> None:
    path = write_toptag(tmp_path / "a.h5", 60, layout=layout)
    with h5py.File(path) as file:
        stored = file["table/table"]["values_block_0"] if layout == "table" else file["table/block0_values"][:]
    _, labels = make_toptag(60)
    entry = 0
    for batch in iterate_jets(path, "toptag", step=step):
        for at in range(len(batch)):
            slots = stored[entry, :800].astype(float).reshape(200, 4)
            mine = [vector.obj(E=e, px=x, py=y, pz=z) for e, x, y, z in slots if e > 0]
            found = batch.constituents[at]
            for name in ("pt", "eta", "phi", "energy"):
                expected = [getattr(v, "E" if name == "energy" else name) for v in mine]
                assert found[name].tolist() == pytest.approx(expected, rel=1e-6)
            jet = sum(mine[1:], start=mine[0])
            assert (batch.pt[at], batch.eta[at], batch.phi[at]) == pytest.approx((jet.pt, jet.eta, jet.phi))
            assert batch.mass[at] == pytest.approx(jet.mass, rel=1e-4, abs=1e-3)
            assert batch.labels["is_signal"][at] == labels[entry, 1]
            assert (batch.entry[at], batch.jet[at]) == (entry, 0)
            entry += 1
    assert entry == 60
    assert name_label_values("toptag", "is_signal") == {0: "qcd", 1: "top"}


@pytest.mark.skipif(importlib.util.find_spec("tables") is None, reason="PyTables is not installed")
@pytest.mark.parametrize("layout", ["table", "fixed"])
def test_what_pandas_itself_writes_reads_the_same(tmp_path: Path, layout: str) -> None:
    values, labels = make_toptag(30)
    np.savez(tmp_path / "a.npz", values=values, labels=labels)
    # In a process of its own: PyTables brings its own HDF5 library.
    code = (
        "import sys, numpy as np, pandas as pd; a = np.load(sys.argv[1]); names = sys.argv[4].split(',')\n"
        "d = pd.DataFrame(a['values'], columns=names)\n"
        "d['ttv'], d['is_signal_new'] = a['labels'][:, 0], a['labels'][:, 1]\n"
        "d.to_hdf(sys.argv[2], key='table', mode='w', format=sys.argv[3], complib='blosc', complevel=5)"
    )
    arguments = [str(tmp_path / "a.npz"), str(tmp_path / "pandas.h5"), layout, ",".join(TOPTAG_NAMES)]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    ours = read_whole(write_toptag(tmp_path / "ours.h5", 30, layout=layout), "toptag")
    theirs = read_whole(tmp_path / "pandas.h5", "toptag")
    assert np.array_equal(ours.flat.offsets, theirs.flat.offsets)
    assert np.array_equal(ours.event_id, theirs.event_id)
    assert np.array_equal(ours.labels["is_signal"], theirs.labels["is_signal"])


def test_ranges_cover_a_file_once_and_change_nothing(tmp_path: Path) -> None:
    path = write_toptag(tmp_path / "a.h5", 210)
    ranges = plan_jets(path, "toptag", target=100)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 210
    assert all(before[1] == after[0] for before, after in itertools.pairwise(ranges))
    assert len(ranges) > 2
    parts = [
        batch for start, stop in ranges for batch in iterate_jets(path, "toptag", entry_start=start, entry_stop=stop)
    ]
    whole = read_whole(path, "toptag")
    assert np.array_equal(np.concatenate([part.event_id for part in parts]), whole.event_id)
    assert np.array_equal(np.concatenate([part.flat.fields["eta"] for part in parts]), whole.flat.fields["eta"])


def test_the_order_of_columns_does_not_matter(tmp_path: Path) -> None:
    values, labels = make_toptag(20)
    order = np.random.default_rng(5).permutation(len(TOPTAG_NAMES))
    blocks: dict[str, tuple[list[Any], Any]] = {
        "values_block_0": (["is_signal_new", "ttv"], labels[:, ::-1]),
        "values_block_1": ([TOPTAG_NAMES[at] for at in order], values[:, order]),
    }
    shuffled = read_whole(write_pandas_table(tmp_path / "a.h5", "table", blocks), "toptag")
    straight = read_whole(write_toptag(tmp_path / "b.h5", 20), "toptag")
    assert np.array_equal(shuffled.flat.fields["pt"], straight.flat.fields["pt"])
    assert np.array_equal(shuffled.labels["is_signal"], straight.labels["is_signal"])


def test_a_numbered_column_that_is_missing_is_no_shift(tmp_path: Path) -> None:
    values, _ = make_toptag(10)
    keep = [at for at, name in enumerate(TOPTAG_NAMES) if name != "PX_3"]
    blocks: dict[str, tuple[list[Any], Any]] = {"values_block_0": ([TOPTAG_NAMES[at] for at in keep], values[:, keep])}
    path = write_pandas_table(tmp_path / "a.h5", "table", blocks)
    with pytest.raises(SchemaError, match=r"no column 'PX_\*'"):
        list(iterate_jets(path, "toptag"))
    nearest = inspect_file(path).nearest
    assert nearest is not None
    assert (nearest.schema, nearest.missing) == ("toptag", ["PX_*"])


SIZES = {"photons": 368, "pions": 533, "dataset2": 6480, "dataset3": 40500}


@pytest.mark.parametrize(("collection", "dtype"), [(name, np.float64) for name in SIZES] + [("pions", np.float32)])
def test_calochallenge_by_hand(tmp_path: Path, collection: str, dtype: Any) -> None:
    path = write_showers(tmp_path / "a.hdf5", 12, SIZES[collection], dtype=dtype)
    found = inspect_file(path)
    name = "calochallenge" if collection == "photons" else f"calochallenge:{collection}"
    assert found.schema == name
    batch = read_whole(path, name)
    with h5py.File(path) as file:
        showers, incident = file["showers"][:], file["incident_energies"][:, 0]
    assert np.array_equal(batch.extra["incident_energy"], incident.astype(float) * 1e-3)
    for at in range(12):
        first, last = batch.flat.offsets[at : at + 2]
        filled = np.flatnonzero(showers[at])
        assert np.array_equal(batch.flat.fields["cell"][first:last], filled)
        assert np.array_equal(batch.flat.fields["energy"][first:last], showers[at][filled].astype(float) * 1e-3)
        assert batch.pt[at] == pytest.approx(showers[at].astype(float).sum() * 1e-3)
    assert batch.usable.all()


@pytest.mark.parametrize("collection", list(SIZES))
def test_calochallenge_grids_have_the_voxels_of_the_challenge(tmp_path: Path, collection: str) -> None:
    record = native_grid(tmp_path / "unused.h5", f"calochallenge:{collection}")
    assert record is not None
    grid = grid_from_record(record)
    assert isinstance(grid, CylinderGrid)
    assert len(set(grid.pixel_of_cell.tolist())) == SIZES[collection]
    layers = [((len(layer["r_edges"]) - 1), layer["n_alpha"]) for layer in record["layers"]]
    expected = {
        "photons": [(8, 1), (16, 10), (19, 10), (5, 1), (5, 1)],
        "pions": [(8, 1), (10, 10), (10, 10), (5, 1), (15, 10), (16, 10), (10, 1)],
        "dataset2": [(9, 16)] * 45,
        "dataset3": [(18, 50)] * 45,
    }
    assert layers == expected[collection]


def test_showers_of_another_size_need_their_binning(tmp_path: Path) -> None:
    path = write_showers(tmp_path / "a.hdf5", 3, 100)
    found = inspect_file(path)
    assert found.schema == "calochallenge:binned"
    assert "which a binning file describes" in found.fits[0].title
    with pytest.raises(InputError, match=r"'showers' has 100 cells an entry, expected 368"):
        list(iterate_jets(path, "calochallenge"))


@pytest.mark.parametrize("kind", ["bbbb", "ttbar", "zbb"])
def test_real_images_by_hand(shared_data: Path, kind: str) -> None:
    path = shared_data / "jetimg_npz" / f"{kind}_3500events_fixedr.npz"
    images = np.load(path)["arr_0"]
    assert inspect_file(path).schema == "images"
    assert native_grid(path, "images") == {"kind": "given", "shape": [24, 24]}
    n_jets = 0
    for batch in iterate_jets(path, "images", step=1000):
        for at in range(len(batch)):
            first, last = batch.flat.offsets[at : at + 2]
            dense = np.zeros(24 * 24)
            dense[batch.flat.fields["cell"][first:last].astype(int)] = batch.flat.fields["pt"][first:last]
            assert np.array_equal(dense.reshape(24, 24), images[n_jets])
            n_jets += 1
    assert n_jets == len(images) == 3499


IMAGES = np.random.default_rng(3).exponential(1.0, (50, 6, 5)) * (np.random.default_rng(4).random((50, 6, 5)) < 0.5)
LABELS = np.arange(50) % 3


def write_images(path: Path, key: str, images: Any, **others: Any) -> Path:
    if path.suffix == ".npz":
        np.savez_compressed(path, **{key: images}, **others)
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset(key, data=images)
            for name, values in others.items():
                file.create_dataset(name, data=values)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize("key", ["arr_0", "images", "image", "X"])
def test_ready_images(tmp_path: Path, suffix: str, key: str) -> None:
    path = write_images(tmp_path / f"a{suffix}", key, IMAGES, label=LABELS, note=np.zeros(4))
    assert inspect_file(path).schema == "images"
    assert native_grid(path, "images") == {"kind": "given", "shape": [6, 5]}
    parts = list(iterate_jets(path, "images", step=16))
    total = np.concatenate([part.pt for part in parts])
    assert total == pytest.approx(IMAGES.sum(axis=(1, 2)))
    assert np.array_equal(np.concatenate([part.labels["label"] for part in parts]), LABELS)
    again = [
        batch.pt
        for start in (30, 10)
        for batch in iterate_jets(path, "images", entry_start=start, entry_stop=start + 5)
    ]
    assert np.array_equal(np.concatenate(again), np.concatenate([total[30:35], total[10:15]]))


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize(
    "images",
    [
        IMAGES.astype(">f4"),
        np.asfortranarray(IMAGES),
        IMAGES[..., None],
        IMAGES[:, None],
        (IMAGES > 0).astype(np.uint8),
    ],
    ids=["big-endian", "fortran", "channels-last", "channels-first", "bytes"],
)
def test_images_however_they_are_stored(tmp_path: Path, suffix: str, images: Any) -> None:
    path = write_images(tmp_path / f"a{suffix}", "images", images)
    batch = read_whole(path, "images")
    assert native_grid(path, "images") == {"kind": "given", "shape": [6, 5]}
    dense = np.zeros((50, 30))
    dense[batch.flat.jet, batch.flat.fields["cell"].astype(int)] = batch.flat.fields["pt"]
    assert np.array_equal(dense.reshape(50, 6, 5), images.reshape(50, 6, 5).astype(float))


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_images_with_depth(tmp_path: Path, suffix: str) -> None:
    path = write_images(tmp_path / f"a{suffix}", "images", np.ones((4, 3, 6, 5)))
    assert native_grid(path, "images") == {"kind": "given", "shape": [3, 6, 5]}
    assert read_whole(path, "images").flat.counts.tolist() == [90] * 4


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize("shape", [(10,), (10, 7), (4, 2, 3, 4, 5)])
def test_what_is_no_image_is_refused(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    path = write_images(tmp_path / f"a{suffix}", "images", np.ones(shape))
    found = inspect_file(path)
    assert found.schema is None
    assert found.nearest is not None
    assert "(N, H, W)" in found.nearest.missing[0]
    with pytest.raises(InputError, match=r"expected images \(N, H, W\)"):
        list(iterate_jets(path, "images"))


def test_one_hot_labels_of_images(tmp_path: Path) -> None:
    path = write_images(tmp_path / "a.npz", "X", IMAGES, y=np.eye(3)[LABELS])
    assert np.array_equal(read_whole(path, "images").labels["label"], LABELS)
    mixed = np.eye(3)[LABELS]
    mixed[7] = 0.0
    path = write_images(tmp_path / "b.npz", "X", IMAGES, y=mixed)
    assert read_whole(path, "images").labels["label"][7] == -1


def test_another_experiments_columns(tmp_path: Path) -> None:
    """A family of one's own in plain HDF5: compound datasets, lists of varying lengths, MeV."""
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 6, 30)
    clusters = {name: [rng.uniform(0.1, 3.0, n) for n in counts] for name in ("e", "eta", "phi")}
    jets = np.zeros(30, dtype=[("pt", "f4"), ("eta", "f4"), ("phi", "f4"), ("mass", "f4"), ("origin", "i2")])
    jets["pt"], jets["origin"] = rng.uniform(1e5, 2e5, 30), np.arange(30) % 2
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["events/jets"] = jets
        for name, values in clusters.items():
            dataset = file.create_dataset(f"events/cluster_{name}", (30,), h5py.vlen_dtype(np.float32))
            for at, part in enumerate(values):
                dataset[at] = part
    jet_columns = {name: f"events/jets/{name}" for name in ("pt", "eta", "phi", "mass")}
    source = {"energy": "events/cluster_e", "eta": "events/cluster_eta", "phi": "events/cluster_phi"}
    schema = {
        "name": "mine",
        "title": "mine",
        "format": "HDF5",
        "tree": "/",
        "energy_unit": "MeV",
        "default": "jets",
        "collections": {
            "jets": {
                "title": "jets",
                "jets": jet_columns,
                "link": {"kind": "entry"},
                "constituents": [source],
                "labels": {"origin": {"column": "events/jets/origin", "names": {0: "quark", 1: "gluon"}}},
            }
        },
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(schema))
    batch = read_whole(tmp_path / "a.h5", str(tmp_path / "mine.yaml"))
    assert batch.flat.counts.tolist() == counts.tolist()
    assert batch.flat.fields["energy"] == pytest.approx(np.concatenate(clusters["e"]) * 1e-3, rel=1e-6)
    assert batch.pt == pytest.approx(jets["pt"] * 1e-3)
    assert batch.labels["origin"].tolist() == jets["origin"].tolist()
    assert list_labels(str(tmp_path / "mine.yaml")) == ("origin",)


# What is wrong with a file is told, with its name.


def test_bad_files_of_others(shared_data: Path) -> None:
    with pytest.raises(InputError, match=r"bad_lfs_pointer\.h5: this is a Git LFS pointer"):
        inspect_file(shared_data / "bad" / "bad_lfs_pointer.h5")
    found = inspect_file(shared_data / "bad" / "jets_features_no_constituents.h5")
    assert found.schema is None
    assert {item["dataset"] for item in found.contents} >= {"jet_features/data", "event_features/data"}
    assert any("constituents" in note for note in found.notes)
    with pytest.raises(SchemaError, match="no table 'table'"):
        list(iterate_jets(shared_data / "bad" / "jets_features_no_constituents.h5", "toptag"))


def test_planes_of_a_time_projection_chamber_are_told_from_jets(shared_data: Path) -> None:
    found = inspect_file(shared_data / "lartpc_h5" / "cosmic_tagging_light.h5")
    assert found.schema == "larcv"
    assert [fit.n_constituents for fit in found.fits] == [276_764]
    assert len(found.contents) > 50


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_columns_of_different_lengths(tmp_path: Path, suffix: str) -> None:
    path = write_images(tmp_path / f"a{suffix}", "images", IMAGES, label=LABELS[:-1])
    with pytest.raises(InputError, match=r"a\.(npz|h5): .*differ in length: .*50 entries, .*label' 49"):
        list(iterate_jets(path, "images"))


def test_texts_are_no_numbers(tmp_path: Path) -> None:
    values, labels = make_toptag(5)
    blocks = [(TOPTAG_NAMES, values), (["ttv"], labels[:, :1]), (["is_signal_new"], np.array([[b"qcd"]] * 5))]
    path = write_pandas_fixed(tmp_path / "a.h5", "table", blocks)
    with pytest.raises(InputError, match=r"'/table/block2_values' holds no numbers, but text"):
        list(iterate_jets(path, "toptag"))
    np.savez(tmp_path / "a.npz", images=np.full((3, 4, 4), "a"))
    with pytest.raises(InputError, match="array 'images' holds no numbers"):
        list(iterate_jets(tmp_path / "a.npz", "images"))


@pytest.mark.parametrize("name", ["a.h5", "a.npz"])
def test_files_cut_short(tmp_path: Path, name: str) -> None:
    path = write_toptag(tmp_path / name, 200) if name == "a.h5" else write_images(tmp_path / name, "arr_0", IMAGES)
    whole = path.read_bytes()
    for size in (70, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=rf"{name}: .*damaged or cut short"):
            inspect_file(path)


def flip_bytes(path: Path, start: int, size: int) -> None:
    content = bytearray(path.read_bytes())
    content[start : start + size] = bytes(255 - byte for byte in content[start : start + size])
    path.write_bytes(content)


def test_a_damaged_chunk_names_file_and_entries(tmp_path: Path) -> None:
    path = write_toptag(tmp_path / "a.h5", 400)
    with h5py.File(path) as file:
        chunk = file["table/table"].id.get_chunk_info(5)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(
        255 - b for b in content[chunk.byte_offset :][: chunk.size]
    )
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.h5: cannot read '/table/table', entries 200 to 240: damaged"):
        for _ in iterate_jets(path, "toptag", step=40):
            pass


@pytest.mark.parametrize("compress", [np.savez, np.savez_compressed])
def test_a_damaged_array_is_told(tmp_path: Path, compress: Any) -> None:
    compress(tmp_path / "a.npz", arr_0=IMAGES)
    flip_bytes(tmp_path / "a.npz", (tmp_path / "a.npz").stat().st_size // 2, 16)
    with pytest.raises(InputError, match=r"a\.npz: array 'arr_0' is damaged or cut short"):
        list(iterate_jets(tmp_path / "a.npz", "images"))


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", arr_0=np.array([{"a": 1}, None], dtype=object))
    with pytest.raises(InputError, match="pickled objects"):
        list(iterate_jets(tmp_path / "a.npz", "images"))
    assert inspect_file(tmp_path / "a.npz").schema is None


def test_an_unknown_compressor_is_named(tmp_path: Path) -> None:
    path = write_images(tmp_path / "a.h5", "other", IMAGES)
    with h5py.File(path, "a") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((50, 6, 5))
        settings.set_filter(300, h5py.h5z.FLAG_OPTIONAL, ())
        space, kind = h5py.h5s.create_simple((50, 6, 5)), h5py.h5t.NATIVE_DOUBLE
        dataset = h5py.h5d.create(file.id, b"images", kind, space, settings)
        dataset.write_direct_chunk((0, 0, 0), IMAGES.tobytes())
    with pytest.raises(InputError, match=r"a\.h5: cannot read '/images'.*HDF5 filter 300"):
        list(iterate_jets(path, "images"))


@pytest.mark.parametrize(
    ("value", "reason"),
    [(np.nan, "NaN or infinite values"), (np.inf, "NaN or infinite values"), (-1.0, "negative energy")],
)
def test_bad_numbers_are_counted(tmp_path: Path, value: float, reason: str) -> None:
    values, labels = make_toptag(9)
    values[4, 0] = value
    path = write_pandas_fixed(
        tmp_path / "a.h5", "table", [(TOPTAG_NAMES, values), (["ttv", "is_signal_new"], labels)], **BLOSC
    )
    images = IMAGES.copy()
    images[4, 2, 2] = value
    for batch in (
        read_whole(path, "toptag"),
        read_whole(write_images(tmp_path / "a.npz", "images", images), "images"),
    ):
        assert np.flatnonzero(~batch.usable).tolist() == [4]
        with pytest.raises(InputError, match=rf"entry 4, jet 0: {reason}"):
            batch.require_usable()


def test_an_empty_table_has_no_jets(tmp_path: Path) -> None:
    path = write_toptag(tmp_path / "a.h5", 0)
    assert plan_jets(path, "toptag") == []
    assert list(iterate_jets(path, "toptag")) == []
    assert inspect_file(path).schema == "toptag"


def test_padding_alone_is_a_jet_without_constituents(tmp_path: Path) -> None:
    values, labels = make_toptag(3)
    values[1] = 0.0
    path = write_pandas_fixed(tmp_path / "a.h5", "table", [(TOPTAG_NAMES, values), (["ttv", "is_signal_new"], labels)])
    batch = read_whole(path, "toptag")
    assert batch.problems["no constituents"].tolist() == [False, True, False]


def test_filters_are_loaded_only_where_a_file_needs_them(tmp_path: Path) -> None:
    code = "import sys, hepcnn.io.inspect as i; i.inspect_file(sys.argv[1]); print('hdf5plugin' in sys.modules)"
    plain, packed = write_showers(tmp_path / "a.h5", 2, 368), write_toptag(tmp_path / "b.h5", 2)
    for path, expected in ((plain, "False"), (packed, "True")):
        assert subprocess.check_output([sys.executable, "-c", code, str(path)], text=True).strip() == expected
