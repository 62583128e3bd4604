"""Fits of the spots of a block of frames, or of a frame of which only a part is in memory."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.fitting.spots import fit_of, fit_spots, run_fits
from npsubpix.results import Fits, Peaks

__all__ = ["fitted", "fitted_in_frame", "pools_noise"]


def pools_noise(fit: Mapping[str, Any]) -> bool:
    """Whether standard errors depend on all spots of a call, as those of least squares do where noise is not known."""
    estimator = fit.get("estimator", "auto")
    return estimator == "lsq" or (estimator == "auto" and fit.get("error") is None and fit.get("camera") is None)


def fitted(image: HostArray, peaks: Peaks, fit: Mapping[str, Any], frame_axis: int | None) -> Fits:
    """Fit the spots of a block; those whose errors depend on each other frame by frame, however blocks are cut."""
    if frame_axis is None or not pools_noise(fit) or not len(peaks):
        return fit_spots(image, peaks, **fit, frame_axis=frame_axis)
    frames = np.asarray(peaks.frame)
    starts = np.searchsorted(frames, np.arange(len(image) + 1))
    parts = []
    for k in np.unique(frames).tolist():
        own = peaks[starts[k] : starts[k + 1]]
        beside = {n: _of_frame(fit.get(n), k, image) for n in ("mask", "error") if fit.get(n) is not None}
        fits = fit_spots(image[k], dataclasses.replace(own, frame=None), **{**fit, **beside})
        parts.append(dataclasses.replace(fits, frame=own.frame))
    return Fits.concatenate(parts)


def _of_frame(value: Any, number: int, image: HostArray) -> Any:
    return value[number] if np.ndim(value) == image.ndim else value


def fitted_in_frame(
    image: HostArray, coords: HostArray, fit: Mapping[str, Any], mask: HostArray | None, noise: tuple[Any, ...]
) -> Fits:
    """Fit spots of an array of a whole frame that holds a part of it, with maps of the noise that do so, too.

    These are the error, and offset, electrons per count, read variance and EM gain of the camera. The values of maps
    were checked before; here they are 0 outside of the part.
    """
    names = inspect.signature(fit_of).parameters
    defaults = {n: p.default for n, p in inspect.signature(fit_spots).parameters.items() if n in names}
    options = {**defaults, **{name: value for name, value in fit.items() if name != "mask"}}
    own, measured = fit_of(image.ndim, image.shape, **options)
    error, *maps = noise
    return run_fits(image, coords, None, mask, error, options["camera"], measured, own, None, None, tuple(maps))
