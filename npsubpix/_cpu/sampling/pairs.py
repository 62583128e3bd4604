"""Linear interpolation of eight positions at once, as vectors of LLVM.

Both pixels of a row are loaded together, which halves loads, and are sorted in registers; compilers load each pixel of
each position, and compute one position after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npsubpix._cpu.compiler.intrinsics import converted, prefetch
from npsubpix._cpu.compiler.jit import device, inlined

__all__ = ["EIGHT", "fetch", "fetch_eight", "gradients_of_eight", "spread_eight", "values_of_eight"]

#: Positions of a vector.
EIGHT = 8

_AHEAD = 16  # positions between prefetching pixels and using them

_INDEX, _WORD = ir.IntType(32), ir.IntType(64)
_FUSED = ("contract",)

#: Places of the first pixels of eight positions, and of the second ones, among pairs of which the halves of two vectors
#: hold those of the positions 0, 1, 4, 5 and 2, 3, 6, 7: no pixel moves between halves of registers.
_FIRST, _SECOND = [0, 2, 8, 10, 4, 6, 12, 14], [1, 3, 9, 11, 5, 7, 13, 15]
_ORDER = ((0, 1, 4, 5), (2, 3, 6, 7))

#: Where such vectors, two of one pixel each, have the pixels of each of these positions.
_PAIRS = [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]


@device
def fetch(x, starts, k, shape, planes, rows):
    ahead = np.int64(starts[min(k + _AHEAD, starts.size - 1)])
    for a in range(planes):
        for b in range(rows):
            prefetch(x, ahead + (a * shape[1] + b) * shape[2])


@inlined
def fetch_eight(x, starts, begin, shape):
    """Prefetch pixels of the eight positions after the next eight; for the first ones, of all until then."""
    first = begin + 2 * EIGHT if begin > 0 else 0
    for k in range(first, min(begin + 3 * EIGHT, starts.size)):
        o = np.int64(starts[k])
        prefetch(x, o)
        prefetch(x, o + shape[2])


class _Positions:
    """Weights and pixels of eight positions, where code is generated."""

    def __init__(self, context: Any, builder: Any, arrays: Any, args: Any) -> None:
        self.builder, self.context = builder, context
        self.x, self.starts, self.t = arrays
        x, starts, t, k, width = args
        self.vector = ir.VectorType(context.get_data_type(self.t.dtype), EIGHT)
        self.pixels = context.make_array(self.x)(context, builder, x).data
        places = context.make_array(self.starts)(context, builder, starts).data
        self.bases = [
            builder.zext(builder.load(builder.gep(places, [builder.add(k, _WORD(n))])), _WORD) for n in range(EIGHT)
        ]
        self.width = width
        distances = context.make_array(self.t)(context, builder, t)
        stride = cgutils.unpack_tuple(builder, distances.strides)[0]
        ones = ir.Constant(self.vector, [1.0] * EIGHT)
        self.weights = []  # of both rows, and of both pixels of a row
        for axis in (1, 2):
            start = builder.gep(
                builder.bitcast(distances.data, ir.IntType(8).as_pointer()), [builder.mul(stride, _WORD(axis))]
            )
            line = builder.bitcast(start, distances.data.type)
            second = builder.load(self.at(line, k, self.vector), align=1)
            self.weights.append((builder.fsub(ones, second, flags=_FUSED), second))

    def at(self, data: Any, place: Any, kind: Any) -> Any:
        """Return the address of a vector."""
        return self.builder.bitcast(self.builder.gep(data, [place]), kind.as_pointer())

    def row(self, number: int) -> tuple[Any, Any]:
        """Return the first and the second pixels of all positions in a row of their windows."""
        builder, pixel = self.builder, self.context.get_data_type(self.x.dtype)
        pair, halves = ir.VectorType(pixel, 2), []
        for order in _ORDER:
            pairs = []
            for n in order:
                base = builder.add(self.bases[n], self.width) if number else self.bases[n]
                pairs.append(builder.load(self.at(self.pixels, base, pair), align=1))
            four = [self.joined(*pairs[:2]), self.joined(*pairs[2:])]
            halves.append(converted(builder, self.x.dtype, self.joined(*four), self.vector))
        first, second = (
            builder.shuffle_vector(*halves, ir.Constant(ir.VectorType(_INDEX, EIGHT), places))
            for places in (_FIRST, _SECOND)
        )
        return first, second

    def joined(self, a: Any, b: Any) -> Any:
        """Return one vector after the other."""
        count = 2 * a.type.count
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INDEX, count), list(range(count))))

    def mean(self, axis: int, a: Any, b: Any) -> Any:
        """Return the weighted mean along an axis."""
        builder, (first, second) = self.builder, self.weights[axis]
        products = builder.fmul(first, a, flags=_FUSED), builder.fmul(second, b, flags=_FUSED)
        return builder.fadd(*products, flags=_FUSED)

    def difference(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(b, a, flags=_FUSED)

    def place(self, kind: Any, array: Any, k: Any) -> Any:
        """Return the address of eight elements of a contiguous array."""
        data = self.context.make_array(kind)(self.context, self.builder, array).data
        return self.at(data, k, ir.VectorType(data.type.pointee, EIGHT))

    def store(self, value: Any, kind: Any, array: Any, k: Any) -> None:
        """Write results from a place of an array on."""
        self.builder.store(value, self.place(kind, array, k), align=1)

    def load(self, kind: Any, array: Any, k: Any) -> Any:
        """Return elements from a place of an array on."""
        return converted(self.builder, kind.dtype, self.builder.load(self.place(kind, array, k), align=1), self.vector)

    def add(self, value: Any, kind: Any, array: Any, k: Any) -> None:
        """Add to elements from a place of an array on, which may be of another dtype."""
        builder, place = self.builder, self.place(kind, array, k)
        elements = builder.load(place, align=1)
        added = converted(builder, self.t.dtype, value, elements.type)
        builder.store(builder.fadd(elements, added, flags=_FUSED), place, align=1)

    def spread(self, g: Any, pixels: Any) -> None:
        """Add the weights times g to pixels, one position after the other: their windows may overlap."""
        builder, pair = self.builder, ir.VectorType(self.vector.element, 2)
        rows = []
        for weight in self.weights[0]:
            of_row = builder.fmul(g, weight)
            terms = [builder.fmul(of_row, w) for w in self.weights[1]]
            halves = [
                builder.shuffle_vector(*terms, ir.Constant(ir.VectorType(_INDEX, EIGHT), places)) for places in _PAIRS
            ]
            rows.append(
                {n: (half, 2 * k) for half, order in zip(halves, _ORDER, strict=True) for k, n in enumerate(order)}
            )
        for n, base in enumerate(self.bases):
            places = [self.at(pixels, o, pair) for o in (base, builder.add(base, self.width))]
            sums = []
            for row, place in zip(rows, places, strict=True):
                half, first = row[n]
                two = builder.shuffle_vector(half, half, ir.Constant(ir.VectorType(_INDEX, 2), [first, first + 1]))
                sums.append(builder.fadd(builder.load(place, align=1), two))
            for place, total in zip(places, sums, strict=True):
                builder.store(total, place, align=1)


def _of_eight(gradients: bool) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[5]
        positions = _Positions(context, builder, signature.args[:3], args[:5])
        (a, b), (c, d) = positions.row(0), positions.row(1)
        above, below = positions.mean(1, a, b), positions.mean(1, c, d)
        positions.store(positions.mean(0, above, below), kind, args[5], args[3])
        if gradients:
            slopes = positions.difference(a, b), positions.difference(c, d)
            positions.store(positions.difference(above, below), kind, args[6], args[3])
            positions.store(positions.mean(0, *slopes), kind, args[7], args[3])
        return context.get_dummy_value()

    return generate


@intrinsic  # type: ignore[untyped-decorator]
def values_of_eight(typing_context: Any, x: Any, starts: Any, t: Any, k: Any, width: Any, out: Any) -> Any:
    """Write the values of eight positions from k on: of flat x, where windows begin at `starts`, t after it."""
    return types.void(x, starts, t, types.int64, types.int64, out), _of_eight(False)


@intrinsic  # type: ignore[untyped-decorator]
def gradients_of_eight(
    typing_context: Any, x: Any, starts: Any, t: Any, k: Any, width: Any, out: Any, gy: Any, gx: Any
) -> Any:
    """Write values and gradients in the same way."""
    return types.void(x, starts, t, types.int64, types.int64, out, gy, gx), _of_eight(True)


@intrinsic  # type: ignore[untyped-decorator]
def spread_eight(
    typing_context: Any, x: Any, starts: Any, t: Any, k: Any, width: Any, pixels: Any, g: Any, gy: Any, gx: Any
) -> Any:
    """Add the cotangents g of values of eight positions to those of pixels, and to those of the positions."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        positions = _Positions(context, builder, (x, starts, t), args[:5])
        (a, b), (c, d) = positions.row(0), positions.row(1)
        cotangents = positions.load(g, args[6], args[3])
        above, below = positions.mean(1, a, b), positions.mean(1, c, d)
        slopes = (
            positions.difference(above, below),
            positions.mean(0, positions.difference(a, b), positions.difference(c, d)),
        )
        positions.spread(cotangents, context.make_array(pixels)(context, builder, args[5]).data)
        for kind, array, slope in zip((gy, gx), args[7:], slopes, strict=True):
            positions.add(builder.fmul(cotangents, slope, flags=_FUSED), kind, array, args[3])
        return context.get_dummy_value()

    return types.void(x, starts, t, types.int64, types.int64, pixels, g, gy, gx), generate
