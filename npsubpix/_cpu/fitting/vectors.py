"""Arithmetic of four numbers at once.

Numba has no vectors, and LLVM makes none of loops over the few pixels of a row. So functions that sum over boxes are
written with operators on `Vector`, each of which emits an instruction on four numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from npsubpix._cpu.compiler.intrinsics import converted
from npsubpix._cpu.fitting.gaussian import BLOCK

__all__ = ["FOUR", "NUMBER", "WORD", "Totals", "Vector", "address_of", "load", "load_pixels", "repeated", "times"]

NUMBER = ir.DoubleType()
WORD = ir.IntType(64)

#: The type of four numbers.
FOUR = ir.VectorType(NUMBER, BLOCK)
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

    def at_least(self, number: float) -> Vector:
        """Return the greater of each number and another; that for NaN."""
        least = ir.Constant(FOUR, [number] * BLOCK)
        greater = self.builder.fcmp_ordered(">", self.value, least)
        return Vector(self.builder, self.builder.select(greater, self.value, least))

    def sum(self) -> Vector:
        """Return the sum of the four numbers."""
        a, b, c, d = (
            Vector(self.builder, self.builder.extract_element(self.value, ir.Constant(ir.IntType(32), k)))
            for k in range(BLOCK)
        )
        return (a + b) + (c + d)


def times(first: Vector | None, second: Vector | None) -> Any:
    """Return a product; None is 1."""
    if first is None or second is None:
        return second if first is None else first
    return first * second


def repeated(builder: Any, number: Any) -> Vector:
    """Return four times the same number."""
    one = builder.insert_element(ir.Constant(FOUR, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [0] * BLOCK)
    return Vector(builder, builder.shuffle_vector(one, ir.Constant(FOUR, ir.Undefined), places))


def address_of(builder: Any, data: Any, index: Any) -> Any:
    """Return the address of four numbers of an array."""
    return builder.bitcast(builder.gep(data, [index]), FOUR.as_pointer())


def load(builder: Any, data: Any, index: Any) -> Vector:
    """Return four numbers of an array."""
    return Vector(builder, builder.load(address_of(builder, data, index), align=8))


def load_pixels(context: Any, builder: Any, dtype: Any, address: Any) -> Vector:
    """Return four pixels of a dtype, at an address of any kind and alignment, as numbers."""
    four = ir.VectorType(context.get_data_type(dtype), BLOCK)
    pixels = builder.load(builder.bitcast(address, four.as_pointer()), align=1)
    return Vector(builder, converted(builder, dtype, pixels, FOUR))


class Totals:
    """Sums of vectors, in registers as far as there are, where code is generated."""

    def __init__(self, builder: Any, keys: Iterable[tuple[Any, ...]]) -> None:
        self.builder = builder
        self.places = {key: cgutils.alloca_once(builder, FOUR) for key in keys}
        self.clear()

    def clear(self) -> None:
        """Begin again."""
        for place in self.places.values():
            self.builder.store(ir.Constant(FOUR, [0.0] * BLOCK), place)

    def add(self, key: tuple[Any, ...], term: Vector) -> None:
        """Add to a sum."""
        self.builder.store((self[key] + term).value, self.places[key])

    def __getitem__(self, key: tuple[Any, ...]) -> Vector:
        return Vector(self.builder, self.builder.load(self.places[key]))
