"""The device, the precision and the processes of a training, by Lightning Fabric.

Processes are started by somebody else: torchrun or Slurm's srun, each of which tells a process in its environment which
one it is.
"""

import os
import shutil
import warnings
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import nn

from hepcnn.config import TrainingConfig
from hepcnn.config.training import PRECISIONS
from hepcnn.errors import TrainingError
from hepcnn.training.launch import count_processes


def make_fabric(config: TrainingConfig) -> Fabric:
    """Choose device and precision: the GPU if there is one, in bf16; else the CPU, in fp32.

    Where torchrun or srun has started several processes, they find each other.

    Raises
    ------
    TrainingError
        When a GPU is asked for, and there is none.
    """
    cuda = torch.cuda.is_available() if config.device == "auto" else config.device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise TrainingError("training.device is 'cuda', but torch sees no CUDA device here ('hepcnn doctor' says why)")
    precision = PRECISIONS.get(config.precision, config.precision)
    if precision == "auto":
        precision = "bf16-mixed" if cuda else "32-true"
    options: dict[str, Any] = {"accelerator": "cuda" if cuda else "cpu", "precision": precision}
    if precision == "16-mixed" and not cuda:
        # Fabric would take bf16 instead.
        options |= {"precision": None, "plugins": MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))}
    world, per_node = count_processes()
    if world == 1:
        with warnings.catch_warnings():
            # It would have every training on a machine with Slurm be started by srun.
            warnings.filterwarnings("ignore", message="The `srun` command is available")
            return Fabric(devices=1, **options)
    fabric = Fabric(devices=per_node, num_nodes=world // per_node, strategy="ddp", **options)
    fabric.launch()
    return fabric


def compile_network(network: nn.Module, *, sparse: bool) -> None:
    """Let ``torch.compile`` make code for a network, in place; the names of its weights stay as they are.

    Raises
    ------
    TrainingError
        When there is no C++ compiler.
    """
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    if not any(shutil.which(name) for name in names):
        raise TrainingError(
            f"training.compile needs a C++ compiler, and {' or '.join(names)} is not on PATH: install one, name it in "
            "the environment variable CXX, or set 'compile: false'"
        )
    # Each size of a batch gets code of its own, so that the code does not depend on which size came first.
    network.compile(dynamic=sparse)
