"""The report's sections on energies and on showers."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepcnn import paths
from hepcnn.data.dataset import ImageDataset
from hepcnn.data.energy_scale import CHANNELS, TRUTH
from hepcnn.errors import HepcnnError
from hepcnn.evaluation.energy_tables import (
    EnergyRow,
    find_goal,
    make_energy_cells,
    make_energy_verdict,
    make_goal_sentence,
)
from hepcnn.evaluation.plots import save_figure
from hepcnn.evaluation.report import EnergySection, Picture, make_picture
from hepcnn.evaluation.shower_plots import DrawnShower, make_profile, plot_profiles, plot_showers
from hepcnn.evaluation.shower_shapes import CellPlaces, find_places, sum_layers
from hepcnn.grids import BoxGrid, CylinderGrid
from hepcnn.images.grids import grid_from_record
from hepcnn.stages.energies import Taggers, compare_classes, make_energy_rows
from hepcnn.stages.pictures import collect_pictures
from hepcnn.stages.records import RunRecord, read_json

SHOWN_ENERGIES = (20.0, 200.0)
"""GeV: of each class the test shower nearest to each is drawn."""
N_RINGS = 20


def read_evaluated(root: Path, taggers: Taggers) -> dict[str, Any]:
    """What the evaluation of a study found, by tagger.

    Raises
    ------
    InputError
        When its file is missing.
    """
    found = read_json(paths.metrics(paths.summary_dir(root)))
    return found if len(taggers) > 1 else dict.fromkeys(taggers, found)


def describe_energies(
    folder: Path,
    taggers: Taggers,
    records: Sequence[RunRecord],
    evaluated: Mapping[str, Mapping[str, Any]],
    *,
    is_paired: bool = True,
) -> list[EnergySection]:
    """A section for each class of showers whose energies were measured.

    Parameters
    ----------
    folder
        Of an evaluation, with its pictures.
    taggers, records
        Those that measure energies, and the records of their runs.
    evaluated
        By tagger, what `hepcnn.stages.energies.measure_energies` gave.
    is_paired
        Whether all were scored on the same showers.

    Raises
    ------
    InputError
        When a picture is missing.
    """
    differences = compare_classes(taggers, evaluated, is_paired=is_paired)
    sections = []
    for class_name, pairs in differences.items():
        rows = make_energy_rows(evaluated, class_name, records)
        if not rows:
            continue
        sections.append(
            EnergySection(
                class_name,
                make_energy_cells(rows),
                make_energy_verdict(rows, pairs, class_name),
                _state_goal(rows, taggers, evaluated, class_name) if is_paired else "",
                collect_pictures(folder, energies_of=class_name),
            )
        )
    return sections


def _state_goal(
    rows: Sequence[EnergyRow], taggers: Taggers, evaluated: Mapping[str, Mapping[str, Any]], class_name: str
) -> str:
    goal = find_goal(rows)
    if goal is None:
        return ""
    pair = {name: taggers[name] for name in goal}
    (difference,) = compare_classes(pair, {name: evaluated[name] for name in goal})[class_name]
    return make_goal_sentence(rows, class_name, difference)


def list_rejections(evaluated: Mapping[str, Mapping[str, Any]], signal: str) -> list[list[str]]:
    """Rejections at 90 % signal efficiency in bins of energy, lines of cells with a heading; empty where unknown."""
    known = {name: found.get(signal, {}).get("rejection_by_energy") for name, found in evaluated.items()}
    measured = {name: one for name, one in known.items() if one}
    if not measured:
        return []
    edges = next(iter(measured.values()))["edges"]
    bins = [f"{low:.3g}–{high:.3g} GeV" for low, high in itertools.pairwise(edges)]
    lines = [["1/eps_b at eps_s = 0.9", *bins, "all"]]
    for name, one in measured.items():
        lines.append([name, *(_show_rejection(cell) for cell in [*one["rejection"], one["overall"]])])
    return lines


def _show_rejection(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "–"
    digits = 0 if found["value"] >= 100 else 1
    if found.get("is_lower_limit"):
        return f"> {found['value']:.{digits}f}"
    return f"{found['value']:.{digits}f} ± {found['err_stat']:.{digits}f}"


def draw_showers(dataset: ImageDataset, test: Any, root: Path) -> list[Picture]:
    """Showers in three dimensions and average profiles; nothing for images that are no layers of cells.

    Parameters
    ----------
    dataset
        All jets of the study.
    test
        Numbers of the test jets, one of which of each class is drawn.
    root
        Of the study; pictures also become files of its summary.
    """
    grid = grid_from_record(dataset.attributes["grid"])
    channel = next((dataset.channels.index(name) for name in CHANNELS if name in dataset.channels), None)
    if channel is None or len(grid.shape) != 3 or not isinstance(grid, CylinderGrid | BoxGrid):
        return []
    places, energy = find_places(grid), np.maximum(dataset.value[:, channel].astype(np.float64), 0.0)
    figures = {"showers": (_draw_single(dataset, test, energy, places), "Single showers", SINGLE)}
    figures["longitudinal"] = (_draw_longitudinal(dataset, energy, places), "Longitudinal profile", LONGITUDINAL)
    figures["radial"] = (_draw_radial(dataset, energy, places), "Radial profile", RADIAL)
    found = []
    for name, (figure, title, caption) in figures.items():
        if figure is not None:
            save_figure(figure, paths.summary_dir(root) / name)
            found.append(make_picture(figure, title=title, caption=caption))
    return found


SINGLE = "Test showers, cell by cell: size and colour are the energy of a cell. The particle comes from the left."
LONGITUDINAL = "Mean fraction of a shower's energy in each layer, with the standard error of the mean."
RADIAL = "Mean fraction of a shower's energy by distance from the axis, per mm, with the standard error of the mean."


def _energy_of(dataset: ImageDataset) -> Any:
    return np.asarray(dataset.truth[TRUTH] if TRUTH in dataset.truth else dataset.jets["pt"], np.float64)


def _draw_single(dataset: ImageDataset, test: Any, energy: Any, places: CellPlaces) -> Any:
    known, showers = _energy_of(dataset), []
    for wanted in SHOWN_ENERGIES:
        for number, name in enumerate(dataset.class_names):
            mine = test[dataset.label[test] == number]
            if not len(mine):
                continue
            shower = int(mine[np.argmin(np.abs(np.log(np.maximum(known[mine], 1e-3) / wanted)))])
            cells = slice(int(dataset.indptr[shower]), int(dataset.indptr[shower + 1]))
            pixel = dataset.index[cells].astype(np.int64)
            layer = places.layer[pixel].astype(np.float64)
            title = f"{name}, {known[shower]:.3g} GeV"
            showers.append(DrawnShower(title, places.x[pixel], places.y[pixel], layer, energy[cells]))
    try:
        return plot_showers(showers, labels=("layer", "x [mm]", "y [mm]"))
    except HepcnnError:
        return None


def _draw_longitudinal(dataset: ImageDataset, energy: Any, places: CellPlaces) -> Any:
    layers = sum_layers(dataset.indptr, dataset.index, energy, places)
    return _draw_profiles(
        dataset, layers, np.arange(places.n_layers + 1) - 0.5, "layer", "fraction of the energy", is_density=False
    )


def _draw_radial(dataset: ImageDataset, energy: Any, places: CellPlaces) -> Any:
    grid = grid_from_record(dataset.attributes["grid"])
    rings = {layer.r_edges for layer in grid.layers} if isinstance(grid, CylinderGrid) else set()
    farthest = float(np.nanmax(places.r))
    edges = np.array(rings.pop()) if len(rings) == 1 else np.linspace(0, farthest * 1.001, N_RINGS + 1)
    shower = np.repeat(np.arange(len(dataset)), np.diff(dataset.indptr))
    ring = np.clip(np.searchsorted(edges, places.r[dataset.index], side="right") - 1, 0, len(edges) - 2)
    n = len(edges) - 1
    content = np.bincount(shower * n + ring, energy, minlength=len(dataset) * n).reshape(-1, n)
    return _draw_profiles(
        dataset, content, edges, "distance from the axis [mm]", "fraction of the energy per mm", is_density=True
    )


def _draw_profiles(
    dataset: ImageDataset, content: Any, edges: Any, xlabel: str, ylabel: str, *, is_density: bool
) -> Any:
    total = content.sum(axis=1, keepdims=True)
    fraction = content / np.where(total > 0, total, 1.0)
    profiles = {}
    for number, name in enumerate(dataset.class_names):
        mine = (dataset.label == number) & (total[:, 0] > 0)
        if mine.any() and dataset.weight[mine].sum() > 0:
            profiles[name] = make_profile(fraction[mine], dataset.weight[mine], edges, density=is_density)
    if not profiles:
        return None
    return plot_profiles(profiles, xlabel=xlabel, ylabel=ylabel, is_log=is_density)
