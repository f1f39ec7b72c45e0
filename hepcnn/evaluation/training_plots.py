"""Pictures of how taggers learnt."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hepcnn.errors import EmptySampleError
from hepcnn.evaluation.plot_style import PALETTE, new_figure, plain, put_title, styled

QUALITIES = {"val_auc": "AUC on validation jets", "val_resolution": "resolution on validation jets"}
History = Sequence[Mapping[str, float]]


def plot_training(histories: Mapping[str, Sequence[History]], *, title: str = "") -> Any:
    """Loss, AUC and resolution per epoch, those that were measured.

    Curves are means over the trainings of each tagger, bands one standard deviation.

    Parameters
    ----------
    histories
        By tagger, one history per seed: a record per epoch with ``epoch`` and any of ``train_loss``, ``val_loss``,
        ``val_auc``, ``val_resolution``.
    title
        Such as the study.

    Raises
    ------
    EmptySampleError
        When no training has an epoch.

    Notes
    -----
    An epoch that only some trainings reached has the mean of these; a band needs two. Values that are not numbers are
    left out.
    """
    if not any(history for runs in histories.values() for history in runs):
        raise EmptySampleError("no training has an epoch: nothing to draw")
    with styled():
        measured = {key for runs in histories.values() for history in runs for record in history for key in record}
        shown = [key for key in QUALITIES if key in measured] or ["val_auc"]
        figure = new_figure(size=(6.0 + 6.0 * len(shown), 5.2))
        panels = figure.subplots(1, 1 + len(shown))
        for number, (name, runs) in enumerate(histories.items()):
            color = PALETTE[number % len(PALETTE)]
            for axes, key, line, suffix in (
                (panels[0], "train_loss", "--", " (train)"),
                (panels[0], "val_loss", "-", " (validation)"),
                *((panel, key, "-", "") for panel, key in zip(panels[1:], shown, strict=True)),
            ):
                epochs, mean, spread = _average(runs, key)
                if len(epochs):
                    label = plain(name) + suffix
                    axes.plot(epochs, mean, line, marker="o", ms=4, color=color, label=label)
                    if len(epochs) > 1:
                        axes.fill_between(epochs, mean - spread, mean + spread, color=color, alpha=0.2, lw=0)
                    else:
                        axes.errorbar(epochs, mean, spread, fmt="none", color=color, capsize=3)
        for axes, label in zip(panels, ("loss", *(QUALITIES[key] for key in shown)), strict=True):
            axes.set(xlabel="epoch", ylabel=label)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.xaxis.minorticks_off()
            if max((len(line.get_xdata()) for line in axes.lines), default=0) < 2:
                axes.set_xticks([1.0])
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend(fontsize=10, loc="lower right" if "AUC" in label else "upper right")
        several = max(len(runs) for runs in histories.values())
        put_title(panels[0], title)
        if several > 1:
            panels[1].set_title("mean and standard deviation over seeds", loc="right", fontsize=11)
    return figure


def _average(runs: Sequence[History], key: str) -> tuple[Any, Any, Any]:
    """Epochs, mean and standard deviation (0 for a single training) of one number."""
    found: dict[float, list[float]] = {}
    for history in runs:
        for record in history:
            if key in record and np.isfinite(record[key]):
                found.setdefault(record["epoch"], []).append(record[key])
    epochs = sorted(found)
    mean = np.array([np.mean(found[epoch]) for epoch in epochs])
    spread = np.array([np.std(found[e], ddof=1) if len(found[e]) > 1 else 0.0 for e in epochs])
    return np.array(epochs), mean, spread
