"""Convolution against its definition, SciPy and torch: borders, dtypes, NaN, strides, gradients, bad input."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import npsubpix
from npsubpix._cpu import convolution
from tests.reference.convolution import correlate as definition

BORDERS = ("reflect", "mirror", "nearest", "wrap", "constant")
METHODS = ("direct", "fft")


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(23,), (13, 17), (7, 6, 9)])
@pytest.mark.parametrize("border", [*BORDERS, "shrink"])
@pytest.mark.parametrize("mode", ["same", "valid", "full"])
def test_definition(rng, shape, border, mode):
    """Strides, dilations, origins and even kernels, of float64, by all methods."""
    axes = len(shape)
    for size, stride, dilation in ((3, 1, 1), (4, 2, 1), (2, 3, 2), (5, 1, 2)):
        kernel = rng.normal(size=(size, 3, 4)[:axes])
        origin = (rng.integers(-(size // 2), (size - 1) // 2 + 1), 0, 1)[:axes] if mode == "same" else (0,) * axes
        x = rng.normal(size=shape)
        options = {"stride": (stride,) * axes, "dilation": (dilation,) * axes, "origin": tuple(map(int, origin))}
        wanted = definition(x, kernel, mode, border, 1.5, **options)
        for method in METHODS:
            found = npsubpix.correlate(x, kernel, mode=mode, border=border, cval=1.5, method=method, **options)
            np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("size", [1, 2, 3, 6, 31])
def test_scipy(rng, border, size):
    """Correlation and convolution of ndimage, kernels larger than the image and with origins included."""
    x, kernel = rng.normal(size=(9, 14)), rng.normal(size=(3, size))
    for origin in sorted({-(size // 2), 0, (size - 1) // 2}):
        options: dict[str, Any] = {"cval": 2.5, "origin": (0, origin)}
        for name in ("correlate", "convolve"):
            wanted = getattr(ndi, name)(x, kernel, mode=border, **options)
            found = getattr(npsubpix, name)(x, kernel, border=border, **options)
            np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("mode", ["same", "valid", "full"])
def test_convolve2d(rng, mode):
    x, kernel = rng.normal(size=(19, 24)), rng.normal(size=(5, 3))
    wanted = scipy.signal.convolve2d(x, kernel, mode)
    np.testing.assert_allclose(npsubpix.convolve(x, kernel, mode=mode, border="constant"), wanted, atol=1e-12)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("border", [*BORDERS, "shrink"])
@pytest.mark.parametrize("shape", [(40,), (21, 30), (8, 9, 10)])
def test_separable(rng, border, shape):
    """Passes along the axes in their order, each on what the one before left, are the product of the kernels."""
    x = rng.normal(size=shape)
    kernels = [rng.normal(size=n) for n in (5, 3, 4)[: len(shape)]]
    found = npsubpix.convolve_separable(x, kernels, border=border)
    product = np.einsum(
        *itertools.chain.from_iterable((k, [a]) for a, k in enumerate(kernels)), list(range(len(shape)))
    )
    wanted = npsubpix.convolve(x, product, border=border, method="direct")
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    if border in BORDERS:
        for axis, k in enumerate(kernels):
            x = ndi.convolve1d(x, k, axis, mode=border)
        np.testing.assert_allclose(found, x, atol=1e-12)


def test_choice_of_method(rng):
    """What is chosen gives what the others give."""
    smooth, ring, large = np.outer([1, 2, 1], [1.0, 3, 1]), rng.normal(size=(3, 3)), rng.normal(size=(41, 41))
    for kernel, name in ((smooth, "separable"), (ring, "direct"), (large, "fft"), (np.ones(9), "direct")):
        assert npsubpix.choose_conv_method(kernel) == name
    assert npsubpix.choose_conv_method(large, stride=2) == "direct"
    x = rng.normal(size=(60, 70)).astype(np.float32)
    for kernel in (smooth, large):
        direct = npsubpix.correlate(x, kernel, method="direct")
        np.testing.assert_allclose(npsubpix.correlate(x, kernel), direct, atol=2e-4 * np.abs(kernel).max())
    with pytest.raises(ValueError, match="kernel must be of rank one"):
        npsubpix.correlate(x, ring, method="separable")


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "i4", "u4", "i8", "u8"])
def test_integers_are_rounded_and_kept_in_range(rng, dtype):
    """Sums beyond the ends of the dtype stay at its ends, and halves go to even, as np.rint."""
    info = np.iinfo(dtype)
    x = rng.integers(info.min // 2, info.max // 2, (20, 30), dtype)
    x[5:9, 5:9], x[12:15, 12:15] = info.max, info.min
    kernel = np.array([[0.5, 1.0, 0.5], [1.0, 2.0, 1.0], [0.5, 1.0, 0.5]])
    for weights in (kernel, kernel / 8, -kernel):
        found = npsubpix.correlate(x, weights, method="direct")
        wanted = np.clip(np.rint(definition(x, weights)), float(info.min), float(info.max))
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_allclose(found.astype(float), wanted, rtol=1e-15, atol=0 if x.itemsize < 8 else 1e4)
    assert npsubpix.correlate(x, kernel * 100)[6, 6] == found.dtype.type(info.max) or x.itemsize == 8


@pytest.mark.exhaustive  # which compiles for each
@pytest.mark.usefixtures("backend")
def test_dtype_chooses(rng):
    x = rng.integers(0, 255, (12, 13), np.uint8)
    kernel = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])
    exact = definition(x, kernel)
    for dtype in (np.int16, np.float32, np.float64, "f4"):
        found = npsubpix.correlate(x, kernel, dtype=dtype)
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found, exact)
    np.testing.assert_array_equal(npsubpix.correlate(x, kernel), np.clip(exact, 0, 255))
    tensor = npsubpix.correlate(torch.from_numpy(x), torch.from_numpy(kernel), dtype=torch.int16)
    assert tensor.dtype == torch.int16
    np.testing.assert_array_equal(tensor, exact)
    np.testing.assert_array_equal(
        npsubpix.correlate(exact / 3, kernel, dtype=np.uint8), np.clip(np.rint(definition(exact / 3, kernel)), 0, 255)
    )


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("border", BORDERS)
def test_bytes_with_whole_weights(rng, dtype, border):
    """Sums are exact, and kept within the range of the result, up to those that 16 bits do not hold."""
    ends = np.iinfo(dtype)
    for shape, size in (((17, 23), (3, 3)), ((5, 6, 7), (3, 2, 4)), ((40,), (5,)), ((1, 1), (3, 3)), ((3, 90), (5, 7))):
        x = rng.integers(ends.min, ends.max, shape, dtype, endpoint=True)
        weights = rng.integers(-3, 4, size)
        for kernel in (weights, 0 * weights, np.where(weights == weights.max(), 60, 0)):
            exact = definition(x, kernel, "same", border, 7.0)
            for out in (None, np.int16, np.int64):
                found = npsubpix.correlate(x, kernel, border=border, cval=7.0, dtype=out)
                limits = np.iinfo(out or dtype)
                np.testing.assert_array_equal(found, np.clip(exact, limits.min, limits.max))


@pytest.mark.usefixtures("backend")
def test_results_of_bytes_have_the_digits_of_their_dtype(rng):
    """Sums of bytes in float32 would leave float64 seven digits, and round large integers wrongly."""
    x = rng.integers(0, 256, (12, 70), np.uint8)
    kernel = rng.normal(0, 1, (3, 3))
    for options in ({}, {"border": "shrink"}, {"border": "constant", "cval": 0.1}):
        found = npsubpix.correlate(x, kernel, dtype=np.float64, **options)
        np.testing.assert_allclose(found, definition(x, kernel, "same", **options), rtol=0, atol=1e-12)
    whole = np.ones((3, 3))
    found = npsubpix.correlate(x, whole, border="shrink", dtype=np.float64)
    np.testing.assert_allclose(found, definition(x, whole, "same", "shrink"), rtol=1e-14)
    found = npsubpix.correlate(x, kernel * 5000, dtype=np.int64)
    np.testing.assert_array_equal(found, np.rint(definition(x, kernel * 5000)))
    far = 2.0**25 + 1  # a fill value that float32 does not hold
    found = npsubpix.correlate(x, whole, border="constant", cval=far, dtype=np.int64)
    np.testing.assert_array_equal(found, definition(x, whole, "same", "constant", far))


@pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy])
def test_dtype_is_not_rounded_to_that_of_the_image(rng, wrap):
    """Sums of half precision in float32, as asked for, have digits that half precision has not."""
    x = rng.uniform(1, 2, (9, 10)).astype(np.float16)
    exact = definition(x.astype(np.float64), np.ones((3, 3)))
    for dtype in (np.float32, np.float64, torch.float32):
        found = npsubpix.correlate(wrap(x), np.ones((3, 3)), dtype=dtype)
        assert str(found.dtype).removeprefix("torch.") == ("float64" if dtype is np.float64 else "float32")
        np.testing.assert_allclose(found, exact, rtol=1e-6)
    with pytest.raises(TypeError, match="dtype must be that of integers, float32 or float64, got float16"):
        npsubpix.correlate(wrap(x), np.ones((3, 3)), dtype="float16")


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("border", ["reflect", "shrink", "constant"])
def test_nan_is_left_out_on_request(rng, border, method):
    x, kernel = rng.normal(size=(14, 15)), rng.uniform(0.1, 1, (3, 5))
    x[2, 3] = x[7:11, 6:12] = np.nan
    found = npsubpix.correlate(x, kernel, border=border, nan_policy="omit", method=method)
    np.testing.assert_allclose(found, definition(x, kernel, border=border, omit=True), atol=1e-12)
    assert np.isnan(found).any()
    spread = npsubpix.correlate(x, kernel, border=border, method="direct")
    np.testing.assert_array_equal(np.isnan(spread), ndi.binary_dilation(np.isnan(x), np.ones((3, 5))))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("channel_axis", [0, 1, -1])
def test_channels(rng, channel_axis):
    x, kernel = rng.normal(size=(12, 13, 3)), rng.normal(size=(3, 3))
    moved = np.moveaxis(x, -1, channel_axis)
    found = npsubpix.convolve(moved, kernel, channel_axis=channel_axis, stride=2)
    wanted = [npsubpix.convolve(x[..., c], kernel, stride=2) for c in range(3)]
    np.testing.assert_array_equal(found, np.stack(wanted, channel_axis))


@pytest.mark.exhaustive  # which compiles for four dtypes
@pytest.mark.usefixtures("backend")
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_layout(data):
    """Strides, byte orders and read-only memory are taken as they are, and not written to."""
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    dtype = data.draw(st.sampled_from([">f4", "<f8", ">i2", "u1"]))
    x = (100 * rng.uniform(size=(14, 19))).astype(dtype)[:: data.draw(st.sampled_from([1, -1, 2]))].T
    x.flags.writeable = False
    kernel = rng.normal(size=(5, 3))[::-1]
    found = npsubpix.correlate(x, kernel, dtype=np.float64)
    # Each of the products and each of their sums is rounded once, to a unit of the greatest sum that there can be.
    unit = np.finfo(np.float64 if dtype in ("<f8", ">i2") else np.float32).eps / 2
    bound = 2 * kernel.size * unit * np.abs(kernel).sum() * 100
    np.testing.assert_allclose(found, definition(x, kernel), rtol=0, atol=bound)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("nan_policy", ["propagate", "omit"])
@pytest.mark.parametrize("pixel", [np.inf, -np.inf, np.nan, 3e38])
def test_no_pixel_makes_numpy_warn(rng, pixel, nan_policy, method):
    """Pixels that are not finite, and sums beyond float32, show in the result; only NaN is left out."""
    x = rng.normal(size=(9, 14)).astype(np.float32)
    x[4, 7] = pixel
    found = npsubpix.correlate(x, np.full((3, 3), 2.0), method=method, nan_policy=nan_policy)
    assert np.isfinite(found[4, 7]) == (nan_policy == "omit" and np.isnan(pixel))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "full", "border": "wrap"},
        {"mode": "valid", "stride": 2},
        {"dilation": 2, "origin": 1, "border": "mirror"},
        {"border": "shrink"},
        {"border": "constant", "cval": 2.0, "stride": (2, 1)},
        {"border": "nearest", "method": "fft"},
    ],
)
def test_gradients_of_torch(rng, options):
    """Gradients by the image and the kernel are those of differences."""
    x = torch.from_numpy(rng.normal(size=(7, 8))).requires_grad_()
    kernel = torch.from_numpy(rng.uniform(0.2, 1, size=(3, 4))).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: npsubpix.correlate(a, b, **options), (x, kernel))
    assert torch.autograd.gradcheck(lambda a, b: npsubpix.convolve(a, b, **options), (x, kernel))


@pytest.mark.usefixtures("backend")
def test_gradients_leave_nan_out(rng):
    x, kernel = rng.normal(size=(7, 8)), rng.uniform(0.2, 1, (3, 3))
    x[3, 4] = np.nan
    values, pullback = npsubpix.vjp(npsubpix.correlate, x, kernel, nan_policy="omit")
    seed = rng.normal(size=values.shape)
    by_image = pullback(seed)["image"]
    step = rng.normal(size=x.shape)
    ahead, behind = (npsubpix.correlate(x + h * step, kernel, nan_policy="omit") for h in (1e-6, -1e-6))
    assert by_image[3, 4] == 0
    np.testing.assert_allclose((by_image * step).sum(), (seed * (ahead - behind)).sum() / 2e-6, rtol=1e-6)


@pytest.mark.usefixtures("backend")
def test_gradients_of_convolutions_are_those_of_the_kernel_as_it_was_given(rng):
    """Not of the flipped kernel that is correlated with."""
    x, kernel, step = rng.normal(size=(7, 8)), rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    values, pullback = npsubpix.vjp(npsubpix.convolve, x, kernel, mode="full", border="wrap")
    seed = rng.normal(size=values.shape)
    wanted = (seed * npsubpix.convolve(x, step, mode="full", border="wrap")).sum()
    np.testing.assert_allclose((pullback(seed)["kernel"] * step).sum(), wanted, rtol=1e-10)


@pytest.mark.exhaustive  # which compiles for both dtypes
@pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy])
def test_sums_beyond_64_bits_are_kept_in_range(wrap):
    """They would become the other end of the dtype if they were converted as they are."""
    for dtype in (np.int64, np.uint64):
        found = npsubpix.correlate(wrap(np.array([1e30, -1e30, np.nan])), [1.0], dtype=dtype)
        ends = np.iinfo(dtype)
        np.testing.assert_allclose(np.asarray(found).astype(float), [float(ends.max), float(ends.min), 0], rtol=1e-15)


@pytest.mark.exhaustive  # which compiles adjoints of other dtypes
def test_gradients_pass_a_dtype_that_was_asked_for(rng):
    """Results in double precision of a tensor in single precision are differentiable too."""
    x = torch.from_numpy(rng.normal(size=(7, 8)).astype(np.float32)).requires_grad_()
    found = npsubpix.correlate(x, np.ones((3, 3)), dtype=torch.float64, border="constant")
    assert found.dtype == torch.float64
    found.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.float32
    np.testing.assert_allclose(x.grad, ndi.correlate(np.ones((7, 8)), np.ones((3, 3)), mode="constant"), rtol=1e-6)
    whole = npsubpix.correlate(x, np.ones((3, 3)), dtype=torch.int16)
    assert not whole.requires_grad


def test_same_bits_for_any_number_of_threads(rng, threads):
    x, kernel = rng.normal(size=(90, 101)).astype(np.float32), rng.normal(size=(7, 7))

    def filtered() -> tuple[np.ndarray, ...]:
        found, pullback = npsubpix.vjp(npsubpix.correlate, x, kernel)
        shrunk = npsubpix.correlate(x, kernel, border="shrink")
        # divided by the sum of all weights, which threads once took in parts
        means = [npsubpix.correlate(x, abs(kernel[:n, :n]).astype(np.float32), border="shrink") for n in (3, 5, 7)]
        smooth = npsubpix.convolve_separable(x, (kernel[0], kernel[1]))
        return found, shrunk, smooth, *means, *pullback(np.cos(found)).values()

    assert threads(filtered) >= {"correlate", "correlate_rows", "correlate_products", "correlate_by_kernel"}


@pytest.mark.parametrize("border", ["reflect", "wrap", "constant", "nearest"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (1, 9), (7, 2), (2, 3, 3)])
def test_wide_images_have_the_bits_of_their_parts(rng, shape, border):
    """Rows of wide images are read where they are, those of narrow ones from copies with a border extension."""
    x, kernel = rng.normal(size=(9, 12, 130)[-len(shape) :]).astype(np.float32), rng.normal(size=shape)
    for dilation in (1, 2):
        wide = npsubpix.correlate(x, kernel, border=border, dilation=dilation, cval=0.5)
        margin = 20
        known = {"reflect": "symmetric", "wrap": "wrap", "constant": "constant", "nearest": "edge"}[border]
        fill = {"constant_values": 0.5} if border == "constant" else {}
        padded = np.pad(x, margin, known, **fill)
        for first in range(0, 130, 26):
            part = padded[(slice(None),) * (x.ndim - 1) + (slice(first, first + 26 + 2 * margin),)]
            found = npsubpix.correlate(part, kernel, dilation=dilation)
            inner = (slice(margin, -margin),) * x.ndim
            np.testing.assert_array_equal(found[inner], wide[..., first : first + 26])


@pytest.mark.parametrize("border", ["reflect", "wrap", "constant", "nearest"])
@pytest.mark.parametrize("shape", [(7, 7), (3, 9), (12, 4), (2, 3, 5)])
def test_products_have_the_bits_of_those_of_copies(rng, monkeypatch, shape, border):
    """Rows of wide images are read where they are; with more lines of the kernel than registers hold, and in bands."""
    kernel = functools.reduce(np.multiply.outer, [rng.normal(size=n) for n in shape])
    x = rng.normal(size=(7, 140, 130)[-len(shape) :]).astype(np.float32)
    for options in ({"dilation": 1}, {"dilation": 2, "mode": "full"}, {"stride": (2, 1, 1)[-len(shape) :]}):
        options |= {"border": border, "cval": 0.5, "method": "separable"}
        wide = npsubpix.correlate(x, kernel, **options)
        with monkeypatch.context() as patch:
            patch.setattr(convolution, "_INSIDE", 1000)
            np.testing.assert_array_equal(wide, npsubpix.correlate(x, kernel, **options))


@pytest.mark.usefixtures("backend")
def test_nothing_valid():
    found = npsubpix.correlate(np.zeros((3, 4), np.uint8), np.ones((5, 2)), mode="valid")
    assert found.shape == (0, 3)
    assert found.dtype == np.uint8


BAD: list[Any] = [
    (lambda: npsubpix.convolve(np.zeros((3, 4)), np.ones(3)), ValueError, "kernel must have 2 dimensions"),
    (lambda: npsubpix.convolve(np.zeros((3, 4)), np.ones((0, 3))), ValueError, "kernel must have at least one weight"),
    (lambda: npsubpix.convolve(np.zeros((3, 4)), 1j * np.ones((3, 3))), TypeError, "kernel must hold real numbers"),
    (
        lambda: npsubpix.convolve(np.zeros((3, 4), complex), np.ones((3, 3))),
        TypeError,
        "image must hold integers or floats",
    ),
    (lambda: npsubpix.convolve(np.zeros(9), np.ones(3), stride=0), ValueError, "stride must be at least 1"),
    (
        lambda: npsubpix.convolve(np.zeros(9), np.ones(3), dilation=(1, 1)),
        ValueError,
        "dilation must be one integer or 1 of them",
    ),
    (
        lambda: npsubpix.convolve(np.zeros(9), np.ones(3), dilation=10**30),
        ValueError,
        "dilation must be at most 2147483648",
    ),
    (lambda: npsubpix.convolve(np.zeros(9), np.ones(3), origin=2), ValueError, "origin must be from -1 to 1"),
    (lambda: npsubpix.convolve(np.zeros(9), np.ones(3), mode="all"), ValueError, "mode must be one of"),
    (lambda: npsubpix.convolve(np.zeros(9), np.ones(3), border="zero"), ValueError, "border must be one of"),
    (lambda: npsubpix.convolve(np.zeros(9), np.ones(3), dtype="c8"), TypeError, "dtype must be that of integers"),
    (lambda: npsubpix.convolve(np.zeros(9), np.ones(3), nan_policy="raise"), ValueError, "nan_policy must be one of"),
    (lambda: npsubpix.convolve_separable(np.zeros((3, 4)), [np.ones(3)]), ValueError, "kernels must hold 2 arrays"),
]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("call", "error", "match"), BAD)
def test_misuse(call, error, match):
    with pytest.raises(error, match=match):
        call()
