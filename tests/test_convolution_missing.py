"""Pixels that do not count, algorithms that must not show, integers at their ends, and images without pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch

import npsubpix
from tests.reference.convolution import correlate as definition

SHARPEN = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]])
SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
RNG = np.random.default_rng(5)
KERNELS: dict[str, Any] = {
    "sharpen": SHARPEN,
    "Sobel": SOBEL,
    "Laplacian": np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]),
    "smooth": np.outer([1, 2, 1], [1, 2, 1]) / 16,
    "negative": -np.ones((3, 3)),
    "derivative of a Gaussian": np.outer(np.exp(-(np.arange(-3, 4) ** 2) / 2), np.arange(-3, 4)),
    "cancels at the border": np.array([[1.0, -1, 1]]),
    "any": RNG.normal(size=(4, 5)),
    "a column": RNG.normal(size=(4, 1)),
}


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["direct", "auto", "fft"])
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_a_constant_stays_a_constant(kernel, method):
    """And a derivative is 0, beside missing pixels and at a border where windows shrink."""
    x = np.full((14, 15), 1000.0)
    wanted = 1000 * kernel.sum()
    rounding = 1e-12 * 1000 * np.abs(kernel).sum()
    found = npsubpix.correlate(x, kernel, border="shrink", method=method)
    np.testing.assert_allclose(found, wanted, atol=rounding)
    x[3, 4] = x[7:9, 6:8] = x[0, 0] = np.nan
    for border in ("shrink", "reflect", "nearest"):
        for function in (npsubpix.correlate, npsubpix.convolve):
            found = function(x, kernel, border=border, nan_policy="omit", method=method)
            np.testing.assert_allclose(found[np.isfinite(found)], wanted, atol=rounding)
            assert np.isfinite(found).mean() > 0.95


@pytest.mark.usefixtures("backend")
def test_the_numbers_of_a_report():
    """A sharpening kernel made 3857 of 1000, and a Sobel kernel 8000, at the border of a constant image."""
    for dtype in (np.float32, np.uint16):
        x = np.full((9, 10), 1000, dtype)
        np.testing.assert_array_equal(npsubpix.correlate(x, SHARPEN, border="shrink"), x)
        np.testing.assert_array_equal(npsubpix.correlate(x, SOBEL, border="shrink"), 0 * x)
    lines = ([1, 2, 1], [1, 0, -1])
    np.testing.assert_array_equal(npsubpix.convolve_separable(np.full((9, 10), 1000.0), lines, border="shrink"), 0)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(23,), (12, 13), (5, 6, 7)])
def test_definition(rng, shape):
    """By all methods, for kernels of both signs and products of them, strides and dilations."""
    axes = len(shape)
    for product, stride, dilation, omit in (
        (True, 1, 1, False), (True, 1, 1, True), (False, 1, 1, True), (True, 2, 1, True), (False, 1, 2, False),
    ):  # fmt: skip
        lines = [rng.normal(size=n) for n in (3, 4, 5)[:axes]]
        kernel = lines[0]
        for line in lines[1:]:
            kernel = kernel[..., None] * line
        kernel = kernel if product else rng.normal(size=kernel.shape)
        x = rng.normal(size=shape)
        if omit:
            x.flat[rng.choice(x.size, 4, replace=False)] = np.nan
        options: dict[str, Any] = {"stride": (stride,) * axes, "dilation": (dilation,) * axes}
        for border in ("shrink", "reflect"):
            wanted = definition(x, kernel, border=border, omit=omit, **options)
            for method in ("direct", "fft", *(("separable",) if product and axes > 1 else ())):
                policy = "omit" if omit else "propagate"
                found = npsubpix.correlate(x, kernel, border=border, nan_policy=policy, method=method, **options)
                np.testing.assert_allclose(found, wanted, atol=1e-11)


@pytest.mark.parametrize("border", ["shrink", "reflect"])
@pytest.mark.parametrize("mode", ["same", "full"])
def test_gradients(rng, border, mode):
    """Of weights of both signs, with missing pixels."""
    kernel = torch.from_numpy(rng.normal(size=(3, 4))).requires_grad_()
    x = rng.normal(size=(7, 8))
    known = torch.from_numpy(rng.uniform(size=x.shape) > 0.1)
    pixels = torch.from_numpy(x).requires_grad_()

    def filtered(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        seen = torch.where(known, a, torch.nan)
        return npsubpix.correlate(seen, b, border=border, mode=mode, nan_policy="omit").nan_to_num()

    assert torch.autograd.gradcheck(filtered, (pixels, kernel))


@pytest.mark.usefixtures("backend")
def test_gradients_of_both_backends(rng):
    x, kernel = rng.normal(size=(8, 9)), rng.normal(size=(3, 4))
    x[4, 5] = np.nan
    options: dict[str, Any] = {"border": "shrink", "nan_policy": "omit"}
    values, pullback = npsubpix.vjp(npsubpix.correlate, x, kernel, **options)
    seed = rng.normal(size=values.shape)
    grads = pullback(seed)
    for name, at in (("image", 0), ("kernel", 1)):
        step = rng.normal(size=(x, kernel)[at].shape)
        ahead, behind = (
            npsubpix.correlate(*((x + h * step, kernel) if at == 0 else (x, kernel + h * step)), **options)
            for h in (1e-6, -1e-6)
        )
        np.testing.assert_allclose((grads[name] * step).sum(), (seed * (ahead - behind)).sum() / 2e-6, rtol=1e-6)


# The choice of the algorithm


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spoil", [np.nan, np.inf, 1e9])
def test_large_kernels_do_not_spread_what_a_pixel_holds(rng, dtype, spoil):
    """Neither NaN nor rounding errors of a bright pixel reach further than the window."""
    x = rng.uniform(1, 2, (60, 150)).astype(dtype)
    x[10, 10] = spoil
    kernel = rng.uniform(0.1, 1, (41, 41)).astype(dtype)
    found = npsubpix.correlate(x, kernel)
    np.testing.assert_array_equal(found, npsubpix.correlate(x, kernel, method="direct"))
    clean = npsubpix.correlate(np.where(x == spoil, 1.5, x)[:, 40:].astype(dtype), kernel)
    np.testing.assert_allclose(found[:, 70:], clean[:, 30:], rtol=2e-5 if dtype == np.float32 else 1e-12)


def test_where_nothing_was_nothing_comes(rng):
    """A disc that grows a mask leaves zeros as they are."""
    mask = np.zeros((150, 160), np.float32)
    mask[75, 80] = 1
    disc = (np.hypot(*np.mgrid[-25:26, -25:26]) < 25.5).astype(float)
    grown = npsubpix.correlate(mask, disc)
    np.testing.assert_array_equal(grown > 0, npsubpix.correlate(mask, disc, method="direct") > 0)
    assert (grown > 0).sum() == disc.sum()


@pytest.mark.parametrize(
    ("dtype", "low", "high", "weights", "chosen"),
    [
        ("float32", 100, 1000, (0.1, 1), True),
        ("float32", -1, 1000, (0.1, 1), False),
        ("float32", 100, 1000, (-1, 1), False),
        ("float32", 1e-4, 1000, (0.1, 1), False),
        ("float64", 100, 1000, (0.1, 1), False),
        ("uint16", 0, 1000, None, True),
        ("uint16", 0, 1000, (0.1, 1), False),
    ],
)
def test_an_fft_is_chosen_where_it_does_not_show(rng, monkeypatch, dtype, low, high, weights, chosen):
    """Its results are those of sums, to within the rounding of single precision, or exactly for integers."""
    x = rng.uniform(low, high, (90, 100)).astype(dtype)
    x.flat[:2] = low, high
    kernel = rng.integers(-1, 2, (41, 41)) if weights is None else rng.uniform(*weights, (41, 41))
    ran = []
    convolve = scipy.signal.oaconvolve
    monkeypatch.setattr(
        scipy.signal, "oaconvolve", lambda *args, **options: ran.append(1) or convolve(*args, **options)
    )
    found = npsubpix.correlate(x, kernel)
    assert bool(ran) == chosen
    direct = npsubpix.correlate(x, kernel, method="direct")
    if dtype == "float32":
        rounding = 1e-6 * 1000 * np.abs(kernel).sum()
        np.testing.assert_allclose(found, definition_by_fft(x, kernel), atol=0 if chosen else rounding)
    else:
        np.testing.assert_array_equal(found, direct)


def definition_by_fft(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    padded = np.pad(x.astype(float), 20, "symmetric")
    return scipy.signal.fftconvolve(padded, kernel[::-1, ::-1], "valid")


# Integers at their ends


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["direct", "auto"])
@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int32, np.uint32])
def test_saturation_is_exact(dtype, method):
    """At both ends, by every algorithm; sums of ones over 2**62 gave the greatest integer less 1023."""
    ends = np.iinfo(dtype)
    x = np.full((9, 10), ends.max // 2 + 1, dtype)
    for kernel in (np.ones((3, 3), int), np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]), np.ones((1, 3)), np.ones((9, 9))):
        assert (npsubpix.correlate(x, kernel, method=method) == ends.max).all()
        assert (npsubpix.convolve(x, -kernel, method=method) == ends.min).all()
        assert (npsubpix.correlate(x, kernel, method=method, border="shrink") == ends.max).all()
    assert (npsubpix.convolve_separable(x, ([1, 1], [1, 1])) == ends.max).all()
    half = npsubpix.correlate(x, [[0.5, 0, 0.5]], method=method)
    np.testing.assert_array_equal(half, x)


@pytest.mark.exhaustive  # which compiles for other dtypes
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("source", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int32, np.uint32, np.int16, np.uint8])
def test_no_sum_has_the_wrong_sign(source, dtype):
    """The greatest float of single precision below an integer's end is not that end, and its next is beyond."""
    ends = np.iinfo(dtype)
    values = [2.0**62, -(2.0**62), 2.0**31, -(2.0**31), 2.0**31 - 128, 3e9, -3e9, 254.0, 256.0, 32766.0, 32768.0, -2.0]
    x = np.array(values).astype(source)
    for weight in (1, 2, 0.5):
        found = npsubpix.correlate(x, [float(weight)], dtype=dtype)
        wanted = [min(max(int(v * weight), ends.min), ends.max) for v in values]
        assert found.tolist() == wanted, weight


# Images without pixels


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0), (2, 0, 4)])
def test_filters_of_images_without_pixels(shape):
    """Results are empty and of the dtype of others, as those of SciPy."""
    axes = len(shape)
    kernel = np.ones((3,) * axes)
    for dtype in (np.uint8, np.float32):
        x = np.zeros(shape, dtype)
        for border in ("reflect", "mirror", "nearest", "wrap", "constant", "shrink"):
            found = npsubpix.correlate(x, kernel, border=border)
            assert (found.shape, found.dtype) == (shape, dtype)
            assert npsubpix.convolve_separable(x, [[1, 2, 1]] * axes, border=border).shape == shape
            if border != "shrink":
                assert npsubpix.difference_of_gaussians(x, 1.0, border=border).shape == shape
                assert npsubpix.laplacian_of_gaussian(x, 1.0, border=border).dtype == np.float32
        for mode, grows in (("valid", -2), ("full", 2)):
            wanted = tuple(max(n + grows, 0) if n else 0 for n in shape)
            assert npsubpix.correlate(x, kernel, mode=mode).shape == wanted
        assert npsubpix.correlate(x, kernel, nan_policy="omit", stride=2).size == 0
    values, pullback = npsubpix.vjp(npsubpix.correlate, np.zeros(shape), kernel)
    grads = pullback(values)
    assert grads["image"].shape == shape
    np.testing.assert_array_equal(grads["kernel"], np.zeros(kernel.shape))
    channels = npsubpix.correlate(np.zeros((*shape, 3)), kernel, channel_axis=-1)
    assert channels.shape == (*shape, 3)
    assert npsubpix.conv2d(np.zeros((0, 2, 5, 6)), np.zeros((4, 2, 3, 3))).shape == (0, 4, 3, 4)
