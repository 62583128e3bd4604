"""Convolution by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi

from npsubpix._cpu import convolution as cpu
from npsubpix._cuda import convolution
from npsubpix._cuda.launch import devices
from tests.assertions import assert_same

pytestmark = pytest.mark.usefixtures("cuda_on_host")

BORDERS = ("reflect", "mirror", "nearest", "wrap", "constant", "shrink")


def options(
    axes: int, border: str = "reflect", mode: str = "same", stride: int = 1, dilation: int = 1,
    channel_axis: int | None = None, omit: bool = False, method: str = "direct",
) -> dict[str, Any]:  # fmt: skip
    return {
        "flip": False,
        "mode": mode,
        "border": border,
        "cval": 1.5,
        "stride": (stride,) * axes,
        "dilation": (dilation,) * axes,
        "origin": (0,) * axes,
        "channel_axis": channel_axis,
        "omit": omit,
        "method": method,
        "dtype": "",
    }


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize(
    ("shape", "size", "mode", "stride", "dilation", "channel_axis", "omit", "flip"),
    [
        ((40,), (4,), "same", 1, 1, None, False, False),
        ((13, 17), (3, 4), "full", 2, 1, None, False, True),
        ((13, 17, 2), (5, 3), "same", 1, 2, 2, True, True),
        ((2, 4, 3), (9, 7), "same", 1, 1, 0, False, False),
        ((5, 6, 7), (2, 3, 3), "valid", 2, 1, None, True, False),
        ((1, 1), (5, 5), "full", 1, 1, None, False, False),
    ],
)
def test_gradients_as_on_the_cpu(rng, border, shape, size, mode, stride, dilation, channel_axis, omit, flip):
    """Kernels larger than the image included, where a pixel has many copies."""
    x, kernel = rng.standard_normal(shape), rng.standard_normal(size)
    if omit:
        x.flat[[3, 40]] = np.nan
    chosen = {**options(len(size), border, mode, stride, dilation, channel_axis, omit), "flip": flip}
    (want,), (found,) = cpu.correlate(x, kernel, **chosen), convolution.correlate(x, kernel, **chosen)
    assert_same(found, want, "convolution")
    arguments = (rng.standard_normal(want.shape),), (x, kernel), ()
    found, want = (module.correlate_vjp(*arguments, **chosen) for module in (convolution, cpu))
    assert_same(tuple(found), tuple(want), "convolution gradients")


def test_a_grid_smaller_than_the_work(rng, monkeypatch):
    """Threads stride over what a grid of the greatest size leaves, and the result is the same bits."""
    x, kernel = rng.standard_normal((150, 170)).astype(np.float32), rng.standard_normal((5, 5))
    shrink, product = options(2, "shrink"), np.outer(kernel[0], kernel[1])

    def run() -> tuple[np.ndarray, ...]:
        by_windows = convolution.correlate(x, kernel, **shrink)
        gradients = convolution.correlate_vjp((x,), (x, kernel), (), **shrink)
        by_tiles = convolution.correlate(x, kernel, **options(2, "wrap"))
        by_axes = convolution.correlate(x, product, **options(2, "wrap", method="separable"))
        return *by_windows, *gradients, *by_tiles, *by_axes

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
        (want,) = cpu.correlate(x, kernel, **options(len(shape), border, mode, channel_axis=0))
        chosen = options(len(shape), border, mode, channel_axis=0, method="separable")
        (found,) = convolution.correlate(x, kernel, **chosen)
        scale = np.abs(want).max(initial=1)
        np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.parametrize("size", [(15, 15), (16, 3), (2, 7, 9), (2, 20, 31)])
def test_by_tiles(rng, size):
    """Over images of several tiles; larger kernels are taken part by part."""
    shape, kernel = (5, 45, 70)[3 - len(size) :], rng.standard_normal(size)
    x = rng.standard_normal((2, *shape))
    for border in ("constant", "reflect"):
        chosen = options(len(size), border, "full", channel_axis=0)
        (want,) = cpu.correlate(x, kernel, **chosen)
        np.testing.assert_allclose(convolution.correlate(x, kernel, **chosen)[0], want, rtol=1e-9, atol=1e-11)


def test_kernels_that_are_no_product(rng):
    """The host does not wait to see that a kernel is none: all is NaN. Halves are rounded as if it was one sum."""
    x = rng.standard_normal((12, 13))
    chosen, weights = options(2, method="separable"), np.outer([1.0, 2, 1], [1.0, 0, -3])
    for place, value in (((1, 1), 0.1), ((0, 0), np.inf), ((2, 2), np.nan)):
        kernel = weights.copy()
        kernel[place] = value
        assert np.isnan(convolution.correlate(x, kernel, **chosen)[0]).all()
    nothing = convolution.correlate(x, 0 * weights, **chosen)[0]
    np.testing.assert_array_equal(nothing, np.zeros(x.shape))
    pixels = rng.integers(0, 255, (40, 50), np.uint8)
    halves = np.outer([0.25, 0.5, 0.25], [0.5, 0.5])
    want = np.rint(ndi.correlate(pixels.astype(float), halves))
    np.testing.assert_array_equal(convolution.correlate(pixels, halves, **chosen)[0], want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_product_is_one_to_four_units_of_rounding(rng, dtype):
    """Both backends take a kernel that is further from a product for none: an error on the host, NaN on a GPU."""
    x, separable = rng.standard_normal((12, 13)).astype(dtype), options(2, method="separable")
    for units, is_product in ((3, True), (5, False), (7, False)):
        kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(dtype)
        kernel[0, 0] += units * np.finfo(dtype).eps * kernel.max()
        assert np.isfinite(convolution.correlate(x, kernel, **separable)[0]).all() == is_product
        if is_product:
            assert cpu.choose_conv_method(kernel, stride=(1, 1)) == "separable"
            cpu.correlate(x, kernel, **separable)
        else:
            assert cpu.choose_conv_method(kernel, stride=(1, 1)) == "direct"
            with pytest.raises(ValueError, match="kernel must be of rank one"):
                cpu.correlate(x, kernel, **separable)


def test_a_rounded_product_of_three_lines_is_one(rng):
    """Its weights were rounded twice, and the lines are found through a weight that was too."""
    x = rng.standard_normal((3, 4, 5)).astype(np.float32)
    for _ in range(100):
        z, y, w = (rng.uniform(0.5, 1, 3).astype(np.float32) for _ in range(3))
        kernel = z[:, None, None] * y[:, None] * w
        (want,) = cpu.correlate(x, kernel, **options(3))
        (found,) = convolution.correlate(x, kernel, **options(3, method="separable"))
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)


def test_steps_and_missing_pixels_of_products(rng):
    """What has no passes along axes is summed up window by window."""
    x, kernel = rng.standard_normal((20, 21)), np.outer([1.0, 2, 1], [1.0, 3, 1])
    x[4, 5] = np.nan
    for stride, dilation, omit in ((2, 1, False), (1, 2, False), (1, 1, True)):
        (want,) = cpu.correlate(x, kernel, **options(2, stride=stride, dilation=dilation, omit=omit))
        chosen = options(2, stride=stride, dilation=dilation, omit=omit, method="separable")
        (found,) = convolution.correlate(x, kernel, **chosen)
        np.testing.assert_allclose(found, want, rtol=1e-10)
