"""Functions shared by the softmax over windows and its adjoint: tiles of pixels, and sums over single windows.

Exponents are a = (v - shift) / T, so that no term of a sum is larger than the range of a window. A sum of
values is that of a, multiplied by T, plus the shift.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npsubpix._cpu.compiler.jit import device, fused
from npsubpix._cpu.formulas.exponential import limited_exponent

__all__ = ["add", "add_times", "inside", "load_tile", "raise_to", "window_sums"]


@device
def load_tile(tile, x, d0, i0, j0, extremes, one):
    """Copy the part of x that begins at (d0, i0, j0), with -inf outside of x.

    Return its maximum, its minimum, and a number that is NaN if there is NaN or infinity in it.
    """
    depth, height, width = x.shape
    planes, rows, columns = tile.shape
    begin = min(max(-j0, 0), columns)
    end = max(min(width - j0, columns), begin)
    highest, lowest, odd = extremes[0], extremes[1], extremes[2]
    highest[:] = -np.inf
    lowest[:] = np.inf
    odd[:] = 0
    for d in range(planes):
        for i in range(rows):
            line = tile[d, i]
            if d0 + d < 0 or d0 + d >= depth or i0 + i < 0 or i0 + i >= height:
                line[:] = -np.inf
                continue
            line[:begin] = -np.inf
            line[end:] = -np.inf
            row = x[d0 + d, i0 + i, j0 + begin : j0 + end]
            _load_row(line[begin:end], row, highest[begin:end], lowest[begin:end], odd[begin:end], one)
    top = highest[0]
    bottom = lowest[0]
    strange = odd[0]
    for j in range(1, columns):
        top = highest[j] if highest[j] > top else top
        bottom = lowest[j] if lowest[j] < bottom else bottom
        strange += odd[j]
    return top, bottom, strange


@device
def _load_row(line, row, highest, lowest, odd, one):
    for j in range(line.size):
        line[j] = line.dtype.type(row[j])
    raise_to(highest, line, one)
    for j in range(line.size):
        v, least = line[j], lowest[j]
        lowest[j] = (v if v < least else least) * one
    for j in range(line.size):
        odd[j] += line[j] * line.dtype.type(0)  # NaN for NaN and infinity


@device
def raise_to(highest, row, one):
    """Replace numbers by those of a row that are greater.

    `one` is 1, but the compiler must not know: it would turn the assignment into a conditional store, which is
    scalar code.
    """
    for j in range(highest.size):
        v, most = row[j], highest[j]
        highest[j] = (v if v > most else most) * one


@device
def inside(start, tile, total):
    """Return the range of a tile along one axis that is inside the image."""
    return min(max(-start, 0), tile), max(min(total - start, tile), 0)


@fused
def add(out, row):
    """Add a row to a row."""
    for j in range(out.size):
        out[j] += row[j]


@fused
def add_times(out, row, factor):
    """Add a multiple of a row to a row."""
    for j in range(out.size):
        out[j] += factor * row[j]


def window_sums(F: Any, exponential: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
    """Make the functions that sum over windows, each shifted by its own maximum, in the precision of F.

    Sums are rows of an array: weights, weights times offset along z, y and x, weights times exponent.
    """
    exponent = limited_exponent(F)

    @device
    def greatest(m, tile, d0, i0, window, one):
        """Write the maximum of each window that begins in plane d0 and row i0, if none of its pixels is NaN."""
        m[:] = -np.inf
        for d in range(d0, d0 + window[0]):
            for i in range(i0, i0 + window[1]):
                for k in range(window[2]):
                    raise_to(m, tile[d, i, k : k + m.size], one)

    # One loop for each array that is written: with more arrays in a loop, the compiler would have too
    # many overlaps to rule out, and leave the loop scalar.

    @fused
    def weigh(w, row, m, scale):
        for j in range(w.size):
            w[j] = exponential(exponent(row[j], m[j], scale))

    @fused
    def add_exponents(sa, w, row, m, scale):
        for j in range(sa.size):
            sa[j] += w[j] * exponent(row[j], m[j], scale)

    @device
    def one_by_one(s, m, part, weights, tile, d0, i0, window, scale):
        """Sum over each window that begins in plane d0 and row i0.

        Weights are left in `weights`, one row per offset, or in its only row.
        """
        s[:] = 0
        for d in range(window[0]):
            for i in range(window[1]):
                part[:] = 0
                for k in range(window[2]):
                    row = tile[d0 + d, i0 + i, k : k + m.size]
                    w = weights[(d * window[1] + i) * window[2] + k if weights.shape[0] > 1 else 0]
                    weigh(w, row, m, scale)
                    add(part[0], w)
                    add_times(part[1], w, F(k) - F(0.5) * F(window[2] - 1))
                    add_exponents(part[2], w, row, m, scale)
                add(s[0], part[0])
                add_times(s[1], part[0], F(d) - F(0.5) * F(window[0] - 1))
                add_times(s[2], part[0], F(i) - F(0.5) * F(window[1] - 1))
                add(s[3], part[1])
                add(s[4], part[2])

    @device
    def by_definition(s, m, j, tile, d0, i0, window, scale, box):
        """Sum over one window that may hold NaN or infinity: pixels of +inf share all weight, or equal ones of -inf."""
        kz, ky, kx = window
        best = F(-np.inf)
        for d in range(max(d0, box[0]), min(d0 + kz, box[1])):
            for i in range(max(i0, box[2]), min(i0 + ky, box[3])):
                for k in range(max(j, box[4]), min(j + kx, box[5])):
                    v = tile[d, i, k]
                    best = v if v > best or v != v else best
        s[:, j] = 0
        m[j] = best
        for d in range(max(d0, box[0]), min(d0 + kz, box[1])):
            for i in range(max(i0, box[2]), min(i0 + ky, box[3])):
                for k in range(max(j, box[4]), min(j + kx, box[5])):
                    v = tile[d, i, k]
                    a = F(0) if v == best else exponent(v, best, scale)
                    w = exponential(a) if best == best else best
                    s[0, j] += w
                    s[1, j] += w * F(d - d0 - 0.5 * (kz - 1))
                    s[2, j] += w * F(i - i0 - 0.5 * (ky - 1))
                    s[3, j] += w * F(k - j - 0.5 * (kx - 1))
                    s[4, j] += a * w

    return exponent, greatest, weigh, one_by_one, by_definition
