"""The same images whatever happens on the way: any number of workers, killed, stopped, on a full disk."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hepcnn.convert import schedule
from hepcnn.convert.ranges import RangeJob, make_parts
from hepcnn.errors import HepcnnError
from tests.convert.conftest import convert, read_datasets, same_datasets
from tests.toy import write_toy_jets

# The command line, with so small ranges, joined so slowly, that it can be stopped in the middle of a small file.
DRIVER = """
import sys, time
from hepcnn.cli.main import main
from hepcnn.convert import merge, schedule
add = merge.Merger.add
merge.Merger.add = lambda *arguments: (time.sleep(0.05), add(*arguments))
schedule.plan_jets = lambda path, reading: [(start, start + 8) for start in range(0, 400, 8)]
sys.argv = ["hepcnn", *sys.argv[1:]]
main()
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    return [write_toy_jets(folder / f"{seed}.root", n_jets=400, n_prongs=2, seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def reference(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images, made in one go."""
    output = tmp_path_factory.mktemp("reference") / "i.h5"
    convert(files, output)
    return output


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[RangeJob]:
    """The ranges that this process makes."""
    jobs: list[RangeJob] = []

    def make(job: RangeJob) -> Any:
        jobs.append(job)
        return make_parts(job)

    monkeypatch.setattr(schedule, "make_parts", make)
    return jobs


@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(
    files: list[Path], reference: Path, tmp_path: Path, workers: int
) -> None:
    told: list[tuple[int, int]] = []
    card = convert(files, tmp_path / "i.h5", workers=workers, progress=lambda *done: told.append(done))
    assert same_datasets(tmp_path / "i.h5", reference)
    assert told[-1] == (800, 800)
    assert sorted(told) == told
    expected = json.loads(reference.with_name("i.card.json").read_text())
    for name in ("histograms", "occupancy", "jets_written"):
        assert card[name] == expected[name]
    assert {path.name for path in tmp_path.iterdir()} == {"i.h5", "i.card.json"}


@pytest.mark.usefixtures("small_ranges")
def test_a_killed_worker_is_named_with_its_range_and_the_rest_goes_on(
    files: list[Path], reference: Path, tmp_path: Path, made: list[RangeJob]
) -> None:
    def kill_one(done: int, _: int) -> None:
        if done:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            workers = [child for child in children if b"hepcnn.convert" in Path(f"/proc/{child}/cmdline").read_bytes()]
            os.kill(int(workers[0]), signal.SIGKILL)

    output = tmp_path / "i.h5"
    with pytest.raises(HepcnnError, match=r"SIGKILL.*\.root, entries \d+ to \d+.*parts are kept, the same command"):
        convert(files, output, workers=2, progress=kill_one)
    assert not output.exists()
    n_kept = len(list_parts(output))
    assert n_kept > 0
    convert(files, output)
    assert len(made) == 16 - n_kept
    assert same_datasets(output, reference)
    assert not (tmp_path / "i.h5.parts").exists()


def list_parts(output: Path) -> list[Path]:
    return sorted(output.with_name(f"{output.name}.parts").glob("*/[!.]*.part"))


def start(files: list[Path], output: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", DRIVER, "convert", *map(str, files), "--schema", "hepcnn", "--label", "qcd"]
    command += ["--channels", "pt,multiplicity", "--preprocess", "centre", "--jet-features", "pt", "-o", str(output)]
    process = subprocess.Popen(
        [*command, *options],
        stderr=subprocess.PIPE,
        text=True,
        # Where pytest itself runs in the background, SIGINT is inherited as ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        deadline = time.monotonic() + 60
        while len(list_parts(output)) < 3 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        yield process
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("kind", "workers"), [(signal.SIGKILL, "1"), (signal.SIGKILL, "2"), (signal.SIGINT, "2"), (signal.SIGTERM, "1")]
)
def test_a_stopped_conversion_goes_on(
    monkeypatch: pytest.MonkeyPatch,
    files: list[Path],
    reference: Path,
    tmp_path: Path,
    made: list[RangeJob],
    kind: signal.Signals,
    workers: str,
) -> None:
    output = tmp_path / "i.h5"
    for process in start(files, output, "-j", workers):
        os.kill(process.pid, kind)
        _, told = process.communicate(timeout=60)
        assert process.returncode == (-signal.SIGKILL if kind == signal.SIGKILL else 1), told
        assert ("finished before is kept" in told) == (kind != signal.SIGKILL)
        assert "Traceback" not in told
    assert not output.exists()
    time.sleep(0.3 if kind == signal.SIGKILL else 0)  # workers end when their parent is gone
    n_kept = len(list_parts(output))
    assert 3 <= n_kept < 100
    monkeypatch.setattr(schedule, "plan_jets", lambda *_: [(first, first + 8) for first in range(0, 400, 8)])
    convert(files, output)
    assert len(made) == 100 - n_kept
    assert same_datasets(output, reference)
    assert not [path for path in tmp_path.rglob("*") if path.name not in ("i.h5", "i.card.json")]


@pytest.mark.usefixtures("small_ranges")
def test_a_part_that_is_damaged_or_out_of_date_is_made_again(
    files: list[Path], tmp_path: Path, made: list[RangeJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise HepcnnError("stopped before the end")

    output, changed = tmp_path / "i.h5", write_toy_jets(tmp_path / "changed.root", n_jets=400, n_prongs=1, seed=3)
    with monkeypatch.context() as patch:
        patch.setattr("hepcnn.convert.files.make_card", fail)
        with pytest.raises(HepcnnError, match="stopped before the end"):
            convert([*files, changed], output)
    parts = list_parts(output)
    assert len(parts) == len(made) == 24
    damaged = parts[0]
    damaged.write_bytes(damaged.read_bytes()[:-7])
    made.clear()
    write_toy_jets(changed, n_jets=300, n_prongs=1, seed=9)
    convert([*files, changed], output)
    assert read_datasets(output)["jets/pt"].shape == (1100,)
    # All six ranges of the file that changed, and the part that was cut short unless it was of that file.
    assert [job.source.path for job in made].count(str(changed)) == 6
    assert len(made) in (6, 7)


@pytest.mark.parametrize("limit", [40_000, 700_000])
def test_a_full_disk_is_told_and_leaves_nothing_under_the_name(tmp_path: Path, limit: int) -> None:
    """A limit on the size of files, at which writing fails as on a full disk: in the images, and in a part."""
    path = write_toy_jets(tmp_path / "a.root", n_jets=3000, n_prongs=1, seed=1)
    command = [
        sys.executable,
        "-m",
        "hepcnn",
        "convert",
        str(path),
        "--schema",
        "hepcnn",
        "--label",
        "qcd",
        "-o",
        "i.h5",
    ]
    found = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert found.returncode == 1
    assert "i.h5" in found.stderr
    assert "cannot write this file" in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "i.h5").exists()
    assert not (tmp_path / "i.card.json").exists()


def test_a_users_folder_of_that_name_survives(files: list[Path], tmp_path: Path) -> None:
    precious = tmp_path / "i.h5.parts" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("precious")
    with pytest.raises(HepcnnError, match=r"i\.h5\.parts: this exists and holds no hepcnn-parts"):
        convert(files, tmp_path / "i.h5")
    assert precious.read_text() == "precious"
