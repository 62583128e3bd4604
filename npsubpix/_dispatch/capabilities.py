"""What runs where: functions, libraries and dtypes in one table.

The dispatch asks it, the tests run what it claims, and the README holds what
``python -m npsubpix._dispatch.capabilities`` prints.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

__all__ = ["CAPABILITIES", "NUMBERS", "Capability", "is_on_gpu", "table"]

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

#: Dtypes of arrays. bfloat16 is torch's and JAX's, and becomes float32 on its way to kernels.
NUMBERS = (*_INTEGERS, "float16", "float32", "float64", "bfloat16")

_HOST, _GPU = ("NumPy", "JAX", "torch"), ("CuPy", "torch")


@dataclass(frozen=True)
class Capability:
    """What functions that share a module of kernels can do."""

    family: str
    functions: tuple[str, ...]
    dtypes: tuple[str, ...] = NUMBERS
    host: tuple[str, ...] = _HOST
    gpu: tuple[str, ...] = ()
    gradient: bool = True


CAPABILITIES = (
    Capability("nms", ("nms2d", "nms3d"), gpu=_GPU),
    Capability("nms", ("nms3d_minmax",), gpu=_GPU, gradient=False),
    Capability("quad_interp", ("conv_quad_interp3d", "iterative_quad_interp3d"), gpu=_GPU),
    Capability("soft_argmax", ("conv_soft_argmax2d", "conv_soft_argmax3d"), gpu=_GPU),
    Capability("spatial", ("spatial_softmax", "spatial_softmax2d"), gpu=_GPU),
    Capability("spatial", ("spatial_expectation", "spatial_expectation2d"), gpu=_GPU),
    Capability("spatial", ("spatial_moments", "spatial_soft_argmax", "spatial_soft_argmax2d"), gpu=_GPU),
    Capability("gaussian", ("render_gaussian", "render_gaussian2d", "render_spots"), gpu=_GPU),
    Capability("convolution", ("convolve", "correlate", "convolve_separable"), gpu=_GPU),
    Capability("peaks", ("find_peaks",), gpu=_GPU, gradient=False),
    Capability("refinement", ("refine_peaks",), gpu=_GPU, gradient=False),
    Capability("sampling", ("sample", "sample_with_gradient", "spline_filter", "grid_sample", "warp"), gpu=_GPU),
    Capability("alignment", ("align", "align_stack"), gpu=_GPU, gradient=False),
    Capability("windows", ("window_map",), gpu=_GPU, gradient=False),
    Capability("filter_banks", ("conv2d",), gpu=_GPU),
    Capability("windows", ("window_sum", "window_mean", "window_var", "window_std"), gpu=_GPU, gradient=False),
    Capability("windows", ("window_centroid",), gpu=_GPU, gradient=False),
    Capability("windows", ("window_min", "window_max", "window_range"), gpu=_GPU, gradient=False),
    Capability("windows", ("window_median", "window_percentile"), gpu=_GPU, gradient=False),
    Capability("blobs", ("laplacian_of_gaussian", "difference_of_gaussians"), gpu=_GPU, gradient=False),
    Capability("background", ("local_background",), gpu=_GPU, gradient=False),
)

_ON_GPU = frozenset(c.family for c in CAPABILITIES if c.gpu)


def is_on_gpu(family: str) -> bool:
    """Whether a family of operations has kernels for GPUs."""
    return family in _ON_GPU


def _dtypes(names: tuple[str, ...]) -> str:
    """Name integers once."""
    rest = [name for name in names if name not in _INTEGERS]
    return ", ".join((["integers"] if set(_INTEGERS) <= set(names) else []) + rest)


def table() -> str:
    """Return the table of the README, in Markdown."""
    lines = ["| functions | arrays on the host | arrays on a GPU | dtypes | gradients |", "|---|---|---|---|---|"]
    for c in CAPABILITIES:
        functions = ", ".join(f"`{name}`" for name in c.functions)
        gpu = ", ".join(c.gpu) or "not yet"
        gradient = "yes" if c.gradient else "no"
        lines.append(f"| {functions} | {', '.join(c.host)} | {gpu} | {_dtypes(c.dtypes)} | {gradient} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
