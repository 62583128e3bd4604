"""Runs every kernel under the address and undefined-behaviour sanitizers: `python -m tests.cuda_host.memory`.

An argument ``--sample`` runs those of non-maximum suppression alone, ``--few`` one small image through the families
that are used most. An argument ``--spoil`` launches a kernel on more pixels than there are, which has to be noticed.
With ``NPSUBPIX_CUDA_TESTS=gpu`` all run on a GPU, where compute-sanitizer watches.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import scipy.ndimage as ndi

import npsubpix
from npsubpix._cuda import (
    alignment,
    background,
    blobs,
    convolution,
    filter_banks,
    fitting,
    gaussian,
    nms,
    peaks,
    photometry,
    quad_interp,
    refinement,
    sampling,
    soft_argmax,
    spatial,
)
from npsubpix._cuda.launch import devices, kernels
from npsubpix._cuda.launch.catalogue import all_types
from npsubpix._cuda.windows import reductions
from npsubpix._definitions.alignment.gauss_newton import Options
from npsubpix._definitions.blob_search import BlobSearch
from npsubpix._definitions.fitting import Fit
from npsubpix._definitions.peaks import PeakSearch
from npsubpix._definitions.refinement import Refinement
from npsubpix._definitions.scale_space import scale_plan
from tests.cuda_host.device import kernels_of
from tests.cuda_host.on_gpu import CHOSEN
from tests.spot_models import ALL_MODELS, numbers_of

SHAPES = ((1, 2, 9, 300), (2, 1, 1, 1), (1, 1, 3, 5, 7), (1, 2, 5, 33, 17))


class Device(CHOSEN):  # type: ignore[misc, valid-type]
    """Notes which kernels ran."""

    seen: set[str] = set()  # noqa: RUF012 - of all devices

    def launch(self, kernel: Any, *rest: Any) -> None:
        Device.seen.add(kernel.name)
        super().launch(kernel, *rest)


def run_maxima(x: np.ndarray, rng: np.random.Generator) -> None:
    axes = x.ndim - 2
    for size in ((3,) * axes, (5, 2, 4)[:axes]):
        nms.nms_mask(x, kernel_size=size)
        nms.nms_vjp((nms.nms(x, kernel_size=size)[0],), (x,), (), kernel_size=size)
    if axes == 3:
        nms.nms3d_minmax(x)
        options = {
            "n_iters": 5, "strict_maxima_bonus": 10.0, "max_subpixel_shift": 0.6, "dilation_radius": 2**62,
            "allow_scale_steps": True,
        }  # fmt: skip
        results = quad_interp.quad_interp3d(x, None, **options, max_candidates=None)
        quad_interp.quad_interp3d(x, None, **options, max_candidates=3)
        mask = rng.random(x.shape) < 0.5
        quad_interp.quad_interp3d_vjp(results, (x, mask), (), **options, max_candidates=None)


def run_peaks(x: np.ndarray, rng: np.random.Generator) -> None:
    """Many of the pixels are equal to others, and some positions are not in the image."""
    stack, axes = np.round(2 * x[0]), x.ndim - 2
    mask = rng.random(stack.shape) < 0.2
    sky = np.zeros(stack[0].size, np.float32), rng.random(stack.size)
    for size, margin, masked, background_and_sigma in ((3, 1, None, (None, None)), (5, 0, mask, sky)):
        search = PeakSearch((size,) * axes, (margin,) * (2 * axes), 0.0, 0.1, "centroid", True, (2.5,) * axes, 7)
        refined = Refinement(None, 5, 1.5, (3.0,) * axes)
        peaks.find_peaks(stack, None, masked, *background_and_sigma, search=search, refinement=refined)
        refined = Refinement("quadratic", 5, 1.5, (3.0,) * axes)
        search = search._replace(plateau="refine", margins=(1,) * (2 * axes))
        peaks.find_peaks(stack, None, masked, None, None, search=search, refinement=refined)
        search, refined = search._replace(wrap=True), refined._replace(wrap=True)
        peaks.find_peaks(stack, None, masked, *background_and_sigma, search=search, refinement=refined)
    points = np.concatenate([rng.uniform(-3, 40, (40, axes)), np.full((1, axes), np.nan)])
    images = rng.integers(-1, len(stack) + 1, len(points))
    camera = None, np.zeros(1), rng.uniform(1, 2, stack[0].size), rng.random(stack.size)
    for method in refinement.METHODS:
        refined = Refinement(method, 5, 9.0, (3.0,) * axes)
        for noise in ((), (np.ones(1),), camera):
            refinement.refine_peaks(stack, points, images, mask, *noise, refinement=refined)
    starts, flags = rng.integers(-1, 9, (len(points), axes)), rng.choice([0, 4, 1024], len(points)).astype(np.int32)
    for wrap in (False, True):
        reach = np.append(rng.uniform(0, 20, len(points) - 1), np.nan)
        refinement.flag_blends(devices.device_of(stack), flags, starts, images, reach, stack.shape[1:], wrap)


def run_background(x: np.ndarray, rng: np.random.Generator) -> None:
    """Boxes of a few pixels and of many, some of which are far from the others."""
    stack, axes = np.where(rng.random(x[0].shape) < 0.05, 50, x[0]), x.ndim - 2
    mask = rng.random(stack.shape) < 0.2
    mask[..., :4] = True
    for masked, method, size, grow, filter_size in ((mask, "median", 7, 2, 3), (None, "mean", 200, 9, 1)):
        options = {"size": (size,) * axes, "grow": (grow,) * axes, "filter_size": (filter_size,) * axes}
        background.local_background(stack, masked, method=method, **options)


def run_photometry(x: np.ndarray, rng: np.random.Generator) -> None:
    """Positions in the image and beside it, apertures that its border cuts, and frames that there are not."""
    stack = x[0]
    if stack.ndim != 3:
        return
    points = np.concatenate([rng.uniform(-3, 40, (40, 2)), np.full((1, 2), np.nan)])
    images, mask = rng.integers(-1, len(stack) + 1, len(points)), rng.random(stack.shape) < 0.2
    level, error = rng.random(stack[0].size), rng.random(stack.size)
    for known in ((None, None), (level, error), (np.array([1.0]), None)):
        for masked, method, radius in ((mask, "median", 3.2), (None, "mean", 30.0)):
            options = {"radius": radius, "annulus": (radius + 1, radius + 4), "method": method}
            own = known[1] is None
            photometry.measure_spots(
                stack, points, images, masked, *known, *(None,) * 4, excess=0.0, own_noise=own, **options
            )
    maps = level, np.array([0.5]), error[: level.size], np.array([1.0])
    photometry.measure_spots(
        stack, points, images, mask, None, None, *maps, radius=3.2, annulus=(4.0, 7.0), method="mean", excess=1.0,
        own_noise=False,
    )  # fmt: skip


def run_softmax(x: np.ndarray, rng: np.random.Generator) -> None:
    axes, temperature = x.ndim - 2, np.array(1.0)
    options = {
        "kernel_size": (3,) * axes, "stride": (1,) * axes, "padding": (1,) * axes, "normalized_coordinates": True,
        "strict_maxima_bonus": 2.0, "output_value": True,
    }  # fmt: skip
    results = soft_argmax.conv_soft_argmax(x, temperature, **options)
    soft_argmax.conv_soft_argmax_vjp(results, (x, temperature), (), **options)
    weights = rng.random(x.shape[2:])
    softmax = spatial.spatial_softmax(x, temperature, weights, spatial_axes=axes)
    spatial.spatial_softmax_vjp((x,), (x, temperature, weights), softmax, spatial_axes=axes)
    options = {"spatial_axes": axes, "normalized_coordinates": True, "xy": True}
    mean, covariance, sums = spatial.spatial_moments(x, temperature, weights, **options, second=True)
    cotangents = mean, covariance, None
    spatial.spatial_moments_vjp(cotangents, (x, temperature, weights), (sums,), **options, second=True)
    expectation = spatial.spatial_expectation(x, weights, **options)
    spatial.spatial_expectation_vjp(expectation, (x, weights), (), **options)


def run_gaussians(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    std = np.array(1.3)
    mean = 20 * rng.random((3, len(shape)))
    options = {"size": shape, "normalized_coordinates": False, "xy": False, "peak": False}
    maps = gaussian.render_gaussian(mean, std, **options)
    gaussian.render_gaussian_vjp(maps, (mean, std), (), **options)
    spots = 20 * rng.random((300, len(shape))), std, np.ones(300)
    options = {"shape": shape, "peak": False, "integrate": True, "truncate": 6.0}
    image = gaussian.render_spots(*spots, **options)
    gaussian.render_spots_vjp(image, spots, (), **options)


def run_convolution(x: np.ndarray, rng: np.random.Generator) -> None:
    axes = x.ndim - 2
    kernel, image = rng.standard_normal((3, 4, 2)[:axes]), x[0]
    near = {
        "flip": True, "mode": "full", "border": "mirror", "cval": 0.0, "stride": (1,) * axes, "dilation": (1,) * axes,
        "origin": (0,) * axes, "channel_axis": 0, "omit": False, "method": "direct", "dtype": "",
    }  # fmt: skip
    far = {**near, "mode": "same", "dilation": (2,) * axes}
    for options in (far, {**far, "border": "shrink"}, near):
        filtered = convolution.correlate(image, kernel, **options)
        convolution.correlate_vjp(filtered, (image, kernel), (), **options)
    for border in ("nearest", "shrink"):
        options = {**near, "border": border, "method": "separable", "dtype": "uint8"}
        convolution.correlate(image, np.ones((40, 3, 4)[:axes]), **options)
    blobs.laplacian_of_gaussian(image[0], sigma=(2.0,) * axes, border="wrap", cval=0.0, truncate=4.0)
    run_blobs(image, rng)


def run_blobs(stack: np.ndarray, rng: np.random.Generator) -> None:
    """Extrema at borders, and beside pixels that are masked."""
    axes, mask = stack.ndim - 1, rng.random(stack.shape) < 0.2
    for method in ("log", "dog", "doh"):
        plan = scale_plan(method, 0.8, 4.0, 2, (1.0,) * axes)
        search = BlobSearch(plan, (1, -1), 0.0, None, None, None, 1.0, None, (0,) * axes, False)
        blobs.find_blobs(stack, stack, mask, None, search=search)


def run_banks(x: np.ndarray, rng: np.random.Generator) -> None:
    if x.ndim == 4:
        arrays = x, rng.standard_normal((4 * x.shape[1], 1, 3, 2)), np.ones(4 * x.shape[1])
        options = {"stride": (2, 1), "padding": (2, 1, 0, 1), "dilation": (1, 2), "groups": x.shape[1]}
        results = filter_banks.conv2d(*arrays, **options)
        filter_banks.conv2d_vjp(results, arrays, (), **options)


def run_sampling(x: np.ndarray, rng: np.random.Generator) -> None:
    image, size = x[0], np.array(x.shape[2:])[:, None]
    coords = rng.uniform(-size, 2 * size, (x.ndim - 2, 300))
    adaptive = npsubpix.GradientAdaptive(0.5)._spec()
    wide, table = npsubpix.WeightedNearest("gaussian", reach=2)._spec(), np.linspace(1, 0.1, 5)
    learned = npsubpix.WeightedNearest(table=table, reach=3)._spec()
    for method in ("linear", "catmull_rom", "bspline5", "lanczos3", "nearest", adaptive, wide, learned):
        options = {"method": method, "mode": "nearest", "cval": 0.0, "channel_axis": 0, "prefilter": True}
        arrays = image, coords, table if method == learned else None, None
        results = sampling.sample(*arrays, **options, with_gradient=True)
        sampling.sample(*arrays, **options, with_gradient=False)
        for cotangents in ((results[0], None), results):
            sampling.sample_vjp(cotangents, arrays, (), **options, with_gradient=True)
    options = {"order": 3, "mode": "mirror", "channel_axis": 0}
    filtered = sampling.spline_filter(image, **options)
    sampling.spline_filter_vjp(filtered, (image,), (), **options)


def run_alignment(rng: np.random.Generator) -> None:
    fixed = rng.standard_normal((34, 45)).astype(np.float32)
    moving = np.roll(fixed, 1, 1)
    moving[10, 10] = np.nan
    for inverse, loss in ((True, "least_squares"), (False, "tukey")):
        options = Options("homography", inverse, 2, 3, 1e-4, loss, gain_bias=True)
        alignment.align(fixed, moving, fixed > 2, moving > 2, init=np.eye(3), options=options)
    alignment.phase_correlation(fixed, moving)
    scene = ndi.gaussian_filter(rng.standard_normal((40, 46)), 2).astype(np.float32)
    hot = (rng.random(scene.shape) < 0.005) * np.float32(9 * scene.max())
    still = Options("translation", True, 1, 30, 1e-4, "least_squares", gain_bias=False)
    alignment.align(scene + hot, np.roll(scene, 1, 1) + hot, None, None, init=np.eye(3), options=still)


def run_fits(rng: np.random.Generator) -> None:
    """Every model, of spots in the image, at its border and beside it."""
    for model in ALL_MODELS:
        axes = model.axes
        shape = (9, 20, 22)[3 - axes :]
        stack = rng.poisson(30, (2, *shape)).astype(np.float32)
        pair = np.full((2, axes), 6.0) + np.eye(2, axes) * 2  # neighbours
        starts = np.concatenate([rng.uniform(-2, 24, (12, axes)), np.full((1, axes), np.nan), pair])
        fit = Fit(model, "mle", (1.3,) * axes, (7,) * axes, 5, 1.5, False, covariance=True, numbers=numbers_of(model))
        frame, mask = rng.integers(-1, 3, len(starts)), rng.random((1, *shape)) < 0.05
        frame[-2:] = 1
        for together in (False, True):
            own = fit._replace(together=together)
            fitting.fit_spots(stack, starts, frame, mask, None, np.array([1.0]), None, None, None, fit=own)


def run_windows(x: np.ndarray, rng: np.random.Generator) -> None:
    axes, image = x.ndim - 2, x[0, 0]
    weights = rng.random((3, 2, 4)[:axes])
    options = {"border": "shrink", "cval": 0.0, "stride": (1,) * axes, "nan_policy": "omit", "q": 0.5, "dtype": None}
    mask = image > 1
    for name in ("sum", "std", "centroid", "min", "median"):
        reductions.reduce_windows(image, None, None, mask, reduction=name, size=(3,) * axes, **options)
        footprint = weights > 0.3, None if name in ("min", "median") else weights
        spaced = {**options, "border": "wrap", "stride": (2,) * axes}
        reductions.reduce_windows(image, *footprint, mask, reduction=name, size=weights.shape, **spaced)
        if image.shape == SHAPES[0][2:] and name != "median":
            long = {**options, "border": "mirror"}
            reductions.reduce_windows(image, None, None, None, reduction=name, size=(151, 2), **long)
    reductions.reduce_windows(image, None, None, None, reduction="median", size=(7,) * axes, **options)
    whole = (image * 9).astype(np.int64)
    reductions.reduce_windows(whole, weights > 0.3, None, None, reduction="sum", size=weights.shape, **options)


def run_few(x: np.ndarray, rng: np.random.Generator) -> None:
    """One small image through one family after the other; how far it came is written as it goes."""
    for run in (run_maxima, run_softmax, run_windows, run_sampling, run_convolution):
        run(x, rng)
        sys.stdout.write(f"{run.__name__} of {x.shape} is over, {len(Device.seen)} kernels ran\n")
        sys.stdout.flush()
    run_gaussians(x.shape[2:], rng)


def main() -> None:
    devices.DEVICES[np.ndarray] = lambda _: Device()
    rng = np.random.default_rng(20260101)
    if "--spoil" in sys.argv:
        mask, x, out = np.ones(5000, bool), np.ones(4999, np.float32), np.ones(5000, np.float32)
        devices.run(Device(), kernels.Kernel.of("nms", "nms_keep", Pixel=x.dtype), 20, mask, x, out, 5000)
    if "--sample" in sys.argv:
        run_maxima(rng.standard_normal(SHAPES[0]).astype(np.float32), rng)
        assert {"nms_keep", "nms_near_mask", "nms_window_mask"} <= Device.seen
        return
    if "--few" in sys.argv:
        for shape in SHAPES[::2]:
            run_few(rng.standard_normal(shape).astype(np.float32), rng)
        return
    for shape in SHAPES:
        x = rng.standard_normal(shape).astype(np.float32)
        run_maxima(x, rng)
        run_peaks(x, rng)
        run_background(x, rng)
        run_photometry(x, rng)
        run_softmax(x, rng)
        run_convolution(x, rng)
        run_sampling(x, rng)
        run_windows(x, rng)
        run_banks(x, rng)
        run_gaussians(shape[2:], rng)
    run_alignment(rng)
    run_fits(rng)
    left = {name for file in all_types() for name in kernels_of(file)} - Device.seen
    assert not left, f"these kernels did not run: {', '.join(sorted(left))}"


if __name__ == "__main__":
    main()
