"""Which jets made a loss that is not a number."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hepcnn.data.batches import Batch
from hepcnn.sparse import SparseTensor

NameJets = Callable[[NDArray[np.int64]], list[str]]
"""Says of jets, by their places in the training split, where they come from."""
MOST_NAMED = 5


def describe_bad_jets(logits: Tensor, batch: Batch, inputs: Batch, name_jets: NameJets | None = None) -> str:
    """Name the jets whose inputs, or else whose losses, are not finite.

    Parameters
    ----------
    logits
        (B, K) of the batch, with what else the network gives.
    batch
        With label, weight and number of its jets.
    inputs
        The same jets with their images.
    name_jets
        Adds where they come from.
    """
    bad, what = ~(_finite_inputs(inputs) & batch.weight.isfinite()), "inputs"
    if not bad.any():
        losses = functional.cross_entropy(logits.float(), batch.label.clamp_max(logits.shape[1] - 1), reduction="none")
        bad, what = ~(losses * batch.weight).isfinite(), "losses"
    if not bad.any():
        return "the loss of each single jet is finite, that of the batch is not"
    if bad.all() and what == "losses":
        return f"all {len(bad)} jets of the batch have losses that are not finite, from finite inputs: it diverged"
    places = torch.arange(len(bad), device=bad.device) if batch.number is None else batch.number
    numbers = places[bad].cpu().numpy().astype(np.int64)
    shown = numbers[:MOST_NAMED]
    names = [str(number) for number in shown]
    if name_jets is not None and batch.number is not None:
        names = [f"{number} ({name})" for number, name in zip(shown, name_jets(shown), strict=True)]
    more = f" and {len(numbers) - len(shown)} more" if len(numbers) > len(shown) else ""
    return f"{what} that are not finite have the jets {', '.join(names)}{more} of the training split"


def _finite_inputs(batch: Batch) -> Tensor:
    """Which jets have finite pixels and jet-level numbers, (B,)."""
    finite = batch.jet_features.isfinite().all(1)
    if isinstance(batch.images, SparseTensor):
        rows = ~batch.images.features.isfinite().all(1)
        finite[batch.images.coords[rows, 0].long()] = False
        return finite
    return finite & batch.images.flatten(1).isfinite().all(1)
