"""Friend trees: every row in its place, whatever the format, the number of processes and what was killed before."""

import json
import re
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from hepcnn import Tagger, paths
from hepcnn.errors import HepcnnError, InputError, SchemaError
from hepcnn.io.root_writing import write_table
from hepcnn.tagger import TagOptions, files, tag_file
from tests.tagger.conftest import with_values
from tests.toy import make_constituents, write_toy_jets

WORKING_POINTS = {
    "top": {
        "working_points": [
            {"name": "eps_s_0.5", "signal": "top", "background": "qcd", "threshold": 0.5, "eps_s": 0.5, "eps_b": 0.1}
        ],
        "flat_in_pt": [
            {
                "name": "mistag_1pct_flat",
                "signal": "top",
                "background": "qcd",
                "pt_edges": [500.0, 600.0, 700.0],
                "thresholds": [0.4, 0.6],
                "eps_s": {"value": 0.5},
                "eps_b": {"value": 0.01},
            }
        ],
    }
}


@pytest.fixture(scope="module")
def cutting(tagger: Tagger) -> Tagger:
    """The tagger with working points that some toy jets pass."""
    return with_values(tagger, working_points=WORKING_POINTS, metrics={"top": {"background": "qcd"}})


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 jets, one an entry."""
    return write_toy_jets(tmp_path_factory.mktemp("toys") / "toys.root", n_jets=60, n_prongs=3, seed=5)


def columns_of(path: Path, tree: str = "hepcnn") -> dict[str, Any]:
    table = uproot.open(path)[tree]
    return {name: table[name].array() for name in table.keys()}  # noqa: SIM118 - uproot's trees iterate otherwise


@pytest.mark.parametrize("form", ["ttree", "rntuple"])
def test_scores_discriminants_and_decisions(cutting: Tagger, toys: Path, tmp_path: Path, form: Any) -> None:
    options = TagOptions(form=form, discriminants=True, working_points=("all",))
    summary = tag_file(cutting, toys, tmp_path / "friend.root", schema="hepcnn", options=options)
    friend = columns_of(tmp_path / "friend.root")
    scores = cutting(make_constituents(60, seed=5, n_prongs=3))
    assert friend["score_top"].to_numpy() == pytest.approx(scores[:, 1], abs=1e-5)
    ratio = scores[:, 1] / (scores[:, 0] + scores[:, 1])
    assert friend["discriminant_top"].to_numpy() == pytest.approx(ratio, abs=1e-5)
    clear = np.abs(ratio - 0.5) > 1e-4
    assert (friend["pass_top_eps_s_0p5"].to_numpy() == (ratio >= 0.5))[clear].all()
    pt = uproot.open(toys)["tree"]["jet_pt"].array().to_numpy()
    threshold = np.where(pt < 600, 0.4, 0.6)
    clear = np.abs(ratio - threshold) > 1e-4
    assert (friend["pass_top_mistag_1pct_flat"].to_numpy() == (ratio >= threshold))[clear].all()
    assert friend["event_number"].to_list() == uproot.open(toys)["tree"]["event_number"].array().to_list()
    assert (summary.n_entries, summary.n_jets, summary.resumed) == (60, 60, 0)


@pytest.mark.parametrize("form", ["ttree", "rntuple"])
def test_nested_jets_in_both_formats(tagger: Tagger, shared_data: Path, tmp_path: Path, form: Any) -> None:
    path = shared_data / "nano_root" / "pfnano.root"
    tag_file(tagger, path, tmp_path / "friend.root", schema="pfnano", options=TagOptions(form=form))
    friend = columns_of(tmp_path / "friend.root")
    tree = uproot.open(path)["Events"]
    for key in ("run", "luminosityBlock", "event"):
        assert friend[key].to_list() == tree[key].array().to_list()
    assert ak.num(friend["jet_score_top"]).to_list() == tree["nFatJet"].array().to_list()
    kind = uproot.open(tmp_path / "friend.root").classnames(cycle=False)["hepcnn"]
    assert kind == {"ttree": "TTree", "rntuple": "ROOT::RNTuple"}[form]


@pytest.fixture(scope="module")
def thin_file(shared_data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PFNano file with what its AK8 jets need and some columns of other kinds, of more than a thousand."""
    tree = uproot.open(shared_data_folder / "nano_root" / "pfnano.root")["Events"]
    wanted = re.compile(
        "run|event|luminosityBlock|genWeight|PV_z|HLT_PFJet500|FatJet_(pt|eta|phi|mass|jetId|subJetIdx1)|Muon_(pt|isGlobal)"
        "|PFCands_(pt|eta|phi|mass|charge|pdgId|puppiWeight)|FatJetPFCands_(jetIdx|pFCandsIdx)"
    )
    path = tmp_path_factory.mktemp("thin") / "thin.root"
    names = [name for name in tree.keys() if wanted.fullmatch(name)]  # noqa: SIM118 - uproot's trees iterate otherwise
    write_table(path, "Events", [{name: tree[name].array() for name in names}])
    return path


@pytest.mark.parametrize("form", ["ttree", "rntuple"])
def test_a_copy_holds_all_of_the_input_and_the_scores(
    tagger: Tagger, thin_file: Path, tmp_path: Path, form: Any
) -> None:
    path, output = thin_file, tmp_path / "copy.root"
    summary = tag_file(tagger, path, output, schema="pfnano", options=TagOptions(form=form, copy=True))
    assert summary.tree == "Events"
    before, after = uproot.open(path)["Events"], uproot.open(output)["Events"]
    assert set(before.keys()) <= set(after.keys())
    for name in before.keys():  # noqa: SIM118 - uproot's trees iterate otherwise
        assert before[name].array().to_list() == after[name].array().to_list(), name
    assert ak.num(after["hepcnn_jet_score_top"].array()).to_list() == before["nFatJet"].array().to_list()
    with pytest.raises(SchemaError, match="has a branch 'hepcnn_jet_score_qcd' already"):
        tag_file(tagger, output, tmp_path / "again.root", schema="pfnano", options=TagOptions(form=form, copy=True))


def test_a_copy_of_what_a_tree_cannot_hold_is_refused(tagger: Tagger, shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "delphes_root" / "delphes_towers_10ev.root"
    with pytest.raises(InputError, match=r"a copy cannot hold the branches .*: write a friend tree instead"):
        tag_file(tagger, path, tmp_path / "copy.root", schema="delphes", options=TagOptions(copy=True))
    assert not any(tmp_path.iterdir())


def test_jets_outside_the_selection_have_nan(tagger: Tagger, toys: Path, tmp_path: Path) -> None:
    choosy = with_values(tagger, selection={"pt": [600, None]})
    pt = uproot.open(toys)["tree"]["jet_pt"].array().to_numpy()
    summary = tag_file(choosy, toys, tmp_path / "a.root", schema="hepcnn")
    found = columns_of(tmp_path / "a.root")["score_top"].to_numpy()
    assert (np.isnan(found) == (pt < 600)).all()
    assert summary.without_score == {"outside the tagger's selection: pt below 600 GeV": int((pt < 600).sum())}
    tag_file(choosy, toys, tmp_path / "b.root", schema="hepcnn", options=TagOptions(select=False))
    every = columns_of(tmp_path / "b.root")["score_top"].to_numpy()
    assert np.isfinite(every).all()
    assert found[pt >= 600] == pytest.approx(every[pt >= 600], abs=1e-6)


def test_jets_of_another_radius_are_told(tagger: Tagger, shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "nano_root" / "pfnano.root"
    summary = tag_file(tagger, path, tmp_path / "friend.root", schema="pfnano:ak4")
    assert "these jets have a radius of 0.4, the tagger was trained on jets of radius 0.8" in summary.messages


def test_energies_in_mev_are_told(tagger: Tagger, tmp_path: Path) -> None:
    from tests.toy import make_toy_jets

    columns = make_toy_jets(10, n_prongs=1, seed=1)
    large = {n: 1000 * columns[n] for n in columns if n.startswith("part_p") or n in ("part_energy", "part_ecal")}
    path = write_toy_jets(tmp_path / "mev.root", n_jets=10, n_prongs=1, seed=1, **large)
    summary = tag_file(tagger, path, tmp_path / "friend.root", schema="hepcnn")
    assert {message.split("'")[1] for message in summary.messages} == {"pt", "energy", "ecal"}


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "TARGET", 16)


@pytest.mark.usefixtures("small_ranges")
def test_processes_change_nothing(tagger: Tagger, toys: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        output = tmp_path / f"{workers}.root"
        tag_file(tagger, toys, output, schema="hepcnn", options=TagOptions(workers=workers))
        assert not paths.parts(output).exists()
    one, two = columns_of(tmp_path / "1.root"), columns_of(tmp_path / "2.root")
    assert list(one) == list(two)
    assert all(one[name].to_list() == two[name].to_list() for name in one)


class Stopped(BaseException):
    """What a kill is to the program, as far as it can tell a test."""


@pytest.mark.usefixtures("small_ranges")
def test_a_stopped_run_goes_on(tagger: Tagger, toys: Path, tmp_path: Path) -> None:
    output = tmp_path / "friend.root"

    def stop(done: int) -> None:
        if done >= 32:
            raise Stopped

    with pytest.raises(Stopped):
        tag_file(tagger, toys, output, schema="hepcnn", progress=stop)
    assert not output.exists()
    kept = sorted(paths.parts(output).glob("*/*.npz"))
    assert len(kept) == 2
    kept[1].write_bytes(kept[1].read_bytes()[:100])
    summary = tag_file(tagger, toys, output, schema="hepcnn")
    assert summary.resumed == 32
    tag_file(tagger, toys, tmp_path / "whole.root", schema="hepcnn")
    found, whole = columns_of(output), columns_of(tmp_path / "whole.root")
    assert all(found[name].to_list() == whole[name].to_list() for name in whole)
    assert {path.name for path in tmp_path.iterdir()} == {"friend.root", "whole.root"}


@pytest.mark.usefixtures("small_ranges")
def test_parts_of_other_choices_do_not_serve(tagger: Tagger, toys: Path, tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise Stopped

    output = tmp_path / "friend.root"
    with pytest.raises(Stopped):
        tag_file(tagger, toys, output, schema="hepcnn", progress=stop)
    assert tag_file(tagger, toys, output, schema="hepcnn", skip_bad=True).resumed == 0


def test_what_does_not_read_back_is_not_kept(tagger: Tagger, toys: Path, tmp_path: Path, monkeypatch: Any) -> None:
    made = files.FriendColumns.make
    calls = []

    def make(self: Any, scores: Any) -> dict[str, Any]:
        calls.append(1)
        columns = made(self, scores)
        if len(calls) > 1:  # when it is read back
            columns["score_top"] = np.roll(columns["score_top"], 1)
        return columns

    monkeypatch.setattr(files.FriendColumns, "make", make)
    with pytest.raises(HepcnnError, match="'score_top' differs at entry 0; the file is not kept"):
        tag_file(tagger, toys, tmp_path / "friend.root", schema="hepcnn")
    assert not (tmp_path / "friend.root").exists()


def test_the_folder_of_parts_of_somebody_else_stays(tagger: Tagger, toys: Path, tmp_path: Path) -> None:
    folder = paths.parts(tmp_path / "friend.root")
    folder.mkdir()
    (folder / "mine.txt").write_text("precious")
    with pytest.raises(HepcnnError, match="it is not replaced"):
        tag_file(tagger, toys, tmp_path / "friend.root", schema="hepcnn")
    assert (folder / "mine.txt").exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (TagOptions(form="parquet"), HepcnnError, "format 'parquet'"),  # type: ignore[arg-type]
        (TagOptions(working_points=("mistag_2pct",)), SchemaError, "no working point 'mistag_2pct'; it has: eps_s_0.5"),
    ],
)
def test_wrong_choices_are_told(
    cutting: Tagger, toys: Path, tmp_path: Path, options: TagOptions, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        tag_file(cutting, toys, tmp_path / "friend.root", schema="hepcnn", options=options)


@pytest.mark.parametrize("name", ["bad_delphes.root", "nano_dy_empty.root", "bad_lfs_pointer.root"])
def test_bad_files_end_with_a_message(tagger: Tagger, shared_data: Path, tmp_path: Path, name: str) -> None:
    schema = "delphes" if "delphes" in name else "pfnano"
    with pytest.raises((InputError, SchemaError), match=name):
        tag_file(tagger, shared_data / "bad" / name, tmp_path / "friend.root", schema=schema)
    assert not any(tmp_path.iterdir())


def test_cuts_by_hand(cutting: Tagger) -> None:
    scores = np.array([[0.45, 0.55], [0.55, 0.45], [np.nan, np.nan]], np.float32)
    assert cutting.cut("top", "eps_s_0.5").passes(scores).tolist() == [True, False, False]
    flat = cutting.cut("top", "mistag_1pct_flat")
    assert flat.passes(scores, pt=[550, 650, 550]).tolist() == [True, False, False]
    assert flat.passes(scores, pt=[650, 100, 550]).tolist() == [False, True, False]
    with pytest.raises(InputError, match="depends on pT"):
        flat.passes(scores)
    with pytest.raises(InputError, match=r"did you mean 'eps_s_0.5'"):
        cutting.cut("top", "eps_s_0.4")
    with pytest.raises(InputError, match="no working points for 'w'"):
        cutting.cut("w", "eps_s_0.5")
    assert json.dumps([cut.eps_b for cut in cutting.cuts]) == "[0.1, 0.01]"


@pytest.mark.parametrize("form", ["ttree", "rntuple"])
def test_tables_of_several_blocks_read_back(tmp_path: Path, form: Any) -> None:
    """Blocks without an entry and entries without a jet included."""
    blocks = [{"n": np.arange(3), "jet_x": ak.Array([[1.0], [], [2.0, 3.0]])}]
    blocks += [
        {"n": np.zeros(0, int), "jet_x": blocks[0]["jet_x"][:0]},
        {"n": np.array([7]), "jet_x": ak.Array([[4.0]])},
    ]
    write_table(tmp_path / "a.root", "t", blocks, form=form)
    table = uproot.open(tmp_path / "a.root")["t"]
    assert table["n"].array().to_list() == [0, 1, 2, 7]
    assert table["jet_x"].array().to_list() == [[1], [], [2, 3], [4]]
