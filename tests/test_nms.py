"""Non-maximum suppression against its definition, on nasty input."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import npsubpix
from tests.assertions import assert_library
from tests.reference import nms as reference

DTYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"]
WINDOWS_2D = [(3, 3), (5, 5), (7, 7), (15, 15), (1, 3), (3, 1), (1, 1), (2, 2), (4, 4), (2, 3), (3, 5), (9, 2), (8, 11)]
WINDOWS_3D = [
    (3, 3, 3),
    (1, 3, 3),
    (3, 1, 1),
    (1, 1, 3),
    (2, 2, 2),
    (2, 3, 4),
    (5, 3, 3),
    (3, 5, 7),
    (1, 1, 1),
    (4, 4, 4),
]


def image_of(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Random values, few enough that there are ties."""
    low = 0 if dtype.startswith("u") else -60
    return rng.integers(low, 60, shape).astype(dtype)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("size", WINDOWS_2D)
def test_2d_windows(rng, size):
    """A window of any size, odd or even, keeps exactly the strict maxima."""
    x = rng.standard_normal((2, 3, 19, 23)).astype(np.float32)
    want = reference.masks(x, size)
    np.testing.assert_array_equal(npsubpix.nms2d(x, size, mask_only=True), want)
    np.testing.assert_array_equal(npsubpix.nms2d(x, size), np.where(want, x, 0))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("size", WINDOWS_3D)
def test_3d_windows(rng, size):
    x = rng.standard_normal((1, 2, 6, 9, 11))
    want = reference.masks(x, size)
    np.testing.assert_array_equal(npsubpix.nms3d(x, size, mask_only=True), want)
    np.testing.assert_array_equal(npsubpix.nms3d(x, size), np.where(want, x, 0))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(10, 67, 5), (3, 65, 3), (17, 3, 9), (3, 32, 19), (9, 33, 4)])
def test_volumes_of_several_bands(rng, shape):
    """More rows and planes than are searched at a time, among them numbers of which a last band has none inside."""
    x = rng.integers(0, 40, (1, 1, *shape)).astype(np.float32)
    x[rng.random(x.shape) < 0.02] = np.nan
    maxima, minima = reference.masks(x, (3, 3, 3)), reference.masks(-x, (3, 3, 3))
    np.testing.assert_array_equal(npsubpix.nms3d(x, (3, 3, 3), mask_only=True), maxima)
    for mask, want in zip(npsubpix.nms3d_minmax(x), (maxima, minima), strict=True):
        np.testing.assert_array_equal(mask, want)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(3, 18), (6, 19), (9, 35), (37, 17), (40, 66)])
@pytest.mark.parametrize("dtype", ["int8", "uint16", "uint64", "float32", "float64"])
def test_images_of_several_blocks(rng, dtype, shape):
    """Rows and columns that fill the blocks that are searched at a time, and those that they leave over."""
    x = image_of(rng, (2, 1, *shape), dtype)
    if dtype.startswith("float"):
        x[rng.random(x.shape) < 0.02] = np.nan
        x[rng.random(x.shape) < 0.02] = np.inf
        x[rng.random(x.shape) < 0.02] = -0.0
    want = reference.masks(x, (3, 3))
    np.testing.assert_array_equal(npsubpix.nms2d(x, (3, 3), mask_only=True), want)
    np.testing.assert_array_equal(npsubpix.nms2d(x, (3, 3)), np.where(want, x, 0))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(rng, dtype, wrap):
    """Every real dtype is compared as it is, ties included, and comes back as it was."""
    x = image_of(rng, (1, 2, 12, 13), dtype)
    if dtype == "uint64":
        x += np.uint64(2**63)  # differences that float64 cannot tell apart
    given_array = wrap(x)
    for size in ((3, 3), (5, 4)):
        want = reference.masks(x, size)
        values, mask = npsubpix.nms2d(given_array, size), npsubpix.nms2d(given_array, size, mask_only=True)
        assert_library(values, given_array)
        assert_library(mask, given_array)
        assert np.asarray(values).dtype == x.dtype
        np.testing.assert_array_equal(np.asarray(values), np.where(want, x, 0))
        np.testing.assert_array_equal(np.asarray(mask), want)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_minmax(rng, dtype, wrap):
    """Maxima and minima in one pass are those of the image and of its negative."""
    x = image_of(rng, (2, 2, 5, 9, 11), dtype)
    source = wrap(x)
    maxima, minima = npsubpix.nms3d_minmax(source)
    assert_library(maxima, source)
    np.testing.assert_array_equal(np.asarray(maxima), reference.masks(x, (3, 3, 3)))
    np.testing.assert_array_equal(np.asarray(minima), reference.masks(-x, (3, 3, 3)))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("size", [(3, 3), (5, 5), (2, 4), (1, 3)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity(rng, size, bad):
    """A NaN in the window means no maximum; infinities compare as numbers, and two are a tie."""
    x = rng.standard_normal((1, 1, 17, 18)).astype(np.float32)
    x[0, 0, rng.integers(0, 17, 6), rng.integers(0, 18, 6)] = bad
    np.testing.assert_array_equal(npsubpix.nms2d(x, size, mask_only=True), reference.masks(x, size))


@pytest.mark.usefixtures("backend")
def test_nan_and_infinity_3d(rng):
    for bad in (np.nan, np.inf, -np.inf):
        x = rng.standard_normal((1, 1, 5, 9, 12))
        x[0, 0, rng.integers(0, 5, 4), rng.integers(0, 9, 4), rng.integers(0, 12, 4)] = bad
        np.testing.assert_array_equal(npsubpix.nms3d(x, (3, 3, 3), mask_only=True), reference.masks(x, (3, 3, 3)))
        np.testing.assert_array_equal(npsubpix.nms3d(x, (3, 5, 3), mask_only=True), reference.masks(x, (3, 5, 3)))
        maxima, minima = npsubpix.nms3d_minmax(x)
        np.testing.assert_array_equal(maxima, reference.masks(x, (3, 3, 3)))
        np.testing.assert_array_equal(minima, reference.masks(-x, (3, 3, 3)))


@pytest.mark.usefixtures("backend")
def test_plateaus_are_not_maxima():
    x = np.zeros((1, 1, 6, 6))
    x[0, 0, 2:4, 2:4] = 5
    for size in ((3, 3), (5, 5), (4, 4)):
        assert not npsubpix.nms2d(x, size, mask_only=True).any()


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    "shape", [(0, 1, 5, 5), (1, 0, 5, 5), (1, 1, 0, 5), (1, 1, 5, 0), (1, 1, 1, 9), (1, 1, 2, 2), (1, 1, 9, 1)]
)
def test_empty_and_narrow(shape):
    """A map without pixels, or smaller than the window, has no maxima; size 1 keeps everything."""
    x = np.ones(shape, np.float32)
    for size in ((3, 3), (15, 15), (2, 3), (4, 1)):
        assert not npsubpix.nms2d(x, size, mask_only=True).any()
        assert npsubpix.nms2d(x, size).shape == shape
    assert npsubpix.nms2d(x, (1, 1), mask_only=True).all()
    assert not npsubpix.nms3d(x[:, :, None], (3, 3, 3), mask_only=True).any()
    assert not npsubpix.nms3d_minmax(x[:, :, None])[1].any()


@pytest.mark.usefixtures("backend")
def test_bands_and_tiles_meet_without_a_seam(rng):
    """A large image agrees with its pieces."""
    x = rng.standard_normal((1, 1, 700, 1111)).astype(np.float32)
    for size in ((3, 3), (15, 15), (31, 4), (101, 3)):
        whole = npsubpix.nms2d(x, size, mask_only=True)[0, 0]
        for i, j in ((0, 0), (120, 300), (350, 700), (650, 1061)):
            centre = [(r, c) for r in range(i, i + 50, 7) for c in range(j, j + 50, 5)]
            centre += [(r + i, c + j) for r, c in np.argwhere(whole[i : i + 50, j : j + 50])]
            assert [bool(whole[p]) for p in centre] == [reference.is_maximum(x[0, 0], tuple(p), size) for p in centre]


@pytest.mark.usefixtures("backend")
def test_even_windows_extend_ahead_here_and_back_in_filters():
    """A window of two pixels holds the next pixel, as in kornia; one of a statistic the previous pixel, as in SciPy."""
    row = np.array([[1.0, 3.0, 2.0, 0.0]])
    maxima = npsubpix.nms2d(row[None, None], (1, 2), mask_only=True)[0, 0]
    assert maxima.tolist() == [[False, True, True, False]]
    peaks = npsubpix.find_peaks(row, size=(1, 2), refine=None)
    assert sorted(peaks.indices[:, 1].tolist()) == [1, 2]
    statistic = npsubpix.window_max(row, (1, 2))
    assert statistic.tolist() == [[1.0, 3.0, 3.0, 2.0]]
    np.testing.assert_array_equal(statistic, ndi.maximum_filter(row, (1, 2)))


def test_same_bits_for_any_number_of_threads(rng, threads):
    """In planes and volumes, with windows near and far, of masks and of values."""
    x = rng.integers(0, 99, (1, 2, 5, 90, 131)).astype(np.float32)

    def maxima() -> list[np.ndarray]:
        found = [*npsubpix.nms3d_minmax(x)]
        for mask_only in (False, True):
            found += [npsubpix.nms2d(x[0], size, mask_only=mask_only) for size in ((3, 3), (9, 7))]
            found += [npsubpix.nms3d(x, size, mask_only=mask_only) for size in ((3, 3, 3), (3, 5, 5))]
        return found

    assert threads(maxima) >= {
        "near2d_mask",
        "near2d_values",
        "near3d_mask",
        "near3d_values",
        "near3d_masks",
        "window_mask",
        "window_values",
    }


@pytest.mark.usefixtures("backend")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_small_image(data):
    """Few grey values, any shape, any window: the definition holds."""
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 40)))
    size = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 9)))
    x = data.draw(hnp.arrays(np.float32, (1, 1, *shape), elements=st.sampled_from([-1.0, 0.0, 1.0, 2.0, np.nan])))
    np.testing.assert_array_equal(npsubpix.nms2d(x, size, mask_only=True), reference.masks(x, size))


@pytest.mark.usefixtures("backend")
def test_wrong_arguments():
    x = np.zeros((1, 1, 5, 5))
    with pytest.raises(ValueError, match=r"input must have 4 dimensions, \(B, C, H, W\), got shape \(5, 5\)"):
        npsubpix.nms2d(x[0, 0], (3, 3))
    with pytest.raises(ValueError, match="input must have 5 dimensions"):
        npsubpix.nms3d(x, (3, 3, 3))
    with pytest.raises(ValueError, match="input must have 5 dimensions"):
        npsubpix.nms3d_minmax(x)
    with pytest.raises(TypeError, match="kernel_size must be a tuple of 2 integers, got 3"):
        npsubpix.nms2d(x, 3)
    with pytest.raises(ValueError, match="kernel_size must hold 2 integers"):
        npsubpix.nms2d(x, (3, 3, 3))
    with pytest.raises(ValueError, match="kernel_size must be at least 1, got 0"):
        npsubpix.nms2d(x, (3, 0))
    with pytest.raises(TypeError, match=r"kernel_size must be an integer, got 3\.0"):
        npsubpix.nms2d(x, (3, 3.0))
    with pytest.raises(TypeError, match="mask_only must be True or False"):
        npsubpix.nms2d(x, (3, 3), 1)
    for dtype in (complex, object, "U3", np.longdouble):
        with pytest.raises(TypeError, match="input must hold integers or floats"):
            npsubpix.nms2d(x.astype(dtype), (3, 3))


def apart(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in random order, no two of them near each other: a small step makes and ends no maximum."""
    return rng.permutation(np.arange(float(np.prod(shape)))).reshape(shape)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("size", [(3, 3), (5, 4), (1, 1), (3, 3, 3), (1, 4, 3)])
def test_gradient(rng, size, dtype):
    """What a loss says of a maximum goes to its pixel, and what it says of suppressed ones, even NaN, to none."""
    operation = npsubpix.nms2d if len(size) == 2 else npsubpix.nms3d
    x = apart(rng, (2, 1, 5, 9, 11)[-2 - len(size) :]).astype(dtype)
    _, pullback = npsubpix.vjp(operation, x, size)
    incoming = rng.standard_normal(x.shape).astype(dtype)
    maxima = reference.masks(x, size)
    incoming[~maxima] = np.nan
    grad = pullback(incoming)["input"]
    assert grad.dtype == dtype
    np.testing.assert_array_equal(grad, np.where(maxima, incoming, 0))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(0, 1, 5, 5), (1, 1, 0, 5), (1, 1, 2, 9)])
def test_gradient_of_empty_and_narrow(shape):
    _, pullback = npsubpix.vjp(npsubpix.nms2d, np.ones(shape), (3, 3))
    np.testing.assert_array_equal(pullback(np.ones(shape))["input"], np.zeros(shape))


@pytest.mark.usefixtures("backend")
def test_graphs(rng):
    """Values have a graph, masks of the same tensor have none, and there is no second derivative."""
    x = torch.from_numpy(apart(rng, (1, 1, 5, 6, 7))).requires_grad_()
    masks = [npsubpix.nms3d(x, (3, 3, 3), mask_only=True), *npsubpix.nms3d_minmax(x)]
    masks.append(npsubpix.nms2d(x[0], (3, 3), mask_only=True))
    assert not any(mask.requires_grad for mask in masks)
    assert not npsubpix.nms2d(x[0].detach(), (3, 3)).requires_grad
    values = npsubpix.nms3d(x, (3, 3, 3))
    (grad,) = torch.autograd.grad(values.square().sum(), x, create_graph=True)
    assert torch.equal(grad.detach(), 2 * torch.where(masks[0], x, 0).detach())
    with pytest.raises(NotImplementedError, match="no second derivative of nms"):
        grad.sum().backward()


@pytest.mark.exhaustive  # with a C++ compiler
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("ndim", [2, 3])
def test_compiled(rng, ndim):
    """Compiled in one graph, values, masks and gradients are those of the definition."""
    x = apart(rng, (2, 1, 4, 9, 8)[-2 - ndim :])
    operation, size = (npsubpix.nms2d, (3, 4)) if ndim == 2 else (npsubpix.nms3d, (3, 3, 3))

    @torch.compile(fullgraph=True)
    def everything(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        masks = npsubpix.nms3d_minmax(x) if ndim == 3 else ()
        return operation(3 * x, size), operation(x, size, mask_only=True), *masks

    leaf = torch.from_numpy(x).requires_grad_()
    values, *masks = everything(leaf)
    values.sum().backward()
    maxima = reference.masks(x, size)
    want = [maxima, *([maxima, reference.masks(-x, size)] if ndim == 3 else [])]
    np.testing.assert_array_equal(values.detach().numpy(), np.where(maxima, 3 * x, 0))
    np.testing.assert_array_equal(leaf.grad.numpy(), 3.0 * maxima)
    for mask, wanted in zip(masks, want, strict=True):
        np.testing.assert_array_equal(mask.numpy(), wanted)
