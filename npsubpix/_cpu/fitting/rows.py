"""The sums of the normal equations over a row of a box, four pixels at a time, as vector code.

Numba has no vectors, and LLVM makes none of loops over the few pixels of a row. So the arithmetic of four pixels is
written here with operators on `Vector`, each of which emits an instruction on four numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npsubpix._cpu.fitting.gaussian import BLOCK, slopes_of
from npsubpix._definitions.constants import FIT_LEAST_MEAN
from npsubpix._definitions.fitting import Model

__all__ = ["Vector", "row_sums_of", "sums_of"]

_NUMBER = ir.DoubleType()
_FOUR = ir.VectorType(_NUMBER, BLOCK)
_FUSED = ("contract",)


class Vector:
    """Four numbers, where code is generated."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def __mul__(self, other: Vector) -> Vector:
        return Vector(self.builder, self.builder.fmul(self.value, other.value, flags=_FUSED))

    def __add__(self, other: Vector) -> Vector:
        return Vector(self.builder, self.builder.fadd(self.value, other.value, flags=_FUSED))

    def __sub__(self, other: Vector) -> Vector:
        return Vector(self.builder, self.builder.fsub(self.value, other.value, flags=_FUSED))

    def inverse(self) -> Vector:
        """Return 1 over each number."""
        ones = ir.Constant(_FOUR, [1.0] * BLOCK)
        return Vector(self.builder, self.builder.fdiv(ones, self.value))

    def at_least(self, number: float) -> Vector:
        """Return the greater of each number and another; that for NaN."""
        least = ir.Constant(_FOUR, [number] * BLOCK)
        greater = self.builder.fcmp_ordered(">", self.value, least)
        return Vector(self.builder, self.builder.select(greater, self.value, least))


def _all(builder: Any, number: Any) -> Vector:
    """Return four times the same number."""
    one = builder.insert_element(ir.Constant(_FOUR, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [0] * BLOCK)
    return Vector(builder, builder.shuffle_vector(one, ir.Constant(_FOUR, ir.Undefined), places))


def _place(builder: Any, data: Any, index: Any) -> Any:
    return builder.bitcast(builder.gep(data, [index]), _FOUR.as_pointer())


def _load(builder: Any, data: Any, index: Any) -> Vector:
    return Vector(builder, builder.load(_place(builder, data, index), align=8))


def _add_to(builder: Any, data: Any, place: int, term: Vector) -> None:
    """Add to the four numbers of a sum."""
    address = _place(builder, data, ir.Constant(ir.IntType(64), BLOCK * place))
    total = Vector(builder, builder.load(address, align=8)) + term
    builder.store(total.value, address, align=8)


def sums_of(model: Model) -> int:
    """Return how many sums there are: the lower triangle of the information, the gradient, and chi2."""
    count = model.parameters
    return count * (count + 1) // 2 + count + 1


def _accumulate(builder: Any, sums: Any, slopes: Sequence[Vector | None], weight: Vector, residual: Vector) -> None:
    """Add the products of a block to the sums; None for a derivative of 1."""
    place = 0
    for a, slope in enumerate(slopes):
        product = weight if slope is None else weight * slope
        for other in slopes[: a + 1]:
            _add_to(builder, sums, place, product if other is None else product * other)
            place += 1
    weighted = weight * residual
    for slope in slopes:
        _add_to(builder, sums, place, weighted if slope is None else weighted * slope)
        place += 1
    _add_to(builder, sums, place, weighted * residual)


def row_sums_of(model: Model, likelihood: bool) -> Callable[..., Any]:
    """Make the function that adds a row of pixels to the sums.

    It takes the sums; the lines of the axis of the row; the pixels and read variances, or weights, of the box; the
    first pixel of the row and how many it has; the factors that its pixels share; and the background at its first
    pixel, its slope, and the distance of that pixel from the centre.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def add_row(
        typing_context: Any, sums: Any, lines: Any, data: Any, spread: Any, start: Any, padded: Any, factors: Any,
        level: Any, tilt: Any, first: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            arrays = [context.make_array(signature.args[k])(context, builder, args[k]) for k in range(4)]
            totals, table, pixels, spreads = arrays
            stride = builder.sdiv(cgutils.unpack_tuple(builder, table.strides)[0], ir.Constant(ir.IntType(64), 8))
            rows = [builder.gep(table.data, [builder.mul(stride, ir.Constant(ir.IntType(64), k))]) for k in (6, 7, 8)]
            shared = [_all(builder, factor) for factor in cgutils.unpack_tuple(builder, args[6])]
            background, slope, begin = (_all(builder, args[k]) for k in (7, 8, 9))
            steps = Vector(builder, ir.Constant(_FOUR, [float(k) for k in range(BLOCK)]))
            blocks = builder.sdiv(args[5], ir.Constant(ir.IntType(64), BLOCK))
            with cgutils.for_range(builder, blocks) as loop:
                here = builder.mul(loop.index, ir.Constant(ir.IntType(64), BLOCK))
                ex, dx, gx = (_load(builder, row, here) for row in rows)
                place = builder.add(args[4], here)
                value, other = _load(builder, pixels.data, place), _load(builder, spreads.data, place)
                along = _all(builder, builder.sitofp(here, _NUMBER)) + steps + begin
                mean = shared[0] * ex + background
                if model.plane:
                    mean = mean + slope * along
                weight = (mean + other).at_least(FIT_LEAST_MEAN).inverse() if likelihood else other
                slopes = slopes_of(model, (ex, dx, gx), shared, along)
                _accumulate(builder, totals.data, slopes, weight, value - mean)
            return context.get_dummy_value()

        return types.void(sums, lines, data, spread, start, padded, factors, level, tilt, first), generate

    return add_row  # type: ignore[no-any-return]
