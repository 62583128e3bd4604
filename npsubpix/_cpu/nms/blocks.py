"""Strict extrema of windows of 3 x 3 pixels, a block of rows and columns at a time, as vectors of LLVM.

The extremum of three pixels of a row serves three rows, and stays in a register: in blocks of four rows, a pixel takes
4.5 loads in place of nine, most of which cross cache lines. More rows would share a set of the first-level cache where
rows are a power of two apart. Compilers need a second or more to make vectors of a loop over four rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npsubpix._cpu.compiler.jit import device

__all__ = ["lanes_of", "mark_block"]

_LANES, _BYTES = 16, 64  # of a vector, at most: the compiler takes several registers where they are shorter
_INDEX, _LANE = ir.IntType(64), ir.IntType(32)


@device
def lanes_of(itemsize):
    """Return the number of columns of a block."""
    return min(_LANES, _BYTES // itemsize)


class _Block:
    """What is known of a block where code is generated."""

    def __init__(self, context: Any, builder: Any, arrays: Any, args: Any, maxima: bool, lanes: int) -> None:
        self.builder = builder
        x, out = (context.make_array(kind)(context, builder, array) for kind, array in zip(arrays, args, strict=False))
        self.x, self.out, (self.start, self.width, limit) = x.data, out.data, args[2:]
        self.pixel, self.result = (context.get_data_type(array.dtype) for array in arrays)
        self.size = context.get_abi_sizeof(self.pixel)
        self.lanes = lanes or min(_LANES, _BYTES // self.size)
        self.vector = ir.VectorType(self.pixel, self.lanes)
        self.wins, self.stands = (">", ">=") if maxima else ("<", "<=")
        self.is_float, self.signed = isinstance(arrays[0].dtype, types.Float), getattr(arrays[0].dtype, "signed", True)
        self.limit = self.spread(limit)

    def spread(self, value: Any) -> Any:
        one = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), value, _LANE(0))
        places = ir.Constant(ir.VectorType(_LANE, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, one, places)

    def at(self, data: Any, row: int, column: int, kind: Any) -> Any:
        """Return the address of a vector of pixels."""
        builder = self.builder
        place = builder.add(builder.add(self.start, builder.mul(self.width, _INDEX(row))), _INDEX(column))
        return builder.bitcast(builder.gep(data, [place]), kind.as_pointer())

    def holds(self, comparison: str, a: Any, b: Any) -> Any:
        """Compare; False where one is NaN."""
        if self.is_float:
            return self.builder.fcmp_ordered(comparison, a, b)
        return (self.builder.icmp_signed if self.signed else self.builder.icmp_unsigned)(comparison, a, b)

    def better(self, a: Any, b: Any) -> Any:
        """Return the extremum of two; the second if one is NaN."""
        return self.builder.select(self.holds(self.wins, a, b), a, b)

    def without_nan(self, a: Any) -> Any:
        """Replace NaN by a value that none beats."""
        if not self.is_float:
            return a
        unbeatable = ir.Constant(self.vector, [math.inf if self.wins == ">" else -math.inf] * self.lanes)
        return self.builder.select(self.holds(self.wins, unbeatable, a), a, unbeatable)

    def row(self, number: int) -> tuple[Any, Any, Any]:
        """Return pixels of a row, the extrema of those beside each, and of all three; NaN if one is, or unbeatable."""
        before, own, after = (
            self.builder.load(self.at(self.x, number, column, self.vector), align=self.size) for column in (-1, 0, 1)
        )
        beside = self.better(self.without_nan(before), after)
        return own, beside, self.better(self.without_nan(own), beside)

    def beyond(self, comparison: str, v: Any, others: tuple[Any, Any, Any]) -> Any:
        """Compare pixels with the extrema of their neighbours, and with the limit."""
        a, b, c = (self.holds(comparison, v, other) for other in others)
        return self.builder.and_(self.builder.and_(a, b), self.builder.and_(c, self.holds(self.stands, v, self.limit)))

    def write(self, output: str, row: int, v: Any, others: tuple[Any, Any, Any]) -> None:
        """Write what an output has of pixels of a row."""
        builder, found = self.builder, self.beyond(self.wins, v, others)
        kind = ir.VectorType(self.result, self.lanes)
        place = self.at(self.out, row, 0, kind)
        if output == "mask":
            result = builder.zext(found, kind)
        elif output == "values":
            result = builder.select(found, v, ir.Constant(kind, [0] * self.lanes))
        else:
            unbeaten = self.beyond(self.stands, v, others)
            strict, level = (1, 4) if output == "maxima" else (2, 8)
            codes = [ir.Constant(kind, [code] * self.lanes) for code in (strict, level, 0)]
            result = builder.select(found, codes[0], builder.select(unbeaten, *codes[1:]))
            if output == "minima too":
                result = builder.or_(result, builder.load(place, align=1))
        builder.store(result, place, align=self.size if output == "values" else 1)


def mark_block(output: str, rows: int, lanes: int = 0) -> Callable[..., Any]:
    """Make the function (x, out, start, width, limit) that marks the strict extrema of some rows of a vector of pixels.

    Arrays are contiguous, `start` is the place of the first pixel, `width` leads to the next row, and no pixel lies at
    the border. Without `lanes`, a vector has those of `lanes_of`. Outputs are ``"mask"``, ``"values"``,
    ``"maxima"``, codes of maxima, and ``"minima too"``, which adds those of minima.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def mark(typing_context: Any, x: Any, out: Any, start: Any, width: Any, limit: Any) -> Any:
        if x.layout != "C" or out.layout != "C":
            return None  # not to be compiled

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            block = _Block(context, builder, signature.args[:2], args, output != "minima too", lanes)
            seen = [block.row(-1), block.row(0)]
            for row in range(rows):
                seen.append(block.row(row + 1))
                own, beside, _ = seen[row + 1]
                block.write(output, row, own, (seen[row][2], beside, seen[row + 2][2]))
            return context.get_dummy_value()

        return types.void(x, out, start, width, limit), generate

    return mark  # type: ignore[no-any-return]
