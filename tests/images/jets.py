"""Jets for the tests of images."""

import awkward as ak
import numpy as np

from hepcnn.constituents import Constituents, offsets_of
from tests.toy import make_constituents


def toy_jets(n_jets: int, *, seed: int, n_prongs: int = 2) -> Constituents:
    """Toy jets anywhere in phi, with a layer and a feature for each constituent."""
    jets = Constituents.from_awkward(make_constituents(n_jets, seed=seed, n_prongs=n_prongs))
    random = np.random.default_rng(seed)
    more = {"layer": random.integers(-1, 5, jets.n).astype(float), "d0": random.normal(0, 1, jets.n)}
    return Constituents(jets.offsets, {**jets.fields, **more})


def jets_of(*jets: list[dict[str, float]]) -> Constituents:
    """Jets written out, each a list of records."""
    names = next(iter(record.keys() for jet in jets for record in jet), ("pt", "eta", "phi"))
    flat = [record for jet in jets for record in jet]
    fields = {name: np.array([record[name] for record in flat], dtype=float) for name in names}
    return Constituents(offsets_of(np.array([len(jet) for jet in jets])), fields)


def changed(jets: Constituents, **fields: np.ndarray) -> Constituents:
    """The same with some fields replaced."""
    return Constituents(jets.offsets, {**jets.fields, **fields})


def reordered(jets: Constituents, *, seed: int) -> Constituents:
    """The same with the constituents of each jet in another order."""
    records = jets.to_awkward()
    order = ak.unflatten(np.random.default_rng(seed).random(jets.n), jets.counts)
    return Constituents.from_awkward(records[ak.argsort(order, axis=1)])
