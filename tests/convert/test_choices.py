"""Which jets are converted, as which class, and what is said of all others."""

import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hepcnn.config import ImagesConfig, LabelConfig, StudyConfig, parse_model
from hepcnn.convert.duplicates import DuplicateFinder
from hepcnn.convert.files import convert_files
from hepcnn.convert.inputs import LabelledFiles
from hepcnn.convert.selection import parse_selections
from hepcnn.errors import ConfigError, EmptySampleError, InputError
from hepcnn.io.schema import read_schema
from hepcnn.io.store import read_images
from hepcnn.stages.samples import convert_samples
from tests.convert.conftest import PLAIN, convert
from tests.toy import make_toy_jets, write_toy_jets

PARTONS = [21, 1, 2, 5]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file of 400 jets of four kinds in turn, and a schema that knows the kind."""
    folder = tmp_path_factory.mktemp("mixed")
    path = write_toy_jets(folder / "mixed.root", n_jets=400, n_prongs=1, seed=1, parton=np.tile(PARTONS, 100))
    content = read_schema("hepcnn").model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    content["collections"]["jets"]["labels"] = {"parton": {"column": "parton", "names": {"21": "gluon"}}}
    schema = folder / "mixed.yaml"
    schema.write_text(yaml.safe_dump(content))
    return path, str(schema)


def convert_mixed(mixed: tuple[Path, str], output: Path, claims: dict[str, list[int]], **images: Any) -> dict[str, Any]:
    path, schema = mixed
    inputs = [
        LabelledFiles([path], schema, name, LabelConfig(name="parton", values=values))
        for name, values in claims.items()
    ]
    return convert_files(inputs, output, class_names=list(claims), images=PLAIN.model_copy(update=images))


def test_classes_come_from_the_files_label(mixed: tuple[Path, str], tmp_path: Path) -> None:
    claims = {"gluon": [21], "light": [1, 2]}
    card = convert_mixed(mixed, tmp_path / "i.h5", claims, unclaimed="drop")
    images = read_images(tmp_path / "i.h5")
    parton = uproot.open(mixed[0])["tree"]["parton"].array(library="np")[images.jets["source_entry"]]
    assert np.array_equal(images.jets["label"] == 0, parton == 21)
    assert (card["jets_read"], card["jets_written"], card["cutflow"]) == (400, 300, {"of no class (parton 5)": 100})
    assert {name: counts["jets_written"] for name, counts in card["classes"].items()} == {
        "gluon": 100,
        "light": 200,
        "": 0,
    }


def test_jets_that_no_class_claims_stop_the_conversion(mixed: tuple[Path, str], tmp_path: Path) -> None:
    claims = {"gluon": [21], "light": [1]}
    with pytest.raises(
        InputError,
        match=r"mixed\.root: no class claims jets with parton 2 \(100 jets\), 5 \(100.*gluon: 21; light: 1.*drop",
    ):
        convert_mixed(mixed, tmp_path / "i.h5", claims)
    assert not (tmp_path / "i.h5").exists()


def test_an_unknown_label_and_two_claims_of_one_value_are_named(mixed: tuple[Path, str], tmp_path: Path) -> None:
    path, schema = mixed
    wrong = [LabelledFiles([path], schema, "a", LabelConfig(name="patron", values=[1]))]
    with pytest.raises(ConfigError, match=r"offers no label 'patron'; did you mean 'parton'"):
        convert_files(wrong, tmp_path / "i.h5", class_names=["a"], images=PLAIN)
    with pytest.raises(ConfigError, match=r"jets with parton 1 are claimed by 'a' and by 'b'"):
        convert_mixed(mixed, tmp_path / "i.h5", {"a": [1, 2], "b": [1]})


def test_a_sample_of_a_study_knows_what_the_others_claim(mixed: tuple[Path, str], tmp_path: Path) -> None:
    path, schema = mixed
    content: dict[str, Any] = {"study": "s", "results": str(tmp_path), "models": {"cnn": {}}}
    content["images"] = {"channels": ["pt"], "jet_features": ["pt", "mass", "n_constituents"]}
    content["samples"] = {
        name: {"files": [str(path)], "schema": schema, "label": {"name": "parton", "values": values}}
        for name, values in {"gluon": [21], "quark": [1, 2, 5]}.items()
    }
    study = parse_model(StudyConfig, content, where="test")
    card = convert_samples(study, ["gluon"], tmp_path / "gluon.h5")
    assert card["classes"]["gluon"] == {
        "jets_read": 400,
        "cutflow": {f"of class quark (parton {value})": 100 for value in (1, 2, 5)},
        "jets_written": 100,
    }
    both = convert_samples(study, [], tmp_path / "both.h5")
    assert {name: counts["jets_read"] for name, counts in both["classes"].items()} == {"gluon": 100, "quark": 300}
    content["samples"]["all"] = {"files": [str(path)], "schema": schema}
    with pytest.raises(ConfigError, match=r"class 'all' reads this file too"):
        convert_samples(parse_model(StudyConfig, content, where="test"), ["gluon"], tmp_path / "x.h5")


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pt=st.tuples(st.none() | st.floats(560, 600), st.none() | st.floats(600, 640)),
    abs_eta=st.tuples(st.none() | st.floats(0, 0.5), st.none() | st.floats(0.5, 1.5)),
    n=st.tuples(st.none() | st.integers(8, 15), st.none() | st.integers(16, 30)),
)
def test_selections_are_half_open_and_counted(
    toy_files: dict[str, Path], tmp_path: Path, pt: Any, abs_eta: Any, n: Any
) -> None:
    select = {"pt": pt, "abs_eta": abs_eta, "n_constituents": n}
    images = parse_model(ImagesConfig, PLAIN.model_dump() | {"select": select}, where="test")
    tree = uproot.open(toy_files["top"])["tree"].arrays(["jet_pt", "jet_eta", "part_px"])
    values = {
        "pt": ak.to_numpy(tree["jet_pt"]).astype(np.float64),
        "abs_eta": np.abs(ak.to_numpy(tree["jet_eta"]).astype(np.float64)),
        "n_constituents": ak.to_numpy(ak.num(tree["part_px"])),
    }
    left, counts = np.ones(400, dtype=bool), []
    for name, (low, high) in select.items():
        passed = (values[name] >= (-np.inf if low is None else low)) & (
            values[name] < (np.inf if high is None else high)
        )
        counts += [int((left & ~passed).sum())]
        left &= passed
    card = convert([toy_files["top"]], tmp_path / "i.h5", images=images)
    assert read_images(tmp_path / "i.h5").jets["source_entry"].tolist() == np.flatnonzero(left).tolist()
    assert list(card["cutflow"].values()) == [count for count in counts if count]
    assert card["jets_read"] == card["jets_written"] + sum(card["cutflow"].values()) == 400


def test_a_selection_that_nothing_passes_shows_the_cutflow(toy_files: dict[str, Path], tmp_path: Path) -> None:
    images = parse_model(ImagesConfig, {"select": {"pt": [600, None], "mass": [1e4, None]}}, where="test")
    message = r"(?s)no jet to write.*read 400.*pt below 600 GeV\n  \d+ mass below 10000 GeV"
    with pytest.raises(EmptySampleError, match=message):
        convert([toy_files["qcd"]], tmp_path / "i.h5", images=images)
    assert not list(tmp_path.glob("i*"))


def test_selections_on_the_command_line() -> None:
    assert parse_selections(["pt=550:650", "abs_eta=:2"]) == {"pt": (550.0, 650.0), "abs_eta": (None, 2.0)}
    for text, message in {
        "pt": "expected NAME=MIN:MAX",
        "ptt=1:2": "no variable 'ptt'; did you mean 'pt'",
        "pt=a:2": "'a' is not a number",
    }.items():
        with pytest.raises(ConfigError, match=message):
            parse_selections([text])
    with pytest.raises(ConfigError, match="lower bound 3 must be below"):
        parse_model(ImagesConfig, {"select": {"pt": [3, 2]}}, where="test")


def test_jets_in_two_files_are_named_or_counted(toy_files: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.root"
    shutil.copy(toy_files["top"], copy)
    with pytest.raises(InputError, match=r"copy\.root: 400 of its jets .* are also in .*top\.root.*--skip-bad"):
        convert([toy_files["top"], copy], tmp_path / "i.h5")
    keep = PLAIN.model_copy(update={"skip_bad": True})
    card = convert([toy_files["top"], toy_files["qcd"], copy], tmp_path / "i.h5", images=keep)
    assert card["cutflow"] == {f"also in {toy_files['top']}": 400}
    assert (card["jets_written"], card["duplicates"]) == (800, 400)
    assert read_images(tmp_path / "i.h5").jets["source_file"].tolist() == [0] * 400 + [1] * 400
    with pytest.raises(ConfigError, match=r"top\.root: this file is named twice"):
        convert([toy_files["top"], toy_files["top"]], tmp_path / "i.h5")


def test_a_jet_twice_in_one_file_is_found(tmp_path: Path) -> None:
    columns = make_toy_jets(50, n_prongs=1, seed=1)
    order = np.array([*range(50), 7])
    path = write_toy_jets(
        tmp_path / "a.root", n_jets=50, n_prongs=1, seed=1, **{name: column[order] for name, column in columns.items()}
    )
    with pytest.raises(InputError, match=r"a\.root: 1 of its jets .*are also earlier in this file"):
        convert([path], tmp_path / "i.h5")


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, -0.0, 1.5]), st.integers(0, 1)), max_size=12),
        max_size=6,
    )
)
def test_duplicates_are_those_of_a_plain_dictionary(blocks: list[list[tuple[int, float, int]]]) -> None:
    finder, known = DuplicateFinder(), dict[tuple[int, float, int], int]()
    for file, block in enumerate(blocks):
        found = finder.find(
            {
                "event_id": np.array([jet[0] for jet in block], np.uint64),
                "pt": np.array([100.0 for _ in block], np.float32),
                "eta": np.array([jet[1] for jet in block], np.float32),
                "phi": np.array([jet[2] for jet in block], np.float32),
            },
            file,
        )
        expected = []
        for jet in block:
            expected.append(known.get(jet, -1))
            known.setdefault(jet, file)
        assert found.tolist() == expected
