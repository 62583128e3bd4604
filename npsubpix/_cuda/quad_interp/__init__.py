"""Dense quadratic refinement of 3-D maxima on the GPU."""

from __future__ import annotations

import math

from npsubpix._cuda.launch.arrays import computed, of_dtype
from npsubpix._cuda.launch.catalogue import FLOATS, INTEGERS, each_promoted, register
from npsubpix._cuda.launch.devices import blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._cuda.nms import nms_mask, strips
from npsubpix._definitions.dtypes import promoted

__all__ = ["quad_interp3d", "quad_interp3d_vjp"]

register("quad_interp", each_promoted("Pixel", (*INTEGERS, *FLOATS)), fused=False)


def quad_interp3d(
    input: DeviceArray,
    precomputed_nms_mask: DeviceArray | None,
    *,
    n_iters: int,
    strict_maxima_bonus: float,
    max_subpixel_shift: float,
    dilation_radius: int,
    allow_scale_steps: bool,
    max_candidates: int | None,
) -> tuple[DeviceArray, DeviceArray]:
    """Refine the maxima of volumes of shape (B, C, D, H, W); return coordinates and values of every voxel."""
    device, x = device_of(input), computed(input)
    dtype = promoted(x.dtype)
    stack = x.shape[0] * x.shape[1], *x.shape[2:]
    coords = device.empty((*x.shape[:2], 3, *x.shape[2:]), dtype)
    y = device.empty(x.shape, dtype)
    options = n_iters, strict_maxima_bonus, max_subpixel_shift, dilation_radius, allow_scale_steps
    if precomputed_nms_mask is None and max_candidates is None:
        kernel = Kernel.of("quad_interp", "quad_interp3d_all", Pixel=x.dtype, Result=dtype)
        run(device, kernel, blocks_for(strips(stack)), x, *stack, *options, coords, y)
        return coords, y
    mask = _candidates(x, precomputed_nms_mask, max_candidates)
    kernel = Kernel.of("quad_interp", "quad_interp3d_masked", Pixel=x.dtype, Result=dtype)
    run(device, kernel, blocks_for(x.size), x, mask, *stack, *options, coords, y)
    return coords, y


def _candidates(x: DeviceArray, mask: DeviceArray | None, max_candidates: int | None) -> DeviceArray:
    """Return the mask of the voxels to refine."""
    if mask is None:
        (mask,) = nms_mask(x, kernel_size=(3, 3, 3))
    if max_candidates is None:
        return mask
    device = device_of(x)
    if max_candidates == 0:
        return device.full(x.shape, False, bool)
    kept = device.empty(x.shape, bool)
    images = x.shape[0] * x.shape[1]
    kernel = Kernel.of("quad_interp", "quad_interp3d_strongest", Pixel=x.dtype, Result=promoted(x.dtype))
    blocks = blocks_for(images, each=1) if x.size else 0
    run(device, kernel, blocks, x, mask, kept, math.prod(x.shape[2:]), images, max_candidates)
    return kept


def quad_interp3d_vjp(
    cotangents: tuple[DeviceArray | None, DeviceArray | None],
    arrays: tuple[DeviceArray, DeviceArray | None],
    saved: tuple[()],
    *,
    n_iters: int,
    strict_maxima_bonus: float,
    max_subpixel_shift: float,
    dilation_radius: int,
    allow_scale_steps: bool,
    max_candidates: int | None,
) -> tuple[DeviceArray]:
    """Return the gradient with respect to the input.

    A voxel that was not refined has a constant position, and its own value.
    """
    x = computed(arrays[0])
    device, dtype = device_of(x), promoted(x.dtype)
    coords_cotangent, values_cotangent = (of_dtype(device, c, dtype) for c in cotangents)
    stack = x.shape[0] * x.shape[1], *x.shape[2:]
    mask = _candidates(x, arrays[1], max_candidates)
    head, following = device.full(x.shape, -1, "int64"), device.empty(x.shape, "int64")
    grad = device.empty(x.shape, dtype)
    types = {"Pixel": x.dtype, "Result": dtype}
    link = Kernel.of("quad_interp", "quad_interp3d_link", **types)
    blocks = blocks_for(x.size)
    options = n_iters, max_subpixel_shift, dilation_radius, allow_scale_steps
    run(device, link, blocks, x, mask, *stack, *options, head, following)
    gather = Kernel.of("quad_interp", "quad_interp3d_gather", **types)
    run(device, gather, blocks, x, head, following, *stack, coords_cotangent, values_cotangent, grad)
    return (grad,)
