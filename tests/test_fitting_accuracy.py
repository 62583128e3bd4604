"""Accuracy of fits: scatter against the bound of Cramér and Rao, standard errors against scatter, and biases."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from benchmarks import fit_accuracy
from benchmarks.fit_accuracy import Case
from npsubpix import Camera, FitFlags
from tests.reference import fitting as reference
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


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", fit_accuracy.CASES)
def test_a_hundred_thousand_spots(rng, case):
    """The table of docs/measuring.md. Scatter and biases are below the limits by three standard errors of theirs.

    The likelihood has a bias of the width and of errors of its own, as far as spots have few photons.
    """
    found = fit_accuracy.measure(rng, 100_000, case)
    share = found.bound / case.sigma
    limit = 1.02 if share <= 0.1 else 1.05 if share <= 0.15 else 1.12
    assert found.rms < limit * (1 - 3 / np.sqrt(2 * found.count))
    assert found.bias < 0.06 - 3 / np.sqrt(found.count / 10)
    assert abs(found.width_bias) < (0.005 if share <= 0.1 else 0.008)
    if share <= 0.1:
        own = {"background": 1.15, "sigma": 1.08} if case.background < 1 else {}
        for name, error in found.errors.items():
            assert 0.97 < error < own.get(name, 1.05), name


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", [case for case in fit_accuracy.CASES if bound(*case).coords_std[0] < 0.1 * case.sigma])
def test_a_hundred_thousand_spots_without_a_camera(rng, case):
    """The background of a spot that is much brighter is not worse than its error says, but may be better."""
    found = fit_accuracy.measure(rng, 100_000, case, "lsq")
    assert found.bias < 0.06
    for name, error in found.errors.items():
        least = 0.85 if name == "background" and case.photons >= 1e4 * case.background else 0.9
        assert least < error < 1.1, name


@pytest.mark.exhaustive
def test_a_hundred_thousand_spots_with_a_hot_pixel_or_an_em_gain(rng):
    case = Case(7, 1000.0, 1.2, 10.0)
    for found in (fit_accuracy.measure_hot(rng, 100_000, case), fit_accuracy.measure_gain(rng, 100_000, case)):
        assert found.rms < 1.03 * (1 - 3 / np.sqrt(2 * found.count))
        assert found.ok > 0.999
        for name, error in found.errors.items():
            assert 0.97 < error < 1.05, name


@pytest.mark.exhaustive
@pytest.mark.parametrize("cases", fit_accuracy.FEW.values(), ids=fit_accuracy.FEW)
@pytest.mark.parametrize(("few", "most"), [(1, 1.15), (3, 1.1), (10, 1.1)])
def test_errors_of_few_spots_without_a_camera(rng, cases, few, most):
    """A call with a few spots tells little of the noise: its errors scatter, and are too small by a tenth for one."""
    for errors in fit_accuracy.measure_few(rng, 6000 // few, few, *cases):
        for name, error in errors.items():
            assert 0.87 < error < most + 0.03, name


#: Spots, photons and estimators, and how many of them are ok at most.
ILL_SHAPED = [
    ("σ 0.2, narrower than a pixel shows", 3000.0, ("mle", "lsq"), 0.01),
    ("σ 9, as wide as the box", 3000.0, ("mle", "lsq"), 0.01),
    ("two equal spots, 2.5 σ apart", 500.0, ("mle", "lsq"), 0.01),
    ("two equal spots, 1.5 σ apart", 3000.0, ("mle", "lsq"), 0.01),
    ("two equal spots, 0.7 σ apart", 30_000.0, ("mle", "lsq"), 0.05),
    ("a neighbour of 0.3, 3 σ away", 3000.0, ("mle", "lsq"), 0.05),
    ("a neighbour of 0.3, 2 σ away", 3000.0, ("mle", "lsq"), 0.05),
    ("a neighbour of 0.3, 1 σ away", 30_000.0, ("mle", "lsq"), 0.05),
    ("a neighbour of 0.1, 2 σ away", 30_000.0, ("mle",), 0.01),
    ("saturated at half of its height", 30_000.0, ("mle",), 0.01),
]


@pytest.mark.parametrize(("name", "photons", "estimators", "most"), ILL_SHAPED)
def test_spots_that_are_not_of_the_model_are_not_ok(rng, backend, name, photons, estimators, most):
    """Though their residuals are a small part of the spot, they have the shape of what is wrong."""
    count = 1000 if backend == "cpu" else 100
    for estimator in estimators:
        ok, _ = fit_accuracy.ill_shaped(rng, count, name, photons, estimator)
        assert ok <= most


@pytest.mark.parametrize("photons", [500.0, 3000.0, 300_000.0])
def test_spots_of_the_model_are_ok(rng, photons):
    for name in ("one spot, σ 1.2", "one spot, σ 0.4"):
        for estimator in ("mle", "lsq"):
            ok, wrong = fit_accuracy.ill_shaped(rng, 2000, name, photons, estimator)
            assert ok > (0.9 if photons < 1000 else 0.998)
            assert wrong == 0


def test_a_wrong_width_that_is_fixed(rng):
    positions = 4 + rng.uniform(-0.5, 0.5, (500, 2))
    images = rng.poisson(fit_accuracy.spots(9, positions, 3000.0, 1.2) + 5)
    for camera in (Camera(), None):
        shares = [
            npsubpix.fit_patches(images, camera=camera, width="fixed", sigma=sigma).ok.mean()
            for sigma in (0.3, 0.8, 1.2, 2.0)
        ]
        assert shares[2] > 0.99
        assert max(shares[0], shares[1], shares[3]) < 0.05


@pytest.mark.exhaustive  # which compiles for volumes
def test_neighbours_in_volumes(rng):
    shape, spot = (9, 9, 9), [4.2, 3.9, 4.1]
    options = {"std": (1.5, 1.2, 1.2), "integrate": True}
    image = npsubpix.render_spots([spot], shape, amplitude=20_000.0, **options) + 5
    for step in ([0, 2.0, 0], [0, 1.5, 1.5], [0, 0, 3.0]):  # along z, two spots are one that is longer
        other = npsubpix.render_spots([np.add(spot, step)], shape, amplitude=6000.0, **options)
        data = rng.poisson(np.stack([image] * 20 + [image + other] * 20))
        for camera in (Camera(), None):
            ok = npsubpix.fit_patches(data, camera=camera).ok
            assert ok[:20].all()
            assert not ok[20:].any()


@pytest.mark.parametrize("estimator", ["mle", "lsq"])
def test_spots_half_as_wide_as_their_box_converge(rng, backend, estimator):
    """Their flux, width and background go together, and damped steps along these are short."""
    case = Case(9, 60_000.0, 3.0, 5.0)
    _, images = fit_accuracy.simulate(rng, 50, case)
    camera = Camera() if estimator == "mle" else None
    fits = npsubpix.fit_patches(rng.poisson(images), camera=camera)
    assert not (fits.flags & int(FitFlags.NOT_CONVERGED)).any()
    assert np.std((fits.sigma - 3) / fits.sigma_std) < 1.4


@pytest.mark.parametrize("sigma", [1e-3, 0.1, 10.0, 1000.0])
def test_any_width_to_begin_with(rng, backend, sigma):
    case = Case(9, 3000.0, 1.2, 5.0)
    _, images = fit_accuracy.simulate(rng, 20, case)
    data = rng.poisson(images)
    fits, want = (npsubpix.fit_patches(data, camera=Camera(), sigma=s) for s in (sigma, 1.2))
    assert fits.ok.all()
    np.testing.assert_allclose(fits.coords, want.coords, atol=2e-3)


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


def test_bounds_of_boxes_with_maps():
    """A noisy pixel tells less, one of infinite variance as much as one that is masked."""
    variance = np.full((3, 7, 7), 2.0)
    variance[0, 3, 2], variance[1, 3, 2] = 500.0, np.inf
    for estimator in ("mle", "lsq"):
        options = {"box": 7, "estimator": estimator}
        bounds = npsubpix.cramer_rao(1000, 1.2, 10, camera=Camera(read_variance=variance), **options)
        alike = npsubpix.cramer_rao(1000, 1.2, 10, camera=Camera(read_variance=2), **options)
        assert bounds.coords_std.shape == (3, 2)
        np.testing.assert_allclose(bounds.coords_std[2], alike.coords_std, rtol=1e-12)
        assert (bounds.coords_std[:2, 1] > 1.02 * alike.coords_std[1]).all()
    factor = np.full((7, 7), 0.5)
    same = npsubpix.cramer_rao(1000, 1.2, 10, box=7, camera=Camera(electrons_per_count=factor, read_variance=8.0))
    want = npsubpix.cramer_rao(1000, 1.2, 10, box=7, camera=Camera(read_variance=2.0))
    np.testing.assert_allclose(same.coords_std, want.coords_std, rtol=1e-12)
    with pytest.raises(ValueError, match=r"read_variance must be a number or have the shape of the box, \(9, 9\)"):
        npsubpix.cramer_rao(1000, 1.2, 10, box=9, camera=Camera(read_variance=variance))


def test_bounds_broadcast(rng):
    photons, background = rng.uniform(100, 1000, (3, 1)), rng.uniform(1, 9, 4)
    for options in ({}, {"width": "elliptical", "plane": True}, {"width": "fixed", "ndim": 3, "estimator": "lsq"}):
        bounds = npsubpix.cramer_rao(photons, 1.3, background, **options)
        axes = options.get("ndim", 2)
        assert bounds.coords_std.shape == bounds.sigma_std.shape == (3, 4, axes)
        single = npsubpix.cramer_rao(photons[1, 0], 1.3, background[2], **options)
        for column, number in zip(bounds, single, strict=True):
            if number is None:  # of a parameter that the model has not
                assert column is None
            else:
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


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", [(9, 1000, 1.2, 0.5), (7, 200, 1.0, 0.5), (9, 200, 1.2, 1.0)])
def test_errors_of_faint_backgrounds_are_the_scatter(rng, case):
    """In units of their own errors, backgrounds of few photons have a tail, as the error of a count grows with it.

    Yet two thirds of them are within one error, and errors are as great as the scatter.
    """
    _, images = simulate(rng, 4000, *case)
    fits = npsubpix.fit_patches(images, camera=Camera())
    known = np.isfinite(fits.background_std)
    assert known.mean() > 0.98
    error, std = (fits.background - case[3])[known], fits.background_std[known]
    assert 0.95 < spread(error) / spread(std) < 1.05
    assert 0.64 < np.mean(np.abs(error) < std) < 0.72


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", [(7, 200, 1.2, 10.0), (7, 100, 1.2, 0.2), (9, 100, 1.2, 2.0)])
def test_the_bias_of_widths_is_that_of_the_likelihood(rng, case):
    """Spots of few photons have a width whose greatest likelihood is biased: another program finds the same."""
    positions, images = simulate(rng, 60, *case)
    fits = npsubpix.fit_patches(images, camera=Camera())
    spot = reference.Spot((case[0],) * 2)
    for k in np.flatnonzero(fits.ok & ((fits.flags & int(FitFlags.AT_BOUND)) == 0)):
        start = np.array([*positions[k], case[1], case[2], case[3]])
        own, _ = reference.fit(spot, images[k], start)
        assert abs(fits.sigma[k] - own[3]) < 0.05 * fits.sigma_std[k]
        assert np.abs(fits.coords[k] - own[:2]).max() < 0.02 * fits.coords_std[k].min()


@pytest.mark.exhaustive
def test_a_known_width_tells_pairs(rng):
    """Of two spots 1.5 widths apart, which a wider one fits nearly as well."""
    angle = rng.uniform(0, 2 * np.pi, 2000)
    first = 5 + rng.uniform(-0.5, 0.5, (2000, 2))
    second = first + 1.8 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    images = rng.poisson(fit_accuracy.spots(11, first, 500.0, 1.2) + fit_accuracy.spots(11, second, 500.0, 1.2) + 5)
    free = npsubpix.fit_patches(images, camera=Camera())
    fixed = npsubpix.fit_patches(images, camera=Camera(), width="fixed", sigma=1.2)
    assert fixed.ok.mean() < 0.05
    assert fixed.ok.mean() < 0.2 * free.ok.mean()
