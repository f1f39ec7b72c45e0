"""Opening ROOT files, good and bad."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from hepcnn.errors import HepcnnError, InputError, SchemaError
from hepcnn.io.root import list_trees, open_root, read_branches, write_tree

COLUMNS = {
    "jet_pt": np.array([1.0, 2.0, 3.0], np.float32),
    "part_px": ak.Array([[1.0, 2.0], [], [3.0]]),
    "part_py": ak.Array([[4.0, 5.0], [], [6.0]]),
}


def test_what_is_written_reads_back_with_plain_uproot(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    assert write_tree(path, "tree", [COLUMNS, COLUMNS], metadata={"note": "text"}) == 6
    with uproot.open(path) as file:
        assert file["tree"].num_entries == 6
        assert file["tree"]["part_py"].array().tolist() == COLUMNS["part_py"].tolist() * 2
        assert file["tree"]["npart"].array().tolist() == [2, 0, 1] * 2
        assert file["note"] == "text"


def test_blocks_join_to_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    write_tree(path, "tree", [COLUMNS] * 5)
    whole = read_branches(path, "tree", ["jet_pt", "part_px"])
    with open_root(path) as file:
        table = file.table("tree")
        blocks = [table.read(["jet_pt", "part_px"], start, start + 5) for start in (0, 5, 10)]
        assert table.borders(["part_px"]) == [0, 3, 6, 9, 12, 15]
    for name in ("jet_pt", "part_px"):
        assert ak.concatenate([block[name] for block in blocks]).tolist() == whole[name].tolist()


def test_no_block_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(HepcnnError, match="nothing to write"):
        write_tree(tmp_path / "a.root", "tree", [])
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_name_brings_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    write_tree(path, "tree", [COLUMNS])
    with pytest.raises(SchemaError, match="no branch 'jet_ptt'; did you mean 'jet_pt'"):
        read_branches(path, "tree", ["jet_ptt"])
    with pytest.raises(SchemaError, match=r"no tree 'tre'.*did you mean 'tree'"):
        read_branches(path, "tre", ["jet_pt"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot open this file: No such file"),
        (b"", "this file is empty"),
        (b"hello, this is a text and no ROOT file at all, not even nearly so", "not a ROOT file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
        (b"root" + b"\0" * 600, "damaged"),
    ],
)
def test_files_that_cannot_be_opened(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "bad.root"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        list_trees(path)
    assert "bad.root" in str(caught.value)


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.999])
def test_truncated_files(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "a.root"
    random = np.random.default_rng(1)
    write_tree(path, "tree", [{"x": random.random(20_000)}])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InputError, match=r"a\.root.*cut short"):
        read_branches(path, "tree", ["x"])


def test_a_damaged_basket_names_branch_and_entries(tmp_path: Path) -> None:
    path = tmp_path / "a.root"
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        file.mktree("tree", {"x": np.int64}).extend({"x": np.arange(50_000)})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"cannot read branch 'x' of tree 'tree', entries 0 to 50000"):
        read_branches(path, "tree", ["x"])


def test_the_shared_bad_files(shared_data: Path) -> None:
    assert list_trees(shared_data / "bad" / "bad_delphes.root") == []
    (empty,) = (t for t in list_trees(shared_data / "bad" / "nano_dy_empty.root") if t.name == "Events")
    assert empty.n_entries == 0
    with pytest.raises(InputError, match="Git LFS pointer"):
        list_trees(shared_data / "bad" / "bad_lfs_pointer.root")
