"""A range of entries of one file → the images of its jets: what a worker does."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.config import ImagesConfig, StrictModel
from hepcnn.convert.cells import STRAYS, check_cells, describe_stray, find_strays
from hepcnn.convert.cutflow import Cutflow, Stage
from hepcnn.convert.inputs import Source
from hepcnn.convert.parts import Part
from hepcnn.convert.selection import iterate_selections
from hepcnn.convert.units import check_energies, check_lengths
from hepcnn.errors import InputError, SchemaError, did_you_mean
from hepcnn.grids import PlacedGrid
from hepcnn.images.recipe import ImageRecipe, make_recipe
from hepcnn.io.reader import JetBatch, iterate_jets
from hepcnn.io.store import JET_DTYPES, index_dtype

Columns = dict[str, NDArray[np.float32]]
NAN = "NaN or infinite values"


class RangeJob(StrictModel):
    """Entries ``start`` to ``stop`` (the latter excluded) of a file, and what images to make of them."""

    source: Source
    start: int
    stop: int
    images: ImagesConfig
    radius: float

    @property
    def where(self) -> str:
        """How messages call it."""
        return f"{self.source.path}, entries {self.start} to {self.stop}"


def make_parts(job: RangeJob) -> list[Part]:
    """Read a range of entries, choose jets, and make their images, block by block.

    Raises
    ------
    InputError, SchemaError
        When the file cannot be read, does not fit the schema, or holds jets that cannot be used (unless ``skip_bad``).
    """
    maker = _PartMaker(job)
    batches = iterate_jets(job.source.path, job.source.reading, entry_start=job.start, entry_stop=job.stop)
    return [maker.make(batch) for batch in batches]


class _PartMaker:
    """Makes the images of blocks."""

    def __init__(self, job: RangeJob) -> None:
        self._source, self._images = job.source, job.images
        self._recipe: ImageRecipe = make_recipe(job.images, radius=job.radius)
        self._index_dtype = index_dtype(self._recipe.grid.n_pixels)

    def make(self, batch: JetBatch) -> Part:
        """The images of a block of entries."""
        self._cutflow, self._unclaimed = Cutflow(), dict[int, int]()
        check_cells(batch, self._recipe.grid)
        self._recipe.check_fields(list(batch.flat.fields), where=batch.where)
        owner, chosen = self._find_classes(batch)
        self._cutflow.count_read(owner)
        chosen = self._leave_out_problems(batch, owner, chosen)
        chosen = self._leave_out_strays(batch, owner, chosen)
        if isinstance(self._recipe.grid, PlacedGrid):
            check_lengths(batch, self._recipe.grid)
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and told below
            truth = {name: batch.extra[name].astype(np.float32) for name in self._images.truth}
        chosen = self._leave_out_unknown(batch, truth, owner, chosen)
        if batch.is_shower:
            check_energies(batch, chosen, truth)
        for place, (reason, passed) in enumerate(iterate_selections(batch, self._images.select)):
            self._cutflow.leave_out(owner[chosen & ~passed], Stage.SELECTION, place, reason)
            chosen = chosen & passed
        self._cutflow.count_written(owner[chosen])
        self._cutflow.check(batch.where)
        return self._make_images(batch, owner, chosen, truth)

    def _find_classes(self, batch: JetBatch) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The number of the class that each jet is counted with, and whether it belongs there."""
        source = self._source
        owner = np.full(len(batch), source.class_of_the_rest)
        if source.label is None:
            return owner, np.ones(len(batch), dtype=np.bool_)
        if source.label not in batch.labels:
            hint = did_you_mean(source.label, batch.labels)
            raise SchemaError(f"{batch.where}: the file lacks the columns of label '{source.label}'{hint}")
        label, claimed = batch.labels[source.label], np.zeros(len(batch), dtype=np.bool_)
        for value in np.unique(label):
            here = label == value
            if (number := source.classes.get(int(value))) is not None:
                owner[here], claimed[here] = number, True
            else:
                self._leave_out_label(int(value), owner[here])
        return owner, claimed

    def _leave_out_label(self, value: int, owner: NDArray[np.int64]) -> None:
        name = self._source.others.get(value)
        if name is None:
            self._unclaimed[value] = self._unclaimed.get(value, 0) + len(owner)
        whose = "of no class" if name is None else f"of class {name}"
        self._cutflow.leave_out(owner, Stage.LABEL, value, f"{whose} ({self._source.label} {value})")

    def _leave_out_problems(
        self, batch: JetBatch, owner: NDArray[np.int64], chosen: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        for place, (reason, mask) in enumerate(batch.problems.items()):
            bad = chosen & mask
            if not bad.any():
                continue
            if not self._images.skip_bad and batch.stops(reason):
                batch.require_usable()
            # What stops nobody may be in parts that are made without 'skip_bad'.
            stage = Stage.PROBLEM if batch.stops(reason) else Stage.EMPTY
            self._cutflow.leave_out(owner[bad], stage, place, reason)
            chosen = chosen & ~mask
        return chosen

    def _leave_out_strays(
        self, batch: JetBatch, owner: NDArray[np.int64], chosen: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Showers with a cell that the calorimeter does not have are of another one, or damaged."""
        stray = chosen & find_strays(batch, self._recipe.grid)
        if stray.any():
            if not self._images.skip_bad:
                raise InputError(describe_stray(batch, self._recipe.grid, stray))
            self._cutflow.leave_out(owner[stray], Stage.PROBLEM, len(batch.problems), STRAYS)
        return chosen & ~stray

    def _leave_out_unknown(
        self, batch: JetBatch, truth: Columns, owner: NDArray[np.int64], chosen: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Jets of which a truth is NaN or infinite cannot teach it."""
        for place, (name, values) in enumerate(truth.items(), len(batch.problems) + 1):
            unknown = chosen & ~np.isfinite(values)
            if not unknown.any():
                continue
            at = int(np.flatnonzero(unknown)[0])
            if not self._images.skip_bad:
                raise InputError(
                    f"{batch.where}, entry {batch.entry[at]}, jet {batch.jet[at]}: the truth '{name}' is {values[at]} "
                    f"({unknown.sum()} of {len(batch)} jets in this block); --skip-bad leaves such jets out and counts "
                    "them"
                )
            self._cutflow.leave_out(owner[unknown], Stage.PROBLEM, place, f"without truth '{name}'")
            chosen = chosen & ~unknown
        return chosen

    def _make_images(
        self, batch: JetBatch, owner: NDArray[np.int64], chosen: NDArray[np.bool_], truth: Columns
    ) -> Part:
        flat = batch.flat.select(chosen)
        pixels = self._recipe.make_pixels(flat)
        jets = {name: getattr(batch, name)[chosen] for name in ("pt", "eta", "phi", "mass", "event_id", "weight")}
        jets |= {"source_entry": batch.entry[chosen], "source_jet": batch.jet[chosen], "label": owner[chosen]}
        card: dict[str, NDArray[Any]] = {
            "n_constituents": flat.counts.astype(np.int32),
            "n_outside": pixels.n_outside,
            "pt_all": flat.sum(flat.fields["pt"]),
            "pt_inside": pixels.pt_inside,
        }
        return Part(
            indptr=pixels.indptr,
            index=pixels.index.astype(self._index_dtype, copy=False),
            value=pixels.value,
            jets={name: values.astype(JET_DTYPES[name], copy=False) for name, values in jets.items()},
            features=self._recipe.make_jet_features(flat),
            truth={name: values[chosen] for name, values in truth.items()},
            card=card,
            cutflow=self._cutflow,
            unclaimed=self._unclaimed,
            n_nan=int(batch.problems[NAN].sum()),
        )
