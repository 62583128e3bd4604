"""Quadratic refinement of 3-D maxima: dense maps of positions and values, as in kornia."""

from __future__ import annotations

import sys

from npsubpix._arrays.checks import check_mask, check_ndim
from npsubpix._arrays.library import Array, as_array
from npsubpix._arrays.options import check_bool, check_count, check_finite, check_positive
from npsubpix._dispatch.call import call

__all__ = ["conv_quad_interp3d", "iterative_quad_interp3d"]

_ANYWHERE = sys.maxsize


def _refine(
    input: Array,
    n_iters: int,
    strict_maxima_bonus: float,
    max_subpixel_shift: float,
    precomputed_nms_mask: Array | None,
    dilation_radius: int,
    allow_scale_steps: bool,
    max_candidates: int | None,
) -> tuple[Array, Array]:
    x = as_array(input, "input")
    check_ndim(x, 5, "input", "(B, C, D, H, W)")
    mask = None
    if precomputed_nms_mask is not None:
        mask = as_array(precomputed_nms_mask, "precomputed_nms_mask")
        check_mask(mask, tuple(x.shape), "precomputed_nms_mask")
    coords, values = call(
        "quad_interp3d",
        x,
        mask,
        n_iters=check_count(n_iters, "n_iters"),
        strict_maxima_bonus=check_finite(strict_maxima_bonus, "strict_maxima_bonus"),
        max_subpixel_shift=check_positive(max_subpixel_shift, "max_subpixel_shift"),
        dilation_radius=check_count(dilation_radius, "dilation_radius"),
        allow_scale_steps=check_bool(allow_scale_steps, "allow_scale_steps"),
        max_candidates=None if max_candidates is None else check_count(max_candidates, "max_candidates"),
    )
    return coords, values


def conv_quad_interp3d(
    input: Array,
    n_iters: int = 5,
    strict_maxima_bonus: float = 10.0,
    max_subpixel_shift: float = 0.6,
    precomputed_nms_mask: Array | None = None,
    dilation_radius: int = 1,
    allow_scale_steps: bool = True,
) -> tuple[Array, Array]:
    """Refine the maxima of a response pyramid, each within a few voxels of its start.

    The same as `iterative_quad_interp3d`, with one more rule: a maximum that moves further than
    `dilation_radius` voxels from its start is not refined.

    Parameters
    ----------
    input : array of shape (B, C, D, H, W)
        Responses of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    n_iters : int, default 5
        Greatest number of fits per maximum.
    strict_maxima_bonus : float, default 10.0
        Added to the value of every refined maximum.
    max_subpixel_shift : float, default 0.6
        A shift above this, in voxels on any axis, moves the fit to the next voxel.
    precomputed_nms_mask : bool array of shape (B, C, D, H, W), optional
        Refine the voxels at which this is True instead of the strict 3 x 3 x 3 maxima. An array on
        the device of the input, of its library or NumPy's.
    dilation_radius : int, default 1
        Greatest distance that a maximum may move, in voxels on any axis.
    allow_scale_steps : bool, default True
        Whether fits move along depth too.

    Returns
    -------
    coords_max : array of shape (B, C, 3, D, H, W)
        Position of every voxel, in the order (scale, x, y) and in voxels: refined at maxima that
        could be refined, that of the voxel elsewhere.
    y_max : array of shape (B, C, D, H, W)
        Value of the fitted quadratic at a refined maximum, plus the bonus; the input elsewhere.
        Both have the dtype of a floating input, else ``np.result_type(input.dtype, np.float32)``.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or the mask is on another device than the input.
    ValueError
        If the input does not have five dimensions, the mask does not have its shape, or a number is out of range.

    See Also
    --------
    iterative_quad_interp3d : Refine without a limit of distance; states the rules.
    find_peaks : Find peaks as a list instead of a dense map.

    Notes
    -----
    Follows ``kornia.geometry.subpix.conv_quad_interp3d``: signature and bonus of kornia 0.8.3,
    arithmetic of 0.9.0. Nothing is precomputed here, so the cost does not depend on the
    radius. Gradients are those of `iterative_quad_interp3d`.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> z, y, x = np.mgrid[:3, :5, :7]
    >>> bump = 1 - 0.1 * ((z - 1.1) ** 2 + (y - 2.2) ** 2 + (x - 2.7) ** 2)
    >>> coords, values = npsubpix.conv_quad_interp3d(bump[None, None], strict_maxima_bonus=0.0)
    >>> coords[0, 0, :, 1, 2, 3].round(3), values[0, 0, 1, 2, 3].round(3)
    (array([1.1, 2.7, 2.2]), np.float64(1.0))
    """
    return _refine(
        input,
        n_iters,
        strict_maxima_bonus,
        max_subpixel_shift,
        precomputed_nms_mask,
        dilation_radius,
        allow_scale_steps,
        None,
    )


def iterative_quad_interp3d(
    input: Array,
    n_iters: int = 5,
    strict_maxima_bonus: float = 10.0,
    max_subpixel_shift: float = 0.6,
    allow_scale_steps: bool = True,
    precomputed_nms_mask: Array | None = None,
    max_candidates: int | None = None,
) -> tuple[Array, Array]:
    """Refine the maxima of a response pyramid by fitting quadratics, voxel by voxel.

    At each strict 3 x 3 x 3 maximum a quadratic is fitted to the neighbourhood. Where its
    stationary point lies more than `max_subpixel_shift` away on any axis, the fit is repeated one
    voxel further. A maximum is not refined, and keeps its voxel's position and value, when its Hessian
    is singular, ``abs(det) <= 1e-7 * m**3`` with m its largest entry; when it moves to the border;
    when the final shift exceeds 1.5 voxels on any axis; or when it still moves on the last fit.

    Parameters
    ----------
    input : array of shape (B, C, D, H, W)
        Responses of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    n_iters : int, default 5
        Greatest number of fits per maximum.
    strict_maxima_bonus : float, default 10.0
        Added to the value of every refined maximum.
    max_subpixel_shift : float, default 0.6
        A shift above this, in voxels on any axis, moves the fit to the next voxel.
    allow_scale_steps : bool, default True
        Whether fits move along depth too.
    precomputed_nms_mask : bool array of shape (B, C, D, H, W), optional
        Refine the voxels at which this is True instead of the strict 3 x 3 x 3 maxima. An array on
        the device of the input, of its library or NumPy's.
    max_candidates : int, optional
        Refine only this many maxima per image, those of the greatest input values; of equal ones
        the first in memory order.

    Returns
    -------
    coords_max : array of shape (B, C, 3, D, H, W)
        Position of every voxel, in the order (scale, x, y) and in voxels: refined at maxima that
        could be refined, that of the voxel elsewhere.
    y_max : array of shape (B, C, D, H, W)
        Value of the fitted quadratic at a refined maximum, plus the bonus; the input elsewhere.
        Both have the dtype of a floating input, else ``np.result_type(input.dtype, np.float32)``.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or the mask is on another device than the input.
    ValueError
        If the input does not have five dimensions, the mask does not have its shape, or a number is out of range.

    See Also
    --------
    conv_quad_interp3d : Refine with a limit of the distance that a maximum moves.
    vjp : Gradients for NumPy arrays.
    find_peaks : Find peaks as a list instead of a dense map.

    Notes
    -----
    Follows ``kornia.geometry.subpix.iterative_quad_interp3d``: signature and bonus of kornia
    0.8.3, arithmetic of 0.9.0, computed in float64. The method is that of [1]_.

    Both results are differentiable with respect to the input, in torch and through `vjp`. The
    gradient is that of the last fit; the choice of voxels to refine, and of those at which their
    fits end, is held fixed. A voxel that is not refined has a constant position and its own value.

    References
    ----------
    .. [1] M. Brown and D. Lowe, "Invariant features from interest point groups", British Machine
       Vision Conference, 2002.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> z, y, x = np.mgrid[:3, :5, :7]
    >>> bump = 1 - 0.1 * ((z - 1.1) ** 2 + (y - 2.2) ** 2 + (x - 2.7) ** 2)
    >>> coords, values = npsubpix.iterative_quad_interp3d(bump[None, None])
    >>> coords[0, 0, :, 1, 2, 3].round(3), values[0, 0, 1, 2, 3].round(3)
    (array([1.1, 2.7, 2.2]), np.float64(11.0))
    """
    return _refine(
        input,
        n_iters,
        strict_maxima_bonus,
        max_subpixel_shift,
        precomputed_nms_mask,
        _ANYWHERE,
        allow_scale_steps,
        max_candidates,
    )
