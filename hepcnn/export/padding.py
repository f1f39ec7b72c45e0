"""Constituents as rectangular arrays, which is how ONNX graphs take them.

Shapes: N jets, P constituents at most, F fields.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hepcnn.constituents import Constituents, offsets_of
from hepcnn.errors import InputError

Padded = tuple[NDArray[np.float32], NDArray[np.float32]]


def pad_constituents(constituents: Constituents, fields: Sequence[str], *, length: int | None = None) -> Padded:
    """Lay jets out as rows of one length.

    Parameters
    ----------
    constituents
        Any number of jets, GeV and radians.
    fields
        Which columns, in the order of the graph's metadata.
    length
        P; by default what the largest jet needs, at least 1. Of a larger jet the constituents of highest pT stay.

    Returns
    -------
    tuple
        Values (N, P, F) and mask (N, P), float32; both 0 where there is no constituent.

    Raises
    ------
    InputError
        For a field that is missing, or a length below 1.
    """
    missing = [name for name in fields if name not in constituents.fields]
    if missing:
        raise InputError(f"constituents have the fields {sorted(constituents.fields)}, {missing} is missing")
    counts = constituents.counts
    length = max(int(counts.max(initial=0)), 1) if length is None else length
    if length < 1:
        raise InputError(f"jets are padded to {length} constituents, expected at least 1")
    place = np.arange(constituents.n) - constituents.offsets[constituents.jet]
    if counts.max(initial=0) > length:
        # Rank by pT within each jet, highest first; those that stay keep their order.
        order = np.lexsort((-constituents.fields["pt"], constituents.jet))
        rank = np.empty(constituents.n, np.int64)
        rank[order] = place
        constituents = constituents.keep(rank < length)
        place = np.arange(constituents.n) - constituents.offsets[constituents.jet]
    values = np.zeros((len(constituents), length, len(fields)), np.float32)
    mask = np.zeros((len(constituents), length), np.float32)
    for column, name in enumerate(fields):
        values[constituents.jet, place, column] = constituents.fields[name]
    mask[constituents.jet, place] = 1.0
    return values, mask


def unpad_constituents(values: NDArray[np.float32], mask: NDArray[np.float32], fields: Sequence[str]) -> Constituents:
    """The inverse: what a graph sees, as `Constituents` in float64."""
    there = mask > 0.5
    columns = {name: values[..., column][there].astype(np.float64) for column, name in enumerate(fields)}
    return Constituents(offsets_of(there.sum(axis=1)), columns)
