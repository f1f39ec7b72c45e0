"""Messages that help."""

import pytest

from hepcnn.errors import MissingExtraError, did_you_mean, require


def test_near_names_are_offered() -> None:
    assert did_you_mean("epocs", ["epochs", "batch_size"]) == "; did you mean 'epochs'?"
    assert did_you_mean("zzz", ["a", "b"]) == "; there are: a, b"
    assert did_you_mean("zzz", []) == ""


def test_a_missing_package_names_its_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"hepcnn\[workflow\]"):
        require("no_such_package_here.deep", extra="workflow")
    assert require("json", extra="train").dumps(1) == "1"


def test_a_package_that_is_broken_inside_is_not_called_missing(tmp_path, monkeypatch) -> None:
    (tmp_path / "broken_inside.py").write_text("import no_such_package_here\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_here"):
        require("broken_inside", extra="train")
