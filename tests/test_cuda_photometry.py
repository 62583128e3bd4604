"""Photometry by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from npsubpix._cpu import photometry as cpu
from npsubpix._cuda import photometry
from npsubpix._cuda.launch import devices

pytestmark = pytest.mark.usefixtures("cuda_on_host")


def check(x, points, frames, mask, background, error, **options):
    """All columns are those of the CPU, which gets the image as float64 and compiles for nothing else."""
    camera = options.pop("camera", (None,) * 4)
    options = {"excess": 0.0, "own_noise": error is None and camera[0] is None, **options}
    known = points, frames, mask, background, error, *camera
    wanted = cpu.measure_spots(x.astype(np.float64), *known, **options)
    results = photometry.measure_spots(x, *known, **options)
    for got, want in zip(results, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
    return wanted


@pytest.mark.parametrize("dtype", ["uint8", "uint64", "float32", "float64"])
@pytest.mark.parametrize("method", ["median", "mean"])
def test_the_same_as_on_the_cpu(rng, dtype, method):
    """Noise that holds NaN and infinity, positions beside the image, masks, and apertures of many pixels."""
    shape = (2, 63, 59)
    x = rng.poisson(rng.uniform(0.2, 90, (2, 1, 59)), shape).astype(dtype)
    if x.dtype.kind == "f":
        x.ravel()[rng.integers(0, x.size, 20)] = np.resize([np.nan, np.inf, -np.inf], 20)
    points = rng.uniform(-2, np.array(shape[1:]) + 1, (200, 2))
    points[7], points[8, 0], points[9] = np.nan, np.inf, 1e300
    frames, mask = rng.integers(0, 2, 200), rng.random((1, *shape[1:])) < 0.02
    for radius, annulus in ((2.7, (4.0, 7.0)), (25.0, (26.0, 31.5))):
        for ignored in (None, mask):
            seen = check(x, points, frames, ignored, None, None, radius=radius, annulus=annulus, method=method)
            assert len(np.unique(seen[-2])) > 3
    level, error = rng.random(shape[1:]).ravel() * 9, rng.random(np.prod(shape)) - 0.01
    options = {"radius": 3.0, "annulus": (4.0, 7.0), "method": method}
    for known in ((level, error), (None, error), (level, None), (np.array([3.0]), np.array([0.5]))):
        check(x, points, frames, None, *known, **options)
    maps = rng.random(shape[1:]).ravel() * 3, np.array([0.7]), rng.random(shape[1:]).ravel(), rng.random(1) + 2
    for excess in (1.0, 2.0):
        check(x, points, frames, mask, None, None, camera=maps, excess=excess, **options)
    check(x, points, frames, None, level, None, camera=maps, excess=1.0, **options)


def test_an_image_that_there_is_not(rng):
    """Its number is not looked at from the host, which would have to wait: it gets a flag, and nothing is read."""
    x = rng.random((2, 19, 19)).astype(np.float32)
    points = np.array([[9.0, 9.0]] * 4)
    *_, flags, _ = photometry.measure_spots(
        x, points, np.array([-1, 2, 2**40, 1]), *(None,) * 7, radius=3.0, annulus=(4.0, 7.0), method="median",
        excess=0.0, own_noise=True,
    )  # fmt: skip
    np.testing.assert_array_equal(flags[:3], 8)
    assert flags[3] & 8 == 0


def test_a_grid_smaller_than_the_work(rng, monkeypatch):
    """Blocks stride over what a grid of the greatest size leaves."""
    monkeypatch.setattr(devices, "MOST_BLOCKS", 1)
    x = rng.random((1, 30, 30))
    check(x, rng.uniform(3, 26, (7, 2)), None, None, None, None, radius=3.0, annulus=(4.0, 7.0), method="median")
