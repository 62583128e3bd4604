"""Noise where a camera clips it or photons are few, and levels within the range of their boxes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile

import npsubpix
from npsubpix import Background
from tests.test_background import check

SIDE = 256


def spots(rng, height):
    """144 spots, at least 18 pixels from each other: their pixels, and an image of them."""
    places = np.stack(np.meshgrid(*2 * [np.arange(18, 250, 19)[:12]], indexing="ij"), -1).reshape(-1, 2)
    exact = places + rng.uniform(-2, 2, places.shape)
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.zeros((SIDE, SIDE))
    for cy, cx in exact:
        image += height * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 1.4**2))
    return exact, image


def found_and_false(image, truth, background, threshold):
    """How many spots have a peak above the threshold within 2 pixels, and how many peaks have no spot."""
    peaks = npsubpix.find_peaks(image, size=7, background=background, threshold_abs=threshold, plateau="first")
    distance = np.linalg.norm(np.asarray(peaks.coords)[:, None] - truth, axis=2)
    return int((distance.min(0) < 2).sum()), int((distance.min(1) >= 2).sum())


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("offset", [0.0, 2.0, 4.0])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_noise_that_is_clipped_at_zero(rng, offset, dtype):
    """Half of the pixels, or fewer, are 0: the others have the noise, and 144 spots are 144 peaks above 6 noises."""
    truth, image = spots(rng, 60)
    image = np.clip(image + rng.normal(offset, 4, image.shape), 0, None)
    image = np.round(image).astype(dtype) if dtype is np.uint8 else image
    background = npsubpix.local_background(image, 64)
    np.testing.assert_allclose(background.noise, 4, rtol=0.12)
    assert found_and_false(image, truth, background, 6) == (144, 0)
    assert background.guessed.mean() == (1 if offset == 0 and dtype is np.uint8 else background.guessed.mean())


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("photons", [0.001, 0.02, 0.1, 0.3, 0.6])
def test_few_photons(rng, photons):
    """Single photons are no peaks of many standard deviations: the noise is about that of one, and a guess."""
    truth, signal = spots(rng, 25)
    image = rng.poisson(signal + photons).astype(np.uint8)
    background = npsubpix.local_background(image, 64)
    assert background.noise.min() >= 0.28
    assert background.noise.max() < 1.7
    assert background.guessed.all() or photons == 0.6
    found, false = found_and_false(image, truth, background, 6)
    assert found >= 140
    assert false <= 1


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("mean", [1, 3, 10])
def test_more_photons(rng, mean):
    """From one photon per pixel on, the noise is the standard deviation of the counts."""
    background = npsubpix.local_background(rng.poisson(mean, (SIDE, SIDE)).astype(np.uint16), 64)
    np.testing.assert_allclose(background.noise, mean**0.5, rtol=0.15)
    assert not background.guessed.any()


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("size", [20, (9, 40), 100])
def test_the_definition_of_piled_pixels(rng, size):
    """Clipped noise, rare photons, few values on both sides of the middle, and a region without any noise."""
    clipped = np.clip(rng.normal(0.3, 2, (40, 47)), 0, None)
    clipped[10:14, 20:24] += 30
    rare = rng.poisson(0.05, clipped.shape) + 60 * (rng.random(clipped.shape) < 0.004)
    narrow = np.round(rng.normal(100, 0.25, clipped.shape))
    region = np.where(np.arange(47) < 20, 7.0, rng.normal(9, 1, clipped.shape))
    for image in (clipped, np.round(clipped), rare, rare * 0.37 + 0.1, narrow, -rare, region, np.float32(clipped)):
        for options in ({}, {"method": "mean", "grow": 0, "filter_size": 1}):
            check(image, size, **options)


@pytest.mark.usefixtures("backend")
def test_the_noise_of_an_image_that_is_not_constant_is_not_zero(rng):
    """Of spots without any noise: that of rounding in integers; and of the boxes around, in a box of equal pixels."""
    truth, image = spots(rng, 100)
    for x in (image.astype(np.uint8), image.astype(np.uint8).astype(float), np.where(image < 1, 0, image)):
        background = npsubpix.local_background(x, 64)
        assert background.noise.min() > 0
        assert background.guessed.all()
        assert found_and_false(x, truth, background, 6) == (144, 0)
    one = np.zeros((64, 64), np.uint16)
    one[20, 30] = 40
    background = npsubpix.local_background(one, 16)
    np.testing.assert_allclose(background.noise, 12**-0.5)
    assert background.guessed.all()
    field = rng.normal(10, 1, (128, 128))
    field[:64, :64] = 0  # beyond a mosaic
    background = npsubpix.local_background(field, 32)
    np.testing.assert_allclose(background.noise, 1, rtol=0.1)
    assert background.guessed[:64, :64].all()
    assert not background.guessed[64:].any()


@pytest.mark.usefixtures("backend")
def test_levels_beside_a_bright_disc(rng):
    """Counts of 100 around a disc of 1000: the level is that of the boxes, where it once was below 0."""
    y, x = np.mgrid[:160, :160]
    image = rng.poisson(np.where(np.hypot(y - 80, x - 80) < 40, 1000, 100)).astype(np.uint16)
    background = npsubpix.local_background(image, 24)
    assert image.min() > 55
    assert background.level.min() > 95
    assert background.level.max() < 1005
    assert background.noise.min() > 8
    corner = npsubpix.local_background(np.roll(image, (-70, -70), (0, 1)), 24)  # extrapolated
    assert corner.level.min() >= image.min()
    assert corner.level.max() <= image.max()
    assert corner.noise.min() > 8


@pytest.mark.parametrize("size", [8, 16, 24])
def test_levels_of_frames_of_molecules(size):
    """No level is below the least pixel or above the greatest, and no noise below 0: some were."""
    for name in ("high", "low"):
        frames = tifffile.imread(Path(__file__).parent / "data" / "storm_analysis" / f"{name}_signal.tif")
        found = npsubpix.local_background(frames, size, frame_axis=0)
        assert found.level.min() >= frames.min()
        assert found.level.max() <= frames.max()
        assert found.noise.min() > 1


@pytest.mark.usefixtures("backend")
def test_slopes_with_noise_are_followed_to_the_border(rng):
    """As exactly as their boxes tell, and up to the corners: nothing holds the level back."""
    y, x = np.mgrid[:192, :256]
    plane = 500 + 0.8 * y - 0.5 * x
    level = npsubpix.local_background(plane + rng.normal(0, 3, plane.shape), 32).level
    assert np.abs(level - plane).max() < 1.5
    assert np.abs(level - plane)[[0, 0, -1, -1], [0, -1, 0, -1]].max() < 1.5


def test_the_pair_knows_where_its_noise_is_a_guess(rng):
    """It stays a pair, also in copies, and may be made without it."""
    background = npsubpix.local_background(rng.poisson(0.1, (40, 50)), 20)
    level, noise = background
    assert background.guessed.dtype == bool
    assert background.guessed.shape == level.shape == noise.shape
    for other in (pickle.loads(pickle.dumps(background)), copy.copy(background), copy.deepcopy(background)):
        assert isinstance(other, Background)
        np.testing.assert_array_equal(other.guessed, background.guessed)
    assert Background(level, noise).guessed is None
    stack = np.stack([rng.normal(size=(40, 50)), rng.poisson(0.1, (40, 50))], -1)
    found = npsubpix.local_background(stack, 20, frame_axis=-1).guessed
    assert not found[..., 0].any()
    assert found[..., 1].all()
