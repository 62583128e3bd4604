"""Localizations of a movie, as the drift is measured from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.checks import check_frames_of, check_positions, check_reals, column_of
from npsubpix._arrays.library import as_array, to_numpy

__all__ = ["Localizations", "localizations_of"]

Floats = npt.NDArray[np.float64]

#: Widths of the Gaussian where there are no standard errors, in pixels, and the least one.
_WIDTH, _LEAST_WIDTH = 0.3, 0.05

#: Numbers of frames beyond this are those of a clock, or of missing values.
_MOST_FRAMES = 10**8


class Localizations(NamedTuple):
    """Rows that the drift is measured from, in the order of frames."""

    points: Floats
    std: Floats | None
    frame: npt.NDArray[np.int64]
    axes: tuple[str, ...]
    n_rows: int
    first: int  # frames of all rows of the table, not of those used alone
    last: int

    def widths(self) -> Floats:
        """Return twice the median standard error along each axis, or else a typical one."""
        if self.std is None:
            return np.full(len(self.axes), _WIDTH)
        return np.array([_width(column, axis) for column, axis in zip(self.std.T, self.axes, strict=True)])


def _width(std: Floats, axis: str) -> float:
    known = std[np.isfinite(std) & (std > 0)]
    if not known.size:
        return _WIDTH
    width = 2 * float(np.median(known))
    return width if axis == "z" else max(width, _LEAST_WIDTH)


def localizations_of(table: Any, frame: Any, coords_std: Any, axes: str | None) -> Localizations:
    """Return the rows of a table, or of arrays, that have a position and are `ok`."""
    points = np.asarray(to_numpy(check_reals(check_positions(table, "table"), "table")), np.float64)
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise ValueError(f"table must have positions of shape (N, 2) or (N, 3), got {points.shape}")
    names = ("z", "y", "x")[-points.shape[1] :]
    given = getattr(table, "coords_std", None) if coords_std is None else coords_std
    std = None if given is None else np.asarray(to_numpy(check_reals(given, "coords_std")), np.float64)
    if std is not None and std.shape != points.shape:
        raise ValueError(f"coords_std must have the shape of the positions, {points.shape}, got {std.shape}")
    if getattr(table, "z", None) is not None and len(names) == 2:
        points = np.column_stack([np.asarray(to_numpy(table.z), np.float64), points])
        depth = (
            np.asarray(to_numpy(table.z_std), np.float64) if table.z_std is not None else np.full(len(points), np.nan)
        )
        std = np.column_stack([depth, np.full((len(points), 2), np.nan) if std is None else std])
        names = ("z", "y", "x")
    frames = _frames(table, frame, len(points))
    kept = [names.index(name) for name in _chosen(axes, names)]
    points, std = points[:, kept], None if std is None else std[:, kept]
    good = np.isfinite(points).all(axis=1)
    if (ok := column_of(table, "ok")) is not None:
        good &= np.asarray(to_numpy(ok), bool)
    first, last = int(frames.min()), int(frames.max())
    if first == last:
        raise ValueError(f"frame must hold at least two frames, got {first} alone")
    if last - first >= _MOST_FRAMES:
        raise ValueError(
            f"frame must span at most {_MOST_FRAMES} frames, each of which has a drift: got {first} to {last}"
        )
    order = np.flatnonzero(good)[np.argsort(frames[good], kind="stable")]
    chosen = tuple(names[k] for k in kept)
    rows_std = None if std is None or not np.isfinite(std).any() else std[order]
    return Localizations(points[order], rows_std, frames[order], chosen, len(points), first, last)


def _frames(table: Any, frame: Any, count: int) -> npt.NDArray[np.int64]:
    """Require the frame of each row."""
    known = check_frames_of(table, frame)
    if known is None:
        raise ValueError("frame must give the frame of each row: the table has none")
    frames = to_numpy(as_array(known, "frame"))
    if frames.shape != (count,):
        raise ValueError(f"frame must have shape ({count},), one number per row, got {frames.shape}")
    if count == 0:
        raise ValueError("table must hold rows of at least two frames, got none")
    if frames.dtype.kind not in "iu":
        raise TypeError(f"frame must hold integers, got dtype {frames.dtype}")
    return frames.astype(np.int64)


def _chosen(axes: str | None, names: tuple[str, ...]) -> str:
    """Require axes that there are; y and x are always among them."""
    if axes is None:
        return "".join(names)
    if axes not in ("yx", "zyx"):
        raise ValueError(f"axes must be 'yx' or 'zyx', got {axes!r}")
    if len(axes) > len(names):
        raise ValueError("axes must be 'yx': the table has no z")
    return axes
