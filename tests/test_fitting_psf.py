"""Fits of measured point spread functions: against the definition, SciPy and the truth of simulations."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import Camera, Fits
from tests.reference import fitting as reference
from tests.reference.fitting import Spot

EXHAUSTIVE = pytest.mark.exhaustive


def gaussian_psf(length: int, oversampling: float, sigma: float, ndim: int = 2) -> np.ndarray:
    """Samples of a Gaussian, integrated over pixels."""
    from scipy.special import erf

    edges = (np.arange(length) - (length - 1) / 2) / oversampling
    line = (erf((edges + 0.5) / sigma / 2**0.5) - erf((edges - 0.5) / sigma / 2**0.5)) / 2
    spot = line
    for _ in range(ndim - 1):
        spot = np.multiply.outer(spot, line)
    return spot


def moffat_psf(length: int, oversampling: int, sigma: float, beta: float) -> np.ndarray:
    """Samples of a Moffat function, integrated over pixels."""
    box = (length // oversampling, length // oversampling)
    out = np.empty((length, length))
    for j in range(oversampling):  # phases of the pixels
        for i in range(oversampling):
            own = out[j::oversampling, i::oversampling]
            centre = [((length - 1) / 2 - k) / oversampling for k in (j, i)]
            own[:] = reference.integrated(reference.moffat, own.shape, centre, sigma, beta, order=8)
    assert box[0] > 0
    return out


def patches(rng: np.random.Generator, count: int, box: int, sigma: float, flux: float) -> tuple[np.ndarray, np.ndarray]:
    """Noise-free Gaussian spots around the centres of boxes, and their positions."""
    places = (box - 1) / 2 + rng.uniform(-0.5, 0.5, (count, 2))
    spots = [npsubpix.render_spots(p[None], (box, box), std=sigma, amplitude=flux, integrate=True) for p in places]
    return places, np.stack(spots)


@pytest.mark.parametrize(
    ("box", "length", "oversampling", "background"),
    [
        ((9, 9), 25, 2, "constant"),
        pytest.param((9, 9), 11, 1, "constant", marks=EXHAUSTIVE),
        pytest.param((8, 11), 61, 4, "plane", marks=EXHAUSTIVE),
        pytest.param((9, 9), 31, 2.5, "constant", marks=EXHAUSTIVE),
        pytest.param((7, 9, 9), 17, 2, "constant", marks=EXHAUSTIVE),
    ],
)
@pytest.mark.parametrize("estimator", ["mle", "wls", "lsq"])
def test_optima_and_errors_of_the_definition(rng, backend, box, length, oversampling, background, estimator):
    """The optimum to 1e-6 pixels for least squares, to a hundredth of the standard error for likelihoods."""
    if estimator != "wls" and background == "plane":
        background = "constant"
    psf = gaussian_psf(length, oversampling, 1.2, len(box)) * 3
    psf = psf + 0.002 * psf.max() * rng.standard_normal(psf.shape)  # noise of the samples
    plane = background == "plane"
    spot = Spot(box, psf=psf, oversampling=oversampling, plane=plane)
    known = np.array([*((np.array(box) - 1) / 2 + 0.3), 3000.0, *((0.3, -0.4) if plane else ()), 9.0])
    data = rng.poisson(np.stack([spot.of(known)] * 2)).astype(float)
    options = {"psf": psf, "oversampling": oversampling, "background": background}
    error, weights = np.sqrt(spot.of(known)), None
    if estimator == "wls":
        weights, options["error"] = 1 / error**2, error
    elif estimator == "lsq":
        weights = np.ones(box)
    else:
        options["camera"] = Camera()
    fits = npsubpix.fit_patches(data, **options)
    assert fits.ok.all()
    for row in range(2):
        want, covariance = reference.fit(spot, data[row], known, weights=weights)
        errors = np.sqrt(np.diag(covariance))
        if estimator == "mle":
            np.testing.assert_allclose((fits.coords[row] - want[: len(box)]) / errors[: len(box)], 0, atol=1e-2)
        else:
            np.testing.assert_allclose(fits.coords[row], want[: len(box)], atol=1e-6)
            assert fits.flux[row] == pytest.approx(want[len(box)], rel=1e-6)
            assert fits.background[row] == pytest.approx(want[-1], rel=1e-5)
        if estimator != "lsq":
            np.testing.assert_allclose(fits.coords_std[row], errors[: len(box)], rtol=5e-3)
            assert fits.flux_std[row] == pytest.approx(errors[len(box)], rel=2e-3)
            assert fits.background_std[row] == pytest.approx(errors[-1], rel=2e-3)


@pytest.mark.parametrize(
    ("sigma", "oversampling", "length", "limit"),
    [(1.3, 2, 31, 1e-4), (1.3, 4, 61, 1e-5), (0.6, 4, 41, 1e-3), (1.8, 1, 25, 1e-3), (1.3, 1, 19, 2e-3)],
)
def test_sampled_gaussians_are_without_bias(rng, sigma, oversampling, length, limit):
    """At every phase of the pixels; the flux is that of all pixels, whatever the sum of the samples."""
    places, spots = patches(rng, 200, 13, sigma, 1000.0)
    psf = 7 * gaussian_psf(length, oversampling, sigma)
    fits = npsubpix.fit_patches(spots + 5, psf=psf, oversampling=oversampling)
    assert fits.ok.all()
    np.testing.assert_allclose(fits.coords, places, atol=limit)
    np.testing.assert_allclose(fits.flux, 1000, rtol=limit)
    assert fits.sigma.shape == (200,)
    np.testing.assert_allclose(fits.sigma, np.hypot(sigma, 12**-0.5), rtol=0.02)  # integrated over a pixel
    np.testing.assert_array_equal(fits.sigma_std, 0)


@pytest.mark.exhaustive
def test_sampled_moffat_functions_are_without_bias(rng):
    psf = moffat_psf(125, 5, 1.0, 3.0)
    for place in rng.uniform(6.5, 7.5, (20, 2)):
        spot = reference.integrated(reference.moffat, (15, 15), place, 1.0, 3.0) * 1e4
        fits = npsubpix.fit_patches(spot[None], psf=psf, oversampling=5)
        np.testing.assert_allclose(fits.coords[0], place, atol=1e-3)
        assert fits.flux[0] == pytest.approx(1e4 * psf.sum() / 25, rel=2e-3)  # of the array


@pytest.mark.exhaustive
@pytest.mark.parametrize(("sigma", "oversampling"), [(1.3, 2), (0.6, 4)])
def test_errors_are_the_scatter_at_the_bound(rng, sigma, oversampling):
    """RMS of positions over the bound, and the scatter of errors in units of the standard error."""
    psf = gaussian_psf(12 * oversampling + 1, oversampling, sigma)
    places, spots = patches(rng, 4000, 9, sigma, 2000.0)
    data = rng.poisson(spots + 4)
    bounds = np.stack(
        [npsubpix.cramer_rao(2000, None, 4, box=9, shift=tuple(p - 4), psf=psf, oversampling=oversampling).coords_std
         for p in places[:200]]
    )  # fmt: skip
    for camera, low, high in ((Camera(), 0.97, 1.05), (None, 0.9, 1.1)):
        fits = npsubpix.fit_patches(data, psf=psf, oversampling=oversampling, camera=camera)
        assert fits.ok.mean() > 0.99
        wrong = fits.coords - places
        assert low < (wrong / fits.coords_std).std() < high
        assert low < ((fits.flux - 2000) / fits.flux_std).std() < high
        if camera is not None:
            assert np.sqrt((wrong**2).mean()) < 1.03 * np.sqrt((bounds**2).mean())
            np.testing.assert_allclose(np.median(fits.coords_std, axis=0), np.median(bounds, axis=0), rtol=0.03)


def test_the_bound_of_a_gaussian(rng):
    """That of the same spot as a formula."""
    psf = gaussian_psf(81, 4, 1.3)
    options = {"box": 11, "shift": (0.2, -0.3), "camera": Camera(read_variance=3.0)}
    for estimator in ("mle", "lsq"):
        found = npsubpix.cramer_rao([500, 5000], None, 7, psf=psf, oversampling=4, estimator=estimator, **options)
        want = npsubpix.cramer_rao([500, 5000], 1.3, 7, width="fixed", estimator=estimator, **options)
        for name in ("coords_std", "flux_std", "background_std"):
            np.testing.assert_allclose(getattr(found, name), getattr(want, name), rtol=1e-3, err_msg=name)
        np.testing.assert_array_equal(found.sigma_std, 0)


def test_spots_of_images_and_their_flags(rng, backend):
    """Boxes are those of a Gaussian as wide; bad spots are flagged rows beside good ones."""
    psf = gaussian_psf(25, 2, 1.2)
    spots = np.array([[10.3, 11.6], [20.1, 30.4], [1.0, 1.2], [30.2, 10.7], [30.4, 12.0], [np.nan, 3.0], [-4.0, 9.0]])
    image = npsubpix.render_spots(spots[:5], (40, 50), std=1.2, amplitude=4000.0, integrate=True) + 10.0
    data = rng.poisson(image).astype(np.uint16)
    fits = npsubpix.fit_spots(data, spots, psf=psf, oversampling=2, camera=Camera())
    assert isinstance(fits, Fits)
    assert list(fits.ok) == [True, True, True, False, False, False, False]
    np.testing.assert_allclose(fits.coords[:3], spots[:3], atol=5 * fits.coords_std[:3].max())
    names = fits.flag_names()
    assert "PARTIAL_WINDOW" in names[2]
    assert "BLENDED" in names[3]
    assert "NONFINITE" in names[5]
    same = npsubpix.fit_spots(data, spots, model="psf", psf=psf, oversampling=(2, 2.0), camera=Camera(), box=9)
    np.testing.assert_array_equal(same.coords, fits.coords)
    again = npsubpix.fit_spots(data, spots, psf=psf, oversampling=2, camera=Camera(), covariance=True)
    assert again.covariance.shape == (7, 4, 4)


def test_outside_the_samples_is_nothing(rng):
    """A box beyond a small array sees the background alone."""
    psf = gaussian_psf(5, 1, 0.8)
    places, _ = patches(rng, 20, 15, 0.8, 1.0)
    spots = np.stack([Spot((15, 15), psf=psf).of(np.array([*p, 500.0, 3.0])) for p in places])
    fits = npsubpix.fit_patches(spots, psf=psf)
    np.testing.assert_allclose(fits.coords, places, atol=1e-6)
    np.testing.assert_allclose(fits.background, 3.0, atol=1e-5)
    assert spots[0][0, 0] == pytest.approx(3.0, abs=1e-6)


def test_libraries(rng, wrap):
    psf = gaussian_psf(25, 2, 1.2)
    data = rng.poisson(npsubpix.render_spots([[5.2, 6.1]], (12, 13), std=1.2, amplitude=900.0, integrate=True) + 4.0)
    want = npsubpix.fit_spots(data.astype(np.float64), [[5.0, 6.0]], psf=psf, oversampling=2)
    fits = npsubpix.fit_spots(wrap(data.astype("float32")), [[5, 6]], psf=wrap(psf), oversampling=2)
    assert type(fits.coords) is type(wrap(data))
    np.testing.assert_allclose(np.asarray(fits.coords), want.coords, atol=1e-6)


BAD = np.full((5, 5), 1.0)
BAD[2, 2] = np.nan


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "psf"}, ValueError, "psf must be given with model='psf'"),
        ({"oversampling": 2}, ValueError, "oversampling is for psf"),
        ({"psf": np.ones((5, 5)), "oversampling": 0.5}, ValueError, "oversampling must be at least 1 sample per pixel"),
        ({"psf": np.ones((5, 5)), "oversampling": 0}, ValueError, "oversampling must be positive"),
        ({"psf": np.ones((5, 4))}, ValueError, "psf must have odd lengths of at least 3"),
        ({"psf": np.ones((1, 1))}, ValueError, "psf must have odd lengths of at least 3"),
        ({"psf": np.ones(5)}, ValueError, "psf must have 2 dimensions"),
        ({"psf": BAD}, ValueError, "psf must be finite"),
        ({"psf": np.zeros((5, 5))}, ValueError, "psf must have a positive sum"),
        ({"psf": np.ones((5, 5), complex)}, TypeError, "psf must hold real numbers"),
        ({"psf": np.ones((5, 5)), "sigma": 1.2}, ValueError, "sigma must be None with psf"),
        ({"psf": np.ones((5, 5)), "width": "elliptical"}, ValueError, "width must be left out with psf"),
        ({"psf": np.ones((5, 5)), "model": "moffat"}, ValueError, "model must be 'psf' with psf"),
        ({"psf": np.ones((5, 5)), "beta": 3}, ValueError, "beta is for model='moffat'"),
        ({"psf": np.ones((5, 5)), "box": 4}, ValueError, "box must be odd"),
    ],
)
def test_misuse_is_an_error(options, error, message):
    with pytest.raises(error, match=message):
        npsubpix.fit_spots(np.ones((20, 20)), [[9, 9]], **options)


def star_field(rng: np.random.Generator, sigma: float, per_side: int = 12, gap: int = 26) -> tuple:
    """Positions of stars of different brightness at all phases of the pixels, their fluxes, and their image."""
    grid = (np.indices((per_side, per_side)).reshape(2, -1).T + 0.5) * gap
    stars = np.floor(grid) + rng.uniform(-0.5, 0.5, grid.shape)
    flux = np.exp(rng.uniform(np.log(5e3), np.log(5e4), len(stars)))
    image = npsubpix.render_spots(stars, (per_side * gap,) * 2, std=sigma, amplitude=flux, integrate=True)
    return stars, flux, image + 20


def rms(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.sqrt(((found - true) ** 2).mean()))


@pytest.mark.exhaustive
@pytest.mark.parametrize(("sigma", "oversampling", "size"), [(1.3, 2, 15), (0.6, 4, 11)])
@pytest.mark.parametrize("camera", [Camera(), None])
def test_measured_functions_are_as_good_as_the_true_one(rng, sigma, oversampling, size, camera):
    """Positions and fluxes, also of undersampled stars; a tenth of the boxes has a cosmic ray."""
    stars, flux, image = star_field(rng, sigma)
    data = rng.poisson(image).astype(float)
    for row in rng.choice(len(stars), 14, replace=False):
        j, i = np.rint(stars[row] + rng.uniform(2, 4, 2) * rng.choice([-1, 1], 2)).astype(int)
        data[j, i] += 4000
    data[5, 7] = np.nan
    measured = npsubpix.build_psf(data, np.rint(stars), oversampling=oversampling, size=size, camera=camera)
    length = size * oversampling + 1 - size * oversampling % 2
    true = gaussian_psf(length, oversampling, sigma)
    assert measured.psf.shape == (length, length)
    assert measured.psf.sum() == pytest.approx(oversampling**2)
    assert measured.used.sum() > 120
    np.testing.assert_allclose(measured.psf / true.max(), true / true.max(), atol=0.02)
    clean = rng.poisson(image)
    found, best = (
        npsubpix.fit_spots(clean, np.rint(stars), psf=psf, oversampling=oversampling, camera=camera)
        for psf in (measured.psf, true)
    )
    assert rms(found.coords, stars) < 1.03 * rms(best.coords, stars)
    assert np.median(found.flux / flux) == pytest.approx(1, abs=0.005)


@pytest.mark.exhaustive
def test_against_epsf_builder(rng):
    """Positions by measured functions, this one and that of photutils, both fitted by this library."""
    photutils = pytest.importorskip("photutils.psf")
    from astropy.nddata import NDData
    from astropy.table import Table

    stars, _, image = star_field(rng, 0.8)
    data = rng.poisson(image).astype(float)
    own = npsubpix.build_psf(data, np.rint(stars), oversampling=4, size=13, camera=Camera())
    table = Table({"x": stars[:, 1], "y": stars[:, 0]})
    cutouts = photutils.extract_stars(NDData(data - 20), table, size=13)
    theirs = photutils.EPSFBuilder(oversampling=4, maxiters=10, progress_bar=False)(cutouts)[0].data
    clean = rng.poisson(image)
    errors = []
    for psf in (own.psf, theirs):
        fits = npsubpix.fit_spots(clean, np.rint(stars), psf=psf, oversampling=4, camera=Camera())
        shift = np.median(fits.coords - stars, axis=0)  # their centre may be elsewhere
        errors.append(rms(fits.coords - shift, stars))
    assert errors[0] <= errors[1]


def test_functions_of_stacks_with_masks_and_cameras(rng, backend):
    """The same spots as frames of a stack, along any axis, in counts, with a mask of a bad column."""
    stars, _, image = star_field(rng, 1.2, per_side=4)
    data = rng.poisson(np.stack([image] * 2)).astype(float)
    starts, frame = np.concatenate([np.rint(stars)] * 2), np.repeat([0, 1], len(stars))
    options = {"oversampling": 2, "size": 11, "frame": frame}
    want = npsubpix.build_psf(data, starts, camera=Camera(read_variance=4.0), frame_axis=0, **options)
    assert want.fits.ok.mean() > 0.9
    np.testing.assert_array_equal(want.fits.frame, frame)
    counts = np.moveaxis(data / 0.5 + 100, 0, -1)
    mask = np.zeros(image.shape, bool)
    mask[3] = True
    camera = Camera(offset=np.full(image.shape, 100.0), electrons_per_count=0.5, read_variance=16.0)
    found = npsubpix.build_psf(counts, starts, camera=camera, mask=mask, frame_axis=-1, **options)
    np.testing.assert_allclose(found.psf, want.psf, atol=1e-3 * want.psf.max())
    np.testing.assert_allclose(found.fits.flux, want.fits.flux, rtol=0.01)
    true = gaussian_psf(23, 2, 1.2)
    np.testing.assert_allclose(want.psf / true.max(), true / true.max(), atol=0.04)


def test_misuse_of_the_builder(rng):
    image = rng.poisson(np.full((40, 40), 9.0))
    with pytest.raises(ValueError, match="size must be odd"):
        npsubpix.build_psf(image, [[20, 20]], size=10)
    with pytest.raises(ValueError, match="coords must have spots that can be fitted, got 1"):
        npsubpix.build_psf(np.zeros((40, 40)), [[20, 20]])
    with pytest.raises(ValueError, match="oversampling must be at least 1"):
        npsubpix.build_psf(image, [[20, 20]], oversampling=0)
    with pytest.raises(ValueError, match=r"coords must have shape \(N, 2\)"):
        npsubpix.build_psf(image, [[20, 20, 1]])
