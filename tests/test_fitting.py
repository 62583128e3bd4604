"""Fits of spots: against the definition, against optimizers of SciPy, and tables of results."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import Camera, Fits
from tests.assertions import on_host
from tests.reference import fitting as reference
from tests.reference.fitting import Spot

#: Kernels of models take seconds to compile: that of the first, which most callers use, stands for all.
MODELS = [
    ((9, 9), "free", None, "constant"),
    pytest.param((9, 9), "fixed", (1.1, 1.4), "constant", marks=pytest.mark.exhaustive),
    pytest.param((7, 11), "elliptical", None, "constant", marks=pytest.mark.exhaustive),
    pytest.param((9, 9), "free", None, "plane", marks=pytest.mark.exhaustive),
    pytest.param((7, 9, 9), "free", None, "constant", marks=pytest.mark.exhaustive),
]


def truth(box: tuple[int, ...], width: str, background: str) -> np.ndarray:
    """Parameters of a bright spot near the centre of a box."""
    axes = len(box)
    widths = {"fixed": [], "free": [1.2] if axes == 2 else [1.5, 1.2], "elliptical": [1.1, 1.4]}[width]
    slopes = [0.3, -0.4] if background == "plane" else []
    return np.array([*((np.array(box) - 1) / 2 + 0.3)[:axes], 2000.0, *widths, *slopes, 9.0])


def columns(fits: Fits, row: int, width: str) -> tuple[np.ndarray, np.ndarray]:
    """Positions, flux, widths and background of a row, and their errors."""
    sigma, errors = np.atleast_2d(fits.sigma.T).T[row], np.atleast_2d(fits.sigma_std.T).T[row]
    own = {"fixed": [], "free": [0, 1][: fits.ndim - 1], "elliptical": [0, 1]}[width]
    values = [*fits.coords[row], fits.flux[row], *sigma[own], fits.background[row]]
    return np.array(values), np.array(
        [*fits.coords_std[row], fits.flux_std[row], *errors[own], fits.background_std[row]]
    )


@pytest.mark.parametrize(("box", "width", "sigma", "background"), MODELS)
@pytest.mark.parametrize("estimator", ["mle", "wls"])
def test_optima_and_errors_of_the_definition(rng, backend, box, width, sigma, background, estimator):
    """The optimum to 0.005 standard errors (1e-6 pixels for least squares), and the errors to 0.2 %."""
    spot = Spot(box, width, sigma, background == "plane")
    known = truth(box, width, background)
    variance = rng.uniform(0.5, 3.0, box)
    data = rng.poisson(np.stack([spot.of(known)] * 2)) + rng.normal(size=(2, *box)) * np.sqrt(variance)
    options = {"width": width, "sigma": sigma, "background": background}
    if estimator == "mle":
        fits = npsubpix.fit_patches(data, camera=Camera(read_variance=variance), **options)
    else:
        error = np.sqrt(spot.of(known) + variance)
        fits = npsubpix.fit_patches(data, error=error, **options)
    assert fits.ok.all()
    for row in range(2):
        if estimator == "mle":
            want, covariance = reference.fit(spot, data[row], known, variance)
            ratio = reference.log_likelihood(data[row], spot.of(want), variance)
            assert fits.log_likelihood[row] == pytest.approx(ratio, abs=0.01)
        else:
            want, covariance = reference.fit(spot, data[row], known, weights=1 / error**2)
            residuals = (data[row] - spot.of(want)) / error
            assert fits.chi2[row] == pytest.approx((residuals**2).sum() / (residuals.size - want.size), rel=1e-6)
        errors = np.sqrt(np.diag(covariance))
        keep = np.r_[: want.size - 1 - 2 * (background == "plane"), want.size - 1]
        found, found_errors = columns(fits, row, width)
        limit = 1e-6 if estimator == "wls" else 5e-3
        np.testing.assert_allclose(
            (found - want[keep]) / errors[keep], 0, atol=50 * limit if estimator == "wls" else limit
        )
        np.testing.assert_allclose(found_errors, errors[keep], rtol=2e-3)
        if estimator == "wls":
            np.testing.assert_allclose(found[: len(box)], want[: len(box)], atol=1e-6)


def test_least_squares_of_scipy(rng, backend):
    """Without weights, the same optimum to 1e-6 pixels, with the variance of residuals as chi2."""
    spot, known = Spot((9, 9)), truth((9, 9), "free", "constant")
    data = rng.poisson(spot.of(known)) + 50.0
    fits = npsubpix.fit_patches(data[None])
    want, _ = reference.fit(spot, data, known + np.array([0, 0, 0, 0, 50.0]), weights=np.ones((9, 9)))
    np.testing.assert_allclose(fits.coords[0], want[:2], atol=1e-6)
    assert fits.flux[0] == pytest.approx(want[2], rel=1e-6)
    assert fits.chi2[0] == pytest.approx(((data - spot.of(want)) ** 2).sum() / (81 - 5), rel=1e-9)


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({}, 5.5),
        pytest.param({"background": "plane"}, 5.5, marks=pytest.mark.exhaustive),
        pytest.param({"width": "elliptical"}, 5.0, marks=pytest.mark.exhaustive),
        pytest.param({"width": "fixed", "sigma": (1.2, 1.4)}, 4.0, marks=pytest.mark.exhaustive),
    ],
    ids=["free", "plane", "elliptical", "fixed"],
)
@pytest.mark.parametrize("estimator", ["lsq", "wls"])
def test_few_steps_where_residuals_are_large(rng, backend, estimator, options, most):
    """Without second derivatives of means, or with a wrong one, each step shrinks by the same factor only."""
    positions = 4 + rng.uniform(-0.5, 0.5, (60, 2))
    mean = npsubpix.render_spots(
        np.column_stack([np.arange(60), positions]), (60, 9, 9), std=(1e-3, 1.2, 1.4), amplitude=900.0, integrate=True
    )
    data = rng.poisson(mean + 20.0)
    error = None if estimator == "lsq" else np.sqrt(mean + 20.0)
    fits = npsubpix.fit_patches(data, estimator=estimator, error=error, **options)
    found = (fits.flags & int(npsubpix.FitFlags.NOT_CONVERGED)) == 0
    assert found.all()
    assert fits.n_iters.mean() < most


@pytest.mark.parametrize("estimator", ["lsq", "wls"])
def test_optima_of_scipy_with_masks_borders_and_maps_of_errors(rng, backend, estimator):
    """To 1e-6 pixels, whatever pixels a box lacks."""
    shape, spots = (24, 30), np.array([[11.3, 12.6], [0.8, 20.3], [22.4, 28.7]])
    image = npsubpix.render_spots(spots, shape, std=1.3, amplitude=3000.0, integrate=True) + 9.0
    data = rng.poisson(image).astype(float)
    mask = rng.random(shape) < 0.08
    error = rng.uniform(2.0, 9.0, shape)
    options = {"mask": mask, "box": 9} | ({"error": error} if estimator == "wls" else {})
    fits = npsubpix.fit_spots(data, np.rint(spots), **options)
    assert not (fits.flags & int(npsubpix.FitFlags.NOT_CONVERGED)).any()
    weights = np.where(mask, 0.0, 1 / error**2 if estimator == "wls" else 1.0)
    padded, padded_weights = np.pad(data, 4), np.pad(weights, 4)
    for row, (y, x) in enumerate(np.rint(spots).astype(int)):
        box = np.s_[y : y + 9, x : x + 9]
        start = np.array([*(spots[row] - (y, x) + 4), 3000.0, 1.3, 9.0])
        want, _ = reference.fit(Spot((9, 9)), padded[box], start, weights=padded_weights[box])
        np.testing.assert_allclose(fits.coords[row], want[:2] + np.array([y, x]) - 4, atol=1e-6)
        assert fits.flux[row] == pytest.approx(want[2], rel=1e-6)
        assert fits.sigma[row] == pytest.approx(want[3], rel=1e-6)


def test_noise_free_spots_are_measured_exactly(backend):
    """Of whatever amplitude, on whatever background, far from the origin."""
    positions = np.array([[10.37, 12.81], [1007.2, 1010.9]])
    image = npsubpix.render_spots(positions, (1020, 1024), std=1.3, amplitude=1.0, integrate=True)
    for amplitude, background in ((1e-6, 0.0), (1.0, -3.0), (1e6, 1e3)):
        fits = npsubpix.fit_spots(image * amplitude + background, np.rint(positions), box=13)
        assert fits.ok.all()
        np.testing.assert_allclose(fits.coords, positions, atol=1e-6)
        np.testing.assert_allclose(fits.flux, amplitude, rtol=1e-5)
        np.testing.assert_allclose(fits.sigma, 1.3, rtol=1e-5)


def test_counts_and_electrons(rng, backend):
    """Fluxes are in electrons, whatever the camera makes of them, by numbers or by maps."""
    spots = np.array([[10.3, 11.6], [20.1, 30.4]])
    image = npsubpix.render_spots(spots, (40, 50), std=1.2, amplitude=4000.0, integrate=True) + 10.0
    electrons = rng.poisson(image).astype(float)
    want = npsubpix.fit_spots(electrons, spots, camera=Camera(read_variance=2.0))
    offset, factor = rng.uniform(90, 110, image.shape), rng.uniform(0.4, 0.6, image.shape)
    maps = Camera(offset=offset, electrons_per_count=factor, read_variance=2.0 / factor**2)
    for counts, camera in (
        (electrons / 0.45 + 100, Camera(offset=100, electrons_per_count=0.45, read_variance=2.0 / 0.45**2)),
        (electrons / factor + offset, maps),
    ):
        for fits in (
            npsubpix.fit_spots(counts, spots, camera=camera),
            npsubpix.fit_spots(np.stack([counts] * 2, -1), spots, frame=[0, 1], frame_axis=-1, camera=camera),
        ):
            for name in ("coords", "coords_std", "flux", "flux_std", "background", "sigma", "chi2"):
                np.testing.assert_allclose(getattr(fits, name), getattr(want, name), rtol=1e-6, err_msg=name)


def test_stacks_and_tables(rng):
    """Peaks bring their frames; patches, images and stacks give the same rows."""
    spots = np.array([[10.3, 11.6], [20.1, 30.4], [25.7, 8.2]])
    image = npsubpix.render_spots(spots, (40, 50), std=1.2, amplitude=4000.0, integrate=True) + 10.0
    movie = rng.poisson(np.stack([image] * 3)).astype(np.uint16)
    peaks = npsubpix.find_peaks(movie, frame_axis=0, threshold_abs=150)
    assert len(peaks) == 9
    fits = npsubpix.fit_spots(movie, peaks, frame_axis=0, camera=Camera(), sigma=1.2, box=9)
    np.testing.assert_array_equal(fits.frame, peaks.frame)
    assert fits.image_shape == (40, 50)
    assert fits.ok.all()
    one = npsubpix.fit_spots(movie[1], peaks[peaks.frame == 1], camera=Camera(), sigma=1.2, box=9)
    np.testing.assert_array_equal(one.frame, [1, 1, 1])
    np.testing.assert_array_equal(one.flux, fits.flux[peaks.frame == 1])
    first = fits.indices[4]
    patch = movie[1, first[0] - 4 : first[0] + 5, first[1] - 4 : first[1] + 5]
    cut = npsubpix.fit_patches(patch[None], camera=Camera(), sigma=1.2)
    np.testing.assert_allclose(cut.coords[0] + first - 4, fits.coords[4], atol=1e-3)


def test_tables_of_fits(rng, tmp_path):
    image = npsubpix.render_spots([[5.2, 6.1]], (12, 13), std=1.2, amplitude=900.0, integrate=True)
    data = rng.poisson(np.stack([image + 4.0] * 3)).astype(float)
    fits = npsubpix.fit_spots(data, [[5, 6]] * 3, frame=[0, 1, 2], frame_axis=0, camera=Camera(), box=7)
    assert isinstance(fits[1:], Fits)
    assert len(fits[fits.ok]) == int(fits.ok.sum())
    assert [len(row) for row in fits] == [1, 1, 1]
    assert fits[-1].flux[0] == fits.flux[2]
    with pytest.raises(IndexError, match="row 3 of 3 fits"):
        fits[3]
    names = [
        "frame", "y", "x", "y_std", "x_std", "flux", "flux_std", "background", "background_std", "sigma", "sigma_std",
        "chi2", "log_likelihood", "n_iters", "y_index", "x_index", "ok", "flags", "flag_names",
    ]  # fmt: skip
    assert list(fits.to_dict()) == list(fits.to_pandas()) == names
    assert fits.to_structured()["x_std"].tolist() == fits.coords_std[:, 1].tolist()
    assert str(fits.to_astropy()["sigma_std"].unit) == "pix"
    assert fits.to_arrow().column_names == names
    fits.save(tmp_path / "fits.csv", origin="corner", columns={"extra": [1, 2, 3]})
    header, first = (tmp_path / "fits.csv").read_text().splitlines()[:2]
    assert header.split(",") == [*names[:14], "extra", *names[14:]]
    assert float(first.split(",")[1]) == fits.coords[0, 0] + 0.5
    shown = repr(fits)
    assert shown.startswith("Fits: 3 in 2-D, 3 frames\n")
    assert "background_std" in shown
    wide = npsubpix.fit_patches(data[:, 2:10, 2:11], width="elliptical")
    assert {"sigma_y", "sigma_x_std"} <= set(wide.to_dict())


def test_libraries_and_dtypes(rng, wrap):
    image = npsubpix.render_spots([[5.2, 6.1]], (12, 13), std=1.2, amplitude=900.0, integrate=True)
    data = rng.poisson(image + 4.0)
    want = npsubpix.fit_spots(data.astype(np.float64), [[5.0, 6.0]], camera=Camera())
    for dtype in ("uint16", "float32"):
        fits = npsubpix.fit_spots(wrap(data.astype(dtype)), [[5, 6]], camera=Camera())
        assert type(fits.coords) is type(wrap(data))
        np.testing.assert_array_equal(np.asarray(fits.coords), want.coords)
        assert bool(fits.ok[0])


def test_threads(rng, threads):
    image = npsubpix.render_spots(rng.uniform(8, 92, (40, 2)), (100, 100), std=1.2, amplitude=900.0, integrate=True)
    data = rng.poisson(image + 4.0)
    starts = rng.uniform(0, 99, (300, 2))
    assert threads(lambda: npsubpix.fit_spots(data, starts).to_structured()["x"]) >= {"fit_gaussian2d_free"}


def test_maps_of_the_em_gain(rng, backend, wrap):
    """Counts that differ by the gain of each pixel have the same fits."""
    shape = (20, 24)
    photons = npsubpix.render_spots([[9.3, 11.8]], shape, std=1.2, amplitude=900.0, integrate=True) + 4.0
    output = rng.gamma(rng.poisson(np.stack([photons] * 2)) + 1e-9) / 0.5
    gain, factor = rng.uniform(20, 40, shape), rng.uniform(5, 6, shape)
    want = npsubpix.fit_spots(
        100 + output * 30, [[9, 12]] * 2, frame=[0, 1], frame_axis=0,
        camera=Camera(offset=100, electrons_per_count=0.5, em_gain=30.0),
    )  # fmt: skip
    movie = wrap(np.moveaxis(100 + output * 0.5 * gain / factor, 0, 2))
    camera = Camera(offset=100, electrons_per_count=factor, em_gain=wrap(gain))
    found = npsubpix.fit_spots(movie, [[9, 12]] * 2, frame=[0, 1], frame_axis=2, camera=camera)
    np.testing.assert_allclose(on_host(found.flux), want.flux, rtol=1e-9)
    np.testing.assert_allclose(on_host(found.coords_std), want.coords_std, rtol=1e-9)


@pytest.mark.parametrize("estimator", ["mle", "lsq"])
def test_covariance_on_request(rng, backend, estimator):
    """Its diagonal are the squares of the errors, its correlations those of the definition."""
    spot, known = Spot((9, 9)), truth((9, 9), "free", "constant")
    data = rng.poisson(np.stack([spot.of(known)] * 3 + [np.zeros((9, 9))]))
    camera = Camera(em_gain=100, electrons_per_count=100)
    assert npsubpix.fit_patches(data, camera=camera).covariance is None
    fits = npsubpix.fit_patches(data, camera=camera, estimator=estimator, covariance=True)
    assert fits.covariance.shape == (4, 5, 5)
    assert np.isnan(fits.covariance[3]).all()
    errors = np.stack([*fits.coords_std.T, fits.flux_std, fits.sigma_std, fits.background_std], 1)
    np.testing.assert_allclose(np.diagonal(fits.covariance, axis1=1, axis2=2), errors**2, rtol=1e-12)
    np.testing.assert_allclose(fits.covariance[0], fits.covariance[0].T, rtol=1e-9)
    if estimator == "mle":
        want = reference.fit(spot, data[0], known)[1]
        scale = np.sqrt(np.diag(want))
        found = fits.covariance[0] / np.outer(errors[0], errors[0])
        np.testing.assert_allclose(found, want / np.outer(scale, scale), atol=5e-3)
    assert fits[1:].covariance.shape == (3, 5, 5)


def test_the_error_function():
    """By its polynomial, to 1e-14."""
    from scipy.special import erf

    from npsubpix._cpu.formulas.error_function import error_function

    points = np.concatenate([np.linspace(-9, 9, 1001), [0.0, 1e-300, -1e-8, 50.0]])
    found = [error_function.py_func(u, np.exp(-u * u / 2)) for u in points]
    np.testing.assert_allclose(found, erf(points / np.sqrt(2)), atol=1e-14, rtol=0)
