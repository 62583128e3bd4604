"""Convolution by the kernels of the GPU: all that the tests of the CPU ask, and more."""

from __future__ import annotations

import numpy as np
import pytest

from npsubpix._cpu import convolution as cpu
from npsubpix._cuda import _launch, convolution
from tests.cuda_host.fixtures import cuda_on_host, host_device  # noqa: F401
from tests.test_convolution import (  # noqa: F401
    test_any_layout,
    test_channels,
    test_convolve2d,
    test_definition,
    test_dtype_chooses,
    test_gradients_leave_nan_out,
    test_integers_are_rounded_and_kept_in_range,
    test_misuse,
    test_nan_is_left_out_on_request,
    test_nothing_valid,
    test_scipy,
    test_separable,
)

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
    np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-10)
    cotangent = rng.standard_normal(want.shape)
    pairs = zip(
        convolution.correlate_vjp((cotangent,), (x, kernel), (), *given),
        cpu.correlate_vjp((cotangent,), (x, kernel), (), *given),
        strict=True,
    )
    for result, wanted in pairs:
        assert result.shape == wanted.shape
        assert result.dtype == wanted.dtype
        np.testing.assert_allclose(result, wanted, rtol=1e-8, atol=1e-9 * np.abs(wanted).max())


def test_a_grid_smaller_than_the_work(rng, monkeypatch):
    """Threads stride over what a grid of the greatest size leaves, and the result is the same bits."""
    x, kernel = rng.standard_normal((150, 170)).astype(np.float32), rng.standard_normal((5, 5))
    given = options("shrink", "same", 1, 1, 2, None, False)
    arguments = (x,), (x, kernel), (), *given
    before = *convolution.correlate(x, kernel, *given), *convolution.correlate_vjp(*arguments)
    monkeypatch.setattr(_launch, "MOST_BLOCKS", 3)
    after = *convolution.correlate(x, kernel, *given), *convolution.correlate_vjp(*arguments)
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a, b)
