"""Filters for blobs by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from npsubpix._cpu import blobs as cpu
from npsubpix._cpu.blobs.scale_space import HostOps
from npsubpix._cuda import blobs
from npsubpix._cuda.blobs.scale_space import DeviceOps
from npsubpix._cuda.launch import devices
from npsubpix._definitions.blob_search import BlobSearch
from npsubpix._definitions.pixel_noise import noise_of_strips, noise_strips
from npsubpix._definitions.scale_space import scale_plan
from tests.assertions import assert_same

pytestmark = pytest.mark.usefixtures("cuda_on_host")

SHAPES = [(2200,), (150, 70), (5, 1, 90)]


def both(module: object, x: np.ndarray, border: str) -> list[np.ndarray]:
    sigma = tuple(1.5 + 3 * k for k in range(x.ndim))
    wide = tuple(2 * s for s in sigma)
    return [
        module.difference_of_gaussians(x, sigma=sigma, wide_sigma=wide, border=border, cval=1.5, truncate=4.0)[0],
        module.laplacian_of_gaussian(x, sigma=sigma, border=border, cval=1.5, truncate=4.0)[0],
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_results_as_on_the_cpu(rng, shape, dtype):
    """Rows and columns of several tiles, many weights, and an axis of one pixel."""
    x = (10 * rng.standard_normal(shape)).astype(dtype)
    for border in ("constant", "mirror"):
        for result, want in zip(both(blobs, x, border), both(cpu, x, border), strict=True):
            assert_same(result, want, "blobs")


@pytest.mark.parametrize(
    "sigma", [(0.1, 2.0), (2.0, 0.1), (0.1, 0.1), (0.1, 1.0, 2.0), (1.0, 2.0, 0.1), (0.1, 0.1, 1.0)]
)
def test_gaussians_of_one_pixel(rng, sigma):
    """Narrower than a pixel along some axes, where there is one weight, which is not 1."""
    x = rng.standard_normal((11, 12, 13)[: len(sigma)])
    wide = tuple(1.6 * s for s in sigma)
    for border in ("constant", "mirror"):
        options = {"sigma": sigma, "border": border, "cval": 1.5, "truncate": 2.0}
        for name, widths in (("laplacian_of_gaussian", {}), ("difference_of_gaussians", {"wide_sigma": wide})):
            result, want = (getattr(module, name)(x, **options, **widths)[0] for module in (blobs, cpu))
            np.testing.assert_allclose(result, want, rtol=1e-11, atol=1e-11 * np.abs(want).max() + 1e-13)


def test_nan_and_infinity_stay_near(rng):
    x = rng.standard_normal((40, 50))
    x[10, 12], x[30, 40] = np.nan, np.inf
    for result, want in zip(both(blobs, x, "reflect"), both(cpu, x, "reflect"), strict=True):
        far = ~np.isfinite(want)
        np.testing.assert_array_equal(~np.isfinite(result), far)
        np.testing.assert_allclose(result[~far], want[~far], rtol=1e-10, atol=1e-12)


def test_a_grid_smaller_than_the_work(rng, monkeypatch):
    """Blocks stride over what a grid of the greatest size leaves, and the result is the same bits."""
    x = rng.standard_normal((150, 170)).astype(np.float32)
    before = both(blobs, x, "wrap")
    monkeypatch.setattr(devices, "MOST_BLOCKS", 2)
    for again, result in zip(both(blobs, x, "wrap"), before, strict=True):
        np.testing.assert_array_equal(again, result)


def test_integers_of_a_camera_are_summed_in_double_precision(rng):
    """On a background of 60000, a difference of 16-bit pixels keeps the digits of the result, as on the CPU."""
    x = rng.integers(60000, 60020, (60, 70)).astype(np.uint16)
    for result, want in zip(both(blobs, x, "mirror"), both(cpu, x, "mirror"), strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(61, 83), (21, 30, 27), (2, 3, 4)])
def test_the_noise_that_is_estimated_has_the_bits_of_the_cpu(rng, shape):
    """Thresholds in units of it must choose the same blobs."""
    x = rng.standard_normal((1,) * (3 - len(shape)) + shape).astype(np.float32)
    strips = noise_strips(x.shape)
    noise = [
        noise_of_strips(strips, ops.rows(x, strips.rows).astype(np.float64), ops.rows(x > 2, strips.rows))
        for ops in (DeviceOps(devices.device_of(x)), HostOps())
    ]
    assert noise[0] == noise[1] > 0


@pytest.mark.parametrize("method", ["log", "dog", "doh"])
@pytest.mark.parametrize("shape", [(2, 61, 83), (1, 21, 30, 27)])
def test_blobs_as_on_the_cpu(rng, shape, method, monkeypatch):
    """Of noise, where there are extrema at every border, beside masked pixels, and on several grids."""
    stack, axes = rng.standard_normal(shape).astype(np.float32), len(shape) - 1
    plan = scale_plan(method, 0.8, 6.0, 2, (1.0,) * axes)
    search = BlobSearch(plan, (1, -1), 0.0, None, None, 20.0, 1.0, None, (0,) * axes, False)
    mask = rng.random(shape) < 0.01
    result = blobs.find_blobs(stack, stack, mask, np.ones(1), search=search)
    want = cpu.find_blobs(stack, stack, mask, np.ones(1), search=search)
    assert len(want[0]) > 100
    # Extrema and fits of what rounding leaves may differ
    shared = [{tuple(row) for row in np.column_stack([t[0], t[1][:, None]]).round(2)} for t in (result, want)]
    assert len(shared[0] & shared[1]) > 0.97 * len(shared[0] | shared[1])
    monkeypatch.setattr(devices, "MOST_BLOCKS", 1)
    for again, first in zip(blobs.find_blobs(stack, stack, mask, np.ones(1), search=search), result, strict=True):
        np.testing.assert_array_equal(again, first)
