"""The class forms of the soft-argmax operators; those of the others are tested with their families."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from tests.assertions import assert_same


@pytest.fixture
def maps(rng):
    return rng.standard_normal((2, 3, 9, 12)).astype(np.float32)


@pytest.fixture
def volumes(rng):
    return rng.standard_normal((1, 2, 5, 8, 9))


def test_options_are_passed_on(maps, volumes, wrap):
    """In the order of the functions, by position and by name; none of them a default."""
    x = wrap(maps)
    assert_same(npsubpix.SpatialSoftArgmax2d(0.5, False)(x), npsubpix.spatial_soft_argmax2d(x, 0.5, False))
    options = ((5, 4), (2, 3), (2, 1), 0.5, False, 0.0, True)
    assert_same(npsubpix.ConvSoftArgmax2d(*options)(x), npsubpix.conv_soft_argmax2d(x, *options))
    x = wrap(volumes)
    options = ((3, 5, 4), (1, 2, 1), (0, 2, 2), 0.5, True, 0.0, True, 7.0)
    assert_same(npsubpix.ConvSoftArgmax3d(*options)(x), npsubpix.conv_soft_argmax3d(x, *options))
    assert_same(npsubpix.ConvSoftArgmax3d(output_value=False)(x), npsubpix.conv_soft_argmax3d(x, output_value=False))


def test_defaults_are_those_of_the_functions(maps, volumes):
    assert_same(npsubpix.SpatialSoftArgmax2d()(maps), npsubpix.spatial_soft_argmax2d(maps))
    assert_same(npsubpix.ConvSoftArgmax2d()(maps), npsubpix.conv_soft_argmax2d(maps))
    assert_same(npsubpix.ConvSoftArgmax3d()(volumes), npsubpix.conv_soft_argmax3d(volumes))


def test_a_temperature_for_each_map(maps):
    """An array is looked into at each call, as it has to broadcast to the maps."""
    temperature = np.array([0.5, 1.0, 2.0])
    locate = npsubpix.SpatialSoftArgmax2d(temperature)
    for channel in range(3):
        alone = npsubpix.spatial_soft_argmax2d(maps[:, channel : channel + 1], temperature[channel])
        np.testing.assert_allclose(locate(maps)[:, channel : channel + 1], alone, atol=1e-6)
    with pytest.raises(ValueError, match="temperature must be a number or broadcast to the leading axes"):
        locate(maps[:, :2])


def test_a_padding_that_fits_the_window_may_still_not_fit_the_map(maps):
    """Whether a window fits shows at the call: the class is made without a map."""
    locate = npsubpix.ConvSoftArgmax2d((11, 3), padding=0)
    with pytest.raises(ValueError, match="kernel_size must fit into the padded map"):
        locate(maps)
    assert locate(np.zeros((1, 1, 11, 3))).shape == (1, 1, 2, 1, 1)


def test_operators_are_compared_and_shown_by_their_options():
    assert npsubpix.ConvSoftArgmax2d(temperature=2.0) == npsubpix.ConvSoftArgmax2d(temperature=2.0)
    assert npsubpix.ConvSoftArgmax2d() != npsubpix.ConvSoftArgmax2d(temperature=2.0)
    assert repr(npsubpix.SpatialSoftArgmax2d()) == "SpatialSoftArgmax2d(temperature=None, normalized_coordinates=True)"


def test_gradients_of_a_class(maps):
    """The pullback of a class form is that of its function."""
    operator = npsubpix.ConvSoftArgmax2d((3, 3), temperature=0.5)
    coords, pullback = npsubpix.vjp(operator, maps)
    want = npsubpix.vjp(npsubpix.conv_soft_argmax2d, maps, (3, 3), temperature=0.5)[1](coords)
    np.testing.assert_array_equal(pullback(coords)["input"], want["input"])
    assert np.abs(want["input"]).max() > 0
