"""The loops over layers, spots and cells, compiled by numba; imported only when the first shower is made.

All that is compiled stands in this file: numba keeps compiled code until the file changes, and looks at no other.
Energies in GeV, lengths in mm. Rows and layers are those of `hepcnn.generate.showers.tables`.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

Loop = TypeVar("Loop", bound=Callable[..., Any])

HADRON_SPOT = 0.05
"""Energy of a hadronic spot in GeV."""
MOST_DEPTH = 6.0
"""Interaction lengths from which on hadronic showers grow no wider, as in CMSSW's GFLASH."""
MOYAL_MEAN = 1.2703628454614782
"""Euler's constant + ln 2: the mean of Moyal's distribution."""
DONE = 1e-5
"""Part of a profile that is left where a shower is given up."""


def _compile(loop: Loop) -> Loop:
    compiled: Any
    try:
        compiled = numba.njit(nogil=True, cache=True)(loop)
    except RuntimeError:
        # No folder to keep compiled code in, neither beside this file nor in the home.
        compiled = numba.njit(nogil=True)(loop)
    return cast(Loop, compiled)


@_compile
def lower_gamma(shape: float, x: float, log_gamma: float) -> float:
    """The regularised incomplete gamma function P(shape, x), to 1e-8: its series, or its continued fraction.

    ``log_gamma`` is ln Gamma(shape), which many x share.
    """
    if x <= 0.0:
        return 0.0
    front = math.exp(shape * math.log(x) - x - log_gamma)
    if x < shape + 1.0:
        term = total = 1.0 / shape
        n = shape
        while term > 1e-9 * total:
            n += 1.0
            term *= x / n
            total += term
        return front * total
    tiny = 1e-300
    b = x + 1.0 - shape
    c, d = 1.0 / tiny, 1.0 / b
    h = d
    for i in range(1, 1000):
        a = -i * (i - shape)
        b += 2.0
        d = a * d + b
        c = b + a / c
        if abs(d) < tiny:
            d = tiny
        if abs(c) < tiny:
            c = tiny
        d = 1.0 / d
        h *= d * c
        if abs(d * c - 1.0) < 1e-9:
            break
    return 1.0 - front * h


@_compile
def radial_profile(
    tau: float, log_energy: float, z: float, inverse_fs: float, e_mip: float
) -> tuple[float, float, float]:
    """Core and tail radius in Moliere radii, and the core's weight (hep-ex/0001020, A.1.3 and A.2.3)."""
    core = 0.0251 + 0.00319 * log_energy + (0.1162 - 0.000381 * z) * tau
    k1, k4 = 0.659 - 0.00309 * z, 0.3585 + 0.0412 * log_energy
    tail = k1 * (math.exp(-2.59 * (tau - 0.645)) + math.exp(k4 * (tau - 0.645)))
    turn = (0.401 + 0.00187 * z - tau) / (1.313 - 0.0686 * log_energy)
    weight = (2.632 - 0.00094 * z) * math.exp(turn - math.exp(turn))
    core += -0.0203 * (1.0 - e_mip) + 0.0397 * inverse_fs * math.exp(-tau)
    tail += -0.14 * (1.0 - e_mip) - 0.495 * inverse_fs * math.exp(-tau)
    weight += (1.0 - e_mip) * (0.348 - 0.642 * inverse_fs * math.exp(-((tau - 1.0) ** 2)))
    core = max(core, 0.01)
    return core, max(tail, core), min(max(weight, 0.0), 1.0)


@_compile
def find_angle(x: float, y: float) -> float:
    """The angle of (x, y) plus pi, to 2e-8 rad: in a third of atan2's time.

    The polynomial is 4.4.49 of M. Abramowitz, I. Stegun, Handbook of Mathematical Functions.
    """
    across, up = abs(x), abs(y)
    large = max(across, up)
    if large == 0.0:
        return math.pi
    q = min(across, up) / large
    s = q * q
    high = -0.0752896400 + s * (0.0429096138 + s * (-0.0161657367 + s * 0.0028662257))
    low = 1.0 + s * (-0.3333314528 + s * (0.1999355085 + s * (-0.1420889944 + s * 0.1065626393)))
    s4 = s * s
    angle = q * (low + s4 * s4 * s * high)
    if up > across:
        angle = 0.5 * math.pi - angle
    # Counted from -pi, where the first cell begins.
    if x >= 0.0:
        return math.pi + (angle if y >= 0.0 else -angle)
    return 2.0 * math.pi - angle if y >= 0.0 else angle


@_compile
def find_cell(layer: Any, radii2: Any, x: float, y: float) -> Any:
    """The number of the cell at a place of a layer, -1 outside."""
    if layer.round == 1:
        square = x * x + y * y
        if square < radii2[0]:
            return -1
        ring = 0
        while ring < layer.n_second and square >= radii2[ring + 1]:
            ring += 1
        if ring == layer.n_second:
            return -1
        alpha = int(find_angle(x, y) * layer.per_first)
        if alpha >= layer.n_first:  # an angle of pi is -pi's
            alpha = 0
        return layer.first_cell + alpha * layer.n_second + ring
    first = math.floor((x - layer.low_first) * layer.per_first)
    second = math.floor((y - layer.low_second) * layer.per_second)
    if 0 <= first < layer.n_first and 0 <= second < layer.n_second:
        return layer.first_cell + int(first) * layer.n_second + int(second)
    return -1


@_compile
def throw_spots(
    row: Any, layers: Any, k: int, radii2: Any, state: Any, n_spots: int, energy: float, scale: float, cells: Any
) -> None:
    """Throw spots of ``energy`` each by the density 2 r R² / (r² + R²)² around the axis; ``scale`` is R in mm.

    A point (a, b) of the unit disc has a uniform square s, which is its quantile, and a uniform direction. Random bits
    are those of xoroshiro128+ (D. Blackman, S. Vigna, arXiv:1805.01407), whose state is (2,) uint64, not all 0: calls
    of NumPy's generators are not inlined, and cost as much as the rest of a spot.
    """
    layer, squares = layers[k], radii2[k]
    slope_x, slope_y = row.slope_x, row.slope_y
    tilted = slope_x != 0.0 or slope_y != 0.0
    stretch, front, thickness = row.cosine / (1.0 + row.cosine), layer.front - row.z, layer.back - layer.front
    x0, y0, depth = row.x, row.y, front + 0.5 * thickness
    s0, s1 = state[0], state[1]
    for _ in range(n_spots):
        a, b, s = 0.0, 0.0, 2.0
        while s >= 1.0:
            bits = s0 + s1
            s1 ^= s0
            s0 = ((s0 << np.uint64(24)) | (s0 >> np.uint64(40))) ^ s1 ^ (s1 << np.uint64(16))
            s1 = (s1 << np.uint64(37)) | (s1 >> np.uint64(27))
            a = float(bits >> np.uint64(32)) * 2.0**-31 - 1.0
            b = float(bits & np.uint64(0xFFFFFFFF)) * 2.0**-31 - 1.0
            s = a * a + b * b
        radius = scale / math.sqrt(1.0 - s)
        dx, dy = radius * a, radius * b
        if tilted:
            # Along the axis onto the layer's plane, anywhere in its thickness.
            along = stretch * (dx * slope_x + dy * slope_y)
            bits = s0 + s1
            s1 ^= s0
            s0 = ((s0 << np.uint64(24)) | (s0 >> np.uint64(40))) ^ s1 ^ (s1 << np.uint64(16))
            s1 = (s1 << np.uint64(37)) | (s1 >> np.uint64(27))
            depth = front + float(bits >> np.uint64(11)) * 2.0**-53 * thickness
            dx, dy = dx + (along + depth) * slope_x, dy + (along + depth) * slope_y
        cell = find_cell(layer, squares, x0 + dx, y0 + dy)
        if cell >= 0:
            cells[cell] += energy
    state[0], state[1] = s0, s1


@_compile
def _shower(row: Any, layers: Any, radii2: Any, rng: Any, state: Any, cells: Any) -> None:
    """An electromagnetic shower: layer by layer its energy, that which is sampled of it, and its spots."""
    begun = begun_spots = 0.0
    norm, spot_norm = math.lgamma(row.alpha), math.lgamma(row.spot_alpha)
    for k in range(len(layers)):
        layer = layers[k]
        near = max(layer.x0_front - row.start, 0.0) / row.cosine
        far = (layer.x0_back - row.start) / row.cosine
        if far <= 0.0:
            continue
        done = lower_gamma(row.alpha, row.beta * far, norm)
        done_spots = lower_gamma(row.spot_alpha, row.spot_beta * far, spot_norm)
        energy, mean = row.energy * (done - begun), row.spots * (done_spots - begun_spots)
        begun, begun_spots = done, done_spots
        if layer.em_term2 > 0.0:
            energy = rng.standard_gamma(energy / layer.em_term2) * layer.em_term2 if energy > 0.0 else 0.0
        if energy > 1e-9:
            n_spots = max(rng.poisson(mean), 1)
            tau = row.tau_scale * 0.5 * (near + far)
            core, tail, weight = radial_profile(
                min(tau, 10.0), row.log_energy, row.material_z, row.inverse_fs, row.e_mip
            )
            n_core = rng.binomial(n_spots, weight)
            throw_spots(row, layers, k, radii2, state, n_core, energy / n_spots, core * layer.moliere, cells)
            throw_spots(row, layers, k, radii2, state, n_spots - n_core, energy / n_spots, tail * layer.moliere, cells)
        if begun > 1.0 - DONE:
            return


@_compile
def _cascade(row: Any, layers: Any, radii2: Any, rng: Any, state: Any, cells: Any) -> None:
    """The part of a hadronic shower that is no neutral pions, as it is seen."""
    begun, norm = 0.0, math.lgamma(row.alpha)
    for k in range(len(layers)):
        layer = layers[k]
        near = max(layer.lambda_front - row.start, 0.0) / row.cosine
        far = (layer.lambda_back - row.start) / row.cosine
        if far <= 0.0:
            continue
        done = lower_gamma(row.alpha, row.beta * far, norm)
        energy = row.energy * (done - begun)
        begun = done
        if layer.hadron_term2 > 0.0:
            energy = rng.standard_gamma(energy / layer.hadron_term2) * layer.hadron_term2 if energy > 0.0 else 0.0
        if energy > 1e-9:
            n_spots = 1 + int(energy / HADRON_SPOT)
            scale = row.radius + row.radius_slope * min(0.5 * (near + far), MOST_DEPTH)
            seen = energy * layer.h_over_e / n_spots
            throw_spots(row, layers, k, radii2, state, n_spots, seen, scale * layer.lambda_int, cells)
        if begun > 1.0 - DONE:
            return


@_compile
def _track(row: Any, layers: Any, radii2: Any, rng: Any, cells: Any) -> None:
    """Ionisation along a track, by Moyal's distribution."""
    for k in range(len(layers)):
        layer = layers[k]
        if layer.front >= row.z_end:
            return
        part = min((row.z_end - layer.front) / (layer.back - layer.front), 1.0)
        mean = layer.mip_energy * part / row.cosine
        energy = mean
        if layer.mip_width > 0.0:
            normal = rng.standard_normal()
            energy += layer.mip_width * mean * (-math.log(normal * normal) - MOYAL_MEAN)
        depth = 0.5 * (layer.front + min(layer.back, row.z_end)) - row.z
        cell = find_cell(layer, radii2[k], row.x + depth * row.slope_x, row.y + depth * row.slope_y)
        if cell >= 0:
            cells[cell] += max(energy, 0.0)


@_compile
def deposit(rows: Any, layers: Any, radii2: Any, rng: Any, state: Any, first: int, cells: Any) -> None:
    """Add the energies of rows to cells (showers, cells) float64; row 0 of the cells is that of shower ``first``.

    ``rng`` draws what there is one of in a layer, and ``state`` is that of `throw_spots`.
    """
    for i in range(len(rows)):
        row = rows[i]
        if row.kind == 0:
            _shower(row, layers, radii2, rng, state, cells[row.owner - first])
        elif row.kind == 1:
            _cascade(row, layers, radii2, rng, state, cells[row.owner - first])
        else:
            _track(row, layers, radii2, rng, cells[row.owner - first])


@_compile
def _draw_tail(rng: Any, low: float) -> Any:
    """A normal number above ``low`` > 0 (C.P. Robert, arXiv:0907.4010, with the rate ``low``)."""
    while True:
        above = rng.standard_exponential() / low
        if rng.random() < math.exp(-0.5 * above * above):
            return low + above


@_compile
def read_out(cells: Any, offsets: Any, noise: Any, thresholds: Any, dead: Any, rng: Any, counts: Any) -> None:
    """Add noise to cells (showers, cells), set those that are not read out to 0, and count those that are.

    Noise and thresholds of layers in GeV, which begin at ``offsets``. Read out is what lives, is above 0 and at the
    threshold or above it. Of cells without energy only those whose noise is above the threshold are drawn: the number
    of cells up to the next one has a geometric distribution.
    """
    for shower in range(len(cells)):
        n = 0
        for layer in range(len(noise)):
            sigma, threshold = noise[layer], thresholds[layer]
            rare, wait, chance = sigma > 0.0 and threshold > sigma, 0, 0.0
            if rare:
                chance = math.log1p(-0.5 * math.erfc(threshold / sigma / math.sqrt(2.0)))
                wait = int(min(-rng.standard_exponential() / chance, 1e9))
            for cell in range(offsets[layer], offsets[layer + 1]):
                energy = cells[shower, cell]
                if energy == 0.0 and rare:
                    if wait > 0:
                        wait -= 1
                        continue
                    wait = int(min(-rng.standard_exponential() / chance, 1e9))
                    energy = sigma * _draw_tail(rng, threshold / sigma)
                elif sigma > 0.0:
                    energy += sigma * rng.standard_normal()
                if dead[cell] or energy <= 0.0 or energy < threshold:
                    energy = 0.0
                else:
                    n += 1
                cells[shower, cell] = energy
        counts[shower] = n


@_compile
def collect(cells: Any, numbers: Any, energies: Any) -> None:
    """The cells that are not 0, shower by shower: their numbers and energies."""
    n = 0
    for shower in range(cells.shape[0]):
        for cell in range(cells.shape[1]):
            if cells[shower, cell] > 0.0:
                numbers[n], energies[n] = cell, np.float32(cells[shower, cell])
                n += 1
