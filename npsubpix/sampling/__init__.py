"""Sampling between pixels: values and gradients, warps, spatial transformers, and the kernels they take."""

from npsubpix.sampling.kernels import GradientAdaptive, Nearest, SamplingMethod, WeightedNearest, method_spec
from npsubpix.sampling.samples import Sample, sample, sample_vjp, sample_with_gradient, spline_filter
from npsubpix.sampling.transformer import affine_grid, grid_sample
from npsubpix.sampling.warping import transform_points, warp

__all__ = [
    "GradientAdaptive",
    "Nearest",
    "Sample",
    "SamplingMethod",
    "WeightedNearest",
    "affine_grid",
    "grid_sample",
    "method_spec",
    "sample",
    "sample_vjp",
    "sample_with_gradient",
    "spline_filter",
    "transform_points",
    "warp",
]
