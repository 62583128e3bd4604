"""Banks of filters by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from npsubpix._cpu import filter_banks as cpu
from npsubpix._cuda import filter_banks
from npsubpix._cuda.launch import devices
from tests.assertions import assert_same

pytestmark = pytest.mark.usefixtures("cuda_on_host")


def options_of(stride: Any, padding: Any, dilation: Any = (1, 1), groups: int = 1) -> dict[str, Any]:
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


CASES = [
    ((2, 4, 9, 11), (6, 2, 3, 2), (1, 1), (1, 1, 1, 1), (1, 1), 2),
    ((3, 1, 40, 37), (2, 1, 5, 4), (2, 3), (0, 2, 1, 3), (1, 2), 1),
    ((1, 130, 3, 5), (70, 130, 1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),  # several tiles of filters and channels
    ((1, 6, 5, 4), (6, 1, 3, 3), (1, 2), (2, 2, 2, 2), (2, 1), 6),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "filters", "stride", "padding", "dilation", "groups"), CASES)
def test_results_and_gradients_as_on_the_cpu(
    rng, monkeypatch, shape, filters, stride, padding, dilation, groups, dtype
):
    """With a bias and without; windows of several parts."""
    monkeypatch.setattr(filter_banks, "_PART", 50)
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in (shape, filters, filters[:1]))
    options = options_of(stride, padding, dilation, groups)
    for b in (bias, None):
        (want,), (found,) = cpu.conv2d(x, weight, b, **options), filter_banks.conv2d(x, weight, b, **options)
        cotangent = rng.standard_normal(want.shape).astype(dtype)
        pairs = [(found, want)]
        for seed in (cotangent, None):
            grads = (module.conv2d_vjp((seed,), (x, weight, b), (), **options) for module in (filter_banks, cpu))
            pairs += zip(*grads, strict=True)
        for result, wanted in pairs:
            assert_same(result, wanted, "filter banks")


def test_no_more_sums_than_fit_into_memory(rng, monkeypatch):
    """Gradients with respect to many weights are summed in fewer parts."""
    x, weight = rng.standard_normal((2, 2, 12, 13)), rng.standard_normal((3, 2, 3, 3))
    options = options_of((1, 1), (0, 0, 0, 0))
    seed = rng.standard_normal((2, 3, 10, 11))
    wanted = cpu.conv2d_vjp((seed,), (x, weight, None), (), **options)[1]
    monkeypatch.setattr(filter_banks, "_PART", 10)
    for most in (1, 200, 1 << 24):
        monkeypatch.setattr(filter_banks, "_MOST_SUMS", most)
        found = filter_banks.conv2d_vjp((seed,), (x, weight, None), (), **options)[1]
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)


def test_nan_and_infinity_stay_in_their_windows(rng):
    x, weight = rng.standard_normal((1, 2, 8, 9)), rng.standard_normal((3, 2, 3, 3))
    x[0, 0, 2, 3], x[0, 1, 6, 7] = np.nan, np.inf
    options = options_of((1, 1), (1, 1, 1, 1))
    (found,), (want,) = filter_banks.conv2d(x, weight, None, **options), cpu.conv2d(x, weight, None, **options)
    np.testing.assert_allclose(found, want, rtol=1e-11)


def test_a_grid_smaller_than_the_work(rng, monkeypatch):
    """Blocks stride over what a grid of the greatest size leaves, and the result is the same bits."""
    x, weight = rng.standard_normal((2, 4, 20, 21)).astype(np.float32), rng.standard_normal((4, 2, 3, 3))
    options = options_of((1, 1), (1, 1, 1, 1), groups=2)
    before = filter_banks.conv2d(x, weight, None, **options)
    arguments = before, (x, weight, None), ()
    grads = filter_banks.conv2d_vjp(*arguments, **options)
    monkeypatch.setattr(devices, "MOST_BLOCKS", 2)
    np.testing.assert_array_equal(filter_banks.conv2d(x, weight, None, **options)[0], before[0])
    for again, grad in zip(filter_banks.conv2d_vjp(*arguments, **options)[:2], grads[:2], strict=True):
        np.testing.assert_array_equal(again, grad)
