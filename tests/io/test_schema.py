"""Schemas are data: the shipped ones load, wrong ones are refused with the key named."""

from pathlib import Path

import pytest
import yaml

from hepcnn.errors import SchemaError
from hepcnn.io.inspect import inspect_file
from hepcnn.io.reader import iterate_jets
from hepcnn.io.root import read_branches, write_tree
from hepcnn.io.schema import SCHEMA_FOLDER, list_schemas, read_schema
from tests.toy import write_toy_jets


@pytest.mark.parametrize("name", list_schemas())
def test_shipped_schemas_load(name: str) -> None:
    schema = read_schema(name)
    assert schema.name == name
    for key in schema.collections:
        assert schema.collection(key).columns


def test_an_unknown_family_or_collection_brings_the_nearest() -> None:
    with pytest.raises(SchemaError, match="no schema 'pfnanno'; did you mean 'pfnano'"):
        read_schema("pfnanno")
    with pytest.raises(SchemaError, match="no collection 'ak9'; did you mean 'ak"):
        read_schema("pfnano").collection("ak9")


def test_a_familys_own_file_is_enough(tmp_path: Path) -> None:
    """A user adds an experiment by writing one YAML file."""
    content = yaml.safe_load((SCHEMA_FOLDER / "jetclass.yaml").read_text()) | {"name": "mine"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    path = write_toy_jets(tmp_path / "a.root", n_jets=10, n_prongs=1, seed=1)
    (batch,) = iterate_jets(path, str(tmp_path / "mine.yaml"))
    assert len(batch) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tre": "x"}, "tre: unknown key; did you mean 'tree'"),
        ({"default": "jests"}, "default: no collection 'jests'; did you mean 'jets'"),
        ({"energy_unit": "TeV"}, "energy_unit"),
    ],
)
def test_wrong_schemas_name_the_key(tmp_path: Path, change: dict[str, str], message: str) -> None:
    content = yaml.safe_load((SCHEMA_FOLDER / "jetclass.yaml").read_text()) | change
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(SchemaError, match=message) as caught:
        read_schema(path)
    assert "mine.yaml" in str(caught.value)


def test_inspect_recognises_the_families(shared_data: Path, tmp_path: Path) -> None:
    found = inspect_file(shared_data / "nano_root" / "pfnano.root")
    assert found.schema == "pfnano"
    assert {fit.schema: fit.n_jets for fit in found.fits} == {"pfnano": 24, "pfnano:ak4": 64}
    delphes = inspect_file(shared_data / "delphes_root" / "delphes_towers_10ev.root")
    assert delphes.schema == "delphes"
    assert {fit.schema: fit.n_jets for fit in delphes.fits}["delphes"] == 74
    toy = inspect_file(write_toy_jets(tmp_path / "a.root", n_jets=10, n_prongs=1, seed=1))
    assert toy.schema == "hepcnn"


def test_inspect_says_what_the_nearest_schema_lacks(shared_data: Path) -> None:
    found = inspect_file(shared_data / "nano_root" / "nano_tt_v12.root")
    assert found.schema is None
    assert found.nearest is not None
    assert found.nearest.schema.startswith("nanoaod")
    assert "PFCand_pt" in found.nearest.missing


def test_inspect_offers_what_can_be_read(shared_data: Path, tmp_path: Path) -> None:
    """A file with AK4 links only: the family's first choice, AK8, is not in it."""
    names = [*read_schema("pfnano").collection("ak4").columns, "run", "luminosityBlock", "event"]
    events = read_branches(shared_data / "nano_root" / "pfnano.root", "Events", names)
    write_tree(tmp_path / "ak4.root", "Events", [{name: events[name] for name in names}])
    assert inspect_file(tmp_path / "ak4.root").schema == "pfnano:ak4"


def test_inspect_of_hdf5_and_of_nothing(shared_data: Path) -> None:
    found = inspect_file(shared_data / "bad" / "jets_features_no_constituents.h5")
    assert (found.format, found.schema) == ("HDF5", None)
    empty = inspect_file(shared_data / "bad" / "bad_delphes.root")
    assert (empty.schema, empty.contents) == (None, [])
    assert any("no tree" in note for note in empty.notes)
