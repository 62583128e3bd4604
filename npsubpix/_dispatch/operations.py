"""The table of operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from npsubpix._definitions import shapes
from npsubpix._definitions.shapes import Shape

__all__ = ["OPERATIONS", "Argument", "Operation", "Result"]


@dataclass(frozen=True)
class Argument:
    """An array that an operation takes."""

    name: str
    optional: bool = False
    boolean: bool = False
    differentiable: bool = True


@dataclass(frozen=True)
class Result:
    """An array that kernels return.

    `dtype` is ``"float"`` for the dtype of a floating first argument, else for its promotion with
    float32; ``"same"`` for the dtype of the first argument; or ``"bool"`` or ``"float64"``.
    """

    name: str
    dtype: str = "float"
    saved: bool = False  # for the vector-Jacobian product


@dataclass(frozen=True)
class Operation:
    """A function of a module of kernels.

    The function ``name`` takes the arrays, None for an absent one, and the options, and returns a
    tuple of arrays. If any argument is differentiable, ``name_vjp`` takes the cotangents of the
    results, None for an absent one; the arrays; the saved results; and the options; and returns
    the cotangents of the differentiable arguments, None for an absent one.
    """

    name: str
    family: str
    arguments: tuple[Argument, ...]
    results: tuple[Result, ...]
    shapes: Callable[[Sequence[Shape | None], Sequence[Any]], tuple[Shape, ...]]
    options: tuple[str, ...] = ()  # type and name of each, as torch writes it: "int[] kernel_size"

    @property
    def differentiable(self) -> tuple[int, ...]:
        """Positions of the differentiable arguments."""
        return tuple(k for k, a in enumerate(self.arguments) if a.differentiable)


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
