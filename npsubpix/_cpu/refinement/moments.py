"""Moments of the pixels of a window under weights that are products of those of rows and of columns.

Four columns are summed side by side, in vectors that are written as such: windows have few columns, and loops over so
few are hardly ever made vector code as they should be.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npsubpix._cpu.fitting.gaussian import BLOCK
from npsubpix._cpu.fitting.vectors import FOUR, WORD, Totals, Vector, load, load_pixels, repeated

__all__ = ["plane_moments"]

_PARTS = ("mass", "magnitude", "along", "squared", "across", "squared across")


@intrinsic  # type: ignore[untyped-decorator]
def plane_moments(typing_context: Any, x: Any, first: Any, count: Any, rows: Any, columns: Any, background: Any) -> Any:
    """Return the weighted sum of a plane of a window, of magnitudes, first and second moments along rows and columns.

    The window begins at the pixel `first` of x, along three axes, and has `count` rows and columns, of which there are
    `BLOCK` at least. `rows` has their weights, these times their distances, and times the squares of these; `columns`
    weights and distances, by fours, of which the last ones may begin before the end of those before: there, weights
    are 0.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pixels, of_rows, of_columns = (
            context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 3, 4)
        )
        row_step, column_step = (cgutils.unpack_tuple(builder, table.shape)[1] for table in (of_rows, of_columns))
        high, wide = cgutils.unpack_tuple(builder, args[2])
        strides = cgutils.unpack_tuple(builder, pixels.strides)
        begin = builder.ptrtoint(pixels.data, WORD)
        for place, stride in zip(cgutils.unpack_tuple(builder, args[1]), strides, strict=True):
            begin = builder.add(begin, builder.mul(place, stride))
        level, zero = repeated(builder, args[5]), ir.Constant(FOUR, [0.0] * BLOCK)
        totals, sums = (Totals(builder, [(part,) for part in parts]) for parts in (_PARTS, _PARTS[:4]))

        def in_line(line: int, step: Any, place: Any) -> Any:
            return builder.add(builder.mul(WORD(line), step), place)

        def of_row(line: int, place: Any) -> Vector:
            return repeated(builder, builder.load(builder.gep(of_rows.data, [in_line(line, row_step, place)])))

        last = builder.sub(wide, WORD(BLOCK))
        blocks = builder.udiv(builder.add(wide, WORD(BLOCK - 1)), WORD(BLOCK))
        with cgutils.for_range(builder, blocks) as block:
            at = builder.mul(block.index, WORD(BLOCK))
            column = builder.select(builder.icmp_signed("<", at, last), at, last)
            start = builder.add(begin, builder.mul(column, WORD(x.dtype.bitwidth // 8)))
            sums.clear()
            with cgutils.for_range(builder, high) as row:
                place = builder.add(start, builder.mul(row.index, strides[1]))
                address = builder.inttoptr(place, ir.IntType(8).as_pointer())
                signal = load_pixels(context, builder, x.dtype, address) - level
                below = builder.fcmp_ordered("<", signal.value, zero)
                magnitude = Vector(builder, builder.select(below, (Vector(builder, zero) - signal).value, signal.value))
                weight, slope, square = (of_row(k, row.index) for k in range(3))
                for part, term in zip(
                    _PARTS, (weight * signal, weight * magnitude, slope * signal, square * signal), strict=False
                ):
                    sums.add((part,), term)
            weight, distance = (load(builder, of_columns.data, in_line(k, column_step, at)) for k in range(2))
            for part in _PARTS[:4]:
                totals.add((part,), weight * sums[part,])
            across = weight * sums["mass",] * distance
            totals.add(("across",), across)
            totals.add(("squared across",), across * distance)
        return context.make_tuple(builder, signature.return_type, [totals[part,].sum().value for part in _PARTS])

    return types.UniTuple(types.float64, 6)(x, first, count, rows, columns, background), generate
