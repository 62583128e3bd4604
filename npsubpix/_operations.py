"""The table of operations."""

from __future__ import annotations

from npsubpix import _shapes as shapes
from npsubpix._operation import Argument, Operation, Result

__all__ = ["OPERATIONS"]

_WEIGHTS = Argument("weights", optional=True, differentiable=False)

_TABLE = (
    Operation(
        "nms",
        family="nms",
        arguments=(Argument("input"),),
        results=(Result("values", "same"),),
        shapes=shapes.same,
        options=("int[] kernel_size",),
    ),
    Operation(
        "nms_mask",
        family="nms",
        arguments=(Argument("input", differentiable=False),),
        results=(Result("mask", "bool"),),
        shapes=shapes.same,
        options=("int[] kernel_size",),
    ),
    Operation(
        "nms3d_minmax",
        family="nms",
        arguments=(Argument("input", differentiable=False),),
        results=(Result("maxima", "bool"), Result("minima", "bool")),
        shapes=shapes.twice,
    ),
    Operation(
        "quad_interp3d",
        family="quad_interp",
        arguments=(
            Argument("input"),
            Argument("precomputed_nms_mask", optional=True, boolean=True, differentiable=False),
        ),
        results=(Result("coords"), Result("values")),
        shapes=shapes.refined_maps,
        options=(
            "int n_iters",
            "float strict_maxima_bonus",
            "float max_subpixel_shift",
            "int dilation_radius",
            "bool allow_scale_steps",
            "int? max_candidates",
        ),
    ),
    Operation(
        "spatial_softmax",
        family="spatial",
        arguments=(Argument("input"), Argument("temperature"), _WEIGHTS),
        results=(Result("probabilities", saved=True),),
        shapes=shapes.same,
        options=("int spatial_axes",),
    ),
    Operation(
        "spatial_expectation",
        family="spatial",
        arguments=(Argument("input"), _WEIGHTS),
        results=(Result("mean"),),
        shapes=shapes.map_expectation,
        options=("int spatial_axes", "bool normalized_coordinates", "bool xy"),
    ),
    Operation(
        "spatial_moments",
        family="spatial",
        arguments=(Argument("input"), Argument("temperature"), _WEIGHTS),
        results=(Result("mean"), Result("covariance"), Result("sums", "float64", saved=True)),
        shapes=shapes.map_moments,
        options=("int spatial_axes", "bool normalized_coordinates", "bool xy", "bool second"),
    ),
    Operation(
        "conv_soft_argmax",
        family="soft_argmax",
        arguments=(Argument("input"), Argument("temperature")),
        results=(Result("coords"), Result("values")),
        shapes=shapes.window_maps,
        options=(
            "int[] kernel_size",
            "int[] stride",
            "int[] padding",
            "bool normalized_coordinates",
            "float strict_maxima_bonus",
            "bool output_value",
        ),
    ),
    Operation(
        "render_gaussian",
        family="gaussian",
        arguments=(Argument("mean"), Argument("std")),
        results=(Result("maps"),),
        shapes=shapes.gaussian_maps,
        options=("int[] size", "bool normalized_coordinates", "bool xy", "bool peak"),
    ),
    Operation(
        "render_spots",
        family="gaussian",
        arguments=(Argument("coords"), Argument("std"), Argument("amplitude")),
        results=(Result("image"),),
        shapes=shapes.gaussian_image,
        options=("int[] shape", "bool peak", "bool integrate", "float truncate"),
    ),
    Operation(
        "sample",
        family="sampling",
        arguments=(Argument("image"), Argument("coords")),
        results=(Result("values"), Result("gradient")),
        shapes=shapes.sampled,
        options=(
            "str method",
            "str mode",
            "float cval",
            "int? channel_axis",
            "bool prefilter",
            "bool with_gradient",
        ),
    ),
    Operation(
        "grid_sample",
        family="sampling",
        arguments=(Argument("input"), Argument("grid")),
        results=(Result("values"),),
        shapes=shapes.sampled_grid,
        options=("str method", "str padding_mode", "bool align_corners"),
    ),
    Operation(
        "correlate",
        family="convolution",
        arguments=(Argument("image"), Argument("kernel")),
        results=(Result("filtered", "same"),),
        shapes=shapes.correlated,
        options=(
            "str mode",
            "str border",
            "float cval",
            "int[] stride",
            "int[] dilation",
            "int[] origin",
            "int? channel_axis",
            "bool omit",
            "str method",
            "str dtype",
        ),
    ),
    Operation(
        "conv2d",
        family="filter_banks",
        arguments=(Argument("input"), Argument("weight"), Argument("bias", optional=True)),
        results=(Result("filtered"),),
        shapes=shapes.filtered_by_bank,
        options=("int[] stride", "int[] padding", "int[] dilation", "int groups"),
    ),
    Operation(
        "spline_filter",
        family="sampling",
        arguments=(Argument("image"),),
        results=(Result("coefficients"),),
        shapes=shapes.same,
        options=("int order", "str mode", "int? channel_axis"),
    ),
)

OPERATIONS = {operation.name: operation for operation in _TABLE}
