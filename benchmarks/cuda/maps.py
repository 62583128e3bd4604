"""Cases of maps: suppression, refinement, soft-argmax, moments and Gaussians."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.ndimage

import npsubpix
from benchmarks.cuda.cases import Arrays, Case, noise

__all__ = ["CASES"]

_BLOCK = 1024


def smooth(depth: int) -> Callable[[np.random.Generator, int, int], Arrays]:
    """Return what makes smooth slices, with about 8,000 maxima in 1024 x 1024 x 5; larger ones are tiled."""

    def make(rng: np.random.Generator, height: int, width: int) -> Arrays:
        shape = (depth, min(height, _BLOCK), min(width, _BLOCK))
        tile = scipy.ndimage.gaussian_filter(rng.standard_normal(shape), (1, 1.5, 1.5))
        repeats = (1, -(-height // shape[1]), -(-width // shape[2]))
        return (np.ascontiguousarray(np.tile(tile, repeats)[None, None, :, :height, :width]),)

    return make


def means(rng: np.random.Generator, height: int, width: int) -> Arrays:
    """Positions of as many maps as the side of one has pixels, within it."""
    return (rng.uniform(0, 1, (height, 2)) * np.array([width - 1, height - 1]),)


def spots(rng: np.random.Generator, height: int, width: int) -> Arrays:
    """One spot for each 200 pixels."""
    return (rng.uniform(0, 1, (height * width // 200, 2)) * np.array([height - 1, width - 1]),)


def _render_gaussian(mean: Any) -> Any:
    side = mean.shape[0]
    return npsubpix.render_gaussian(mean, 1.5, (side, side))


def _render_gaussian2d(mean: Any) -> Any:
    side = mean.shape[0]
    return npsubpix.render_gaussian2d(mean, mean[:1] * 0 + 1.5, (side, side), False)


def _render_spots(coords: Any) -> Any:
    side = round((200 * len(coords)) ** 0.5)
    return npsubpix.render_spots(coords, (side, side), std=1.5)


def _without_bonus(run: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda x: run(x, strict_maxima_bonus=0.0)  # kornia 0.9.0 has none


_GIB = 16384  # the side of 1 GiB of float32
_STACK = 512  # as many maps of that side, 512 MiB

CASES = (
    Case("nms2d", "3×3", noise(1, 1), lambda x: npsubpix.nms2d(x, (3, 3)), _GIB),
    Case("nms2d", "3×3, mask", noise(1, 1), lambda x: npsubpix.nms2d(x, (3, 3), mask_only=True), _GIB),
    Case("nms2d", "15×15", noise(1, 1), lambda x: npsubpix.nms2d(x, (15, 15)), 8192),
    Case("nms3d", "3×3×3", noise(1, 1, 16), lambda x: npsubpix.nms3d(x, (3, 3, 3)), _GIB // 4),
    Case("nms3d_minmax", "", noise(1, 1, 16), npsubpix.nms3d_minmax, 2048),
    Case("conv_quad_interp3d", "6 slices", smooth(6), _without_bonus(npsubpix.conv_quad_interp3d), 2048, share=1e-4),
    Case(
        "iterative_quad_interp3d",
        "6 slices",
        smooth(6),
        _without_bonus(npsubpix.iterative_quad_interp3d),
        2048,
        share=1e-4,
    ),
    Case("conv_soft_argmax2d", "3×3", noise(1, 1), npsubpix.conv_soft_argmax2d, 8192),
    Case("conv_soft_argmax3d", "3×3×3, 6 slices", noise(1, 1, 6), npsubpix.conv_soft_argmax3d, 2048),
    Case("spatial_softmax", "256 maps", noise(2, 128), npsubpix.spatial_softmax, 1024),
    Case("spatial_softmax2d", "256 maps", noise(2, 128), npsubpix.spatial_softmax2d, 1024),
    Case("spatial_expectation", "256 maps", noise(2, 128), npsubpix.spatial_expectation, 1024),
    Case("spatial_expectation2d", "256 maps", noise(2, 128), npsubpix.spatial_expectation2d, 1024),
    Case("spatial_moments", "256 maps", noise(2, 128), npsubpix.spatial_moments, 1024),
    Case("spatial_soft_argmax", "256 maps", noise(2, 128), npsubpix.spatial_soft_argmax, 1024),
    Case("spatial_soft_argmax2d", "256 maps", noise(2, 128), npsubpix.spatial_soft_argmax2d, 1024),
    Case("render_gaussian", "a map a pixel of the side", means, _render_gaussian, _STACK, integers=False),
    Case("render_gaussian2d", "a map a pixel of the side", means, _render_gaussian2d, _STACK, integers=False),
    Case("render_spots", "one for 200 pixels", spots, _render_spots, 8192, integers=False),
)
