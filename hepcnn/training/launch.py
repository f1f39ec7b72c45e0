"""Several processes that train together: how many there are, and how they are started. Imports no torch.

Within a job of Slurm, srun starts them, on as many nodes as the study says; elsewhere torchrun does, on this machine.
"""

import os
import sys
from collections.abc import Mapping, Sequence

from hepcnn.config import TrainingConfig
from hepcnn.errors import ConfigError

WAIT_S = 600
"""Seconds that srun lets the other processes live when one has ended: the first writes the bundle meanwhile."""


def count_processes() -> tuple[int, int]:
    """How many processes train together, and how many of them on each machine."""
    known = os.environ
    if "LOCAL_RANK" in known and "WORLD_SIZE" in known:
        world = int(known["WORLD_SIZE"])
        return world, int(known.get("LOCAL_WORLD_SIZE", world))
    # Of a step of a job, which srun starts; the job itself may have more tasks than this program.
    world = int(known.get("SLURM_STEP_NUM_TASKS", "1"))
    return world, max(world // int(known.get("SLURM_STEP_NUM_NODES", "1")), 1)


def is_first_process() -> bool:
    """Whether this process is the one that writes and speaks."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0 or count_processes()[0] == 1


def make_launch(
    config: TrainingConfig, arguments: Sequence[str], *, threads: int, environment: Mapping[str, str]
) -> list[str]:
    """The command that starts the processes of a training.

    Parameters
    ----------
    config
        Says how many processes, and on how many nodes.
    arguments
        Of ``hepcnn``, the same for each process.
    threads
        CPU threads of each.
    environment
        Says whether this is a job of Slurm.

    Returns
    -------
    list
        Program and arguments; empty where this process is all there is, or one of those that were started.

    Raises
    ------
    ConfigError
        When several nodes are wanted where there is no Slurm.
    """
    if config.processes == 1 or count_processes()[0] > 1:
        return []
    program = ["-m", "hepcnn", *arguments]
    per_node = config.processes // config.nodes
    if "SLURM_JOB_ID" in environment:
        # Which GPU is whose, the processes settle themselves, so each sees all of its node.
        gpus = [f"--gpus-per-node={per_node}", "--gpu-bind=none"] if config.device == "cuda" else []
        shape = [f"--nodes={config.nodes}", f"--ntasks={config.processes}", f"--ntasks-per-node={per_node}"]
        rest = [f"--cpus-per-task={max(threads, 1)}", f"--wait={WAIT_S}", *gpus]
        return ["srun", *shape, *rest, sys.executable, *program]
    if config.nodes > 1:
        raise ConfigError(
            f"training.nodes: {config.nodes} nodes are for a job of Slurm; on this machine, 'nodes: 1', or start the "
            "processes by torchrun on each node"
        )
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={config.processes}"]
    return [sys.executable, *torchrun, *program]
