"""What the tests of file families share: jets as plain Python, and angles from another library."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import vector

from hepcnn.io.batch import JetBatch
from hepcnn.io.plan import Reading
from hepcnn.io.reader import iterate_jets


class Jet(NamedTuple):
    """One jet as hepcnn reads it."""

    entry: int
    number: int
    pt: float
    eta: float
    phi: float
    mass: float
    weight: float
    event_id: int
    labels: dict[str, int]
    constituents: list[dict[str, float]]


def read_jets(path: Path, reading: Reading | str, **options: Any) -> list[Jet]:
    """All jets of a file, block by block."""
    found = []
    for batch in iterate_jets(path, reading, **options):
        constituents = batch.constituents.tolist()
        for at in range(len(batch)):
            labels = {name: int(values[at]) for name, values in batch.labels.items()}
            momentum = [float(getattr(batch, name)[at]) for name in ("pt", "eta", "phi", "mass", "weight")]
            place = int(batch.entry[at]), int(batch.jet[at])
            found.append(Jet(*place, *momentum, int(batch.event_id[at]), labels, constituents[at]))
    return found


def column(jet: Jet, name: str) -> list[float]:
    """One number of each constituent, sorted."""
    return sorted(constituent[name] for constituent in jet.constituents)


def distance(eta: float, phi: float, other_eta: float, other_phi: float) -> float:
    """Between two directions, by scikit-hep's vector."""
    one = vector.obj(pt=1.0, eta=float(eta), phi=float(phi))
    return float(one.deltaR(vector.obj(pt=1.0, eta=float(other_eta), phi=float(other_phi))))


def assert_same_batches(one: list[JetBatch], other: list[JetBatch]) -> None:
    """Two readings agree in every bit; only where blocks end may differ, as baskets do."""
    for name in ("entry", "jet", "pt", "eta", "phi", "mass", "weight", "event_id"):
        assert np.array_equal(*(np.concatenate([getattr(b, name) for b in batches]) for batches in (one, other))), name
    counts = (np.concatenate([batch.flat.counts for batch in batches]) for batches in (one, other))
    assert np.array_equal(*counts)
    assert one[0].labels.keys() == other[0].labels.keys()
    for name in one[0].labels:
        assert np.array_equal(*(np.concatenate([b.labels[name] for b in batches]) for batches in (one, other))), name
    assert one[0].flat.fields.keys() == other[0].flat.fields.keys()
    for name in one[0].flat.fields:
        values = (np.concatenate([batch.flat.fields[name] for batch in batches]) for batches in (one, other))
        assert np.array_equal(*values), name
