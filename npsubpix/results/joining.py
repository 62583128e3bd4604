"""Join tables, row after row."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np

from npsubpix._arrays.library import Array, in_library_of, join

__all__ = ["joined_columns"]


def joined_columns(cls: Any, tables: list[Any], frame: Iterable[int] | None) -> dict[str, Any]:
    """Return the fields of the table of all rows; `frame` is that of each table."""
    if not tables:
        raise ValueError("tables must hold at least one table, got none")
    for table in tables:
        if not isinstance(table, cls):
            raise TypeError(f"tables must be {cls.__name__}, got {type(table).__name__}")
    joined: dict[str, Any] = {}
    for field in fields(cls):
        values = [getattr(table, field.name) for table in tables]
        if field.name in cls._OF_TABLE:
            joined[field.name] = _shared(field.name, values)
        elif field.name == "frame" and frame is not None:
            joined[field.name] = _frames(tables, frame)
        elif field.name not in cls._DROPPED:
            joined[field.name] = _column(field.name, values)
    return joined


def _shared(name: str, values: list[Any]) -> Any:
    """Return what all tables say of themselves, or None."""
    if all(value == values[0] for value in values):
        return values[0]
    if name == "flux_unit":
        raise ValueError(f"tables must have fluxes of one unit, got {', '.join(map(repr, values))}")
    return None


def _column(name: str, values: list[Any]) -> Array | None:
    if all(value is None for value in values):
        return None
    shapes = [None if value is None else tuple(value.shape[1:]) for value in values]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"tables must have the same columns, got rows of shapes {shapes} for {name}")
    return join(values, 0)


def _frames(tables: list[Any], frame: Iterable[int]) -> Array:
    """Return the frame of each row of tables of single images."""
    numbers = [operator.index(number) for number in frame]
    if len(numbers) != len(tables):
        raise ValueError(f"frame must have one item per table, got {len(numbers)} for {len(tables)} tables")
    if any(table.frame is not None for table in tables):
        raise ValueError("frame must be None: the tables have frames of their own")
    return in_library_of(tables[0].coords, np.repeat(np.array(numbers, np.int64), [len(table) for table in tables]))
