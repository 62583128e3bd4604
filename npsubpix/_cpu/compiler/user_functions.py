"""Functions that users wrote, compiled for kernels: plain ones, those that Numba compiled before, and NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba

from npsubpix._cpu.compiler.jit import compile_function_of_arrays, compile_function_of_number
from npsubpix._definitions.user_functions import digest_of, plain_function, positional

__all__ = ["compiled_for_arrays", "compiled_for_number"]


def compiled_for_arrays(function: Any, arguments: tuple[Any, ...]) -> tuple[Any, Any, str | None]:
    """Compile a function for arguments of Numba's types; return it, the type of its result and its digest."""
    options = {k: v for k, v in getattr(function, "targetoptions", {}).items() if k != "nopython"}
    digest = digest_of(function)
    return *compile_function_of_arrays(_compilable(function), options, arguments, digest), digest


def compiled_for_number(function: Any, name: str, shapes: tuple[tuple[int, ...] | None, ...]) -> Any:
    """Compile a function of one number, and of arguments of shapes, None for a number, to a C function.

    The C function takes the number and the address of all elements of the arguments. It is NaN if the function raises.
    """
    return compile_function_of_number(_compilable(function), name, shapes, digest_of(function))


def _compilable(function: Any) -> Callable[..., Any]:
    """Return a plain function: one that calls it, for what Numba has an implementation of, as for NumPy's functions."""
    plain = plain_function(function)
    if not _is_known(plain):
        return positional(plain) if isinstance(plain, FunctionType) else plain

    def call(*values: Any) -> Any:
        return plain(*values)

    return call


def _is_known(function: Any) -> bool:
    from numba.core.registry import cpu_target

    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
    try:
        return isinstance(cpu_target.typing_context.resolve_value_type(function), numba.types.Callable)
    except Exception:  # of Numba, for what it does not know
        return False
