"""Several processes end with the weights of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from timm.layers import DropPath
from torch import nn

from hepcnn.data.batches import Rows
from hepcnn.training.synchronise import one_batch
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


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_end_with_the_weights_of_one(trained: Path, case: str) -> None:
    """Batch normalisation, dropout, augmentation, a loss that is no sum over jets, and running averages included."""
    one, two = (load_file(trained / f"{case}-{world}.safetensors") for world in (1, 2))
    assert one.keys() == two.keys()
    largest = max(float((one[key].double() - two[key].double()).abs().max()) for key in one)
    assert largest < 1e-5
    assert all(value.isfinite().all() for value in one.values())


def test_only_the_first_process_writes(trained: Path) -> None:
    names = {path.name for path in (trained / "adamw-2").iterdir()}
    assert names == {"checkpoint.safetensors"}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("layer", [nn.Dropout(0.4), nn.Dropout(0.4, inplace=True), DropPath(0.4)])
def test_two_processes_drop_what_one_drops(layer: nn.Module, layout: torch.memory_format) -> None:
    """Of units, and of whole blocks; the second layer's numbers follow the first's."""
    layer.train()
    values = torch.rand(7, 3, 4, 5).contiguous(memory_format=layout)
    torch.manual_seed(3)
    whole = layer(layer(values.clone(memory_format=layout)))
    parts = []
    for rows in (Rows(0, 4, 7), Rows(4, 3, 7)):
        torch.manual_seed(3)
        with one_batch(layer, rows=rows, world=2):
            share = values[rows.start : rows.start + rows.here].clone(memory_format=layout)
            parts.append(layer(layer(share)))
    assert 0 < int((whole == 0).sum()) < whole.numel()
    assert torch.equal(torch.cat(parts), whole)


def test_pixels_are_dropped_by_each_process_for_itself() -> None:
    """Rows of sparse images are pixels, and nobody knows how many the others have."""
    layer = nn.Dropout(0.5)
    with one_batch(layer, rows=Rows(2, 2, 4), world=2):
        dropped = layer(torch.ones(90, 2))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
