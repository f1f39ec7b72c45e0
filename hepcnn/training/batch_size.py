"""How many jets a batch may have."""

from collections.abc import Callable

import torch

from hepcnn.config import TrainingConfig
from hepcnn.errors import TrainingError

DEFAULT: int = TrainingConfig.model_fields["batch_size"].default
MOST, LEAST_STEPS = 16_384, 10
"""Larger batches, or fewer steps in an epoch, train worse without being faster."""
PRECISION = 8
"""The largest batch is found up to one part in so many."""


def choose_batch_size(
    fits: Callable[[int], None], *, device: torch.device, n_jets: int, world: int, say: Callable[[str], None]
) -> int:
    """Choose a batch size: the default on a CPU, else the largest that fits.

    Parameters
    ----------
    fits
        Takes a step with so many jets, which may run out of memory.
    device, n_jets, world
        The training device, jets of the training split, processes.
    say
        Hears what was chosen and why.

    Raises
    ------
    TrainingError
        When not even two jets fit, or there are several processes.
    """
    if device.type == "cpu":
        say(f"batch size: {DEFAULT}, the default: on a CPU larger ones are no faster")
        return DEFAULT
    if world > 1:
        raise TrainingError(
            f"training.batch_size: 'auto' is for one process, here are {world}: find it with one, and give {world} "
            "times as many"
        )
    most = max(2, min(MOST, n_jets // LEAST_STEPS))
    found = find_largest(fits, most=most)
    if not found:
        raise TrainingError("out of GPU memory with a batch of two jets: this network needs a larger GPU")
    say(f"batch size: {found}, " + ("as many as make sense" if found == most else "the largest that fits the GPU"))
    return found


def find_largest(fits: Callable[[int], None], *, most: int) -> int:
    """The largest batch size up to ``most`` that fits, about; 0 if not even two jets do.

    Doubles until it does not fit, then halves the interval.
    """
    good, bad = 0, most + 1
    size = min(2, most)
    while good < most and bad - good > max(1, good // PRECISION):
        if _is_fitting(fits, size):
            good = size
        else:
            bad = size
        size = min(2 * good, most) if bad > most else (good + bad) // 2
        if size <= 1:
            break
    return good


def _is_fitting(fits: Callable[[int], None], size: int) -> bool:
    try:
        fits(size)
    except torch.OutOfMemoryError:
        is_fitting = False
    else:
        is_fitting = True
    # What the failed step held is free only now that its error is forgotten.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return is_fitting


def explain_out_of_memory(n_jets: int, *, world: int, accumulate: int, largest: int) -> str:
    """What to do when a batch of ``n_jets`` does not fit, and ``largest`` does; 0 where that is not known."""
    text = f"out of GPU memory with batches of {n_jets} jets"
    text += f" on {world} processes" if world > 1 else ""
    text += f" in {accumulate} parts" if accumulate > 1 else ""
    if not largest:
        return f"{text}: set a smaller training.batch_size, or a larger training.accumulate"
    parts = -(-n_jets // largest)
    return (
        f"{text}; the largest batch that fitted has {largest}: set training.batch_size (or --batch-size) to that or to "
        f"'auto', or take the same batches in parts with training.accumulate: {parts}"
    )
