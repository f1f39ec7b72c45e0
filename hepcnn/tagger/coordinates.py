"""Momenta in any coordinates, under any of their usual names → pt, eta, phi and energy."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError

Float = NDArray[np.float64]

NAMES: Mapping[str, tuple[str, ...]] = {
    "pt": ("pt",),
    "eta": ("eta",),
    "phi": ("phi",),
    "theta": ("theta",),
    "px": ("px",),
    "py": ("py",),
    "pz": ("pz",),
    "energy": ("energy", "E", "e"),
    "mass": ("mass", "M", "m"),
}
"""What each coordinate is called, the first that is there counting."""

VECTOR_NAMES: Mapping[str, str] = {"pt": "rho", "px": "x", "py": "y", "pz": "z", "energy": "t", "mass": "tau"}
"""What it is also called in records that say that they are vectors, as those of ``vector`` and ``coffea`` do."""

FORMS = (("pt", "phi"), ("px", "py")), (("eta",), ("theta",), ("pz",))
"""What is needed, across the beam and along it: one of each."""


def find_coordinates(fields: Collection[str], *, is_vector: bool) -> dict[str, str]:
    """Find which field is which coordinate.

    Parameters
    ----------
    fields
        The names that there are.
    is_vector
        Whether ``x, y, z, t, rho, tau`` are coordinates of the momentum, too.

    Returns
    -------
    dict
        Field by coordinate: one pair across the beam, one along it, and ``energy`` or ``mass`` where there is one.

    Raises
    ------
    InputError
        When no complete momentum is there; the message lists what is.
    """
    found = {}
    for coordinate, names in NAMES.items():
        more = (VECTOR_NAMES[coordinate],) if is_vector and coordinate in VECTOR_NAMES else ()
        if (name := next((name for name in (*names, *more) if name in fields), None)) is not None:
            found[coordinate] = name
    chosen: dict[str, str] = {}
    for forms in FORMS:
        form = next((form for form in forms if set(form) <= set(found)), None)
        if form is None:
            missing = [name for name in ("pt", "eta", "phi") if name not in found]
            raise InputError(
                "constituents: expected jets of records with pt, eta, phi (or px, py, pz, or others that vector "
                f"knows); missing: {', '.join(missing)} (there are: {', '.join(fields)})"
            )
        chosen |= {name: found[name] for name in form}
    size = next((name for name in ("energy", "mass") if name in found), None)
    return chosen | ({size: found[size]} if size else {})


def make_momenta(coordinates: Mapping[str, Float]) -> dict[str, Float]:
    """Compute ``pt, eta, phi, energy`` from what `find_coordinates` found, each (n,), GeV and radians.

    Without energy and mass, constituents are massless. A vanishing momentum has an eta of NaN unless it was given one.
    """
    given = dict(coordinates)
    if "pt" in given:
        pt, phi = given["pt"], given["phi"]
    else:
        pt = np.sqrt(given["px"] ** 2 + given["py"] ** 2)
        phi = np.arctan2(given["py"], given["px"])
    with np.errstate(divide="ignore", invalid="ignore"):
        if "eta" in given:
            eta = given["eta"]
        else:
            eta = np.arcsinh(given["pz"] / pt if "pz" in given else 1.0 / np.tan(given["theta"]))
    if "energy" in given:
        return {"pt": pt, "eta": eta, "phi": phi, "energy": given["energy"]}
    # As readers of files do: from the components themselves, which near the beam are more exact than eta.
    cartesian = {"px", "py", "pz"} <= set(given)
    with np.errstate(invalid="ignore"):
        momentum = np.sqrt(pt**2 + given["pz"] ** 2) if cartesian else pt * np.cosh(eta)
        energy = np.sqrt(momentum**2 + given["mass"] ** 2) if "mass" in given else momentum
    return {"pt": pt, "eta": eta, "phi": phi, "energy": energy}
