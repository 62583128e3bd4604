"""Sampling by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import npsubpix
from npsubpix import GradientAdaptive, Nearest, WeightedNearest
from npsubpix._cuda import sampling
from npsubpix._cuda.launch import devices
from tests.sampling_checks import (
    KERNELS,
    METHODS,
    MODES,
    away_from_joints,
    check_cotangents,
    check_gradient,
    check_gradients_of_gradients,
    check_small_image,
    positions,
)

pytestmark = pytest.mark.usefixtures("cuda_on_host")

EVERY: dict[str, Any] = {
    **{name: name for name in METHODS},
    "down": Nearest(ties="down"),
    "even": Nearest(ties="even"),
    **{name: WeightedNearest(name) for name in ("smoothstep", "sigmoid", "gaussian")},
    "adaptive": GradientAdaptive(0.7, outside="bspline3"),
}
SMOOTH = ("linear", "bspline2", "bspline3", "catmull_rom", "bspline4", "bspline5", "lanczos3", "sigmoid", "gaussian")


@pytest.mark.parametrize(
    ("shape", "mode"),
    [*itertools.product([(23,), (9, 11)], MODES), *itertools.product([(5, 6, 7)], ("nearest", "wrap"))],
)
def test_derivatives_of_every_method(rng, shape, mode):
    """Gradients are derivatives, cotangents are transposes, and gradients of gradients are exact."""
    for method in EVERY.values():
        check_gradient(rng, shape, method, mode)
        check_cotangents(rng, shape, method, mode)
    for method in SMOOTH:
        check_gradients_of_gradients(rng, shape, method, mode)


@pytest.mark.parametrize("shape", [(1,), (2, 1), (1, 3), (3, 2, 1)])
def test_images_smaller_than_the_window(rng, shape):
    for method, mode in itertools.product(METHODS, MODES):
        check_small_image(rng, shape, method, mode)


def all_of(module: Any, x: np.ndarray, coords: np.ndarray, cotangents: Any, **options: Any) -> list[Any]:
    """Values and gradients, and cotangents of the arguments from those of values, of gradients, of both and none."""
    options = {"channel_axis": 0, "prefilter": True, "with_gradient": True, **options}
    of_values, of_gradient = cotangents
    results = [*module.sample(x, coords, **options)]
    for chosen in ((of_values, None), (None, of_gradient), cotangents, (None, None)):
        results += module.sample_vjp(chosen, (x, coords, None, None), (), **options)[:2]
    return results


@pytest.mark.parametrize("method", [*METHODS, "bicubic", *(KERNELS[name]._spec() for name in KERNELS)])
def test_single_precision(rng, method):
    """float32 is as float64, but for its rounding, in one to three axes."""
    for shape in ((23,), (9, 13), (5, 6, 7)):
        x = rng.standard_normal((2, *shape)).astype(np.float32)
        coords = away_from_joints(positions(rng, shape, 20)).astype(np.float32)
        count = coords.shape[1]
        cotangents = (
            rng.standard_normal((2, count)).astype(np.float32),
            rng.standard_normal((len(shape), 2, count)).astype(np.float32),
        )
        options = {"method": method, "mode": "mirror", "cval": 0.5}
        double = x.astype(float), coords.astype(float), tuple(c.astype(float) for c in cotangents)
        for result, want in zip(
            all_of(sampling, x, coords, cotangents, **options), all_of(sampling, *double, **options), strict=True
        ):
            assert result.dtype == np.float32
            np.testing.assert_allclose(result, want, atol=2e-4 * (1 + np.abs(want).max()))


def test_long_lines_are_filtered_in_parts(rng):
    """No seam where one part of a line ends and the next begins, along any axis, forward and back."""
    for shape in ((1000,), (3, 400), (400, 3), (300, 70), (2, 300, 2)):
        x = rng.standard_normal(shape)
        for order, mode in itertools.product((2, 3, 4, 5), ("mirror", "reflect", "grid-wrap")):
            (found,) = sampling.spline_filter(x, order=order, mode=mode, channel_axis=None)
            coords = np.indices(shape).reshape(len(shape), -1)
            method = f"bspline{order}"
            values = npsubpix.sample(found, coords, method=method, mode=mode, prefilter=False)
            np.testing.assert_allclose(values, x.ravel(), atol=1e-12)
            y = rng.standard_normal(shape)
            (back,) = sampling.spline_filter_vjp((y,), (x,), (), order=order, mode=mode, channel_axis=None)
            np.testing.assert_allclose((back * x).sum(), (y * found).sum(), rtol=1e-10)


def test_the_gradient_by_the_image_keeps_small_cotangents(rng):
    """It is a sum of integers, whose unit is 2**-57 of the greatest cotangent, or a smaller one."""
    coords = rng.uniform(0, 30, (2, 5000))
    y = rng.standard_normal(5000) * 10.0 ** rng.uniform(-12, 0, 5000)
    for scale in (1e-300, 1.0, 1e300):
        found, _ = npsubpix.sample_vjp(scale * y, np.zeros((32, 32)), coords, method="linear")
        wanted = np.zeros((32, 32), np.longdouble)
        base = np.floor(coords).astype(int)
        t = (coords - base).astype(np.longdouble)
        for dy, dx in itertools.product((0, 1), repeat=2):
            weight = np.abs(1 - dy - t[0]) * np.abs(1 - dx - t[1])
            np.add.at(wanted, (base[0] + dy, base[1] + dx), weight * y)
        error = np.abs(found / scale - wanted.astype(float))
        assert error.max() < 1e-14 * np.abs(y).max()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_cotangents_that_are_not_finite(bad):
    """They spoil the pixels of their samples, and no others."""
    y = np.array([1.0, bad, 2.0])
    found, _ = npsubpix.sample_vjp(y, np.zeros(9), [[1.25, 4.5, 7.5]], method="linear")
    np.testing.assert_array_equal(found, [0, 0.75, 0.25, 0, bad, bad, 0, 1, 1])
    both, _ = npsubpix.sample_vjp(np.array([np.inf, -np.inf]), np.zeros(4), [[1.5, 1.5]], method="linear")
    np.testing.assert_array_equal(both, [0, np.nan, np.nan, 0])


def test_a_grid_smaller_than_the_work(rng, monkeypatch):
    """Threads stride over what a grid of the greatest size leaves, and the result is the same bits."""
    x, coords = rng.standard_normal((2, 60, 50)).astype(np.float32), rng.uniform(-9, 60, (2, 3000)).astype(np.float32)
    cotangents = rng.standard_normal((2, 3000)).astype(np.float32), rng.standard_normal((2, 2, 3000)).astype(np.float32)
    for method in ("linear", "bspline2", "catmull_rom"):
        options = {"method": method, "mode": "nearest", "cval": 0.0}
        before = all_of(sampling, x, coords, cotangents, **options)
        with monkeypatch.context() as patch:
            patch.setattr(devices, "MOST_BLOCKS", 3)
            after = all_of(sampling, x, coords, cotangents, **options)
        for a, b in zip(after, before, strict=True):
            np.testing.assert_array_equal(a, b)


def test_functions_as_weights_are_refused():
    method = WeightedNearest(lambda d: 1 - d)
    with pytest.raises(TypeError, match="a weight that is a Python function runs on the host only"):
        npsubpix.sample(np.zeros(5), [[1.0]], method=method)
