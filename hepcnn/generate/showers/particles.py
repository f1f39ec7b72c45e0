"""The particles that showers are made of."""

from dataclasses import dataclass

from hepcnn.errors import ConfigError, did_you_mean

PION_MASS, NEUTRAL_PION_MASS = 0.13957, 0.13498
"""In GeV (PDG)."""


@dataclass(frozen=True)
class Particle:
    """A particle: its PDG codes, one of which each shower draws, and what makes its shower."""

    pdg: tuple[int, ...]
    family: str


PARTICLES = {
    "electron": Particle((11,), "electron"),
    "positron": Particle((-11,), "electron"),
    "photon": Particle((22,), "photon"),
    "pi0": Particle((111,), "pi0"),
    "pion": Particle((211, -211), "pion"),
    "pi+": Particle((211,), "pion"),
    "pi-": Particle((-211,), "pion"),
}


def find_particle(name: str) -> Particle:
    """A particle by its name.

    Raises
    ------
    ConfigError
        When there is none, with the nearest names.
    """
    if name not in PARTICLES:
        raise ConfigError(f"no particle '{name}' that showers can be made of{did_you_mean(name, PARTICLES)}")
    return PARTICLES[name]
