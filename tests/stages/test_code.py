"""The hash of the code behind a stage: what changes it, and what does not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hepcnn.errors import ConfigError
from hepcnn.stages import code
from hepcnn.stages.code import PACKAGE, ROOMS, hash_code, make_essence

SOURCE = '''"""A module."""

def double(x: int) -> int:
    """Double it."""
    return 2 * x  # as said
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A module", "Another module"),
        ("Double it", "Twice the number"),
        ("# as said", "# as was said before"),
        ("return 2 * x", "\n    return (2 * x)"),
    ],
)
def test_a_cosmetic_edit_changes_nothing(old: str, new: str) -> None:
    assert SOURCE.replace(old, new) != SOURCE
    assert make_essence(SOURCE.replace(old, new)) == make_essence(SOURCE)


@pytest.mark.parametrize(("old", "new"), [("2 * x", "3 * x"), ("x: int", "x: int = 1"), ("def double", "def twice")])
def test_another_result_is_seen(old: str, new: str) -> None:
    assert make_essence(SOURCE.replace(old, new)) != make_essence(SOURCE)


def test_the_hash_is_the_same_in_every_process() -> None:
    """Sets of strings come in another order in each."""
    source = "import sys\nprint(sys.argv[1] in {'a', 'b', 'c', 'd', 'e'})\n"
    program = (
        f"from hepcnn.stages.code import hash_code, make_essence; print(make_essence({source!r}), hash_code('train'))"
    )
    found = {
        subprocess.check_output([sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed})
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_all_rooms_exist() -> None:
    for rooms in ROOMS.values():
        for room in rooms:
            assert (PACKAGE / room).exists(), room


@pytest.mark.parametrize(
    ("changed", "stages"),
    [
        ("sparse/conv.py", {"train", "control"}),
        ("images/pixelate.py", {"convert"}),
        ("io/schemas/pfnano.yaml", {"convert"}),
        ("evaluation/metrics.py", {"evaluate", "robustness"}),
        ("training/ensemble.py", {"train", "control", "ensemble"}),
        ("kinematics.py", {"generate", "convert"}),
        ("cli/main.py", set()),
    ],
)
def test_a_change_reaches_the_stages_that_use_it(
    changed: str, stages: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {stage: hash_code(stage) for stage in ROOMS}
    copy = tmp_path / "hepcnn"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / changed
    path.write_text(path.read_text() + ("\nextra = 1\n" if path.suffix == ".py" else "\n# extra\n"))
    monkeypatch.setattr(code, "PACKAGE", copy)
    after = {stage: hash_code.__wrapped__(stage) for stage in ROOMS}
    assert {stage for stage in ROOMS if before[stage] != after[stage]} == stages


def test_an_unknown_stage_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        hash_code("trian")
