"""The calibration of a camera from its images."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import estimate_camera


def frames(rng: np.random.Generator, light: np.ndarray, count: int, per_count: float = 0.45, read: float = 3.0):
    """Integer counts of a camera with an offset of 100, and a read noise in counts."""
    electrons = rng.poisson(np.broadcast_to(light, (count, *light.shape)))
    return np.rint(100 + electrons / per_count + rng.normal(0, read, electrons.shape)).astype(np.uint16)


LIGHT = np.linspace(5, 800, 80 * 90).reshape(80, 90)


def test_dark_and_bright_frames(rng):
    camera = estimate_camera(frames(rng, LIGHT, 40), frames(rng, 0 * LIGHT, 60))
    assert camera.electrons_per_count == pytest.approx(0.45, rel=0.01)
    assert camera.offset.shape == camera.read_variance.shape == LIGHT.shape
    assert camera.offset.mean() == pytest.approx(100, abs=0.1)
    assert np.median(camera.read_variance) == pytest.approx(9 + 1 / 12, rel=0.05)
    assert camera.em_gain == 1


def test_a_movie_alone(rng):
    """Spots that blink change nothing; the read noise is in the offset."""
    movie = frames(rng, LIGHT, 40).astype(np.int64)
    movie[rng.integers(0, 40, 2000), rng.integers(0, 80, 2000), rng.integers(0, 90, 2000)] += 3000
    camera = estimate_camera(np.moveaxis(movie, 0, 2), frame_axis=2)
    assert camera.electrons_per_count == pytest.approx(0.45, rel=0.02)
    assert camera.offset == pytest.approx(100 - 0.45 * 9, abs=2)
    variance = frames(rng, np.full((60, 60), 300.0), 30).astype(float).var(axis=0, ddof=1).mean()
    mean = 100 + 300 / 0.45
    assert (mean - camera.offset) / camera.electrons_per_count == pytest.approx(variance, rel=0.03)


def test_fits_with_an_estimated_camera_have_true_errors(rng):
    spots = np.stack(np.meshgrid(np.arange(10, 390, 20.0), np.arange(10, 390, 20.0)), -1).reshape(-1, 2)
    spots += rng.uniform(-0.5, 0.5, spots.shape)
    light = 8 + npsubpix.render_spots(spots, (400, 400), std=1.3, amplitude=1500.0, integrate=True)
    movie = frames(rng, light, 3, read=1.0)
    fits = npsubpix.fit_spots(movie[0], np.rint(spots), camera=estimate_camera(movie), box=9)
    assert fits.ok.mean() > 0.98
    error = ((fits.coords - spots) / fits.coords_std)[fits.ok]
    assert np.std(error) == pytest.approx(1, abs=0.09)
    assert np.median(fits.flux) == pytest.approx(1500, rel=0.04)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((4, 5)),), ValueError, "bright must have 3 dimensions"),
        ((np.zeros((1, 5, 5)),), ValueError, "bright must have at least 2 frames"),
        ((np.zeros((4, 5, 5)),), ValueError, "bright must have noise that grows"),
        ((np.ones((4, 5, 5)), np.zeros((4, 5, 6))), ValueError, "dark must have frames of the shape of bright"),
        ((np.ones((4, 5, 5)), np.zeros((4, 5, 5))), ValueError, "bright must have more noise than dark"),
        ((np.ones((4, 5, 5), bool),), TypeError, "bright must hold real numbers"),
        ((np.full((4, 5, 5), np.inf),), ValueError, "bright must have noise that grows"),
        ((np.arange(100.0).reshape(4, 5, 5) * 1e200,), ValueError, "bright must have noise that grows"),
        ((np.ones((4, 5, 5)), np.full((4, 5, 5), np.nan)), ValueError, "dark must be finite, got 100 pixels that"),
        ((np.ones((4, 5, 5)), 2 * np.ones((4, 5, 5))), ValueError, "bright must be brighter than dark"),
    ],
)
def test_misuse_is_an_error(arguments, error, message):
    with pytest.raises(error, match=message):
        estimate_camera(*arguments)


def blinking(rng: np.random.Generator, background: float) -> np.ndarray:
    """Molecules of 500 photons on an even background, each on in a tenth of the frames."""
    spots = rng.uniform(5, 75, (40, 2))
    shares = np.array([npsubpix.render_spots(p[None], (80, 80), std=1.3, integrate=True).ravel() for p in spots])
    shares /= shares.sum(axis=1, keepdims=True)
    light = (rng.random((100, 40)) < 0.1) @ (500 * shares) + background
    return np.rint(100 + rng.poisson(light.reshape(100, 80, 80)) / 0.45 + rng.normal(0, 3, (100, 80, 80)))


@pytest.mark.parametrize("background", [2.0, 10.0])
def test_a_movie_of_molecules_that_blink_is_warned_of(rng, background):
    """It gives a number that is several times off, which nothing else would show."""
    with pytest.warns(UserWarning, match="bright has variances that are no line over the mean: they depart by up to"):
        estimate_camera(blinking(rng, background))


def test_saturated_pixels_and_even_light_are_warned_of(rng):
    with pytest.warns(UserWarning, match=r"no line .* pixels saturate"):
        estimate_camera(np.minimum(frames(rng, LIGHT, 40), 1800))
    with pytest.warns(UserWarning, match=r"bright has too small a range of light: .* known to \d+% only"):
        estimate_camera(frames(rng, np.full((80, 90), 50.0), 40))


@pytest.mark.parametrize("least", [0.1, 500.0])
@pytest.mark.parametrize("count", [2, 40])
def test_steady_light_is_not_warned_of(rng, least, count):
    """Of few frames, and of few photons, whose noise is not Gaussian; warnings are errors here."""
    light = np.linspace(least, 4 * least + 10, 80 * 90).reshape(80, 90)
    camera = estimate_camera(frames(rng, light, count), frames(rng, 0 * light, 60))
    assert camera.electrons_per_count == pytest.approx(0.45, rel=0.15 if count == 2 else 0.02)
    if count > 2:
        assert estimate_camera(frames(rng, light, count)).electrons_per_count == pytest.approx(0.45, rel=0.1)
