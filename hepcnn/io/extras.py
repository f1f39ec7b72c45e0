"""Further numbers of each jet: columns, and what a generated object knows."""

import numpy as np
from numpy.typing import NDArray

from hepcnn.io.columns import Block, Counts, Float
from hepcnn.io.extra_rules import ExtraColumn, ExtraObject
from hepcnn.io.labels import per_jet
from hepcnn.io.links import starts_of
from hepcnn.io.rules import columns_of
from hepcnn.kinematics import delta_r, pt_eta_phi


def read_extra(
    block: Block, rule: ExtraColumn | ExtraObject, *, n_jets: Counts, eta: Float, phi: Float, unit: float
) -> Float:
    """One number of each jet.

    Parameters
    ----------
    block
        The entries.
    rule
        The schema's rule.
    n_jets
        Jets of each entry, (n,).
    eta, phi
        The jets' axes, (n_jets,).
    unit
        GeV in the file's unit of energy.

    Returns
    -------
    array (n_jets,) float64
        In GeV where it is an energy; NaN where no object is picked.

    Raises
    ------
    InputError
        When a column's length is not that of the jets, or columns of objects differ in length.
    """
    if isinstance(rule, ExtraColumn):
        return per_jet(block, rule.column, n_jets) * rule.scale(unit)
    n_objects = block.same_counts(list(columns_of(rule)))
    numbers, object_eta, object_phi = _read_objects(block, rule, unit)
    if rule.pick == "first":
        first = np.repeat(starts_of(n_objects), n_jets)
        picked = np.where(np.repeat(n_objects, n_jets) > 0, first, -1)
    else:
        picked = _find_nearest(n_jets, n_objects, eta, phi, object_eta, object_phi, rule.radius)
    found = np.full(len(picked), np.nan)
    found[picked >= 0] = numbers[picked[picked >= 0]]
    return found


def _read_objects(block: Block, rule: ExtraObject, unit: float) -> tuple[Float, Float, Float]:
    """The number that is wanted, eta and phi of all objects."""
    if rule.px is not None:
        momentum = [block.flat(column) * unit for column in (rule.px, rule.py, rule.pz)]
        pt, eta, phi = pt_eta_phi(*momentum)
        size = np.sqrt(sum(part**2 for part in momentum))
    else:
        pt, eta, phi = block.flat(rule.pt) * unit, block.flat(rule.eta), block.flat(rule.phi)
        size = pt * np.cosh(eta)
    mass = np.zeros(len(pt)) if rule.mass is None else block.flat(rule.mass) * unit
    taken = {
        "energy": np.hypot(size, mass),
        "pt": pt,
        "mass": mass,
        "theta": 2 * np.arctan(np.exp(-eta)),
        "phi": phi,
    }
    return taken[rule.take], eta, phi


def _find_nearest(
    n_jets: Counts, n_objects: Counts, eta: Float, phi: Float, object_eta: Float, object_phi: Float, radius: float
) -> NDArray[np.int64]:
    """The object nearest to each jet, (n_jets,); -1 where none is within the radius."""
    # Every jet with every object of its entry, jet by jet.
    repeat = np.repeat(n_objects, n_jets)
    jet = np.repeat(np.arange(len(eta)), repeat)
    begin = np.cumsum(repeat) - repeat
    target = np.arange(len(jet)) - np.repeat(begin, repeat) + np.repeat(np.repeat(starts_of(n_objects), n_jets), repeat)
    distance = np.asarray(delta_r(object_eta[target], object_phi[target], eta[jet], phi[jet]))
    order = np.lexsort((distance, jet))
    first = order[np.flatnonzero(np.diff(jet[order], prepend=-1))]
    picked = np.full(len(eta), -1, dtype=np.int64)
    near = first[distance[first] < radius]
    picked[jet[near]] = target[near]
    return picked
