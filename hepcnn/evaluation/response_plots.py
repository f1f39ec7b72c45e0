"""How taggers answer to other detectors and other showers, as a picture and a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hepcnn.errors import EmptySampleError
from hepcnn.evaluation.plot_style import MARKERS, PALETTE, head_figure, new_figure, plain, styled

Response = Mapping[str, Any]
"""What `hepcnn.stages.robustness.measure_response` found of one tagger for one signal class."""


def list_conditions(responses: Mapping[str, Response]) -> dict[str, str]:
    """Everything that taggers were put to, by its key: what a person reads; other samples come last."""
    first: dict[str, str] = {}
    for response in responses.values():
        first |= {key: str(one["about"]) for key, one in response["variations"].items()}
    for response in responses.values():
        first |= {key: key for key in response["others"]}
    return first


def plot_response(responses: Mapping[str, Response], *, signal: str, background: str, title: str = "") -> Any:
    """What the nominal cut does to changed jets: its signal efficiency, and its mistag rate over the nominal one.

    Parameters
    ----------
    responses
        By tagger.
    signal, background
        Names for the axes.
    title
        Such as the study.

    Raises
    ------
    EmptySampleError
        When no tagger was put to anything.

    Notes
    -----
    Bars are Clopper-Pearson's of the changed jets alone. Those of a variation are the nominal jets seen again, so a
    change is known better than bars suggest; ``response.json`` has the paired errors of AUC and rejection.
    """
    conditions = list_conditions(responses)
    if not conditions:
        raise EmptySampleError("no tagger was put to any variation: nothing to draw")
    places = {key: -float(row) for row, key in enumerate(conditions)}
    step = 0.7 / max(len(responses), 1)
    with styled():
        figure = new_figure(size=(12.0, 2.4 + len(conditions) * max(0.42, 0.13 * len(responses))))
        left, right = figure.subplots(1, 2, sharey=True)
        for number, (name, response) in enumerate(responses.items()):
            shift = step * ((len(responses) - 1) / 2 - number)
            look = {"color": PALETTE[number % len(PALETTE)], "fmt": MARKERS[number % len(MARKERS)]}
            nominal = response["nominal"]["eps_b_at_cut"]["value"]
            found = response["variations"] | response["others"]
            for panel, key, scale in ((left, "eps_s_at_cut", 1.0), (right, "eps_b_at_cut", nominal)):
                if scale > 0:
                    _draw_points(panel, found, key, scale, places, shift, plain(name), look)
        low, high = (f([r["nominal"]["eps_s_at_cut"]["value"] for r in responses.values()]) for f in (min, max))
        left.axvspan(low, high, facecolor="0.9", edgecolor="0.6", lw=1.5, zorder=0)
        right.axvline(1.0, color="0.6", lw=1.5)
        left.set_xlabel(f"{plain(signal)} efficiency of the nominal cut")
        right.set_xlabel(f"{plain(background)} mistag rate / nominal")
        left.set_yticks(list(places.values()), [plain(text) for text in conditions.values()], fontsize=12)
        left.set_ylim(-len(conditions) + 0.5, 0.5)
        for panel in (left, right):
            panel.minorticks_off()
            panel.tick_params(axis="y", length=0)
            panel.grid(axis="x", alpha=0.3)
            for place in list(places.values())[:-1]:
                panel.axhline(place - 0.5, color="0.9", lw=0.8, zorder=0)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(responses), 4))
        head_figure(figure, title)
    return figure


def _draw_points(
    panel: Any,
    found: Mapping[str, Any],
    quantity: str,
    scale: float,
    places: Mapping[str, float],
    shift: float,
    label: str,
    look: Mapping[str, Any],
) -> None:
    keys = [key for key in places if key in found]
    measured = [found[key][quantity] for key in keys]
    value, low, high = (np.array([m[name] for m in measured]) / scale for name in ("value", "err_low", "err_high"))
    heights = np.array([places[key] for key in keys]) + shift
    panel.errorbar(value, heights, xerr=[np.maximum(low, 0), np.maximum(high, 0)], label=label, ms=5, lw=1.3, **look)


def make_response_table(responses: Mapping[str, Response]) -> list[list[str]]:
    """AUCs as lines of cells: a heading, the nominal jets, and each condition; the change of a variation is paired."""
    lines = [["AUC", *responses], ["nominal", *(_area(one["nominal"]) for one in responses.values())]]
    for key, about in list_conditions(responses).items():
        found = [(one["variations"] | one["others"]).get(key) for one in responses.values()]
        lines.append([about, *("" if one is None else _area(one) for one in found)])
    return lines


def _area(measured: Mapping[str, Any]) -> str:
    change = measured.get("auc_change")
    if change is None:
        return f"{measured['auc']['value']:.4f} ± {measured['auc']['err_stat']:.4f}"
    return f"{change['value']:+.4f} ± {change['err_stat'] or 0:.4f}"
