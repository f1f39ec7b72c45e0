"""Snakemake as a program of its own: each call is forked from a process that has its modules imported.

Importing them takes longer than planning a study. Nothing of one call is left for the next, and what Snakemake itself
starts (``python -m hepcnn ...``) is started as ever.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
# What a call of Snakemake with this Snakefile imports.
_MODULES = ["snakemake.cli", "snakemake_executor_plugin_slurm", "hepcnn.stages.code", "hepcnn.stages.plan"]
_context = multiprocessing.get_context("forkserver")


def call_snakemake(folder: Path, *arguments: str, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
    """Run ``snakemake ARGUMENTS`` in a folder to its end, and give its exit status and all that it said."""
    _context.set_forkserver_preload(_MODULES)
    with tempfile.TemporaryDirectory() as place:
        said = [Path(place) / name for name in ("stdout", "stderr")]
        process = _context.Process(target=_be_snakemake, args=(folder, arguments, *said))
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"snakemake {' '.join(arguments)} took more than {timeout_s:g} s")
        stdout, stderr = (path.read_text() for path in said)
        return subprocess.CompletedProcess(["snakemake", *arguments], process.exitcode, stdout, stderr)


def _be_snakemake(folder: Path, arguments: tuple[str, ...], *said: Path) -> None:
    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.chdir(folder)
    sys.argv = ["snakemake", *arguments]
    from snakemake.cli import main

    main()
