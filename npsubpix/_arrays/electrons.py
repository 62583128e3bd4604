"""The noise of the counts of a camera."""

from __future__ import annotations

from typing import Any

from npsubpix._arrays.checks import check_numbers
from npsubpix._arrays.library import Array, as_array, as_floats, in_library_of, is_array, is_on_gpu, kind_of, working_on

__all__ = ["noise_of_counts"]


def noise_of_counts(
    counts: Array, offset: Any, electrons_per_count: Any, read_variance: Any, frame_axis: int | None
) -> Array:
    """Return the standard deviation of each pixel, in counts; the electrons per count include gain and excess noise."""
    x = as_floats(counts, "float64")
    with working_on(x):
        factor = _of_pixels(electrons_per_count, "electrons_per_count", x, frame_axis)
        photons = (x - _of_pixels(offset, "offset", x, frame_axis)).clip(0) / factor
        return (photons + _of_pixels(read_variance, "read_variance", x, frame_axis)) ** 0.5


def _of_pixels(value: Any, name: str, x: Array, frame_axis: int | None) -> Any:
    """Require a number, or a map of a frame; return it beside the image, such that both can be added."""
    numbers = check_numbers(value, name)
    if not is_array(numbers):
        return numbers
    shape = tuple(n for k, n in enumerate(x.shape) if frame_axis is None or k != frame_axis % x.ndim)
    values = as_array(numbers, name)
    if tuple(values.shape) not in ((), shape):
        raise ValueError(f"{name} must be a number or have the shape of a frame, {shape}, got {tuple(values.shape)}")
    if not is_on_gpu(values, kind_of(values)):
        values = in_library_of(x, values)
    if frame_axis is None or values.ndim == 0:
        return values
    return values[(slice(None),) * (frame_axis % x.ndim) + (None,)]
