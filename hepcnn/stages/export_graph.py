"""A bundle as one ONNX file for programs that know nothing of hepcnn, let through by the parity gate."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx

from hepcnn import bundle as bundles
from hepcnn.atomic import atomic_path, refuse_overwriting
from hepcnn.config import StudyConfig, read_study
from hepcnn.errors import ExportError, HepcnnError
from hepcnn.export.cmssw import describe_preprocessing
from hepcnn.export.constituents import Layout, make_constituents_graph
from hepcnn.export.imaging import list_fields, list_given
from hepcnn.export.parity import ParityReport
from hepcnn.stages.export import load_scoring
from hepcnn.stages.parity import Level, RealFile, measure_parity, require_parity
from hepcnn.tagger import Tagger

GraphInput = Literal["constituents", "images"]
PREPROCESS = "preprocess.json"
CMSSW_LENGTH = 128


@dataclass(frozen=True)
class ExportedGraph:
    """What was written: the files, what the graph takes, and the comparison that let it through."""

    files: tuple[Path, ...]
    fields: tuple[str, ...]
    given: tuple[str, ...]
    report: ParityReport


def export_graph(
    bundle: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    graph_input: GraphInput = "constituents",
    layout: Layout = "constituents-first",
    level: Level = "quick",
    file: RealFile | None = None,
) -> ExportedGraph:
    """Write a bundle's graph once all ways to its scores agree.

    Parameters
    ----------
    bundle
        The folder.
    output
        The ONNX file. With ``fields-first``, ``preprocess.json`` is written beside it.
    graph_input
        ``constituents``: imaging and network in one graph, see
        `hepcnn.export.constituents.make_constituents_graph`; ``images``: the bundle's own graph.
    layout
        Of the constituents.
    level, file
        As for `hepcnn.stages.parity.measure_parity`. Without a file, jets are those of the study in the bundle's
        config, if its files are there.

    Raises
    ------
    BundleError
        When the bundle is damaged.
    ExportError
        When two ways differ by more than 1e-5, or the input or layout does not exist; nothing is written then.
    """
    _check_choices(graph_input, layout, level)
    place = Path(bundle)
    refuse_overwriting(output, [place / name for name in bundles.PAYLOAD])
    tagger = Tagger.load(place)
    recipe = tagger.recipe
    images_graph = onnx.load(place / bundles.MODEL)
    metadata = {entry.key: entry.value for entry in images_graph.metadata_props}
    graph = make_constituents_graph(images_graph, recipe, metadata=metadata)
    report = measure_parity(
        tagger,
        load_scoring(place),
        study=_read_study_of(place),
        file=file,
        level=level,
        constituents_graph=graph,
    )
    require_parity(report, output)
    if graph_input == "images":
        written = images_graph
    elif layout == "fields-first":
        written = make_constituents_graph(images_graph, recipe, metadata=metadata, layout=layout)
    else:
        written = graph
    files = [Path(output)]
    with atomic_path(output) as partial:
        onnx.save(written, partial)
    if graph_input == "constituents" and layout == "fields-first":
        files.append(Path(output).with_name(PREPROCESS))
        told = describe_preprocessing(recipe, length=CMSSW_LENGTH, class_names=tagger.class_names)
        with atomic_path(files[-1]) as partial:
            partial.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    fields = list_fields(recipe) if graph_input == "constituents" else ()
    given = list_given(recipe) if graph_input == "constituents" else recipe.jet_features
    return ExportedGraph(tuple(files), fields, tuple(given), report)


def _check_choices(graph_input: str, layout: str, level: str) -> None:
    known = {
        "input": (graph_input, ("constituents", "images")),
        "layout": (layout, ("constituents-first", "fields-first")),
        "parity": (level, ("quick", "full")),
    }
    for name, (value, choices) in known.items():
        if value not in choices:
            raise ExportError(f"{name} '{value}' does not exist: choose {' or '.join(choices)}")


def _read_study_of(bundle: Path) -> StudyConfig | None:
    """The study that a bundle's config describes; None where it is of another hepcnn, or of several members."""
    try:
        return read_study(bundle / bundles.CONFIG)
    except HepcnnError:
        return None
