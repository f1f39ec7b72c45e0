"""Jet observables from constituents: four-vector, multiplicity, N-subjettiness, soft-drop mass.

FastJet, which is GPL, is needed only where it is called: N-subjettiness, energy correlators, soft drop.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError, did_you_mean, require
from hepcnn.kinematics import mass as invariant_mass
from hepcnn.kinematics import pt_eta_phi, px_py_pz

Observable = NDArray[np.float32]

FEATURES = ("mass", "multiplicity", "tau21", "tau32", "pt")
"""Columns of `stack_features`: what the boosted tree sees at least."""
CORRELATORS = ("c2", "d2")
"""What it sees too, where it is known."""


def make_jet_four_vectors(constituents: Any) -> dict[str, Observable]:
    """Sum constituents to jets (E-scheme).

    Parameters
    ----------
    constituents
        Awkward array, N jets * var * records with ``pt, eta, phi`` and ``energy`` or ``mass`` (GeV, rad).

    Returns
    -------
    dict
        ``pt, eta, phi, mass``, each (N,), GeV and rad. A jet without constituents has pt = mass = 0 and eta = phi = 0.

    Raises
    ------
    InputError
        For missing fields, or NaN or infinite values.
    """
    cartesian = _cartesian(constituents)
    px, py, pz, energy = (ak.to_numpy(ak.sum(cartesian[name], axis=-1)) for name in ("px", "py", "pz", "E"))
    pt, eta, phi = pt_eta_phi(px, py, pz)
    eta = np.where(np.hypot(pt, pz) > 0, eta, 0.0)
    jet = {"pt": pt, "eta": eta, "phi": phi, "mass": invariant_mass(energy, px, py, pz)}
    return {name: values.astype(np.float32) for name, values in jet.items()}


def make_n_subjettiness(
    constituents: Any,
    *,
    n_axes: Sequence[int] = (1, 2, 3),
    beta: float = 1.0,
    radius: float = 0.8,
    axes: str = "OnePass_KT_Axes",
) -> NDArray[np.float64]:
    """N-subjettiness of every jet.

    Parameters
    ----------
    constituents
        As in `make_jet_four_vectors`.
    n_axes
        The N of each tau.
    beta
        Angular exponent, positive.
    radius
        Jet radius R0 of the normalisation.
    axes
        FastJet contrib's name: ``KT_Axes`` (exclusive kt subjets), ``WTA_KT_Axes``, or these with one pass of
        minimisation (``OnePass_KT_Axes``, what CMS stores).

    Returns
    -------
    numpy.ndarray
        (N, len(n_axes)). 0 for a jet with at most N constituents: each is its own axis.

    Raises
    ------
    MissingExtraError
        Without FastJet.
    InputError
        For missing fields, or NaN or infinite values.

    Notes
    -----
    ``tau_N = sum_i pt_i min_k(DeltaR_ik^beta) / sum_i pt_i R0^beta`` (Thaler and Van Tilburg, arXiv:1011.2268;
    minimised axes: arXiv:1108.2701), by the Nsubjettiness contrib.
    """
    tau = np.zeros((len(constituents), len(n_axes)))
    counts = ak.to_numpy(ak.num(constituents, axis=1))
    kept = counts > 1
    if kept.any():
        # Jets with fewer constituents than axes are set to 0 below: the contrib only pads them.
        sequence = _cluster(_cartesian(constituents)[kept])
        found = sequence.njettiness(
            measure_definition="NormalizedMeasure", axes_definition=axes, njets=list(n_axes), beta=beta, R0=radius
        )
        tau[kept] = ak.to_numpy(found)
    tau[counts[:, np.newaxis] <= np.asarray(n_axes)[np.newaxis, :]] = 0.0
    # A pass of minimisation can end a rounding error below zero.
    return np.maximum(tau, 0.0)


def make_energy_correlators(constituents: Any, *, beta: float = 1.0) -> dict[str, NDArray[np.float64]]:
    """Ratios of energy correlation functions of every jet.

    Parameters
    ----------
    constituents
        As in `make_jet_four_vectors`.
    beta
        Angular exponent, positive.

    Returns
    -------
    dict
        ``c2`` and ``d2``, (N,) each. 0 for a jet of fewer than three constituents, or whose constituents all fly the
        same way: it has no third prong.

    Raises
    ------
    MissingExtraError
        Without FastJet.
    InputError
        For missing fields, or NaN or infinite values.

    Notes
    -----
    With ``e2 = sum_{i<j} z_i z_j R_ij^beta`` and ``e3 = sum_{i<j<k} z_i z_j z_k (R_ij R_ik R_jk)^beta``, where z is the
    part of the scalar sum of pT and R the distance in rapidity and phi: ``C2 = e3 / e2^2`` (Larkoski, Salam, Thaler,
    arXiv:1305.0007), ``D2 = e3 / e2^3`` (Larkoski, Moult, Neill, arXiv:1409.6298), by the EnergyCorrelator contrib.
    """
    ratios = {name: np.zeros(len(constituents)) for name in ("c2", "d2")}
    kept = ak.to_numpy(ak.num(constituents, axis=1)) > 2
    if kept.any():
        sequence = _cluster(_cartesian(constituents)[kept])
        for name, values in ratios.items():
            found = sequence.exclusive_jets_energy_correlator(njets=1, beta=beta, func=name)
            values[kept] = np.nan_to_num(ak.to_numpy(found), nan=0.0, posinf=0.0, neginf=0.0)
    return ratios


def make_soft_drop_mass(constituents: Any, *, z_cut: float = 0.1, beta: float = 0.0, radius: float = 0.8) -> Observable:
    """Soft-drop groomed mass of every jet, in GeV.

    Returns
    -------
    numpy.ndarray
        (N,). A jet with fewer than two constituents keeps its mass (0 without any).

    Raises
    ------
    MissingExtraError
        Without FastJet.
    InputError
        For missing fields, or NaN or infinite values.

    Notes
    -----
    Larkoski, Marzani, Soyez, Thaler, arXiv:1402.2657, on the Cambridge/Aachen tree; beta = 0 is the modified mass drop.
    """
    groomed = make_jet_four_vectors(constituents)["mass"]
    kept = ak.to_numpy(ak.num(constituents, axis=1)) > 1
    if kept.any():
        sequence = _cluster(_cartesian(constituents)[kept])
        found = sequence.exclusive_jets_softdrop_grooming(njets=1, beta=beta, symmetry_cut=z_cut, R0=radius)
        groomed[kept] = np.nan_to_num(ak.to_numpy(found["msoftdrop"]))
    return groomed


def find_soft_drop(
    constituents: Any, *, z_cut: float = 0.1, beta: float = 0.0, radius: float = 0.8
) -> NDArray[np.bool_]:
    """Find the constituents that soft drop keeps.

    Returns
    -------
    numpy.ndarray
        A mask over the constituents of all jets laid end to end, (n,). Jets of one constituent keep it.

    Raises
    ------
    MissingExtraError
        Without FastJet.
    InputError
        For missing fields, or NaN or infinite values.

    Notes
    -----
    As `make_soft_drop_mass`. FastJet gives back the momenta of what is kept, bit for bit; constituents of one momentum
    cannot be told apart and need not be: nothing comes between them in the tree, so all stay or all go.
    """
    cartesian = _cartesian(constituents)
    counts = ak.to_numpy(ak.num(cartesian, axis=1))
    several = counts > 1
    mask = np.repeat(~several, counts)
    if several.any():
        sequence = _cluster(cartesian[several])
        found = sequence.exclusive_jets_softdrop_grooming(njets=1, beta=beta, symmetry_cut=z_cut, R0=radius)
        mask[~mask] = np.isin(_name_momenta(cartesian[several]), _name_momenta(found["constituents"]))
    return mask


def _name_momenta(cartesian: Any) -> NDArray[np.void]:
    """Jet and momentum of each constituent as one value that can be compared, (n,)."""
    jet = np.repeat(np.arange(len(cartesian)), ak.to_numpy(ak.num(cartesian, axis=1)))
    flat = ak.flatten(cartesian, axis=1)
    # Adding zero makes -0 and 0 one.
    columns = np.stack([jet, *(ak.to_numpy(flat[name]) + 0.0 for name in ("px", "py", "pz", "E"))], axis=1)
    return np.ascontiguousarray(columns).view(np.dtype((np.void, columns.shape[1] * 8))).ravel()


def make_substructure(
    constituents: Any, *, beta: float = 1.0, radius: float = 0.8, soft_drop: bool = False
) -> dict[str, Observable]:
    """Compute all observables of every jet.

    Parameters
    ----------
    constituents
        As in `make_jet_four_vectors`.
    beta, radius
        Of the N-subjettiness.
    soft_drop
        Whether to add ``soft_drop_mass``, which takes about as long as all the rest.

    Returns
    -------
    dict
        (N,) float32 each: ``pt, eta, phi, mass, multiplicity, tau1, tau2, tau3, tau21, tau32``. A ratio whose
        denominator is 0 is 0: such a jet has no substructure left to resolve. So a jet of 0 or 1 constituents has only
        zeros, one of 2 has tau21 = tau32 = 0.
    """
    observables = make_jet_four_vectors(constituents)
    observables["multiplicity"] = ak.to_numpy(ak.num(constituents, axis=1)).astype(np.float32)
    tau = make_n_subjettiness(constituents, beta=beta, radius=radius)
    for number in (1, 2, 3):
        observables[f"tau{number}"] = tau[:, number - 1].astype(np.float32)
    observables["tau21"] = make_tau_ratio(tau[:, 1], tau[:, 0])
    observables["tau32"] = make_tau_ratio(tau[:, 2], tau[:, 1])
    if soft_drop:
        observables["soft_drop_mass"] = make_soft_drop_mass(constituents, radius=radius)
    return observables


def make_tau_ratio(numerator: Any, denominator: Any) -> Observable:
    """Divide two N-subjettinesses (N,); 0 where the denominator is 0, since nothing is left to resolve there."""
    resolved = denominator > 0
    ratio = np.where(resolved, numerator / np.where(resolved, denominator, 1.0), 0.0)
    return ratio.astype(np.float32)


def stack_features(observables: Mapping[str, Any], *, names: Sequence[str] = FEATURES) -> Observable:
    """Stack observables into the (N, F) array that a boosted tree takes.

    Raises
    ------
    InputError
        For an observable that is not there.
    """
    for name in names:
        if name not in observables:
            raise InputError(f"no observable is called '{name}'{did_you_mean(name, observables)}")
    return np.stack([np.asarray(observables[name], dtype=np.float32) for name in names], axis=1)


def _cartesian(constituents: Any) -> Any:
    fields = set(ak.fields(constituents))
    if missing := {"pt", "eta", "phi"} - fields:
        raise InputError(f"constituents have the fields {sorted(fields)}, {sorted(missing)} is missing")
    if not fields & {"energy", "mass"}:
        raise InputError(f"constituents have the fields {sorted(fields)}, expected 'energy' or 'mass' among them")
    counts = ak.num(constituents, axis=1)
    flat = ak.flatten(constituents, axis=1)
    pt, eta, phi = (ak.to_numpy(flat[name]).astype(np.float64) for name in ("pt", "eta", "phi"))
    px, py, pz = px_py_pz(pt, eta, phi)
    if "energy" in fields:
        energy = ak.to_numpy(flat["energy"]).astype(np.float64)
    else:
        energy = np.sqrt(px**2 + py**2 + pz**2 + ak.to_numpy(flat["mass"]).astype(np.float64) ** 2)
    for name, values in (("pt", pt), ("eta", eta), ("phi", phi), ("energy", energy)):
        if (bad := int((~np.isfinite(values)).sum())) > 0:
            raise InputError(f"constituents: {bad} of {len(values)} values of {name} are NaN or infinite")
    return ak.unflatten(ak.zip({"px": px, "py": py, "pz": pz, "E": energy}), counts)


def _cluster(cartesian: Any) -> Any:
    fastjet = require("fastjet", extra="generate")
    # FastJet's C++ prints a banner on stdout at its first clustering, where a verb's --json belongs.
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    # A radius beyond any distance in a jet: the clustering tree then holds every constituent.
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)
    return fastjet.ClusterSequence(ak.to_packed(cartesian), definition)
