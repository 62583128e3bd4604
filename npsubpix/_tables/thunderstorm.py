"""CSV files of localizations as ThunderSTORM writes them.

Lengths are in nanometres from the outer corner of the first pixel, and frames are counted from 1. The sum of a spot is
called intensity, and the background per pixel offset.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.options import check_lengths
from npsubpix._tables import OutputError, Pieces, check_table_path, describe, sidecar, write_pieces
from npsubpix._tables.localizations import Localizations, Parts, check_origin

__all__ = ["check_path", "read", "write"]

_NM = {"nm": 1.0, "um": 1000.0, "µm": 1000.0}
_LABEL = re.compile(r"(.*?)\s*(?:\[(.*)\])?\s*")


def check_path(path: Path) -> None:
    """Refuse a path that could not be written to."""
    if path.suffix.lower() != ".csv":
        raise OutputError(f"{path}: the name of a table of ThunderSTORM must end with .csv")
    check_table_path(path)


def write(
    path: str | Path,
    parts: Parts,
    *,
    pixel_size: Any,
    origin: str,
    first_frame: int,
    left_out: int,
    metadata: Mapping[str, Any] | None,
) -> None:
    """Write the table, part by part, and its metadata beside it."""
    path = Path(path)
    first = check_origin(origin)
    check_path(path)
    spots, length, elliptical = next(iter(parts())), 0, False
    for part in parts():
        length += len(part)
        elliptical |= part.z is not None or not np.array_equal(part.sigma[:, 0], part.sigma[:, 1], equal_nan=True)
    volume = spots.slice_spacing is not None
    sizes = np.array(check_lengths(pixel_size, 3 if volume else 2, "pixel_size")[-2:])
    elliptical |= sizes[0] != sizes[1]

    def pieces() -> Iterator[dict[str, Any]]:
        last = 0
        for part in parts():
            columns = {"id": np.arange(last + 1, last + len(part) + 1)}
            last += len(part)
            columns |= _columns(part, first, sizes, first_frame, elliptical)
            yield {name: _with_javas_nan(column) for name, column in columns.items()}

    described = {
        **describe("yx", origin),
        "units": "nm",
        "pixel_size": sizes.tolist(),
        "first_frame": first_frame,
        "frame_shape": spots.frame_shape,
        "rows_left_out": left_out,
        **({"slice_spacing": spots.slice_spacing, "slices": spots.n_slices} if volume else {}),
        **dict(metadata or {}),
    }
    dtypes = {name: column.dtype for name, column in next(pieces()).items()}
    write_pieces(path, Pieces(dtypes, length, {}, pieces), described)


def _columns(spots: Localizations, first: float, sizes: Any, first_frame: int, elliptical: bool) -> dict[str, Any]:
    """Return the columns of spots, but for their numbers."""
    unit = "photon" if spots.flux_unit == "electron" else "ADU"
    positions, widths = (spots.coords + first) * sizes, spots.sigma * sizes
    frame = np.zeros(len(spots), np.int64) if spots.frame is None else spots.frame
    return {
        "frame": frame + first_frame,
        "x [nm]": positions[:, 1],
        "y [nm]": positions[:, 0],
        **({} if spots.z is None else {"z [nm]": spots.z}),
        **({"sigma1 [nm]": widths[:, 1], "sigma2 [nm]": widths[:, 0]} if elliptical else {"sigma [nm]": widths[:, 1]}),
        f"intensity [{unit}]": spots.flux,
        f"offset [{unit}]": spots.background,
        **({"bkgstd [photon]": np.sqrt(np.maximum(spots.background, 0))} if unit == "photon" else {}),
        "uncertainty_xy [nm]": np.sqrt(((spots.coords_std * sizes) ** 2).mean(axis=1)),
        **({} if spots.z_std is None else {"uncertainty_z [nm]": spots.z_std}),
    }


def _with_javas_nan(column: Any) -> Any:
    """Spell NaN as Java reads it; it stops at any other spelling."""
    if column.dtype.kind != "f" or not np.isnan(column).any():
        return column
    return np.where(np.isnan(column), "NaN", column.astype(object))


def read(
    path: str | Path, *, pixel_size: Any, origin: str | None, first_frame: int | None
) -> tuple[Localizations, dict[str, Any]]:
    """Read a table; what the caller does not say is taken from the metadata beside it."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    metadata = json.loads(sidecar(path).read_text(encoding="utf-8")) if sidecar(path).is_file() else {}
    pixel_size = metadata.get("pixel_size") if pixel_size is None else pixel_size
    if pixel_size is None:
        raise ValueError(f"{path}: pixel_size, in nm, is needed: the file does not say it")
    sizes = np.array(check_lengths(pixel_size, 2, "pixel_size"))
    first = check_origin(metadata.get("origin", "corner") if origin is None else origin)
    names, cells = _cells(path)
    columns: dict[str, tuple[Any, str]] = {}
    for k, label in enumerate(names):
        name, unit = _LABEL.fullmatch(label).groups()  # type: ignore[union-attr]
        columns[name] = cells[:, k], (unit or "").strip()

    def column(*names: str) -> tuple[Any, str]:
        """Return the first column there is, and its unit."""
        return next((columns[name] for name in names if name in columns), (np.full(len(cells), np.nan), ""))

    def length(size: float | None, *names: str) -> Any:
        """Return lengths in pixels, or without a size in nanometres."""
        values, unit = column(*names)
        if unit == "px":
            return values if size is not None else values * sizes[1]
        return values * _NM.get(unit, 1.0) / (1.0 if size is None else size)

    def pair(y: tuple[str, ...], x: tuple[str, ...]) -> Any:
        return np.column_stack([length(sizes[0], *y), length(sizes[1], *x)])

    if not {"x", "y"} <= set(columns):
        raise ValueError(f"{path}: has no columns x and y, but {', '.join(names) or 'none'}")
    start = int(metadata.get("first_frame", 1) if first_frame is None else first_frame)
    numbers = column("frame")[0]
    if not (numbers[np.isfinite(numbers)] % 1 == 0).all() or ("frame" in columns and not np.isfinite(numbers).all()):
        raise ValueError(f"{path}: the column frame must hold whole numbers")
    error = ("uncertainty_xy", "uncertainty")
    shape = metadata.get("frame_shape")
    intensity, unit = column("intensity")
    unknown = np.full(len(cells), np.nan)
    return Localizations(
        frame=numbers.astype(np.int64) - start if "frame" in columns else None,
        coords=pair(("y",), ("x",)) - first,
        coords_std=pair(("uncertainty_y", *error), ("uncertainty_x", *error)),
        z=length(None, "z") if "z" in columns else None,
        z_std=length(None, "uncertainty_z") if "z" in columns else None,
        flux=intensity,
        flux_std=unknown,
        background=column("offset")[0],
        background_std=unknown,
        sigma=pair(("sigma2", "sigma"), ("sigma1", "sigma")),
        sigma_std=np.full((len(cells), 2), np.nan),
        chi2=column("chi2")[0],
        n_iters=np.zeros(len(cells), np.int32),
        flux_unit="electron" if unit == "photon" else None,
        frame_shape=None if shape is None else tuple(shape),
        n_slices=metadata.get("slices"),
        slice_spacing=metadata.get("slice_spacing"),
    ), metadata


def _cells(path: Path) -> tuple[list[str], Any]:
    """Return the labels of columns, and the numbers of rows."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        labels = next(csv.reader(file), [])
        rows = (line for line in file if line.strip())
        first = next(rows, None)
        if first is None:
            return labels, np.empty((0, len(labels)))
        try:
            cells = np.loadtxt(_chained(first, rows), delimiter=",", quotechar='"', ndmin=2)
        except ValueError as error:
            raise ValueError(f"{path}: rows must hold numbers: {error}") from None
    if cells.shape[1] != len(labels):
        raise ValueError(f"{path}: has {len(labels)} names of columns, and {cells.shape[1]} numbers in a row")
    return labels, cells


def _chained(first: str, rows: Any) -> Any:
    yield first
    yield from rows
