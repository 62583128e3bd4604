"""The sums of the normal equations over a row of a box, four pixels at a time, as vector code.

Numba has no vectors, and LLVM makes none of loops over the few pixels of a row. So the arithmetic of four pixels is
written here with operators on `Vector`, each of which emits an instruction on four numbers.

Derivatives of the means of a row are lines of its axis times factors that its pixels share. So it is enough to sum
weights times products of two lines, which stay in registers; factors follow once a row.
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
from npsubpix._definitions.spot_models import Model

__all__ = ["FOUR", "Vector", "load", "repeated", "row_sums_of", "sums_of"]

_NUMBER = ir.DoubleType()

#: The type of four numbers.
FOUR = ir.VectorType(_NUMBER, BLOCK)
_FUSED = ("contract",)


class Vector:
    """Four numbers, or one, where code is generated."""

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
        ones = [1.0] * BLOCK if self.value.type == FOUR else 1.0
        return Vector(self.builder, self.builder.fdiv(ir.Constant(self.value.type, ones), self.value))

    def sum(self) -> Vector:
        """Return the sum of the four numbers."""
        a, b, c, d = (
            Vector(self.builder, self.builder.extract_element(self.value, ir.Constant(ir.IntType(32), k)))
            for k in range(BLOCK)
        )
        return (a + b) + (c + d)

    def at_least(self, number: float) -> Vector:
        """Return the greater of each number and another; that for NaN."""
        least = ir.Constant(FOUR, [number] * BLOCK)
        greater = self.builder.fcmp_ordered(">", self.value, least)
        return Vector(self.builder, self.builder.select(greater, self.value, least))


def repeated(builder: Any, number: Any) -> Vector:
    """Return four times the same number."""
    one = builder.insert_element(ir.Constant(FOUR, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [0] * BLOCK)
    return Vector(builder, builder.shuffle_vector(one, ir.Constant(FOUR, ir.Undefined), places))


def _place(builder: Any, data: Any, index: Any) -> Any:
    return builder.bitcast(builder.gep(data, [index]), FOUR.as_pointer())


def load(builder: Any, data: Any, index: Any) -> Vector:
    """Return four numbers of an array."""
    return Vector(builder, builder.load(_place(builder, data, index), align=8))


def sums_of(model: Model) -> int:
    """Return how many sums there are: the lower triangle of the information, the gradient, and chi2."""
    count = model.parameters
    return count * (count + 1) // 2 + count + 1


def _times(first: Vector | None, second: Vector | None) -> Vector | None:
    """Return a product; None is 1."""
    if first is None or second is None:
        return second if first is None else first
    return first * second


def _products(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(a, b) for k, a in enumerate(names) for b in names[: k + 1]]


class _RowSums:
    """Sums over a row of weights times products of two lines, of weighted residuals times lines, and chi2."""

    def __init__(self, builder: Any, names: Sequence[str]) -> None:
        self.builder, self.names = builder, names
        keys = [*_products(names), *((name,) for name in names), ()]
        self.places = {key: cgutils.alloca_once_value(builder, ir.Constant(FOUR, [0.0] * BLOCK)) for key in keys}
        for place in self.places.values():  # at each row, not at the first alone
            builder.store(ir.Constant(FOUR, [0.0] * BLOCK), place)

    def add(self, lines: dict[str, Vector | None], weight: Vector, residual: Vector) -> None:
        """Add a block of pixels; the line of ones is None."""
        weighted = weight * residual
        scaled = {name: _times(weight, lines[name]) for name in self.names}
        for key, place in self.places.items():
            if len(key) == 2:
                term = _times(scaled[key[0]], lines[key[1]])
            else:
                term = _times(weighted, lines[key[0]]) if key else weighted * residual
            total = Vector(self.builder, self.builder.load(place)) + term  # type: ignore[operator]
            self.builder.store(total.value, place)

    def of(self, *key: str) -> Vector:
        """Return a sum."""
        found = key if key in self.places else key[::-1]
        return Vector(self.builder, self.builder.load(self.places[found]))


def _add_row_to(builder: Any, sums: Any, slopes: Sequence[Sequence[tuple[str, Any]]], row: _RowSums) -> None:
    """Add what a row contributes to the information, to the gradient and to chi2."""
    place = 0
    for a, slope in enumerate(slopes):
        for other in slopes[: a + 1]:
            terms = [(_times(c, d), row.of(line, name)) for line, c in slope for name, d in other]
            _add_terms(builder, sums, place, terms)
            place += 1
    for slope in slopes:
        _add_terms(builder, sums, place, [(c, row.of(line)) for line, c in slope])
        place += 1
    _add_terms(builder, sums, place, [(None, row.of())])


def _add_terms(builder: Any, data: Any, place: int, terms: Sequence[tuple[Vector | None, Vector]]) -> None:
    """Add factors times sums to the four numbers of a sum."""
    address = _place(builder, data, ir.Constant(ir.IntType(64), BLOCK * place))
    total = Vector(builder, builder.load(address, align=8))
    for factor, term in terms:
        total = total + (term if factor is None else factor * term)
    builder.store(total.value, address, align=8)


def row_sums_of(model: Model, likelihood: bool) -> Callable[..., Any]:
    """Make the function that adds a row of pixels to the sums.

    It takes the sums; the lines of all axes, and where those of x begin; the pixels and read variances, or weights, of
    the box; the first pixel of the row and how many it has; the factors that its pixels share; and the background at
    its first pixel, its slope, and the distance of that pixel from the centre.
    """
    names = sorted({name for slope in slopes_of(model, (None,) * 8) for name, _ in slope})

    @intrinsic  # type: ignore[untyped-decorator]
    def add_row(
        typing_context: Any, sums: Any, lines: Any, x: Any, data: Any, spread: Any, start: Any, padded: Any,
        factors: Any, level: Any, tilt: Any, first: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            arrays = [context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 1, 3, 4)]
            totals, table, pixels, spreads = arrays
            total = builder.sdiv(cgutils.unpack_tuple(builder, table.strides)[0], ir.Constant(ir.IntType(64), 8))
            firsts = args[2], builder.add(args[2], total), builder.add(args[2], builder.add(total, total))
            rows = [builder.gep(table.data, [first]) for first in firsts]
            shared = [repeated(builder, factor) for factor in cgutils.unpack_tuple(builder, args[7])]
            background, slope, begin = (repeated(builder, args[k]) for k in (8, 9, 10))
            steps = Vector(builder, ir.Constant(FOUR, [float(k) for k in range(BLOCK)]))
            row = _RowSums(builder, names)
            blocks = builder.sdiv(args[6], ir.Constant(ir.IntType(64), BLOCK))
            with cgutils.for_range(builder, blocks) as loop:
                here = builder.mul(loop.index, ir.Constant(ir.IntType(64), BLOCK))
                ex, dx, gx = (load(builder, line, here) for line in rows)
                place = builder.add(args[5], here)
                value, other = load(builder, pixels.data, place), load(builder, spreads.data, place)
                along = repeated(builder, builder.sitofp(here, _NUMBER)) + steps + begin
                mean = shared[0] * ex + background
                if model.plane:
                    mean = mean + slope * along
                weight = (mean + other).at_least(FIT_LEAST_MEAN).inverse() if likelihood else other
                found = {"value": ex, "slope": dx, "spread": gx, "along": along, "one": None}
                row.add(found, weight, value - mean)
            _add_row_to(builder, totals.data, slopes_of(model, shared), row)
            return context.get_dummy_value()

        return types.void(sums, lines, x, data, spread, start, padded, factors, level, tilt, first), generate

    return add_row  # type: ignore[no-any-return]
