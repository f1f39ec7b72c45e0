"""Detector cards: the numbers that describe a detector, as YAML data read into one frozen model."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pydantic

from hepcnn.config import StrictModel, read_model
from hepcnn.errors import ConfigError, did_you_mean

CARD_FOLDER = Path(__file__).parent / "cards"
Share = Annotated[float, pydantic.Field(ge=0.0, le=1.0)]
Positive = Annotated[float, pydantic.Field(gt=0.0)]
NotNegative = Annotated[float, pydantic.Field(ge=0.0)]


def _check_rising(edges: Sequence[float], name: str) -> None:
    if not edges or any(low >= high for low, high in itertools.pairwise(edges)):
        raise ValueError(f"{name} must hold rising numbers, at least one")


class TrackEfficiency(StrictModel):
    """Track-finding efficiency in steps of \\|eta\\| and pT; 0 beyond the last \\|eta\\| and below the first pT."""

    abs_eta_max: tuple[Positive, ...]
    pt_min: tuple[NotNegative, ...]
    efficiency: tuple[tuple[Share, ...], ...]

    @pydantic.model_validator(mode="after")
    def _check_shape(self) -> "TrackEfficiency":
        _check_rising(self.abs_eta_max, "abs_eta_max")
        _check_rising(self.pt_min, "pt_min")
        shape = {len(row) for row in self.efficiency}
        if len(self.efficiency) != len(self.abs_eta_max) or shape != {len(self.pt_min)}:
            raise ValueError("efficiency needs one row for each abs_eta_max and one column for each pt_min")
        return self


class TrackResolution(StrictModel):
    """Relative pT resolution of tracks, ``constant (+) slope · pT``, in steps of \\|eta\\|."""

    abs_eta_max: tuple[Positive, ...]
    constant: tuple[NotNegative, ...]
    slope: tuple[NotNegative, ...]

    @pydantic.model_validator(mode="after")
    def _check_shape(self) -> "TrackResolution":
        _check_rising(self.abs_eta_max, "abs_eta_max")
        if not len(self.abs_eta_max) == len(self.constant) == len(self.slope):
            raise ValueError("constant and slope need one number for each abs_eta_max")
        return self


class EfficiencyBySpecies(StrictModel):
    """Track efficiencies of the three kinds of charged particles."""

    charged_hadron: TrackEfficiency
    electron: TrackEfficiency
    muon: TrackEfficiency


class ResolutionBySpecies(StrictModel):
    """Track resolutions of the three kinds of charged particles."""

    charged_hadron: TrackResolution
    electron: TrackResolution
    muon: TrackResolution


class Tracker(StrictModel):
    """The tracker in its solenoid; ``field_t`` 0 means straight tracks."""

    field_t: NotNegative
    radius_m: Positive
    half_length_m: Positive
    efficiency: EfficiencyBySpecies
    resolution: ResolutionBySpecies


class TowerRegion(StrictModel):
    """Rings of equal towers, mirrored in eta."""

    abs_eta_max: Positive
    n_eta: Annotated[int, pydantic.Field(ge=1)]
    n_phi: Annotated[int, pydantic.Field(ge=1)]


class EnergyResolution(StrictModel):
    """Energy resolution ``stochastic · sqrt(E) (+) noise (+) constant · E`` in GeV, in steps of \\|eta\\|."""

    abs_eta_max: tuple[Positive, ...]
    stochastic: tuple[NotNegative, ...]
    noise: tuple[NotNegative, ...]
    constant: tuple[NotNegative, ...]

    @pydantic.model_validator(mode="after")
    def _check_shape(self) -> "EnergyResolution":
        _check_rising(self.abs_eta_max, "abs_eta_max")
        if not len(self.abs_eta_max) == len(self.stochastic) == len(self.noise) == len(self.constant):
            raise ValueError("stochastic, noise and constant need one number for each abs_eta_max")
        return self


class Calorimeter(StrictModel):
    """One calorimeter layer: its towers, resolution and thresholds.

    A tower counts if its measured energy exceeds ``energy_min`` (GeV) and ``significance_min`` times its resolution.
    """

    regions: tuple[TowerRegion, ...]
    resolution: EnergyResolution
    energy_min: NotNegative
    significance_min: NotNegative

    @pydantic.model_validator(mode="after")
    def _check_regions(self) -> "Calorimeter":
        _check_rising([region.abs_eta_max for region in self.regions], "regions")
        return self


class Deposit(StrictModel):
    """The share of a particle's energy that each calorimeter absorbs."""

    ecal: Share
    hcal: Share


class DetectorCard(StrictModel):
    """A whole detector. ``deposits`` is by \\|PDG id\\|; every other particle leaves ``hadron_deposit``."""

    name: str
    tracker: Tracker
    ecal: Calorimeter
    hcal: Calorimeter
    deposits: dict[int, Deposit]
    hadron_deposit: Deposit


def list_cards() -> list[str]:
    """Names of the cards that come with hepcnn."""
    return sorted(path.stem for path in CARD_FOLDER.glob("*.yaml"))


def read_card(name: str) -> DetectorCard:
    """Read a detector card.

    Parameters
    ----------
    name
        The name of a card that comes with hepcnn, or the path of a YAML file (anything with a suffix or a slash).

    Raises
    ------
    ConfigError
        When there is no such card, or it does not fit the schema.
    """
    path = Path(name)
    if path.suffix or len(path.parts) > 1:
        return read_model(DetectorCard, path)
    known = list_cards()
    if name not in known:
        raise ConfigError(f"detector: no card '{name}'{did_you_mean(name, known)}")
    return read_model(DetectorCard, CARD_FOLDER / f"{name}.yaml")


def find_step(abs_eta_max: Sequence[float], eta: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Number of the step of \\|eta\\| that each eta (n,) is in; ``len(abs_eta_max)`` beyond the last or for NaN."""
    return np.searchsorted(np.asarray(abs_eta_max), np.abs(eta), side="left")
