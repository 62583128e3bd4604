"""Statistics and functions of windows of images without pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import npsubpix

STATISTICS: dict[str, Any] = {
    "sum": npsubpix.window_sum,
    "mean": npsubpix.window_mean,
    "var": npsubpix.window_var,
    "std": npsubpix.window_std,
    "min": npsubpix.window_min,
    "max": npsubpix.window_max,
    "range": npsubpix.window_range,
    "median": npsubpix.window_median,
}


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    "shape", [(0, 4), (3, 0), *(pytest.param(s, marks=pytest.mark.exhaustive) for s in ((0,), (2, 0, 4)))]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, pytest.param(np.uint8, marks=pytest.mark.exhaustive)])
def test_statistics(shape, dtype):
    """Results are empty, and of the dtype that those of other images have."""
    x, other = np.zeros(shape, dtype), np.zeros((3,) * len(shape), dtype)
    for border in ("shrink", "reflect", "constant"):
        for function in STATISTICS.values():
            found = function(x, 3, border=border)
            assert found.shape == shape
            assert found.dtype == function(other, 3, border=border).dtype
    assert npsubpix.window_percentile(x, 25, 3).shape == shape
    assert npsubpix.window_centroid(x, 3).shape == (len(shape), *shape)
    assert npsubpix.window_mean(x, 3, dtype=np.int16).dtype == np.int16
    assert npsubpix.window_sum(x, footprint=np.ones((3,) * len(shape), bool), stride=2).size == 0


@pytest.mark.exhaustive  # which compiles many functions
@pytest.mark.parametrize("border", ["shrink", "nearest", "constant"])
def test_functions(border):
    for shape in ((0, 4), (3, 0)):
        x = np.zeros(shape)
        found = npsubpix.window_map(lambda a: a.sum() > 0, x, size=3, border=border)
        assert (found.shape, found.dtype) == (shape, bool)
        low, high = npsubpix.window_map(lambda a: (a[0, 0], a[0, 0] + 1), x, size=(1, 1), border=border, n_outputs=2)
        assert low.shape == high.shape == shape
        batches = npsubpix.window_map(lambda a: a.sum((1, 2)), x, size=3, border=border, vectorized=True)
        assert batches.shape == shape
