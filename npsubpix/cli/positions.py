"""Read positions from tables of any format that is written, and of programs that name columns alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._tables import ORIGINS
from npsubpix._tables.localizations import package
from npsubpix._tables.reading import read_columns

if TYPE_CHECKING:
    from npsubpix.results import Fits

__all__ = ["Positions", "program_of", "read_fits", "read_positions"]

_AXES = ("z", "y", "x")


class Positions(NamedTuple):
    """Positions from the centre of the first pixel, their frames and standard errors; None where there are none."""

    coords: npt.NDArray[np.float64]
    frame: npt.NDArray[np.int64] | None
    coords_std: npt.NDArray[np.float64] | None
    n_rejected: int
    note: str = ""


def read_positions(
    path: Path, *, origin: str | None = None, only_ok: bool = False, pixel_size: Any = None
) -> Positions:
    """Read the columns z, y, x and frame of a table, and the errors z_std, y_std and x_std.

    Files of picasso and ThunderSTORM are read in their own units, with the size of a pixel if they do not say it.

    Without `origin`, positions are in that of the metadata, or else from the centre of the first pixel. With `only_ok`,
    rows whose column ``ok`` is false are left out.
    """
    program = program_of(path)
    if program is not None:
        return _localizations(path, program, origin, pixel_size)
    columns, metadata = read_columns(path)
    axes = [axis for axis in _AXES if axis in columns]
    if axes[-2:] != ["y", "x"]:
        raise ValueError(f"{path}: has no columns y and x, but {', '.join(columns) or 'none'}")
    first = ORIGINS[origin] if origin is not None else float(metadata.get("first_pixel_centre", 0.0))
    coords = np.column_stack([_numbers(columns[axis], axis, path) for axis in axes]) - first
    kept = np.ones(len(coords), bool)
    if only_ok and "ok" in columns:
        kept = np.isin(np.asarray(columns["ok"]).astype(str), ("True", "true", "1"))
    frame = None
    if "frame" in columns:
        numbers = _numbers(columns["frame"], "frame", path)
        if not (numbers == np.rint(numbers)).all():
            raise ValueError(f"{path}: the column frame must hold whole numbers")
        frame = numbers.astype(np.int64)[kept]
    std = None
    if all(f"{axis}_std" in columns for axis in axes):
        std = np.column_stack([_numbers(columns[f"{axis}_std"], f"{axis}_std", path) for axis in axes])[kept]
    return Positions(coords[kept], frame, std, int((~kept).sum()))


def program_of(path: Path) -> str | None:
    """Return the program whose table a file is, or None for one of npsubpix."""
    suffix = path.suffix.lower()
    if not path.is_file():
        return None
    if suffix in (".hdf5", ".h5"):
        with package("h5py", "reading .h5 files", "app").File(path) as file:
            return "picasso" if "locs" in file else None
    if suffix == ".csv":
        with path.open(encoding="utf-8-sig") as file:
            return "thunderstorm" if "x [" in file.readline() else None
    return None


def read_fits(path: Path, program: str, origin: str | None, pixel_size: Any) -> Fits:
    """Read the localizations of another program."""
    from npsubpix.io import read_picasso, read_thunderstorm

    if program == "picasso":
        return read_picasso(path, origin=origin)
    lateral = pixel_size[-2:] if isinstance(pixel_size, tuple) else pixel_size
    return read_thunderstorm(path, pixel_size=lateral, origin=origin)


def _localizations(path: Path, program: str, origin: str | None, pixel_size: Any) -> Positions:
    fits = read_fits(path, program, origin, pixel_size)
    std = fits.coords_std if np.isfinite(fits.coords_std).any() else None
    note = "" if fits.z is None else f"{path}: note: positions along z, which are in nm, are not compared"
    return Positions(fits.coords, fits.frame, std, 0, note)


def _numbers(column: Any, name: str, path: Path) -> npt.NDArray[np.float64]:
    values = np.asarray(column)
    try:
        if values.dtype.kind in "OUS":
            values = np.where(values == "", "nan", values)
        return values.astype(np.float64)
    except ValueError:
        raise ValueError(f"{path}: the column {name} must hold numbers") from None
