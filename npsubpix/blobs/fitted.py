"""Blobs whose positions, widths and heights are those of fits of Gaussians."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.home import home_of
from npsubpix._arrays.library import Array, in_library_of, moveaxis, to_numpy
from npsubpix._definitions.blends import near_others, reach_of_fits
from npsubpix._definitions.blob_rows import BLOB_NOT_OK
from npsubpix._definitions.fitting import box_for
from npsubpix._definitions.flags import DOUBTFUL, FIT_REJECTED, REJECTED, PeakFlags
from npsubpix._definitions.refinement import flags_of_fits
from npsubpix.fitting import fit_spots
from npsubpix.results import Blobs, Fits

__all__ = ["boxes_of_fits", "fitted"]

_PIXEL = 1 / 12  # variance that the integration over a pixel adds to a fitted Gaussian

Columns = dict[str, npt.NDArray[Any]]


def fitted(
    found: Blobs, image: Array, mask: Array | None, noise: Any, frame_axis: int | None, negative: Array | None = None
) -> Blobs:
    """Fit a Gaussian to each blob of a table; those that cannot be fitted keep their rows, and have a flag.

    Each frame is fitted by itself, lest its rows depend on those of others. `negative` is the negative of an image, if
    it is not to be made of it.
    """
    names = ("coords", "sigma", "amplitude", "flags")
    columns: Columns = {name: np.array(to_numpy(getattr(found, name))) for name in names}
    columns |= {f"{name}_std": np.full(columns[name].shape, math.nan) for name in names[:3]}
    noise = noise if hasattr(noise, "shape") or noise else None
    if frame_axis is None or found.frame is None:
        _fit_rows(columns, np.arange(len(found)), image, mask, noise, negative)
    else:
        frames = to_numpy(found.frame)
        for frame in np.unique(frames).tolist():
            own = [_of_frame(x, frame, frame_axis, image.ndim) for x in (image, mask, noise)]
            _fit_rows(columns, np.flatnonzero(frames == frame), *own)
    home = home_of(found.coords)
    back = home.give_back if home.library == "jax" else functools.partial(in_library_of, found.coords)
    return replace(found, **{name: back(column) for name, column in columns.items()})


def _of_frame(value: Any, frame: int, frame_axis: int, ndim: int) -> Any:
    """Return the frame of a stack, of dimensions as many as the image; a map of all frames as it is."""
    return moveaxis(value, frame_axis, 0)[frame] if getattr(value, "ndim", 0) == ndim else value


def boxes_of_fits(sigma: npt.NDArray[Any], ndim: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the widths per axis of blobs, and the boxes that are fitted."""
    widths = np.broadcast_to(sigma[:, None] if sigma.ndim == 1 else sigma, (len(sigma), ndim))
    return widths, np.array([box_for(tuple(row), ndim) for row in widths]).reshape(-1, ndim)


def _fit_rows(
    columns: Columns, rows: npt.NDArray[np.int64], image: Array, mask: Array | None, noise: Array | float | None,
    negative: Array | None = None,
) -> None:  # fmt: skip
    """Fit the blobs of an image, which have these rows."""
    ndim, starts = columns["coords"].shape[1], columns["coords"][rows]
    widths, boxes = boxes_of_fits(columns["sigma"][rows], ndim)
    dark, reach = columns["amplitude"][rows] < 0, np.full(len(rows), math.nan)
    groups, found = np.column_stack([boxes, dark]), np.zeros(len(rows), np.int32)
    for group in np.unique(groups, axis=0):
        at = np.flatnonzero((groups == group).all(axis=1))
        fits = fit_spots(
            image if not group[-1] else negative if negative is not None else 0.0 - image,
            in_library_of(image, columns["coords"][rows[at]]),
            width="free" if ndim == 2 and columns["sigma"].ndim == 1 else "elliptical",
            sigma=tuple(np.sqrt(np.maximum(np.median(widths[at], axis=0) ** 2 - _PIXEL, 0.1)).tolist()),
            box=tuple(group[:-1].tolist()),
            error=noise,
            mask=mask,
            max_shift=max(1.5, 0.5 * float(widths[at].max())),
            covariance=True,
        )
        found[at] = flags_of_fits(to_numpy(fits.flags))
        reach[at] = to_numpy(reach_of_fits(fits))
        _replace_rows(columns, rows[at], fits, -1.0 if group[-1] else 1.0)
    # Blobs of all sizes are neighbours, though those of one box are fitted at a time
    found |= np.where(near_others(starts, dark, reach), int(PeakFlags.BLENDED), 0).astype(np.int32)
    own = columns["flags"][rows]
    right = (found & int(REJECTED | DOUBTFUL)) == 0  # a fit that warns does not do away with doubts
    columns["flags"][rows] = np.where(right, own & ~int(BLOB_NOT_OK), own | found)


def _replace_rows(columns: Columns, rows: npt.NDArray[np.int64], fits: Fits, sign: float) -> None:
    """Write the results of fits to rows of a table, but for their flags."""
    ndim = fits.ndim
    good = (to_numpy(fits.flags) & int(FIT_REJECTED)) == 0
    at = rows[good]
    sigma = to_numpy(fits.sigma)[good]
    count = 1 if sigma.ndim == 1 else ndim
    shown = np.sqrt(sigma.reshape(-1, count) ** 2 + _PIXEL)
    ratio = sigma.reshape(-1, count) / shown
    per_axis = np.broadcast_to(shown, (len(at), ndim))
    flux = to_numpy(fits.flux)[good]
    covariance = to_numpy(fits.covariance)[good][:, : ndim + 1 + count, : ndim + 1 + count]
    height = flux / (math.tau ** (0.5 * ndim) * per_axis.prod(axis=1))
    slopes = np.zeros((len(at), ndim + 1 + count))
    slopes[:, ndim] = height / flux
    slopes[:, ndim + 1 :] = -(ndim / count) * (height[:, None] * ratio / shown)
    columns["coords"][at] = to_numpy(fits.coords)[good]
    columns["coords_std"][at] = to_numpy(fits.coords_std)[good]
    columns["amplitude"][at] = sign * height
    columns["amplitude_std"][at] = np.sqrt(np.einsum("ni,nij,nj->n", slopes, covariance, slopes))
    errors = ratio * to_numpy(fits.sigma_std)[good].reshape(-1, count)
    if columns["sigma"].ndim > 1:
        columns["sigma"][at], columns["sigma_std"][at] = shown, errors
    else:
        columns["sigma"][at] = shown.prod(axis=1) ** (1 / count)
        columns["sigma_std"][at] = columns["sigma"][at] * np.sqrt(((errors / shown) ** 2).sum(axis=1)) / count
