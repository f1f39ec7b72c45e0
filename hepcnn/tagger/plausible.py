"""Could these jets be what the tagger was trained on? Sentences for a person where they hardly can."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.constituents import Constituents

HALF_OF_LHC = 7000.0
"""GeV: no particle at the LHC carries more than a beam's proton does."""
ABOVE_TRAINING = 5.0
"""A constituent of so many times the training's hardest jet is not in GeV, whatever the collider."""
ENERGIES = ("pt", "energy", "ecal", "hcal")
FEW_JETS = 10
RADIUS_TOLERANCE = 0.01


def check_units(constituents: Constituents, ranges: Mapping[str, Any]) -> list[str]:
    """Name the fields whose energies cannot be GeV, and an energy that does not fit its momentum.

    Parameters
    ----------
    constituents
        As they came, zero-pT constituents left out.
    ranges
        ``training_ranges`` of a manifest.
    """
    if not constituents.n:
        return []
    hardest = float(ranges.get("jet_pt", {}).get("high", 0.0))
    found = []
    limit = max(HALF_OF_LHC, ABOVE_TRAINING * hardest)
    for name in ENERGIES:
        values = constituents.fields.get(name)
        if values is None:
            continue
        highest = float(np.max(values, initial=0.0, where=np.isfinite(values)))
        if highest > limit:
            found.append(
                f"'{name}' of constituents reaches {highest:.3g}, which cannot be GeV (at most {limit:.0f} here): is "
                "it in MeV? hepcnn takes GeV"
            )
    if not found and "energy" in constituents.fields:
        momentum = constituents.fields["pt"] * np.cosh(constituents.fields["eta"])
        usable = np.isfinite(momentum) & (momentum > 0)
        ratio = float(np.median(constituents.fields["energy"][usable] / momentum[usable])) if usable.any() else 1.0
        if ratio > 100 or ratio < 0.01:
            found.append(
                f"'energy' of constituents is {ratio:.3g} times their momentum in the middle: are 'energy' and 'pt' in "
                "different units? hepcnn takes GeV"
            )
    return found


def check_pt(pt: NDArray[np.float64], ranges: Mapping[str, Any]) -> list[str]:
    """Say so where most jets' pT, (N,) GeV, lies outside the training's range."""
    known = ranges.get("jet_pt")
    pt = pt[np.isfinite(pt) & (pt > 0)]
    if not known or not len(pt):
        return []
    outside = int(((pt < known["low"]) | (pt > known["high"])).sum())
    if 2 * outside <= len(pt):
        return []
    return [
        f"{outside} of {len(pt)} jets have a pT outside {known['low']:.0f}–{known['high']:.0f} GeV, where the tagger "
        "was trained: their scores are extrapolations"
    ]


def check_reach(reach: NDArray[np.float64], ranges: Mapping[str, Any], radius: float) -> list[str]:
    """Say so where images, of which `hepcnn.images.reach` measured (N,), are filled as those of another radius are."""
    known, reach = ranges.get("reach"), reach[np.isfinite(reach)]
    if not known or len(reach) < FEW_JETS:
        return []
    middle = float(np.median(reach))
    if known["q01"] <= middle <= known["q99"]:
        return []
    return [
        f"half of the jets reach {middle:.2f} from their middle; 98 % of those that the tagger was trained on, of "
        f"radius {radius:g}, reached {known['q01']:.2f} to {known['q99']:.2f}: have these another radius?"
    ]


def check_radius(radius: float, trained: float) -> list[str]:
    """Say so where a file's jets have another radius than those of the training."""
    if abs(radius - trained) <= RADIUS_TOLERANCE * trained:
        return []
    return [f"these jets have a radius of {radius:g}, the tagger was trained on jets of radius {trained:g}"]
