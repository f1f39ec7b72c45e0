"""The report's section on other detectors and other showers, from what `hepcnn robustness` wrote."""

from pathlib import Path

from hepcnn import paths
from hepcnn.config import StudyConfig
from hepcnn.evaluation.plots import save_figure
from hepcnn.evaluation.report import Picture, make_picture
from hepcnn.evaluation.response_plots import make_response_table, plot_response
from hepcnn.stages.plan import ensembles_of
from hepcnn.stages.records import read_json

CAPTION = (
    "What the cut of 50 % signal efficiency on the nominal jets keeps of changed ones: test jets seen by another "
    "detector, and, last, other samples. A bar is the error of the changed jets alone; a variation sees the nominal "
    "jets again, so its change is known better."
)


def describe_responses(
    study: StudyConfig, root: Path, *, signal: str, background: str
) -> tuple[list[Picture], list[list[str]]]:
    """A picture, also as files of the summary, and a table of AUCs; nothing where the study does not ask for it.

    Raises
    ------
    InputError
        When a tagger's ``response.json`` is missing.
    """
    if not study.evaluation.robustness:
        return [], []
    names = [*study.models, *ensembles_of(study)]
    responses = {name: read_json(paths.response(paths.run_dir(root, name, study.seeds[0])))[signal] for name in names}
    figure = plot_response(responses, signal=signal, background=background)
    save_figure(figure, paths.summary_dir(root) / "response")
    return [make_picture(figure, title="Response", caption=CAPTION)], make_response_table(responses)
