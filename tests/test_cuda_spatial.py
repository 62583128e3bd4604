"""Softmax and moments of maps by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from npsubpix._cpu import spatial as cpu
from npsubpix._cuda import spatial
from npsubpix._cuda.launch import devices
from tests.assertions import assert_same

pytestmark = pytest.mark.usefixtures("cuda_on_host")

SHAPES = [((3, 2), (70, 90)), ((2,), (5, 40, 33)), ((), (300,)), ((2, 2), (1, 9000)), ((4,), (3, 1, 2))]


def positions(axes: int, normalized: bool = False, xy: bool = False) -> dict:
    """Options of the operations that return positions."""
    return {"spatial_axes": axes, "normalized_coordinates": normalized, "xy": xy}


MOMENTS = {**positions(2), "second": True}


def check(name: str, cotangents: tuple, arrays: tuple, **options: object) -> None:
    """Results and gradients of an operation are those of the CPU."""
    precision = np.result_type(arrays[0].dtype, np.float32)
    wanted, results = getattr(cpu, name)(*arrays, **options), getattr(spatial, name)(*arrays, **options)
    saved = {"spatial_softmax": slice(0, 1), "spatial_moments": slice(2, 3)}.get(name, slice(0, 0))
    assert len(results) == len(wanted)
    assert_same(
        tuple(results[:2]), tuple(wanted[:2]), "spatial", precision=precision
    )  # what moments keep for their gradient is their own
    found, want = (
        getattr(module, f"{name}_vjp")(cotangents, arrays, kept[saved], **options)
        for module, kept in ((spatial, results), (cpu, wanted))
    )
    assert_same(tuple(found), tuple(want), "spatial", precision=precision)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize(("leading", "shape"), SHAPES)
def test_results_and_gradients_as_on_the_cpu(rng, leading, shape, dtype):
    """Maps of several parts, with weights of one map or of each, and a temperature of each."""
    x = (3 * rng.standard_normal((*leading, *shape))).astype(dtype)
    result, axes = np.result_type(dtype, np.float32), len(shape)
    temperature = rng.uniform(0.5, 2, leading)
    by_map, by_mean = rng.standard_normal(x.shape).astype(result), rng.standard_normal((*leading, axes)).astype(result)
    by_covariance = rng.standard_normal((*leading, axes, axes)).astype(result)
    one, each = rng.uniform(0, 1, shape), rng.uniform(0, 1, x.shape)
    one.flat[:5] = 0
    for weights in (None, one, each, np.array(0.5)):
        check("spatial_softmax", (by_map,), (x, temperature, weights), spatial_axes=axes)
        check("spatial_expectation", (by_mean,), (x, weights), **positions(axes, True))
        for first in (True, False):
            cotangents = by_mean, None if first else by_covariance, None
            options = {**positions(axes, normalized=first, xy=first), "second": not first}
            check("spatial_moments", cotangents, (x, temperature, weights), **options)


@pytest.mark.parametrize("name", ["spatial_softmax", "spatial_expectation", "spatial_moments"])
def test_a_loss_that_does_not_depend(rng, name):
    """Without cotangents, gradients are 0."""
    x, temperature = rng.standard_normal((2, 5, 6)), np.array(1.0)
    options = {
        "spatial_softmax": {"spatial_axes": 2},
        "spatial_expectation": positions(2, True, True),
        "spatial_moments": {**positions(2, True, True), "second": True},
    }
    nothing = (None,) * {"spatial_moments": 3}.get(name, 1)
    arrays = (x, None) if name == "spatial_expectation" else (x, temperature, None)
    check(name, nothing, arrays, **options[name])


def test_a_grid_smaller_than_the_work(rng, monkeypatch):
    """Blocks stride over what a grid of the greatest size leaves, and the result is the same bits."""
    x, temperature = rng.standard_normal((5, 70, 90)).astype(np.float32), np.array(0.7)
    moments = spatial.spatial_moments(x, temperature, None, **MOMENTS)
    (softmax,) = spatial.spatial_softmax(x, temperature, None, spatial_axes=2)
    monkeypatch.setattr(devices, "MOST_BLOCKS", 3)
    for a, b in zip(spatial.spatial_moments(x, temperature, None, **MOMENTS), moments, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(spatial.spatial_softmax(x, temperature, None, spatial_axes=2)[0], softmax)


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
def test_wrong_numbers_on_the_gpu_spoil_their_map_alone(rng, wrong):
    """The host does not check them, as it would have to wait."""
    x = rng.standard_normal((2, 5, 6))
    want = cpu.spatial_moments(x, np.array(1.0), None, **MOMENTS)
    got = spatial.spatial_moments(x, np.array([wrong, 1.0]), None, **MOMENTS)
    (softmax,) = spatial.spatial_softmax(x, np.array([wrong, 1.0]), None, spatial_axes=2)
    assert np.isnan(softmax[0]).all()
    np.testing.assert_allclose(
        softmax[1], cpu.spatial_softmax(x, np.array(1.0), None, spatial_axes=2)[0][1], rtol=1e-12
    )
    for result, wanted in zip(got[:2], want[:2], strict=True):
        assert np.isnan(result[0]).all()
        np.testing.assert_allclose(result[1], wanted[1], rtol=1e-12)
    if wrong != 0:
        weights = np.ones(x.shape)
        weights[0, 3, 3] = wrong
        got = spatial.spatial_moments(x, np.array(1.0), weights, **MOMENTS)
        for result, wanted in zip(got[:2], want[:2], strict=True):
            assert np.isnan(result[0]).all()
            np.testing.assert_allclose(result[1], wanted[1], rtol=1e-12)


def test_wrong_numbers_beside_the_arrays():
    """Numbers are on the host, and are checked."""
    x = np.zeros((2, 5, 6))
    with pytest.raises(ValueError, match=r"temperature must be positive and finite, got 0\.0"):
        spatial.spatial_softmax(x, np.array(0.0), None, spatial_axes=2)
    with pytest.raises(ValueError, match="weights must be finite and not negative"):
        spatial.spatial_softmax(x, np.array(1.0), np.array(-1.0), spatial_axes=2)
