"""Counts of a camera as electrons, with their noise."""

from __future__ import annotations

from typing import Any

from npsubpix._arrays.checks import check_numbers
from npsubpix._arrays.library import Array, as_array, as_floats, in_library_of, is_array, is_on_gpu, kind_of, working_on

__all__ = ["electrons_and_noise", "noise_of_counts"]


def electrons_and_noise(
    counts: Array, offset: Any, electrons_per_count: Any, read_variance: Any, em_gain: float, frame_axis: int | None
) -> tuple[Array, Array]:
    """Return the photoelectrons of an image, or of a stack of images, and the standard deviation of each pixel.

    The calibration is in numbers, or in maps of the shape of a frame, and the read variance in counts squared. An EM
    gain doubles the variance of electrons, of which pixels below the offset are taken to have none.
    """
    x = as_floats(counts, "float64")
    with working_on(x):
        zero = _of_pixels(offset, "offset", x, frame_axis)
        factor = _of_pixels(electrons_per_count, "electrons_per_count", x, frame_axis) / em_gain
        reading = _of_pixels(read_variance, "read_variance", x, frame_axis) * factor**2
        electrons = (x - zero) * factor
        noise = ((2.0 if em_gain > 1 else 1.0) * electrons.clip(0) + reading) ** 0.5
    return electrons, noise


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
