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
        Pixels along each axis: (n_eta, n_phi), or (layers, n_alpha, n_r) of a shower.
    n_jet_features
        F, the number of standardised inputs per jet that join before the head.
    periodic
        One flag per axis of the grid: whether it closes into a circle. An empty one stands for none.
    """

    in_channels: int
    n_classes: int
    grid: tuple[int, ...]
    n_jet_features: int = 0
    periodic: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not self.periodic:
            object.__setattr__(self, "periodic", (False,) * len(self.grid))

    @property
    def n_axes(self) -> int:
        """Axes of the grid."""
        return len(self.grid)
