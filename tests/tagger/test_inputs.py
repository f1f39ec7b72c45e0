"""Constituents of any source: the same jets score alike however they are held, and wrong ones say what is wrong."""

import warnings
from typing import Any

import awkward as ak
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from hepcnn import Tagger
from hepcnn.errors import HepcnnError, HepcnnWarning, InputError, SchemaError
from tests.tagger.conftest import stack, with_values
from tests.toy import make_constituents

JETS = make_constituents(12, seed=4)
OTHERS = ("charge", "ecal", "hcal")
P = int(ak.max(ak.num(JETS)))


def momenta(jets: ak.Array, names: str, *, record: str | None = None) -> ak.Array:
    """The same jets with momenta under other names, computed by hand."""
    p = jets.pt * np.cosh(jets.eta)
    known = {
        "pt": jets.pt,
        "rho": jets.pt,
        "phi": jets.phi,
        "eta": jets.eta,
        "theta": 2 * np.arctan(np.exp(-jets.eta)),
        "px": jets.pt * np.cos(jets.phi),
        "py": jets.pt * np.sin(jets.phi),
        "pz": jets.pt * np.sinh(jets.eta),
        "E": jets.energy,
        "energy": jets.energy,
        "mass": np.sqrt(np.maximum(jets.energy**2 - p**2, 0)),
    }
    known |= {"x": known["px"], "y": known["py"], "z": known["pz"], "t": known["E"], "tau": known["mass"]}
    fields = {name: known[name] for name in names.split()} | {name: jets[name] for name in OTHERS}
    return ak.zip(fields, with_name=record)


@pytest.mark.parametrize(
    ("names", "record"),
    [
        ("px py pz E", None),
        ("pt phi eta mass", None),
        ("pt phi theta energy", None),
        ("pt phi pz mass", None),
        ("px py eta E", None),
        ("rho phi theta tau", "Vector4D"),
        ("x y z t", "LorentzVector"),
        ("rho phi eta t", "Momentum4D"),
    ],
)
def test_momenta_in_any_coordinates(tagger: Tagger, names: str, record: str | None) -> None:
    assert tagger(momenta(JETS, names, record=record)) == pytest.approx(tagger(JETS), abs=1e-5)


def test_vectors_as_the_package_makes_them(tagger: Tagger) -> None:
    vector = pytest.importorskip("vector", reason="the package 'vector' is not installed")
    made = vector.zip({name: JETS[name] for name in ("pt", "eta", "phi", "energy", *OTHERS)})
    turned = vector.zip({"px": made.px, "py": made.py, "pz": made.pz, "E": made.E} | {n: JETS[n] for n in OTHERS})
    for jets in (made, turned):
        assert tagger(jets) == pytest.approx(tagger(JETS), abs=1e-5)


def test_places_are_no_momenta(tagger: Tagger) -> None:
    with pytest.raises(InputError, match=r"missing: pt, eta, phi \(there are: x, y, z, t"):
        tagger(momenta(JETS, "x y z t"))


PADDED, HOLES = stack(JETS, P + 2, 0.0), stack(JETS, P + 2, np.nan)


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (PADDED, {}),
        (np.stack(list(PADDED.values()), axis=-1), {"fields": list(PADDED)}),
        (HOLES, {"mask": ~np.isnan(HOLES["pt"])}),
        ({name: np.ma.masked_invalid(values) for name, values in HOLES.items()}, {}),
        (ak.pad_none(JETS, P + 2), {}),
        (JETS.to_list(), {}),
        ({name: JETS[name].to_list() for name in ak.fields(JETS)}, {}),
        (ak.zip({f"part_{name}": JETS[name] for name in ak.fields(JETS)}), {"map": "part_"}),
        (ak.zip({f"part_{name}": JETS[name] for name in ak.fields(JETS)}, depth_limit=1), {"map": "part_"}),
        (ak.values_astype(JETS, np.float64), {}),
    ],
    ids=["padded", "one array", "mask", "masked", "options", "lists", "columns", "names", "records of lists", "double"],
)
def test_any_container(tagger: Tagger, data: Any, options: dict[str, Any]) -> None:
    if prefix := options.pop("map", ""):
        options = {"fields": {name: prefix + name for name in ak.fields(JETS)}}
    assert tagger(data, **options) == pytest.approx(tagger(JETS), abs=1e-5)


def test_structured_arrays(tagger: Tagger) -> None:
    table = np.zeros((len(JETS), P + 2), dtype=[(name, np.float32) for name in PADDED])
    for name, values in PADDED.items():
        table[name] = values
    assert tagger(table) == pytest.approx(tagger(JETS), abs=1e-5)


def test_a_name_that_is_taken_for_something_is_not_itself(tagger: Tagger) -> None:
    """The uncalibrated momentum is called pt, the one that is meant pt_corrected."""
    jets = ak.with_field(ak.with_field(JETS, JETS.pt, "pt_corrected"), 2 * JETS.pt, "pt")
    assert tagger(jets, fields={"pt": "pt_corrected"}) == pytest.approx(tagger(JETS), abs=1e-5)


@settings(max_examples=15)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.data())
def test_rows_never_shift(tagger: Tagger, per_event: list[int], data: st.DataObject) -> None:
    """Whatever jets, events and constituents are missing: each jet has the score that it has alone."""
    n_jets = sum(per_event)
    numbers = data.draw(st.lists(st.integers(0, 11), min_size=n_jets, max_size=n_jets))
    empty = data.draw(st.lists(st.booleans(), min_size=n_jets, max_size=n_jets))
    alone = tagger(JETS)
    jets = [[] if gone else JETS[number].to_list() for number, gone in zip(numbers, empty, strict=True)]
    rows = iter(jets)
    events = [[next(rows) for _ in range(count)] for count in per_event]
    typed = ak.Array(events, attrs=None) if n_jets else ak.unflatten(JETS[:0], per_event)
    if n_jets and all(empty):
        return  # nothing says what records there are
    scores = tagger(typed)
    assert ak.num(scores, axis=1).to_list() == per_event
    found = ak.to_numpy(ak.flatten(scores, axis=1)).reshape(n_jets, 2)
    for row, number, gone in zip(found, numbers, empty, strict=True):
        assert np.isnan(row).all() if gone else row == pytest.approx(alone[number], abs=1e-5)


def test_jets_and_events_that_are_none(tagger: Tagger) -> None:
    alone = tagger(JETS)
    masked = ak.mask(JETS, np.arange(len(JETS)) != 3)
    scores = tagger(masked)
    assert np.isnan(scores[3]).all()
    assert np.delete(scores, 3, axis=0) == pytest.approx(np.delete(alone, 3, axis=0), abs=1e-5)
    nested = ak.mask(ak.unflatten(JETS, [4, 8]), [True, False])
    assert ak.num(tagger(nested), axis=1).to_list() == [4, 0]


def test_records_come_nested_as_the_jets(tagger: Tagger) -> None:
    nested = ak.unflatten(JETS, [0, 5, 7])
    found = tagger.tag(nested)
    assert ak.num(found).to_list() == [0, 5, 7]
    assert ak.flatten(found.top).to_numpy() == pytest.approx(tagger(JETS)[:, 1])


def test_bad_jets_have_nan_if_asked_for(tagger: Tagger) -> None:
    second, first = ak.local_index(JETS, axis=0) == 1, ak.local_index(JETS) == 0
    broken = ak.with_field(JETS, ak.where(second & first, np.nan, JETS.ecal), "ecal")
    with pytest.raises(InputError, match="1 values of 'ecal' are NaN, infinite or negative; the first is in jet 1"):
        tagger(broken)
    with pytest.warns(HepcnnWarning, match="1 of 12 jets have NaN"):
        scores = tagger(broken, skip_bad=True)
    assert np.isnan(scores).all(axis=1).tolist() == [number == 1 for number in range(12)]
    assert np.delete(scores, 1, axis=0) == pytest.approx(np.delete(tagger(JETS), 1, axis=0), abs=1e-5)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (JETS[0], {}, "has 1 axis; expected jets of constituents"),
        (3.0, {}, "found builtins.float, expected awkward or NumPy"),
        (np.zeros((3, 4)), {}, r"shape \(3, 4\): give \(jets, P, F\) and fields="),
        (np.zeros((3, 4, 2)), {"fields": ["pt"]}, "the names of its last axis"),
        (JETS, {"fields": {"pt": "p_t"}}, "no field 'p_t' for 'pt'"),
        ({name: JETS[name][: 5 if name == "eta" else 12] for name in ak.fields(JETS)}, {}, "12 jets and 'eta' 5"),
        (
            {name: JETS[name][:, : 1 if name == "ecal" else None] for name in ak.fields(JETS)},
            {},
            "'ecal' differ in length in jet 0",
        ),
        ({name: [["a"]] for name in ak.fields(JETS)}, {}, "'pt' has 3 axes|holds no numbers|expected numbers"),
        (ak.with_field(JETS, ak.mask(JETS.eta, JETS.eta > 0), "eta"), {}, "some values of 'eta' are missing"),
    ],
)
def test_what_is_no_jet_is_told(tagger: Tagger, data: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tagger(data, **options)


@pytest.mark.parametrize("field", ["pt", "energy", "ecal"])
def test_energies_in_mev_are_named(tagger: Tagger, field: str) -> None:
    jets = ak.with_field(JETS, 1000 * JETS[field], field)
    with pytest.warns(HepcnnWarning, match=f"'{field}' of constituents"):
        tagger(jets)


def test_plausible_jets_draw_no_warning(tagger: Tagger) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", HepcnnWarning)
        tagger(JETS)
        tagger(JETS[:0])


def test_jets_of_another_radius_or_pt_are_told(tagger: Tagger) -> None:
    reach = {"low": 0.1, "q01": 0.3, "median": 0.5, "q99": 0.7, "high": 0.8}
    known = with_values(tagger, training_ranges={"jet_pt": {"low": 500.0, "high": 700.0}, "reach": reach})
    with warnings.catch_warnings():
        warnings.simplefilter("error", HepcnnWarning)
        known(JETS)
    first = JETS[:, 0]
    dphi = (JETS.phi - first.phi + np.pi) % (2 * np.pi) - np.pi
    near = ak.with_field(JETS, first.eta + 0.2 * (JETS.eta - first.eta), "eta")
    near = ak.with_field(near, first.phi + 0.2 * dphi, "phi")
    with pytest.warns(HepcnnWarning, match=r"of radius 0.8, reached 0.30 to 0.70: have these another radius"):
        known(near)
    with pytest.warns(HepcnnWarning, match="12 of 12 jets have a pT outside 500–700 GeV"):
        known(
            ak.zip(
                {name: 0.5 * JETS[name] if name in ("pt", "energy", "ecal") else JETS[name] for name in ak.fields(JETS)}
            )
        )


def test_candidates_of_cms_are_told_from_constituents(tagger: Tagger) -> None:
    cands = ak.zip(
        {name: JETS[name] for name in ("pt", "eta", "phi", "charge")} | {"pdgId": 22, "puppiWeight": JETS.pt}
    )
    with (
        pytest.raises(SchemaError, match="schema='pfnano' makes charges and calorimeter energies"),
        pytest.warns(HepcnnWarning, match="'puppiWeight' is not applied"),
    ):
        tagger(cands)
    with pytest.raises(SchemaError, match="schema 'pfnano' needs PFCands_mass, which is not there"):
        tagger(cands, schema="pfnano")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuad"}, "device 'cuad'.*did you mean 'cuda'"),
        ({"device": "cuda:x"}, "device 'cuda:x'"),
        ({"runtime": "onx"}, "runtime 'onx'; did you mean 'onnx'"),
        ({"providers": ["NoSuchProvider"]}, "NoSuchProvider"),
    ],
)
def test_a_runtime_that_is_not_there_is_told(tagger: Tagger, options: dict[str, Any], message: str) -> None:
    with pytest.raises(HepcnnError, match=message):
        Tagger.load(tagger.manifest.path, **options)
