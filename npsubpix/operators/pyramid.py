"""Scale pyramids: octaves of an image, each with levels of increasing smoothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from npsubpix._arrays.checks import check_ndim
from npsubpix._arrays.home import home_of
from npsubpix._arrays.library import Array, HostArray
from npsubpix._arrays.namespace import at_least_single, constants_like, float_array, namespace_of
from npsubpix.convolution import convolve_separable
from npsubpix.operators._options import Operator

__all__ = ["ScalePyramid"]


@dataclass
class ScalePyramid(Operator):
    r"""Smooth images to levels of a scale space, in octaves of half the size of the previous one.

    Parameters
    ----------
    n_levels : int, default 3
        Levels per octave: from one level to the next, the standard deviation of the smoothing grows by a factor of
        :math:`2^{1 / n}`.
    init_sigma : float, default 1.6
        Standard deviation of the smoothing of the first level of each octave, in pixels of that octave.
    min_size : int, default 15
        An octave has more pixels than this along each axis, except for the first one.
    double_image : bool, default False
        Enlarge images twice for the first octave.
    extra_levels : int, default 3
        Further levels of each octave, at which extrema are compared with the next one. A detector needs 2, and 3 with
        `BlobDoG`.

    See Also
    --------
    ScaleSpaceDetector : Detect features in a pyramid.

    Notes
    -----
    Follows ``kornia.geometry.transform.ScalePyramid`` of kornia 0.9.0. Images are assumed to have a smoothing of 0.5
    pixels, which is part of ``init_sigma``; a smaller ``init_sigma`` means this one. Gaussians are truncated at four
    standard deviations, and at the size of an image that is smaller. Borders are mirrored about the outermost pixels.
    An octave is interpolated linearly from the level of the previous octave that has twice the smoothing, rounded down
    to half the size. The centres of its outermost pixels are those of the image: pixel u of W' pixels along an axis is
    pixel :math:`u (W - 1) / (W' - 1)` of the image.

    Weights are computed in float64, and rounded to the dtype of the image.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import ScalePyramid
    >>> octaves, sigmas, distances = ScalePyramid(3, 1.6, 15, double_image=True)(np.zeros((1, 1, 40, 50)))
    >>> [octave.shape for octave in octaves]
    [(1, 1, 6, 80, 100), (1, 1, 6, 40, 50), (1, 1, 6, 20, 25)]
    >>> sigmas[0][0].round(2), [distance[0, 0].item() for distance in distances]
    (array([1.6 , 2.02, 2.54, 3.2 , 4.03, 5.08]), [0.5, 1.0, 2.0])
    """

    n_levels: int = 3
    init_sigma: float = 1.6
    min_size: int = 15
    double_image: bool = False
    extra_levels: int = 3

    @property
    def border(self) -> int:
        """Border of kornia's pyramid, which has no effect."""
        return self.min_size // 2 - 1

    @property
    def sigma_step(self) -> float:
        """Ratio of the standard deviations of neighbouring levels."""
        return float(2 ** (1 / self.n_levels))

    def __call__(self, x: Array) -> tuple[list[Array], list[Array], list[Array]]:
        """Return octaves (B, C, L, H, W) of images (B, C, H, W), and sigmas and pixel distances (B, L) of each.

        The smoothing of a level, in pixels of the images, is the product of its sigma and its pixel distance.
        """
        images = float_array(x, "x")
        check_ndim(images, 4, "x", "(B, C, H, W)")
        if 0 in images.shape[2:]:
            raise ValueError(f"x must have at least one pixel along each axis, got shape {tuple(images.shape)}")
        input_sigma = 1.0 if self.double_image else 0.5
        first_sigma = max(float(self.init_sigma), input_sigma)
        sigmas = first_sigma * self.sigma_step ** np.arange(self.n_levels + self.extra_levels)
        xp = namespace_of(images)
        with home_of(images).working():
            level = xp.reshape(images, (-1, *images.shape[2:]))
            if self.double_image:
                level = _resized(level, (2 * images.shape[2], 2 * images.shape[3]))
            level = _blurred(level, math.sqrt(first_sigma**2 - input_sigma**2))
            distance = 0.5 if self.double_image else 1.0
            octaves, distances = [], []
            while True:
                levels = [level]
                for sigma in sigmas[:-1]:
                    levels.append(_blurred(levels[-1], float(sigma) * math.sqrt(self.sigma_step**2 - 1)))
                octave = xp.stack(levels, axis=1)
                octaves.append(xp.reshape(octave, (*images.shape[:2], *octave.shape[1:])))
                distances.append(_rows(np.full(sigmas.shape, distance), images))
                height, width = octave.shape[2] // 2, octave.shape[3] // 2
                if min(height, width) <= self.min_size:
                    return octaves, [_rows(sigmas, images) for _ in octaves], distances
                level = _resized(levels[self.n_levels], (height, width))
                distance *= 2


def _rows(values: HostArray, images: Array) -> Array:
    """Return one row of numbers per image."""
    return constants_like(np.tile(values, (images.shape[0], 1)), images, images.dtype)


def _blurred(images: Array, sigma: float) -> Array:
    """Smooth images (N, H, W) by a Gaussian of an odd number of weights, at most that of pixels along either axis."""
    if sigma == 0:
        return images
    radius = min(int(8 * sigma + 1) // 2, (min(images.shape[1:]) - 1) // 2)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    line = constants_like(weights / weights.sum(), images)
    return convolve_separable(images, (line, line), border="mirror", channel_axis=0)


def _resized(images: Array, shape: tuple[int, int]) -> Array:
    """Interpolate images (N, H, W) linearly, with the outermost pixels where they are."""
    dtype, xp = images.dtype, namespace_of(images)
    images = at_least_single(images)
    for axis, size in ((1, shape[0]), (2, shape[1])):
        last = images.shape[axis] - 1
        positions = np.linspace(0, last, size) if size > 1 else np.zeros(1)
        before = np.minimum(positions.astype(np.int64), max(last - 1, 0))
        weights = constants_like((positions - before).reshape((-1, 1) if axis == 1 else -1), images, images.dtype)
        low = xp.take(images, constants_like(before, images), axis=axis)
        high = xp.take(images, constants_like(np.minimum(before + 1, last), images), axis=axis)
        images = low + (high - low) * weights  # equal pixels stay what they are
    return xp.astype(images, dtype, copy=False)
