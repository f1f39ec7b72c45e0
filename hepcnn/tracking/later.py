"""The end of a workflow, which a tracking store that does not answer shall not spoil."""

from collections.abc import Callable

from hepcnn import paths
from hepcnn.config import StudyConfig
from hepcnn.errors import hide_password
from hepcnn.stages.records import write_json
from hepcnn.tracking.push import TrackedRun
from hepcnn.tracking.store import TrackingError
from hepcnn.tracking.sync import sync_study


def sync_or_later(study: StudyConfig, *, say: Callable[[str], None]) -> list[TrackedRun]:
    """As `sync_study`; but where the store cannot be used, say so, and leave the runs in their spools.

    ``mlflow.json`` in the study's folder then holds the reason as ``problem`` and no runs, and the report repeats it.
    A later ``hepcnn track sync`` brings the runs to the store and replaces it.

    Raises
    ------
    InputError
        When a record is damaged.
    """
    try:
        return sync_study(study, say=say)
    except TrackingError as error:
        place = paths.tracked(paths.study_dir(study.results, study.study))
        problem = str(error).splitlines()[0]
        write_json(place, {"uri": hide_password(study.tracking.store), "runs": [], "problem": problem})
        say(f"{error}\nThe runs stay in their spools; 'hepcnn track sync' will bring them to the store.")
        return []
