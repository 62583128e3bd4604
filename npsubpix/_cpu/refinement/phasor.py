"""Phasors: the phase of the first Fourier coefficient of a box along each axis.

K. J. A. Martens et al., "Phasor based single-molecule localization microscopy in 3D (pSMLM-3D)", J. Chem. Phys. 148,
123311 (2018). A constant background has no such coefficient. Lines far from the middle of the box hold little of a spot
but all the noise: `phasor_tables` weights them.
"""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device, inlined
from npsubpix._cpu.quadratic.fits import follower
from npsubpix._definitions.constants import CENTROID_LEAST_MASS, MOVE_THRESHOLD
from npsubpix._definitions.flags import PeakFlags

__all__ = ["phasor"]

_NONFINITE = int(PeakFlags.NONFINITE)
_SINGULAR = int(PeakFlags.SINGULAR)
_SADDLE = int(PeakFlags.SADDLE)


@device
def _shift_of(cosine, sine, length):
    """Return how far from its middle a box has a spot, from its Fourier coefficient: less than a quarter of it."""
    return math.atan(sine / cosine) * length / math.tau


@inlined
def _fit_phasor(box, d, i, j):
    """Return the shift from a pixel to the spot in the box around; pixels count as differences from that pixel."""
    x, hd, hi, hj, tables = box
    centre = float(x[d, i, j])
    cd = sd = ci = si = cj = sj = magnitude = 0.0
    for a in range(2 * hd + 1):
        for b in range(2 * hi + 1):
            p, q = d - hd + a, i - hi + b
            middle = float(x[p, q, j]) - centre
            weighted, cosine, sine, absolute = tables[2, 0, hj] * middle, middle, 0.0, abs(middle)
            for c in range(1, hj + 1):  # of pairs, as cosines are even and sines odd
                before, after = float(x[p, q, j - c]) - centre, float(x[p, q, j + c]) - centre
                weighted += tables[2, 0, hj + c] * (before + after)
                cosine += tables[2, 1, hj + c] * (before + after)
                sine += tables[2, 2, hj + c] * (after - before)
                absolute += abs(before) + abs(after)
            magnitude += absolute
            across = tables[0, 0, a] * tables[1, 0, b]
            cj += across * cosine
            sj += across * sine
            ci += tables[0, 0, a] * tables[1, 1, b] * weighted
            si += tables[0, 0, a] * tables[1, 2, b] * weighted
            cd += tables[0, 1, a] * tables[1, 0, b] * weighted
            sd += tables[0, 2, a] * tables[1, 0, b] * weighted
    if not magnitude < math.inf:
        return 0.0, 0.0, 0.0, 0.0, _NONFINITE
    least = CENTROID_LEAST_MASS * magnitude
    flat = max(abs(ci), abs(si)) <= least or max(abs(cj), abs(sj)) <= least
    if flat or (hd > 0 and max(abs(cd), abs(sd)) <= least):
        return 0.0, 0.0, 0.0, 0.0, _SINGULAR
    saddle = (ci > 0.0) != (cj > 0.0) or (hd > 0 and (cd > 0.0) != (ci > 0.0))
    shift_d = _shift_of(cd, sd, 2 * hd + 1) if hd > 0 else 0.0
    return shift_d, _shift_of(ci, si, 2 * hi + 1), _shift_of(cj, sj, 2 * hj + 1), 0.0, _SADDLE if saddle else 0


@inlined
def _has_box(box, d, i, j):
    """Whether the box around a pixel lies in the image."""
    depth, height, width = box[0].shape
    hd, hi, hj = box[1], box[2], box[3]
    return (d >= hd) & (d < depth - hd) & (i >= hi) & (i < height - hi) & (j >= hj) & (j < width - hj)


_follow = follower(_fit_phasor, 3, _has_box)


@inlined
def phasor(x, d, i, j, n_iters, max_shift, half, tables):
    """Walk to the pixel in the middle of whose box the spot is; `tables` are those of `phasor_tables`."""
    box = (x, half[0], half[1], half[2], tables)
    steps = int(max_shift) + 1
    d1, i1, j1, sd, si, sj, _, flags = _follow(box, d, i, j, n_iters, MOVE_THRESHOLD, math.inf, steps, True)
    return d1 + sd, i1 + si, j1 + sj, float(x[d1, i1, j1]), flags, (d1, i1, j1)
