"""Refinement of peaks by fits of Gaussians."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits as astropy_fits

import npsubpix
from npsubpix import FitFlags, PeakFlags

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
    """A minimum, a constant, and positions outside the image or not finite; one that moved, and two of one spot."""
    image = field(rng).astype(float)
    image[:8, 20:30] = 7.0
    starts = [[10, 12], [11, 12], [4, 25], [-4, 3], [np.nan, 3]]
    peaks = npsubpix.refine_peaks(image, starts, method="fit")
    both = PeakFlags.BLENDED
    wanted = [both, PeakFlags.MOVED | both, PeakFlags.SINGULAR, PeakFlags.AT_BORDER, PeakFlags.NONFINITE]
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


#: Flags of fits whose errors may be wrong.
DOUBTS = ("POOR_FIT", "LOW_SIGNAL", "BLENDED", "OUT_OF_RANGE")

IMAGES = Path(__file__).parent / "data"


def check_flags(peaks: npsubpix.Peaks, fits: npsubpix.Fits, doubts: tuple[str, ...] = DOUBTS) -> None:
    """Rows are ok as those of `fit_spots` from the same pixels are, for the same reasons."""
    np.testing.assert_array_equal(peaks.ok, fits.ok)
    for name in doubts:
        of_peaks, of_fits = (np.asarray(t.flags & int(f[name])) != 0 for t, f in ((peaks, PeakFlags), (fits, FitFlags)))
        np.testing.assert_array_equal(of_peaks, of_fits, name)
    assert np.isfinite(peaks.coords_std[peaks.ok]).all()


def crowd(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image of pairs at all distances, saturated spots, faint ones and some that the border cuts, and positions."""
    places = np.stack(np.mgrid[9:190:15, 9:190:15], -1).reshape(-1, 2) + rng.uniform(-0.5, 0.5, (169, 2))
    turns, apart = rng.uniform(0, 6.3, 80), rng.uniform(0.8, 5, 80)
    beside = places[:80] + apart[:, None] * np.stack([np.sin(turns), np.cos(turns)], 1)
    at_border = np.column_stack([rng.uniform(-0.4, 2.5, 24), np.linspace(5, 190, 24)])
    spots = np.concatenate([places, beside, at_border])
    fluxes = np.repeat([600.0, 12_000.0, 60.0, 600.0, 1500.0], [100, 10, 59, 80, 24])
    light = npsubpix.render_spots(spots, (196, 196), std=1.3, amplitude=fluxes, integrate=True)
    return np.minimum(rng.poisson(5 + light), 400).astype(np.float64), spots


@pytest.mark.parametrize("options", [{"camera": npsubpix.Camera()}, {"error": 4.0}, {}])
def test_rows_are_ok_as_those_of_fit_spots(rng, options):
    """A position by a fit whose errors are wrong would be taken for a good one."""
    image, spots = crowd(rng)
    refined = npsubpix.refine_peaks(image, spots, method="fit", **options)
    check_flags(refined, npsubpix.fit_spots(image, refined.indices, box=7, **options))
    assert 0.1 < np.mean(refined.ok) < 0.7
    for name in ("POOR_FIT", "LOW_SIGNAL", "BLENDED"):
        assert np.mean((refined.flags & int(PeakFlags[name])) != 0) > 0.05, name
    stack = np.stack([image, image[::-1]])
    found = npsubpix.find_peaks(stack, threshold_abs=30, refine="fit", frame_axis=0, **options)
    about = {"frame": found.frame, "frame_axis": 0, "box": 7}
    if options:  # else errors are those of all candidates, duplicates too
        check_flags(found, npsubpix.fit_spots(stack, found.indices, **about, **options))
    assert 0.1 < np.mean(found.ok) < 0.9


@pytest.mark.parametrize("name", ["m51/disc.fits", "m51/outskirts.fits", "storm_analysis/low_signal.tif"])
def test_rows_are_ok_as_those_of_fit_spots_on_real_images(name):
    path = IMAGES / name
    image = tifffile.imread(path)[0] if path.suffix == ".tif" else astropy_fits.getdata(path)
    image = np.asarray(image, np.float64)
    found = npsubpix.find_peaks(image, size=5, refine="fit", duplicates="flag")
    rows = (found.flags & int(PeakFlags.DUPLICATE)) == 0
    assert rows.sum() > 5
    again = npsubpix.refine_peaks(image, found.indices[rows], method="fit")
    check_flags(again, npsubpix.fit_spots(image, found.indices[rows], box=7))
    assert 0 < again.ok.sum() < len(again)


def test_neighbours_are_the_rows_of_the_table():
    """A maximum of noise that is merged with its spot is no neighbour, and nor is a minimum; across the edge of a
    periodic image there are some."""
    image = 10 + npsubpix.render_spots([[12.0, 12.0]], (24, 26), std=1.6, amplitude=900.0, integrate=True)
    image[12, 14] = image[12, 13] + 1
    image[11, 11] = 5.0
    options = {"size": 3, "threshold_abs": 30, "refine": "fit", "max_shift": 3.0, "error": 1.0}
    minima = {"minima": True, "threshold_abs": -20, "plateau": "drop"}
    for more, rows in (({}, 1), (minima, 2), ({"duplicates": "flag"}, 2)):
        found = npsubpix.find_peaks(image, **{**options, **more})
        kinds = found.flags & int(PeakFlags.MINIMUM | PeakFlags.DUPLICATE)
        assert (len(found), (kinds == 0).sum()) == (rows, 1)
        assert not (found.flags[kinds == 0] & int(PeakFlags.BLENDED)).any()
    spots = np.array([[0.3, 12.0], [18.1, 12.4], [9.0, 5.0]])
    image = 10 + npsubpix.render_spots(spots, (20, 24), std=1.6, amplitude=900.0, integrate=True)
    for mode, wanted in ((None, [False] * 3), ("wrap", [True, True, False])):
        found = npsubpix.refine_peaks(image, spots, method="fit", mode=mode)
        assert ((found.flags & int(PeakFlags.BLENDED)) != 0).tolist() == wanted
