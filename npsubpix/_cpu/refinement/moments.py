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

__all__ = ["FOUR", "plane_moments"]

#: Columns that are summed side by side. A window has as many or more.
FOUR = 4

_DOUBLE, _PLACE = ir.DoubleType(), ir.IntType(32)
_DOUBLES = ir.VectorType(_DOUBLE, FOUR)
_NUMBER = ir.IntType(64)
_ZERO = ir.Constant(_DOUBLES, [_DOUBLE(0.0)] * FOUR)
_FUSED = ("contract",)  # products and sums may become one instruction


def _as_doubles(builder: Any, number: Any, values: Any) -> Any:
    if isinstance(number, types.Float):
        return values if number.bitwidth == 64 else builder.fpext(values, _DOUBLES)
    return (builder.sitofp if number.signed else builder.uitofp)(values, _DOUBLES)


def _load_four(builder: Any, address: Any, kind: Any, align: int) -> Any:
    return builder.load(builder.bitcast(address, ir.VectorType(kind, FOUR).as_pointer()), align=align)


def _repeated(builder: Any, value: Any) -> Any:
    empty = ir.Constant(_DOUBLES, ir.Undefined)
    first = builder.insert_element(empty, value, _PLACE(0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(_PLACE, FOUR), [0] * FOUR))


def _sum_of(builder: Any, values: Any) -> Any:
    a, b, c, d = (builder.extract_element(values, _PLACE(k)) for k in range(FOUR))
    return builder.fadd(builder.fadd(a, b), builder.fadd(c, d))


class _Sums:
    """Sums of vectors, kept in registers."""

    def __init__(self, builder: Any, count: int) -> None:
        self._builder = builder
        self._totals = [cgutils.alloca_once_value(builder, _ZERO) for _ in range(count)]

    def clear(self) -> None:
        for total in self._totals:
            self._builder.store(_ZERO, total)

    def add(self, values: list[Any], weights: list[Any] | None = None) -> None:
        """Add values, or their products with weights."""
        for k, (total, value) in enumerate(zip(self._totals, values, strict=True)):
            if weights is not None:
                value = self._builder.fmul(weights[k], value, flags=_FUSED)
            self._builder.store(self._builder.fadd(value, self._builder.load(total), flags=_FUSED), total)

    def all(self) -> list[Any]:
        return [self._builder.load(total) for total in self._totals]


class _Line:
    """Lines of a table of floats, one after the other."""

    def __init__(self, context: Any, builder: Any, table: Any, value: Any) -> None:
        own = context.make_array(table)(context, builder, value)
        self._builder, self._data = builder, own.data
        self._step = cgutils.unpack_tuple(builder, own.shape)[1]

    def _address(self, line: int, place: Any) -> Any:
        return self._builder.gep(self._data, [self._builder.add(self._builder.mul(_NUMBER(line), self._step), place)])

    def repeated(self, line: int, place: Any) -> Any:
        return _repeated(self._builder, self._builder.load(self._address(line, place)))

    def four(self, line: int, place: Any) -> Any:
        return _load_four(self._builder, self._address(line, place), _DOUBLE, 8)


@intrinsic  # type: ignore[untyped-decorator]
def plane_moments(typing_context: Any, x: Any, first: Any, count: Any, rows: Any, columns: Any, background: Any) -> Any:
    """Return the weighted sum of a plane of a window, of magnitudes, first and second moments along rows and columns.

    The window begins at the pixel `first` of x, along three axes, and has `count` rows and columns. `rows` has their
    weights, these times their distances, and times the squares of these; `columns` weights and distances, by fours, of
    which the last ones may begin before the end of those before: there, weights are 0.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pixels = context.make_array(x)(context, builder, args[0])
        of_rows, of_columns = _Line(context, builder, rows, args[3]), _Line(context, builder, columns, args[4])
        high, wide = cgutils.unpack_tuple(builder, args[2])
        kind, size = context.get_data_type(x.dtype), x.dtype.bitwidth // 8
        strides = cgutils.unpack_tuple(builder, pixels.strides)
        begin = builder.ptrtoint(pixels.data, _NUMBER)
        for place, stride in zip(cgutils.unpack_tuple(builder, args[1]), strides, strict=True):
            begin = builder.add(begin, builder.mul(place, stride))
        level, totals, sums = _repeated(builder, args[5]), _Sums(builder, 6), _Sums(builder, 4)
        last = builder.sub(wide, _NUMBER(FOUR))
        blocks = builder.udiv(builder.add(wide, _NUMBER(FOUR - 1)), _NUMBER(FOUR))
        with cgutils.for_range(builder, blocks) as block:
            at = builder.mul(block.index, _NUMBER(FOUR))
            column = builder.select(builder.icmp_signed("<", at, last), at, last)
            start = builder.add(begin, builder.mul(column, _NUMBER(size)))
            sums.clear()
            with cgutils.for_range(builder, high) as row:
                address = builder.inttoptr(builder.add(start, builder.mul(row.index, strides[1])), kind.as_pointer())
                values = _as_doubles(builder, x.dtype, _load_four(builder, address, kind, size))
                signal = builder.fsub(values, level)
                below = builder.fcmp_ordered("<", signal, _ZERO)
                magnitude = builder.select(below, builder.fsub(_ZERO, signal), signal)
                weight, slope, square = (of_rows.repeated(k, row.index) for k in range(3))
                sums.add([signal, magnitude, signal, signal], [weight, weight, slope, square])
            weight, distance = of_columns.four(0, at), of_columns.four(1, at)
            mass, magnitude, along, squared = (builder.fmul(weight, total) for total in sums.all())
            across = builder.fmul(mass, distance)
            totals.add([mass, magnitude, along, squared, across, builder.fmul(across, distance)])
        found = [_sum_of(builder, total) for total in totals.all()]
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(types.float64, 6)(x, first, count, rows, columns, background), generate
