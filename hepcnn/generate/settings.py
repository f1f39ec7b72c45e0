"""What to generate: the settings of a jet sample and their named presets."""

from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

from hepcnn.config import StrictModel, parse_model
from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.generate.card import read_card

Positive = Annotated[float, pydantic.Field(gt=0.0, allow_inf_nan=False)]


class JetSettings(StrictModel):
    """Everything that decides what is in a sample besides process and seed. GeV.

    The leading anti-kt jet of the event is kept if its pT and \\|eta\\| are within the window and, for other processes
    than QCD, if the heavy particle is within ``match_radius`` of it and, with ``require_containment``, so are all of
    its decay quarks. ``pt_hat_min`` and ``pt_hat_max`` bound the pT of the hard process; None takes the window of the
    process, which is wide enough not to shape the jet pT. ``pileup_mean`` soft collisions on average are laid over each
    event, drawn from ``pileup_pool_events`` generated for each chunk and turned in phi; with
    ``pileup_charged_subtraction`` their tracks are recognised and dropped. ``pythia`` has more settings of the hard
    collision in Pythia's own words, such as a tune or the scale of the shower; `hepcnn.generate.commands` refuses those
    that the other keys decide. ``events_per_chunk`` is the unit of work: a chunk has its own seed, so it belongs to
    what decides the content.
    """

    ecm_gev: Positive = 14000.0
    pt_min: Positive = 550.0
    pt_max: Positive = 650.0
    abs_eta_max: Positive = 2.0
    jet_radius: Annotated[float, pydantic.Field(gt=0.0, le=1.5)] = 0.8
    match_radius: Positive = 0.8
    require_containment: bool = True
    mpi: bool = False
    pileup_mean: Annotated[float, pydantic.Field(ge=0.0, le=500.0)] = 0.0
    pileup_charged_subtraction: bool = True
    pileup_pool_events: Annotated[int, pydantic.Field(ge=1)] = 1000
    pt_hat_min: Positive | None = None
    pt_hat_max: Positive | None = None
    detector: str = "atlas-like"
    pythia: dict[str, bool | int | float | str] = {}
    events_per_chunk: Annotated[int, pydantic.Field(ge=1)] = 2000
    give_up_after_events: Annotated[int, pydantic.Field(ge=1)] = 40_000

    @pydantic.model_validator(mode="after")
    def _check_windows(self) -> "JetSettings":
        if self.pt_min >= self.pt_max:
            raise ValueError(f"pt_min ({self.pt_min:g}) must be below pt_max ({self.pt_max:g})")
        if self.pt_hat_min is not None and self.pt_hat_max is not None and self.pt_hat_min >= self.pt_hat_max:
            raise ValueError(f"pt_hat_min ({self.pt_hat_min:g}) must be below pt_hat_max ({self.pt_hat_max:g})")
        if 2 * self.pt_max >= self.ecm_gev:
            raise ValueError(f"pt_max ({self.pt_max:g}) is beyond the reach of ecm_gev ({self.ecm_gev:g})")
        return self


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The defaults are the reference sample of the top-tagging landscape, arXiv:1902.09914.
    "toptag-reference": {},
    "lhc-mpi": {"mpi": True},
    "lhc-pileup": {"mpi": True, "pileup_mean": 50.0},
    # The same jets by another shower. Half and twice the scale of alpha_s in final-state radiation (arXiv:1605.08352);
    # Pythia's factor multiplies the square of the scale.
    "toptag-fsr-up": {"pythia": {"TimeShower:renormMultFac": 0.25}},
    "toptag-fsr-down": {"pythia": {"TimeShower:renormMultFac": 4.0}},
    # ATLAS's A14 tune with NNPDF2.3LO (ATL-PHYS-PUB-2014-021) instead of Monash 2013 (arXiv:1404.5630).
    "toptag-a14": {"pythia": {"Tune:pp": 21}},
    # Antennae instead of dipoles (arXiv:2003.00702); a few times as slow.
    "toptag-vincia": {"pythia": {"PartonShowers:model": 2}},
}


def load_settings(preset: str = "toptag-reference", overrides: Mapping[str, Any] | None = None) -> JetSettings:
    """Settings of a preset with some values replaced.

    Parameters
    ----------
    preset
        One of `PRESETS`.
    overrides
        Values by key of `JetSettings` that replace the preset's.

    Raises
    ------
    ConfigError
        When the preset, a key or the detector card does not exist (with the nearest that do), or a value is wrong.
    """
    if preset not in PRESETS:
        raise ConfigError(f"no preset '{preset}' of jet settings{did_you_mean(preset, PRESETS)}")
    settings = parse_model(JetSettings, {**PRESETS[preset], **(overrides or {})}, where=f"preset {preset}")
    read_card(settings.detector)
    return settings
