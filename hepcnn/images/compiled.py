"""The loops over constituents and pixels, compiled by numba; imported only when the first image is made.

Each loop goes through its jets one after the other and adds in the order of their constituents, so that a jet's numbers
are the same to the bit whatever the jets beside it. Signatures are given, so that nothing is compiled twice for arrays
that differ in being writeable. Shapes: N jets, n constituents, m pixels, C channels.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numba import boolean, float32, float64, int64, uint32, uint64, void

from hepcnn import kinematics

Loop = TypeVar("Loop", bound=Callable[..., Any])

_FLOATS = numba.types.Array(float64, 1, "C", readonly=True)
_OFFSETS = numba.types.Array(int64, 1, "C", readonly=True)
_wrap_phi = numba.njit(nogil=True)(kinematics.wrap_phi)

EDGE, TIE = 1e-9, 1e-12
"""How far below its pixel's edge a constituent may lie, in pixels, and what differences are none, relative to what is
compared (radians where coordinates are). Rounding is far smaller, so the order of sums decides nothing: collinear
constituents turned onto an edge, or halves that weigh the same, give one image however they were computed."""


def compile_loop(signature: Any) -> Callable[[Loop], Loop]:
    """Compile a loop for one signature, and keep what was compiled for the next process."""

    def compile_it(loop: Loop) -> Loop:
        # Not fastmath: it may reorder sums and forget NaN.
        try:
            compiled: Loop = numba.njit(signature, nogil=True, cache=True)(loop)
        except RuntimeError:
            # No folder to keep compiled code in, neither beside this file nor in the home.
            compiled = numba.njit(signature, nogil=True)(loop)
        return compiled

    return compile_it


@compile_loop(void(_OFFSETS, _FLOATS, _FLOATS, _FLOATS, _FLOATS, _FLOATS, boolean, float64[::1], float64[::1]))
def find_distances(
    offsets: Any, pt: Any, eta: Any, phi: Any, axis_eta: Any, axis_phi: Any, centre: bool, deta: Any, dphi: Any
) -> None:  # pragma: no cover - compiled
    """Find where constituents are from their jet's axis (N,) or, with ``centre``, from its pT-weighted centroid."""
    for jet in range(len(offsets) - 1):
        total = sum_eta = sum_phi = 0.0
        for i in range(offsets[jet], offsets[jet + 1]):
            x, y = eta[i] - axis_eta[jet], phi[i] - axis_phi[jet]
            if not -np.pi <= y < np.pi:
                y = _wrap_phi(y)
            deta[i], dphi[i] = x, y
            total += pt[i]
            sum_eta += pt[i] * x
            sum_phi += pt[i] * y
        if centre and total > 0:
            mean_eta, mean_phi = sum_eta / total, sum_phi / total
            for i in range(offsets[jet], offsets[jet + 1]):
                deta[i] -= mean_eta
                dphi[i] -= mean_phi


@compile_loop(void(_OFFSETS, _FLOATS, float64[::1], float64[::1]))
def rotate_jets(offsets: Any, pt: Any, deta: Any, dphi: Any) -> None:  # pragma: no cover - compiled
    """Turn each jet, in place, so that the axis of its largest pT-weighted variance lies along dphi."""
    for jet in range(len(offsets) - 1):
        var_eta = var_phi = covariance = 0.0
        for i in range(offsets[jet], offsets[jet + 1]):
            x, y = deta[i], dphi[i]
            var_eta += pt[i] * (x * x)
            var_phi += pt[i] * (y * y)
            covariance += pt[i] * (x * y)
        # The angle of the principal axis of a 2×2 covariance, from the dphi axis.
        twist, stretch, limit = 2 * covariance, var_phi - var_eta, TIE * (var_eta + var_phi)
        twist = 0.0 if abs(twist) <= limit else twist
        stretch = 0.0 if abs(stretch) <= limit else stretch
        angle = 0.5 * np.arctan2(twist, stretch)
        cosine, sine = np.cos(angle), np.sin(angle)
        for i in range(offsets[jet], offsets[jet + 1]):
            x, y = deta[i], dphi[i]
            deta[i] = x * cosine - y * sine
            dphi[i] = y * cosine + x * sine


@compile_loop(void(_OFFSETS, _FLOATS, float64[::1]))
def flip_jets(offsets: Any, pt: Any, coordinate: Any) -> None:  # pragma: no cover - compiled
    """Mirror each jet, in place, where the half at negative coordinates holds more pT."""
    for jet in range(len(offsets) - 1):
        positive = negative = 0.0
        for i in range(offsets[jet], offsets[jet + 1]):
            # Without a branch, which no processor could foresee.
            positive += pt[i] * np.float64(coordinate[i] > TIE)
            negative += pt[i] * np.float64(coordinate[i] < -TIE)
        if negative > positive * (1 + TIE):
            for i in range(offsets[jet], offsets[jet + 1]):
                coordinate[i] = -coordinate[i]


@compile_loop(void(_FLOATS, float64[::1]))
def _wrap_angles(angle: Any, wrapped: Any) -> None:  # pragma: no cover - compiled
    for i in range(len(angle)):
        wrapped[i] = angle[i] if -np.pi <= angle[i] < np.pi else _wrap_phi(angle[i])


def wrap_angles(angle: Any) -> Any:
    """Bring angles (n,) into [-pi, pi); faster than `hepcnn.kinematics.wrap_phi` where most are there already."""
    wrapped = np.empty(len(angle))
    _wrap_angles(angle, wrapped)
    return wrapped


@compile_loop(void(_FLOATS, float64, float64, int64, boolean, int64[::1]))
def add_axis(
    coordinate: Any, low: float, scale: float, n_bins: int, periodic: bool, pixel: Any
) -> None:  # pragma: no cover - compiled
    """Let flat pixel numbers (n,) count an axis of equal bins too, in place; -1 stays and is what lies outside."""
    for i in range(len(coordinate)):
        scaled = (coordinate[i] - low) * scale + EDGE
        if periodic and scaled >= n_bins:
            # Rounding took an angle just below pi to pi.
            scaled = n_bins - 0.5
        if pixel[i] >= 0 and 0 <= scaled < n_bins:
            pixel[i] = pixel[i] * n_bins + np.int64(scaled)
        else:
            pixel[i] = -1


# A de Bruijn sequence: the six bits above any of its shifts are different ones.
_SEQUENCE = 0x03F79D71B4CB0A89
_BIT_NUMBERS = np.zeros(64, dtype=np.int64)
_BIT_NUMBERS[[((_SEQUENCE << bit) & (2**64 - 1)) >> 58 for bit in range(64)]] = np.arange(64)


@compile_loop(int64(uint64))
def _lowest_bit(word: Any) -> Any:  # pragma: no cover - compiled
    lowest = word & (~word + np.uint64(1))
    return _BIT_NUMBERS[(lowest * np.uint64(_SEQUENCE)) >> np.uint64(58)]


@compile_loop(int64(uint64[::1], uint64[::1], int64[::1], uint32[::1], int64))
def _list_marked(marks: Any, groups: Any, slot: Any, index: Any, n_listed: int) -> Any:  # pragma: no cover - compiled
    """Append the marked pixels in rising order, note where each stands, and clear the marks."""
    for group in range(len(groups)):
        while groups[group]:
            word = group * 64 + _lowest_bit(groups[group])
            groups[group] &= groups[group] - np.uint64(1)
            while marks[word]:
                pixel = word * 64 + _lowest_bit(marks[word])
                marks[word] &= marks[word] - np.uint64(1)
                slot[pixel] = n_listed
                index[n_listed] = pixel
                n_listed += 1
    return n_listed


@compile_loop(
    void(_OFFSETS, _FLOATS, int64[::1], uint64[::1], uint64[::1], int64[::1], int64[::1], uint32[::1], float64[::1])
)
def list_pixels(
    offsets: Any, pt: Any, pixel: Any, marks: Any, groups: Any, slot: Any, indptr: Any, index: Any, pt_inside: Any
) -> None:  # pragma: no cover - compiled
    """List each jet's pixels once, rising, and replace the pixels' numbers by their places in that list.

    ``marks`` has a bit for each pixel and ``groups`` one for each word of ``marks``: both zero before and after.
    """
    n_listed = 0
    for jet in range(len(offsets) - 1):
        for i in range(offsets[jet], offsets[jet + 1]):
            if pixel[i] >= 0:
                word = pixel[i] >> 6
                marks[word] |= np.uint64(1) << np.uint64(pixel[i] & 63)
                groups[word >> 6] |= np.uint64(1) << np.uint64(word & 63)
        n_listed = _list_marked(marks, groups, slot, index, n_listed)
        indptr[jet + 1] = n_listed
        inside = 0.0
        for i in range(offsets[jet], offsets[jet + 1]):
            if pixel[i] >= 0:
                pixel[i] = slot[pixel[i]]
                inside += pt[i]
        pt_inside[jet] = inside


@compile_loop(void(_FLOATS, int64[::1], float64[:, ::1], int64))
def sum_all(value: Any, place: Any, sums: Any, channel: int) -> None:  # pragma: no cover - compiled
    """Add one number per constituent (n,) to a channel of its pixel in ``sums`` (m, C)."""
    for i in range(len(value)):
        if place[i] >= 0:
            sums[place[i], channel] += value[i]


@compile_loop(void(_FLOATS, _FLOATS, boolean, int64[::1], float64[:, ::1], int64))
def sum_some(
    value: Any, charge: Any, charged: bool, place: Any, sums: Any, channel: int
) -> None:  # pragma: no cover - compiled
    """The same of only the charged, or only the neutral."""
    for i in range(len(value)):
        if place[i] >= 0:
            # Times 0 or 1, since no processor could foresee the branch.
            sums[place[i], channel] += value[i] * np.float64((charge[i] != 0) == charged)


@compile_loop(
    int64(int64[::1], uint32[::1], float64[:, ::1], float64[:, ::1], int64[::1], uint32[::1], float32[:, ::1], int64)
)
def keep_filled(
    starts: Any, pixels: Any, sums: Any, factor: Any, indptr: Any, index: Any, value: Any, n_kept: int
) -> Any:  # pragma: no cover - compiled
    """Round the sums times ``factor`` (N, C), lay out the pixels that are not all zero from ``n_kept``, count on.

    A jet with NaN in any pixel keeps none.
    """
    n_channels = value.shape[1]
    for jet in range(len(starts) - 1):
        first, bad = n_kept, False
        for k in range(starts[jet], starts[jet + 1]):
            filled = False
            for channel in range(n_channels):
                rounded = np.float32(sums[k, channel] * factor[jet, channel])
                value[n_kept, channel] = rounded
                filled |= rounded != 0
                bad |= rounded != rounded
            index[n_kept] = pixels[k]
            n_kept += filled
        if bad:
            n_kept = first
        indptr[jet + 1] = n_kept
    return n_kept
