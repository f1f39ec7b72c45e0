"""Parts → one file of images, and the count of what went into it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hepcnn.config import ImagesConfig
from hepcnn.convert.cutflow import Cutflow, Stage
from hepcnn.convert.duplicates import DuplicateFinder
from hepcnn.convert.inputs import Source
from hepcnn.convert.parts import Part
from hepcnn.convert.schedule import SourceFile
from hepcnn.convert.spectra import CountSpectrum, Spectrum
from hepcnn.errors import InputError
from hepcnn.io.store import ImageWriter

FRACTION_EDGES = np.linspace(0.0, 1.0, 51)


class Tally:
    """What is counted of a file, or of all."""

    def __init__(self, n_classes: int) -> None:
        self.cutflow = Cutflow()
        self.pixels, self.constituents = CountSpectrum(n_classes), CountSpectrum(n_classes)
        self.pt_all = self.pt_inside = 0.0
        self.n_nan = self.n_outside = 0

    def add(self, other: "Tally") -> None:
        """Add all of another."""
        self.cutflow.add(other.cutflow)
        self.pixels.add_all(other.pixels)
        self.constituents.add_all(other.constituents)
        self.pt_all, self.pt_inside = self.pt_all + other.pt_all, self.pt_inside + other.pt_inside
        self.n_nan, self.n_outside = self.n_nan + other.n_nan, self.n_outside + other.n_outside


class Merger:
    """Joins parts, in the order of files and entries.

    Parameters
    ----------
    writer
        Where they go.
    class_names
        All classes.
    images
        What becomes of duplicates and of jets that no class claims.
    """

    def __init__(self, writer: ImageWriter, class_names: Sequence[str], images: ImagesConfig) -> None:
        self._writer, self._class_names, self._images = writer, class_names, images
        self._finder = DuplicateFinder()
        self.files: list[tuple[SourceFile, Tally]] = []
        self.pt_fraction = Spectrum(FRACTION_EDGES, len(class_names))

    def add(self, file: SourceFile, part: Part) -> None:
        """Add the next part of a file.

        Raises
        ------
        InputError
            For jets that no class claims, or that were there before, unless the settings say what to do with them.
        """
        tally, number = self._tally(file)
        self._refuse_unclaimed(file.source, part)
        tally.n_nan += part.n_nan
        tally.cutflow.add(part.cutflow)
        part = self._leave_out_duplicates(part, tally, number)
        label, counts = part.jets["label"], np.diff(part.indptr)
        tally.pixels.add(counts, label)
        tally.constituents.add(part.card["n_constituents"], label)
        tally.n_outside += int(part.card["n_outside"].sum())
        pt_all, pt_inside = part.card["pt_all"], part.card["pt_inside"]
        tally.pt_all, tally.pt_inside = tally.pt_all + float(pt_all.sum()), tally.pt_inside + float(pt_inside.sum())
        # A sum in another order may differ in its last digit.
        fraction = np.minimum(np.divide(pt_inside, pt_all, out=np.zeros(len(part)), where=pt_all > 0), 1.0)
        self.pt_fraction.add(fraction, label)
        source_file = np.full(len(part), number, dtype=np.int32)
        jets = {**part.jets, "source_file": source_file}
        self._writer.append(part.indptr, part.index, part.value, jets, part.features, part.truth)

    def finish(self, file: SourceFile) -> None:
        """Say that the file has no more parts.

        Raises
        ------
        InputError
            When it was changed meanwhile.
        """
        if file.look() != (file.size, file.modified):
            raise InputError(f"{file.source.path}: this file was changed while it was converted: convert it again")
        self._tally(file)[0].cutflow.check(file.source.path)

    def total(self) -> Tally:
        """The count of all files."""
        total = Tally(len(self._class_names))
        for _, tally in self.files:
            total.add(tally)
        return total

    def _tally(self, file: SourceFile) -> tuple[Tally, int]:
        if not self.files or self.files[-1][0] is not file:
            self.files.append((file, Tally(len(self._class_names))))
        return self.files[-1][1], len(self.files) - 1

    def _refuse_unclaimed(self, source: Source, part: Part) -> None:
        if not part.unclaimed or self._images.unclaimed == "drop":
            return
        found = ", ".join(f"{value} ({count} jets)" for value, count in sorted(part.unclaimed.items()))
        claims: dict[str, list[int]] = {}
        for value, number in source.classes.items():
            claims.setdefault(self._class_names[number], []).append(value)
        for value, name in source.others.items():
            claims.setdefault(name, []).append(value)
        claimed = "; ".join(f"{name}: {', '.join(map(str, sorted(values)))}" for name, values in claims.items())
        raise InputError(
            f"{source.path}: no class claims jets with {source.label} {found}, in the first entries that have any; "
            f"the classes claim {claimed}; give these values to a class, or leave such jets out and count them "
            "with 'unclaimed: drop' (--unclaimed drop)"
        )

    def _leave_out_duplicates(self, part: Part, tally: Tally, number: int) -> Part:
        first = self._finder.find(part.jets, number)
        again = first >= 0
        if not again.any():
            return part
        if not self._images.skip_bad:
            raise InputError(self._describe_duplicates(first, number))
        owner = part.jets["label"].astype(np.int64)
        for earlier in np.unique(first[again]):
            here = first == earlier
            reason = f"also in {self.files[earlier][0].source.path}"
            tally.cutflow.leave_out(owner[here], Stage.DUPLICATE, int(earlier), reason)
        tally.cutflow.take_back_written(owner[again])
        return part.select(~again)

    def _describe_duplicates(self, first: NDArray[np.int32], number: int) -> str:
        here = self.files[number][0].source.path
        earlier = int(first[first >= 0][0])
        count = int((first == earlier).sum())
        where = "earlier in this file" if earlier == number else f"in {self.files[earlier][0].source.path}"
        return (
            f"{here}: {count} of its jets (of {len(first)} looked at) are also {where}: same event, pT, eta and phi; "
            "leave the file out, or keep the first of each with --skip-bad, which counts the others"
        )
