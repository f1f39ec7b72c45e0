"""The description of a study's run: a link to each thing one came for, and the tables."""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from hepcnn import paths
from hepcnn.config import StudyConfig
from hepcnn.stages.records import read_tables
from hepcnn.tracking.send import MOST_TEXT
from hepcnn.tracking.view import WORKFLOW


def describe_study(
    study: StudyConfig, root: Path, *, experiment: str, run_id: str, cards: Iterable[Path], report: str = ""
) -> str:
    """Links and tables, in Markdown.

    Parameters
    ----------
    study, root
        The study and its folder.
    experiment, run_id
        Of the study's run, which has these files.
    cards
        The data cards.
    report
        The report's name, where it is among them.

    Returns
    -------
    str
        At most as long as a tag may be: tables that would not fit are left out.

    Notes
    -----
    The page shows the first lines of a description until one asks for more: so links come first. It shows figures in
    their full width, which pushes all else aside: so they are links.
    """
    summary = paths.summary_dir(root)
    figures = {"ROC": "roc", "rejection": "rejection", "average images": f"average_{_first_channel(study)}"}
    places = {
        title: f"{summary.name}/{name}.png" for title, name in figures.items() if (summary / f"{name}.png").exists()
    }
    places |= {f"data card {card.name.partition('.')[0]}": f"data/{card.name}" for card in cards}
    places |= {"config": "config.yaml"} if paths.effective_config(root).exists() else {}
    places |= {"report": report} if report else {}
    page = f"#/experiments/{experiment}/runs/{run_id}/artifacts"
    note = " · ".join(f"[{name}]({page}/{quote(place)}?{WORKFLOW})" for name, place in places.items())
    for table in read_tables(summary):
        if len(longer := f"{note}\n\n{table}".strip()) <= MOST_TEXT:
            note = longer
    return note[:MOST_TEXT]


def _first_channel(study: StudyConfig) -> str:
    return study.images.channels[0].replace(":", "_")
