"""How the errors of spots depend on those of their neighbours: T and G of `_definitions/crowds.py`."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import keep, lend, shaped
from npsubpix._cpu.compiler.jit import Kernel, device, fused, kernel, made_once
from npsubpix._cpu.fitting.gaussian import BLOCK, edges_before_x, edges_of
from npsubpix._cpu.fitting.overlaps import derivatives_of
from npsubpix._cpu.fitting.spot_models import spot_functions
from npsubpix._definitions.constants import FIT_JOINT_LIGHT
from npsubpix._definitions.flags import FIT_REJECTED
from npsubpix._definitions.spot_models import Model

__all__ = ["coupling_kernel", "scale_of"]

_REJECTED = int(FIT_REJECTED)

#: Spots that share scratch memory.
_CHUNK = 64


@device
def scale_of(covariances, row, a):
    """Return the standard error of a parameter of a fit alone, 1 if it has none."""
    variance = covariances[row, 0, a, a]
    return math.sqrt(variance) if variance > 0.0 else 1.0


@fused
def _sandwich(out, left, middle, right, scratch, count):
    """Write left times middle times right, square matrices of `count` rows."""
    for a in range(count):
        for b in range(count):
            total = 0.0
            for k in range(count):
                total += left[a, k] * middle[k, b]
            scratch[a, b] = total
    for a in range(count):
        for b in range(count):
            total = 0.0
            for k in range(count):
                total += scratch[a, k] * right[k, b]
            out[a, b] = total


@device
def _light_in_box(weights, light, corners, n, m, box, padded, margins, wide, wide_padded):
    """Return the weighted squared light of a spot in the box of another."""
    total = 0.0
    z, y, x = (
        corners[n, 0] - corners[m, 0] + margins[0],
        corners[n, 1] - corners[m, 1] + margins[1],
        corners[n, 2] - corners[m, 2] + margins[2],
    )
    for d in range(max(0, -z), min(box[0], wide[0] - z)):
        for j in range(max(0, -y), min(box[1], wide[1] - y)):
            at = (d * box[1] + j) * padded
            there = ((d + z) * wide[1] + j + y) * wide_padded + x
            for i in range(max(0, -x), min(box[2], wide[2] - x)):
                total += weights[n, at + i] * light[m, there + i] * light[m, there + i]
    return total


@made_once
def coupling_kernel(model: Model) -> Kernel:
    """Return the kernel that measures how the errors of spots depend on those of their neighbours."""
    functions = spot_functions(model)
    derivatives, axes, count = derivatives_of(model, functions), model.axes, model.parameters
    many_lines, by_pixel = functions.lines, functions.by_pixel
    kept = axes + 1 + model.widths

    @fused
    def add_shared(
        matrices, own, other, weights, other_weights, signals, at, place, own_first, there, length, unweighted
    ):
        for i in range(length):
            product = weights[at + i] * other_weights[place + i]
            if product > 0.0:
                weight = math.sqrt(product)
                signal = signals[at + i]
                for a in range(count):
                    scaled = weight * own[a, own_first + i]
                    for b in range(count):
                        term = scaled * other[b, there + i]
                        matrices[1, a, b] += term
                        if unweighted:
                            matrices[2, a, b] += signal * term

    @device
    def overlap(
        matrices, own, other, weights, signals, corners, n, m, box, padded, margins, wide, wide_padded, unweighted
    ):
        """Write the sums over the pixels of a box that another spot reaches, and those that are in both boxes."""
        matrices[:3] = 0.0
        z, y, x = (
            corners[n, 0] - corners[m, 0],
            corners[n, 1] - corners[m, 1],
            corners[n, 2] - corners[m, 2],
        )
        first, last = max(0, -x - margins[2]), min(box[2], wide[2] - x - margins[2])
        inner, end = max(0, -x), min(box[2], box[2] - x)
        for d in range(max(0, -z - margins[0]), min(box[0], wide[0] - z - margins[0])):
            for j in range(max(0, -y - margins[1]), min(box[1], wide[1] - y - margins[1])):
                at = (d * box[1] + j) * padded
                mine = ((d + margins[0]) * wide[1] + j + margins[1]) * wide_padded + margins[2]
                there = ((d + z + margins[0]) * wide[1] + j + y + margins[1]) * wide_padded + x + margins[2]
                for i in range(first, last):
                    weight = weights[n, at + i]
                    if weight > 0.0:
                        for a in range(count):
                            scaled = weight * own[a, mine + i]
                            for b in range(kept):
                                matrices[0, a, b] += scaled * other[b, there + i]
                if 0 <= d + z < box[0] and 0 <= j + y < box[1] and inner < end:
                    place = ((d + z) * box[1] + j + y) * padded + x + inner
                    add_shared(
                        matrices, own, other, weights[n], weights[m], signals[n], at + inner, place, mine + inner,
                        there + inner, end - inner, unweighted,
                    )  # fmt: skip

    @kernel(f"fit_coupling_{model.name}")
    def coupling_kernel(
        weights, signals, light, corners, sigma, constants, box, padded, unweighted, margins, wide, wide_padded,
        wide_size, offsets, neighbours, parameters, covariances, flags, transfers, shared, strengths,
    ):  # fmt: skip
        """Write T and G, in units of the standard errors of fits alone, and the norms of T, for each neighbour."""
        reached = edges_before_x(wide, axes) + edges_of(wide[2])
        size, length = wide_size, wide_size if by_pixel else reached
        need = 2 * count * size + many_lines * length + 5 * reached + BLOCK + 7 * count * count + count
        for c in prange((flags.size + _CHUNK - 1) // _CHUNK):
            scratch = np.zeros(need)
            memory = lend(scratch)
            at = 2 * count * size
            slopes = shaped(memory[:at], (2, count, size))
            lines = shaped(memory[at : at + many_lines * length], (many_lines, length))
            at += many_lines * length
            edges = memory[at : at + 5 * reached + BLOCK]
            at += 5 * reached + BLOCK
            matrices = shaped(memory[at : at + 7 * count * count], (7, count, count))
            moved = memory[at + 7 * count * count :]
            weight, signal, place, spots = lend(weights), lend(signals), lend(corners), lend(parameters)
            lights = lend(light)
            inverse, numbers, linked = lend(covariances), lend(constants), lend(neighbours)
            out, both, norms = lend(transfers), lend(shared), lend(strengths)
            for n in range(c * _CHUNK, min((c + 1) * _CHUNK, flags.size)):
                if flags[n] & _REJECTED:
                    continue
                for a in range(count):
                    moved[a] = spots[n, a] + margins[3 - axes + a] if a < axes else spots[n, a]
                derivatives(slopes[0], moved, sigma, numbers, wide, wide_padded, lines, edges)
                for e in range(offsets[n], offsets[n + 1]):
                    m = linked[e]
                    norms[e] = 0.0
                    if flags[m] & _REJECTED:
                        continue
                    share = inverse[m, 0, axes, axes] / (spots[m, axes] * spots[m, axes])
                    if (
                        share * _light_in_box(weight, lights, place, n, m, box, padded, margins, wide, wide_padded)
                        < FIT_JOINT_LIGHT
                    ):
                        continue
                    for a in range(count):
                        moved[a] = spots[m, a] + margins[3 - axes + a] if a < axes else spots[m, a]
                    derivatives(slopes[1], moved, sigma, numbers, wide, wide_padded, lines, edges)
                    overlap(
                        matrices, slopes[0], slopes[1], weight, signal, place, n, m, box, padded, margins, wide,
                        wide_padded, unweighted,
                    )  # fmt: skip
                    norm = 0.0
                    for a in range(count):
                        for b in range(kept):
                            total = 0.0
                            for k in range(count):
                                total += inverse[n, 0, a, k] * matrices[0, k, b]
                            total *= scale_of(inverse, m, b) / scale_of(inverse, n, a)
                            out[e, a, b] = total
                            norm += total * total
                    norms[e] = math.sqrt(norm)
                    for kind in range(2 if unweighted else 1):
                        _sandwich(
                            both[e, kind], inverse[n, 0], matrices[1 + kind], inverse[m, 0], matrices[3], count
                        )  # fmt: skip
                        for a in range(count):
                            for b in range(count):
                                both[e, kind, a, b] /= scale_of(inverse, n, a) * scale_of(inverse, m, b)
            keep(scratch)
            keep(weights)
            keep(signals)
            keep(light)
            keep(corners)
            keep(parameters)
            keep(covariances)
            keep(constants)
            keep(neighbours)
            keep(transfers)
            keep(shared)
            keep(strengths)

    return coupling_kernel
