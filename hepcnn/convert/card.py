"""The data card: a JSON file beside the images that says what went in, what came out, and what it looks like."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hepcnn import __version__
from hepcnn.convert.cutflow import NO_CLASS, Cutflow, Stage
from hepcnn.convert.merge import Merger, Tally
from hepcnn.convert.schedule import SourceFile
from hepcnn.convert.spectra import CountSpectrum
from hepcnn.errors import InputError

FORMAT, VERSION = "hepcnn-data-card", 1
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def make_card(
    merger: Merger,
    skipped: Sequence[SourceFile],
    *,
    class_names: Sequence[str],
    n_pixels: int,
    hashes: Mapping[str, str],
    settings: Mapping[str, Any],
    spectra: Mapping[str, Any],
) -> dict[str, Any]:
    """Write down all that is known of a conversion.

    Parameters
    ----------
    merger
        Has counted it.
    skipped
        The files that were set aside.
    class_names
        All classes.
    n_pixels
        Of the grid.
    hashes
        SHA-256 by path.
    settings
        What images were made.
    spectra
        Histograms, as JSON can hold them.

    Returns
    -------
    dict
        Of all, of each of ``classes`` and of each of ``files``: ``jets_read`` = ``jets_written`` + all of ``cutflow``.
    """
    total = merger.total()
    present = [name for number, name in enumerate(class_names) if number in total.cutflow.read]
    classes = {name: _count(total.cutflow, list(class_names).index(name)) for name in present}
    if NO_CLASS in total.cutflow.read:
        classes[""] = _count(total.cutflow, NO_CLASS)
    return {
        "format": FORMAT,
        "version": VERSION,
        "hepcnn": __version__,
        **_describe(total, n_pixels),
        "classes": classes,
        "files": [
            {
                "path": file.source.path,
                "size": file.size,
                "sha256": hashes[file.source.path],
                "entries": file.n_entries,
                **_describe(tally, n_pixels),
                "classes": {
                    class_names[number] if number != NO_CLASS else "": _count(tally.cutflow, number)
                    for number in sorted(tally.cutflow.read)
                },
            }
            for file, tally in merger.files
        ],
        "skipped_files": [
            {"path": file.source.path, "reason": file.error.removeprefix(f"{file.source.path}: ")} for file in skipped
        ],
        "histograms": dict(spectra),
        "settings": dict(settings),
    }


def _count(cutflow: Cutflow, number: int) -> dict[str, Any]:
    return {
        "jets_read": cutflow.read.get(number, 0),
        "cutflow": cutflow.left_out(number),
        "jets_written": cutflow.written.get(number, 0),
    }


def _describe(tally: Tally, n_pixels: int) -> dict[str, Any]:
    return {
        "jets_read": tally.cutflow.n_read,
        "cutflow": tally.cutflow.left_out(),
        "jets_written": tally.cutflow.n_written,
        "nan_jets": tally.n_nan,
        "duplicates": sum(tally.cutflow.count_stage(Stage.DUPLICATE).values()),
        "occupancy": _describe_occupancy(tally.pixels, tally.cutflow.n_written, n_pixels),
        "constituents": tally.constituents.total,
        "constituents_outside": tally.n_outside,
        "pt_fraction_in_grid": tally.pt_inside / tally.pt_all if tally.pt_all else 0.0,
    }


def _describe_occupancy(pixels: CountSpectrum, n_jets: int, n_pixels: int) -> dict[str, Any]:
    """The fraction of the grid's pixels that are not zero, over jets."""
    quantiles = {f"{fraction:g}": pixels.quantile(fraction) / n_pixels for fraction in QUANTILES}
    return {"mean": pixels.total / (n_jets * n_pixels) if n_jets else 0.0, "quantiles": quantiles}


def read_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a data card.

    Raises
    ------
    InputError
        When it is missing, damaged, not a data card, or of a newer version.
    """
    try:
        card = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot open this data card: {error.strerror}; convert again") from error
    except ValueError as error:
        raise InputError(f"{path}: this data card is damaged: {error}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise InputError(f"{path}: not a data card of hepcnn")
    if card["version"] > VERSION:
        raise InputError(f"{path}: version {card['version']} is newer than this hepcnn knows ({VERSION})")
    return card
