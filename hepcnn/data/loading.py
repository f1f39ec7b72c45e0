"""Where the pixels of a training go: decided from their size and from the memory that there is."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from hepcnn.config import LoaderConfig
from hepcnn.errors import ConfigError

SHARE = 0.5
"""Part of the free memory that pixels may take: the network, its activations and the rest of the machine need some."""
MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class LoaderChoice:
    """``mode`` is ``device``, ``host`` or ``stream``; ``reason`` says why, with the sizes."""

    mode: str
    reason: str
    block: int
    pool: int

    @property
    def order(self) -> list[int]:
        """What the order of jets depends on beside the seed: nothing in memory, block and pool on disk."""
        return [self.block, self.pool] if self.mode == "stream" else []


def choose_loader(
    config: LoaderConfig, *, n_bytes: int, n_jets: int, device: torch.device, n_files_jets: int
) -> LoaderChoice:
    """Choose where the pixels live while a network is trained.

    Parameters
    ----------
    config
        What was asked for.
    n_bytes, n_jets
        Size of the pixels of the splits to hold, and their jets.
    device
        The training device.
    n_files_jets
        Jets of all splits, in whose blocks a stream reads.

    Raises
    ------
    ConfigError
        When even a stream's pools are more than ``memory_gb`` allows.
    """
    budget = config.memory_gb * 1e9 if config.memory_gb is not None else SHARE * available_memory()
    on_device = SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else budget
    size = f"the pixels take {_in_gb(n_bytes)}"
    mode = config.mode
    if mode != "auto":
        reason = f"asked for; {size}"
    elif n_bytes <= on_device and n_bytes <= budget:
        mode, reason = "device", f"{size}, of {_in_gb(on_device)} for them on {device.type}"
    elif device.type == "cuda" and n_bytes <= budget:
        mode, reason = "host", f"{size}, {_in_gb(on_device)} may be used on the GPU, {_in_gb(budget)} in memory"
    else:
        mode, reason = "stream", f"{size}, {_in_gb(budget)} of memory may be used"
    if mode == "stream":
        _check_pools(config, n_bytes / max(n_jets, 1), n_files_jets, budget)
    return LoaderChoice(mode, reason, config.block, config.pool)


def _check_pools(config: LoaderConfig, bytes_per_jet: float, n_jets: int, budget: float) -> None:
    """Two pools and a block are in memory at a time; they are not shrunk silently, since the order hangs on them."""
    needed = bytes_per_jet * config.block * (2 * min(config.pool, -(-n_jets // config.block)) + 1)
    if needed > budget:
        largest = int(config.block * budget / needed)
        raise ConfigError(
            f"training.loader: pools of {config.pool} blocks of {config.block} jets take {_in_gb(needed)}, "
            f"{_in_gb(budget)} may be used: a block of at most {largest} jets fits, or a smaller pool, or a larger "
            "memory_gb"
        )


def available_memory() -> float:
    """Bytes of memory that can be had without swapping: what the kernel says, within the container's limit."""
    free = _meminfo()
    limit, used = (_read_number(CGROUP / name) for name in ("memory.max", "memory.current"))
    return min(free, limit - used) if limit is not None and used is not None else free


def _meminfo() -> float:
    try:
        for line in MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    # No /proc, as on macOS: all memory there is.
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _read_number(path: Path) -> float | None:
    try:
        return float(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _in_gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.3g} GB"
