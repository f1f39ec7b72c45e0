"""The parity gate: one bundle, all ways to its scores, and no export or registration where two differ."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx

from hepcnn import bundle as bundles
from hepcnn.config import StudyConfig
from hepcnn.errors import ExportError, HepcnnError, MissingExtraError
from hepcnn.export.imaging import BY_PLACE
from hepcnn.export.network import Network
from hepcnn.export.parity import FRIEND_TREE, IN_MEMORY, ParityReport, Way
from hepcnn.export.ways import WayMaker, make_parity_jets
from hepcnn.grids import PlacedGrid
from hepcnn.images.recipe import ImageRecipe
from hepcnn.io.plan import Reading
from hepcnn.stages.parity_jets import (
    FoundJets,
    FriendScores,
    add_awkward_jets,
    find_jets,
    read_real_jets,
    tag_real_file,
    tag_stored_jets,
)
from hepcnn.tagger import Tagger

Level = Literal["quick", "full"]
N_JETS: dict[Level, int] = {"quick": 96, "full": 512}
MOST_VALUES = 2**24


@dataclass(frozen=True)
class RealFile:
    """A file to compare on, and the schema of its jets."""

    path: str
    schema: str


def measure_parity(
    tagger: Tagger,
    network: Network,
    *,
    study: StudyConfig | None = None,
    file: RealFile | None = None,
    level: Level = "quick",
    constituents_graph: onnx.ModelProto | None = None,
) -> ParityReport:
    """Compare the ways to a bundle's scores.

    Parameters
    ----------
    tagger
        The bundle, loaded.
    network
        Its network, on the CPU.
    study
        Whose files' first jets are compared on. Without it, or its files, jets are made up.
    file
        A file to take jets from instead; with ``full`` it is tagged as a whole.
    level
        ``quick``: some hundred jets, for the end of a training. ``full``: more jets, and ``torch.compile``.
    constituents_graph
        The graph of constituents to compare; by default one is made.

    Returns
    -------
    ParityReport
        See there for what binds. Jets go through a ROOT file: they are stored, tagged by `hepcnn tag` into a friend
        tree, and read back; where the tagger needs fields that hepcnn's own layout has not, and no file was named, that
        way is skipped with the reason.
    """
    graph = onnx.load(tagger.manifest.path / bundles.MODEL)
    maker = WayMaker(network, graph, tagger.recipe, constituents_graph=constituents_graph)
    jets, tagged, skipped = _gather_jets(tagger, study, file, level)
    ready = make_parity_jets(jets.constituents, tagger.recipe)
    ways, left_out = maker.make_ways(ready, full=level == "full")
    if tagged is not None:
        n = len(jets.constituents)
        ways.append(Way(FRIEND_TREE, tagged.friend[:n], input="file"))
        ways.append(Way(IN_MEMORY, tagged.tagger[:n], input="file"))
    return maker.compare(ready, jets.origin, ways, skipped | left_out)


def require_parity(report: ParityReport, where: object) -> ParityReport:
    """Return a report that lets through.

    Raises
    ------
    ExportError
        Naming the two ways that are farthest apart, by how much, and the stage that differs first.
    """
    if report.failures:
        raise ExportError(f"{where}: {report.explain_failure()}")
    return report


def gate_training(tagger: Tagger, network: Network, study: StudyConfig | None) -> dict[str, Any]:
    """The quick comparison at the end of a training or an ensemble, as the manifest keeps it.

    Raises
    ------
    ExportError
        When two ways differ.

    Notes
    -----
    Where jet-level numbers or grooming need FastJet and it is not installed, nothing can be made of constituents. The
    training stands, since its graph has passed against torch on images, and the record says what was left out. So it
    does where hits are put into cells by their places, for which there is no graph.
    """
    if isinstance(tagger.recipe.grid, PlacedGrid):
        return {"n_jets": 0, "pairs": [], "skipped": {"all ways from constituents": BY_PLACE}}
    try:
        report = measure_parity(tagger, network, study=study)
    except MissingExtraError as error:
        return {"n_jets": 0, "pairs": [], "skipped": {"all ways from constituents": str(error)}}
    return require_parity(report, tagger.manifest.values["model"]).describe()


def _count_jets(recipe: ImageRecipe, level: Level) -> int:
    """Fewer jets where an image is large: dense ones of all of them are in memory at once."""
    return max(4, min(N_JETS[level], MOST_VALUES // (recipe.grid.n_pixels * len(recipe.channels))))


def _gather_jets(
    tagger: Tagger, study: StudyConfig | None, file: RealFile | None, level: Level
) -> tuple[FoundJets, FriendScores | None, dict[str, str]]:
    """Jets, what the friend tree says of them, and what was left out and why."""
    skipped: dict[str, str] = {}
    recipe, n_jets = tagger.recipe, _count_jets(tagger.recipe, level)
    with tempfile.TemporaryDirectory(prefix="hepcnn-parity-") as folder:
        if file is not None and level == "full":
            tagged = tag_real_file(tagger, file.path, file.schema, Path(folder))
            jets = FoundJets(tagged.constituents.slice(0, min(len(tagged.constituents), n_jets)), Path(file.path).name)
            return _without_gaps(jets, tagged, skipped)
        found = _find(tagger, study, file, n_jets)
        if found.note:
            skipped["jets of the study"] = found.note
        found = add_awkward_jets(found, recipe)
        try:
            tagged = tag_stored_jets(tagger, found.constituents, Path(folder))
        except HepcnnError as error:
            skipped["friend tree"] = str(error).splitlines()[0]
            return found, None, skipped
    # As they came back from the file: what is stored is rounded.
    return _without_gaps(FoundJets(tagged.constituents, found.origin), tagged, skipped)


def _find(tagger: Tagger, study: StudyConfig | None, file: RealFile | None, n_jets: int) -> FoundJets:
    if file is None:
        return find_jets(study, tagger.recipe, n_jets)
    real = read_real_jets(file.path, Reading(file.schema), n_jets)
    tagger.recipe.check_fields(list(real.fields), where=file.path)
    return FoundJets(real, f"{len(real)} jets of {Path(file.path).name}")


def _without_gaps(
    jets: FoundJets, tagged: FriendScores, skipped: dict[str, str]
) -> tuple[FoundJets, FriendScores, dict[str, str]]:
    if tagged.n_outside:
        skipped["friend tree, some jets"] = f"{tagged.n_outside} jets lie outside the tagger's selection"
    return jets, tagged, skipped
