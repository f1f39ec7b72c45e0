"""Showers to calibrate with: they are made so quickly that the measured ones are as many as are needed."""

from pathlib import Path

from hepcnn.config import StudyConfig
from hepcnn.errors import ConfigError
from hepcnn.generate.showers.sample import generate_showers
from hepcnn.planning.calibration import Rate
from hepcnn.planning.clock import Clock

FEW, MANY = 500, 5000
SEED = 987_654_321


def generate_many(
    study: StudyConfig, name: str, folder: Path, *, few: int = FEW, many: int = MANY
) -> tuple[Path, Rate, float]:
    """Generate some showers of a sample.

    Parameters
    ----------
    study, name
        The study, and its sample.
    folder
        For the files.
    few, many
        Showers of the two samples that tell what a start costs from what a shower does.

    Returns
    -------
    tuple
        The file of ``many``, what generating costs, and the bytes of a shower in the file.

    Raises
    ------
    ConfigError
        When the sample is not of showers.
    """
    particle = study.samples[name].particle
    if particle is None:
        raise ConfigError(f"sample '{name}' is not made of showers")
    clock, seconds, paths = Clock(), [], []
    # The loops are compiled with the first shower that a machine ever makes.
    generate_showers(particle, 1, SEED, folder / "first.root", settings=study.generate.showers)
    for n_showers in (few, many):
        paths.append(folder / f"{name}_{n_showers}.root")
        with clock.measure() as measured:
            generate_showers(particle, n_showers, SEED, paths[-1], settings=study.generate.showers)
        seconds += measured
    per_shower = max((seconds[1] - seconds[0]) / (many - few), 0.0)
    size = (paths[1].stat().st_size - paths[0].stat().st_size) / (many - few)
    return paths[1], Rate(start=max(seconds[0] - few * per_shower, 0.0), per_jet=per_shower), max(size, 0.0)
