"""Every way in gives the same scores: on a real PFNano file, and on jets in the layout of generated ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from typer.testing import CliRunner

from hepcnn import Tagger
from hepcnn.cli.main import app
from hepcnn.errors import InputError
from hepcnn.io.reader import iterate_jets
from hepcnn.tagger import group_by_jet
from tests.tagger.conftest import FROZEN, stack
from tests.toy import write_toy_jets

TOLERANCE = 1e-5
pytestmark = pytest.mark.filterwarnings("ignore:.*a pT outside:hepcnn.errors.HepcnnWarning")


def flatten(scores: ak.Array) -> np.ndarray:
    return ak.to_numpy(ak.flatten(scores, axis=1))


def read_friend(path: Path, tree: str, prefix: str) -> np.ndarray:
    table = uproot.open(path)[tree]
    columns = [table[f"{prefix}score_{name}"].array() for name in ("qcd", "top")]
    return np.stack([ak.to_numpy(ak.flatten(column, axis=None)) for column in columns], axis=1)


def read_candidates(path: Path, tagger: Tagger) -> Any:
    """With uproot and a group by jet, as in an analysis without any framework."""
    names = ("pt", "eta", "phi", "mass", "charge", "pdgId", "puppiWeight")
    links = ("FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx", "nFatJet")
    columns = uproot.open(path)["Events"].arrays([*links, *(f"PFCands_{name}" for name in names)])
    cands = ak.zip({f"PFCands_{name}": columns[f"PFCands_{name}"] for name in names})
    grouped = group_by_jet(
        cands[columns["FatJetPFCands_pFCandsIdx"]], columns["FatJetPFCands_jetIdx"], columns["nFatJet"]
    )
    return tagger(grouped, schema="pfnano:ak8")


def test_on_a_real_file(tagger: Tagger, shared_data: Path, tmp_path: Path, pf_candidates: Callable[..., Any]) -> None:
    path = shared_data / "nano_root" / "pfnano.root"
    expected = tagger(pf_candidates(path), schema="pfnano")
    assert ak.num(expected, axis=1).to_list() == uproot.open(path)["Events"]["nFatJet"].array().to_list()
    reference = flatten(expected)
    assert len(reference) == 24
    assert np.isfinite(reference).all()
    (batch,) = iterate_jets(path, "pfnano")
    ways = {
        "reader": tagger(batch.constituents),
        "one by one": np.concatenate([tagger(batch.constituents[i : i + 1]) for i in range(len(batch))]),
        "back to front": tagger(ak.from_iter([jet[::-1] for jet in batch.constituents.to_list()])),
        "padded": tagger(stack(batch.constituents, int(ak.max(ak.num(batch.constituents))), 0.0)),
        "uproot": flatten(read_candidates(path, tagger)),
        "torch": Tagger.load(FROZEN, runtime="torch")(batch.constituents),
    }
    for form in ("ttree", "rntuple"):
        output = tmp_path / f"{form}.root"
        call = ["tag", str(path), "--bundle", str(FROZEN), "-o", str(output), "--format", form, "--schema", "pfnano"]
        assert CliRunner().invoke(app, call, catch_exceptions=False).exit_code == 0
        ways[form] = read_friend(output, "hepcnn", "jet_")
    for name, scores in ways.items():
        assert np.abs(scores - reference).max() <= TOLERANCE, name


def test_on_generated_jets(tagger: Tagger, tmp_path: Path) -> None:
    path = write_toy_jets(tmp_path / "jets.root", n_jets=80, n_prongs=3, seed=7)
    columns = uproot.open(path)["tree"].arrays()
    names = {"px": "part_px", "py": "part_py", "pz": "part_pz", "energy": "part_energy"}
    names |= {"charge": "part_charge", "ecal": "part_ecal"}
    reference = tagger(columns, fields=names)
    output = tmp_path / "friend.root"
    call = ["tag", str(path), "--bundle", str(FROZEN), "-o", str(output)]
    assert CliRunner().invoke(app, call, catch_exceptions=False).exit_code == 0
    (batch,) = iterate_jets(path, "hepcnn")
    ways = {"friend": read_friend(output, "hepcnn", ""), "reader": tagger(batch.constituents)}
    ways["records"] = np.stack([tagger.tag(batch.constituents)[name].to_numpy() for name in tagger.class_names], axis=1)
    for name, scores in ways.items():
        assert np.abs(scores - reference).max() <= TOLERANCE, name


def test_links_group_candidates() -> None:
    candidates = ak.Array([[{"pt": 1.0}, {"pt": 2.0}, {"pt": 3.0}], [], [{"pt": 4.0}, {"pt": 5.0}]])
    jets = group_by_jet(candidates, ak.Array([[1, 0, 1], [], [-1, 0]]), [2, 1, 1])
    assert jets.pt.to_list() == [[[2.0], [1.0, 3.0]], [[]], [[5.0]]]
    with pytest.raises(InputError, match="event 0 has 1 jets, a link names number 1"):
        group_by_jet(candidates, ak.Array([[1, 0, 1], [], [-1, 0]]), [1, 1, 1])
    with pytest.raises(InputError, match="do not have the same lengths"):
        group_by_jet(candidates, ak.Array([[1, 0], [], [-1, 0]]), [2, 1, 1])
