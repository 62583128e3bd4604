"""Deviations in windows of values so small or large that their squares leave the range of float32."""

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
