"""A file of jets → a friend tree: range by range, in several processes, resumable, read back before it counts."""

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepcnn import __version__, paths
from hepcnn.atomic import open_parts, refuse_overwriting
from hepcnn.convert.native import check_geometry
from hepcnn.errors import HepcnnError, InputError, did_you_mean
from hepcnn.io.heads import is_remote, size_of
from hepcnn.io.plan import resolve_collection
from hepcnn.io.reader import plan_jets
from hepcnn.io.root_writing import FORMATS, TableFormat, write_table
from hepcnn.io.schema import JetCollection
from hepcnn.processes import WorkerDiedError, WorkerPool
from hepcnn.tagger.copying import InputCopy
from hepcnn.tagger.friend import COPY_PREFIX, FRIEND_TREE, FriendColumns, check_written, choose_cuts
from hepcnn.tagger.plausible import check_radius
from hepcnn.tagger.ranges import (
    PART_VERSION,
    RangeJob,
    RangeScores,
    describe_job,
    merge_counts,
    read_range,
    score_range,
    write_range,
)
from hepcnn.tagger.tagger import Tagger

TARGET = 20_000
"""Entries a range where an entry is one jet: what a killed run loses at most, and what is held in memory at once."""
MARKER, WORKER = "hepcnn-tags.json", "hepcnn.tagger.worker"
AHEAD = 2


@dataclass(frozen=True)
class TagOptions:
    """What is written of the scores.

    ``form`` is ``ttree`` or ``rntuple``; ``workers`` is how many processes score; ``select`` gives NaN to jets outside
    the selection that the tagger was trained on; ``discriminants`` adds ``p_s / (p_s + p_b)`` of each signal class;
    ``working_points`` names those of the bundle whose decisions are added (``all``: every one); ``copy`` writes the
    input's own tree with the new branches added in place of a friend; ``device`` is that of the worker processes.
    """

    form: TableFormat = "ttree"
    workers: int = 1
    select: bool = True
    discriminants: bool = False
    working_points: tuple[str, ...] = ()
    copy: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class TagSummary:
    """What was tagged: entries and jets of the file, jets without a score by reason, jets unlike the training's.

    ``resumed`` counts entries that an earlier, interrupted run had scored.
    """

    n_entries: int
    n_jets: int
    without_score: dict[str, int]
    n_outside_training_pt: int
    training_pt: tuple[float, float] | None
    estimated_fields: tuple[str, ...]
    messages: tuple[str, ...] = ()
    resumed: int = 0
    tree: str = FRIEND_TREE


def tag_file(
    tagger: Tagger,
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    schema: str,
    skip_bad: bool = False,
    options: TagOptions | None = None,
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
        order of the input's jets. A tagger of energies adds ``predicted_energy`` and ``predicted_energy_err`` in GeV
        (``jet_predicted_energy`` …). Keys of the event are copied. Before it gets its name it is read back and
        compared.
    schema
        ``family`` or ``family:collection``.
    skip_bad
        Give NaN to jets with NaN or negative energies instead of stopping. Jets without constituents, or outside the
        tagger's selection, get NaN in any case.
    options
        What else is written, and with how many processes.
    progress
        Called with the number of entries done.

    Raises
    ------
    InputError, SchemaError
        As `hepcnn.io.reader.iterate_jets`; when the file lacks what the bundle's channels need; when it has no entries;
        when a copy is wanted and it holds branches that cannot be written.
    HepcnnError
        When a worker process dies, or what was written does not read back.

    Notes
    -----
    Scores of finished ranges are kept in a folder ``<output>.parts`` until the file is whole, so that the same command
    goes on where it was killed. They serve for the same input (size and time of change), bundle, schema and choices.
    """
    options = options or TagOptions()
    if options.form not in FORMATS:
        raise HepcnnError(f"format '{options.form}'{did_you_mean(options.form, FORMATS)}")
    refuse_overwriting(output, [path])
    _, collection = resolve_collection(schema)
    check_geometry(path, schema, tagger.recipe.grid)
    cuts = choose_cuts(tagger, options.working_points)
    ranges = plan_jets(path, schema, target=TARGET)
    if not ranges:
        raise InputError(f"{path}: the tree has no entries: there is nothing to tag")
    copied = InputCopy(path, schema, options.form) if options.copy else None
    run = _Run(tagger, str(path), Path(output), schema, skip_bad, options, ranges, progress or (lambda _: None))
    columns = FriendColumns(
        tagger,
        one_jet_an_entry=collection.is_entry,
        discriminants=options.discriminants,
        cuts=cuts,
        prefix=COPY_PREFIX if copied else "",
    )
    run.score()

    def blocks() -> Iterator[dict[str, Any]]:
        beside = copied.iterate(ranges) if copied else itertools.repeat({}, len(ranges))
        for scores, others in zip(run.read(), beside, strict=True):
            made = columns.make(scores)
            if copied:
                copied.check_names(made)
            yield others | made

    tree = copied.tree if copied else FRIEND_TREE
    about = {"bundle_id": tagger.bundle_id, "class_names": ",".join(tagger.class_names), "input": Path(path).name}
    write_table(
        output,
        tree,
        blocks(),
        form=options.form,
        counters=copied.counters if copied else None,
        metadata={f"{FRIEND_TREE}_{name}" if copied else name: text for name, text in about.items()},
        check=lambda partial: check_written(partial, tree, blocks(), Path(output)),
    )
    summary = _summarise(tagger, collection, run, tree)
    run.remove()
    return summary


def _summarise(tagger: Tagger, collection: JetCollection, run: "_Run", tree: str) -> TagSummary:
    found = list(run.read())
    known = tagger.manifest.training_ranges.get("jet_pt")
    messages = check_radius(collection.radius, tagger.recipe.radius)
    messages += dict.fromkeys(message for scores in found for message in scores.messages)
    return TagSummary(
        n_entries=sum(len(scores.per_entry) for scores in found),
        n_jets=sum(len(scores.values) for scores in found),
        without_score=merge_counts(scores.without_score for scores in found),
        n_outside_training_pt=sum(scores.n_outside for scores in found),
        training_pt=(known["low"], known["high"]) if known else None,
        estimated_fields=_estimated_fields(tagger, collection),
        messages=tuple(messages),
        resumed=run.resumed,
        tree=tree,
    )


def _estimated_fields(tagger: Tagger, collection: JetCollection) -> tuple[str, ...]:
    """Calorimeter energies that a channel uses and that the schema estimates from the kind of particle."""
    if not any(source.split for source in collection.constituents):
        return ()
    return tuple(field for field in ("ecal", "hcal") if field in tagger.recipe.needs)


class _Run:
    """The ranges of one file, those of an earlier run included."""

    def __init__(
        self,
        tagger: Tagger,
        path: str,
        output: Path,
        schema: str,
        skip_bad: bool,
        options: TagOptions,
        ranges: list[tuple[int, int]],
        progress: Callable[[int], None],
    ) -> None:
        self._tagger, self._output, self._options, self._progress = tagger, output, options, progress
        self.resumed = 0
        self._jobs = [
            RangeJob(path, schema, start, stop, skip_bad, options.select, look=number == 0)
            for number, (start, stop) in enumerate(ranges)
        ]
        modified = 0 if is_remote(path) else Path(path).stat().st_mtime_ns
        source = [str(path) if is_remote(path) else str(Path(path).resolve()), size_of(path), modified]
        settings = [PART_VERSION, __version__, tagger.bundle_id, source, [describe_job(job) for job in self._jobs]]
        key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
        self._root = paths.parts(output)
        self._folder = self._root / key[:16]

    def score(self) -> None:
        """Score what no earlier run has scored."""
        self._open()
        missing = [job for job in self._jobs if not self._part(job).exists()]
        self.resumed = sum(job.stop - job.start for job in self._jobs) - sum(job.stop - job.start for job in missing)
        self._done = self.resumed
        if self.resumed:
            self._progress(self._done)
        try:
            if min(self._options.workers, len(missing)) <= 1:
                for job in missing:
                    self._make(job)
            else:
                self._share(missing)
        except BaseException:
            self._drop_empty()
            raise

    def _make(self, job: RangeJob) -> None:
        write_range(self._part(job), score_range(self._tagger, job))
        self._tell(job)

    def _share(self, missing: list[RangeJob]) -> None:
        bundle = self._tagger.manifest.path.resolve()
        waiting = list(reversed(missing))
        about = {"bundle": str(bundle), "bundle_id": self._tagger.bundle_id, "device": self._options.device}
        n_workers = min(self._options.workers, len(missing))
        try:
            with WorkerPool(n_workers, WORKER, name_job=_name_job, ahead=AHEAD) as pool:
                while waiting or pool.running:
                    while waiting and pool.n_free:
                        job = waiting.pop()
                        part = str(self._part(job).absolute())
                        pool.submit(about | {"part": part, "range": describe_job(job)})
                    for answer in pool.wait():
                        if answer.error is not None:
                            raise answer.error
                        self._tell(RangeJob(**answer.job["range"]))
        except WorkerDiedError as error:
            raise HepcnnError(f"{error}; finished ranges are kept, the same command goes on from there") from error

    def _tell(self, job: RangeJob) -> None:
        self._done += job.stop - job.start
        self._progress(self._done)

    def read(self) -> Iterator[RangeScores]:
        """The scores of all ranges, in the order of the file; one that was damaged on disk is made again."""
        for job in self._jobs:
            scores = read_range(self._part(job))
            if scores is None:
                scores = score_range(self._tagger, job)
                write_range(self._part(job), scores)
            yield scores

    def _part(self, job: RangeJob) -> Path:
        return self._folder / f"{job.start}-{job.stop}.npz"

    def _open(self) -> None:
        about = json.dumps({"format": "hepcnn-tags", "version": PART_VERSION})
        open_parts(self._root, self._folder, marker=MARKER, about=about, outputs=[self._output])

    def _drop_empty(self) -> None:
        if not any(self._folder.glob("*.npz")):
            self.remove()

    def remove(self) -> None:
        """Remove all finished ranges."""
        shutil.rmtree(self._root, ignore_errors=True)


def _name_job(job: Any) -> str:
    found = job["range"]
    return f"the scores of {found['path']}, entries {found['start']} to {found['stop']}"
