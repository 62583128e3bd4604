"""What a camera makes of light: counts from electrons, and their noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.checks import check_numbers
from npsubpix._arrays.library import Array, as_array, in_library_of, is_array, moved_beside, to_numpy
from npsubpix._arrays.options import check_finite, check_positive

__all__ = ["Camera", "maps_of", "noise_of_pixels"]


@dataclass(frozen=True, eq=False, repr=False)
class Camera:
    """The calibration of a camera.

    A pixel of ``counts`` holds ``(counts - offset) * electrons_per_count / em_gain`` electrons. Their variance is
    their number, twice that with an EM gain, plus the read noise.

    Parameters
    ----------
    offset : number or array of the shape of a frame, default 0
        Counts without light.
    electrons_per_count : number or array of the shape of a frame, default 1
        Electrons at the output of the camera per count, above 0. Data sheets also list its inverse, in counts per
        electron, under the name of gain.
    read_variance : number or array of the shape of a frame, default 0
        Variance of a pixel without light, in counts squared. Infinite for a pixel that does not count.
    em_gain : number or array of the shape of a frame, default 1
        Electrons at the output per photoelectron, of a camera that multiplies electrons; its excess noise doubles the
        variance of the signal wherever it is above 1. All pixels pass the same register: a map is above 1 at every
        pixel, or at none.

    Attributes
    ----------
    offset, electrons_per_count, read_variance, em_gain : numbers or arrays
        The parameters.
    excess : float
        Variance of the signal per photoelectron: 2 behind an EM gain, else 1.

    See Also
    --------
    fit_spots : Fit spots in the images of a camera.

    Examples
    --------
    >>> import npsubpix
    >>> npsubpix.Camera(offset=100, electrons_per_count=0.45, read_variance=10)
    Camera(offset=100, electrons_per_count=0.45, read_variance=10, em_gain=1)
    """

    offset: float | Array = 0
    electrons_per_count: float | Array = 1
    read_variance: float | Array = 0
    em_gain: float | Array = 1

    def __post_init__(self) -> None:
        """Check values: numbers and maps must be finite, factors above 0 and variances not below 0."""
        _check(self.offset, "offset", lambda x: (x > -np.inf) & (x < np.inf), "finite")
        _check(self.electrons_per_count, "electrons_per_count", lambda x: (x > 0) & (x < np.inf), "positive and finite")
        _check(self.read_variance, "read_variance", lambda x: x >= 0, "at least 0")
        _check(self.em_gain, "em_gain", lambda x: (x > 0) & (x < np.inf), "positive and finite")
        multiplies = self._multiplies()
        if multiplies.any() and not multiplies.all():
            raise ValueError("em_gain must be above 1 at every pixel or at none, since all pass the same register")

    @property
    def excess(self) -> float:
        """Variance of the signal per photoelectron: 2 behind an EM gain, else 1."""
        return 2.0 if self._multiplies().any() else 1.0

    def _multiplies(self) -> npt.NDArray[np.bool_]:
        return np.asarray(to_numpy(check_numbers(self.em_gain, "em_gain")) > 1)

    def __repr__(self) -> str:
        names = ("offset", "electrons_per_count", "read_variance", "em_gain")
        return f"Camera({', '.join(f'{name}={_described(getattr(self, name))}' for name in names)})"


def maps_of(camera: Camera | None, image: Array) -> tuple[Any, Any, Any, Any]:
    """Return offset, electrons per count, read variance and EM gain, those of the host beside an image on a GPU."""
    if camera is None:
        return None, None, None, None
    return (
        moved_beside(camera.offset, image),
        moved_beside(camera.electrons_per_count, image),
        moved_beside(camera.read_variance, image),
        moved_beside(camera.em_gain, image),
    )


def noise_of_pixels(error: Any, camera: Any, name: str = "error") -> tuple[Any, Any, Any, Any]:
    """Require the standard deviation of the noise, or a camera, or neither; return what operations take.

    That is the standard deviation, and offset, electrons per count, such that the variance of a pixel in counts squared
    is its height above the offset divided by them, and read variance of the camera. `name` is that of `error`.
    """
    if camera is None:
        known = isinstance(error, (int, float)) and not is_array(error)
        return (check_finite(check_positive(error, name), name) if known else error), None, None, None
    if not isinstance(camera, Camera):
        raise TypeError(f"camera must be a Camera or None, got {camera!r}")
    if error is not None:
        raise ValueError("error and camera exclude each other: a camera says what the noise of each pixel is")
    return None, camera.offset, _per_count(camera) / camera.excess, camera.read_variance


def _per_count(camera: Camera) -> Any:
    """Return photoelectrons per count, in the library of the EM gain if that is a map."""
    factor, gain = camera.electrons_per_count, camera.em_gain
    if not is_array(gain):
        return (as_array(factor, "electrons_per_count") if is_array(factor) else factor) / gain
    return (in_library_of(gain, to_numpy(factor)) if is_array(factor) else factor) / as_array(gain, "em_gain")


def _check(value: Any, name: str, is_right: Callable[[Any], Any], needed: str) -> None:
    """Require a number, or an array of numbers, within limits."""
    numbers = to_numpy(check_numbers(value, name))
    if numbers.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {numbers.dtype}")
    wrong = ~is_right(numbers)
    if wrong.any():
        raise ValueError(f"{name} must be {needed}, got {numbers[wrong].flat[0]}")


def _described(value: Any) -> str:
    shape = tuple(getattr(value, "shape", ()))
    return f"<array of shape {shape}>" if shape else str(value)
