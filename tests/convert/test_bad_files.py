"""Files that cannot be read stop the conversion, or are set aside whole; either way they are named."""

from pathlib import Path

import numpy as np
import pytest

from hepcnn.errors import EmptySampleError, HepcnnError, InputError, SchemaError
from hepcnn.io.store import read_images
from tests.convert.conftest import PLAIN, convert, same_datasets
from tests.toy import write_toy_jets

SKIP = PLAIN.model_copy(update={"skip_bad": True})


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A file of several baskets, one in the middle overwritten."""
    from hepcnn.io.root import write_tree
    from tests.toy import make_toy_jets

    path = tmp_path / "broken.root"
    write_tree(path, "tree", [make_toy_jets(100, n_prongs=1, seed=20 + block) for block in range(4)])
    content = bytearray(path.read_bytes())
    middle = len(content) * 5 // 8
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("small_ranges")
def test_a_file_that_breaks_in_the_middle_is_set_aside_whole(
    toy_files: dict[str, Path], broken: Path, tmp_path: Path, workers: int
) -> None:
    qcd, top = toy_files["qcd"], toy_files["top"]
    with pytest.raises(InputError, match=r"broken\.root"):
        convert([qcd, broken, top], tmp_path / "i.h5", workers=workers)
    assert not (tmp_path / "i.h5").exists()
    card = convert([qcd, broken, top], tmp_path / "i.h5", images=SKIP, workers=workers)
    assert [skipped["path"] for skipped in card["skipped_files"]] == [str(broken)]
    assert card["skipped_files"][0]["reason"].startswith("cannot read branch")
    assert [file["path"] for file in card["files"]] == [str(qcd), str(top)]
    convert([qcd, top], tmp_path / "without.h5", images=SKIP)
    assert same_datasets(tmp_path / "i.h5", tmp_path / "without.h5")


def test_a_file_that_ends_too_soon_and_one_that_does_not_fit(toy_files: dict[str, Path], tmp_path: Path) -> None:
    short = tmp_path / "short.root"
    short.write_bytes(toy_files["top"].read_bytes()[:-50_000])
    other = write_toy_jets(tmp_path / "other.root", n_jets=5, n_prongs=1, seed=7, part_energy=None)
    missing = tmp_path / "missing.root"
    for path in (short, other, missing):
        with pytest.raises((InputError, SchemaError), match=path.name):
            convert([toy_files["qcd"], path], tmp_path / "i.h5")
    card = convert([short, toy_files["qcd"], other, missing], tmp_path / "i.h5", images=SKIP)
    assert [Path(skipped["path"]) for skipped in card["skipped_files"]] == [short, other, missing]
    assert len(read_images(tmp_path / "i.h5")) == 400
    with pytest.raises(
        EmptySampleError, match=r"(?s)no jet to write.*set aside: .*short\.root.*set aside: .*other\.root"
    ):
        convert([short, other], tmp_path / "j.h5", images=SKIP)
    assert not list(tmp_path.glob("j*"))


def test_bad_jets_found_with_skip_bad_are_not_forgotten_without_it(tmp_path: Path) -> None:
    """Parts made with ``skip_bad`` do not serve a call without it, where they left jets out."""
    pt = np.full(20, 600.0, np.float32)
    pt[3] = np.nan
    path = write_toy_jets(tmp_path / "a.root", n_jets=20, n_prongs=1, seed=1, jet_pt=pt)

    def stop(*_: object) -> None:
        raise HepcnnError("stop")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hepcnn.convert.merge.Merger.finish", stop)
        with pytest.raises(HepcnnError, match="stop"):
            convert([path], tmp_path / "i.h5", images=SKIP)
    assert list((tmp_path / "i.h5.parts").glob("*/*.part"))
    with pytest.raises(InputError, match=r"entry 3, jet 0: NaN"):
        convert([path], tmp_path / "i.h5")


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    path = write_toy_jets(tmp_path / "a.root", n_jets=20, n_prongs=1, seed=1)

    def change(done: int, _: int) -> None:
        if done == 20:
            path.touch()

    with pytest.raises(InputError, match=r"a\.root: this file was changed while"):
        convert([path], tmp_path / "i.h5", progress=change)
