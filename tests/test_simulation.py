"""Simulated images: mean, noise, frames and misuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

import npsubpix
from tests.peak_tables import COORDS, FRAME, table


def test_mean_and_variance_are_those_of_photons():
    """Averaged over many frames: the mean is the rendered image, and the variance is the mean."""
    count, coords = 4000, np.array([[5.3, 6.6]])
    many = np.repeat(coords, count, axis=0)
    movie = npsubpix.simulate_spots(
        (count, 11, 12), many, flux=300, sigma=1.2, background=2.0, rng=1, frame=np.arange(count), frame_axis=0
    )
    mean = npsubpix.render_spots(coords, (11, 12), std=1.2, amplitude=300.0, integrate=True) + 2.0
    assert movie.dtype == np.float64
    assert (movie == np.rint(movie)).all()
    off = (movie.mean(axis=0) - mean) / np.sqrt(mean / count)
    assert np.abs(off).max() < 4.5
    assert off.std() == pytest.approx(1, abs=0.25)
    np.testing.assert_allclose(movie.var(axis=0) / mean, 1, atol=6 * math.sqrt(2 / count) * 1.3)


@pytest.mark.parametrize("em_gain", [1, 200])
def test_counts_of_a_camera(em_gain):
    """Mean and variance are those by which electrons are had back from counts."""
    count, shape = 3000, (6, 7)
    read = np.full(shape, 9.0)
    read[2, 3], read[4, 4] = 400.0, np.inf
    camera = npsubpix.Camera(offset=100, electrons_per_count=0.5 * em_gain, read_variance=read, em_gain=em_gain)
    movie = npsubpix.simulate_spots(
        (*shape, count), np.empty((0, 2)), flux=1, sigma=1, background=20.0, camera=camera, rng=5,
        frame=np.empty(0, int), frame_axis=-1,
    )  # fmt: skip
    gains = npsubpix.Camera(offset=100, electrons_per_count=0.5, em_gain=np.full(shape, em_gain))
    mapped = npsubpix.simulate_spots(shape, np.empty((0, 2)), flux=1, sigma=1, background=20.0, camera=gains, rng=5)
    plain = npsubpix.simulate_spots(
        shape, np.empty((0, 2)), flux=1, sigma=1, background=20.0, rng=5,
        camera=npsubpix.Camera(offset=100, electrons_per_count=0.5, em_gain=em_gain),
    )  # fmt: skip
    np.testing.assert_array_equal(mapped, plain)
    known = np.isfinite(read)
    assert np.isnan(movie[4, 4]).all()
    excess = 2 if em_gain > 1 else 1
    mean, variance = 100 + 20 / 0.5, excess * 20 / 0.5**2 + read
    np.testing.assert_allclose(movie.mean(axis=2)[known], mean, atol=5 * math.sqrt(variance[known].max() / count))
    np.testing.assert_allclose(movie.var(axis=2)[known], variance[known], rtol=0.2)
    electrons = (movie[0, 0] - camera.offset) * camera.electrons_per_count / em_gain
    assert electrons.mean() == pytest.approx(20, abs=0.6)


def test_every_spot_has_its_own_width_and_flux_in_its_own_frame(wrap):
    flux, sigma = np.array([1e6, 2e6, 3e6, 4e6]), np.array([[1.0], [1.2], [1.4], [0.8]])
    movie = npsubpix.simulate_spots(
        (4, 20, 30), table(2 * COORDS, FRAME, wrap), flux=wrap(flux), sigma=wrap(sigma), rng=0, frame_axis=0
    )
    for number in range(4):
        rows = number == FRAME
        mean = npsubpix.render_spots(2 * COORDS[rows], (20, 30), std=sigma[rows], amplitude=flux[rows], integrate=True)
        np.testing.assert_allclose(movie[number], mean, atol=6 * math.sqrt(mean.max()))
    last = npsubpix.simulate_spots((20, 30, 4), 2 * COORDS, flux=flux, sigma=sigma, rng=0, frame=FRAME, frame_axis=-1)
    np.testing.assert_allclose(last.sum((0, 1)), movie.sum((1, 2)), rtol=0.01)


def test_a_seed_gives_the_same_image_and_a_generator_goes_on():
    options = {"flux": 100, "sigma": 1.0, "background": 3.0}
    first, again = (npsubpix.simulate_spots((8, 9), [[4, 4]], rng=7, **options) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    rng = np.random.default_rng(7)
    np.testing.assert_array_equal(npsubpix.simulate_spots((8, 9), [[4, 4]], rng=rng, **options), first)
    assert (npsubpix.simulate_spots((8, 9), [[4, 4]], rng=rng, **options) != first).any()


def test_backgrounds_of_pixels():
    ramp = np.arange(20.0)[:, None] * np.ones(30) * 1e4
    image = npsubpix.simulate_spots((20, 30), np.empty((0, 2)), flux=1, sigma=1, background=ramp, rng=0)
    np.testing.assert_allclose(image, ramp, atol=6 * 450)
    movie = npsubpix.simulate_spots(
        (20, 30, 2), np.empty((0, 2)), flux=1, sigma=1, background=ramp, rng=0, frame=np.empty(0, int), frame_axis=2
    )
    np.testing.assert_allclose(movie.mean(axis=2), ramp, atol=6 * 450)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"flux": -1}, ValueError, "flux must be finite and not negative, got -1"),
        ({"flux": [math.nan]}, ValueError, "flux must be finite and not negative, got nan"),
        ({"flux": [1, 2, 3]}, ValueError, "flux must be a number or broadcast to the number of spots"),
        ({"flux": 1e30}, ValueError, r"flux and background must have at most 1e\+18 photons in a pixel"),
        ({"sigma": 0}, ValueError, "^sigma must be positive"),
        ({"background": -2}, ValueError, "background must not be negative, got -2"),
        ({"background": math.nan}, ValueError, "background must be finite"),
        ({"background": np.ones((2, 3))}, ValueError, "background must be a number or have the shape of the image"),
        ({"camera": 1}, TypeError, "camera must be a Camera or None, got 1"),
        (
            {"camera": npsubpix.Camera(offset=np.ones(3))},
            ValueError,
            "offset must be a number or have the shape",
        ),
        ({"rng": None}, TypeError, "rng must be a numpy.random.Generator or an integer"),
        ({"rng": True}, TypeError, "rng must be a numpy.random.Generator or an integer"),
        ({"frame": [0]}, ValueError, "frame is given, so frame_axis must say"),
        ({"frame_axis": 0}, ValueError, "frame must give the image of each position"),
    ],
)
def test_misuse(options, error, message):
    with pytest.raises(error, match=message):
        npsubpix.simulate_spots((8, 9), [[4, 4]], **{"flux": 10, "sigma": 1.0, "rng": 0, **options})


def test_a_sample_that_drifts():
    """A rate, or the displacement of each frame, is added to positions; it needs frames."""
    coords, frame = np.array([[5.5, 6.0], [8.0, 4.0], [6.0, 7.0]]), np.array([0, 2, 2])
    options = {"flux": 500, "sigma": 1.2, "rng": 3, "frame": frame, "frame_axis": 0}
    rate = np.array([0.5, -0.25])
    want = npsubpix.simulate_spots((3, 12, 13), coords + frame[:, None] * rate, **options)
    for drift in (rate, (0.5, -0.25), rate * np.arange(3)[:, None]):
        np.testing.assert_array_equal(npsubpix.simulate_spots((3, 12, 13), coords, drift=drift, **options), want)
    for drift, words in (
        ((1, 2, 3), r"drift must have the shape of frames and axes, \(3, 2\)"),
        ((np.nan, 0), "drift must be finite"),
    ):
        with pytest.raises(ValueError, match=words):
            npsubpix.simulate_spots((3, 12, 13), coords, drift=drift, **options)
    with pytest.raises(ValueError, match="drift is of the frames of a stack"):
        npsubpix.simulate_spots((12, 13), coords, flux=1, sigma=1, rng=0, drift=rate)


def test_no_spots_are_background_alone():
    """An empty list too, which has no number of coordinates."""
    for shape, axis in (((8, 9), None), ((2, 8, 9), 0)):
        own = {} if axis is None else {"frame": np.empty(0, int), "frame_axis": axis}
        image = npsubpix.simulate_spots(shape, [], flux=1, sigma=1, background=1e6, rng=0, **own)
        np.testing.assert_allclose(image, 1e6, rtol=0.01)
