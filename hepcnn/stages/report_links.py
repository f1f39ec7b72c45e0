"""Where the runs of a study are, as its report says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hepcnn import paths
from hepcnn.config import StudyConfig
from hepcnn.evaluation.report import RunLink
from hepcnn.stages.records import read_json


def link_runs(root: Path) -> list[RunLink]:
    """Links to a study's runs in the tracking store; none where they are not there yet."""
    return [RunLink(run["name"], run["run_id"], run["address"]) for run in _read(root).get("runs", ())]


def note_runs(study: StudyConfig, root: Path) -> Iterator[str]:
    """What a reader has to know of these links, if anything."""
    tracked = _read(root)
    if problem := tracked.get("problem"):
        yield f"The runs are not in the tracking store yet ({problem}): 'hepcnn track sync' brings them there."
    elif not study.tracking.store.startswith("http"):
        yield "The links to the tracked runs open while 'hepcnn track ui' serves the store on this machine."


def _read(root: Path) -> dict[str, Any]:
    place = paths.tracked(root)
    return dict(read_json(place)) if place.exists() else {}
