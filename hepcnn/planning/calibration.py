"""What a calibration found, and how it grows with the number of jets."""

from hepcnn.records import StrictModel


class Rate(StrictModel):
    """Seconds that a job takes: to begin, and for each jet; on one core, or on the GPU."""

    start: float
    per_jet: float

    def seconds(self, n_jets: float, *, workers: int = 1) -> float:
        """Of a job with so many jets, shared by workers who do not hinder each other."""
        return self.start + self.per_jet * n_jets / workers


class SampleCost(StrictModel):
    """One sample: ``n_jets`` are read, a part ``kept`` gets images; ``generate`` is None for files. Bytes per jet."""

    n_jets: float
    kept: float
    generate: Rate | None
    convert: Rate
    generated_bytes: float
    image_bytes: float


class NetworkCost(StrictModel):
    """One network: a step's time by jets of it, scoring a jet, and what a run leaves on disk, in bytes.

    ``start`` holds all that does not depend on the number of jets: imports, export, parity.
    """

    start: float
    train_per_jet: float
    score_per_jet: float
    disk: float
    uses_gpu: bool


class Calibration(StrictModel):
    """Everything that was measured."""

    samples: dict[str, SampleCost]
    networks: dict[str, NetworkCost]
    baselines: dict[str, Rate]
    evaluate: float
    track: float
    report: float
    notes: list[str] = []
