"""Showers: how long they take, how calorimeters measure them, and a figure of their profiles.

``python -m benchmarks.showers [--detector NAME] [--figure FILE]``. Times are processor time of one process,
of chunks after the first.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from hepcnn.calorimeters import Calorimeter, read_calorimeter
from hepcnn.config import ShowersConfig
from hepcnn.evaluation.plot_style import PALETTE
from hepcnn.generate.showers.chunk import SHOWERS_PER_CHUNK, make_chunk
from hepcnn.generate.showers.compiled import radial_profile
from hepcnn.generate.showers.electromagnetic import make_media, mean_logs

PARTICLES = ("electron", "photon", "pi0", "pion")
Floats = NDArray[np.float64]


def time_showers(calorimeter: Calorimeter, n_chunks: int) -> None:
    """Print showers per second of processor time, by particle."""
    settings = ShowersConfig()
    print("| particle | showers/s | ms each | cells read out |\n| --- | ---: | ---: | ---: |")
    for particle in PARTICLES:
        make_chunk(particle, calorimeter, settings, 1, 0)
        begin = time.process_time()
        chunks = [make_chunk(particle, calorimeter, settings, 1, 1 + k) for k in range(n_chunks)]
        each = (time.process_time() - begin) / n_chunks / SHOWERS_PER_CHUNK
        hits = np.mean([chunk.counts.mean() for chunk in chunks])
        print(f"| {particle} | {1 / each:,.0f} | {1e3 * each:.2f} | {hits:.0f} |")


def shoot(calorimeter: Calorimeter, particle: str, energy: float, n_chunks: int = 1) -> Floats:
    """Energies (showers, cells) of particles of one energy along the axis."""
    settings = ShowersConfig(energy=(energy, energy), max_angle=0.0, spread=0.0)
    found = np.zeros((n_chunks * SHOWERS_PER_CHUNK, calorimeter.n_cells))
    for k in range(n_chunks):
        chunk = make_chunk(particle, calorimeter, settings, 11, k)
        owner = k * SHOWERS_PER_CHUNK + np.repeat(np.arange(SHOWERS_PER_CHUNK), chunk.counts)
        found[owner, chunk.cells] = chunk.energies
    return found


def measure(calorimeter: Calorimeter) -> None:
    """Print responses and widths; of pions medians and half of the central 68 %."""
    print("\n| GeV | electron: mean / E | sigma / E | × sqrt(E) | pion: median / E | 68 % / 2 | × sqrt(E) | e/pi |")
    print("| ---: |" + " ---: |" * 7)
    for energy in (2.0, 5.0, 20.0, 100.0, 500.0):
        electrons, pions = (shoot(calorimeter, p, energy, 2).sum(axis=1) / energy for p in ("electron", "pion"))
        low, median, high = np.quantile(pions, [0.16, 0.5, 0.84])
        wide, width, root = electrons.std(), 0.5 * (high - low) / median, np.sqrt(energy)
        numbers = [electrons.mean(), wide, wide * root, median, width, width * root, np.median(electrons) / median]
        print(f"| {energy:g} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |")


def draw(calorimeter: Calorimeter, path: Path) -> None:
    """Draw longitudinal and radial profiles beside GFLASH's mean ones; cells must be cylindrical."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(16, 4.8), layout="constrained")
    _draw_electrons(axes[0], calorimeter)
    _draw_pions(axes[1], calorimeter)
    _draw_rings(axes[2], calorimeter)
    for each in axes:
        each.legend(fontsize=9)
    figure.savefig(path, dpi=80)


def _mean_parameters(calorimeter: Calorimeter, energy: float) -> tuple[float, float]:
    """T and alpha of the mean electron of an energy in the first section."""
    media = make_media(calorimeter).of(np.array([0]))
    depth, shape = mean_logs(np.log(energy / media.critical_energy), media)
    return float(np.exp(depth)[0]), float(np.exp(shape)[0])


def _draw_electrons(axes: Any, calorimeter: Calorimeter) -> None:
    first = calorimeter.sections[0].layers
    edges = calorimeter.depths_x0[: first + 1]
    for color, energy in zip(PALETTE, (10.0, 100.0, 1000.0), strict=False):
        depth, shape = _mean_parameters(calorimeter, energy)
        rate, t = (shape - 1) / depth, np.linspace(0.01, edges[-1], 400)
        density = np.exp(shape * np.log(rate) + (shape - 1) * np.log(t) - rate * t - math.lgamma(shape))
        axes.plot(t, density, color=color, lw=1, label=f"GFLASH's mean, {energy:g} GeV")
        for particle, fill in (("electron", color), ("photon", "none")):
            cells = shoot(calorimeter, particle, energy, 2)
            layers = np.add.reduceat(cells, calorimeter.offsets[:-1], axis=1).mean(axis=0)[:first]
            middle = 0.5 * (edges[1:] + edges[:-1])
            axes.plot(middle, layers / energy / np.diff(edges), "o", ms=4, color=color, mfc=fill)
    axes.set(xlabel="depth, radiation lengths", ylabel="part of the energy in one radiation length", ylim=(0, None))
    axes.set_title("electrons (full) and photons (open)", fontsize=11)


def _draw_pions(axes: Any, calorimeter: Calorimeter) -> None:
    edges = calorimeter.depths_lambda
    for color, energy in zip(PALETTE, (10.0, 100.0, 1000.0), strict=False):
        cells = shoot(calorimeter, "pion", energy, 2)
        layers = np.add.reduceat(cells, calorimeter.offsets[:-1], axis=1).mean(axis=0)
        middle = 0.5 * (edges[1:] + edges[:-1])
        axes.plot(middle, layers / energy / np.diff(edges), "s-", ms=4, lw=0.8, color=color, label=f"{energy:g} GeV")
    boundary = edges[calorimeter.sections[0].layers]
    axes.axvline(boundary, color="grey", lw=0.8, ls=":")
    axes.set(xlabel="depth, nuclear interaction lengths", ylabel="part seen in one interaction length", yscale="log")
    axes.set_title("charged pions; dotted: where the hadronic section begins", fontsize=11)


def _draw_rings(axes: Any, calorimeter: Calorimeter) -> None:
    energy, stack = 50.0, calorimeter.stacks[0]
    edges = np.array(calorimeter.grid.model_dump()["layers"][0]["r_edges"])
    area, middle = np.pi * np.diff(edges**2), np.sqrt(0.5 * (edges[1:] ** 2 + edges[:-1] ** 2))
    peak, _ = _mean_parameters(calorimeter, energy)
    for color, layer in zip(PALETTE, (3, 7, 14), strict=False):
        tau = 0.5 * (calorimeter.depths_x0[layer] + calorimeter.depths_x0[layer + 1]) / peak
        core, tail, weight = radial_profile(tau, np.log(energy), stack.z, 1 / stack.sampling_frequency, stack.e_mip)
        parts = ((weight, core * stack.moliere_radius), (1 - weight, tail * stack.moliere_radius))
        within = sum(part * edges**2 / (edges**2 + scale**2) for part, scale in parts)
        axes.stairs(np.diff(within) / area, edges, color=color, label=f"layer {layer}")
        for particle, marker, fill in (("electron", "o", color), ("pion", "s", "none")):
            here = slice(calorimeter.offsets[layer], calorimeter.offsets[layer + 1])
            rings = shoot(calorimeter, particle, energy, 2)[:, here].mean(axis=0).reshape(calorimeter.shapes[layer])
            axes.plot(middle, rings.sum(axis=0) / rings.sum() / area, marker, ms=4, color=color, mfc=fill)
    axes.set(xlabel="r, mm", ylabel="density of a layer's energy, 1/mm²", xscale="log", yscale="log")
    axes.set(xlim=(2, 600), ylim=(1e-9, 0.05))
    axes.set_title("50 GeV: electrons (full), pions (open), GFLASH's mean (steps)", fontsize=11)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", default="sampling45")
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    calorimeter = read_calorimeter(options.detector)
    time_showers(calorimeter, options.chunks)
    measure(calorimeter)
    if options.figure:
        draw(calorimeter, options.figure)


if __name__ == "__main__":
    main()
