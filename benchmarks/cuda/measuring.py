"""Cases of measuring: peaks, fits, samples between pixels, alignment, backgrounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage
import scipy.special

import npsubpix
from benchmarks.cuda.cases import Arrays, Case, noise

__all__ = ["CASES"]

_SIDE = 4096


def with_points(rng: np.random.Generator, height: int, width: int) -> Arrays:
    """An image, and as many positions in it as it has pixels, in no order."""
    places = rng.uniform(0, 1, (2, height, width)) * np.array([height - 1, width - 1])[:, None, None]
    return rng.standard_normal((height, width)), places


def with_grid(rng: np.random.Generator, height: int, width: int) -> Arrays:
    """Images of four channels, and a grid in units of the image."""
    return rng.standard_normal((2, 4, height, width)), rng.uniform(-1.1, 1.1, (2, height, width, 2))


def with_matrix(rng: np.random.Generator, height: int, width: int) -> Arrays:
    """An image, and a turn about the first pixel."""
    return rng.standard_normal((height, width)), np.array([[0.98, -0.17, 3.0], [0.17, 0.98, -2.0]])


def _smooth(rng: np.random.Generator, height: int, width: int) -> Any:
    return scipy.ndimage.gaussian_filter(rng.standard_normal((height, width)), 2, mode="wrap")


def shifted(rng: np.random.Generator, height: int, width: int) -> Arrays:
    """Two images, a fraction of a pixel apart."""
    image = _smooth(rng, height, width)
    return image, scipy.ndimage.shift(image, (0.4, -0.7), mode="grid-wrap")


def frames(rng: np.random.Generator, height: int, width: int) -> Arrays:
    image = _smooth(rng, height, width)
    return (np.stack([scipy.ndimage.shift(image, (0.3 * k, -0.2 * k), mode="grid-wrap") for k in range(4)]),)


def smooth(rng: np.random.Generator, height: int, width: int) -> Arrays:
    return (_smooth(rng, height, width),)


def with_seeds(rng: np.random.Generator, height: int, width: int) -> Arrays:
    """An image, and pixels to refine from: one of a hundred."""
    image = _smooth(rng, height, width)
    inside = rng.integers(3, [height - 3, width - 3], (height * width // 100, 2))
    return image, inside.astype(np.float64)


def patches(rng: np.random.Generator, height: int, width: int) -> Arrays:
    """Patches of 11 × 11 pixels with a spot each, in all as many pixels as an image."""
    count = max(height * width // 121, 2)
    edges = np.arange(12) - 0.5 - rng.uniform(4.5, 5.5, (2, count, 1))
    y, x = np.diff(scipy.special.ndtr(edges / 1.5), axis=-1)
    return (10 + 3000 * y[:, :, None] * x[:, None, :] + 5 * rng.standard_normal((count, 11, 11)),)


def _of_fits(fits: Any) -> tuple[Any, ...]:
    return fits.coords, fits.coords_std, fits.flux, fits.sigma, fits.flags


def _fit_patches(x: Any) -> tuple[Any, ...]:
    return _of_fits(npsubpix.fit_patches(x, camera=npsubpix.Camera(read_variance=25)))


def _fit_spots(x: Any, seeds: Any) -> tuple[Any, ...]:
    return _of_fits(npsubpix.fit_spots(x, seeds, width="fixed", sigma=2.0))


def _of_peaks(peaks: Any) -> tuple[Any, ...]:
    return peaks.coords, peaks.values, peaks.indices, peaks.flags


def _measure(x: Any, coords: Any) -> tuple[Any, ...]:
    spots = npsubpix.measure_spots(x, coords, 3.0)
    return spots.aperture_sum, spots.flux, spots.flux_std, spots.background, spots.mass, spots.signal


def _of_alignment(result: Any) -> tuple[Any, ...]:
    return result.matrix, result.covariance


def _align(fixed: Any, moving: Any) -> tuple[Any, ...]:
    return _of_alignment(npsubpix.align(fixed, moving))


def _align_stack(images: Any) -> tuple[Any, ...]:
    return tuple(array for result in npsubpix.align_stack(images) for array in _of_alignment(result))


def _find(x: Any) -> tuple[Any, ...]:
    return _of_peaks(npsubpix.find_peaks(x, threshold_abs=0.1))


def _find_blobs(x: Any) -> tuple[Any, ...]:
    blobs = npsubpix.find_blobs(x, 1.5, 6, threshold_abs=0.1)
    return blobs.coords, blobs.sigma, blobs.amplitude, blobs.flags


def _grid_sample(x: Any, grid: Any) -> Any:
    return npsubpix.grid_sample(x, grid, align_corners=False)


_POINTS = "as many points as pixels"

CASES = (
    Case("find_peaks", "refined", smooth, _find, _SIDE, share=1e-3),
    Case("find_blobs", "widths from 1.5 to 6", smooth, _find_blobs, 2048, tight=1e-3, share=1e-2),
    Case("refine_peaks", "1 % of pixels", with_seeds, lambda x, c: _of_peaks(npsubpix.refine_peaks(x, c)), _SIDE),
    Case("measure_spots", "1 % of pixels", with_seeds, _measure, _SIDE),
    Case("fit_patches", "11×11, likelihood", patches, _fit_patches, _SIDE, tight=1e-6, share=1e-2),
    Case("fit_spots", "1 % of pixels, least squares", with_seeds, _fit_spots, 2048, tight=1e-6, share=5e-2),
    Case("sample", f"linear, {_POINTS}", with_points, lambda x, c: npsubpix.sample(x, c, method="linear"), _SIDE),
    Case("sample", f"bspline3, {_POINTS}", with_points, lambda x, c: npsubpix.sample(x, c, method="bspline3"), _SIDE),
    Case(
        "sample_with_gradient", f"linear, {_POINTS}", with_points,
        lambda x, c: tuple(npsubpix.sample_with_gradient(x, c, method="linear")), _SIDE,
    ),
    Case("spline_filter", "cubic", noise(), npsubpix.spline_filter, _SIDE),
    Case("grid_sample", "bilinear, 2 images of 4 channels", with_grid, _grid_sample, 2048),
    Case("warp", "linear", with_matrix, npsubpix.warp, _SIDE),
    Case("align", "translation", shifted, _align, 2048, tolerance=1e-3, tight=1e-6),
    Case("align_stack", "4 frames", frames, _align_stack, 2048, tolerance=1e-3, tight=1e-6),
    Case("local_background", "boxes of 16", noise(), lambda x: tuple(npsubpix.local_background(x, 16)), _SIDE),
)  # fmt: skip
