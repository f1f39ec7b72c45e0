"""What is explained: a number for each jet, and the jets as the model gets them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hepcnn.errors import InputError, did_you_mean
from hepcnn.training.network import TaggerNetwork

Score = Callable[[Tensor, Tensor | None], Tensor]
"""One number for each jet, (N,), from images (N, C, n_eta, n_phi) and jet-level inputs (N, F) or None."""


@dataclass(frozen=True)
class LogOdds:
    """The logarithm of ``p_signal / p_background``: the difference of two logits.

    Unlike the probability it does not flatten out where the network is sure, so its gradients stay of use there.
    """

    model: nn.Module
    signal: int
    background: int

    def __call__(self, images: Tensor, jet_features: Tensor | None) -> Tensor:
        """Score jets, (N,)."""
        logits: Tensor = self.model(images, jet_features)
        return logits[:, self.signal] - logits[:, self.background]


def make_log_odds(model: nn.Module, class_names: Sequence[str], *, signal: str, background: str) -> LogOdds:
    """Pick the two logits by the names of their classes.

    Raises
    ------
    InputError
        For a name that no class has, or the same name twice.
    """
    names = list(class_names)
    for name in (signal, background):
        if name not in names:
            raise InputError(f"no class is called '{name}'{did_you_mean(name, names)}")
    if signal == background:
        raise InputError(f"signal and background are both '{signal}', expected two classes")
    return LogOdds(model, names.index(signal), names.index(background))


@torch.no_grad()
def normalise_inputs(network: TaggerNetwork, images: Tensor, jet_features: Tensor) -> tuple[Tensor, Tensor | None]:
    """Apply the normalisation of a network, which stands before its model.

    Explanations start behind it: at an empty pixel the root that compresses pixels has no finite slope.

    Parameters
    ----------
    network
        In evaluation mode.
    images, jet_features
        (N, C, n_eta, n_phi) in the units of ``images.h5``, and (N, F).

    Returns
    -------
    tuple
        What ``network.model`` gets: images, and jet-level inputs or None.
    """
    parts = [network.prepare(images[part], jet_features[part]) for part in batches(len(images))]
    dense = [pixels for pixels, _ in parts if isinstance(pixels, Tensor)]
    features = [numbers for _, numbers in parts if numbers is not None]
    return torch.cat(dense), torch.cat(features) if features else None


def batches(n_jets: int, size: int = 128) -> Iterator[slice]:
    """Cut jets into slices of at most ``size``."""
    return (slice(start, min(start + size, n_jets)) for start in range(0, n_jets, size))


def cut(features: Tensor | None, part: slice) -> Tensor | None:
    """Jet-level inputs of some jets, where there are any."""
    return None if features is None else features[part]
