"""Deviations in windows, and squares elsewhere, of values whose squares leave the range of float32."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from tests.reference.windows import window_statistic

pytestmark = pytest.mark.usefixtures("backend")

WINDOWS = [
    {"size": (3, 4)},
    {"footprint": np.array([[True, False, True], [True, True, False]])},
    {"weights": np.array([[1.0, 2.0, 0.5]])},
]


@pytest.mark.parametrize("scale", [1e-22, 1e-20, 1e20])
@pytest.mark.parametrize("options", WINDOWS, ids=lambda options: next(iter(options)))
def test_deviations(rng, options, scale):
    x = (rng.normal(size=(7, 8)) * scale).astype(np.float32)
    unit = x.astype(float) / scale
    found = npsubpix.window_std(x, **options)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found / np.float32(scale), window_statistic(unit, "std", **options), rtol=1e-5)
    for name, power in (("mean", 1), ("var", 2), ("std", 1)):
        exact = npsubpix.window_map(name, x, dtype=np.float64, **options)
        assert exact.dtype == np.float64
        wanted = window_statistic(unit, name, **options)
        np.testing.assert_allclose(exact / scale**power, wanted, rtol=1e-12, atol=1e-14)


def test_deviations_of_volumes(rng):
    x = (rng.normal(size=(3, 4, 5)) * 1e-22).astype(np.float32)
    wanted = window_statistic(x.astype(float) * 1e22, "std", (3, 3, 3))
    np.testing.assert_allclose(npsubpix.window_std(x, 3) * np.float32(1e22), wanted, rtol=1e-5)


def test_means_of_integers_in_double_precision():
    x = np.array([[0, 1, 0]], np.uint8)
    found = npsubpix.window_mean(x, 3, border="constant", dtype=np.float64)
    np.testing.assert_array_equal(found, [[1 / 9, 1 / 9, 1 / 9]])


@pytest.mark.exhaustive  # which compiles for every family
@pytest.mark.parametrize("power", [-73, 66])
def test_squares_of_other_families(rng, power):
    """Of an image times a power of two, positions are the same, and levels and samples are that times as large."""
    unit = np.float32(2.0**power)
    x = (rng.normal(10, 1, (40, 44)) + 50 * (rng.random((40, 44)) > 0.98)).astype(np.float32)
    starts = np.argwhere(npsubpix.nms2d(x[None, None], (3, 3))[0, 0] > 30)
    for method in ("quadratic", "parabola", "centroid"):
        one, other = (npsubpix.refine_peaks(image, starts, method=method) for image in (x, x * unit))
        np.testing.assert_array_equal(other.coords, one.coords)
        np.testing.assert_array_equal(other.flags, one.flags)
    one, other = (npsubpix.local_background(image, 10) for image in (x, x * unit))
    np.testing.assert_array_equal(other.level, one.level * unit)
    np.testing.assert_array_equal(other.noise, one.noise * unit)
    one, other = (
        npsubpix.sample(image, starts.T + 0.3, method=npsubpix.GradientAdaptive(20.0 * factor))
        for image, factor in ((x, 1.0), (x * unit, float(unit)))
    )
    np.testing.assert_array_equal(other, one * unit)
