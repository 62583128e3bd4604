"""Composite sampling methods differentiate through their parts; both backends have the methods of the definition."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import GradientAdaptive, Nearest, WeightedNearest
from npsubpix._cpu.sampling.distance_weights import taps_of
from npsubpix._cuda.launch.definitions import SAMPLING_METHODS
from npsubpix._definitions.sampling.methods import PIXELS_PER_AXIS, USER_WEIGHT, parse
from npsubpix.sampling.kernels import method_spec
from tests.sampling_checks import away_from_joints


def pulled_back(image, coords, method, of_values, of_gradient):
    """Cotangents of image and positions from those of values and gradients."""
    _, pullback = npsubpix.vjp(npsubpix.sample_with_gradient, image, coords, method=method)
    cotangents = pullback(of_values, of_gradient)
    return cotangents["image"], cotangents["coords"]


@pytest.fixture
def samples(rng):
    """An image, positions in it, and cotangents of values and gradients."""
    image, coords = rng.standard_normal((9, 8)), away_from_joints(rng.uniform(0, 7, (2, 25)))
    return image, coords, rng.standard_normal(25), rng.standard_normal((2, 25))


@pytest.mark.usefixtures("backend")
def test_losses_of_gradients_train_through_the_surrogate(samples):
    """Values reach the image by the method itself; gradients, and all that reaches positions, come by the surrogate."""
    image, coords, of_values, of_gradient = samples
    by_image, by_coords = pulled_back(image, coords, Nearest(surrogate="bspline3"), of_values, of_gradient)
    values_to_image, _ = pulled_back(image, coords, "nearest", of_values, 0 * of_gradient)
    gradient_to_image, _ = pulled_back(image, coords, "bspline3", 0 * of_values, of_gradient)
    np.testing.assert_allclose(by_image, values_to_image + gradient_to_image, atol=1e-12)
    _, wanted = pulled_back(image, coords, "bspline3", of_values, of_gradient)
    np.testing.assert_allclose(by_coords, wanted, atol=1e-12)


@pytest.mark.usefixtures("backend")
def test_blends_train_through_the_method_that_was_used(samples):
    image, coords, of_values, of_gradient = samples
    slope = npsubpix.sample_with_gradient(image, coords, method="linear").gradient
    steep = np.hypot(*slope) > 0.8
    assert 0 < steep.sum() < steep.size
    method = GradientAdaptive(0.8, inside="bspline3", outside="linear")
    found = pulled_back(image, coords, method, of_values, of_gradient)
    inside = pulled_back(image, coords, "bspline3", np.where(steep, of_values, 0), np.where(steep, of_gradient, 0))
    outside = pulled_back(image, coords, "linear", np.where(steep, 0, of_values), np.where(steep, 0, of_gradient))
    for a, b, c in zip(found, inside, outside, strict=True):
        np.testing.assert_allclose(a, b + c, atol=1e-12)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("shape", "channel_axis"), [((1, 1), None), ((3, 1, 1), 0), ((1, 1, 3), -1)])
def test_filtering_nothing_returns_new_memory(shape, channel_axis):
    """Whoever changes coefficients in place must not change the image."""
    image = np.ones(shape)
    coefficients = npsubpix.spline_filter(image, channel_axis=channel_axis)
    np.testing.assert_array_equal(coefficients, image)
    assert not np.shares_memory(coefficients, image)


def test_backends_have_the_methods_of_the_definition():
    """A method that one backend lacks, or gives another window, would fail or differ on that device only."""
    assert {name: taps_of(name, 1).count for name in PIXELS_PER_AXIS} == PIXELS_PER_AXIS
    assert [taps_of("gaussian", reach).count for reach in (1, 2, 8)] == [2, 4, 16]
    assert {*SAMPLING_METHODS, USER_WEIGHT} == set(PIXELS_PER_AXIS)
    assert len(set(SAMPLING_METHODS.values())) == len(SAMPLING_METHODS)


def test_methods_survive_their_specification():
    """Operations get methods as strings: what is written there is what runs."""
    adaptive = GradientAdaptive(0.25, inside=Nearest(ties="down", surrogate="bspline2"), surrogate="linear")
    method = parse(method_spec(adaptive, "method"))
    assert method.surrogate == "linear"
    assert method.base.threshold == 0.25
    inside = parse(method.base.inside)
    assert (inside.base.name, inside.surrogate) == ("nearest_down", "bspline2")
    assert parse(method.base.outside).base.name == "linear"
    weighted = parse(method_spec(WeightedNearest(lambda d: 1 - d), "method"))
    assert weighted.base.name == USER_WEIGHT
    assert weighted.base.user_weight
