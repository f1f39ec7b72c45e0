"""The description of a study's run: links to its parts, tables and figures, on one page."""

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
    """Links, tables and figures, in Markdown.

    Parameters
    ----------
    study, root
        The study and its folder.
    experiment, run_id
        Of the study's run, which has these files: figures are shown from there.
    cards
        The data cards.
    report
        The report's name, where it is among them.

    Returns
    -------
    str
        At most as long as a tag may be: figures that would not fit are left out, links and the first table never.

    Notes
    -----
    The page shows the first lines of a description until one asks for more: so links come first.
    """
    summary = paths.summary_dir(root)
    figures = [name for name in ("roc", "rejection", f"average_{_first_channel(study)}") if _is_there(summary, name)]
    places = {name.replace("_", " "): f"{summary.name}/{name}.png" for name in figures}
    places |= {f"data card {card.name.partition('.')[0]}": f"data/{card.name}" for card in cards}
    places |= {"config": "config.yaml"} if paths.effective_config(root).exists() else {}
    places |= {"report": report} if report else {}
    page = f"#/experiments/{experiment}/runs/{run_id}/artifacts"
    links = " · ".join(f"[{name}]({page}/{quote(place)}?{WORKFLOW})" for name, place in places.items())
    pictures = [f"![{name}](get-artifact?path={quote(places[name], safe='')}&run_uuid={run_id})" for name in places]
    note = ""
    for part in [links, *read_tables(summary), *pictures[: len(figures)]]:
        longer = f"{note}\n\n{part}".strip()
        if part and len(longer) <= MOST_TEXT:
            note = longer
    return note


def _first_channel(study: StudyConfig) -> str:
    return study.images.channels[0].replace(":", "_")


def _is_there(summary: Path, name: str) -> bool:
    return (summary / f"{name}.png").exists()
