"""Lines of weights of the filters for blobs, one for each axis of an image."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Term", "difference_terms", "gaussian_line", "laplacian_terms"]

#: A line of weights for each axis, whose product is a kernel.
Term: TypeAlias = tuple[npt.NDArray[np.float64], ...]


def _radius(sigma: float, truncate: float) -> int:
    return int(truncate * sigma + 0.5)


def _gaussian(sigma: float, radius: int) -> npt.NDArray[np.float64]:
    """Sample a Gaussian and divide it by its sum; that of width 0 leaves an axis as it is."""
    if sigma == 0:
        return np.pad(np.ones(1), radius)
    x = np.arange(-radius, radius + 1)
    values = np.exp(-0.5 * (x / sigma) ** 2)
    return np.asarray(values / values.sum())


def gaussian_line(sigma: float, truncate: float) -> npt.NDArray[np.float64]:
    """Return the weights of a Gaussian, whose sum is 1; one weight for a width of 0."""
    return _gaussian(sigma, _radius(sigma, truncate))


def _second_derivative(sigma: float, radius: int) -> npt.NDArray[np.float64]:
    """Sample the second derivative of a Gaussian, about the variance of its samples: the sum of the weights is 0."""
    squares, values = np.arange(-radius, radius + 1) ** 2, _gaussian(sigma, radius)
    return np.asarray(values * (squares - values @ squares) / sigma**4)


def difference_terms(narrow: tuple[float, ...], wide: tuple[float, ...], truncate: float) -> list[Term]:
    """Return the kernels, of equal size, whose sum is a narrow Gaussian minus a wide one."""
    radii = [_radius(s, truncate) for s in wide]
    inner = [_gaussian(s, _radius(s, truncate)) for s in narrow]
    first = [np.pad(line, r - len(line) // 2) for line, r in zip(inner, radii, strict=True)]
    second = [_gaussian(s, r) for s, r in zip(wide, radii, strict=True)]
    return [tuple(first), (-second[0], *second[1:])]


def laplacian_terms(sigma: tuple[float, ...], truncate: float) -> list[Term]:
    """Return the kernels whose sum is the Laplacian of a Gaussian, along the axes on which this has a width."""
    radii = [_radius(s, truncate) for s in sigma]
    smooth = [_gaussian(s, r) for s, r in zip(sigma, radii, strict=True)]
    axes = range(len(sigma))
    curved = {axis: _second_derivative(sigma[axis], radii[axis]) for axis in axes if sigma[axis] > 0}
    return [tuple(line if a == axis else smooth[a] for a in axes) for axis, line in curved.items()]
