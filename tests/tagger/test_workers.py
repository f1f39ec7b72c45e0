"""Taggers in threads, in other processes, and how little they bring along."""

import concurrent.futures
import multiprocessing
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from hepcnn import Tagger
from tests.tagger.conftest import FROZEN
from tests.toy import make_constituents

JETS = make_constituents(40, seed=4)


def score(tagger: Tagger) -> np.ndarray:
    return np.asarray(tagger(JETS[:5]))


def test_threads_share_one_tagger(tagger: Tagger) -> None:
    expected = tagger(JETS)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        parts = [pool.submit(tagger, JETS[start : start + 4]) for start in [*range(0, 40, 4)] * 3]
        found = np.concatenate([part.result() for part in parts])
    assert found == pytest.approx(np.concatenate([expected] * 3), abs=1e-6)


def test_it_travels_without_its_folder(tagger: Tagger) -> None:
    content = pickle.dumps(tagger)
    again = pickle.loads(content)
    assert again(JETS) == pytest.approx(tagger(JETS), abs=0)
    assert again._session is tagger._session  # one process opens a graph once
    assert len(content) < 100_000


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_it_scores_in_other_processes(tagger: Tagger, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        found = pool.submit(score, tagger).result(timeout=300)
    assert found == pytest.approx(tagger(JETS[:5]), abs=1e-6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_starts_a_session_of_its_own() -> None:
    """Threads of ONNX Runtime stay behind in a fork: a session that was inherited would wait for them."""
    tagger = Tagger.load(FROZEN, threads=2)
    expected = tagger(JETS[:5])
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put(score(tagger)))
    child.start()
    child.join(120)
    assert child.exitcode == 0
    assert queue.get() == pytest.approx(expected, abs=1e-6)


def test_dask_takes_it_along(tagger: Tagger) -> None:
    dask = pytest.importorskip("dask", reason="the package 'dask' is not installed")
    tasks = [dask.delayed(score)(tagger) for _ in range(2)]
    for found in dask.compute(*tasks, scheduler="processes", num_workers=1):
        assert found == pytest.approx(tagger(JETS[:5]), abs=1e-6)


def test_a_registered_tagger_is_found_by_its_address(monkeypatch: pytest.MonkeyPatch, tagger: Tagger) -> None:
    asked = []
    registry = SimpleNamespace(find_bundle=lambda address: asked.append(address) or FROZEN)
    monkeypatch.setitem(sys.modules, "hepcnn.tracking.registry", registry)  # type: ignore[arg-type] # a stand-in
    assert Tagger.load("models:/toy@champion").bundle_id == tagger.bundle_id
    assert asked == ["models:/toy@champion"]


def test_scoring_brings_no_torch_and_loading_no_numba_either() -> None:
    code = (
        "import sys, hepcnn\n"
        f"tagger = hepcnn.Tagger.load({str(FROZEN)!r})\n"
        "heavy = {'torch', 'uproot', 'h5py', 'numba', 'scipy', 'matplotlib', 'mlflow', 'onnx', 'safetensors'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "jets = [[{'pt': 500.0, 'eta': 0.1, 'phi': 0.2, 'charge': 1, 'ecal': 100.0}]]\n"
        "assert tagger(jets).shape == (1, 2)\n"
        "print(sorted({'torch', 'uproot', 'h5py', 'mlflow', 'onnx', 'safetensors'} & set(sys.modules)))\n"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    assert said == ["[]", "[]"]
