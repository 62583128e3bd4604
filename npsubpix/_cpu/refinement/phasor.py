"""Phasors: the phase of the first Fourier coefficient of a box along each axis.

K. J. A. Martens et al., "Phasor based single-molecule localization microscopy in 3D (pSMLM-3D)", J. Chem. Phys. 148,
123311 (2018). A constant background has no such coefficient. Lines far from the middle of the box hold little of a spot
but all the noise: `phasor_tables` weights them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npsubpix._cpu.compiler.jit import device, inlined
from npsubpix._cpu.fitting.gaussian import BLOCK
from npsubpix._cpu.fitting.vectors import FOUR, NUMBER, WORD, Totals, Vector, load, load_pixels, repeated
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
def _is_far(cosine, sine, length):
    """Whether a shift is surely beyond the threshold of a move: by 3 t / (3 + t**2), which is less than atan(t)."""
    c = abs(cosine)
    s = min(abs(sine), math.sqrt(3.0) * c)  # at its root the bound is greatest
    return 3.0 * length * s * c > math.tau * MOVE_THRESHOLD * (3.0 * c * c + s * s)


@inlined
def _is_near(cosine, sine, length):
    """Whether a shift is surely not beyond the threshold of a move: by t, which is more than atan(t)."""
    return length * abs(sine) < math.tau * MOVE_THRESHOLD * abs(cosine)


@inlined
def _limit_of(cosine, sine, length, far):
    """Return the greatest shift of the sign of one that is far, else 0."""
    limit = 0.25 * length if far else 0.0
    return limit if (cosine > 0.0) == (sine > 0.0) else -limit


@intrinsic  # type: ignore[untyped-decorator]
def _plane_sums(
    typing_context: Any, x: Any, tables: Any, d: Any, i: Any, j: Any, rows: Any, columns: Any, centre: Any
) -> Any:
    """Return the sums of a plane of a box that begins at a pixel, and that of magnitudes; see `_fit_phasor`.

    They are cosines and sines along x, then along y, then for sums along z. Four columns are summed at a time; the last
    four begin before the end of those before them, which are left out.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        image = context.make_array(x)(context, builder, args[0])
        weights = context.make_array(tables)(context, builder, args[1])
        of_plane, of_row, _ = cgutils.unpack_tuple(builder, image.strides)
        of_axis, of_kind, _ = (builder.sdiv(step, WORD(8)) for step in cgutils.unpack_tuple(builder, weights.strides))
        rows, columns, centre = args[5], args[6], repeated(builder, args[7])

        def table(axis: int, kind: int, place: Any) -> Any:
            start = builder.add(builder.mul(of_axis, WORD(axis)), builder.mul(of_kind, WORD(kind)))
            return builder.add(start, place)

        bytes_ = builder.bitcast(image.data, ir.IntType(8).as_pointer())
        offset = builder.add(builder.mul(args[2], of_plane), builder.mul(args[3], of_row))
        first = builder.add(offset, builder.mul(args[4], WORD(x.dtype.bitwidth // 8)))
        zero = Vector(builder, ir.Constant(FOUR, [0.0] * BLOCK))
        steps = Vector(builder, ir.Constant(FOUR, [float(k) for k in range(BLOCK)]))
        totals, lines = Totals(builder, [(k,) for k in range(6)]), Totals(builder, [(k,) for k in range(4)])
        blocks = builder.sdiv(builder.add(columns, WORD(BLOCK - 1)), WORD(BLOCK))
        with cgutils.for_range(builder, blocks) as loop:
            new = builder.mul(loop.index, WORD(BLOCK))
            last = builder.sub(columns, WORD(BLOCK))
            here = builder.select(builder.icmp_signed("<", new, last), new, last)
            places = repeated(builder, builder.sitofp(here, NUMBER)) + steps
            own = builder.fcmp_ordered(">=", places.value, repeated(builder, builder.sitofp(new, NUMBER)).value)
            lines.clear()
            with cgutils.for_range(builder, rows) as row:
                at = builder.add(first, builder.mul(row.index, of_row))
                at = builder.add(at, builder.mul(here, WORD(x.dtype.bitwidth // 8)))
                pixels = load_pixels(context, builder, x.dtype, builder.gep(bytes_, [at]))
                value = Vector(builder, builder.select(own, (pixels - centre).value, zero.value))
                for kind in range(3):
                    weight = builder.load(builder.gep(weights.data, [table(1, kind, row.index)]))
                    lines.add((kind,), value * repeated(builder, weight))
                below = builder.fcmp_ordered("<", value.value, zero.value)
                lines.add((3,), Vector(builder, builder.select(below, (zero - value).value, value.value)))
            across = [load(builder, weights.data, table(2, kind, here)) for kind in range(3)]
            for k, (line, kind) in enumerate(((0, 1), (0, 2), (1, 0), (2, 0), (0, 0))):
                totals.add((k,), lines[line,] * across[kind])
            totals.add((5,), lines[3,])
        return context.make_tuple(builder, signature.return_type, [totals[k,].sum().value for k in range(6)])

    return types.UniTuple(types.float64, 6)(x, tables, d, i, j, rows, columns, centre), generate


@inlined
def _fit_phasor(box, d, i, j):
    """Return the shift from a pixel to the spot in the box around; pixels count as differences from that pixel.

    Of a shift that leads to a move, as most do on the way from a random place, only the direction may be right.
    """
    x, hd, hi, hj, tables = box
    centre = np.float64(x[d, i, j])
    cd = sd = ci = si = cj = sj = magnitude = 0.0
    for a in range(2 * hd + 1):
        found = _plane_sums(x, tables, d - hd + a, i - hi, j - hj, 2 * hi + 1, 2 * hj + 1, centre)
        cj += tables[0, 0, a] * found[0]
        sj += tables[0, 0, a] * found[1]
        ci += tables[0, 0, a] * found[2]
        si += tables[0, 0, a] * found[3]
        cd += tables[0, 1, a] * found[4]
        sd += tables[0, 2, a] * found[4]
        magnitude += found[5]
    if not magnitude < math.inf:
        return 0.0, 0.0, 0.0, 0.0, _NONFINITE
    least = CENTROID_LEAST_MASS * magnitude
    flat = max(abs(ci), abs(si)) <= least or max(abs(cj), abs(sj)) <= least
    if flat or (hd > 0 and max(abs(cd), abs(sd)) <= least):
        return 0.0, 0.0, 0.0, 0.0, _SINGULAR
    saddle = (ci > 0.0) != (cj > 0.0) or (hd > 0 and (cd > 0.0) != (ci > 0.0))
    shift_d = _shift_of(cd, sd, 2 * hd + 1) if hd > 0 else 0.0
    far_i, far_j = _is_far(ci, si, 2 * hi + 1), _is_far(cj, sj, 2 * hj + 1)
    # A move leads to the next pixel, which is mostly known without arc tangents: a third of the time of a fit.
    if (far_i | far_j) and (far_i | _is_near(ci, si, 2 * hi + 1)) & (far_j | _is_near(cj, sj, 2 * hj + 1)):
        step_i, step_j = _limit_of(ci, si, 2 * hi + 1, far_i), _limit_of(cj, sj, 2 * hj + 1, far_j)
        return shift_d, step_i, step_j, 0.0, _SADDLE if saddle else 0
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
