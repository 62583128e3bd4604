"""The table of operations: arrays, options and results of each, and examples of the public functions that run it."""

from __future__ import annotations

from npsubpix._definitions import shapes
from npsubpix._dispatch.operation import Argument, Operation, Result
from npsubpix._dispatch.spot_operations import SPOT_OPERATIONS

__all__ = ["OPERATIONS"]

_WEIGHTS = Argument("weights", optional=True)

#: Samples of the weights of pixels by their distance; the second one is for the method of a blend that runs elsewhere.
_TABLES_OF_WEIGHTS = (
    Argument("table", optional=True, differentiable=True),
    Argument("outside_table", optional=True, differentiable=True),
)

_TABLE = (
    Operation(
        "nms",
        family="nms",
        arguments=(Argument("input", differentiable=True),),
        results=(Result("values", "same"),),
        shapes=shapes.same,
        options=("int[] kernel_size",),
        functions={
            "nms2d": lambda npsubpix, x: npsubpix.nms2d(x[:, 0], (3, 3)),
            "nms3d": lambda npsubpix, x: npsubpix.nms3d(x, (3, 3, 3)),
        },
    ),
    Operation(
        "nms_mask",
        family="nms",
        arguments=(Argument("input"),),
        results=(Result("mask", "bool"),),
        shapes=shapes.same,
        options=("int[] kernel_size",),
    ),
    Operation(
        "nms3d_minmax",
        family="nms",
        arguments=(Argument("input"),),
        results=(Result("maxima", "bool"), Result("minima", "bool")),
        shapes=shapes.twice,
        functions={
            "nms3d_minmax": lambda npsubpix, x: npsubpix.nms3d_minmax(x),
        },
    ),
    Operation(
        "quad_interp3d",
        family="quad_interp",
        arguments=(
            Argument("input", differentiable=True),
            Argument("precomputed_nms_mask", optional=True, boolean=True),
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
        functions={
            "conv_quad_interp3d": lambda npsubpix, x: npsubpix.conv_quad_interp3d(x),
            "iterative_quad_interp3d": lambda npsubpix, x: npsubpix.iterative_quad_interp3d(x),
        },
    ),
    Operation(
        "spatial_softmax",
        family="spatial",
        arguments=(Argument("input", differentiable=True), Argument("temperature", differentiable=True), _WEIGHTS),
        results=(Result("probabilities", saved=True),),
        shapes=shapes.same,
        options=("int spatial_axes",),
        functions={
            "spatial_softmax": lambda npsubpix, x: npsubpix.spatial_softmax(x),
            "spatial_softmax2d": lambda npsubpix, x: npsubpix.spatial_softmax2d(x[:, 0]),
        },
    ),
    Operation(
        "spatial_expectation",
        family="spatial",
        arguments=(Argument("input", differentiable=True), _WEIGHTS),
        results=(Result("mean"),),
        shapes=shapes.map_expectation,
        options=("int spatial_axes", "bool normalized_coordinates", "bool xy"),
        internal=frozenset({"xy"}),
        functions={
            "spatial_expectation": lambda npsubpix, x: npsubpix.spatial_expectation(x),
            "spatial_expectation2d": lambda npsubpix, x: npsubpix.spatial_expectation2d(x[:, 0]),
        },
    ),
    Operation(
        "spatial_moments",
        family="spatial",
        arguments=(Argument("input", differentiable=True), Argument("temperature", differentiable=True), _WEIGHTS),
        results=(Result("mean"), Result("covariance"), Result("sums", "float64", saved=True)),
        shapes=shapes.map_moments,
        options=("int spatial_axes", "bool normalized_coordinates", "bool xy", "bool second"),
        internal=frozenset({"xy", "second"}),
        functions={
            "spatial_moments": lambda npsubpix, x: npsubpix.spatial_moments(x),
            "spatial_soft_argmax": lambda npsubpix, x: npsubpix.spatial_soft_argmax(x),
            "spatial_soft_argmax2d": lambda npsubpix, x: npsubpix.spatial_soft_argmax2d(x[:, 0]),
        },
    ),
    Operation(
        "conv_soft_argmax",
        family="soft_argmax",
        arguments=(Argument("input", differentiable=True), Argument("temperature", differentiable=True)),
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
        functions={
            "conv_soft_argmax2d": lambda npsubpix, x: npsubpix.conv_soft_argmax2d(x[:, 0]),
            "conv_soft_argmax3d": lambda npsubpix, x: npsubpix.conv_soft_argmax3d(x),
        },
    ),
    Operation(
        "render_gaussian",
        family="gaussian",
        arguments=(Argument("mean", differentiable=True), Argument("std", differentiable=True)),
        results=(Result("maps"),),
        shapes=shapes.gaussian_maps,
        options=("int[] size", "bool normalized_coordinates", "bool xy", "bool peak"),
        internal=frozenset({"xy", "peak"}),
        functions={
            "render_gaussian": lambda npsubpix, x: npsubpix.render_gaussian(x[0, 0, 0, :, :2], 1.5, (6, 9)),
            "render_gaussian2d": lambda npsubpix, x: npsubpix.render_gaussian2d(
                x[0, 0, 0, :, :2], x[0, 0, 0, 1:2, :2] * 0 + 2, (6, 9)
            ),
        },
    ),
    Operation(
        "render_spots",
        family="gaussian",
        arguments=(
            Argument("coords", differentiable=True),
            Argument("std", differentiable=True),
            Argument("amplitude", differentiable=True),
        ),
        results=(Result("image"),),
        shapes=shapes.gaussian_image,
        options=("int[] shape", "bool peak", "bool integrate", "float truncate"),
        internal=frozenset({"peak"}),
        functions={
            "render_spots": lambda npsubpix, x: npsubpix.render_spots(x[0, 0, 0, :, :2], (16, 19), std=1.5),
        },
    ),
    Operation(
        "sample",
        family="sampling",
        arguments=(
            Argument("image", differentiable=True),
            Argument("coords", differentiable=True),
            *_TABLES_OF_WEIGHTS,
        ),
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
        internal=frozenset({"with_gradient", "table", "outside_table"}),
        functions={
            "sample": lambda npsubpix, x: npsubpix.sample(x[0, 0, 0], x[0, 0, 1, :2], method="bspline3"),
            "sample_with_gradient": lambda npsubpix, x: npsubpix.sample_with_gradient(
                x[0, 0, 0], x[0, 0, 1, :2], method="catmull_rom"
            ),
            "warp": lambda npsubpix, x: npsubpix.warp(x[0, 0, 0], [[0.5, 0.0, 0.5], [0.0, 1.0, 0.25]], (3, 4)),
        },
    ),
    Operation(
        "grid_sample",
        family="sampling",
        arguments=(Argument("input", differentiable=True), Argument("grid", differentiable=True), *_TABLES_OF_WEIGHTS),
        results=(Result("values"),),
        shapes=shapes.sampled_grid,
        options=("str method", "str padding_mode", "bool align_corners"),
        internal=frozenset({"method", "table", "outside_table"}),
        functions={
            "grid_sample": lambda npsubpix, x: npsubpix.grid_sample(
                x[:, 0], x[:, 0, :2, :3, :2], padding_mode="reflection"
            ),
        },
    ),
    Operation(
        "correlate",
        family="convolution",
        arguments=(Argument("image", differentiable=True), Argument("kernel", differentiable=True)),
        results=(Result("filtered", "option"),),
        shapes=shapes.correlated,
        options=(
            "bool flip",
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
        internal=frozenset({"flip", "omit"}),
        functions={
            "convolve": lambda npsubpix, x: npsubpix.convolve(x[0, 0, 0], x[0, 0, 1, :3, :3] * 0 + 1),
            "correlate": lambda npsubpix, x: npsubpix.correlate(x[0, 0], x[0, 0, :1, :3, :3] * 0 + 1, border="wrap"),
            "convolve_separable": lambda npsubpix, x: npsubpix.convolve_separable(
                x[0, 0, 0], [x[0, 0, 1, 0, :3] * 0 + 1] * 2
            ),
        },
    ),
    Operation(
        "choose_conv_method",
        family="convolution",
        arguments=(Argument("kernel"),),
        results=None,
        options=("stride",),
    ),
    Operation(
        "conv2d",
        family="filter_banks",
        arguments=(
            Argument("input", differentiable=True),
            Argument("weight", differentiable=True),
            Argument("bias", optional=True, differentiable=True),
        ),
        results=(Result("filtered"),),
        shapes=shapes.filtered_by_bank,
        options=("int[] stride", "int[] padding", "int[] dilation", "int groups"),
        functions={
            "conv2d": lambda npsubpix, x: npsubpix.conv2d(x[0], x[0, :, :2, :3, :3] * 0 + 1, padding=1, groups=2),
        },
    ),
    Operation(
        "spline_filter",
        family="sampling",
        arguments=(Argument("image", differentiable=True),),
        results=(Result("coefficients"),),
        shapes=shapes.same,
        options=("int order", "str mode", "int? channel_axis"),
        functions={
            "spline_filter": lambda npsubpix, x: npsubpix.spline_filter(x[0, 0, 0]),
        },
    ),
    *SPOT_OPERATIONS,
    Operation(
        "align",
        family="alignment",
        arguments=(
            Argument("fixed"),
            Argument("moving"),
            Argument("mask", optional=True, boolean=True),
            Argument("moving_mask", optional=True, boolean=True),
        ),
        results=None,
        options=("init", "options"),
        internal=frozenset({"options"}),
        functions={
            "align": lambda npsubpix, x: npsubpix.align(x[0, 0, 0], x[0, 0, 0]).matrix,
            "align_stack": lambda npsubpix, x: npsubpix.align_stack(x[0, 0, :1])[0].matrix,
        },
    ),
    Operation(
        "map_windows",
        family="windows",
        arguments=(Argument("images", repeated=True),),
        results=(Result("mapped", "any"),),
        options=("func", "size", "border", "cval", "stride", "n_outputs", "dtype", "args", "footprint"),
        functions={
            "window_map": lambda npsubpix, x: npsubpix.window_map("max", x[0, 0], size=3),
        },
    ),
    Operation(
        "map_batches",
        family="windows",
        arguments=(Argument("images", repeated=True),),
        results=(Result("mapped", "any"),),
        options=("func", "size", "border", "cval", "stride", "n_outputs", "dtype", "args", "footprint", "max_memory"),
        called="window_map",
    ),
    Operation(
        "reduce_windows",
        family="windows",
        arguments=(
            Argument("image"),
            Argument("footprint", optional=True, boolean=True, on_host=True),
            Argument("weights", optional=True, on_host=True),
            Argument("mask", optional=True, boolean=True),
        ),
        results=(Result("reduced", "any"),),
        options=("reduction", "size", "border", "cval", "stride", "nan_policy", "q", "dtype"),
        internal=frozenset({"reduction"}),
        called="window_{reduction}",
        functions={
            "window_sum": lambda npsubpix, x: npsubpix.window_sum(x[0, 0], 3),
            "window_mean": lambda npsubpix, x: npsubpix.window_mean(x[0, 0], (1, 3, 2)),
            "window_var": lambda npsubpix, x: npsubpix.window_var(x[0, 0], 3),
            "window_std": lambda npsubpix, x: npsubpix.window_std(x[0, 0, 0], weights=[[1.0] * 3] * 3),
            "window_centroid": lambda npsubpix, x: npsubpix.window_centroid(x[0, 0, 0], 3),
            "window_min": lambda npsubpix, x: npsubpix.window_min(x[0, 0], 3),
            "window_max": lambda npsubpix, x: npsubpix.window_max(x[0, 0, 0], footprint=[[True, False, True]]),
            "window_range": lambda npsubpix, x: npsubpix.window_range(x[0, 0], 3),
            "window_median": lambda npsubpix, x: npsubpix.window_median(x[0, 0, 0], 3, border="nearest"),
            "window_percentile": lambda npsubpix, x: npsubpix.window_percentile(x[0, 0, 0], 50, 3, border="nearest"),
        },
    ),
    Operation(
        "laplacian_of_gaussian",
        family="blobs",
        arguments=(Argument("image"),),
        results=(Result("filtered"),),
        options=("sigma", "border", "cval", "truncate"),
        functions={
            "laplacian_of_gaussian": lambda npsubpix, x: npsubpix.laplacian_of_gaussian(x[0, 0, 0], 1.2),
        },
    ),
    Operation(
        "difference_of_gaussians",
        family="blobs",
        arguments=(Argument("image"),),
        results=(Result("filtered"),),
        options=("sigma", "wide_sigma", "border", "cval", "truncate"),
        functions={
            "difference_of_gaussians": lambda npsubpix, x: npsubpix.difference_of_gaussians(x[0, 0], 0.8),
        },
    ),
)

OPERATIONS = {operation.name: operation for operation in _TABLE}
