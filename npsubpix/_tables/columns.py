"""Columns of positions as they are written: their origin, their order, their units."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LENGTH_UNITS", "ORIGINS", "Columns", "arrange", "as_points", "describe", "unit_of"]

Columns = Mapping[str, npt.NDArray[Any]]

#: Names of the origins of coordinates, and the coordinate of the centre of the first pixel in each.
ORIGINS = {"center": 0.0, "corner": 0.5, "fits": 1.0}

#: Units of lengths that columns may have beside pixels, in metres.
LENGTH_UNITS = {"um": 1e-6, "nm": 1e-9}

_POSITIONS = ("z", "y", "x")
_CENTROIDS = tuple(f"{axis}_centroid" for axis in _POSITIONS)
_SIZES = {"sigma", "radius", *(f"{size}_{axis}" for size in ("sigma", "radius") for axis in _POSITIONS)}
_LENGTHS = {*_POSITIONS, *_CENTROIDS, *_SIZES, "sigma_major", "sigma_minor", "width", "size", "ep"}


def arrange(
    columns: Columns,
    *,
    origin: str = "center",
    files: Sequence[str] | None = None,
    extra: Columns | None = None,
    napari: bool = False,
    axes: str = "zyx",
) -> dict[str, npt.NDArray[Any]]:
    """Return columns of positions as they are written: in an origin, with further columns after the measured ones.

    Columns of `axes` are positions in pixels: a column z beside positions of two axes is that of a calibration.
    """
    if origin not in ORIGINS:
        raise ValueError(f"origin must be one of {', '.join(map(repr, ORIGINS))}, got {origin!r}")
    extra = {name: np.asarray(column) for name, column in (extra or {}).items()}
    rows = len(next(iter(columns.values())))
    last = "value" if "value" in columns else next(name for name in columns if name.endswith("_index") or name == "ok")
    for name, column in extra.items():
        if name in columns:
            raise ValueError(f"columns must have names of their own, got {name!r}, which the table has")
        if column.shape != (rows,):
            raise ValueError(f"columns must have one value per row, {rows}, got shape {column.shape} for {name!r}")
    table: dict[str, npt.NDArray[Any]] = {} if files is None else {"file": np.array(files, dtype=object)}
    for name, column in columns.items():
        if name == last and name != "value":
            table |= extra
        table[name] = column + ORIGINS[origin] if name in (*axes, *_CENTROIDS) else column
        if name == "value":
            table |= extra
    return as_points(table, axes) if napari else table


def as_points(columns: Columns, axes: str, first: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Name positions as the CSV files of napari's points do: a frame is their first axis; rows count from `first`."""
    positions = [name for name in ("frame", *axes) if name in columns]
    points = {f"axis-{k}": columns[name] for k, name in enumerate(positions)}
    others = {name: column for name, column in columns.items() if name not in positions}
    return {"index": np.arange(first, first + len(next(iter(columns.values())))), **points, **others}


def describe(axes: str, origin: str = "center") -> dict[str, Any]:
    """Return the metadata that all tables of positions have."""
    from npsubpix import __version__

    return {
        "npsubpix_version": __version__,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "origin": origin,
        "first_pixel_centre": ORIGINS[origin],
        "axes": ", ".join(axes),
        "units": f"pixel ({', '.join(axes)})",
        "indices": "pixels from 0",
    }


def unit_of(name: str, columns: Iterable[str] = ()) -> str | None:
    """Return the unit of one of some columns: that of positions, widths and their standard errors is the pixel.

    Columns in another unit end with its name, as ``x_um`` and ``x_um_std`` do; ``ra`` and ``dec`` are in degrees.
    """
    if name in ("z", "z_std") and "z_std" in columns and "z_index" not in columns:
        return None  # that of a calibration, beside positions of two axes
    quantity = name.removesuffix("_std")
    if quantity in ("ra", "dec"):
        return "deg"
    length, _, unit = quantity.rpartition("_")
    if unit in LENGTH_UNITS and length in {*_POSITIONS, *_SIZES}:
        return unit
    return "pixel" if quantity in _LENGTHS else None
