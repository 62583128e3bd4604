"""Fits of spots together with their neighbours: against dense joint fits, bounds, and what happens to bad spots."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

import npsubpix
from benchmarks import crowded_accuracy
from npsubpix import Camera, FitFlags
from npsubpix._definitions.flags import FIT_REJECTED
from tests.reference._crowds import Crowd

pytestmark = pytest.mark.exhaustive  # sweeps take a minute to compile

#: Groups of two and three spots, two spots that reach each other's boxes alone, and one that has no neighbours.
SPOTS = np.array([[12.3, 11.6], [14.9, 13.2], [30.4, 10.2], [30.9, 13.4], [33.6, 11.5], [14.2, 33.4], [20.1, 39.7]])
ALONE = np.array([[35.2, 36.1]])
SHAPE = (46, 50)


def field(rng, spots=SPOTS, shape=SHAPE, flux=3000.0, sigma=1.3, background=8.0) -> np.ndarray:
    light = npsubpix.render_spots(spots, shape, std=sigma, amplitude=flux, integrate=True)
    return rng.poisson(light + background).astype(float)


def columns(fits: npsubpix.Fits, free: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions, fluxes, widths and backgrounds, and their errors."""
    wide, wide_std = (np.atleast_2d(x.T).T[:, :free] for x in (fits.sigma, fits.sigma_std))
    return (
        np.column_stack([fits.coords, fits.flux, wide, fits.background]),
        np.column_stack([fits.coords_std, fits.flux_std, wide_std, fits.background_std]),
    )


CASES = [
    ("free", "constant", "mle"),
    ("fixed", "constant", "wls"),
    ("elliptical", "plane", "mle"),
    ("free", "constant", "lsq"),
]


@pytest.mark.parametrize(("width", "background", "estimator"), CASES)
def test_positions_and_errors_of_a_dense_joint_fit(rng, backend, width, background, estimator):
    """Within a thirtieth of the standard errors, and these to a percent."""
    spots = np.concatenate([SPOTS, ALONE])
    data, variance = field(rng, spots), rng.uniform(0.5, 3.0, SHAPE)
    known = {"sigma": 1.3, "width": width, "background": background, "box": 9, "neighbors": "fit"}
    weights = None
    if estimator == "mle":
        fits = npsubpix.fit_spots(data, spots, camera=Camera(read_variance=variance), covariance=True, **known)
    elif estimator == "wls":
        error = rng.uniform(3, 6, SHAPE)
        weights = error**-2
        fits = npsubpix.fit_spots(data, spots, error=error, covariance=True, **known)
    else:
        weights = np.ones(SHAPE)
        fits = npsubpix.fit_spots(data, spots, covariance=True, **known)
    free = {"fixed": 0, "free": 1, "elliptical": 2}[width]
    crowd = Crowd(
        data, np.floor(spots + 0.5).astype(int), (9, 9), width, (1.3, 1.3), background == "plane", variance, weights
    )
    slopes = [0.0, 0.0] if background == "plane" else []
    start = [[*s, 3000.0, *(1.3,) * free, *slopes, 8.0] for s in spots]
    want, covariance = crowd.fit(start)
    size = want.shape[1]
    errors = np.sqrt(np.diag(covariance)).reshape(want.shape)
    keep = np.r_[: 3 + free, size - 1]
    found, found_errors = columns(fits, free)
    assert (fits.flags & int(FIT_REJECTED) == 0).all()
    if estimator == "lsq":  # the noise is estimated
        np.testing.assert_allclose((found - want[:, keep]) / found_errors, 0, atol=0.03)
        return
    np.testing.assert_allclose((found - want[:, keep]) / errors[:, keep], 0, atol=0.03)
    np.testing.assert_allclose(found_errors, errors[:, keep], rtol=0.01)
    blocks = np.stack([covariance[k * size : (k + 1) * size, k * size : (k + 1) * size] for k in range(len(spots))])
    scale = errors[:, :, None] * errors[:, None]
    np.testing.assert_allclose(fits.covariance / scale, blocks / scale, atol=0.02)


def test_errors_of_a_large_group(rng, backend):
    """Sixty spots, nearly all of which are one group: neighbourhoods of ten spots against all of them."""
    spots = rng.uniform(6, 64, (60, 2))
    data = field(rng, spots, (70, 70))
    fits = npsubpix.fit_spots(data, spots, camera=Camera(), sigma=1.3, width="fixed", box=9, neighbors="fit")
    there = fits.flags & int(FIT_REJECTED) == 0
    crowd = Crowd(data, np.floor(spots[there] + 0.5).astype(int), (9, 9), "fixed", (1.3, 1.3), variance=0.0)
    response, covariance = crowd.matrices(columns(fits[there], 0)[0])
    inverse = np.linalg.inv(response)
    errors = np.sqrt(np.diag(inverse @ covariance @ inverse.T)).reshape(-1, 4)
    ratio = columns(fits[there], 0)[1] / errors
    assert there.mean() > 0.8
    assert np.sqrt(np.mean((ratio - 1) ** 2)) < 0.01
    np.testing.assert_allclose(ratio, 1, atol=0.06)


def test_volumes(rng, backend):
    spots = np.array([[6.2, 9.8, 10.1], [7.9, 12.1, 11.4], [6.0, 20.3, 20.9]])
    data = field(rng, spots, (14, 30, 32), flux=9000.0)
    fits = npsubpix.fit_spots(data, spots, camera=Camera(), width="fixed", sigma=1.3, box=9, neighbors="fit")
    crowd = Crowd(data, np.floor(spots + 0.5).astype(int), (9, 9, 9), "fixed", (1.3,) * 3, variance=0.0)
    want, covariance = crowd.fit([[*s, 9000.0, 8.0] for s in spots])
    errors = np.sqrt(np.diag(covariance)).reshape(want.shape)
    found, found_errors = columns(fits, 0)
    np.testing.assert_allclose((found - want) / errors, 0, atol=0.03)
    np.testing.assert_allclose(found_errors, errors, rtol=0.01)


@pytest.mark.parametrize("options", [{"width": "rotated"}, {"model": "moffat"}, {"width": "elliptical"}])
def test_every_model_separates_two_spots_without_noise(backend, options):
    """A pair at three widths: by models that a Gaussian is a case of, or nearly."""
    spots = np.array([[15.2, 14.8], [16.9, 17.9]])
    data = npsubpix.render_spots(spots, (32, 33), std=1.2, amplitude=[9000.0, 4000.0], integrate=True) + 20.0
    fits = npsubpix.fit_spots(data, spots + 0.2, camera=Camera(), sigma=1.2, neighbors="fit", **options)
    assert (fits.flags & int(FIT_REJECTED) == 0).all()
    limit = 0.02 if options.get("model") == "moffat" else 2e-3
    np.testing.assert_allclose(fits.coords, spots, atol=limit)
    alone = npsubpix.fit_spots(data, spots + 0.2, camera=Camera(), sigma=1.2, **options)
    both = alone.flags & int(FIT_REJECTED) == 0
    assert (np.abs(alone.coords - spots)[both] > 5 * limit).any() or not both.all()


def test_spots_without_neighbours_are_those_of_single_fits(rng, backend):
    spots = np.concatenate([SPOTS, ALONE, [[5.0, 45.2]]])
    data = field(rng, spots)
    together = npsubpix.fit_spots(data, spots, camera=Camera(), box=9, neighbors="fit")
    single = npsubpix.fit_spots(data, spots, camera=Camera(), box=9)
    for name in ("coords", "coords_std", "flux", "sigma", "chi2", "n_iters", "flags"):
        np.testing.assert_array_equal(getattr(together, name)[-2:], getattr(single, name)[-2:])
    assert (together.coords[:5] != single.coords[:5]).any(axis=1).all()


def test_stacks_and_orders_of_rows(rng, backend):
    """Frames do not know of each other, and rows may come in any order."""
    movie = np.stack([field(rng) for _ in range(3)])
    coords, frame = np.tile(SPOTS, (3, 1)), np.repeat([0, 1, 2], len(SPOTS))
    options = {"camera": Camera(), "sigma": 1.3, "box": 9, "neighbors": "fit"}
    whole = npsubpix.fit_spots(movie, coords, frame=frame, frame_axis=0, **options)
    for k in range(3):
        one = npsubpix.fit_spots(movie[k], SPOTS, **options)
        for name in ("coords", "coords_std", "flux", "flux_std", "n_iters", "flags"):
            np.testing.assert_array_equal(getattr(one, name), getattr(whole, name)[frame == k], err_msg=name)
    order = rng.permutation(len(coords))
    mixed = npsubpix.fit_spots(movie, coords[order], frame=frame[order], frame_axis=0, **options)
    np.testing.assert_array_equal(mixed.coords, whole.coords[order])
    np.testing.assert_array_equal(mixed.coords_std, whole.coords_std[order])


def test_bad_spots_leave_the_others_alone(rng, backend):
    """Two starts at one pixel, a start without a spot, NaN, and starts outside are flagged, and neighbours are not."""
    data = field(rng)
    clean = npsubpix.fit_spots(data, SPOTS, camera=Camera(), sigma=1.3, box=9, neighbors="fit")
    bad = np.array([SPOTS[0] + 0.01, [22.0, 22.0], [np.nan, 3.0], [-20.0, 5.0]])
    data_with_hole = data.copy()
    data_with_hole[44, 2] = np.nan
    fits = npsubpix.fit_spots(
        data_with_hole, np.concatenate([SPOTS, bad, [[42.0, 4.0]]]), camera=Camera(), sigma=1.3, box=9, neighbors="fit"
    )
    flags = fits.flags[len(SPOTS) :]
    assert flags[0] & FitFlags.SINGULAR
    assert flags[2] & FitFlags.NONFINITE
    assert flags[3] & FitFlags.PARTIAL_WINDOW
    assert flags[4] & FitFlags.NONFINITE
    rejected = fits.flags & int(FIT_REJECTED) != 0
    np.testing.assert_array_equal(fits.coords[rejected], np.concatenate([SPOTS, bad, [[42.0, 4.0]]])[rejected])
    assert np.isnan(fits.coords_std[rejected]).all()
    assert np.isnan(fits.flux[rejected]).all()
    assert not rejected[: len(SPOTS)].any()
    assert np.isfinite(fits.coords_std[: len(SPOTS)]).all()
    np.testing.assert_allclose(fits.coords[: len(SPOTS)], clean.coords, atol=0.1 * clean.coords_std.min())
    nothing = npsubpix.fit_spots(data, np.zeros((0, 2)), camera=Camera(), neighbors="fit")
    assert len(nothing) == 0


def test_a_spot_that_is_not_there_leaves_the_image(rng, backend):
    """It has no flux, or one that is not significant, and its neighbour is that without it."""
    spots = np.array([[20.2, 20.4]])
    data = field(rng, spots, flux=5000.0)
    alone = npsubpix.fit_spots(data, spots, camera=Camera(), sigma=1.3, width="fixed")
    both = npsubpix.fit_spots(
        data, np.array([[20.2, 20.4], [25.0, 20.0]]), camera=Camera(), sigma=1.3, width="fixed", neighbors="fit"
    )
    assert not both.ok[1] or both.flux[1] < 4 * both.flux_std[1]
    assert both.ok[0]
    assert (np.abs(both.coords[0] - alone.coords[0]) < alone.coords_std[0]).all()


def test_threads(rng, threads):
    spots = rng.uniform(6, 94, (150, 2))
    data = field(rng, spots, (100, 100))
    seen = threads(
        lambda: npsubpix.fit_spots(data, spots, camera=Camera(), sigma=1.3, neighbors="fit").to_structured()["x"]
    )
    assert {"fit_sweeps_gaussian2d_free", "fit_coupling_gaussian2d_free", "fit_joint_errors"} <= seen


@pytest.mark.parametrize("width", ["fixed", "free"])
def test_bound_and_errors_of_a_crowded_field(width):
    """600 spots on 256 x 256 pixels: within what the scatter of so many spots allows, 3 standard errors."""
    seen = crowded_accuracy.measure(width, "mle", fields=4)
    far, near = seen[(3.0, np.inf)], seen[(1.5, 3.0)]
    assert far.ok > 0.99
    assert far.rms < 1.02 + 3 / np.sqrt(4 * far.spots)
    assert near.rms < 1.2 + 3 / np.sqrt(4 * near.spots)
    for row, limit in ((far, 0.05), (near, 0.05 if width == "fixed" else 0.25)):  # two widths are hardly told apart
        for scatter in (row.error, row.flux_error):
            assert scatter == pytest.approx(1, abs=limit + 3 / np.sqrt(4 * row.spots))


def test_neighbours_are_chosen_by_name():
    with pytest.raises(ValueError, match="neighbors must be one of 'ignore', 'fit', got 'group'"):
        npsubpix.fit_spots(np.zeros((20, 20)), [[9, 9]], neighbors="group")


def test_neighbours_do_not_hide_each_other(rng):
    """Single fits of crowded spots are far off; fits together are not."""
    spots = SPOTS[:5]
    data = field(rng, spots)
    fits = npsubpix.fit_spots(data, spots, camera=Camera(), sigma=1.3, width="fixed", neighbors="fit")
    single = npsubpix.fit_spots(data, spots, camera=Camera(), sigma=1.3, width="fixed")
    assert np.abs((fits.coords - spots) / fits.coords_std).max() < 4.5
    assert np.nanmin(np.abs((single.coords - spots) / single.coords_std)) > 9
    assert cKDTree(fits.coords).query(spots)[0].max() < 0.3
