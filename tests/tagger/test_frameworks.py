"""The programs of docs/using-a-tagger.md run as they stand there, where their frameworks are installed."""

import re
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from hepcnn import Tagger
from hepcnn.io.reader import iterate_jets
from hepcnn.tagger import tag_file
from tests.tagger.conftest import FROZEN

DOCS = Path(__file__).parents[2] / "docs" / "using-a-tagger.md"


def program(marker: str) -> dict[str, Any]:
    """What the code block of the page that holds these words defines."""
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    (text,) = [block for block in blocks if marker in block]
    names: dict[str, Any] = {"__name__": "tag_jets"}
    exec(compile(text, f"{DOCS}: {marker}", "exec"), names)
    return names


@pytest.fixture(scope="module")
def expected(tagger: Tagger) -> Any:
    """Scores and pT of the AK8 jets of a file, as the reader has them."""

    def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
        (batch,) = iterate_jets(path, "pfnano")
        return tagger(batch.constituents)[:, 1], batch.pt

    return read


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["iterative", "dask"])
def test_the_coffea_processor(shared_data: Path, expected: Any, kind: str) -> None:
    pytest.importorskip("coffea", reason="the package 'coffea' is not installed")
    from coffea import processor

    path = shared_data / "nano_root" / "pfnano.root"
    scores, pt = expected(path)
    cut = float(np.median(scores))
    names = program("class TaggedJets")
    names["TaggedJets"].__init__.__defaults__ = (cut,)
    if kind == "iterative":
        found = names["run"]([str(path)], FROZEN, processor.IterativeExecutor(status=False))
    else:
        distributed = pytest.importorskip("distributed", reason="the package 'distributed' is not installed")
        with distributed.Client(processes=False, n_workers=1, dashboard_address=None) as client:
            found = names["run"]([str(path)], FROZEN, processor.DaskExecutor(client=client, status=False))
    assert found["jets"] == len(scores)
    assert found["scores"].value == pytest.approx(scores, abs=1e-5)
    assert found["tagged"] == int(((scores > cut) & (pt > 200)).sum())


@pytest.mark.filterwarnings("ignore")
def test_nanoevents_of_coffea_as_they_are(tagger: Tagger, shared_data: Path) -> None:
    pytest.importorskip("coffea", reason="the package 'coffea' is not installed")
    from coffea.nanoevents import NanoEventsFactory, PFNanoAODSchema

    path = shared_data / "nano_root" / "pfnano.root"
    (batch,) = iterate_jets(path, "pfnano:ak4")
    reference = tagger(batch.constituents)
    for mode in ("virtual", "eager"):
        opened = NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=PFNanoAODSchema, mode=mode)
        candidates = opened.events().Jet.constituents.pf
        scores = ak.to_numpy(ak.flatten(tagger(candidates, schema="pfnano:ak4"), axis=1))
        assert scores == pytest.approx(reference, abs=1e-5, nan_ok=True)


@pytest.mark.filterwarnings("ignore")
def test_dask_awkward_learns_the_type_first(tagger: Tagger, shared_data: Path) -> None:
    dask_awkward = pytest.importorskip("dask_awkward", reason="the package 'dask_awkward' is not installed")
    (batch,) = iterate_jets(shared_data / "nano_root" / "pfnano.root", "pfnano")
    lazy = dask_awkward.from_awkward(batch.constituents, npartitions=2)
    scores = dask_awkward.map_partitions(tagger.tag, lazy)
    assert set(scores.fields) == {"qcd", "top"}
    # What it plans when it optimises, newer versions of dask cannot compute, whatever is mapped.
    assert scores.top.compute(optimize_graph=False).to_numpy() == pytest.approx(
        tagger(batch.constituents)[:, 1], abs=1e-5
    )


@pytest.mark.filterwarnings("ignore")
def test_rdataframe_on_the_friend_tree(tagger: Tagger, shared_data: Path, expected: Any, tmp_path: Path) -> None:
    pytest.importorskip("ROOT", reason="ROOT's Python package is not installed")
    path = shared_data / "nano_root" / "pfnano.root"
    scores, pt = expected(path)
    cut = float(np.median(scores))
    tag_file(tagger, path, tmp_path / "friend.root", schema="pfnano")
    histogram = program("def tagged_jets")["tagged_jets"](str(path), str(tmp_path / "friend.root"), cut)
    assert histogram.GetEntries() == int(((scores > cut) & (pt > 200)).sum()) > 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["ttree", "rntuple"])
def test_root_reads_what_was_written(
    tagger: Tagger, shared_data: Path, expected: Any, tmp_path: Path, form: Any
) -> None:
    root = pytest.importorskip("ROOT", reason="ROOT's Python package is not installed")
    from hepcnn.tagger import TagOptions

    path = shared_data / "nano_root" / "pfnano.root"
    tag_file(tagger, path, tmp_path / "friend.root", schema="pfnano", options=TagOptions(form=form))
    columns = root.RDataFrame("hepcnn", str(tmp_path / "friend.root")).AsNumpy(["jet_score_top", "event"])
    found = np.concatenate([np.asarray(list(jets)) for jets in columns["jet_score_top"]])
    assert found == pytest.approx(expected(path)[0], abs=1e-6)
    assert len(columns["event"]) == 10
