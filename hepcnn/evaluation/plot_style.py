"""How the pictures look: mplhep's style at the size of a slide, colours and lines that everybody can tell apart."""

import contextlib
from collections.abc import Iterator
from typing import Any

from hepcnn.errors import require

PALETTE = ("#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#94a4a2", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
"""Colours that stay apart for colour-blind readers (Petroff, arXiv:2107.02270)."""

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)))
"""Line styles, so that no curve is told by its colour alone."""

MARKERS = ("o", "s", "^", "D", "v", "P")

_SIZES = {
    "figure.figsize": (8.0, 6.0),
    "figure.dpi": 110,
    "font.size": 15,
    "axes.labelsize": 17,
    "axes.titlesize": 15,
    "xtick.labelsize": 14,
    "ytick.labelsize": 14,
    "legend.fontsize": 12.5,
    "legend.handlelength": 2.2,
    "lines.linewidth": 2.0,
    "savefig.transparent": False,
}


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Apply the mplhep style inside the block only."""
    matplotlib = require("matplotlib", extra="evaluate")
    mplhep = require("mplhep", extra="evaluate")
    style = {key: value for key, value in mplhep.style.CMS.items() if key in matplotlib.rcParams}
    with matplotlib.rc_context({**style, **_SIZES}):
        yield


def new_figure(*, size: tuple[float, float] | None = None) -> Any:
    """Make a Figure outside of pyplot, which would keep it and choose a window system."""
    figure_module = require("matplotlib.figure", extra="evaluate")
    return figure_module.Figure(figsize=size, layout="constrained")


def look(number: int) -> dict[str, Any]:
    """Give the colour and line style of the n-th curve."""
    return {"color": PALETTE[number % len(PALETTE)], "linestyle": LINES[number % len(LINES)]}


def plain(text: str) -> str:
    """Keep matplotlib from reading a name's dollar signs as mathematics."""
    return text.replace("$", r"\$")
