"""Cases of filters: convolution, blobs, banks of filters and statistics of windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import npsubpix
from benchmarks.cuda.cases import Arrays, Case, noise

__all__ = ["CASES"]

_SIDE = 8192


def with_kernel(*size: int) -> Callable[..., Arrays]:
    def make(rng: np.random.Generator, height: int, width: int) -> Arrays:
        return rng.standard_normal((height, width)), rng.standard_normal(size)

    return make


def with_lines(size: int) -> Callable[..., Arrays]:
    def make(rng: np.random.Generator, height: int, width: int) -> Arrays:
        return rng.standard_normal((height, width)), rng.uniform(0, 1, size), rng.uniform(0, 1, size)

    return make


def with_bank(rng: np.random.Generator, height: int, width: int) -> Arrays:
    """Images of 16 channels, and 32 filters of 3 x 3 pixels."""
    return rng.standard_normal((4, 16, height, width)), rng.standard_normal((32, 16, 3, 3))


def light(rng: np.random.Generator, height: int, width: int) -> Arrays:
    """An image without negative pixels: their sums may vanish, and centroids with them."""
    return (rng.uniform(1, 2, (height, width)),)


def _window(name: str, **options: Any) -> Case:
    run = getattr(npsubpix, name)
    return Case(name, "7×7", noise(), lambda x: run(x, size=7, **options), _SIDE, tolerance=1e-4)


CASES = (
    Case("correlate", "3×3", with_kernel(3, 3), npsubpix.correlate, _SIDE),
    Case("correlate", "7×7", with_kernel(7, 7), npsubpix.correlate, _SIDE),
    Case("correlate", "31×31", with_kernel(31, 31), npsubpix.correlate, 2048),
    Case("convolve", "15×15", with_kernel(15, 15), npsubpix.convolve, _SIDE),
    Case("convolve_separable", "7 + 7", with_lines(7), lambda x, *k: npsubpix.convolve_separable(x, k), _SIDE),
    Case("conv2d", "16 to 32 channels, 4 images", with_bank, npsubpix.conv2d, 512, tolerance=1e-4),
    Case("difference_of_gaussians", "", noise(), lambda x: npsubpix.difference_of_gaussians(x, 1.5), _SIDE),
    Case("laplacian_of_gaussian", "", noise(), lambda x: npsubpix.laplacian_of_gaussian(x, 1.5), _SIDE),
    *(_window(f"window_{name}") for name in ("sum", "mean", "var", "std", "min", "max", "range", "median")),
    _window("window_percentile", q=25),
    Case("window_centroid", "7×7", light, lambda x: npsubpix.window_centroid(x, size=7), _SIDE, tight=1e-6),
    Case("window_map", "sum of 7×7", noise(), lambda x: npsubpix.window_map("sum", x, size=7), _SIDE, tolerance=1e-4),
)
