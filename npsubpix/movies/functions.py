"""Functions of the caller as tasks of `locate`: what they return, and what tells one from another."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray, to_numpy
from npsubpix.results.table import Table

__all__ = ["described_function", "joined_columns", "rows_of_function"]

Columns = dict[str, HostArray]


def rows_of_function(
    function: Callable[..., Any], options: Mapping[str, Any], image: HostArray, frame_axis: int | None
) -> Table | Columns:
    """Call a function with a block; require a table or columns, with frames that the block has."""
    result = function(image, **options, frame_axis=frame_axis)
    count = None if frame_axis is None else len(image)
    if isinstance(result, Table):
        if count is None:
            return result
        order = _order(None if result.frame is None else to_numpy(result.frame), count)
        return result if order is None else result[order]
    if not isinstance(result, Mapping):
        raise TypeError(f"task must return a table, or a dict of columns, got {type(result).__name__}")
    columns = {str(name): np.asarray(column) for name, column in result.items()}
    lengths = {column.shape[:1] for column in columns.values()}
    if len(lengths) != 1 or () in lengths or (count is not None and "frame" not in columns):
        needed = "" if count is None else ", one of them 'frame', counted from the first of its frames"
        shapes = ", ".join(f"{name} of shape {column.shape}" for name, column in columns.items())
        raise ValueError(f"task must return columns of one length{needed}, got {shapes or 'no columns'}")
    if count is not None:
        if not len(columns["frame"]):
            columns["frame"] = columns["frame"].astype(np.int64)  # an empty list has no dtype
        order = _order(columns["frame"], count)
        if order is not None:
            columns = {name: column[order] for name, column in columns.items()}
    return columns


def _order(frame: HostArray | None, count: int) -> HostArray | None:
    """Require the frame of each row; return the order of rows frame by frame, which tells of no block, or None."""
    needed = f"task must return the frame of each row, counted from the first of its {count} frames"
    if frame is None:
        raise ValueError(f"{needed}, got a table without frames")
    if frame.dtype.kind not in "iu":
        raise TypeError(f"{needed}, got numbers of dtype {frame.dtype}")
    wrong = (frame < 0) | (frame >= count)
    if wrong.any():
        raise ValueError(f"{needed}, got {frame[wrong][0]}")
    return np.argsort(frame, kind="stable") if (frame[1:] < frame[:-1]).any() else None


def joined_columns(tables: list[Columns]) -> Columns:
    """Join the columns of blocks; those without rows, whose dtypes may be those of empty lists, decide no dtype."""
    first = tables[0]
    for table in tables:
        if table.keys() != first.keys():
            raise ValueError(
                f"task must return the same columns for all frames, got {', '.join(first)}, and {', '.join(table)}"
            )
    parts = [table for table in tables if len(next(iter(table.values())))] or tables[:1]
    return {name: np.concatenate([part[name] for part in parts]) for name in first}


def described_function(function: Any, describe: Callable[[Any], Any]) -> str:
    """Return the name of a function, and a digest of its code and of the values that it holds."""
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__name__)}"
    text = json.dumps(_held(function, describe, 4), default=str)
    return f"{name} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _held(value: Any, describe: Callable[[Any], Any], depth: int) -> Any:
    """Describe what decides the results of a function: its code, its defaults, and values in it."""
    if depth == 0 or isinstance(value, ModuleType):
        return type(value).__name__
    held = functools.partial(_held, describe=describe, depth=depth - 1)
    if isinstance(value, functools.partial):
        return [held(value.func), *map(held, value.args), {name: held(v) for name, v in value.keywords.items()}]
    for name in ("py_func", "__wrapped__"):  # of a compiler, and of what only wraps
        if not hasattr(value, "__code__") and callable(inner := getattr(value, name, None)):
            return held(inner)
    if hasattr(value, "__func__"):  # a method
        return [held(value.__func__), held(value.__self__)]
    if isinstance(code := getattr(value, "__code__", None), CodeType):
        cells = [_in_cell(cell) for cell in value.__closure__ or ()]
        return [_of_code(code), *map(held, (*(value.__defaults__ or ()), *cells)), held(value.__kwdefaults__ or {})]
    if isinstance(value, Mapping):
        return {str(name): held(each) for name, each in value.items()}
    if callable(value) or (hasattr(value, "__dict__") and not isinstance(value, np.ndarray)):
        own = {} if isinstance(value, type) else getattr(value, "__dict__", {})
        return [type(value).__qualname__, getattr(value, "__qualname__", ""), held(own)]
    return describe(value)


def _in_cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that has no value yet
        return None


def _of_code(code: CodeType) -> list[Any]:
    constants = [_of_code(c) if isinstance(c, CodeType) else _of_constant(c) for c in code.co_consts]
    return [code.co_code.hex(), code.co_names, constants]


def _of_constant(value: Any) -> str:
    """Return the text of a constant, which for sets has no order."""
    return str(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
