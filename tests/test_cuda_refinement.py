"""Refinement of positions by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from npsubpix._cpu import refinement as cpu
from npsubpix._cuda import refinement
from npsubpix._cuda.launch import devices
from tests.assertions import assert_same

pytestmark = pytest.mark.usefixtures("cuda_on_host")

METHODS = ["quadratic", "parabola", "centroid", None]


def check(x: np.ndarray, *options: object, method: str | None) -> None:
    """Positions, values, pixels and flags are those of the CPU: bit for bit but for sums of windows.

    Both compute in float64 whatever the image holds, so the CPU gets it as that, and compiles for nothing else.
    """
    wanted = cpu.refine_points(x.astype(np.float64), *options[:2], method, *options[2:])
    results = refinement.refine_points(x, *options[:2], method, *options[2:])
    assert len(np.unique(wanted[3])) > 1
    assert_same(tuple(results), tuple(wanted), "centroid" if method == "centroid" else "exact")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint64", "float32"])
@pytest.mark.parametrize("shape", [(2, 33, 29), (2, 9, 12, 13)])
@pytest.mark.parametrize("method", METHODS)
def test_the_same_as_on_the_cpu(rng, dtype, shape, method):
    """Noise that holds NaN and infinity, positions beside the image, masks, and windows of many pixels."""
    x, axes = rng.integers(0, 200, shape).astype(dtype), len(shape) - 1
    if x.dtype.kind == "f":
        x.ravel()[rng.integers(0, x.size, 12)] = np.resize([np.nan, np.inf, -np.inf], 12)
    points = rng.uniform(-2, np.array(shape[1:]) + 1, (300, axes))
    points[7], points[8, 0], points[9] = np.nan, np.inf, 1e300
    images, mask = rng.integers(0, 2, 300), rng.random(shape) < 0.05
    for radius, max_shift in (((3.0, 2.5, 4.0)[:axes], 1.5), ((4.0, 12.0, 12.0)[3 - axes :], np.inf)):
        for marks in (None, mask):
            check(x, images, points, 20, max_shift, radius, marks, method=method)


@pytest.mark.parametrize("method", METHODS)
def test_an_image_that_there_is_not(method):
    """Its number is not looked at from the host, which would have to wait: it gets a flag, and nothing is read."""
    x = np.ones((2, 9, 9), np.float32)
    points = np.array([[4.0, 4.0]] * 4)
    coords, values, starts, flags = refinement.refine_points(
        x, np.array([-1, 2, 2**40, 1]), points, method, 5, 1.5, (3.0, 3.0), None
    )
    np.testing.assert_array_equal(coords, points)
    np.testing.assert_array_equal(starts, points)
    np.testing.assert_array_equal(np.isnan(values), [True, True, True, False])
    np.testing.assert_array_equal(flags[:3], 64)
    assert flags[3] != 64


@pytest.mark.parametrize("method", METHODS)
def test_a_grid_smaller_than_the_work(rng, method, monkeypatch):
    """Threads and blocks stride over what a grid of the greatest size leaves."""
    monkeypatch.setattr(devices, "MOST_BLOCKS", 1)
    x, points = rng.standard_normal((1, 60, 70)), rng.uniform(0, 60, (700, 2))
    check(x, None, points, 5, 1.5, (3.0, 3.0), None, method=method)
