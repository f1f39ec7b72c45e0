"""The pictures of an evaluation, as files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hepcnn import paths
from hepcnn.errors import InputError
from hepcnn.evaluation.energy_figures import make_energy_figures
from hepcnn.evaluation.figures import caption_of, make_class_figures, make_study_figures
from hepcnn.evaluation.plot_style import PlotStyle, use_style
from hepcnn.evaluation.plots import save_figure
from hepcnn.evaluation.report import Picture
from hepcnn.evaluation.summary import choose_background
from hepcnn.io.scores import Scores
from hepcnn.stages.energies import split_taggers
from hepcnn.stages.records import read_json, write_json


def signal_suffix(signal: str, signals: Sequence[str]) -> str:
    """What the names of a signal class's plots and tables end with: nothing where there is only one."""
    return f"_{signal}" if len(signals) > 1 else ""


def find_signals(taggers: Mapping[str, Sequence[Scores]], background: str | None) -> list[str]:
    """The classes other than the background; none where no tagger tells classes apart."""
    if not taggers:
        return []
    names = next(iter(taggers.values()))[0].class_names
    against = choose_background(names, background)
    return [name for name in names if name != against]


def write_pictures(
    taggers: Mapping[str, Sequence[Scores]],
    output: Path,
    *,
    background: str | None = None,
    style: PlotStyle | None = None,
    title: str = "",
) -> list[str]:
    """Draw all that scores alone can show, as PNG and PDF.

    Parameters
    ----------
    taggers
        By tagger, one Scores per seed.
    output
        A folder. With several signal classes the names of the pictures end with the class.
    background, title
        As in `hepcnn.evaluation.figures.make_study_figures`.
    style
        Of the pictures; by default without an experiment's label.

    Returns
    -------
    list
        The names of the pictures, without suffix, in the order of a report; ``pictures.json`` keeps them too.
    """
    identity, energetic = split_taggers(taggers)
    signals, names = find_signals(identity, background), list[str]()
    with use_style(style or PlotStyle()):
        for name, figure in make_energy_figures(energetic).items():
            names.append(name)
            save_figure(figure, output / name)
        for signal in signals:
            figures = make_study_figures(identity, signal=signal, background=background, title=title)
            for name, figure in figures.items():
                names.append(f"{name}{signal_suffix(signal, signals)}")
                save_figure(figure, output / names[-1])
        for name, figure in make_class_figures(identity).items():
            names.append(name)
            save_figure(figure, output / name)
    write_json(paths.pictures(output), names)
    return names


def collect_pictures(folder: Path, *, energies_of: str = "") -> list[Picture]:
    """The pictures that `write_pictures` left in a folder, for a report: those of a class's energies, or all others.

    Raises
    ------
    InputError
        When one is not there.
    """
    listing = paths.pictures(folder)
    if not listing.exists():
        raise InputError(f"{listing}: the plots are missing: run 'hepcnn evaluate' again")
    found = []
    for name in read_json(listing):
        if not _is_wanted(name, energies_of):
            continue
        path = folder / f"{name}.png"
        if not path.exists():
            raise InputError(f"{path}: this plot is missing: run 'hepcnn evaluate' again")
        title = name.removeprefix("energy_").replace("_", " ")
        title = title.replace("roc", "ROC", 1) if title.startswith("roc") else title[:1].upper() + title[1:]
        found.append(Picture(title, caption_of(name), path.read_bytes()))
    return found


def _is_wanted(name: str, energies_of: str) -> bool:
    if not energies_of:
        return not name.startswith("energy_")
    _, _, rest = name.removeprefix("energy_").partition("_")
    return name.startswith("energy_") and (rest == energies_of or rest.startswith(f"{energies_of}_"))
