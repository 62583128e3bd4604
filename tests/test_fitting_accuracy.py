"""Accuracy of fits: scatter against the bound of Cramér and Rao, standard errors against scatter, and biases."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import Camera
from tests.reference.fitting import means

#: Box, photons, width, background: bounds of the position from 0.003 to 0.15 widths.
CASES = [(7, 1000, 1.2, 10.0), (7, 300, 0.8, 2.0), (9, 5000, 1.4, 50.0), (11, 100_000, 1.6, 100.0), (7, 200, 1.0, 0.5)]


def simulate(rng: np.random.Generator, count: int, box: int, photons: float, sigma: float, background: float):
    """Positions of spots anywhere in the central pixel of a box, and their Poisson images."""
    positions = box // 2 + rng.uniform(-0.5, 0.5, (count, 2))
    images = [means((box, box), p, photons, (sigma, sigma), (), background) for p in positions]
    return positions, rng.poisson(np.stack(images))


def bound(box: int, photons: float, sigma: float, background: float, **options: object) -> npsubpix.CramerRao:
    """Mean bound over the phase of a pixel, as a root mean square."""
    phases = [(a, b) for a in (-0.375, -0.125, 0.125, 0.375) for b in (-0.375, -0.125, 0.125, 0.375)]
    bounds = [npsubpix.cramer_rao(photons, sigma, background, box=box, shift=p, **options) for p in phases]
    columns = (column for column in zip(*bounds, strict=True) if column[0] is not None)
    return npsubpix.CramerRao(*(np.sqrt(np.mean(np.square(column), axis=0)) for column in columns))


def spread(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


@pytest.mark.parametrize("case", CASES)
def test_likelihood_reaches_the_bound_and_its_errors_are_the_scatter(rng, case):
    """Within what the scatter of so many spots allows: 3 standard errors of a root mean square."""
    count = 2000
    positions, images = simulate(rng, count, *case)
    fits = npsubpix.fit_patches(images, camera=Camera())
    kept = fits.ok
    assert kept.mean() > 0.98
    best = bound(*case)
    slack = 3 / np.sqrt(2 * count)
    shift = (fits.coords - positions)[kept]
    limit = 1.02 if best.coords_std[0] / case[2] <= 0.1 else 1.05
    assert spread(shift) / spread(best.coords_std) < limit + slack / np.sqrt(2)
    errors = {
        "y": (shift[:, 0], fits.coords_std[kept, 0]),
        "x": (shift[:, 1], fits.coords_std[kept, 1]),
        "flux": (fits.flux[kept] - case[1], fits.flux_std[kept]),
        "background": (fits.background[kept] - case[3], fits.background_std[kept]),
        "sigma": (fits.sigma[kept] - case[2], fits.sigma_std[kept]),
    }
    for name, (error, std) in errors.items():
        assert 0.97 - slack < np.nanstd(error / std) < 1.05 + slack, name
    assert abs(fits.sigma[kept].mean() / case[2] - 1) < 0.005 + 3 * best.sigma_std[0] / case[2] / np.sqrt(count)


def test_no_bias_at_any_phase(rng):
    positions, images = simulate(rng, 6000, 7, 1000, 1.2, 10.0)
    fits = npsubpix.fit_patches(images, camera=Camera())
    best = bound(7, 1000, 1.2, 10.0).coords_std[0]
    for axis in range(2):
        phase = ((positions[:, axis] + 0.5) % 1 * 5).astype(int)
        for k in range(5):
            error = (fits.coords - positions)[phase == k, axis]
            assert abs(error.mean()) < (0.06 + 3.5 / np.sqrt(error.size)) * best


@pytest.mark.parametrize("case", [CASES[0], CASES[2]])
def test_errors_from_residuals_hold_on_poisson_images(rng, case):
    """Without a camera nothing is known of the noise, which grows with the signal."""
    positions, images = simulate(rng, 2000, *case)
    fits = npsubpix.fit_patches(100 + images)
    kept = fits.ok
    assert kept.mean() > 0.98
    wanted = {
        "coords": ((fits.coords - positions)[kept], fits.coords_std[kept]),
        "flux": (fits.flux[kept] - case[1], fits.flux_std[kept]),
        "sigma": (fits.sigma[kept] - case[2], fits.sigma_std[kept]),
        "background": (fits.background[kept] - case[3] - 100, fits.background_std[kept]),
    }
    for name, (error, std) in wanted.items():
        assert 0.9 - 0.05 < np.std(error / std) < 1.1 + 0.05, name
    worst = bound(*case, estimator="lsq")
    assert spread((fits.coords - positions)[kept]) / spread(worst.coords_std) == pytest.approx(1, abs=0.06)


def test_a_hot_pixel_in_every_box(rng):
    """A map of read variances leaves next to nothing of it."""
    count, case = 1500, (7, 1000, 1.2, 10.0)
    positions, images = simulate(rng, count, *case)
    variance = np.full(images.shape, 2.0)
    variance[np.arange(count), rng.integers(1, 6, count), rng.integers(1, 6, count)] = rng.uniform(100, 1000, count)
    data = images + rng.normal(size=images.shape) * np.sqrt(variance)
    fits = npsubpix.fit_patches(data, camera=Camera(read_variance=variance))
    assert fits.ok.mean() > 0.97
    error = ((fits.coords - positions) / fits.coords_std)[fits.ok]
    assert np.std(error) == pytest.approx(1, abs=0.05)
    blind = npsubpix.fit_patches(data, camera=Camera(read_variance=2.0))
    assert spread((blind.coords - positions)[blind.ok]) > 1.1 * spread((fits.coords - positions)[fits.ok])
    assert blind.ok.mean() < fits.ok.mean()


def test_an_em_gain_doubles_variances(rng):
    gain = 200.0
    positions, images = simulate(rng, 2000, 7, 1000, 1.2, 10.0)
    counts = rng.gamma(np.maximum(images, 1e-9), gain) / 5 + 100
    camera = Camera(offset=100, electrons_per_count=5, em_gain=gain)
    fits = npsubpix.fit_patches(counts, camera=camera)
    assert fits.ok.mean() > 0.97
    assert np.median(fits.flux) == pytest.approx(1000, rel=0.01)
    assert np.median(fits.background) == pytest.approx(10, rel=0.03)
    for error, std in ((fits.coords - positions, fits.coords_std), (fits.flux - 1000, fits.flux_std)):
        assert np.std((error / std)[fits.ok]) == pytest.approx(1, abs=0.06)
    best = bound(7, 1000, 1.2, 10.0, camera=camera)
    np.testing.assert_allclose(best.coords_std, np.sqrt(2) * bound(7, 1000, 1.2, 10.0).coords_std, rtol=1e-12)
    assert np.median(fits.coords_std) == pytest.approx(best.coords_std[0], rel=0.05)


@pytest.mark.parametrize("background", [0.5, 5.0, 50.0])
def test_bounds_of_the_closed_forms(background):
    """Large boxes and fixed widths; the forms hold to a few percent, as far as the pixel is small."""
    photons, sigma = 1000.0, 1.6
    area = sigma**2 + 1 / 12
    tau = 2 * np.pi * area * background / photons
    options = {"width": "fixed", "box": 21}
    mle = npsubpix.cramer_rao(photons, sigma, background, **options).coords_std
    want = np.sqrt(area / photons * (1 + 4 * tau + np.sqrt(2 * tau / (1 + 4 * tau))))
    np.testing.assert_allclose(mle, want, rtol=0.03)
    lsq = npsubpix.cramer_rao(photons, sigma, background, estimator="lsq", **options).coords_std
    np.testing.assert_allclose(lsq, np.sqrt(area / photons * (16 / 9 + 4 * tau)), rtol=0.03)


def test_bounds_broadcast(rng):
    photons, background = rng.uniform(100, 1000, (3, 1)), rng.uniform(1, 9, 4)
    for options in ({}, {"width": "elliptical", "plane": True}, {"width": "fixed", "ndim": 3, "estimator": "lsq"}):
        bounds = npsubpix.cramer_rao(photons, 1.3, background, **options)
        axes = options.get("ndim", 2)
        assert bounds.coords_std.shape == bounds.sigma_std.shape == (3, 4, axes)
        single = npsubpix.cramer_rao(photons[1, 0], 1.3, background[2], **options)
        for column, number in zip(bounds, single, strict=True):
            np.testing.assert_allclose(column[1, 2], number, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((-1.0, 1.3), {}, ValueError, "flux must be positive"),
        ((100.0, 1.3, -1.0), {}, ValueError, "background must be at least 0"),
        ((100.0, 0.0), {}, ValueError, "sigma must be positive"),
        ((100.0, 1.3), {"box": 41}, ValueError, "background or the read variance"),
        ((100.0, 1.3), {"ndim": 4}, ValueError, "ndim must be 2 or 3"),
        ((100.0, 1.3), {"camera": 3}, TypeError, "camera must be a Camera"),
        ((100.0, 1.3), {"estimator": "wls"}, ValueError, "estimator must be one of"),
    ],
)
def test_bounds_refuse_misuse(arguments, options, error, message):
    with pytest.raises(error, match=message):
        npsubpix.cramer_rao(*arguments, **options)
