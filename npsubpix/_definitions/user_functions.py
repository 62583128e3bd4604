"""Functions written by users: their identity, and what was compiled for them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from types import CodeType
from typing import Any, Generic, TypeVar

import numpy as np

__all__ = ["CompiledFunctions", "identity_of"]

_Compiled = TypeVar("_Compiled")


class CompiledFunctions(Generic[_Compiled]):
    """Compiled functions of users, by their identities and by the arrays that they were compiled for."""

    def __init__(self) -> None:
        self._compiled: dict[Any, _Compiled] = {}
        self._kept: list[Any] = []  # what identities know by its address

    def get(self, function: Any, compiled_for: Hashable, compile_: Callable[[], _Compiled]) -> _Compiled:
        """Return what was compiled for a function that does the same, or compile it."""
        key = identity_of(function, self._kept), compiled_for
        if key not in self._compiled:
            self._compiled[key] = compile_()
        return self._compiled[key]


def identity_of(function: Any, kept: list[Any]) -> Any:
    """Return a key that is equal for functions of the same code and values; objects known by address go to `kept`."""
    if function is None:
        return None
    plain = getattr(function, "py_func", function)
    code = getattr(plain, "__code__", None)
    if code is None:
        return _value(plain, kept)
    names = [plain.__globals__[name] for name in sorted(_names(code)) if name in plain.__globals__]
    cells = [_content(cell) for cell in plain.__closure__ or ()]
    return code, tuple(_value(v, kept) for v in (*names, *cells, *(plain.__defaults__ or ())))


def _names(code: CodeType) -> set[str]:
    """Return the names that code, and code inside of it, takes from elsewhere."""
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that has no value yet
        return None


def _value(value: Any, kept: list[Any]) -> Any:
    if isinstance(value, (bool, int, float, str, bytes)):
        return type(value).__name__, value
    if isinstance(value, tuple):
        return tuple(_value(v, kept) for v in value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.shape, value.dtype.str, hashlib.sha256(value.tobytes()).digest()
    if not any(k is value for k in kept):
        kept.append(value)
    return id(value)
