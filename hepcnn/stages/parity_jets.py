"""Jets to compare taggers on: real ones from their files, awkward ones beside them, all by way of a ROOT file."""

import os
from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.config import StudyConfig
from hepcnn.constituents import Constituents
from hepcnn.errors import HepcnnError
from hepcnn.export.made_up import join_jets, make_awkward_jets, make_up_jets
from hepcnn.images.recipe import ImageRecipe
from hepcnn.io.plan import Reading
from hepcnn.io.reader import iterate_jets
from hepcnn.io.root import open_root, write_tree
from hepcnn.kinematics import pt_eta_phi, px_py_pz
from hepcnn.outputs import list_outputs, make_comparable
from hepcnn.stages.samples import list_files
from hepcnn.tagger import Tagger, tag_file

STORED = ("pt", "eta", "phi", "energy", "charge", "ecal", "hcal")
STORED_SCHEMA, FRIEND_TREE = "hepcnn", "hepcnn"
ENTRIES_AT_ONCE = 100


@dataclass(frozen=True)
class FoundJets:
    """Jets, GeV and radians, and where they are from, in words; ``note`` says why they are not what was wished for."""

    constituents: Constituents
    origin: str
    note: str = ""


def read_real_jets(path: str | os.PathLike[str], reading: Reading | str, n_jets: int) -> Constituents:
    """The first jets of a file that can be scored, at most ``n_jets``.

    Raises
    ------
    HepcnnError
        When the file cannot be read, or holds no usable jet in its first entries.
    """
    parts: list[Constituents] = []
    for batch in iterate_jets(path, reading, step=ENTRIES_AT_ONCE, entry_stop=20 * n_jets):
        # Arrays with negative energies are refused by a tagger, whatever a family of files keeps.
        usable = batch.flat.select(batch.usable & ~batch.flat.any(batch.flat.fields["pt"] < 0))
        parts.append(usable.slice(0, min(len(usable), n_jets - sum(map(len, parts)))))
        if sum(map(len, parts)) >= n_jets:
            break
    if not sum(map(len, parts)):
        raise HepcnnError(f"{path}: no jet in its first entries can be scored")
    return join_jets(parts)


def find_jets(study: StudyConfig | None, recipe: ImageRecipe, n_jets: int) -> FoundJets:
    """Jets of every class of a study, the first of its files; made-up ones where the files are not at hand.

    Notes
    -----
    Which jets they are does not matter here, only that they are real: training jets serve as well as others.
    """
    samples = [] if study is None else [list_files(study, name) for name in study.samples]
    parts, files, note = [], [], "no study is known"
    for sample in samples:
        if "://" in str(sample.files[0]):
            note = f"{sample.files[0]}: not fetched for this"
            continue
        try:
            found = read_real_jets(sample.files[0], sample.reading, -(-n_jets // len(samples)))
            recipe.check_fields(list(found.fields), where=str(sample.files[0]))
        except (HepcnnError, OSError) as error:
            note = str(error).splitlines()[0]
            continue
        parts.append(found)
        files.append(Path(sample.files[0]).name)
    if not parts:
        return FoundJets(make_up_jets(recipe, n_jets, seed=1), f"{n_jets} made-up jets", note)
    real = join_jets(parts)
    return FoundJets(real, f"{len(real)} jets of {', '.join(dict.fromkeys(files))}")


def add_awkward_jets(found: FoundJets, recipe: ImageRecipe) -> FoundJets:
    """The same, and jets where arithmetic is at its limits."""
    awkward = make_awkward_jets(recipe, seed=2)
    joined = join_jets([found.constituents, awkward])
    return FoundJets(joined, f"{found.origin}, {len(awkward)} awkward ones", found.note)


@dataclass(frozen=True)
class FriendScores:
    """What `hepcnn tag` wrote of a file's jets, the tagger's own outputs, both as they are compared, and the jets."""

    friend: NDArray[np.float32]
    tagger: NDArray[np.float32]
    constituents: Constituents
    n_outside: int


def tag_stored_jets(tagger: Tagger, constituents: Constituents, folder: Path) -> FriendScores:
    """Store jets in a ROOT file of hepcnn's own layout, tag it, and read both back.

    Raises
    ------
    HepcnnError
        When the tagger needs fields that the layout has not.
    """
    missing = [name for name in tagger.recipe.needs if name not in STORED]
    if missing or any(name not in constituents.fields for name in STORED):
        raise HepcnnError(f"generated files have no constituent field '{', '.join(missing) or 'charge'}'")
    path = folder / "jets.root"
    _store_jets(path, constituents)
    return tag_real_file(tagger, path, STORED_SCHEMA, folder)


def _store_jets(path: Path, constituents: Constituents) -> None:
    fields, counts = constituents.fields, constituents.counts
    momenta = dict(zip(("px", "py", "pz"), px_py_pz(fields["pt"], fields["eta"], fields["phi"]), strict=True))
    parts = {**momenta, **{name: fields[name] for name in ("energy", "charge", "ecal", "hcal")}}
    sums = {name: constituents.sum(parts[name]) for name in ("px", "py", "pz", "energy")}
    pt, eta, phi = pt_eta_phi(sums["px"], sums["py"], sums["pz"])
    jets = {"pt": pt, "eta": np.nan_to_num(eta, posinf=0.0, neginf=0.0), "phi": phi, "energy": sums["energy"]}
    columns = {f"jet_{name}": values.astype(np.float32) for name, values in jets.items()}
    stored = {f"part_{name}": ak.unflatten(values.astype(np.float32), counts) for name, values in parts.items()}
    write_tree(path, "tree", [columns | stored | {"event_number": np.arange(len(constituents))}])


def tag_real_file(tagger: Tagger, path: str | os.PathLike[str], schema: str, folder: Path) -> FriendScores:
    """Tag a file, read the friend tree back, and score the same jets with the tagger in memory.

    Raises
    ------
    HepcnnError
        When the file cannot be tagged, or the friend tree has another number of jets.
    """
    output = folder / "friend.root"
    tag_file(tagger, path, output, schema=schema, skip_bad=True)
    friend = _read_friend(output, tagger)
    scores, parts = [], []
    for batch in iterate_jets(path, schema):
        score = np.full((len(batch), tagger.n_values), np.nan, np.float32)
        score[batch.usable] = tagger.predict_constituents(batch.flat.select(batch.usable))
        scores.append(score)
        # A jet that cannot be scored keeps its row, without constituents.
        parts.append(batch.flat.keep(np.repeat(batch.usable, batch.flat.counts)))
    own = np.concatenate(scores)
    if friend.shape != own.shape:
        raise HepcnnError(f"{output}: scores {friend.shape} for {own.shape[0]} jets and {own.shape[1]} classes")
    # What lies outside a tagger's selection has no score in the friend tree; the tagger in memory does not ask.
    outside = np.isnan(friend).all(axis=1) & ~np.isnan(own).all(axis=1)
    own[outside] = np.nan
    friend, own = (make_comparable(values, tagger.tasks) for values in (friend, own))
    return FriendScores(friend, own, join_jets(parts), int(outside.sum()))


def _read_friend(path: Path, tagger: Tagger) -> NDArray[np.float32]:
    wanted = [f"score_{name}" for name in tagger.class_names]
    wanted += [f"predicted_{name}" for name in list_outputs(tagger.tasks) if name != "score"]
    with open_root(path) as file:
        table = file.table(FRIEND_TREE)
        prefix = "" if wanted[0] in table.columns else "jet_"
        names = [f"{prefix}{name}" for name in wanted]
        columns = table.read(names, 0, table.n_entries)
    flat = [columns[name] if columns[name].ndim == 1 else ak.flatten(columns[name]) for name in names]
    return np.stack([ak.to_numpy(values).astype(np.float32) for values in flat], axis=1)
