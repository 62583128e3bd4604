"""Functions that users wrote: which of them do the same."""

from __future__ import annotations

from typing import Any

__all__ = ["identity_of"]


def identity_of(function: Any, kept: list[Any]) -> Any:
    """Return what is equal for functions of the same code and values; what is known by its address goes to `kept`."""
    if function is None:
        return None
    plain = getattr(function, "py_func", function)
    code = getattr(plain, "__code__", None)
    if code is None:
        return _value(plain, kept)
    names = [plain.__globals__[name] for name in code.co_names if name in plain.__globals__]
    cells = [cell.cell_contents for cell in plain.__closure__ or ()]
    return code, tuple(_value(v, kept) for v in (*names, *cells, *(plain.__defaults__ or ())))


def _value(value: Any, kept: list[Any]) -> Any:
    if isinstance(value, (bool, int, float, str, bytes)):
        return type(value).__name__, value
    kept.append(value)
    return id(value)
