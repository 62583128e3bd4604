"""Banks of filters against torch: shapes, strides, padding, dilation, groups, gradients, bad input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

import npsubpix
from npsubpix._cpu import filter_banks
from tests.reference import filter_banks as reference


@pytest.mark.usefixtures("backend")
def test_definition(rng):
    """Strides, padding and dilation of each axis, and groups."""
    x, bias = rng.normal(size=(2, 4, 7, 8)), rng.normal(size=6)
    for groups, stride, padding, dilation in ((1, (1, 2), (2, 0), (1, 3)), (2, (3, 1), (0, 1), (2, 1))):
        weight = rng.normal(size=(6, 4 // groups, 3, 2))
        found = npsubpix.conv2d(x, weight, bias, stride, padding, dilation, groups)
        wanted = reference.conv2d(x, weight, bias, stride, padding, dilation, groups)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding", [0, 2, (1, 3), "same", "valid"])
def test_torch(rng, padding, groups):
    x = rng.normal(size=(3, 4, 9, 11))
    bias = rng.normal(size=6)
    for size, stride, dilation in itertools.product([(3, 3), (2, 5)], [1, (2, 3)], [1, (2, 1)]):
        if padding == "same" and (stride != 1 or (size, dilation) == ((2, 5), 1)):
            continue  # torch refuses the first, and warns of the second
        weight = rng.normal(size=(6, 4 // groups, *size))
        for b in (None, bias):
            found = npsubpix.conv2d(x, weight, b, stride, padding, dilation, groups)
            tensors = [None if t is None else torch.from_numpy(t) for t in (x, weight, b)]
            wanted = functional.conv2d(*tensors, stride, padding, dilation, groups)
            np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("backend")
def test_the_filter_bank_of_small_colour_images(rng):
    """28 × 28 × 3 with filters of 5 × 5 × 3, one image or many."""
    images = rng.normal(size=(50, 3, 28, 28)).astype(np.float32)
    filters = rng.normal(size=(32, 3, 5, 5)).astype(np.float32)
    wanted = functional.conv2d(torch.from_numpy(images), torch.from_numpy(filters))
    found = npsubpix.conv2d(images, filters)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(npsubpix.conv2d(images[0], filters), wanted[0], rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("groups", [1, 2])
def test_rows_of_any_length_and_any_number_of_filters(rng, groups, dtype):
    """Results are computed several at a time: rows and filters may leave any number over."""
    rows = 19  # more than a thread computes one after the other
    for columns, filters in itertools.product((1, 3, 4, 7, 8, 9, 16, 23, 24, 25, 33, 57), (1, 3, 5)):
        x = rng.normal(size=(2, 2 * groups, rows + 2, columns + 1)).astype(dtype)
        weight = rng.normal(size=(filters * groups, 2, 3, 2)).astype(dtype)
        bias = rng.normal(size=filters * groups).astype(dtype)
        wanted = functional.conv2d(*(torch.from_numpy(a) for a in (x, weight, bias)), groups=groups)
        np.testing.assert_allclose(npsubpix.conv2d(x, weight, bias, groups=groups), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("backend")
def test_a_pixel_that_is_not_a_number_spoils_the_windows_that_hold_it(rng):
    x = rng.normal(size=(1, 2, 9, 31)).astype(np.float32)
    x[0, 1, 4, 20] = np.nan
    found = npsubpix.conv2d(x, rng.normal(size=(3, 2, 3, 5)).astype(np.float32))
    spoilt = np.zeros((7, 27), bool)
    spoilt[2:5, 16:21] = True
    np.testing.assert_array_equal(np.isnan(found), np.broadcast_to(spoilt, (1, 3, 7, 27)))


@pytest.mark.usefixtures("backend")
def test_integers_are_promoted_and_tensors_stay_tensors():
    x = torch.arange(2 * 5 * 5, dtype=torch.uint8).reshape(1, 2, 5, 5)
    found = npsubpix.conv2d(x, torch.ones(1, 2, 5, 5))
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.float32
    assert found.item() == x.sum().item()


def test_blocks(rng, monkeypatch):
    """Images larger than memory for their windows are done some lines at a time, and gradients too."""
    monkeypatch.setattr(filter_banks, "_PIXELS_AT_ONCE", 500)
    x, weight = rng.normal(size=(2, 3, 20, 10)), rng.normal(size=(4, 3, 3, 2))
    tensors = [torch.from_numpy(t).requires_grad_() for t in (x, weight)]
    mine = [torch.from_numpy(t).requires_grad_() for t in (x, weight)]
    wanted = functional.conv2d(*tensors, stride=2, padding=1)
    found = npsubpix.conv2d(*mine, stride=2, padding=1)
    np.testing.assert_allclose(found.detach(), wanted.detach(), rtol=1e-12, atol=1e-12)
    cotangent = torch.from_numpy(rng.normal(size=wanted.shape))
    wanted.backward(cotangent)
    found.backward(cotangent)
    for a, b in zip(mine, tensors, strict=True):
        np.testing.assert_allclose(a.grad, b.grad, rtol=1e-11, atol=1e-11)


X, W = np.zeros((2, 4, 6, 7)), np.zeros((3, 4, 3, 3))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("arguments", "options", "error", "match"),
    [
        ((X[0, 0], W), {}, ValueError, "input must have shape"),
        ((X, W[0]), {}, ValueError, "weight must have shape"),
        ((X, W[:, :3]), {}, ValueError, "weight must have filters of 4 channels over 1 groups"),
        ((X, W[:, :2]), {"groups": 2}, ValueError, "groups must divide the number of filters, 3"),
        ((X, W, np.zeros(4)), {}, ValueError, r"bias must have shape \(3,\)"),
        ((X, W), {"stride": 0}, ValueError, "stride must be at least 1"),
        ((X, W), {"dilation": (1, 2, 3)}, ValueError, "dilation must be one integer or 2 of them"),
        ((X, W), {"padding": -1}, ValueError, "padding must be at least 0"),
        ((X, W), {"padding": "full"}, ValueError, "padding must be numbers"),
        ((X, W), {"padding": "same", "stride": 2}, ValueError, "stride must be 1 with padding"),
        ((X, W), {"dilation": 3}, ValueError, "input must be at least 7 pixels high"),
        ((X, W), {"dilation": 2**63}, ValueError, "dilation must be at most 2147483648"),
        ((X, W), {"padding": 2**63}, ValueError, "padding must be at most 2147483648"),
        ((X + 1j, W), {}, TypeError, "input must hold"),
        ((X, "abc"), {}, TypeError, "weight must"),
    ],
)
def test_misuse(arguments, options, error, match):
    with pytest.raises(error, match=match):
        npsubpix.conv2d(*arguments, **options)


@pytest.mark.usefixtures("backend")
def test_no_images_give_no_results():
    assert npsubpix.conv2d(np.zeros((0, 4, 6, 7)), W).shape == (0, 3, 4, 5)
