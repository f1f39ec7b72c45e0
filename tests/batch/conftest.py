"""A Slurm for the tests that want one: installed if need be, and left as it was found."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batch import cluster
from tests.batch.folder import Folder

WISH = "HEPCNN_TEST_SLURM"
PACKAGES = ["slurm-wlm", "slurm-wlm-basic-plugins", "slurmctld", "slurmd", "slurm-client", "munge"]


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a running Slurm of the tests' own; skipped unless asked for."""
    if not os.environ.get(WISH):
        pytest.skip(f"not asked for: 'make test-slurm', or {WISH}=1")
    running = Path(os.environ[WISH])
    if (running / "slurmctld.pid").exists():
        yield running
        return
    installed = _install()
    folder = tmp_path_factory.mktemp("slurm")
    try:
        cluster.start(folder)
        yield folder
    except cluster.CannotStartError as error:
        pytest.skip(str(error))
    finally:
        cluster.stop(folder)
        if installed:
            # Snakemake's plugin asks a Slurm that is installed and silent for 9 s at every call.
            _apt("remove", "-y", *installed)


def _install() -> list[str]:
    """Install Slurm where it is missing and that can be done; says which packages are new."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None or "not installed" not in cluster.why_not():
        return []
    new = [name for name in PACKAGES if not _is_installed(name)]
    _apt("update")
    _apt(*cluster.INSTALL[1:])
    return [name for name in new if _is_installed(name)]


def _apt(*arguments: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", *arguments], env=environment, capture_output=True, check=False)


def _is_installed(package: str) -> bool:
    asked = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout == "installed"


@pytest.fixture(scope="session")
def folder(slurm: Path, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Where all studies run; jobs of different seeds do not touch each other."""
    del slurm
    return Folder(tmp_path_factory.mktemp("study"))
