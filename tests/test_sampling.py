"""Sampling against its definition and SciPy; gradients against differences; cotangents against transposes."""

from __future__ import annotations

import copy
import functools
import itertools
import pickle
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import scipy.ndimage as ndi
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import npsubpix
from npsubpix import GradientAdaptive, Nearest, WeightedNearest
from tests.reference import sampling as reference
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

SCIPY = {"nearest": 0, "linear": 1, "bspline2": 2, "bspline3": 3, "bspline4": 4, "bspline5": 5}
SHAPES = ((23,), (17, 19), (13, 14, 15))


def with_all_shapes(shapes: Iterable[tuple[int, ...]], methods: Iterable[str]) -> Any:
    """Parameters of a test: kernels other than those used most are compiled for lines and volumes in the lane alone."""
    often = ("linear", 3), ("bspline3", 3), ("linear", 1)
    return pytest.mark.parametrize(
        ("shape", "method"),
        [
            pytest.param(
                s, m, marks=() if len(s) == 2 or (m, len(s)) in often else pytest.mark.exhaustive, id=f"{len(s)}d-{m}"
            )
            for s in shapes
            for m in methods
        ],
    )


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("mode", MODES)
@with_all_shapes(SHAPES, SCIPY)
def test_scipy(rng, shape, method, mode):
    image = rng.standard_normal(shape)
    coords = positions(rng, shape)
    want = ndi.map_coordinates(image, coords, order=SCIPY[method], mode=mode, cval=0.5)
    got = npsubpix.sample(image, coords, method=method, mode=mode, cval=0.5)
    np.testing.assert_allclose(got, want, atol=1e-9)
    plain = ndi.map_coordinates(image, coords, order=SCIPY[method], mode=mode, cval=0.5, prefilter=False)
    got = npsubpix.sample(image, coords, method=method, mode=mode, cval=0.5, prefilter=False)
    np.testing.assert_allclose(got, plain, atol=1e-12)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("mode", MODES)
@with_all_shapes(SHAPES, ["catmull_rom", "lanczos3", *KERNELS])
def test_definition(rng, shape, method, mode):
    image = rng.standard_normal(shape)
    coords = positions(rng, shape, 12)
    got = npsubpix.sample(image, coords, method=KERNELS.get(method, method), mode=mode, cval=0.5)
    want = reference.sample(image, coords, method, mode, 0.5)
    np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("mode", ["mirror", "reflect", "grid-wrap"])
@pytest.mark.parametrize("order", [2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(1,), (2,), (3, 1), (4, 5), (3, 4, 5), (2, 300)])
def test_spline_filter(rng, shape, order, mode):
    """Coefficients solve the equations, on axes of any length; where SciPy is exact it agrees."""
    image = rng.standard_normal(shape)
    got = npsubpix.spline_filter(image, order, mode=mode)
    np.testing.assert_allclose(got, reference.prefilter(image, order, mode), atol=1e-10)
    if mode == "mirror":
        np.testing.assert_allclose(got, ndi.spline_filter(image, order, mode=mode), atol=1e-10)


@pytest.mark.parametrize("method", ["catmull_rom", "bspline2", "bspline3", "bspline4", "bspline5", "lanczos3"])
@pytest.mark.parametrize("mode", MODES)
def test_pixels_are_kept(rng, method, mode):
    image = rng.standard_normal((14, 16))
    coords = np.mgrid[:14, :16]
    # the image is padded for two of the modes, and the filter of degree 5 reaches further than that
    atol = 1e-3 if mode in ("nearest", "grid-constant") and method.startswith("bspline") else 1e-9
    np.testing.assert_allclose(npsubpix.sample(image, coords, method=method, mode=mode), image, atol=atol)


ANY: dict[str, Any] = {
    **{name: name for name in METHODS},
    **KERNELS,
    "function": WeightedNearest(lambda d: 1.2 - d),
    "adaptive": GradientAdaptive(0.7, outside="bspline3"),
}


@pytest.mark.parametrize("mode", MODES)
@with_all_shapes(SHAPES, ANY)
def test_gradient_is_the_derivative(rng, shape, method, mode):
    check_gradient(rng, shape, ANY[method], mode)


@pytest.mark.parametrize(
    ("method", "dtype"), [*((m, "float64") for m in METHODS), ("linear", "float32"), ("bspline3", "float32")]
)
def test_inside_and_border_code_agree(rng, method, dtype):
    """An image of its own size and the same in a frame: positions at the border of one are inside the other."""
    image = rng.standard_normal((20, 23)).astype(dtype)
    coords = rng.uniform(0, [[19], [22]], (2, 3000)).astype(dtype)
    framed = np.pad(image, 8, "reflect")
    options = {"method": method, "mode": "mirror", "prefilter": False}
    a = npsubpix.sample_with_gradient(image, coords, **options)
    b = npsubpix.sample_with_gradient(framed, coords.astype("float64") + 8, **options)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, atol=2e-5 if dtype == "float32" else 1e-11)


@pytest.mark.parametrize("mode", MODES)
@with_all_shapes([(23,), (9, 11), (5, 6, 7)], ANY)
def test_cotangents_are_transposes(rng, shape, method, mode):
    check_cotangents(rng, shape, ANY[method], mode)


@pytest.mark.parametrize("method", ["linear", "bspline3", "catmull_rom", "lanczos3", "sigmoid"])
@pytest.mark.parametrize("shape", [(12,), (7, 8), (5, 6, 7)])
@pytest.mark.parametrize("mode", ["mirror", "grid-constant", "nearest"])
def test_gradients_of_gradients(rng, shape, method, mode):
    check_gradients_of_gradients(rng, shape, method, mode)


@pytest.mark.exhaustive  # compiles parallel forms of many kernels
def test_same_bits_for_any_number_of_threads(rng, threads):
    """Also where many positions are at one pixel, to which all threads add."""
    image = rng.standard_normal((60, 70)).astype(np.float32)
    coords = rng.uniform(-5, 65, (2, 8_000)).astype(np.float32)
    coords[:, ::2] = 3.25
    y = rng.standard_normal(8_000).astype(np.float32)

    def sampled() -> list[np.ndarray]:
        found = [npsubpix.spline_filter(image), npsubpix.sample(image, coords, method="bspline3")]
        found += npsubpix.sample_with_gradient(image, coords, method="linear")
        return [*found, *npsubpix.sample_vjp(y, image, coords, method="linear")]

    assert threads(sampled) >= {
        "spline_filter",
        "sample2d_bspline3",
        "sample2d_gradient_linear",
        "sample_vjp_linear",
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_samples_do_not_depend_on_those_beside_them(rng, dtype):
    """Positions are computed several at a time, and the last ones of a call one by one."""
    image = (100 * rng.random((40, 300))).astype(dtype)
    coords = rng.uniform(1, 38, (2, 45)).astype(np.float32)
    coords[:, :9] = np.round(coords[:, :9])
    together = npsubpix.sample_with_gradient(image, coords, method="linear")
    alone = [npsubpix.sample_with_gradient(image, coords[:, k : k + 1], method="linear") for k in range(45)]
    for part in range(2):
        np.testing.assert_array_equal(together[part], np.concatenate([a[part] for a in alone], axis=-1))
    np.testing.assert_array_equal(npsubpix.sample(image, coords, method="linear"), together[0])
    y = rng.standard_normal(45).astype(np.float32)
    by_image, by_coords = npsubpix.sample_vjp(y, image, coords, method="linear")
    parts = [npsubpix.sample_vjp(y[k : k + 1], image, coords[:, k : k + 1], method="linear") for k in range(45)]
    np.testing.assert_allclose(by_image, sum(p[0] for p in parts), atol=1e-6)
    np.testing.assert_array_equal(by_coords, np.concatenate([p[1] for p in parts], axis=-1))


def test_cotangents_without_strides(rng):
    """As torch hands them over where a sum of samples is differentiated."""
    image, grid = rng.standard_normal((1, 2, 20, 30)), rng.uniform(-0.9, 0.9, (1, 5, 9, 2))
    tensors = [torch.from_numpy(x.astype(np.float32)).requires_grad_() for x in (image, grid)]
    samples = npsubpix.grid_sample(*tensors)
    found, wanted = (
        torch.autograd.grad(samples, tensors, y.expand(samples.shape), retain_graph=True)
        for y in (torch.ones(()), torch.ones(samples.shape))
    )
    assert all(map(torch.equal, found, wanted))


@pytest.mark.usefixtures("backend")
def test_many_positions_on_one_pixel():
    """Their sum is kept in more digits than those of the image."""
    coords = np.full((2, 100_000), 3.25)
    by_image, _ = npsubpix.sample_vjp(np.ones(100_000), np.zeros((40, 40)), coords, method="linear")
    np.testing.assert_allclose(by_image[3:5, 3:5], np.outer([0.75, 0.25], [0.75, 0.25]) * 1e5, rtol=1e-12)
    assert by_image.sum() == pytest.approx(1e5)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_channels(rng, axis):
    image = rng.standard_normal((20, 21, 3))
    coords = positions(rng, (20, 21), 20).reshape(2, 4, -1)
    moved = np.moveaxis(image, -1, axis)
    got = npsubpix.sample_with_gradient(moved, coords, method="bspline3", channel_axis=axis)
    first = axis in (0, -3)
    for c in range(3):
        values, gradient = npsubpix.sample_with_gradient(image[..., c].copy(), coords, method="bspline3")
        np.testing.assert_allclose(got.values[c] if first else got.values[..., c], values, atol=1e-12)
        np.testing.assert_allclose(got.gradient[:, c] if first else got.gradient[..., c], gradient, atol=1e-12)
    y = rng.standard_normal(got.values.shape)
    by_image, by_coords = npsubpix.sample_vjp(y, moved, coords, method="bspline3", channel_axis=axis)
    assert by_image.shape == moved.shape
    assert by_coords.shape == coords.shape
    np.testing.assert_allclose((by_image * moved).sum(), (y * got.values).sum())


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("ties", "want"),
    [
        ("up", [1, 2, 3]),
        pytest.param("down", [0, 1, 2], marks=pytest.mark.exhaustive),
        pytest.param("even", [0, 2, 2], marks=pytest.mark.exhaustive),
    ],
)
def test_ties(ties, want):
    image = np.arange(5.0)
    coords = [[0.5, 1.5, 2.5, -0.0, 1.4999, 4.0, 3.51]]
    got = npsubpix.sample(image, coords, method=Nearest(ties=ties))
    np.testing.assert_array_equal(got, [*want, 0, 1, 4, 4])


@pytest.mark.exhaustive  # which compiles kernels for these options alone
@pytest.mark.usefixtures("backend")
def test_surrogates_are_asked_for(rng):
    image = rng.standard_normal((9, 9))
    coords = away_from_joints(rng.uniform(0, 8, (2, 30)))
    linear = npsubpix.sample_with_gradient(image, coords, method="linear").gradient
    values, gradient = npsubpix.sample_with_gradient(image, coords, method=Nearest())
    assert (gradient == 0).all()
    straight = npsubpix.sample_with_gradient(image, coords, method=Nearest(surrogate="linear"))
    np.testing.assert_array_equal(straight.values, values)
    np.testing.assert_array_equal(straight.gradient, linear)
    y = rng.standard_normal(30)
    by_image, by_coords = npsubpix.sample_vjp(y, image, coords, method=Nearest(surrogate="linear"))
    np.testing.assert_allclose(by_coords, y * linear)
    want = np.zeros((9, 9))
    np.add.at(want, tuple(np.floor(coords + 0.5).astype(int)), y)
    np.testing.assert_allclose(by_image, want)
    adaptive = npsubpix.sample_with_gradient(image, coords, method=GradientAdaptive(0.5, surrogate="linear"))
    np.testing.assert_array_equal(adaptive.gradient, linear)


@pytest.mark.usefixtures("backend")
def test_adaptive_keeps_edges():
    image = np.where(np.arange(40) < 20, 0.0, 100.0)[None].repeat(10, 0)
    coords = np.stack([np.full(400, 4.5), np.linspace(1, 38, 400)])
    crisp = npsubpix.sample(image, coords, method=GradientAdaptive(10.0))
    assert set(crisp) == {0.0, 100.0}
    assert len(set(npsubpix.sample(image, coords, method="linear"))) > 2


@pytest.mark.exhaustive  # which compiles three more functions
def test_functions_as_weights(rng):
    image = rng.standard_normal((12, 13))
    coords = away_from_joints(rng.uniform(0, 11, (2, 50)))
    plain = WeightedNearest(lambda d: 1 - 3 * d**2 + 2 * d**3)
    exact = WeightedNearest(lambda d: 1 - 3 * d**2 + 2 * d**3, derivative=lambda d: 6 * d * (d - 1))
    compiled = WeightedNearest(numba.njit(lambda d: 1 - 3 * d**2 + 2 * d**3))
    named = npsubpix.sample_with_gradient(image, coords, method=WeightedNearest("smoothstep"))
    for method, atol in ((plain, 1e-6), (exact, 1e-12), (compiled, 1e-6)):
        got = npsubpix.sample_with_gradient(image, coords, method=method)
        np.testing.assert_allclose(got.values, named.values, atol=1e-12)
        np.testing.assert_allclose(got.gradient, named.gradient, atol=atol)
    with pytest.raises(TypeError, match="weight must be a function of one number that Numba can compile"):
        npsubpix.sample(image, coords, method=WeightedNearest(lambda d: {}.get(d, open("x"))))  # noqa: SIM115, PTH123


@pytest.mark.parametrize("method", [*METHODS, WeightedNearest("sigmoid")], ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(1,), (2, 1), (1, 3), (3, 2, 1)])
def test_images_smaller_than_the_window(rng, shape, method, mode):
    check_small_image(rng, shape, method, mode)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    "method", ["linear", "bspline3", "catmull_rom", "lanczos3", pytest.param("nearest", marks=pytest.mark.exhaustive)]
)
def test_positions_that_are_not_finite(method):
    image = np.arange(30.0).reshape(5, 6)
    nan, inf = np.nan, np.inf
    coords = np.array([[nan, 1, inf, -inf, 1e300, 2], [1, nan, 2, 2, 2, inf]])
    for mode in MODES:
        values, gradient = npsubpix.sample_with_gradient(image, coords, method=method, mode=mode, cval=-7)
        assert np.isnan(values[:2]).all()
        assert np.isnan(gradient[:, :2]).all()
        if mode in ("constant", "grid-constant"):
            np.testing.assert_allclose(values[2:], -7, atol=1e-6)
            np.testing.assert_allclose(gradient[:, 2:], 0, atol=1e-6)
        elif mode == "nearest":
            np.testing.assert_allclose(values[2:4], [26, 2], atol=1e-4)
        else:
            assert np.isnan(values[[2, 3, 5]]).all()
            assert np.isfinite(values[4])
        by_image, by_coords = npsubpix.sample_vjp(np.ones(6), image, coords, method=method, mode=mode, cval=-7)
        assert np.isfinite(by_image).all()
        assert np.isnan(by_coords[:, :2]).all()


@pytest.mark.usefixtures("backend")
def test_nothing_to_sample():
    image = np.ones((4, 5))
    for shape in ((2, 0), (2, 3, 0)):
        values, gradient = npsubpix.sample_with_gradient(image, np.zeros(shape), method="linear")
        assert values.shape == shape[1:]
        assert gradient.shape == shape
        by_image, by_coords = npsubpix.sample_vjp(values, image, np.zeros(shape), method="linear")
        assert (by_image == 0).all()
        assert by_coords.shape == shape
    assert npsubpix.sample(image, np.array([1.5, 2.0]), method="linear").shape == ()


@pytest.mark.exhaustive  # which compiles for each dtype
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "float32", "float64", ">f4"])
def test_dtypes(rng, dtype, wrap):
    image = rng.integers(0, 100, (9, 10)).astype(dtype)
    coords = rng.uniform(0, 8, (2, 30))
    want = npsubpix.sample(image.astype(float), coords, method="bspline3")
    got = npsubpix.sample(image, coords, method="bspline3")
    expected = {"uint8": "float32", "int16": "float32", "int64": "float64", ">f4": "float32"}.get(dtype, dtype)
    assert got.dtype == expected
    np.testing.assert_allclose(got, want, rtol=2e-3 if dtype == "float16" else 1e-4)
    if dtype not in (">f4",):
        out = npsubpix.sample(wrap(image), wrap(coords), method="linear")
        assert type(out) is type(wrap(coords))


@pytest.mark.usefixtures("backend")
def test_memory_layouts(rng):
    image, coords = rng.standard_normal((9, 10)), rng.uniform(0, 8, (2, 30))
    want = npsubpix.sample(image, coords, method="bspline3")
    image.setflags(write=False)
    coords.setflags(write=False)
    for x in (image, np.asfortranarray(image), image[::-1][::-1], np.repeat(image, 2, 1)[:, ::2]):
        for c in (coords, np.asfortranarray(coords), coords[::-1][::-1], np.repeat(coords, 2, 1)[:, ::2]):
            np.testing.assert_array_equal(npsubpix.sample(x, c, method="bspline3"), want)
    np.testing.assert_array_equal(npsubpix.sample(image.tolist(), coords.tolist(), method="bspline3"), want)
    out = np.empty(30)
    assert npsubpix.sample(image, coords, method="bspline3", out=out) is out
    np.testing.assert_array_equal(out, want)


@pytest.mark.exhaustive  # which compiles the adjoints of three methods in all dimensions
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_small_image(data):
    """No mode, method, shape or position reads beyond the image or crashes, and values stay within the range."""
    ndim = data.draw(st.integers(1, 3))
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=ndim, max_size=ndim)))
    count = data.draw(st.integers(0, 8))
    numbers = st.floats(width=32, allow_nan=True, allow_infinity=True)
    coords = np.array(
        [[data.draw(st.one_of(st.floats(-9, 9), numbers)) for _ in range(count)] for _ in range(ndim)]
    ).reshape(ndim, count)
    image = np.arange(float(np.prod(shape))).reshape(shape)
    mode = data.draw(st.sampled_from(MODES))
    values = npsubpix.sample(image, coords, method="linear", mode=mode)
    finite = values[np.isfinite(values)]
    assert (finite >= -1e-9).all()
    assert (finite <= image.max() + 1e-9).all()
    for method in ("nearest", "bspline2", "catmull_rom"):
        npsubpix.sample_vjp(np.ones(count), image, coords, method=method, mode=mode)


BAD = [
    (((4, 5), (3, 7)), {}, ValueError, r"coords must have shape \(2, \.\.\.\)"),
    (((4, 5), ()), {}, ValueError, r"coords must have shape \(2, \.\.\.\)"),
    (((2, 2, 2, 2), (4, 1)), {}, ValueError, "image must have 1 to 3 dimensions"),
    (((4, 5), (2, 1)), {"method": "cubic"}, ValueError, "method must be one of 'nearest'"),
    (((4, 5), (2, 1)), {"method": 3}, TypeError, "name of a method or a sampling kernel"),
    (((4, 5), (2, 1)), {"mode": "edge"}, ValueError, "mode must be one of 'reflect'"),
    (((4, 5), (2, 1)), {"cval": np.inf}, ValueError, "cval must be finite"),
    (((4, 5), (2, 1)), {"channel_axis": 2}, ValueError, "channel_axis must be an axis of the image"),
    (((4, 5), (2, 1)), {"channel_axis": 0.5}, TypeError, "channel_axis must be an integer or None"),
    (((4, 5), (2, 1)), {"prefilter": 1}, TypeError, "prefilter must be True or False"),
    (((4, 5), (2, 1)), {"out": np.empty(2)}, ValueError, "out must have shape"),
]


@pytest.mark.parametrize(("shapes", "options", "error", "match"), BAD)
def test_misuse(shapes, options, error, match):
    image, coords = np.zeros(shapes[0]), np.zeros(shapes[1])
    with pytest.raises(error, match=match):
        npsubpix.sample(image, coords, **{"method": "linear", **options})


def test_misuse_of_kernels():
    for make, error, match in (
        (lambda: Nearest(ties="odd"), ValueError, "ties must be one of"),
        (lambda: Nearest(surrogate="nearest"), ValueError, "surrogate must be one of"),
        (lambda: WeightedNearest("cosine"), ValueError, "weight must be one of"),
        (lambda: WeightedNearest(3), TypeError, "weight must be a plain function"),
        (lambda: WeightedNearest("linear", derivative=abs), TypeError, "derivative and args are for a weight that is"),
        (lambda: GradientAdaptive(-1), ValueError, "threshold must be positive"),
        (lambda: GradientAdaptive(1, inside=GradientAdaptive(1)), TypeError, "inside must be the name"),
        (lambda: npsubpix.spline_filter(np.ones(4), 6), ValueError, "order must be 2 to 5"),
    ):
        with pytest.raises(error, match=match):
            make()
    tensor = torch.zeros(4, 5)
    with pytest.raises(TypeError, match="sample_vjp takes NumPy, CuPy and JAX arrays"):
        npsubpix.sample_vjp(tensor, tensor, torch.zeros(2, 1), method="linear")


@pytest.mark.exhaustive  # which compiles for each
@pytest.mark.usefixtures("backend")
def test_all_pairs_of_precisions(rng):
    image, coords = rng.standard_normal((8, 9)), rng.uniform(0, 7, (2, 20))
    want = npsubpix.sample(image, coords, method="linear")
    for a, b in itertools.product(("float32", "float64"), ("float32", "float64", "float16")):
        got = npsubpix.sample(image.astype(a), coords.astype(b), method="linear")
        assert got.dtype == a
        np.testing.assert_allclose(got, want, atol=1e-5 if b != "float16" else 1e-1)


@pytest.mark.exhaustive  # which compiles each function anew
def test_functions_live_as_long_as_they_are_needed():
    """Copies, graphs and pullbacks know a weight after the object that it was given to is gone."""
    image, coords = np.array([0.0, 10.0, 30.0]), [[0.25]]
    method = WeightedNearest(lambda d: (1 - d) ** 4)
    wanted = npsubpix.sample(image, coords, method=method)
    copies = [copy.copy(method), copy.deepcopy(method), copy.deepcopy(GradientAdaptive(1, method)).inside]
    del method
    for other in copies:
        np.testing.assert_array_equal(npsubpix.sample(image, coords, method=other), wanted)

    tensor = torch.tensor(image, requires_grad=True)
    one = npsubpix.sample(tensor, torch.tensor(coords), method=WeightedNearest(lambda d: (1 - d) ** 4))
    two = npsubpix.sample(tensor, torch.tensor(coords), method=WeightedNearest(lambda d: (1 - d) ** 2))
    (one + two).sum().backward()
    heavy, light = 0.75**4, 0.25**4
    np.testing.assert_allclose(tensor.grad[0], heavy / (heavy + light) + 0.9)

    _, pullback = npsubpix.vjp(npsubpix.sample, image, coords, method=WeightedNearest(lambda d: (1 - d) ** 4))
    npsubpix.sample(image, coords, method=WeightedNearest(lambda d: 1 - d**3))
    np.testing.assert_allclose(pullback(np.ones(1))["image"][0], heavy / (heavy + light))


def quartic(d):
    return (1 - d) ** 4


@pytest.mark.exhaustive  # which compiles in other processes
def test_pickled_weights_are_known_elsewhere():
    """Another process, with other weights of its own, gets the function and not a key."""
    code = (
        "import pickle, sys, numpy as np, npsubpix\n"
        "for k in (1, 2, 3): npsubpix.WeightedNearest(lambda d: 1 - d**k)\n"
        "method = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "print(npsubpix.sample(np.array([0.0, 10.0, 30.0]), [[0.25]], method=method)[0])\n"
    )
    method = WeightedNearest(quartic)
    command = [sys.executable, "-c", code, pickle.dumps(method).hex()]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]).stdout
    assert float(printed) == npsubpix.sample(np.array([0.0, 10.0, 30.0]), [[0.25]], method=method)[0]


def test_a_weight_that_raises_gives_nan(capfd):
    def weight(d):
        if d > 0.9:
            raise ValueError("too far")
        return 1.0 - d

    values = npsubpix.sample(np.array([0.0, 10.0, 30.0]), [[0.25, 0.05]], method=WeightedNearest(weight))
    np.testing.assert_allclose(values, [2.5, np.nan])
    assert not capfd.readouterr().err


@pytest.mark.parametrize(
    ("weight", "match"),
    [
        (functools.partial(pow, 2), "weight must be a plain function of one number, got functools.partial"),
        (lambda d, e: d + e, r"weight must be a function of one number, got one of \(d, e\)"),
    ],
)
def test_what_is_no_weight(weight, match):
    with pytest.raises(TypeError, match=match):
        WeightedNearest(weight)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
def test_ties_are_those_of_scipy(mode, size):
    """Positions in the middle between pixels, inside and far outside, in the modes that SciPy has."""
    image, coords = np.arange(1.0, size + 1), np.arange(-20, 20.5, 0.5)[None]
    wanted = ndi.map_coordinates(image, coords, order=0, mode=mode)
    np.testing.assert_array_equal(npsubpix.sample(image, coords, method="nearest", mode=mode), wanted)


@pytest.mark.usefixtures("backend")
def test_gradient_at_the_last_pixel():
    """Where the image ends, the gradient is that of its last stretch, not of a mirror image."""
    image = np.array([0.0, 1.0, 3.0, 7.0, 15.0])
    for mode, wanted in (("constant", 8), ("wrap", 8), ("nearest", 0), ("mirror", -8)):
        found = npsubpix.sample_with_gradient(image, [[4.0]], method="linear", mode=mode).gradient
        np.testing.assert_array_equal(found, [[wanted]])
