"""How fast constituents in memory become images: hepcnn, the same in NumPy, and EnergyFlow's ``pixelate``.

``python -m benchmarks.pixelate [--jets 100000] [--repeat 5]`` prints the medians of runs in turns, in CPU time, so that
other work on the machine counts little. NumPy's way is the oracle of the tests: an array operation over all jets for
each step. EnergyFlow is timed where it can be imported (``uv run --with energyflow``), on some of the jets, since it
takes them one by one; it makes pT and counts of centred jets only, and so is compared with just that.
"""

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np

from benchmarks.jets import make_jets
from hepcnn.constituents import Constituents
from hepcnn.images.grids import WindowGrid
from hepcnn.images.jet_features import make_jet_features
from hepcnn.images.pixelate import make_pixels
from tests.images import oracle

GRID = WindowGrid(n_eta=40, n_phi=40, half_width=0.8)
CHANNELS = ("pt", "ecal", "hcal", "track_pt", "multiplicity")
STEPS = ("centre", "rotate", "flip", "normalise")
CENTRED = ("centre", "normalise")


def make_sample(n_jets: int) -> Constituents:
    """Made-up jets of some 50 constituents."""
    columns = make_jets(n_jets, n_prongs=3, seed=1)
    px, py, pz = (np.asarray(ak.flatten(columns[f"part_{axis}"]), np.float64) for axis in ("px", "py", "pz"))
    pt = np.hypot(px, py)
    fields = {"pt": pt, "eta": np.arcsinh(pz / pt), "phi": np.arctan2(py, px)}
    for name in ("energy", "charge", "ecal", "hcal"):
        fields[name] = np.asarray(ak.flatten(columns[f"part_{name}"]), np.float64)
    counts = ak.to_numpy(ak.num(columns["part_px"]))
    return Constituents(np.concatenate([[0], np.cumsum(counts)]), fields)


def make_compiled(jets: Constituents, channels: tuple[str, ...], steps: Any, *, numbers: bool = True) -> None:
    """Images and jet-level numbers of fresh jets: what is remembered of a `Constituents` is forgotten."""
    fresh = Constituents(jets.offsets, jets.fields)
    make_pixels(fresh, grid=GRID, channels=channels, steps=steps)
    if numbers:
        make_jet_features(fresh, ("pt", "mass", "n_constituents"), radius=0.8)


def find_energyflow(jets: Constituents) -> Callable[[], None] | None:
    """What makes EnergyFlow's images of jets, where it is installed."""
    try:
        from energyflow.utils import pixelate
    except ImportError:
        return None
    columns = np.stack([jets.fields[name] for name in ("pt", "eta", "phi")], axis=1)
    events = np.split(columns, jets.offsets[1:-1])

    def make() -> None:
        for event in events:
            # A jet across phi = pi may have no particle near what is taken for its centre.
            with contextlib.suppress(FloatingPointError):
                pixelate(event, npix=40, img_width=1.6, nb_chan=2, norm=True)

    return make


def measure(n_jets: int, n_slow: int, repeat: int) -> dict[str, float]:
    """Median jets per second of each way, all run in turns; the first round compiles and is left out."""
    jets = make_sample(n_jets)
    some = jets.slice(0, min(n_slow, n_jets))
    ways: dict[str, tuple[int, Callable[[], Any]]] = {
        "hepcnn, 5 channels, 4 steps, 3 jet-level numbers": (n_jets, lambda: make_compiled(jets, CHANNELS, STEPS)),
        "NumPy, 5 channels, 4 steps": (n_jets, lambda: oracle.make_pixels(jets, GRID, CHANNELS, STEPS)),
        "hepcnn, 2 channels, centred": (
            n_jets,
            lambda: make_compiled(jets, ("pt", "multiplicity"), CENTRED, numbers=False),
        ),
    }
    if (slow := find_energyflow(some)) is not None:
        ways["EnergyFlow, 2 channels, centred"] = (len(some), slow)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeat + 1):
        for name, (_, way) in ways.items():
            started = time.process_time()
            way()
            times[name].append(time.process_time() - started)
    return {name: ways[name][0] / statistics.median(found[1:]) for name, found in times.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jets", type=int, default=100_000)
    parser.add_argument("--slow-jets", type=int, default=5_000, help="how many of them EnergyFlow gets")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    rates = measure(options.jets, options.slow_jets, options.repeat)
    print(f"| images of {options.jets} jets in memory, one core | jets/s | hepcnn is faster by |\n| --- | --- | --- |")
    full, centred = (rates[name] for name in rates if name.startswith("hepcnn"))
    for name, rate in rates.items():
        ours = centred if "centred" in name else full
        print(f"| {name} | {rate:,.0f} | {'' if name.startswith('hepcnn') else f'{ours / rate:.1f}×'} |")
    if len(rates) < 4:
        print("EnergyFlow is not installed here: uv run --with energyflow python -m benchmarks.pixelate")


if __name__ == "__main__":
    main()
