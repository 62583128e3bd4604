"""Sub-pixel measurement on NumPy, CuPy and torch arrays.

Names are loaded when they are first used: importing npsubpix imports neither Numba nor any array
library but NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from npsubpix._definitions.flags import AlignmentFlags, PeakFlags
    from npsubpix.alignment import align, align_stack
    from npsubpix.background import local_background
    from npsubpix.blobs import difference_of_gaussians, laplacian_of_gaussian
    from npsubpix.convolution import choose_conv_method, convolve, convolve_separable, correlate
    from npsubpix.filter_banks import conv2d
    from npsubpix.gaussian import render_gaussian, render_gaussian2d, render_spots
    from npsubpix.gradients import vjp
    from npsubpix.nms import nms2d, nms3d, nms3d_minmax
    from npsubpix.operators import (
        AdaptiveQuadInterp3d,
        ConvQuadInterp3d,
        ConvSoftArgmax2d,
        ConvSoftArgmax3d,
        IterativeQuadInterp3d,
        NonMaximaSuppression2d,
        NonMaximaSuppression3d,
        SpatialSoftArgmax2d,
    )
    from npsubpix.order_statistics import window_max, window_median, window_min, window_percentile, window_range
    from npsubpix.peaks import find_peaks, refine_peaks
    from npsubpix.quad_interp import conv_quad_interp3d, iterative_quad_interp3d
    from npsubpix.reductions import window_centroid, window_mean, window_std, window_sum, window_var
    from npsubpix.results import Alignment, Background, Peaks
    from npsubpix.sampling import Sample, sample, sample_vjp, sample_with_gradient, spline_filter
    from npsubpix.sampling_kernels import GradientAdaptive, Nearest, WeightedNearest
    from npsubpix.soft_argmax import conv_soft_argmax2d, conv_soft_argmax3d
    from npsubpix.spatial import (
        SpatialMoments,
        spatial_expectation,
        spatial_moments,
        spatial_soft_argmax,
        spatial_softmax,
    )
    from npsubpix.spatial2d import spatial_expectation2d, spatial_soft_argmax2d, spatial_softmax2d
    from npsubpix.spatial_transformer import affine_grid, grid_sample
    from npsubpix.warping import transform_points, warp
    from npsubpix.windows import window_map

_HOME = {
    "AdaptiveQuadInterp3d": "operators",
    "Alignment": "results",
    "AlignmentFlags": "_definitions.flags",
    "Background": "results",
    "ConvQuadInterp3d": "operators",
    "ConvSoftArgmax2d": "operators",
    "ConvSoftArgmax3d": "operators",
    "GradientAdaptive": "sampling_kernels",
    "IterativeQuadInterp3d": "operators",
    "Nearest": "sampling_kernels",
    "NonMaximaSuppression2d": "operators",
    "NonMaximaSuppression3d": "operators",
    "PeakFlags": "_definitions.flags",
    "Peaks": "results",
    "Sample": "sampling",
    "SpatialMoments": "spatial",
    "SpatialSoftArgmax2d": "operators",
    "WeightedNearest": "sampling_kernels",
    "affine_grid": "spatial_transformer",
    "align": "alignment",
    "align_stack": "alignment",
    "choose_conv_method": "convolution",
    "conv2d": "filter_banks",
    "conv_quad_interp3d": "quad_interp",
    "conv_soft_argmax2d": "soft_argmax",
    "conv_soft_argmax3d": "soft_argmax",
    "convolve": "convolution",
    "convolve_separable": "convolution",
    "correlate": "convolution",
    "difference_of_gaussians": "blobs",
    "find_peaks": "peaks",
    "grid_sample": "spatial_transformer",
    "iterative_quad_interp3d": "quad_interp",
    "laplacian_of_gaussian": "blobs",
    "local_background": "background",
    "nms2d": "nms",
    "nms3d": "nms",
    "nms3d_minmax": "nms",
    "refine_peaks": "peaks",
    "render_gaussian": "gaussian",
    "render_gaussian2d": "gaussian",
    "render_spots": "gaussian",
    "sample": "sampling",
    "sample_vjp": "sampling",
    "sample_with_gradient": "sampling",
    "spatial_expectation": "spatial",
    "spatial_expectation2d": "spatial2d",
    "spatial_moments": "spatial",
    "spatial_soft_argmax": "spatial",
    "spatial_soft_argmax2d": "spatial2d",
    "spatial_softmax": "spatial",
    "spatial_softmax2d": "spatial2d",
    "spline_filter": "sampling",
    "transform_points": "warping",
    "vjp": "gradients",
    "warp": "warping",
    "window_centroid": "reductions",
    "window_map": "windows",
    "window_max": "order_statistics",
    "window_mean": "reductions",
    "window_median": "order_statistics",
    "window_min": "order_statistics",
    "window_percentile": "order_statistics",
    "window_range": "order_statistics",
    "window_std": "reductions",
    "window_sum": "reductions",
    "window_var": "reductions",
}

__all__ = [
    "AdaptiveQuadInterp3d",
    "Alignment",
    "AlignmentFlags",
    "Background",
    "ConvQuadInterp3d",
    "ConvSoftArgmax2d",
    "ConvSoftArgmax3d",
    "GradientAdaptive",
    "IterativeQuadInterp3d",
    "Nearest",
    "NonMaximaSuppression2d",
    "NonMaximaSuppression3d",
    "PeakFlags",
    "Peaks",
    "Sample",
    "SpatialMoments",
    "SpatialSoftArgmax2d",
    "WeightedNearest",
    "affine_grid",
    "align",
    "align_stack",
    "choose_conv_method",
    "conv2d",
    "conv_quad_interp3d",
    "conv_soft_argmax2d",
    "conv_soft_argmax3d",
    "convolve",
    "convolve_separable",
    "correlate",
    "difference_of_gaussians",
    "find_peaks",
    "grid_sample",
    "iterative_quad_interp3d",
    "laplacian_of_gaussian",
    "local_background",
    "nms2d",
    "nms3d",
    "nms3d_minmax",
    "refine_peaks",
    "render_gaussian",
    "render_gaussian2d",
    "render_spots",
    "sample",
    "sample_vjp",
    "sample_with_gradient",
    "spatial_expectation",
    "spatial_expectation2d",
    "spatial_moments",
    "spatial_soft_argmax",
    "spatial_soft_argmax2d",
    "spatial_softmax",
    "spatial_softmax2d",
    "spline_filter",
    "transform_points",
    "vjp",
    "warp",
    "window_centroid",
    "window_map",
    "window_max",
    "window_mean",
    "window_median",
    "window_min",
    "window_percentile",
    "window_range",
    "window_std",
    "window_sum",
    "window_var",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
