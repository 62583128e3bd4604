"""Fits of the spots of a block of frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.fitting import fit_spots
from npsubpix.results import Fits, Peaks

__all__ = ["fitted", "pools_noise"]


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
