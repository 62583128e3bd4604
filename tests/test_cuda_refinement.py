"""Refinement of positions by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from npsubpix import PeakFlags
from npsubpix._cpu import refinement as cpu
from npsubpix._cuda import refinement
from npsubpix._cuda.launch import devices
from npsubpix._definitions.refinement import Refinement
from tests.assertions import assert_same

pytestmark = pytest.mark.usefixtures("cuda_on_host")

METHODS = ["quadratic", "parabola", "least_squares", "log_quadratic", "saddle", "centroid", "phasor", "radial", None]

#: Methods with sums over windows, logarithms or angles, which are rounded in another order, or by another library.
ROUNDED = ("log_quadratic", "centroid", "phasor", "radial")


def check(x: np.ndarray, points: np.ndarray, frame: object, mask: object, options: Refinement, *noise: object) -> None:
    """Positions, values, pixels and flags are those of the CPU: bit for bit but for sums of windows.

    Both compute in float64 whatever the image holds, so the CPU gets it as that, and compiles for nothing else.
    Standard errors are sums over windows of products with inverses of matrices, some nearly singular.
    """
    *wanted, errors = cpu.refine_peaks(x.astype(np.float64), points, frame, mask, *noise, refinement=options)
    *results, found = refinement.refine_peaks(x, points, frame, mask, *noise, refinement=options)
    assert len(np.unique(wanted[3])) > 1
    assert_same(tuple(results), tuple(wanted), "centroid" if options.method in ROUNDED else "exact")
    if not noise or options.method is None:
        assert found is None
        return
    np.testing.assert_allclose(found, errors, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint64", "float32"])
@pytest.mark.parametrize("shape", [(2, 33, 29), (2, 9, 12, 13)])
@pytest.mark.parametrize("method", METHODS)
def test_the_same_as_on_the_cpu(rng, dtype, shape, method):
    """Noise that holds NaN and infinity, positions beside the image, masks, and windows of many pixels."""
    x, axes = rng.integers(0, 200, shape).astype(dtype), len(shape) - 1
    if method == "saddle" and axes == 3:
        return  # there is none in volumes
    if x.dtype.kind == "f":
        x.ravel()[rng.integers(0, x.size, 12)] = np.resize([np.nan, np.inf, -np.inf], 12)
    points = rng.uniform(-2, np.array(shape[1:]) + 1, (300, axes))
    points[7], points[8, 0], points[9] = np.nan, np.inf, 1e300
    images, mask = rng.integers(0, 2, 300), rng.random(shape) < 0.05
    camera = None, np.array([20.0]), rng.uniform(0.5, 2, x[0].size), rng.uniform(0, 9, x.size)
    noises = ((), (np.array([2.0]),), camera, (rng.uniform(1, 2, x[0].size),))
    for radius, max_shift in (((3.0, 2.5, 4.0)[:axes], 1.5), ((4.0, 12.0, 12.0)[3 - axes :], 1e9)):
        for ignored, noise in zip((None, mask) * 2, noises, strict=True):
            check(x, points, images, ignored, Refinement(method, 20, max_shift, radius), *noise)


@pytest.mark.parametrize("method", METHODS)
def test_an_image_that_there_is_not(method):
    """Its number is not looked at from the host, which would have to wait: it gets a flag, and nothing is read."""
    x = np.ones((2, 9, 9), np.float32)
    points = np.array([[4.0, 4.0]] * 4)
    coords, values, starts, flags, _, errors = refinement.refine_peaks(
        x, points, np.array([-1, 2, 2**40, 1]), None, np.ones(1), refinement=Refinement(method, 5, 1.5, (3.0, 3.0))
    )
    assert errors is None if method is None else np.isnan(errors[:3]).all()
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
    check(x, points, None, None, Refinement(method, 5, 1.5, (3.0, 3.0)), np.ones(1))


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("shape", [(30, 41), (5, 9, 12), (3, 40)])
def test_starts_that_are_near_others(rng, shape, wrap):
    """Maxima and minima apart, without duplicates and what is outside, on a GPU as on the host and by all distances."""
    count, images = 60, 2
    starts = rng.integers(-1, np.array(shape) + 1, (count, len(shape)))
    frames, flags = rng.integers(0, images, count), rng.choice([0, 1, 4, 1024], count).astype(np.int32)
    reach = np.where(rng.random(count) < 0.1, np.nan, rng.uniform(0, 5, count))
    apart = np.abs(starts[:, None] - starts)
    if wrap:
        apart = np.minimum(apart, np.array(shape) - apart)
    counts = ((starts >= 0) & (starts < shape)).all(1) & (flags != 1024)
    pairs = counts & counts[:, None] & ~np.eye(count, dtype=bool)
    pairs &= (frames == frames[:, None]) & ((flags == 4) == (flags == 4)[:, None])
    with np.errstate(invalid="ignore"):
        near = (pairs & ((apart**2).sum(-1) < reach[:, None] ** 2)).any(1)
    wanted = flags | np.where(near, int(PeakFlags.BLENDED), 0)
    assert 0.05 < near.mean() < 0.9
    own, other = flags.copy(), flags.copy()
    cpu.flag_blends(own, starts, frames, reach, shape, wrap)
    refinement.flag_blends(devices.device_of(starts), other, starts, frames, reach, shape, wrap)
    np.testing.assert_array_equal(own, wanted)
    np.testing.assert_array_equal(other, wanted)
