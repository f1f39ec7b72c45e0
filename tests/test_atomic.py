"""Outputs are whole or not there."""

from pathlib import Path

import pytest

from hepcnn.atomic import atomic_folder, atomic_path, refuse_overwriting
from hepcnn.errors import HepcnnError


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    with atomic_path(target) as partial:
        partial.write_text("whole")
        assert not target.exists()
        assert partial.suffix == ".txt"
    assert target.read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def fail_half_way() -> None:
        with atomic_path(target) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_a_folder_replaces_its_like(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    for text in ("old", "new"):
        with atomic_folder(target, marker="mark") as partial:
            (partial / "mark").write_text(text)
            (partial / text).write_text(text)
    assert {path.name for path in target.iterdir()} == {"mark", "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_of_the_users_is_never_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("precious")
    with pytest.raises(HepcnnError, match="this is a folder"), atomic_path(mine):
        pass
    with pytest.raises(HepcnnError, match="holds no mark"), atomic_folder(mine, marker="mark"):
        pass
    with pytest.raises(HepcnnError, match="names a folder"), atomic_path("."):
        pass
    assert (mine / "thesis.tex").read_text() == "precious"


def test_an_input_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(HepcnnError, match="this is the input"):
        refuse_overwriting(tmp_path / "link", [tmp_path / "b", tmp_path / "a"])
    refuse_overwriting(tmp_path / "c", [tmp_path / "a"])


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HepcnnError, match="nothing was written"), atomic_path(tmp_path / "none"):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HepcnnError, match="cannot make this folder"), atomic_path(tmp_path / "file" / "below"):
        pass
