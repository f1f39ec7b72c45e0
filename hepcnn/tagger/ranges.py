"""A range of entries of one file → the scores of its jets, kept on disk until the friend tree is whole."""

import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.atomic import atomic_path
from hepcnn.convert.cells import STRAYS, check_cells, describe_stray, find_strays
from hepcnn.convert.selection import iterate_selections
from hepcnn.errors import InputError
from hepcnn.io.batch import JetBatch
from hepcnn.io.reader import iterate_jets
from hepcnn.tagger.plausible import check_reach, check_units
from hepcnn.tagger.tagger import LOOKED_AT, Tagger

PART_VERSION = 2
"""Raise it whenever the same range gives other numbers or another layout."""
SELECTED = "outside the tagger's selection: {}"


@dataclass(frozen=True)
class RangeJob:
    """Entries ``start`` to ``stop`` (the latter excluded) of a file, and how they are scored.

    With ``select`` jets outside the tagger's selection get NaN; with ``look`` the first jets are compared with those
    of the training.
    """

    path: str
    schema: str
    start: int
    stop: int
    skip_bad: bool
    select: bool
    look: bool


@dataclass(frozen=True)
class RangeScores:
    """What is known of a range when its jets are scored.

    ``values`` (n_jets, n_values) are all that the tagger says of jets, ``pt`` (n_jets,) theirs, float32; ``per_entry``
    (n_entries,) counts jets; ``keys`` (n_entries,) by name; ``without_score`` counts jets by reason, ``n_outside``
    those with a pT outside the training's.
    """

    values: NDArray[np.float32]
    pt: NDArray[np.float32]
    per_entry: NDArray[np.int64]
    keys: Mapping[str, NDArray[Any]]
    without_score: Mapping[str, int]
    n_outside: int
    messages: tuple[str, ...]


def score_range(tagger: Tagger, job: RangeJob) -> RangeScores:
    """Score the jets of a range, block by block.

    Raises
    ------
    InputError, SchemaError
        When the file cannot be read or does not fit the schema, lacks what the bundle needs, or holds jets that cannot
        be used (unless ``skip_bad``; those without constituents have NaN in any case).
    """
    scorer = _Scorer(tagger, job)
    batches = iterate_jets(job.path, job.schema, entry_start=job.start, entry_stop=job.stop)
    return scorer.join([scorer.score(batch) for batch in batches])


class _Scorer:
    def __init__(self, tagger: Tagger, job: RangeJob) -> None:
        self._tagger, self._job = tagger, job
        self._ranges = tagger.manifest.training_ranges
        self._select = tagger.manifest.selection if job.select else {}
        self._without: dict[str, int] = {}
        self._outside = 0
        self._messages: dict[str, None] = {}
        self._look = job.look

    def score(self, batch: JetBatch) -> dict[str, Any]:
        tagger = self._tagger
        tagger.recipe.check_fields(list(batch.flat.fields), where=batch.where)
        if not self._job.skip_bad and (~batch.usable & ~batch.problems["no constituents"]).any():
            batch.require_usable()
        for reason, mask in batch.problems.items():
            self._count(reason, mask)
        chosen = batch.usable & ~self._find_strays(batch)
        for reason, passed in iterate_selections(batch, self._select):
            self._count(SELECTED.format(reason), chosen & ~passed)
            chosen = chosen & passed
        if (known := self._ranges.get("jet_pt")) is not None:
            self._outside += int((chosen & ((batch.pt < known["low"]) | (batch.pt > known["high"]))).sum())
        jets = batch.flat.select(chosen)
        self._compare(jets)
        values = np.full((len(batch), tagger.n_values), np.nan, dtype=np.float32)
        values[chosen] = tagger.predict_constituents(jets)
        return {
            "values": values,
            "pt": batch.pt.astype(np.float32),
            "per_entry": np.bincount(batch.entry - batch.first_entry, minlength=batch.n_entries),
            # A dot in a name would be a path to ROOT.
            **{f"key/{name.replace('.', '_')}": values for name, values in batch.keys.items()},
        }

    def _find_strays(self, batch: JetBatch) -> NDArray[np.bool_]:
        """Showers with cells that the tagger's calorimeter does not have."""
        grid = self._tagger.recipe.grid
        check_cells(batch, grid)
        stray = batch.usable & find_strays(batch, grid)
        if stray.any() and not self._job.skip_bad:
            raise InputError(describe_stray(batch, grid, stray))
        self._count(STRAYS, stray)
        return stray

    def _count(self, reason: str, mask: NDArray[np.bool_]) -> None:
        if mask.any():
            self._without[reason] = self._without.get(reason, 0) + int(mask.sum())

    def _compare(self, jets: Any) -> None:
        for message in check_units(jets, self._ranges):
            self._messages[message] = None
        if not self._look or not len(jets):
            return
        self._look = False
        some, recipe = jets.slice(0, min(len(jets), LOOKED_AT)), self._tagger.recipe
        if "reach" in self._ranges:
            from hepcnn.images.reach import measure_reach

            reach = measure_reach(recipe.make_pixels(some), recipe.grid)
            self._messages |= dict.fromkeys(check_reach(reach, self._ranges, recipe.radius))

    def join(self, blocks: list[dict[str, Any]]) -> RangeScores:
        whole = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
        keys = {name.removeprefix("key/"): values for name, values in whole.items() if name.startswith("key/")}
        return RangeScores(
            values=whole["values"],
            pt=whole["pt"],
            per_entry=whole["per_entry"],
            keys=keys,
            without_score=self._without,
            n_outside=self._outside,
            messages=tuple(self._messages),
        )


def write_range(path: str | os.PathLike[str], scores: RangeScores) -> None:
    """Write a range; the file appears under its name when it is whole."""
    about = {"without_score": scores.without_score, "n_outside": scores.n_outside, "messages": scores.messages}
    arrays: dict[str, Any] = {"values": scores.values, "pt": scores.pt, "per_entry": scores.per_entry}
    arrays |= {f"key/{name}": values for name, values in scores.keys.items()}
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)


def read_range(path: str | os.PathLike[str]) -> RangeScores | None:
    """Read what `write_range` wrote; None where it is not there or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            keys = {name.removeprefix("key/"): file[name] for name in file.files if name.startswith("key/")}
            return RangeScores(
                values=file["values"],
                pt=file["pt"],
                per_entry=file["per_entry"],
                keys=keys,
                without_score=about["without_score"],
                n_outside=about["n_outside"],
                messages=tuple(about["messages"]),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        Path(path).unlink(missing_ok=True)
        return None


def describe_job(job: RangeJob) -> dict[str, Any]:
    """A job as JSON holds it."""
    return asdict(job)


def merge_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add up counts by reason."""
    total: dict[str, int] = {}
    for one in counts:
        for reason, count in one.items():
            total[reason] = total.get(reason, 0) + count
    return total
