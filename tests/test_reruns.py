"""What an edit of the package makes again: asked of Snakemake, with a copy of the package and a pretended study."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hepcnn.stages.code import PACKAGE

REPOSITORY = PACKAGE.parent
AFTER = {"evaluate": 1, "track": 1, "report": 1}


def snakemake(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "snakemake", "-s", "copy/Snakefile", "--cores", "1"]
    found = subprocess.run(
        [*command, "--configfile", "study.yaml", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(folder / "copy")},
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout + found.stderr


def planned(folder: Path) -> dict[str, int]:
    """Rules that would run, and how often."""
    text = snakemake(folder, "--dry-run")
    if "Nothing to be done" in text:
        return {}
    table = text[text.index("Job stats:") : text.index("total")]
    counts = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
    return {name: count for name, count in counts.items() if name != "all"}


STUB = """
import sys
from pathlib import Path

said, verb = sys.argv, sys.argv[1]
out = Path(said[said.index("-o") + 1]) if "-o" in said else Path("results/small/mlflow.json")
run = ["bundle/manifest.json", "history.json", "scores.h5", "scores_val.h5", "run.json"]
measured = ["metrics.json", "working_points.json"]
inside = {"train": run + measured, "evaluate": measured}.get(verb)
files = [out] if inside is None else [out / name for name in inside]
if verb == "convert":
    files.append(out.with_name(out.stem + ".card.json"))
for path in files:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
"""
"""In place of the program: each verb leaves its files, empty."""


@pytest.fixture(scope="module")
def pretended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package, and a study that was run with a program that does nothing."""
    folder = tmp_path_factory.mktemp("reruns")
    shutil.copytree(PACKAGE, folder / "copy" / "hepcnn", ignore=shutil.ignore_patterns("__pycache__"))
    # Beside its Snakefile: that is where Snakemake looks for modules first.
    shutil.copy(REPOSITORY / "Snakefile", folder / "copy")
    shutil.copytree(REPOSITORY / "workflow", folder / "copy" / "workflow")
    (folder / "copy" / "hepcnn" / "__main__.py").write_text(STUB)
    samples = {name: {"files": [f"{name}.root"], "schema": "hepcnn"} for name in ("qcd", "top")}
    study = {"study": "small", "samples": samples, "models": {"cnn": {}}, "baselines": []}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    for name in samples:
        (folder / f"{name}.root").write_bytes(b"root" + bytes(100))
    said = snakemake(folder)
    assert "Finished" in said
    return folder


def edit(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / "copy" / "hepcnn" / name
    text = path.read_text()
    assert old in text, name
    path.write_text(text.replace(old, new, 1))


def test_comments_and_docstrings_everywhere_make_nothing_again(pretended: Path) -> None:
    """Those who come after show that there is something that is compared."""
    for path in (pretended / "copy").rglob("*.py"):
        text = path.read_text()
        path.write_text(text.replace('"""', '"""In other words: ', 1) + "\n# a remark\n")
    assert planned(pretended) == {}


@pytest.mark.parametrize(
    ("name", "old", "new", "rules"),
    [
        ("evaluation/bootstrap.py", "\nimport ", "\nCHANGED = 1\nimport ", AFTER),
        ("training/optim.py", "\nimport ", "\nCHANGED = 1\nimport ", AFTER | {"train": 1}),
        ("images/pixelate.py", "\nimport ", "\nCHANGED = 1\nimport ", AFTER | {"train": 1, "convert": 2}),
    ],
    ids=["evaluation", "training", "images"],
)
def test_code_that_changes_results_makes_them_again(
    pretended: Path, name: str, old: str, new: str, rules: dict[str, int]
) -> None:
    """Each with those before it: what is asked for grows."""
    edit(pretended, name, old, new)
    assert planned(pretended) == rules
