"""Convolution by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage as ndi

from npsubpix._cpu import convolution as cpu
from npsubpix._cuda import convolution
from npsubpix._cuda.launch import devices
from tests.assertions import assert_same

pytestmark = pytest.mark.usefixtures("cuda_on_host")

BORDERS = ("reflect", "mirror", "nearest", "wrap", "constant", "shrink")


def options(border: str, mode: str, stride: int, dilation: int, axes: int, channel_axis: int | None, omit: bool):
    per_axis = (stride,) * axes, (dilation,) * axes, (0,) * axes
    return mode, border, 1.5, *per_axis, channel_axis, omit, "direct", ""


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize(
    ("shape", "size", "mode", "stride", "dilation", "channel_axis", "omit"),
    [
        ((40,), (4,), "same", 1, 1, None, False),
        ((13, 17), (3, 4), "full", 2, 1, None, False),
        ((13, 17, 2), (5, 3), "same", 1, 2, 2, True),
        ((2, 4, 3), (9, 7), "same", 1, 1, 0, False),
        ((5, 6, 7), (2, 3, 3), "valid", 2, 1, None, True),
        ((1, 1), (5, 5), "full", 1, 1, None, False),
    ],
)
def test_gradients_as_on_the_cpu(rng, border, shape, size, mode, stride, dilation, channel_axis, omit):
    """Kernels larger than the image included, where a pixel has many copies."""
    x, kernel = rng.standard_normal(shape), rng.standard_normal(size)
    if omit:
        x.flat[[3, 40]] = np.nan
    given = options(border, mode, stride, dilation, len(size), channel_axis, omit)
    (want,), (found,) = cpu.correlate(x, kernel, *given), convolution.correlate(x, kernel, *given)
    assert_same(found, want, "convolution")
    cotangent = rng.standard_normal(want.shape)
    arguments = (cotangent,), (x, kernel), (), *given
    found, want = (module.correlate_vjp(*arguments) for module in (convolution, cpu))
    assert_same(tuple(found), tuple(want), "convolution gradients")


def test_a_grid_smaller_than_the_work(rng, monkeypatch):
    """Threads stride over what a grid of the greatest size leaves, and the result is the same bits."""
    x, kernel = rng.standard_normal((150, 170)).astype(np.float32), rng.standard_normal((5, 5))
    given = options("shrink", "same", 1, 1, 2, None, False)
    arguments = (x,), (x, kernel), (), *given

    def run() -> tuple[np.ndarray, ...]:
        direct = options("wrap", "same", 1, 1, 2, None, False)
        results = *convolution.correlate(x, kernel, *given), *convolution.correlate_vjp(*arguments)
        product = np.outer(kernel[0], kernel[1])
        by_axes = convolution.correlate(x, product, *direct[:-2], "separable", "")
        return *results, *convolution.correlate(x, kernel, *direct), *by_axes

    before = run()
    monkeypatch.setattr(devices, "MOST_BLOCKS", 3)
    after = run()
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a, b)


SIZES = [((1100,), (40,)), ((70, 33), (5, 40)), ((150, 4), (70, 1)), ((5, 40, 9), (3, 4, 2)), ((3, 5, 6), (4, 7, 1))]


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize(("shape", "size"), SIZES)
def test_along_axes(rng, border, shape, size):
    """By one axis after the other: rows and columns of several tiles, more weights than are taken at a time."""
    kernel = np.ones(())
    for n in size:
        kernel = kernel[..., None] * rng.uniform(-0.2, 1, n)
    x = rng.standard_normal((2, *shape))
    for mode in ("same", "valid", "full"):
        given = options(border, mode, 1, 1, len(shape), 0, False)
        (want,) = cpu.correlate(x, kernel, *given)
        (found,) = convolution.correlate(x, kernel, *given[:-2], "separable", "")
        scale = np.abs(want).max(initial=1)
        np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.parametrize("size", [(15, 15), (16, 3), (2, 7, 9), (2, 20, 31)])
def test_by_tiles(rng, size):
    """Over images of several tiles; larger kernels are taken part by part."""
    shape, kernel = (5, 45, 70)[3 - len(size) :], rng.standard_normal(size)
    x = rng.standard_normal((2, *shape))
    for border in ("constant", "reflect"):
        given = options(border, "full", 1, 1, len(size), 0, False)
        (want,) = cpu.correlate(x, kernel, *given)
        np.testing.assert_allclose(convolution.correlate(x, kernel, *given)[0], want, rtol=1e-9, atol=1e-11)


def test_kernels_that_are_no_product(rng):
    """The host does not wait to see that a kernel is none: all is NaN. Halves are rounded as if it was one sum."""
    x = rng.standard_normal((12, 13))
    plain, weights = options("reflect", "same", 1, 1, 2, None, False), np.outer([1.0, 2, 1], [1.0, 0, -3])
    for place, value in (((1, 1), 0.1), ((0, 0), np.inf), ((2, 2), np.nan)):
        kernel = weights.copy()
        kernel[place] = value
        assert np.isnan(convolution.correlate(x, kernel, *plain[:-2], "separable", "")[0]).all()
    nothing = convolution.correlate(x, 0 * weights, *plain[:-2], "separable", "")[0]
    np.testing.assert_array_equal(nothing, np.zeros(x.shape))
    pixels = rng.integers(0, 255, (40, 50), np.uint8)
    halves = np.outer([0.25, 0.5, 0.25], [0.5, 0.5])
    want = np.rint(ndi.correlate(pixels.astype(float), halves))
    np.testing.assert_array_equal(convolution.correlate(pixels, halves, *plain[:-2], "separable", "")[0], want)


def test_steps_and_missing_pixels_of_products(rng):
    """What has no passes along axes is summed up window by window."""
    x, kernel = rng.standard_normal((20, 21)), np.outer([1.0, 2, 1], [1.0, 3, 1])
    x[4, 5] = np.nan
    for stride, dilation, omit in ((2, 1, False), (1, 2, False), (1, 1, True)):
        given = options("reflect", "same", stride, dilation, 2, None, omit)
        (want,) = cpu.correlate(x, kernel, *given)
        (found,) = convolution.correlate(x, kernel, *given[:-2], "separable", "")
        np.testing.assert_allclose(found, want, rtol=1e-10)
