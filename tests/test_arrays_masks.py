"""Masks and units that images bring with them are honoured or refused, never read past."""

from __future__ import annotations

import inspect

import astropy.units as u
import numpy as np
import pytest
from astropy.nddata import CCDData, NDData
from astropy.utils.masked import Masked

import npsubpix
from npsubpix._dispatch.operations import OPERATIONS

FUNCTIONS = {name: example for operation in OPERATIONS.values() for name, example in operation.functions.items()}
WITH_MASK = {name for name in FUNCTIONS if "mask" in inspect.signature(getattr(npsubpix, name)).parameters}


@pytest.fixture
def spots(rng):
    """An image of spots on noise, and a mask over one of them and over other pixels."""
    image = npsubpix.render_spots(rng.uniform(8, 52, (20, 2)), (60, 64), std=1.5) * 100 + rng.normal(10, 1, (60, 64))
    mask = rng.random(image.shape) < 0.05
    mask[20:30, 20:35] = True
    return image, mask


def masked_images(image, mask):
    """An image with its mask, in each of the forms that have one."""
    return (
        np.ma.array(image, mask=mask),
        CCDData(image, mask=mask, unit="adu"),
        NDData(image, mask=mask),
        Masked(image, mask=mask),
    )


def same(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_honours_or_refuses_masked_pixels(name):
    """A function without a mask says so; what it does not see of a mask would be in its result."""
    mask = np.ones((1, 2, 4, 7, 8), bool)
    mask[..., ::2] = False
    x = np.ma.array(np.random.default_rng(0).uniform(1, 2, mask.shape), mask=mask)
    if name in WITH_MASK:
        assert FUNCTIONS[name](npsubpix, x) is not None
    else:
        with pytest.raises(TypeError, match=r"must have no masked pixels|must be a plain array"):
            FUNCTIONS[name](npsubpix, x)


def test_masks_count_as_the_mask_argument_does(spots):
    image, mask = spots
    more = np.zeros(image.shape, bool)
    more[40:50, 40:60] = True
    for x in masked_images(image, mask):
        for extra, both in ((None, mask), (more, mask | more)):
            found, want = (npsubpix.find_peaks(a, threshold_abs=14, mask=m) for a, m in ((x, extra), (image, both)))
            assert len(want) > 3
            same((found.coords, found.flags), (want.coords, want.flags))
            same(npsubpix.local_background(x, 20, mask=extra), npsubpix.local_background(image, 20, mask=both))
            same([npsubpix.window_mean(x, 5, mask=extra)], [npsubpix.window_mean(image, 5, mask=both)])
            refined = [npsubpix.refine_peaks(a, want.indices, mask=m) for a, m in ((x, extra), (image, both))]
            same((refined[0].coords, refined[0].flags), (refined[1].coords, refined[1].flags))
        results = [npsubpix.align(x, x, mask=more), npsubpix.align(image, image, mask=mask | more, moving_mask=mask)]
        np.testing.assert_array_equal(results[0].matrix, results[1].matrix)


def test_masks_of_stacks_join_that_of_a_frame(spots):
    image, mask = spots
    stack, own = np.stack([image, image[::-1]], 1), np.stack([mask, mask[::-1]], 1)
    frame = np.zeros(image.shape, bool)
    frame[:, :12] = True
    found, want = (
        npsubpix.local_background(x, 20, mask=m, frame_axis=1)
        for x, m in ((np.ma.array(stack, mask=own), frame), (stack, own | frame[:, None]))
    )
    same(found, want)


def test_arrays_in_which_nothing_is_masked_are_plain(spots):
    image, _ = spots
    want = npsubpix.correlate(image, np.ones((3, 3)))
    none = np.zeros(image.shape, bool)
    for x in (np.ma.array(image), np.ma.array(image, mask=none), CCDData(image, unit="adu"), NDData(image)):
        np.testing.assert_array_equal(npsubpix.correlate(x, np.ones((3, 3))), want)
    with pytest.raises(ValueError, match="mask must have the shape of the image"):
        npsubpix.window_mean(np.ma.masked_less(image, 11), 3, mask=none[1:])
    with pytest.raises(TypeError, match="mask must be an array of booleans"):
        npsubpix.find_peaks(np.ma.masked_less(image, 11), mask=image)


def test_units_are_refused_but_for_none(spots):
    image, _ = spots
    for call in (
        npsubpix.find_peaks,
        npsubpix.local_background,
        lambda x: npsubpix.sample(x, [[3.0, 4.0]], method="linear"),
    ):
        with pytest.raises(TypeError, match=r"image must have no unit, got one in adu: pass its \.value"):
            call(image * u.adu)
    found = npsubpix.window_mean(image * u.dimensionless_unscaled, 3)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, npsubpix.window_mean(image, 3))
    np.testing.assert_allclose(npsubpix.window_mean(image * u.percent, 3), found / 100)
