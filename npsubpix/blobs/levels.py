"""Scale spaces: an image filtered at many widths, one level at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from npsubpix._arrays.library import Array, as_array, as_floats, without_booleans
from npsubpix._definitions.scale_levels import triples
from npsubpix._dispatch.call import call
from npsubpix.blobs.options import check_scales

__all__ = ["ScaleLevel", "scale_space"]


class ScaleLevel(NamedTuple):
    """A level of a scale space.

    Attributes
    ----------
    sigma : tuple of floats
        Standard deviation, in pixels of the image per axis, of the Gaussian blobs that answer most.
    step : tuple of ints
        Pixels of the image between two pixels of the response, per axis: pixel i of the response is at ``i * step``.
    response : array of ndim dimensions
        Response of the filter, positive at bright blobs, float32.
    """

    sigma: tuple[float, ...]
    step: tuple[int, ...]
    response: Array


def scale_space(
    image: Array,
    /,
    min_sigma: float | tuple[float, ...],
    max_sigma: float | tuple[float, ...],
    *,
    scales_per_octave: int = 3,
    method: str = "log",
    spacing: float | tuple[float, ...] | None = None,
) -> Iterator[ScaleLevel]:
    """Filter an image for blobs of a range of sizes, one level at a time.

    Parameters
    ----------
    image : array of two or three dimensions
        Image, of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host. Pixels that are not finite make
        those around them so.
    min_sigma, max_sigma, scales_per_octave, method, spacing
        As for `find_blobs`.

    Yields
    ------
    ScaleLevel
        Widths, the step of the grid and the response, from the narrowest level to the widest. Up to a width of the
        Gaussian of 3.2 pixels a level has every pixel of the image; then every second one, and so on.

    Raises
    ------
    TypeError, ValueError
        As for `find_blobs`.

    See Also
    --------
    find_blobs : Blobs are the extrema of the levels.
    laplacian_of_gaussian : The filter of one width, in every pixel.

    Notes
    -----
    Each level is smoothed from the one before, so that no more than a few images are in memory. Responses are in units
    of the image: at the centre of a Gaussian blob of width s and height A in n dimensions the Laplacian of the level of
    width s is ``2 * A * (1 + 2 / n) ** (-n / 2 - 1)``, 0.5 A in images and 0.558 A in volumes. The determinant of the
    Hessian is reported as its n-th root, times n, which is the Laplacian of a round blob, and 0 where the curvatures
    have different signs.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> image = np.zeros((64, 64))
    >>> image[20, 30] = 100
    >>> for level in npsubpix.scale_space(image, 2, 8, scales_per_octave=1):
    ...     print(level.sigma[0], level.step, tuple(level.response.shape))
    2.0 (1, 1) (64, 64)
    4.0 (1, 1) (64, 64)
    8.0 (2, 2) (32, 32)
    """
    x = without_booleans(as_array(image, "image"))
    if x.ndim not in (2, 3):
        raise ValueError(f"image must have 2 or 3 dimensions, got shape {tuple(x.shape)}")
    plan, _ = check_scales(min_sigma, max_sigma, scales_per_octave, method, spacing, tuple(map(int, x.shape)))
    return _levels(x, plan)


def _levels(x: Array, plan: Any) -> Iterator[ScaleLevel]:
    if 0 in x.shape:
        return
    images = [as_floats(x, "float32")]
    del x
    for level, step, held in triples(_Calls(), images, plan):
        yield ScaleLevel(tuple(plan.widths[level] * r for r in plan.ratios), step, held[1])


class _Calls:
    """Levels of arrays of any library, one call each."""

    def smooth(self, x: Array, lines: Any) -> Array:
        return call("smooth_level", x, lines=lines)[0]

    def respond(self, x: Array, method: str, factors: tuple[float, ...]) -> Array:
        return call("respond_level", x, method=method, factors=factors)[0]

    def subtract(self, x: Array, y: Array) -> Array:
        return x - y

    def shrink(self, x: Array, factors: tuple[int, ...]) -> Array:
        return x[tuple(slice(None, None, f) for f in factors)]
