"""Refinement of peaks by fits of Gaussians."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import PeakFlags

pytestmark = pytest.mark.usefixtures("backend")

SPOTS = np.array([[10.2, 11.7], [30.6, 25.1], [20.4, 40.3]])


def field(rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(5 + npsubpix.render_spots(SPOTS, (41, 52), std=1.2, amplitude=3000.0, integrate=True))


def test_peaks_are_at_the_fits(rng):
    """With the value of the fitted Gaussian; narrow spots have no bias."""
    image = field(rng)
    peaks = npsubpix.find_peaks(image, threshold_abs=100, refine="fit")
    assert peaks.ok.all()
    order = np.argsort(peaks.coords[:, 1])
    fits = npsubpix.fit_spots(image, peaks.indices, box=7)
    np.testing.assert_allclose(peaks.coords, fits.coords, rtol=1e-9)
    height = fits.background + fits.flux / (2 * np.pi * fits.sigma**2)
    np.testing.assert_allclose(peaks.values, height, rtol=1e-9)
    np.testing.assert_allclose(peaks.coords[order], SPOTS[np.argsort(SPOTS[:, 1])], atol=0.12)


@pytest.mark.exhaustive  # which compiles for volumes
def test_stacks_and_volumes(rng):
    movie = np.stack([field(rng)] * 2, axis=-1)
    peaks = npsubpix.find_peaks(movie, threshold_abs=100, refine="fit", frame_axis=-1)
    assert len(peaks) == 6
    assert peaks.ok.all()
    spot = np.array([[4.3, 10.2, 9.8]])
    volume = npsubpix.render_spots(spot, (10, 20, 20), std=1.3, amplitude=1000.0, integrate=True)
    found = npsubpix.refine_peaks(volume, [[4, 10, 10]], method="fit", radius=4)
    np.testing.assert_allclose(found.coords, spot, atol=1e-5)


def test_what_cannot_be_fitted_keeps_its_pixel(rng):
    """A minimum, a constant, and positions outside the image or not finite; one that moved says so."""
    image = field(rng).astype(float)
    image[:8, 20:30] = 7.0
    starts = [[10, 12], [11, 12], [4, 25], [-4, 3], [np.nan, 3]]
    peaks = npsubpix.refine_peaks(image, starts, method="fit")
    wanted = [0, PeakFlags.MOVED, PeakFlags.SINGULAR, PeakFlags.AT_BORDER, PeakFlags.NONFINITE]
    assert peaks.flags.tolist() == [int(flag) for flag in wanted]
    assert peaks.coords[2].tolist() == [4, 25]
    assert peaks.values[2] == 7
    assert np.isnan(peaks.values[3:]).all()
    assert peaks.coords[3].tolist() == [-4, 3]
    np.testing.assert_allclose(peaks.coords[0], peaks.coords[1], atol=0.01)  # in boxes a pixel apart
    dark = npsubpix.find_peaks(100.0 - image, minima=True, threshold_abs=-50, refine="fit")
    assert not dark[(dark.flags & int(PeakFlags.MINIMUM)) != 0].ok.any()


def test_periodic_images():
    image = npsubpix.render_spots([[10.3, 12.2]], (20, 24), std=1.3, amplitude=900.0, integrate=True)
    shifted = np.roll(image, (-10, -12), (0, 1))
    peaks = npsubpix.refine_peaks(shifted, [[0, 0]], method="fit", mode="wrap", radius=4)
    np.testing.assert_allclose(peaks.coords, [[0.3, 0.2]], atol=1e-4)


CAMERA = npsubpix.Camera(offset=100, electrons_per_count=0.5, read_variance=4)


def counts_of(rng: np.random.Generator, background: float = 2.0) -> np.ndarray:
    light = background + npsubpix.render_spots(SPOTS, (41, 52), std=1.2, amplitude=600.0, integrate=True)
    return np.rint(100 + rng.poisson(light) / 0.5 + rng.normal(0, 2, light.shape))


def test_a_camera_makes_it_the_fit_of_the_camera(rng):
    """Unweighted, positions scatter by 10 to 30 % more, and a user who gives the camera would not know."""
    counts, starts = counts_of(rng), SPOTS.round()
    gain = np.full(counts.shape, 0.5)
    for camera in (CAMERA, npsubpix.Camera(offset=100, electrons_per_count=gain, read_variance=4, em_gain=2)):
        found = npsubpix.refine_peaks(counts, starts, method="fit", camera=camera)
        fits = npsubpix.fit_spots(counts, starts, box=7, camera=camera)
        np.testing.assert_allclose(found.coords, fits.coords, rtol=1e-12)
        np.testing.assert_allclose(found.coords_std, fits.coords_std, rtol=1e-12)
        height = fits.background + fits.flux / (2 * np.pi * fits.sigma**2)
        factor = 0.5 / (1 if camera is CAMERA else 2)
        np.testing.assert_allclose(found.values, 100 + height / factor, rtol=1e-9)  # in counts, as the image
    peaks = npsubpix.find_peaks(counts, threshold_abs=200, refine="fit", camera=CAMERA)
    fits = npsubpix.fit_spots(counts, peaks.indices, box=7, camera=CAMERA)
    np.testing.assert_allclose(peaks.coords_std, fits.coords_std, rtol=1e-12)
    noise = np.sqrt(counts)
    found = npsubpix.refine_peaks(counts, starts, method="fit", error=noise)
    np.testing.assert_allclose(found.coords, npsubpix.fit_spots(counts, starts, box=7, error=noise).coords, rtol=1e-9)


def test_options_of_fits_by_name(rng):
    """A box, a width and a model as of `fit_spots`, for frames of a stack too."""
    movie, starts = np.stack([counts_of(rng), counts_of(rng)]), np.tile(SPOTS.round(), (2, 1))
    about = {"frame": [0, 0, 0, 1, 1, 1], "frame_axis": 0, "camera": CAMERA}
    for options in ({"width": "fixed", "sigma": 1.2}, {"box": 9, "estimator": "lsq"}):
        found = npsubpix.refine_peaks(movie, starts, method="fit", fit=options, **about)
        fits = npsubpix.fit_spots(movie, starts, **options, **about)
        np.testing.assert_allclose(found.coords, fits.coords, rtol=1e-12)
        np.testing.assert_allclose(found.coords_std, fits.coords_std, rtol=1e-12)
    wide = npsubpix.refine_peaks(movie, starts, method="fit", fit={"width": "fixed", "sigma": 1.2}, radius=5, **about)
    fits = npsubpix.fit_spots(movie, starts, width="fixed", sigma=1.2, box=11, **about)
    np.testing.assert_allclose(wide.coords, fits.coords, rtol=1e-12)


@pytest.mark.exhaustive  # which compiles for these models
@pytest.mark.parametrize("mode", [None, "wrap"])
def test_other_models_have_their_values(mode):
    """Those of a measured point spread function, and of a Moffat function, at the centre of a spot."""
    psf = npsubpix.render_spots([[20, 20]], (41, 41), std=4.8, amplitude=1.0, integrate=True)
    image = 5 + npsubpix.render_spots(SPOTS, (41, 52), std=1.2, amplitude=900.0, integrate=True)
    found = npsubpix.find_peaks(image, threshold_abs=50, refine="fit", fit={"psf": psf, "oversampling": 4}, mode=mode)
    centre = npsubpix.render_spots([[3, 3]], (7, 7), std=1.2, amplitude=900.0, integrate=True)[3, 3]
    assert found.ok.all()
    np.testing.assert_allclose(found.coords[np.argsort(found.coords[:, 1])], SPOTS[np.argsort(SPOTS[:, 1])], atol=0.02)
    np.testing.assert_allclose(found.values, 5 + centre, rtol=0.03)
    y, x = np.mgrid[:410, :520] / 10 - 0.45
    fine = (1 + ((y - SPOTS[0, 0]) ** 2 + (x - SPOTS[0, 1]) ** 2) / 2.5**2) ** -3.0
    star = 7 + 100 * fine.reshape(41, 10, 52, 10).mean((1, 3))
    for options in ({"model": "moffat", "beta": 3.0}, {"model": "moffat"}):
        found = npsubpix.refine_peaks(star, SPOTS[:1], method="fit", fit=options, radius=8, mode=mode)
        np.testing.assert_allclose(found.coords, SPOTS[:1], atol=1e-3)
        np.testing.assert_allclose(found.values, 107, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "centroid", "fit": {}}, ValueError, "fit is for method='fit', got method='centroid'"),
        ({"fit": "gaussian"}, TypeError, "fit must be a dict of options of fit_spots, got 'gaussian'"),
        ({"fit": {"camera": CAMERA}}, TypeError, "fit must not have 'camera', which is an argument beside it"),
        ({"fit": {"boxes": 7}}, TypeError, "fit has no option 'boxes': those of fit_spots are model, width,"),
        ({"fit": {"box": 8}}, ValueError, "box must be odd"),
        ({"fit": {"box": 7}, "radius": 3}, ValueError, "radius and the box of fit exclude each other"),
        ({"fit": {"estimator": "wls"}}, ValueError, "error must be given with estimator='wls'"),
        ({"fit": {"psf": np.ones((4, 4))}}, ValueError, "psf must have odd lengths"),
    ],
)
def test_wrong_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        npsubpix.refine_peaks(np.ones((20, 20)), [[9, 9]], **{"method": "fit", **options})
    if "method" not in options:
        own = {name: value for name, value in options.items() if name != "method"}
        with pytest.raises(error, match=message):
            npsubpix.find_peaks(np.ones((20, 20)), refine="fit", **own)


def test_spots_that_are_fitted_together_are_all_of_them():
    with pytest.raises(ValueError, match="num_peaks must be None with neighbors='fit'"):
        npsubpix.find_peaks(np.ones((20, 20)), refine="fit", fit={"neighbors": "fit"}, num_peaks=3)
