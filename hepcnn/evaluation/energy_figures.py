"""The pictures of an evaluation that energies need, drawn from one or several taggers, of each one's first seed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hepcnn.evaluation.energy import FEWEST
from hepcnn.evaluation.energy_metrics import MeasuredEnergies, measure_class
from hepcnn.evaluation.energy_plots import (
    plot_angle,
    plot_energy_errors,
    plot_linearity,
    plot_resolution,
    plot_response_map,
    plot_tails,
)

if TYPE_CHECKING:
    from hepcnn.io.scores import Scores

ENERGY_CAPTIONS: Mapping[str, str] = {
    "resolution": "Width of the response over its median, corrected for non-linearity, in bins of the true energy, and "
    "the fit of a ⊕ b/√E ⊕ c/E; below, the ratio to the first tagger with paired errors.",
    "linearity": "Median of predicted over true energy: 1 for a measurement that is linear and calibrated.",
    "tails": "Showers more than three widths from the median; dashed, what a Gaussian has.",
    "angle": "Median response and resolution, all energies together, against the angle of the particle.",
    "response": "Median response and resolution by energy and angle.",
    "pulls": "Predicted minus true energy over the error that the network predicts for the shower.",
}
"""What each picture shows, by the beginning of its name after ``energy_``."""


def make_energy_figures(scores_by_tagger: Mapping[str, Sequence["Scores"]]) -> dict[str, Any]:
    """Draw all pictures of energies: ``energy_<picture>_<class>``, and ``energy_response_<class>_<tagger>``.

    Classes with fewer than 20 showers have none, and pictures of the angle are there where the angle is known.
    """
    if not scores_by_tagger:
        return {}
    firsts = {name: by_seed[0] for name, by_seed in scores_by_tagger.items()}
    first, figures = next(iter(firsts.values())), dict[str, Any]()
    for number, class_name in enumerate(first.class_names):
        if (np.asarray(first.label) == number).sum() < FEWEST:
            continue
        measured = {name: measure_class(scores, number) for name, scores in firsts.items()}
        if not any(one.by_energy.filled.any() for one in measured.values()):
            continue
        figures |= _draw_class(measured, class_name)
        pulls = {name: _pulls(scores, number) for name, scores in firsts.items() if "energy_err" in scores.prediction}
        if pulls:
            figures[f"energy_pulls_{class_name}"] = plot_energy_errors(pulls, title=class_name)
    return figures


def _draw_class(measured: Mapping[str, MeasuredEnergies], class_name: str) -> dict[str, Any]:
    by_energy = {name: one.by_energy for name, one in measured.items()}
    fits = {name: one.fit for name, one in measured.items()}
    figures = {
        f"energy_resolution_{class_name}": plot_resolution(by_energy, fits, title=class_name),
        f"energy_linearity_{class_name}": plot_linearity(by_energy, title=class_name),
        f"energy_tails_{class_name}": plot_tails(by_energy, title=class_name),
    }
    by_angle = {name: one.by_angle for name, one in measured.items() if one.by_angle is not None}
    if by_angle and any(one.filled.any() for one in by_angle.values()):
        figures[f"energy_angle_{class_name}"] = plot_angle(by_angle, title=class_name)
    for name, one in measured.items():
        if one.grid is None or one.by_angle is None or not any(part.filled.any() for part in one.grid):
            continue
        drawn = plot_response_map(one.grid, one.by_angle.edges, title=f"{name}, {class_name}")
        figures[f"energy_response_{class_name}_{name}"] = drawn
    return figures


def _pulls(scores: "Scores", number: int) -> Any:
    mine = np.asarray(scores.label) == number
    predicted, error = (np.asarray(scores.prediction[name], np.float64)[mine] for name in ("energy", "energy_err"))
    return (predicted - np.asarray(scores.truth["energy"], np.float64)[mine]) / error
