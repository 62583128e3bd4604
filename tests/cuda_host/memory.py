"""Runs every kernel under the address and undefined-behaviour sanitizers: `python -m tests.cuda_host.memory`.

An argument ``--spoil`` launches a kernel on more pixels than there are, which has to be noticed.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import npsubpix
from npsubpix._cuda import (
    alignment,
    background,
    blobs,
    convolution,
    filter_banks,
    gaussian,
    nms,
    peaks,
    quad_interp,
    refinement,
    sampling,
    soft_argmax,
    spatial,
)
from npsubpix._cuda.launch import devices, kernels
from npsubpix._cuda.launch.catalogue import TYPES
from npsubpix._cuda.windows import reductions
from tests.cuda_host.device import HostDevice, kernels_of

SHAPES = ((1, 2, 9, 300), (2, 1, 1, 1), (1, 1, 3, 5, 7), (1, 2, 5, 33, 17))


class Device(HostDevice):
    """Notes which kernels ran."""

    seen: set[str] = set()  # noqa: RUF012 - of all devices

    def launch(self, kernel: Any, *rest: Any) -> None:
        Device.seen.add(kernel.name)
        super().launch(kernel, *rest)


def run_maxima(x: np.ndarray, rng: np.random.Generator) -> None:
    axes = x.ndim - 2
    for size in ((3,) * axes, (5, 2, 4)[:axes]):
        nms.nms_mask(x, size)
        nms.nms_vjp((nms.nms(x, size)[0],), (x,), (), size)
    if axes == 3:
        nms.nms3d_minmax(x)
        options = 5, 10.0, 0.6, 2**62, True
        coords, values = quad_interp.quad_interp3d(x, None, *options, None)
        quad_interp.quad_interp3d(x, None, *options, 3)
        marks = rng.random(x.shape) < 0.5
        quad_interp.quad_interp3d_vjp((coords, values), (x, marks), (), *options, None)


def run_peaks(x: np.ndarray, rng: np.random.Generator) -> None:
    """Many of the pixels are equal to others, and some positions are not in the image."""
    stack, axes = np.round(2 * x[0]), x.ndim - 2
    levels, mask = (np.zeros(stack[0].size, np.float32), rng.random(stack.size)), rng.random(stack.shape) < 0.2
    for size, margin, marks, level in ((3, 1, None, None), (5, 0, mask, levels)):
        options = 0.0, 0.1, "centroid", True, marks, level, (2.5,) * axes, 7
        found = peaks.search(stack, (size,) * axes, (margin,) * (2 * axes), *options)
        frames, starts = peaks.unravel(found, stack.shape[1:])
        peaks.settle(stack, found, *refinement.refine(stack, frames, starts, None, 5, 1.5, (3.0,) * axes, marks))
    points = np.concatenate([rng.uniform(-3, 40, (40, axes)), np.full((1, axes), np.nan)])
    images = rng.integers(-1, len(stack) + 1, len(points))
    for method in refinement.METHODS:
        refinement.refine_points(stack, images, points, method, 5, 9.0, (3.0,) * axes, mask)


def run_background(x: np.ndarray, rng: np.random.Generator) -> None:
    """Boxes of a few pixels and of many, some of which are far from the others."""
    stack, axes = np.where(rng.random(x[0].shape) < 0.05, 50, x[0]), x.ndim - 2
    mask = rng.random(stack.shape) < 0.2
    mask[..., :4] = True
    background.local_background(stack, mask, (7,) * axes, "median", (2,) * axes, (3,) * axes)
    background.local_background(stack, None, (200,) * axes, "mean", (9,) * axes, (1,) * axes)


def run_softmax(x: np.ndarray, rng: np.random.Generator) -> None:
    axes, one = x.ndim - 2, np.array(1.0)
    options = (3,) * axes, (1,) * axes, (1,) * axes, True, 2.0, True
    results = soft_argmax.conv_soft_argmax(x, one, *options)
    soft_argmax.conv_soft_argmax_vjp(results, (x, one), (), *options)
    weights = rng.random(x.shape[2:])
    softmax = spatial.spatial_softmax(x, one, weights, axes)
    spatial.spatial_softmax_vjp((x,), (x, one, weights), softmax, axes)
    mean, covariance, sums = spatial.spatial_moments(x, one, weights, axes, True, True, True)
    spatial.spatial_moments_vjp((mean, covariance, None), (x, one, weights), (sums,), axes, True, True, True)
    sums_of_positions = spatial.spatial_expectation(x, weights, axes, True, True)
    spatial.spatial_expectation_vjp(sums_of_positions, (x, weights), (), axes, True, True)


def run_gaussians(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    std = np.array(1.3)
    mean = 20 * rng.random((3, len(shape)))
    maps = gaussian.render_gaussian(mean, std, shape, False, False, False)
    gaussian.render_gaussian_vjp(maps, (mean, std), (), shape, False, False, False)
    spots = 20 * rng.random((300, len(shape))), std, np.ones(300)
    image = gaussian.render_spots(*spots, shape, False, True, 6.0)
    gaussian.render_spots_vjp(image, spots, (), shape, False, True, 6.0)


def run_convolution(x: np.ndarray, rng: np.random.Generator) -> None:
    axes = x.ndim - 2
    kernel, image = rng.standard_normal((3, 4, 2)[:axes]), x[0]
    plain: dict[str, Any] = {
        "flip": True, "mode": "same", "border": "mirror", "cval": 0.0, "stride": (1,) * axes, "dilation": (1,) * axes,
        "origin": (0,) * axes, "channel_axis": 0, "omit": False, "method": "direct", "dtype": "",
    }  # fmt: skip
    far = {"dilation": (2,) * axes}
    for options in ({**plain, **far}, {**plain, **far, "border": "shrink"}, {**plain, "mode": "full"}):
        filtered = convolution.correlate(image, kernel, **options)
        convolution.correlate_vjp(filtered, (image, kernel), (), **options)
    for border in ("nearest", "shrink"):
        options = {**plain, "mode": "full", "border": border, "method": "separable", "dtype": "uint8"}
        convolution.correlate(image, np.ones((40, 3, 4)[:axes]), **options)
    blobs.laplacian_of_gaussian(image[0], sigma=(2.0,) * axes, border="wrap", cval=0.0, truncate=4.0)


def run_banks(x: np.ndarray, rng: np.random.Generator) -> None:
    if x.ndim == 4:
        filters = rng.standard_normal((4 * x.shape[1], 1, 3, 2))
        bias = np.ones(len(filters))
        options = {"stride": (2, 1), "padding": (2, 1, 0, 1), "dilation": (1, 2), "groups": x.shape[1]}
        results = filter_banks.conv2d(x, filters, bias, **options)
        filter_banks.conv2d_vjp(results, (x, filters, bias), (), **options)


def run_sampling(x: np.ndarray, rng: np.random.Generator) -> None:
    image, size = x[0], np.array(x.shape[2:])[:, None]
    coords = rng.uniform(-size, 2 * size, (x.ndim - 2, 300))
    adaptive = npsubpix.GradientAdaptive(0.5)._spec()
    for method in ("linear", "catmull_rom", "bspline5", "lanczos3", "nearest", adaptive):
        options = method, "nearest", 0.0, 0, True
        results = sampling.sample(image, coords, *options, True)
        sampling.sample(image, coords, *options, False)
        sampling.sample_vjp((results[0], None), (image, coords), (), *options, True)
        sampling.sample_vjp(results, (image, coords), (), *options, True)
    (filtered,) = sampling.spline_filter(image, 3, "mirror", 0)
    sampling.spline_filter_vjp((filtered,), (image,), (), 3, "mirror", 0)


def run_alignment(rng: np.random.Generator) -> None:
    fixed = rng.standard_normal((34, 45)).astype(np.float32)
    moving = np.roll(fixed, 1, 1)
    moving[10, 10] = np.nan
    for inverse, loss in ((True, "least_squares"), (False, "tukey")):
        options = alignment.Options("homography", inverse, 2, 3, 1e-4, loss, True)
        alignment.align(fixed, moving, np.eye(3), fixed > 2, options)
    alignment.phase_correlation(fixed, moving)


def run_windows(x: np.ndarray, rng: np.random.Generator) -> None:
    axes, image = x.ndim - 2, x[0, 0]
    weights = rng.random((3, 2, 4)[:axes])
    footprint, plain = weights > 0.3, {"cval": 0.0, "stride": (1,) * axes, "q": 0.5, "dtype": None}
    for name in ("sum", "std", "centroid", "min", "median"):
        options: dict[str, Any] = {**plain, "reduction": name}
        reductions.reduce_windows(image, None, None, size=(3,) * axes, border="shrink", **options)
        if image.shape == SHAPES[0][2:] and name != "median":
            reductions.reduce_windows(image, None, None, size=(151, 2), border="mirror", **options)
        options |= {"size": weights.shape, "border": "wrap", "stride": (2,) * axes}
        reductions.reduce_windows(image, footprint, None if name in ("min", "median") else weights, **options)
    reductions.reduce_windows(image, None, None, reduction="median", size=(7,) * axes, border="shrink", **plain)
    integers = (image * 9).astype(np.int64), footprint, None
    reductions.reduce_windows(*integers, reduction="sum", size=weights.shape, border="shrink", **plain)


def main() -> None:
    devices.DEVICES[np.ndarray] = lambda _: Device()
    rng = np.random.default_rng(20260101)
    if "--spoil" in sys.argv:
        mask, x, out = np.ones(5000, bool), np.ones(4999, np.float32), np.ones(5000, np.float32)
        devices.run(Device(), kernels.Kernel.of("nms", "nms_keep", Pixel=x.dtype), 20, mask, x, out, 5000)
    for shape in SHAPES:
        x = rng.standard_normal(shape).astype(np.float32)
        run_maxima(x, rng)
        run_peaks(x, rng)
        run_background(x, rng)
        run_softmax(x, rng)
        run_convolution(x, rng)
        run_sampling(x, rng)
        run_windows(x, rng)
        run_banks(x, rng)
        run_gaussians(shape[2:], rng)
    run_alignment(rng)
    left = {name for file in TYPES for name in kernels_of(file)} - Device.seen
    assert not left, f"these kernels did not run: {', '.join(sorted(left))}"


if __name__ == "__main__":
    main()
