"""The report's section on data, from the data cards of a study's samples."""

from collections.abc import Mapping, Sequence
from typing import Any

from hepcnn import paths
from hepcnn.config import StudyConfig
from hepcnn.convert.card import read_card
from hepcnn.errors import EmptySampleError
from hepcnn.evaluation.data_plots import plot_spectra
from hepcnn.evaluation.report import CutflowRow, Picture, SkippedFile, SourceFile, make_picture

SHOWN = ("pt", "eta", "mass", "n_constituents", "pixels", "pt_fraction")
LOGARITHMIC = ("pt_fraction",)


def read_cards(study: StudyConfig) -> list[dict[str, Any]]:
    """The data cards of all samples, in their order.

    Raises
    ------
    InputError
        When one is missing or damaged.
    """
    root = paths.study_dir(study.results, study.study)
    return [read_card(paths.data_card(paths.images(root, name))) for name in study.samples]


def count_read(cards: Sequence[Mapping[str, Any]], class_name: str) -> int:
    """Jets that were looked at for a class."""
    return sum(card["classes"][class_name]["jets_read"] for card in cards if class_name in card["classes"])


def make_cutflow(cards: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> list[CutflowRow]:
    """Jets read, left out by reason, and written, of each class; a reason that two classes share is one row."""
    rows: dict[str, dict[str, int]] = {}
    for part, title in (("jets_read", "jets read"), ("cutflow", ""), ("jets_written", "images")):
        for card in cards:
            for name, counts in card["classes"].items():
                for reason, count in (counts[part] if part == "cutflow" else {title: counts[part]}).items():
                    row = rows.setdefault(reason, {})
                    row[name] = row.get(name, 0) + count
    named = [*classes, *(["no class"] if any("" in row for row in rows.values()) else [])]
    return [
        CutflowRow(reason, {name: row.get("" if name == "no class" else name, 0) for name in named})
        for reason, row in rows.items()
    ]


def list_files(cards: Sequence[Mapping[str, Any]]) -> list[SourceFile]:
    """The files that were read, each once."""
    files: dict[str, SourceFile] = {}
    for card in cards:
        for file in card["files"]:
            before = files.get(file["path"])
            files[file["path"]] = SourceFile(
                file["path"],
                file["sha256"],
                file["entries"],
                file["size"],
                n_written=file["jets_written"] + (before.n_written or 0 if before else 0),
                occupancy=file["occupancy"]["mean"],
                pt_fraction=file["pt_fraction_in_grid"],
            )
    return list(files.values())


def list_skipped(cards: Sequence[Mapping[str, Any]]) -> list[SkippedFile]:
    """The files that were set aside, each once."""
    found = {file["path"]: SkippedFile(**file) for card in cards for file in card["skipped_files"]}
    return list(found.values())


NOT_OF_SHOWERS = ("eta", "mass")
"""Spectra that are left out where they hold one value alone: cells have no direction."""


def _is_single(spectrum: Mapping[str, Any]) -> bool:
    return all(sum(count > 0 for count in counts) <= 1 for counts in spectrum["counts"].values())


def draw_spectra(cards: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> list[Picture]:
    """A picture of each quantity of the data cards."""
    pictures = []
    # What a generator knew is in the cards of studies that ask for it.
    truth = [name for name in cards[0]["histograms"] if all(name in card["histograms"] for card in cards)]
    truth = [name for name in truth if name.startswith("truth/")]
    for name in (*SHOWN, *truth):
        spectra = [card["histograms"][name] for card in cards]
        title = spectra[0]["title"]
        if name in NOT_OF_SHOWERS and all(_is_single(spectrum) for spectrum in spectra):
            continue
        try:
            figure = plot_spectra(spectra, classes=classes, title=title, log=name in LOGARITHMIC)
        except EmptySampleError:
            continue
        caption = f"{title[0].upper()}{title[1:]}, of all jets of each class, normalised."
        pictures.append(make_picture(figure, title=name.replace("_", " ").replace("/", " "), caption=caption))
    return pictures
