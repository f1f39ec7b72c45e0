"""Pictures of what a sample looks like before anything is learnt from it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hepcnn.errors import EmptySampleError
from hepcnn.evaluation.plot_style import look, new_figure, plain, put_title, styled


def plot_spectra(spectra: Sequence[Mapping[str, Any]], *, classes: Sequence[str], title: str, log: bool = False) -> Any:
    """Distributions of one quantity, a curve per class, each normalised to one.

    Parameters
    ----------
    spectra
        Histograms of data cards, with ``edges`` (n+1,), ``counts`` (n,), ``below`` and ``above`` by class. Their edges
        may differ.
    classes
        Whose curves to draw, in the order of the legend.
    title
        The quantity and its unit.
    log
        Whether the axis of the density is logarithmic.

    Notes
    -----
    Jets beyond the edges count for the normalisation, and the legend says what fraction of a class they are.

    Raises
    ------
    EmptySampleError
        When no class has a jet.
    """
    with styled():
        figure = new_figure()
        axes = figure.subplots()
        drawn: list[float] = []
        for number, name in enumerate(classes):
            for spectrum in spectra:
                counts = np.asarray(spectrum["counts"].get(name, []), dtype=np.float64)
                beyond = spectrum["below"].get(name, 0) + spectrum["above"].get(name, 0)
                if counts.sum() == 0:
                    continue
                edges = np.asarray(spectrum["edges"])
                n_jets = counts.sum() + beyond
                label = f"{plain(name)} ({n_jets:,.0f} jets" + (f", {beyond / n_jets:.2%} beyond)" if beyond else ")")
                density = counts / (n_jets * np.diff(edges))
                axes.stairs(density, edges, label=label, lw=2, **look(number))
                drawn += [float(density.max()), float(density[density > 0].min())]
        if not drawn:
            raise EmptySampleError(f"{title}: no class has a jet: nothing to draw")
        axes.set(xlabel=plain(title), ylabel="jets / bin width (normalised)", yscale="log" if log else "linear")
        # Room for the legend, and for the smallest bin to stand above the axis.
        axes.set_ylim(min(drawn) / 5 if log else 0, max(drawn) * (10 if log else 1.35))
        axes.legend(loc="upper right")
        put_title(axes)
    return figure
