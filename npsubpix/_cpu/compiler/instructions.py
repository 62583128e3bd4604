"""Calls of builtins that become instructions, where Numba compiles a function for each combination of types.

And again for each combination of flags: a call of `find_peaks` had 16 such functions, of 20 ms each.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy
from numba.core import cgutils, ir, types
from numba.cpython.builtins import do_minmax
from numba.extending import intrinsic
from numba.np.arrayobj import _empty_nd_impl, _parse_empty_args, ty_parse_dtype, ty_parse_shape

__all__ = ["replace_allocations", "replace_builtins"]


def _choice(compare: Callable[..., Any]) -> tuple[Any, Any]:
    """Make the functions that `min` or `max` is of two and of three numbers, with the instructions of Numba's own."""

    def typed(context: Any, numbers: tuple[Any, ...]) -> Any:
        if not all(isinstance(number, types.Number) for number in numbers):
            return None

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return do_minmax(context, builder, signature.args, args, compare)

        return context.unify_types(*numbers)(*numbers), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def of_two(typing_context: Any, a: Any, b: Any) -> Any:
        return typed(typing_context, (a, b))

    @intrinsic  # type: ignore[untyped-decorator]
    def of_three(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
        return typed(typing_context, (a, b, c))

    return of_two, of_three


@intrinsic  # type: ignore[untyped-decorator]
def _integer(typing_context: Any, number: Any) -> Any:
    result = number if isinstance(number, types.Integer) else types.intp

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[0], signature.args[0], signature.return_type)

    return result(number), generate


def _allocation(zeros: bool) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def make(typing_context: Any, shape: Any, dtype: Any) -> Any:
        element, axes = ty_parse_dtype(dtype), ty_parse_shape(shape)
        if element is None or axes is None:
            return None

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            made = _empty_nd_impl(context, builder, *_parse_empty_args(context, builder, signature, args))
            if zeros:
                cgutils.memset(builder, made.data, builder.mul(made.itemsize, made.nitems), 0)
            return made._getvalue()

        return types.Array(element, axes, "C")(shape, dtype), generate

    return make


_lesser, _least = _choice(operator.lt)
_greater, _greatest = _choice(operator.gt)

#: Builtins and their number of arguments, and what is called instead.
_BUILTINS = {
    (min, 2): _lesser,
    (min, 3): _least,
    (max, 2): _greater,
    (max, 3): _greatest,
    (int, 1): _integer,
}

_ALLOCATIONS = {("empty", 2): _allocation(zeros=False), ("zeros", 2): _allocation(zeros=True)}


def replace_builtins(function: Any) -> None:
    """Replace builtins that a function in Numba's representation calls."""
    for assigned, count in _called(function):
        if isinstance(assigned.value, ir.Global) and any(assigned.value.value is f for f in (min, max, int)):
            _replace(function, assigned, _BUILTINS.get((assigned.value.value, count)))


def replace_allocations(function: Any) -> None:
    """Replace what makes arrays; not in loops over threads, out of which Numba moves what it knows to make arrays."""
    for assigned, count in _called(function):
        if isinstance(assigned.value, ir.Expr) and assigned.value.op == "getattr":
            owners = function._definitions[assigned.value.value.name]
            if all(isinstance(owner, ir.Global | ir.FreeVar) and owner.value is numpy for owner in owners):
                _replace(function, assigned, _ALLOCATIONS.get((assigned.value.attr, count)))


def _called(function: Any) -> list[tuple[Any, int]]:
    """Return the assignments of what is called without keywords, and the number of arguments."""
    calls = [call for block in function.blocks.values() for call in block.find_exprs("call")]
    counts = {call.func.name: len(call.args) for call in calls if not call.kws and call.vararg is None}
    assignments = [a for block in function.blocks.values() for a in block.find_insts(ir.Assign)]
    return [(a, counts[a.target.name]) for a in assignments if a.target.name in counts]


def _replace(function: Any, assigned: Any, value: Any) -> None:
    if value is not None:
        assigned.value = ir.Global(f"npsubpix.{value.__name__}", value, assigned.loc)
        function._definitions[assigned.target.name] = [assigned.value]
