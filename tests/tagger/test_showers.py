"""Showers are scored by the cells of the tagger's calorimeter, and by no others."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hepcnn import Tagger
from hepcnn.bundle import Manifest
from hepcnn.calorimeters import read_calorimeter
from hepcnn.errors import InputError
from hepcnn.tagger.files import tag_file
from hepcnn.tagger.ranges import RangeJob, score_range
from tests.io.calorimeter_files import Showers, make_showers, write_hits

DETECTOR = read_calorimeter("sampling45")


class DepthSession:
    """Stands for a network: what part of a shower is in its first 20 layers, (N, 2) logarithms."""

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="images")]

    def run(self, _: None, feed: dict[str, np.ndarray]) -> tuple[np.ndarray]:
        layers = feed["images"][:, 0].sum(axis=(2, 3), dtype=np.float64)
        part = np.clip(layers[:, :20].sum(axis=1) / layers.sum(axis=1), 1e-6, 1 - 1e-6)
        return (np.stack([part, 1 - part], axis=1).astype(np.float32),)


@pytest.fixture(scope="module")
def shower_tagger(tagger: Tagger) -> Tagger:
    changes: dict[str, Any] = {"grid": DETECTOR.grid.model_dump(), "channels": ["energy"], "jet_features": []}
    changes |= {"preprocess": {"version": 1, "steps": []}, "selection": {}, "training_ranges": {}}
    manifest = tagger.manifest
    return Tagger(Manifest(manifest.path, {**manifest.values, **changes}), DepthSession())


@pytest.fixture(scope="module")
def showers() -> Showers:
    made = make_showers(30, DETECTOR.n_cells)
    return replace(made, energy=np.abs(made.energy) + np.float32(0.01))


def score(tagger: Tagger, path: Path, *, skip_bad: bool = False) -> Any:
    job = RangeJob(str(path), "showers", 0, 30, skip_bad=skip_bad, select=False, look=True)
    return score_range(tagger, job)


def test_scores_are_of_the_files_cells(shower_tagger: Tagger, showers: Showers, tmp_path: Path) -> None:
    found = score(shower_tagger, write_hits(tmp_path / "h.root", showers))
    for at in range(30):
        here = showers.hits(at)
        if not showers.counts[at]:
            assert np.isnan(found.values[at]).all()
            continue
        # 20 layers of 16 × 9 cells.
        early = showers.energy[here][showers.cell[here] < 20 * 144].sum(dtype=float)
        assert found.values[at, 0] == pytest.approx(early / showers.energy[here].sum(dtype=float), abs=2e-6)
    assert found.without_score == {"no constituents": 3}


def test_cells_that_do_not_exist_have_no_score(shower_tagger: Tagger, showers: Showers, tmp_path: Path) -> None:
    cell = showers.cell.copy()
    cell[showers.hits(5).start] = DETECTOR.n_cells
    path = write_hits(tmp_path / "h.root", replace(showers, cell=cell))
    with pytest.raises(InputError, match=r"entry 5: cell 6480 does not exist"):
        score(shower_tagger, path)
    found = score(shower_tagger, path, skip_bad=True)
    assert np.isnan(found.values[5]).all()
    assert found.without_score == {"no constituents": 3, "cells that the grid has not": 1}


def test_files_of_another_calorimeter_are_refused(shower_tagger: Tagger, tmp_path: Path) -> None:
    path = write_hits(tmp_path / "h.root", make_showers(10, 1000), "barrel12")
    with pytest.raises(InputError, match=r"h.root: the file describes other cells than those of the tagger's images"):
        tag_file(shower_tagger, path, tmp_path / "f.root", schema="showers")
    assert not (tmp_path / "f.root").exists()
