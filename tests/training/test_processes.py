"""Several processes end with the weights of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.training.process_program import CASES, train_cases

PROGRAM = Path(__file__).parent / "process_program.py"
REPOSITORY = PROGRAM.parents[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of every case, by one process and by two."""
    folder = tmp_path_factory.mktemp("processes")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*torchrun, PROGRAM, folder], env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    train_cases(folder)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_end_with_the_weights_of_one(trained: Path, case: str) -> None:
    """Batch normalisation, weights of jets, a loss that is no sum over jets, and averages of weights included."""
    one, two = (load_file(trained / f"{case}-{world}.safetensors") for world in (1, 2))
    assert one.keys() == two.keys()
    largest = max(float((one[key].double() - two[key].double()).abs().max()) for key in one)
    assert largest < 1e-5
    assert all(value.isfinite().all() for value in one.values())


def test_only_the_first_process_writes(trained: Path) -> None:
    names = {path.name for path in (trained / "adamw-2").iterdir()}
    assert names == {"checkpoint.safetensors"}
