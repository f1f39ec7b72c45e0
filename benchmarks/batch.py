"""What the workflow costs on a batch system: ``python -m benchmarks.batch`` on a machine with a Slurm.

A study of N empty jobs goes through Snakemake with the shipped profile, in groups and then each job for itself, and
through one array of ``sbatch``. Wall times are from the command to the end of the last job; beside them is the
processor time of the submit side, which a loaded machine does not spoil. ``--dry-run`` measures instead how long
Snakemake takes to say what a study of many trainings would run.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parent.parent
PROFILE = REPOSITORY / "workflow" / "profiles" / "slurm"
SNAKEFILE = """
rule all:
    input: expand("out/{{k}}", k=range({n}))

rule empty:
    output: "out/{{k}}"
    group: "empties"
    resources: mem_mb=1000, runtime=5
    shell: "touch {{output}}"
"""
STUDY = {
    "study": "many",
    "samples": {"qcd": {"process": "qcd"}, "top": {"process": "top"}},
    "images": {"jet_features": ["pt", "mass", "n_constituents", "tau1", "tau2", "tau3"]},
    "models": {"cnn": {}, "resnet": {}},
    "evaluation": {"explain": False},
}


@dataclass(frozen=True)
class Cost:
    """Of one way: wall time in seconds, and processor time of the submit side."""

    wall: float
    submit: float


def measure(command: list[str], folder: Path, *, log: Path) -> Cost:
    """Run a program to its end.

    Raises
    ------
    SystemExit
        When it fails, with its last words.
    """
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with log.open("w") as file:
        code = subprocess.run(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        sys.exit(f"{' '.join(command)} ended with {code}:\n{log.read_text()[-2000:]}")
    used = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return Cost(wall, used)


def run_snakemake(folder: Path, n_jobs: int, *, together: int) -> Cost:
    """Empty jobs with the shipped profile, so many of them in one submission."""
    folder.mkdir()
    (folder / "Snakefile").write_text(SNAKEFILE.format(n=n_jobs))
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", str(PROFILE), "--quiet"]
    command += ["--group-components", f"empties={together}"]
    return measure(command, folder, log=folder / "log")


def run_array(folder: Path, n_jobs: int) -> Cost:
    """The same jobs as one array of Slurm's own."""
    folder.mkdir()
    (folder / "out").mkdir()
    command = ["sbatch", "--wait", "--mem=1000", "--time=5", "--output=/dev/null", f"--array=0-{n_jobs - 1}"]
    return measure([*command, "--wrap=touch out/$SLURM_ARRAY_TASK_ID"], folder, log=folder / "log")


def plan_study(folder: Path, n_jobs: int) -> Cost:
    """A dry run of a study with about so many trainings, in a folder where nothing is made yet."""
    folder.mkdir()
    study = STUDY | {"seeds": list(range(1, n_jobs // 2 + 1))}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    command = [sys.executable, "-m", "snakemake", "-s", str(REPOSITORY / "Snakefile"), "--configfile", "study.yaml"]
    return measure([*command, "--workflow-profile", str(PROFILE), "--dry-run"], folder, log=folder / "log")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--together", type=int, default=10, help="jobs of a group")
    parser.add_argument("--skip-single", action="store_true", help="leave out the way with each job for itself")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--trainings", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.dry_run:
            cost = plan_study(folder / "plan", arguments.trainings)
            print(
                f"dry run with {arguments.trainings} trainings: {cost.submit:.1f} s processor, {cost.wall:.1f} s wall"
            )
            return
        n_jobs = arguments.jobs
        ways = {"sbatch array": run_array(folder / "array", n_jobs)}
        grouped = f"Snakemake, {arguments.together} in a submission"
        ways[grouped] = run_snakemake(folder / "grouped", n_jobs, together=arguments.together)
        if not arguments.skip_single:
            ways["Snakemake, each for itself"] = run_snakemake(folder / "single", n_jobs, together=1)
    print(f"| {n_jobs} empty jobs | wall, s | of the array's | processor of the submit side, s |")
    print("| --- | ---: | ---: | ---: |")
    array = ways["sbatch array"].wall
    for way, cost in ways.items():
        print(f"| {way} | {cost.wall:.0f} | {cost.wall / array:.1f} | {cost.submit:.1f} |")


if __name__ == "__main__":
    main()
