"""Inputs that several tests of the generator share."""

from pathlib import Path

import numpy as np
import pytest

from hepcnn.generate.card import DetectorCard, read_card
from hepcnn.generate.jets import GenerationSummary, generate_jets
from hepcnn.generate.particles import Particles
from hepcnn.generate.settings import JetSettings, load_settings

N_TOP, SEED = 60, 3


def make_particles(event, pdg_id, charge, pt, eta, phi, mass=0.0) -> Particles:
    """Particles from plain lists."""
    event, pdg_id, charge = (np.asarray(column, dtype=np.int64) for column in (event, pdg_id, charge))
    pt, eta, phi = (np.asarray(column, dtype=np.float64) for column in (pt, eta, phi))
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    energy = np.sqrt(px**2 + py**2 + pz**2 + mass**2)
    return Particles(event, pdg_id, charge, px, py, pz, energy, np.zeros(len(event), dtype=bool))


@pytest.fixture(scope="session")
def card() -> DetectorCard:
    return read_card("atlas-like")


@pytest.fixture(scope="session")
def perfect_card(card: DetectorCard) -> DetectorCard:
    """The same detector without smearing, thresholds and field, and with every track found."""
    content = card.model_dump()
    for layer in ("ecal", "hcal"):
        resolution = content[layer]["resolution"]
        for term in ("stochastic", "noise", "constant"):
            resolution[term] = [0.0] * len(resolution["abs_eta_max"])
        content[layer] |= {"energy_min": 0.0, "significance_min": 0.0}
    content["tracker"]["field_t"] = 0.0
    for species in content["tracker"]["efficiency"].values():
        species |= {"abs_eta_max": [2.5], "pt_min": [0.0], "efficiency": [[1.0]]}
    for species in content["tracker"]["resolution"].values():
        species |= {"abs_eta_max": [2.5], "constant": [0.0], "slope": [0.0]}
    return DetectorCard.model_validate(content)


@pytest.fixture(scope="session")
def small_chunks() -> JetSettings:
    return load_settings(overrides={"events_per_chunk": 60})


@pytest.fixture(scope="session")
def top_file(tmp_path_factory, small_chunks: JetSettings) -> tuple[Path, GenerationSummary]:
    """A small sample of tops, made by two workers."""
    path = tmp_path_factory.mktemp("top") / "top.root"
    return path, generate_jets("top", N_TOP, SEED, path, settings=small_chunks, workers=2)
