"""What a file says of each jet: labels from which classes are made."""

import awkward as ak
import numpy as np
from awkward.contents import NumpyArray
from numpy.typing import NDArray

from hepcnn.errors import InputError
from hepcnn.io.columns import Block, Counts, Float
from hepcnn.io.label_rules import ColumnLabel, MatchLabel, OneHotLabel
from hepcnn.io.rules import columns_of
from hepcnn.kinematics import delta_r, pt_eta_phi


def read_label(
    block: Block,
    label: ColumnLabel | OneHotLabel | MatchLabel,
    *,
    n_jets: Counts,
    eta: Float,
    phi: Float,
    radius: float,
) -> NDArray[np.int64]:
    """One label of each jet.

    Parameters
    ----------
    block
        The entries.
    label
        The schema's rule.
    n_jets
        Jets of each entry, (n,).
    eta, phi
        The jets' axes, (n_jets,).
    radius
        The jets' radius, where the rule has none of its own.

    Returns
    -------
    array (n_jets,) int64

    Raises
    ------
    InputError
        When a column's length is not that of the jets, or a label is no whole number.
    """
    if isinstance(label, ColumnLabel):
        one_hot = _one_hot(block, label.column, n_jets)
        if one_hot is not None:
            return one_hot
        return _whole(block, label.column, per_jet(block, label.column, n_jets))
    if isinstance(label, OneHotLabel):
        flags = np.stack([per_jet(block, name, n_jets) != 0 for name in label.one_hot.values()])
        return np.where(flags.sum(axis=0) == 1, flags.argmax(axis=0), -1)
    return _match(block, label, n_jets, eta, phi, label.radius or radius)


def _one_hot(block: Block, column: object, n_jets: Counts) -> NDArray[np.int64] | None:
    """The place of the one in each row of a matrix (n, K); -1 where there is none, or more than one."""
    layout = ak.to_layout(block.columns[column])
    if not isinstance(layout, NumpyArray) or layout.data.ndim != 2 or layout.data.shape[1] < 2 or (n_jets != 1).any():
        return None
    flags = np.asarray(layout.data) != 0
    return np.where(flags.sum(axis=1) == 1, flags.argmax(axis=1), -1)


def per_jet(block: Block, column: object, n_jets: Counts) -> Float:
    """A column of one number a jet, or of one number an entry, which all its jets get, (n_jets,).

    Raises
    ------
    InputError
        When the column's length is not that of the jets.
    """
    if block.depth(column) > 1:
        counts = block.counts(column)
        if np.array_equal(counts, n_jets):
            return block.flat(column, flags=True)
        if not (counts == 1).all():
            at = int(np.flatnonzero(counts != n_jets)[0])
            raise InputError(
                f"{block.where}, entry {block.first + at}: '{column}' has {counts[at]} values for {n_jets[at]} jets"
            )
    return np.repeat(block.flat(column, flags=True), n_jets)


def _whole(block: Block, column: object, values: Float) -> NDArray[np.int64]:
    if not (np.isfinite(values) & (values == np.round(values))).all():
        at = int(np.flatnonzero(~np.isfinite(values) | (values != np.round(values)))[0])
        raise InputError(f"{block.where}: label '{column}' should hold whole numbers, one is {values[at]}")
    return values.astype(np.int64)


def _match(block: Block, label: MatchLabel, n_jets: Counts, eta: Float, phi: Float, radius: float) -> NDArray[np.int64]:
    n_particles = block.same_counts(list(columns_of(label)))
    kind = np.abs(block.flat(label.pdg_id)).astype(np.int64)
    if label.eta is not None:
        particle_eta, particle_phi = block.flat(label.eta), block.flat(label.phi)
    else:
        _, particle_eta, particle_phi = pt_eta_phi(*(block.flat(name) for name in (label.px, label.py, label.pz)))
    wanted = np.isin(kind, label.ids)
    if label.status is not None and label.status_values:
        wanted &= np.isin(block.flat(label.status).astype(np.int64), list(label.status_values))
    particle_event = np.repeat(np.arange(block.n), n_particles)
    jet_event = np.repeat(np.arange(block.n), n_jets)
    jets_before = np.cumsum(n_jets) - n_jets
    found = np.zeros(len(jet_event), dtype=np.int64)
    for number in reversed(label.ids):
        candidates = np.flatnonzero(wanted & (kind == number))
        event = particle_event[candidates]
        particle = np.repeat(candidates, n_jets[event])
        counts = n_jets[event]
        jet = (
            np.arange(len(particle))
            - np.repeat(np.cumsum(counts) - counts, counts)
            + np.repeat(jets_before[event], counts)
        )
        near = delta_r(particle_eta[particle], particle_phi[particle], eta[jet], phi[jet]) < radius
        found[jet[near]] = number
    return found
