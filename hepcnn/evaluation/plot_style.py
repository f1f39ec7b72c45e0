"""How the pictures look: mplhep's style at the size of a slide, colours and lines that everybody can tell apart."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from hepcnn.errors import ConfigError, did_you_mean, require

PALETTE = ("#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#94a4a2", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
"""Colours that stay apart for colour-blind readers (Petroff, arXiv:2107.02270)."""

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)))
"""Line styles, so that no curve is told by its colour alone."""

MARKERS = ("o", "s", "^", "D", "v", "P")

MOST_INSIDE = 6
"""Entries that a legend may have without hiding curves."""

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


EXPERIMENTS = {"cms": "CMS", "atlas": "ATLAS"}


@dataclass(frozen=True)
class PlotStyle:
    """Whose rules a picture follows, and what stands beside the experiment's name.

    Attributes
    ----------
    name
        "hepcnn" (no experiment's name), "cms" or "atlas".
    label
        Such as "Simulation Preliminary".

    Raises
    ------
    ConfigError
        For another name.
    """

    name: str = "hepcnn"
    label: str = "Simulation Preliminary"

    def __post_init__(self) -> None:
        known = ("hepcnn", *EXPERIMENTS)
        if self.name not in known:
            raise ConfigError(f"no plot style is called '{self.name}'{did_you_mean(self.name, known)}")


_current: ContextVar[PlotStyle] = ContextVar("plot style", default=PlotStyle())  # noqa: B039 (it is frozen)


@contextlib.contextmanager
def use_style(style: PlotStyle) -> Iterator[None]:
    """Draw and write the pictures inside the block in this style."""
    before = _current.set(style)
    try:
        yield
    finally:
        _current.reset(before)


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Apply the mplhep style inside the block only."""
    matplotlib = require("matplotlib", extra="evaluate")
    mplhep = require("mplhep", extra="evaluate")
    base = mplhep.style.ATLAS if _current.get().name == "atlas" else mplhep.style.CMS
    style = {key: value for key, value in base.items() if key in matplotlib.rcParams}
    with matplotlib.rc_context({**style, **_SIZES}):
        yield


def put_title(axes: Any, title: str = "") -> None:
    """Write a picture's title above its axes, and the experiment's label where the style has one."""
    style = _current.get()
    if style.name == "hepcnn":
        axes.set_title(plain(title), loc="left")
        return
    mplhep = require("mplhep", extra="evaluate")
    label = mplhep.cms.label if style.name == "cms" else mplhep.atlas.label
    sizes = (21, 16, 14, 12)
    label(llabel=style.label, rlabel=plain(title), loc=0, ax=axes, fontsize=sizes)


def head_figure(figure: Any, title: str = "") -> None:
    """Write the title above a figure of many panels, and the experiment's label where the style has one."""
    style = _current.get()
    parts = [plain(title)] if title else []
    if style.name in EXPERIMENTS:
        parts.insert(0, rf"$\bf{{{EXPERIMENTS[style.name]}}}$ {plain(style.label)}")
    if parts:
        figure.suptitle("   ".join(parts), fontsize=15, x=0.02, ha="left")


def new_figure(*, size: tuple[float, float] | None = None) -> Any:
    """Make a Figure outside of pyplot, which would keep it and choose a window system."""
    figure_module = require("matplotlib.figure", extra="evaluate")
    return figure_module.Figure(figsize=size, layout="constrained")


def put_legend(axes: Any, place: str, **options: Any) -> None:
    """Write the legend inside the axes; one of more than `MOST_INSIDE` entries beside them, in a wider figure.

    Parameters
    ----------
    axes
        With everything drawn.
    place
        Where inside.
    options
        More of matplotlib's.
    """
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) <= MOST_INSIDE:
        axes.legend(loc=place, **options)
        return
    figure = axes.figure
    width, height = figure.get_size_inches()
    longest = max(len(text) for text in (*labels, *str(options.get("title", "")).split("\n")))
    figure.set_size_inches(width + 1.0 + 0.105 * longest, height)
    figure.legend(handles, labels, loc="outside right upper", **options | {"ncols": 1})


def look(number: int) -> dict[str, Any]:
    """Give the colour and line style of the n-th curve."""
    return {"color": PALETTE[number % len(PALETTE)], "linestyle": LINES[number % len(LINES)]}


def side_by_side(number: int, n: int) -> float:
    """How far from the middle of a bin the n-th of so many points stands, in widths of the bin."""
    return (number - (n - 1) / 2) * (0.35 if n <= MOST_INSIDE // 2 else 0.7) / max(n, 1)


def plain(text: str) -> str:
    """Keep matplotlib from reading a name's dollar signs as mathematics."""
    return text.replace("$", r"\$")
