"""A small tagger that was trained once and frozen, so that these tests train none."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from hepcnn import Tagger
from hepcnn.bundle import Manifest
from tests.conftest import DATA

FROZEN = Path(__file__).parent / "bundle_v1"


@pytest.fixture(scope="session")
def tagger() -> Tagger:
    """The frozen tagger: classes qcd and top, 16 × 16 pixels of pt, ecal and track_pt, jet features."""
    return Tagger.load(FROZEN)


@pytest.fixture(scope="session")
def shared_data_folder() -> Path:
    """As `shared_data`, for fixtures that last longer than a test."""
    if not DATA.is_dir():
        pytest.skip(f"no real files at {DATA}: set HEPCNN_TEST_DATA")
    return DATA


@pytest.fixture(scope="session")
def pf_candidates() -> Any:
    """A function that reads the candidates of a PFNano file's AK8 jets, event by event, with uproot and loops alone."""

    def read(path: Path) -> ak.Array:
        tree = uproot.open(path)["Events"]
        names = ("pt", "eta", "phi", "mass", "charge", "pdgId", "puppiWeight")
        cands = tree.arrays([f"PFCands_{name}" for name in names]).to_list()
        links = tree.arrays(["FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx", "nFatJet"]).to_list()
        events = []
        for cand, link in zip(cands, links, strict=True):
            jets: list[list[dict[str, float]]] = [[] for _ in range(link["nFatJet"])]
            for jet, number in zip(link["FatJetPFCands_jetIdx"], link["FatJetPFCands_pFCandsIdx"], strict=True):
                jets[jet].append({name: cand[f"PFCands_{name}"][number] for name in names})
            events.append(jets)
        return ak.Array(events)

    return read


def with_values(tagger: Tagger, **values: Any) -> Tagger:
    """The same tagger, whose manifest says something else."""
    manifest = tagger.manifest
    return Tagger(Manifest(manifest.path, {**manifest.values, **values}), tagger._session)


def stack(columns: ak.Array, length: int, fill: float) -> dict[str, np.ndarray]:
    """Fields of records (N, var) as padded arrays (N, length)."""
    padded = {name: ak.pad_none(columns[name], length, clip=True) for name in ak.fields(columns)}
    return {name: ak.to_numpy(ak.fill_none(column, fill)) for name, column in padded.items()}
