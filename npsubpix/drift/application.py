"""Subtract a drift from a table."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import in_library_of, is_table, to_numpy
from npsubpix._arrays.options import check_choice
from npsubpix.results.drift import Drift, DriftFlags

__all__ = ["apply_drift"]

T = TypeVar("T")
Floats = npt.NDArray[np.float64]

_MISSING = ("raise", "drop", "interpolate")


def apply_drift(table: T, drift: Drift, /, *, missing: str = "raise") -> T:
    """Subtract a drift from the positions of a table, and add its standard errors to theirs.

    Parameters
    ----------
    table : Fits, Peaks or Measurements
        The table, with frames: that of `drift_of`, or another one of the same movie.
    drift : Drift
        The drift.
    missing : {"raise", "drop", "interpolate"}, default "raise"
        Rows of frames whose drift is not `ok`. "raise" is an error if there are any, "drop" leaves them out with a
        warning, and "interpolate" takes drifts that are not `ok` as they are, but for those that are not known at all.

    Returns
    -------
    table of the same class
        Positions less the drift of their frames. Standard errors are the roots of the sums of squares, in the columns
        ``coords_std`` and ``z_std``, in the ``ep`` of measurements, and in the covariance. All other columns are those
        of `table`: ``indices`` remain pixels of the movie.

    Raises
    ------
    TypeError
        If an argument is no table or no `Drift`.
    ValueError
        If the table has no frames or no z for a drift along z, or the drift of a row is not known.

    Warns
    -----
    UserWarning
        If rows are left out.

    See Also
    --------
    drift_of : Measure the drift.

    Notes
    -----
    Errors of the drift are shared by all rows of a frame: of a mean over rows, they do not become smaller.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> movie = npsubpix.render_spots([[8.0, 9.0], [20.0, 6.0]], (32, 32), std=1.3)
    >>> movie = np.stack([np.roll(movie, k, axis=1) for k in range(3)])
    >>> peaks = npsubpix.find_peaks(movie, threshold_abs=0.02, frame_axis=0)
    >>> drift = npsubpix.drift_of(peaks, method="tracks", radius=2, reference="first")
    >>> npsubpix.apply_drift(peaks, drift).coords.round(2)
    array([[ 8.,  9.],
           [20.,  6.],
           [ 8.,  9.],
           [20.,  6.],
           [ 8.,  9.],
           [20.,  6.]])
    """
    if not is_table(table):
        raise TypeError(f"table must be a table such as Fits, got {type(table).__name__}")
    if not isinstance(drift, Drift):
        raise TypeError(f"drift must be a Drift, got {type(drift).__name__}")
    check_choice(missing, "missing", _MISSING)
    rows: Any = table
    if rows.frame is None:
        raise ValueError("table must have frames: the drift is one per frame")
    if missing == "drop":
        known = _is_known(rows, drift, missing)
        if not known.all():
            lost = int((~known).sum())
            warnings.warn(f"{lost} of {len(rows)} rows are left out: their drift is not ok", stacklevel=2)
            rows = rows[in_library_of(rows.coords, np.flatnonzero(known))]
    else:
        _require(rows, _is_known(rows, drift, missing))
    moved: T = _moved(rows, drift)
    return moved


def _place(rows: Any, drift: Drift) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the row of the drift for each row of the table, and whether there is one."""
    frame = to_numpy(rows.frame).astype(np.int64)
    place = frame - int(drift.frame[0])
    inside = (place >= 0) & (place < len(drift))
    return np.where(inside, place, 0), inside


def _is_known(rows: Any, drift: Drift, missing: str) -> npt.NDArray[np.bool_]:
    place, inside = _place(rows, drift)
    good = (drift.flags & DriftFlags.NOT_FOUND) == 0 if missing == "interpolate" else drift.ok
    return inside & good[place]


def _require(rows: Any, known: npt.NDArray[np.bool_]) -> None:
    if known.all():
        return
    frame = to_numpy(rows.frame)[~known]
    raise ValueError(
        f"drift is not ok in the frames of {len(frame)} of {len(rows)} rows, from {frame.min()} to {frame.max()}: "
        "leave them out by missing='drop', or look at drift.flag_names()"
    )


def _moved(rows: Any, drift: Drift) -> Any:
    place, _ = _place(rows, drift)
    shift, error = drift.shift[place], drift.shift_std[place]
    ndim = int(rows.coords.shape[1])
    if len(drift.axes) > ndim and getattr(rows, "z", None) is None:
        raise ValueError("drift is along z, which the table has not")
    if len(drift.axes) < ndim:  # along z, nothing was measured
        shift, error = (np.column_stack([np.zeros(len(place)), x]) for x in (shift, error))
    changed: dict[str, Any] = {"coords": to_numpy(rows.coords) - shift[:, -ndim:]}
    if getattr(rows, "coords_std", None) is not None:
        changed["coords_std"] = np.hypot(to_numpy(rows.coords_std), error[:, -ndim:])
    if hasattr(rows, "centroid"):
        changed["centroid"] = to_numpy(rows.centroid) - shift[:, -ndim:]
        changed["ep"] = np.hypot(to_numpy(rows.ep), np.sqrt((error[:, -ndim:] ** 2).mean(axis=1)))
    if shift.shape[1] > ndim:
        changed["z"] = to_numpy(rows.z) - shift[:, 0]
        changed["z_std"] = None if rows.z_std is None else np.hypot(to_numpy(rows.z_std), error[:, 0])
    if getattr(rows, "covariance", None) is not None:
        covariance = np.array(to_numpy(rows.covariance))
        for axis in range(ndim):
            covariance[:, axis, axis] += error[:, axis + shift.shape[1] - ndim] ** 2
        if shift.shape[1] > ndim:  # of a calibrated fit, z follows the position and the flux
            covariance[:, ndim + 1, ndim + 1] += error[:, 0] ** 2
        changed["covariance"] = covariance
    like = rows.coords
    return replace(rows, **{name: None if x is None else in_library_of(like, x) for name, x in changed.items()})
