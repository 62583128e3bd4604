"""Blobs of any size: extrema in space and scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays.library import Array, as_image, with_gaps_filled, without_booleans
from npsubpix._arrays.options import check_bool, check_choice, check_count, check_finite, check_per_axis, check_positive
from npsubpix._arrays.stacks import check_frame_axis, check_stack, refuse_delayed, shape_of_frame
from npsubpix._definitions.blob_search import BlobSearch
from npsubpix._dispatch.call import call
from npsubpix.background import local_background
from npsubpix.blobs.fitted import fitted
from npsubpix.blobs.options import check_scales
from npsubpix.results import Background, Blobs

__all__ = ["find_blobs"]

_SNR = 5.0  # threshold, if none is given


def find_blobs(
    image: Array,
    /,
    min_sigma: float | tuple[float, ...],
    max_sigma: float | tuple[float, ...],
    *,
    scales_per_octave: int = 3,
    method: str = "log",
    dark: bool | str = False,
    threshold_abs: float | None = None,
    threshold_rel: float | None = None,
    threshold_snr: float | None = None,
    noise: float | Array | Background | None = None,
    edge_ratio: float | None = 10.0,
    overlap: float = 0.5,
    spacing: float | tuple[float, ...] | None = None,
    num_blobs: int | None = None,
    exclude_border: bool | int | tuple[int, ...] = False,
    mask: Array | None = None,
    refine: str = "quadratic",
    frame_axis: int | None = None,
) -> Blobs:
    """Find blobs of a range of sizes: position, size and height of each."""
    refuse_delayed(image, "find_blobs")
    x, mask = as_image(image, mask, frame_axis=frame_axis)
    x = without_booleans(x)
    ndim = check_stack(x, frame_axis)
    axis = None if frame_axis is None else check_frame_axis(frame_axis, x.ndim)
    shape = shape_of_frame(x, frame_axis)
    plan, per_axis = check_scales(min_sigma, max_sigma, scales_per_octave, method, spacing, shape)
    check_choice(refine, "refine", ("quadratic", "fit"))
    thresholds = [
        None if value is None else _check_threshold(value, name)
        for name, value in (
            ("threshold_abs", threshold_abs), ("threshold_rel", threshold_rel), ("threshold_snr", threshold_snr)
        )
    ]  # fmt: skip
    if all(value is None for value in thresholds):
        thresholds[2] = _SNR
    search = BlobSearch(
        plan, _signs(dark), *thresholds,
        edge_ratio=None if edge_ratio is None else _check_ratio(edge_ratio),
        overlap=_check_share(overlap),
        num_blobs=None if num_blobs is None else check_count(num_blobs, "num_blobs"),
        exclude_border=_border(exclude_border, ndim),
        per_axis=per_axis,
    )  # fmt: skip
    if isinstance(noise, Background):
        noise = noise.noise
    if noise is not None and not hasattr(noise, "shape"):
        noise = _check_noise(noise)
    filled = with_gaps_filled(x, mask, axis, lambda: local_background(x, mask=mask, frame_axis=frame_axis).level)
    columns = call(
        "find_blobs", x, None if filled is x else filled, mask, noise, frame_axis=frame_axis, search=search
    )  # fmt: skip
    coords, sigma, amplitude, snr, value, flags, frame, *errors = columns
    frames = None if frame_axis is None else frame
    found = Blobs(coords, sigma, amplitude, snr, value, flags, frames, shape, *errors)
    return found if refine == "quadratic" else fitted(found, x, mask, noise, frame_axis)


def _check_threshold(value: Any, name: str) -> float:
    number = check_finite(value, name)
    if number < 0:
        raise ValueError(f"{name} must be at least 0, got {number}")
    return number


def _check_noise(value: Any) -> float:
    number = check_finite(value, "noise")
    if number < 0:
        raise ValueError(f"noise must be at least 0, got {number}")
    return number


def _check_ratio(value: Any) -> float:
    number = check_positive(value, "edge_ratio")
    if number < 1:
        raise ValueError(f"edge_ratio must be at least 1, got {number}")
    return number


def _check_share(value: Any) -> float:
    number = check_finite(value, "overlap")
    if not 0 <= number <= 1:
        raise ValueError(f"overlap must be from 0 to 1, got {number}")
    return number


def _signs(dark: Any) -> tuple[int, ...]:
    if isinstance(dark, str):
        check_choice(dark, "dark", ("both",))
        return (1, -1)
    return (-1,) if check_bool(dark, "dark") else (1,)


def _border(exclude_border: Any, ndim: int) -> tuple[int, ...] | None:
    if isinstance(exclude_border, (bool, np.bool_)):
        return None if exclude_border else (0,) * ndim
    return check_per_axis(exclude_border, ndim, "exclude_border")
