"""Normal equations of one fit, and their solution by the factors L D L' of a symmetric matrix, in float64.

L has ones on its diagonal, in whose place 1 / D is kept. For all parameters of a model, operations are written out one
after the other, without loops or branches: there are few, and most could not be vector code. Where the last parameter
stays where it is, loops do the same for the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npsubpix._cpu.compiler.jit import device, fused, inlined
from npsubpix._cpu.fitting.gaussian import BLOCK
from npsubpix._cpu.fitting.vectors import Vector
from npsubpix._definitions.constants import FIT_LEAST_PIVOT

__all__ = ["LinearAlgebra", "Numbers", "linear_algebra_of"]


class LinearAlgebra(NamedTuple):
    """Functions for the normal equations of one number of parameters."""

    unpack: Callable[..., Any]
    factor: Callable[..., Any]
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    invert: Callable[..., Any]
    multiply: Callable[..., Any]
    trace: Callable[..., Any]


class Numbers:
    """The numbers of an array of one or two dimensions, where code is generated."""

    def __init__(self, context: Any, builder: Any, array_type: Any, array: Any, width: int) -> None:
        self.builder, self.width = builder, width
        self.data = context.make_array(array_type)(context, builder, array).data

    def _place(self, row: int, column: int) -> Any:
        return self.builder.gep(self.data, [ir.Constant(ir.IntType(64), row * self.width + column)])

    def __getitem__(self, place: tuple[int, int]) -> Vector:
        return Vector(self.builder, self.builder.load(self._place(*place)))

    def __setitem__(self, place: tuple[int, int], number: Vector) -> None:
        self.builder.store(number.value, self._place(*place))

    def lower(self) -> list[list[Vector]]:
        """Return the numbers of the lower triangle."""
        return [[self[a, b] for b in range(a + 1)] for a in range(self.width)]

    def vector(self) -> list[Vector]:
        """Return the numbers of an array of one dimension."""
        return [self[0, a] for a in range(self.width)]


def _sum(terms: Iterable[Vector]) -> Vector:
    total, *others = terms
    for term in others:
        total = total + term
    return total


def _written(
    count: int, generate: Callable[..., Any], result: Any = types.void, numbers: int = 0
) -> Callable[..., Any]:
    """Make a function of contiguous arrays, and then of numbers, that `generate` writes the instructions of."""
    _, *names = inspect.signature(generate).parameters
    arrays = len(names) - numbers

    def define(typing_context: Any, *arguments: Any) -> Any:
        def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            found = [Numbers(context, builder, signature.args[k], args[k], count) for k in range(arrays)]
            value = generate(builder, *found, *(Vector(builder, value) for value in args[arrays:]))
            return context.get_dummy_value() if value is None else value

        return result(*arguments), write

    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("typing_context", *names)]
    define.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return intrinsic(define)  # type: ignore[no-any-return]


def _factor(builder: Any, lower: Numbers, matrix: Numbers, damping: Vector) -> Any:
    """Factor a matrix, its diagonal raised; say whether it is regular."""
    values, count = matrix.lower(), matrix.width
    raised = damping + Vector(builder, ir.Constant(ir.DoubleType(), 1.0))
    least = Vector(builder, ir.Constant(ir.DoubleType(), FIT_LEAST_PIVOT))
    regular = ir.Constant(ir.IntType(1), 1)
    found: list[list[Vector]] = []
    scaled: list[list[Vector]] = []  # L times D
    for a in range(count):
        row: list[Vector] = []
        products: list[Vector] = []
        for b in range(a):
            value = values[a][b]
            for k in range(b):
                value = value - products[k] * found[b][k]
            products.append(value)
            row.append(value * found[b][b])
        pivot = values[a][a] * raised
        for k in range(a):
            pivot = pivot - products[k] * row[k]
        right = builder.fcmp_ordered(">", pivot.value, (least * values[a][a]).value)
        regular = builder.and_(regular, right)
        found.append([*row, pivot.inverse()])
        scaled.append(products)
    for a in range(count):
        for b in range(a + 1):
            lower[a, b] = found[a][b]
    return regular


def _forward(builder: Any, out: Numbers, lower: Numbers, values: Numbers) -> Any:
    """Solve L x = values; return x' x / D."""
    factors, found = lower.lower(), values.vector()
    for a in range(lower.width):
        for k in range(a):
            found[a] = found[a] - factors[a][k] * found[k]
    for a in range(lower.width):
        out[0, a] = found[a]
    return _sum(found[a] * found[a] * factors[a][a] for a in range(lower.width)).value


def _backward(builder: Any, out: Numbers, lower: Numbers) -> None:
    """Solve D L' x = out, in place."""
    factors, found = lower.lower(), out.vector()
    for a in range(lower.width - 1, -1, -1):
        found[a] = found[a] * factors[a][a]
        for k in range(a + 1, lower.width):
            found[a] = found[a] - factors[k][a] * found[k]
        out[0, a] = found[a]


def _invert(builder: Any, out: Numbers, lower: Numbers) -> None:
    """Write the inverse of the matrix of factors."""
    factors, count = lower.lower(), lower.width
    inverse: list[list[Vector]] = []  # of L, negative, without its diagonal
    for a in range(count):
        inverse.append([])
        for b in range(a):
            value = factors[a][b]
            for k in range(b + 1, a):
                value = value - factors[a][k] * inverse[k][b]
            inverse[a].append(value)
    for a in range(count):
        weighted = [factors[k][k] * inverse[k][a] for k in range(a + 1, count)]
        for b in range(a + 1):
            first = factors[a][a] if b == a else _negative(builder, factors[a][a] * inverse[a][b])
            terms = (term * inverse[k][b] for k, term in zip(range(a + 1, count), weighted, strict=True))
            value = _sum((first, *terms))
            out[a, b] = value
            out[b, a] = value


def _negative(builder: Any, number: Vector) -> Vector:
    return Vector(builder, builder.fneg(number.value))


def _multiply(builder: Any, out: Numbers, matrix: Numbers, triangle: Numbers) -> None:
    """Write the product of a matrix and a symmetric one of which the lower triangle is known."""
    known, count = triangle.lower(), matrix.width
    for a in range(count):
        row = [matrix[a, k] for k in range(count)]
        for b in range(count):
            out[a, b] = _sum(row[k] * known[max(k, b)][min(k, b)] for k in range(count))


def _trace(builder: Any, matrix: Numbers, triangle: Numbers) -> Any:
    """Return the trace of the product of two symmetric matrices of which the lower triangles are known."""
    count = matrix.width
    diagonal = _sum(matrix[a, a] * triangle[a, a] for a in range(count))
    below = [matrix[a, b] * triangle[a, b] for a in range(count) for b in range(a)]
    return (diagonal + _sum(below) + _sum(below)).value


def _unpack(builder: Any, matrix: Numbers, gradient: Numbers, sums: Numbers) -> Any:
    """Write the lower triangle of the information matrix, and the gradient, from sums in four parts; return chi2."""
    place, count = 0, matrix.width

    def total() -> Vector:
        nonlocal place
        first = BLOCK * place
        place += 1
        return (sums[0, first] + sums[0, first + 1]) + (sums[0, first + 2] + sums[0, first + 3])

    for a in range(count):
        for b in range(a + 1):
            matrix[a, b] = total()
    for a in range(count):
        gradient[0, a] = total()
    return total().value


@fused
def _forward_first(out, lower, values, count):
    """Solve the first rows of L x = values; return x' x / D."""
    length = 0.0
    for a in range(count):
        value = values[a]
        for k in range(a):
            value -= lower[a, k] * out[k]
        out[a] = value
        length += value * value * lower[a, a]
    return length


@fused
def _backward_first(out, lower, count):
    """Solve the first rows of D L' x = out, in place."""
    for a in range(count - 1, -1, -1):
        value = out[a] * lower[a, a]
        for k in range(a + 1, count):
            value -= lower[k, a] * out[k]
        out[a] = value


@fused
def _invert_first(out, lower, scratch, count):
    """Write the inverse of the first rows of the matrix of factors."""
    for a in range(count):
        for r in range(count):
            value = 1.0 if r == a else 0.0
            for k in range(a, r):
                value -= lower[r, k] * scratch[k]
            scratch[r] = value
        _backward_first(scratch, lower, count)
        for r in range(count):
            out[r, a] = scratch[r]


def linear_algebra_of(count: int) -> LinearAlgebra:
    """Make the functions for a number of parameters; `used` are those that are free, all or the first of them."""
    number = types.float64
    unpack, factor = _written(count, _unpack, number), _written(count, _factor, types.boolean, 1)
    all_forward, all_backward = _written(count, _forward, number), _written(count, _backward)
    invert_all, multiply, trace = _written(count, _invert), _written(count, _multiply), _written(count, _trace, number)

    @inlined
    def forward(out, lower, values, used):
        return all_forward(out, lower, values) if used == count else _forward_first(out, lower, values, used)

    @inlined
    def backward(out, lower, used):
        if used == count:
            all_backward(out, lower)
        else:
            _backward_first(out, lower, used)

    @device
    def invert(out, lower, scratch, used):
        if used == count:
            invert_all(out, lower)
        else:
            _invert_first(out, lower, scratch, used)

    return LinearAlgebra(unpack, factor, forward, backward, invert, multiply, trace)
