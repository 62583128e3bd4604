"""Whole maps against their definitions: softmax, mean position, covariance."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import npsubpix
from tests.assertions import TOLERANCES, assert_library, assert_same
from tests.reference import spatial as reference


def check(x: np.ndarray, temperature: float = 1.0, weights: np.ndarray | None = None) -> None:
    """Compare one map of any number of axes with the definitions."""
    axes = x.ndim
    p = reference.softmax(x, temperature, weights)
    options = {"spatial_axes": axes, "weights": weights}
    distribution = npsubpix.spatial_softmax(x, temperature, **options)
    eps = np.finfo(distribution.dtype).eps
    np.testing.assert_allclose(distribution, p, rtol=16 * eps, atol=eps * eps)
    mean, covariance = npsubpix.spatial_moments(x, temperature, **options)
    assert_same(mean, reference.expectation(p), "position", dtype=x.dtype)
    position = npsubpix.spatial_soft_argmax(x, temperature, **options)
    assert_same(position, reference.expectation(p), "position", dtype=x.dtype)
    want = reference.covariance(p)
    scale = np.sqrt(np.abs(np.diag(want)))
    np.testing.assert_allclose(
        covariance, want, atol=TOLERANCES["position"][mean.dtype.name].atol * (1 + scale.max(initial=0)) * 4
    )
    scaled = npsubpix.spatial_soft_argmax(x, temperature, normalized_coordinates=True, **options)
    ends = np.array([max(n - 1, 2) for n in x.shape])
    off = np.abs(scaled - reference.normalized(reference.expectation(p), x.shape)) * ends / 2
    assert not (off > TOLERANCES["position"][mean.dtype.name].atol + 4 * ends * eps).any()


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1,), (17,), (13, 9), (1, 8), (8, 1), (1, 1), (4, 5, 6), (1, 3, 40)])
def test_maps(rng, shape, dtype):
    for amplitude, temperature in ((1.0, 1.0), (1e-12, 1.0), (1e12, 1.0), (30.0, 1e-3), (5.0, 1e3)):
        check((rng.standard_normal(shape) * amplitude).astype(dtype), temperature)


@pytest.mark.usefixtures("backend")
def test_maps_of_several_bands(rng):
    """A large map is put together from bands with maxima of their own."""
    x = rng.standard_normal((400, 211))
    x[350:] += np.linspace(0, 60, 211)
    for dtype in (np.float32, np.float64):
        p = np.exp(x.astype(dtype).astype(np.float64) - x.max())
        p /= p.sum()
        want = np.array([(p.sum(1) * np.arange(400)).sum(), (p.sum(0) * np.arange(211)).sum()])
        assert_same(npsubpix.spatial_soft_argmax(x.astype(dtype)), want, "position", dtype=dtype)
        np.testing.assert_allclose(npsubpix.spatial_softmax(x.astype(dtype)), p, rtol=64 * np.finfo(dtype).eps)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_spot_far_from_the_origin(dtype):
    """1e4 pixels a side: a spot at the far end is where it is, and as wide as it is."""
    x = np.full((12, 10_000), -60, dtype)
    columns = np.arange(9900, 10_000)
    x[:, 9900:] = -((columns - 9950.3) ** 2) / 8 - (np.arange(12)[:, None] - 5.6) ** 2 / 2
    mean, covariance = npsubpix.spatial_moments(x)
    want = reference.softmax(x[:, 9900:].astype(np.float64))
    assert_same(mean, np.add(reference.expectation(want), [0, 9900]), "position", dtype=dtype)
    np.testing.assert_allclose(covariance, reference.covariance(want), atol=2e-5)


@pytest.mark.usefixtures("backend")
def test_large_flat_float16():
    """The middle of a large map, though the sums are far beyond what half precision holds."""
    x = np.zeros((1, 1, 600, 1000), np.float16)
    coords = npsubpix.spatial_soft_argmax2d(x, normalized_coordinates=False)
    assert coords.dtype == np.float16
    np.testing.assert_array_equal(coords, np.array([[[499.5, 299.5]]], np.float16))
    tensor = torch.zeros(1, 1, 1000, 2000, dtype=torch.bfloat16)
    assert npsubpix.spatial_soft_argmax2d(tensor).abs().max() == 0


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity(rng, bad):
    x = rng.standard_normal((9, 11))
    x[2, 3] = x[7, 9] = bad
    check(x)
    stack = rng.standard_normal((3, 9, 11))
    stack[1] = x
    whole = npsubpix.spatial_soft_argmax(stack)
    for k in range(3):  # one map does not touch the others
        np.testing.assert_array_equal(whole[k], npsubpix.spatial_soft_argmax(stack[k]))
    check(np.full((4, 5), -np.inf))
    check(np.full((4, 5), np.inf))


@pytest.mark.usefixtures("backend")
def test_weights(rng):
    """Pixels of weight 0 count for nothing, whatever they hold."""
    x = rng.standard_normal((9, 11))
    weights = rng.random((9, 11)) * (rng.random((9, 11)) > 0.3)
    check(x, 0.7, weights)
    dead = x.copy()
    dead[weights == 0] = np.nan
    check(dead, 0.7, weights)
    check(dead.astype(np.float32), 0.7, weights > 0)
    check(x, 1.0, np.linspace(0, 1, 11))
    assert np.isnan(npsubpix.spatial_soft_argmax(x, weights=np.zeros(11))).all()
    stack = rng.standard_normal((2, 3, 9, 11))
    each = rng.random((3, 1, 1)) + np.arange(9)[:, None]
    for b in range(2):
        for c in range(3):
            want = npsubpix.spatial_soft_argmax(stack[b, c], weights=np.broadcast_to(each[c], (9, 11)))
            np.testing.assert_array_equal(npsubpix.spatial_soft_argmax(stack, weights=each)[b, c], want)


@pytest.mark.usefixtures("backend")
def test_expectation(rng):
    p = rng.random((2, 7, 9))
    p[1] *= 3  # not a distribution: scales the result
    for k in range(2):
        np.testing.assert_allclose(npsubpix.spatial_expectation(p)[k], reference.expectation(p[k]), rtol=1e-12)
        scaled = npsubpix.spatial_expectation(p, normalized_coordinates=True)[k]
        want = reference.expectation(p[k]) * 2 / np.array([6, 8]) - p[k].sum()
        np.testing.assert_allclose(scaled, want, rtol=1e-12)
    weights = rng.random((7, 9)) * (rng.random((7, 9)) > 0.5)
    spoilt = np.where(weights == 0, np.nan, p[0])
    want = reference.expectation(np.where(weights == 0, 0, p[0] * weights))
    np.testing.assert_allclose(npsubpix.spatial_expectation(spoilt, weights=weights), want, rtol=1e-12)
    assert npsubpix.spatial_expectation(np.ones((2, 3, 4, 5), np.uint8), spatial_axes=3).tolist() == [[60, 90, 120]] * 2


@pytest.mark.usefixtures("backend")
def test_expectation_of_what_cancels():
    """A map whose pixels sum to nothing still has a sum of pixel times position."""
    slope = np.array([[-3.0, 1.0, 2.0]])
    assert npsubpix.spatial_expectation(slope).tolist() == reference.expectation(slope).tolist() == [0, 5]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_expectations_are_summed_in_double_precision(rng, dtype):
    """Sums of pixels of both signs are a thousandth of what is added: they are right to the digits of the result."""
    x = rng.integers(-3000, 3000, (3, 97, 130)).astype(dtype)
    weights = rng.integers(0, 5, (97, 130))
    for factors in (None, weights):
        found = npsubpix.spatial_expectation(x, weights=factors)
        exact = x.astype(np.int64) * (1 if factors is None else factors)
        rows, columns = np.arange(97)[:, None], np.arange(130)
        want = np.stack([(exact * rows).sum((1, 2)), (exact * columns).sum((1, 2))], -1)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, want.astype(np.float32))


@pytest.mark.usefixtures("backend")
def test_expectations_of_huge_pixels():
    """Sums that overflow on the way to a result that does not; and those that do, as the result does."""
    x = np.zeros((4, 2, 4000))
    x[0, 1, 3998:] = 1e306, -1e306
    x[1] = 1e-300
    x[2, 0, 0] = 1e308
    x[3] = 1e307
    found = npsubpix.spatial_expectation(x)
    np.testing.assert_allclose(found[0], [0, -1e306], rtol=1e-12, atol=1e294)
    np.testing.assert_allclose(found[1], [4e-297, 2 * 4000 * 1999.5e-300], rtol=1e-12)
    np.testing.assert_array_equal(found[2:], [[0, 0], [np.inf, np.inf]])
    middle = npsubpix.spatial_expectation(np.full((30, 40), 1e307), normalized_coordinates=True)
    np.testing.assert_allclose(middle, 0, atol=1e295)
    light = npsubpix.spatial_expectation(np.full((30, 40), 1e300), weights=np.full((30, 40), 1e10))
    np.testing.assert_array_equal(light, np.inf)


@pytest.mark.usefixtures("backend")
def test_kornia_order(rng):
    """The 2-D names are the others in the order (x, y), and normalised by default."""
    x = rng.standard_normal((2, 3, 8, 13))
    np.testing.assert_array_equal(
        npsubpix.spatial_soft_argmax2d(x, 0.5),
        npsubpix.spatial_soft_argmax(x, 0.5, normalized_coordinates=True)[..., ::-1],
    )
    p = npsubpix.spatial_softmax2d(x, 0.5)
    np.testing.assert_array_equal(p, npsubpix.spatial_softmax(x, 0.5))
    np.testing.assert_array_equal(npsubpix.spatial_expectation2d(p, False), npsubpix.spatial_expectation(p)[..., ::-1])
    np.testing.assert_allclose(npsubpix.spatial_expectation2d(p), npsubpix.spatial_soft_argmax2d(x, 0.5), atol=1e-14)


@pytest.mark.usefixtures("backend")
def test_temperature_of_each_map(rng):
    x = rng.standard_normal((2, 3, 8, 9))
    temperature = [0.1, 1.0, 10.0]
    for run in (npsubpix.spatial_soft_argmax2d, npsubpix.spatial_softmax2d):
        whole = run(x, np.array(temperature))
        for c in range(3):
            np.testing.assert_array_equal(whole[:, c : c + 1], run(x[:, c : c + 1], temperature[c]))
        np.testing.assert_array_equal(run(x, temperature), whole)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1e-40, 1e-300])
@pytest.mark.parametrize("function", [npsubpix.spatial_softmax, npsubpix.spatial_moments])
def test_temperatures_that_leave_one_pixel(rng, dtype, temperature, function):
    """The greatest has all weight, which nothing changes: gradients are 0, though their factor 1 / T is infinite."""
    x = rng.permutation(60).reshape(3, 4, 5).astype(dtype)
    results, pull = npsubpix.vjp(function, x, np.array(temperature))
    grads = pull(*(rng.standard_normal(r.shape) for r in (results if isinstance(results, tuple) else (results,))))
    assert not grads["input"].any()
    assert not grads["temperature"].any()


@pytest.mark.exhaustive  # compiles parallel forms of many kernels
def test_same_bits_for_any_number_of_threads(rng, threads):
    """Of one large map and of many, and of their gradients."""
    maps = rng.standard_normal((1, 200, 210)), rng.standard_normal((40, 9, 11))
    operations = npsubpix.spatial_softmax, npsubpix.spatial_expectation, npsubpix.spatial_moments

    def moments() -> list[np.ndarray]:
        found = []
        for x, operation in itertools.product(maps, operations):
            results, pullback = npsubpix.vjp(operation, x.astype(np.float32))
            results = results if isinstance(results, tuple) else (results,)
            found += [*results, *pullback(*(np.cos(r) for r in results)).values()]
        return found

    assert threads(moments) >= {
        *(f"map_{name}_f4" for name in ("softmax", "softmax_vjp", "moments_second", "moments_vjp")),
        "map_moments_plain",
        "map_expectation_vjp",
    }


@pytest.mark.usefixtures("backend")
def test_leading_axes(rng):
    """Any number of them, none too."""
    x = rng.standard_normal((2, 1, 3, 2, 5, 6))
    assert npsubpix.spatial_soft_argmax(x, spatial_axes=3).shape == (2, 1, 3, 3)
    assert npsubpix.spatial_moments(x, spatial_axes=1).covariance.shape == (2, 1, 3, 2, 5, 1, 1)
    want = reference.expectation(reference.softmax(x[1, 0, 2, 1]))
    assert_same(npsubpix.spatial_soft_argmax(x)[1, 0, 2, 1], want, "position")
    assert npsubpix.spatial_soft_argmax(x[0, 0, 0, 0, 0], spatial_axes=1).shape == (1,)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", ">f8", "float32"])
def test_dtypes(rng, dtype, wrap):
    x = rng.integers(0, 9, (1, 2, 9, 10)).astype(dtype)
    kept = x.dtype.kind == "f"
    expected = x.dtype.newbyteorder("=") if kept else np.result_type(x.dtype, np.float32)
    source = wrap(x) if x.dtype.isnative else x
    for run in (npsubpix.spatial_soft_argmax2d, npsubpix.spatial_softmax2d, npsubpix.spatial_expectation2d):
        result = run(source)
        assert_library(result, source)
        assert np.asarray(result).dtype == expected
    want = reference.expectation(reference.softmax(x[0, 1].astype(float)))[::-1]
    got = npsubpix.spatial_soft_argmax2d(source, normalized_coordinates=False)
    np.testing.assert_allclose(np.asarray(got)[0, 1], want, rtol=4 * np.finfo(expected).eps, atol=1e-5)


@pytest.mark.usefixtures("backend")
def test_jax(rng):
    x = jnp.asarray(rng.standard_normal((1, 2, 6, 7)), dtype=jnp.float32)
    for run in (npsubpix.spatial_soft_argmax2d, npsubpix.spatial_softmax2d, npsubpix.spatial_expectation2d):
        assert type(run(x)) is type(x)
        np.testing.assert_array_equal(np.asarray(run(x)), run(np.asarray(x)))


@pytest.mark.usefixtures("backend")
def test_memory_layouts(rng):
    x = rng.standard_normal((2, 2, 10, 12)).astype(np.float32)
    want = npsubpix.spatial_soft_argmax2d(x)
    locked = x.copy()
    locked.setflags(write=False)
    for other in (np.repeat(x, 2, axis=3)[..., ::2], x[..., ::-1].copy()[..., ::-1], np.asfortranarray(x), locked):
        np.testing.assert_array_equal(npsubpix.spatial_soft_argmax2d(other), want)
        np.testing.assert_array_equal(npsubpix.spatial_softmax2d(other), npsubpix.spatial_softmax2d(x))
    np.testing.assert_array_equal(locked, x)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(0, 1, 5, 5), (1, 0, 5, 5), (1, 1, 0, 5), (1, 1, 5, 0)])
def test_empty(shape):
    """No maps give no rows, maps without pixels have no position."""
    x = np.ones(shape, np.float32)
    coords = npsubpix.spatial_soft_argmax2d(x)
    assert coords.shape == (*shape[:2], 2)
    assert np.isnan(coords).all()
    assert npsubpix.spatial_softmax2d(x).shape == shape
    assert (npsubpix.spatial_expectation2d(x) == 0).all()


@pytest.mark.usefixtures("backend")
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_small_map(data):
    shape = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple))
    grey = st.sampled_from([-300.0, -1.0, 0.0, 1.0, 2.0, 500.0, np.inf, -np.inf, np.nan])
    weights = data.draw(st.none() | hnp.arrays(np.float64, shape, elements=st.sampled_from([0.0, 0.5, 1.0])))
    check(
        data.draw(hnp.arrays(np.float64, shape, elements=grey)), data.draw(st.sampled_from([0.1, 1.0, 50.0])), weights
    )


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), np.array([1.0, 0.0]), [1.0, -1.0]])
def test_wrong_temperature(temperature):
    for x in (np.zeros((1, 2, 5, 6)), torch.zeros(1, 2, 5, 6)):
        for run in (npsubpix.spatial_soft_argmax2d, npsubpix.spatial_softmax2d, npsubpix.spatial_moments):
            with pytest.raises(ValueError, match="temperature must be positive"):
                run(x, temperature)


def test_wrong_arguments():
    x = np.zeros((1, 2, 5, 6))
    for run in (npsubpix.spatial_soft_argmax2d, npsubpix.spatial_softmax2d, npsubpix.spatial_expectation2d):
        with pytest.raises(ValueError, match=r"input must have 4 dimensions, \(B, N, H, W\), got shape \(5, 6\)"):
            run(x[0, 0])
        with pytest.raises(TypeError, match="input must hold integers or floats"):
            run(x + 1j)
    with pytest.raises(TypeError, match="input must hold integers or floats"):
        npsubpix.spatial_expectation2d(x > 0)  # as in kornia, whose other functions take booleans
    with pytest.raises(TypeError, match="temperature must be a number"):
        npsubpix.spatial_softmax2d(x, "hot")
    with pytest.raises(ValueError, match=r"temperature must be a number or broadcast .* \(1, 2\), got shape \(3,\)"):
        npsubpix.spatial_softmax2d(x, np.ones(3))
    with pytest.raises(ValueError, match="spatial_axes must be 1, 2 or 3, got 4"):
        npsubpix.spatial_softmax(x, spatial_axes=4)
    with pytest.raises(ValueError, match="input must have at least 3 dimensions for spatial_axes=3"):
        npsubpix.spatial_softmax(x[0, 0], spatial_axes=3)
    with pytest.raises(ValueError, match="weights must be finite and not negative"):
        npsubpix.spatial_soft_argmax(x, weights=np.full((5, 6), -1.0))
    with pytest.raises(ValueError, match=r"weights must be a number or broadcast to the input, .* got shape \(6, 5\)"):
        npsubpix.spatial_soft_argmax(x, weights=np.ones((6, 5)))
    with pytest.raises(TypeError, match="normalized_coordinates must be True or False"):
        npsubpix.spatial_expectation2d(x, 1)
