"""Spatial transformers with torch's signatures: grids of an affine transform, and images sampled on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays.checks import check_reals
from npsubpix._arrays.library import Array, as_array, indices_beside, native_affine_grid
from npsubpix._arrays.options import check_bool, check_choice, check_count
from npsubpix._definitions.sampling.borders import PADDING_MODES
from npsubpix._definitions.sampling.layout import grid_scaling
from npsubpix._dispatch.call import call
from npsubpix.sampling.kernels import SamplingMethod, method_spec, tables_of

__all__ = ["affine_grid", "grid_sample"]

#: Methods by the names that torch has for them.
_TORCH_METHODS = {"bilinear": "linear", "nearest": "nearest_even", "bicubic": "bicubic"}


def affine_grid(theta: Array, size: tuple[int, ...], align_corners: bool = False) -> Array:
    """Create grids of sampling positions for affine transforms, as ``torch.nn.functional.affine_grid`` does.

    Parameters
    ----------
    theta : array of shape (N, 2, 3) or (N, 3, 4)
        Matrices from positions (x, y, 1) or (x, y, z, 1) in the output to positions in the input, both
        normalized to the range from -1 to 1. A float array of NumPy, CuPy or torch, or a JAX array on the
        host.
    size : tuple of ints
        Shape of the output, (N, C, H, W) or (N, C, D, H, W).
    align_corners : bool, default False
        Whether -1 and 1 are the centres of the outermost pixels, or their outer edges.

    Returns
    -------
    array of shape (N, H, W, 2) or (N, D, H, W, 3)
        Positions (x, y) or (x, y, z), in the dtype of `theta`.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If the shapes do not match.

    See Also
    --------
    grid_sample : Sample images on the grid.
    warp : Warp an image in pixels, with a matrix in array order.

    Notes
    -----
    Tensors are passed to the function of torch, which is differentiable with respect to `theta`.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import affine_grid
    >>> affine_grid(np.array([[[1.0, 0, 0.5], [0, 1, 0]]]), (1, 1, 2, 2), align_corners=True)
    array([[[[-0.5, -1. ],
             [ 1.5, -1. ]],
    <BLANKLINE>
            [[-0.5,  1. ],
             [ 1.5,  1. ]]]])
    """
    matrices = check_reals(theta, "theta")
    if not isinstance(size, (tuple, list)) or len(size) not in (4, 5):
        raise ValueError(f"size must be (N, C, H, W) or (N, C, D, H, W), got {size!r}")
    size = tuple(check_count(n, "size", 1) for n in size)
    axes = len(size) - 2
    if tuple(matrices.shape) != (size[0], axes, axes + 1):
        raise ValueError(f"theta must have shape {(size[0], axes, axes + 1)}, got {tuple(matrices.shape)}")
    aligned = check_bool(align_corners, "align_corners")
    grid = native_affine_grid(matrices, size, aligned)
    if grid is not None:
        return grid
    scaling = zip(indices_beside(matrices, size[2:]), *grid_scaling(size[2:], aligned), strict=True)
    normalized = [(pixels - offset) / (factor or 1) for pixels, factor, offset in scaling]  # factor 0: a single pixel
    x = np.stack([*normalized[::-1], 0 * normalized[0] + 1], -1).reshape(-1, axes + 1).astype(str(matrices.dtype))
    return (x @ matrices.swapaxes(1, 2)).reshape(size[0], *size[2:], axes)


def grid_sample(
    input: Array,
    grid: Array,
    mode: SamplingMethod = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Array:
    """Sample images on grids of normalized positions, as ``torch.nn.functional.grid_sample`` does.

    Parameters
    ----------
    input : array of shape (N, C, H, W) or (N, C, D, H, W)
        Images of any integer or float dtype: a NumPy, CuPy or torch array, or a JAX array on the host.
    grid : array of shape (N, ..., 2) or (N, ..., 3)
        Positions (x, y) or (x, y, z), normalized to the range from -1 to 1.
    mode : str or sampling kernel, default "bilinear"
        Interpolation method: "bilinear", "nearest" (ties to even) or "bicubic" (Keys' kernel with
        a = -0.75), as in torch, or any method of `sample`: "catmull_rom", "bspline2" to "bspline5",
        "lanczos3", a `Nearest`, `WeightedNearest` or `GradientAdaptive`. "linear" equals "bilinear".
    padding_mode : {"zeros", "border", "reflection"}, default "zeros"
        Border extension: pixels of 0, the outermost pixels, or the image mirrored, about the centres
        of the outermost pixels with `align_corners`, otherwise about their outer edges.
    align_corners : bool, optional
        Whether -1 and 1 are the centres of the outermost pixels, or, by default, their outer edges.

    Returns
    -------
    array of shape (N, C, ...)
        Values, in the dtype of a float input, otherwise in ``np.result_type(input.dtype, np.float32)``.
        NaN where a coordinate is NaN.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If the shapes do not match, or an option is not one of the names above.

    See Also
    --------
    affine_grid : Create grids for affine transforms.
    sample : Sample a single image at positions in pixels.

    Notes
    -----
    `spatial_soft_argmax2d` and the other functions named after kornia's return normalized positions with the
    centres of the outermost pixels at -1 and 1: sample there with ``align_corners=True``, which is not the
    default here, as in torch.

    Differentiable with respect to `input`, `grid` and the table of a `WeightedNearest`. "bicubic" also applies to
    volumes, for which torch lacks it. The gradient of "nearest" with respect to the grid is 0; use `Nearest` for a
    surrogate.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import affine_grid, grid_sample
    >>> image = np.arange(4.0).reshape(1, 1, 2, 2)
    >>> half_turn = np.array([[[-1.0, 0, 0], [0, -1, 0]]])
    >>> grid_sample(image, affine_grid(half_turn, image.shape))
    array([[[[3., 2.],
             [1., 0.]]]])

    Sample features at the mean position of each of 17 heat maps:

    >>> from npsubpix import spatial_soft_argmax2d
    >>> heat_maps, features = np.random.default_rng(0).normal(size=(2, 17, 24, 32)), np.ones((2, 5, 24, 32))
    >>> positions = spatial_soft_argmax2d(heat_maps)
    >>> grid_sample(features, positions[:, :, None], align_corners=True).shape
    (2, 5, 17, 1)
    """
    x, positions = as_array(input, "input"), as_array(grid, "grid")
    if x.ndim not in (4, 5):
        raise ValueError(f"input must have shape (N, C, H, W) or (N, C, D, H, W), got {tuple(x.shape)}")
    axes = x.ndim - 2
    if positions.ndim < 2 or positions.shape[-1] != axes or positions.shape[0] != x.shape[0]:
        raise ValueError(f"grid must have shape ({x.shape[0]}, ..., {axes}), got {tuple(positions.shape)}")
    if any(n == 0 for n in x.shape[2:]):
        raise ValueError(f"input must have at least one pixel along each axis, got shape {tuple(x.shape)}")
    check_choice(padding_mode, "padding_mode", tuple(PADDING_MODES))
    method = _torch_method(mode)
    aligned = False if align_corners is None else check_bool(align_corners, "align_corners")
    options: dict[str, Any] = {"method": method, "padding_mode": str(padding_mode), "align_corners": aligned}
    return call("grid_sample", x, positions, *tables_of(mode), **options)[0]


def _torch_method(mode: Any) -> str:
    if isinstance(mode, str) and mode in _TORCH_METHODS:
        return _TORCH_METHODS[mode]
    return method_spec(mode, "mode", tuple(_TORCH_METHODS))
