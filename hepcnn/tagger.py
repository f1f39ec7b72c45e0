"""A bundle → scores, with ONNX Runtime and without torch."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hepcnn.atomic import refuse_overwriting
from hepcnn.bundle import MODEL, Manifest, read_manifest
from hepcnn.constituents import Constituents
from hepcnn.errors import BundleError, InputError
from hepcnn.images.pixelate import Pixels
from hepcnn.io.batch import JetBatch
from hepcnn.io.reader import iterate_jets, resolve_collection
from hepcnn.io.root import write_tree
from hepcnn.io.schema import JetCollection

BATCH = 512
FRIEND_TREE = "hepcnn"
REQUIRED_FIELDS = ("pt", "eta", "phi")
USED_FIELDS = (*REQUIRED_FIELDS, "energy", "charge", "ecal", "hcal")
NOT_NEGATIVE = ("pt", "energy", "ecal", "hcal")


class Tagger:
    """A trained tagger. Make one with `Tagger.load`."""

    def __init__(self, manifest: Manifest, session: Any) -> None:
        self.manifest = manifest
        self.class_names = manifest.class_names
        self.recipe = manifest.recipe
        self._session = session
        self._inputs = {entry.name for entry in session.get_inputs()}

    def __repr__(self) -> str:
        return f"Tagger({self.manifest.values['model']}, classes={list(self.class_names)}, bundle={self.bundle_id})"

    @property
    def bundle_id(self) -> str:
        """Hash of the bundle's payload."""
        return self.manifest.bundle_id

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, threads: int = 0) -> "Tagger":
        """Load a bundle.

        Parameters
        ----------
        path
            The bundle's folder.
        threads
            Threads that ONNX Runtime may use; 0 leaves the choice to it.

        Raises
        ------
        BundleError
            When the bundle is incomplete, damaged, or made for another hepcnn.
        """
        if str(path).startswith("models:"):
            raise BundleError(f"{path}: MLflow model addresses cannot be loaded yet: name the bundle's folder")
        manifest = read_manifest(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or _threads_asked_for()
        try:
            session = onnxruntime.InferenceSession(Path(path) / MODEL, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no common base for what it raises
            raise BundleError(f"{Path(path) / MODEL}: ONNX Runtime cannot load it: {error}") from error
        return cls(manifest, session)

    def __call__(self, constituents: ak.Array) -> NDArray[np.float32]:
        """Score jets.

        Parameters
        ----------
        constituents
            (N, var) of records with ``pt, eta, phi`` and what the bundle's grid, channels and jet features need
            (``energy`` or ``mass``, ``charge``, ``ecal``, ``hcal``, …), in GeV and radians. Not changed. Other fields
            are ignored; constituents of zero pT carry nothing and do not count.

        Returns
        -------
        array (N, n_classes) float32
            Probabilities that add up to one, in the order of ``class_names``. A jet without constituents has NaN.

        Raises
        ------
        InputError
            When a field is missing, or a value is NaN, infinite or negative.
        """
        constituents = _complete(constituents)
        self.recipe.check_fields(ak.fields(constituents), where="constituents")
        used = dict.fromkeys([*USED_FIELDS, *self.recipe.needs])
        constituents = constituents[[name for name in used if name in ak.fields(constituents)]]
        _check_values(constituents)
        return self.score_constituents(Constituents.from_awkward(constituents))

    def score_constituents(self, constituents: Constituents) -> NDArray[np.float32]:
        """Score jets whose constituents hold what the bundle needs, without NaN, as readers make sure of.

        Returns
        -------
        array (N, n_classes) float32
            As of a call; a jet without constituents of positive pT has NaN.
        """
        # As the readers do: what carries nothing is nothing.
        constituents = constituents.keep(constituents.fields["pt"] > 0)
        parts = [np.zeros((0, len(self.class_names)), np.float32)]
        for start in range(0, len(constituents), 8 * BATCH):
            block = constituents.slice(start, min(start + 8 * BATCH, len(constituents)))
            parts.append(self.score_pixels(self.recipe.make_pixels(block), self.recipe.make_jet_features(block)))
        scores = np.concatenate(parts)
        scores[constituents.counts == 0] = np.nan
        return scores

    def score_pixels(self, pixels: Pixels, features: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Score jets whose pixels and jet-level numbers are made already, (N, n_classes)."""
        columns = [features[name] for name in self.recipe.jet_features]
        stacked = np.stack(columns, axis=1) if columns else np.zeros((len(pixels), 0), np.float32)
        parts = [np.zeros((0, len(self.class_names)), np.float32)]
        for start in range(0, len(pixels), BATCH):
            stop = min(start + BATCH, len(pixels))
            images = pixels.select(start, stop).to_dense(self.recipe.grid.shape)
            parts.append(self.score_images(images, stacked[start:stop]))
        return np.concatenate(parts)

    def score_images(self, images: NDArray[np.float32], jet_features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score dense images (N, C, and the axes) with jet-level numbers (N, F): probabilities (N, n_classes)."""
        feed = {"images": images, "jet_features": jet_features}
        (scores,) = self._session.run(None, {name: array for name, array in feed.items() if name in self._inputs})
        return np.asarray(scores, dtype=np.float32)


def _threads_asked_for() -> int:
    """What OMP_NUM_THREADS says, which may be a list with one number per level of nesting; 0 where it says nothing."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdigit() else 0


def _complete(constituents: ak.Array) -> ak.Array:
    """Check the structure, and add the energy where only a mass, or neither, is given."""
    fields = ak.fields(constituents)
    missing = [name for name in REQUIRED_FIELDS if name not in fields]
    if missing or constituents.ndim != 2:
        raise InputError(
            f"constituents: expected an array of jets of records with {', '.join(REQUIRED_FIELDS)}; "
            + (f"missing: {', '.join(missing)} (there are: {', '.join(fields)})" if missing else "found another depth")
        )
    if "energy" in fields:
        return constituents
    momentum = constituents["pt"] * np.cosh(constituents["eta"])
    energy = np.sqrt(momentum**2 + constituents["mass"] ** 2) if "mass" in fields else momentum
    return ak.with_field(constituents, energy, "energy")


def _check_values(constituents: ak.Array) -> None:
    for name in ak.fields(constituents):
        values = constituents[name]
        if "?" in str(values.type):
            raise InputError(f"constituents: some values of '{name}' are missing (None): fill or drop them first")
        bad = ~(np.isfinite(values) & (values >= 0)) if name in NOT_NEGATIVE else ~np.isfinite(values)
        count = int(ak.sum(bad))
        if count:
            jet = int(np.flatnonzero(ak.to_numpy(ak.any(bad, axis=1)))[0])
            raise InputError(
                f"constituents: {count} values of '{name}' are NaN, infinite or negative; the first is in jet {jet}"
            )


@dataclass(frozen=True)
class TagSummary:
    """What was tagged: entries and jets of the file, jets without a score by reason, jets unlike the training's."""

    n_entries: int
    n_jets: int
    without_score: dict[str, int]
    n_outside_training_pt: int
    training_pt: tuple[float, float] | None
    estimated_fields: tuple[str, ...]


def tag_file(
    tagger: Tagger,
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    schema: str,
    skip_bad: bool = False,
    progress: Callable[[int], None] | None = None,
) -> TagSummary:
    """Write a friend tree with the scores of every jet of a file.

    Parameters
    ----------
    tagger
        The tagger.
    path
        The file; it is not changed.
    output
        The ROOT file to write: a tree ``hepcnn`` with one row per entry of the input, in its order. Where the input has
        one jet an entry the branches are ``score_<class>``; else ``jet_score_<class>``, one number per jet, in the
        order of the input's jets. Keys of the event are copied.
    schema
        ``family`` or ``family:collection``.
    skip_bad
        Give NaN to jets with NaN or negative energies instead of stopping. Jets without constituents get NaN in any
        case.
    progress
        Called with the number of entries done.

    Raises
    ------
    InputError, SchemaError
        As `hepcnn.io.reader.iterate_jets`, or when the file lacks what the bundle's channels need.
    """
    refuse_overwriting(output, [path])
    _, collection = resolve_collection(schema)
    counts = {"entries": 0, "jets": 0, "outside": 0}
    without_score: dict[str, int] = {}
    training_pt = tagger.manifest.values.get("training_pt")

    def blocks() -> Iterator[dict[str, Any]]:
        for batch in iterate_jets(path, schema):
            scores = _score_batch(tagger, batch, skip_bad, without_score)
            counts["entries"] += batch.n_entries
            counts["jets"] += len(batch)
            if training_pt:
                counts["outside"] += int(((batch.pt < training_pt[0]) | (batch.pt > training_pt[1])).sum())
            yield _friend_columns(tagger, batch, scores, one_jet_an_entry=collection.is_entry)
            if progress:
                progress(counts["entries"])

    metadata = {"bundle_id": tagger.bundle_id, "class_names": ",".join(tagger.class_names), "input": Path(path).name}
    write_tree(output, FRIEND_TREE, _never_empty(blocks(), path), metadata=metadata)
    estimated = _estimated_fields(tagger, collection)
    return TagSummary(counts["entries"], counts["jets"], without_score, counts["outside"], training_pt, estimated)


def _estimated_fields(tagger: Tagger, collection: JetCollection) -> tuple[str, ...]:
    """Calorimeter energies that a channel uses and that the schema estimates from the kind of particle."""
    if not any(source.split for source in collection.constituents):
        return ()
    return tuple(field for field in ("ecal", "hcal") if field in tagger.recipe.needs)


def _never_empty(blocks: Iterator[dict[str, Any]], path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    n_blocks = 0
    for block in blocks:
        n_blocks += 1
        yield block
    if n_blocks == 0:
        raise InputError(f"{path}: the tree has no entries: there is nothing to tag")


def _score_batch(tagger: Tagger, batch: JetBatch, skip_bad: bool, without_score: dict[str, int]) -> NDArray[np.float32]:
    tagger.recipe.check_fields(list(batch.flat.fields), where=batch.where)
    empty = batch.problems["no constituents"]
    if not skip_bad and (~batch.usable & ~empty).any():
        batch.require_usable()
    for reason, mask in batch.problems.items():
        if mask.any():
            without_score[reason] = without_score.get(reason, 0) + int(mask.sum())
    scores = np.full((len(batch), len(tagger.class_names)), np.nan, dtype=np.float32)
    scores[batch.usable] = tagger.score_constituents(batch.flat.select(batch.usable))
    return scores


def _friend_columns(
    tagger: Tagger, batch: JetBatch, scores: NDArray[np.float32], *, one_jet_an_entry: bool
) -> dict[str, Any]:
    # A dot in a name would be a path to ROOT.
    columns: dict[str, Any] = {key.replace(".", "_"): values for key, values in batch.keys.items()}
    per_entry = np.bincount(batch.entry - batch.first_entry, minlength=batch.n_entries)
    prefix = "" if one_jet_an_entry else "jet_"
    for column, name in enumerate(tagger.class_names):
        values = scores[:, column]
        columns[f"{prefix}score_{name}"] = values if one_jet_an_entry else ak.unflatten(values, per_entry)
    if not one_jet_an_entry:
        columns["jet_pt"] = ak.unflatten(batch.pt.astype(np.float32), per_entry)
    return columns
