"""What a model is built for: the shape of its images, and what comes with them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageShape:
    """The shape of a model's inputs and outputs.

    Attributes
    ----------
    in_channels
        C of the images.
    n_classes
        Number of logits.
    grid
        (n_eta, n_phi).
    n_jet_features
        F, the number of standardised inputs per jet that join before the head.
    periodic
        One flag per axis of the grid: whether it closes into a circle.
    """

    in_channels: int
    n_classes: int
    grid: tuple[int, int]
    n_jet_features: int = 0
    periodic: tuple[bool, bool] = (False, False)
