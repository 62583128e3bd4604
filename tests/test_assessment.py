"""Assessment of found positions: matching, rates, errors, bias over the pixel, standard errors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import npsubpix
from tests.peak_tables import table


def best_by_trial(found: np.ndarray, truth: np.ndarray, radius: float) -> tuple[int, float]:
    """The number of pairs and the sum of squared distances of the best of all matchings."""
    distance = np.linalg.norm(found[:, None] - truth[None], axis=2)
    best = (0, 0.0)
    for count in range(1, min(len(found), len(truth)) + 1):
        for rows in itertools.combinations(range(len(found)), count):
            for columns in itertools.permutations(range(len(truth)), count):
                lengths = distance[rows, columns]
                if (lengths <= radius).all() and (count > best[0] or (lengths**2).sum() < best[1]):
                    best = (count, float((lengths**2).sum()))
    return best


def test_matching_is_the_best_of_all(rng):
    """Most pairs, and of those the nearest, where groups of positions compete."""
    for _ in range(30):
        found, truth = rng.uniform(0, 4, (rng.integers(0, 5), 2)), rng.uniform(0, 4, (rng.integers(0, 5), 2))
        result = npsubpix.assess(found, truth, 1.5)
        count, squares = best_by_trial(found, truth, 1.5)
        assert result.n_matched == count
        assert float((result.errors**2).sum()) == pytest.approx(squares)
        np.testing.assert_array_equal(result.errors, found[result.found_rows] - truth[result.truth_rows])
        assert len(set(result.found_rows.tolist())) == len(set(result.truth_rows.tolist())) == count


def test_a_near_pair_is_given_up_for_two_pairs():
    """Nearest neighbours first would find one."""
    result = npsubpix.assess([[0.0, 0.0], [0.0, 1.4]], [[0.0, 0.5], [0.0, -0.9]], 1.0)
    assert list(zip(result.found_rows, result.truth_rows, strict=True)) == [(1, 0), (0, 1)]


def test_rates_and_errors():
    truth = np.array([[10.0, 10.0], [20.0, 20.0], [30.0, 30.0], [40.0, 40.0]])
    found = [[10.1, 10.2], [20.3, 19.8], [50, 50], [29.5, 30.4], [math.nan, 3]]
    result = npsubpix.assess(found, truth, 1, pixel_size=100)
    assert (result.n_found, result.n_truth, result.n_matched, result.n_ignored) == (4, 4, 3, 1)
    assert (result.recall, result.precision, result.jaccard, result.f1) == (0.75, 0.75, 0.6, 0.75)
    np.testing.assert_allclose(result.rmse, np.sqrt([(0.01 + 0.09 + 0.25) / 3, (0.04 + 0.04 + 0.16) / 3]))
    np.testing.assert_allclose(result.bias, [-0.1 / 3, 0.4 / 3], atol=1e-12)
    np.testing.assert_allclose(result.bias_std, [np.std([0.1, 0.3, -0.5], ddof=1) / 3**0.5] * 1 + [
        np.std([0.2, -0.2, 0.4], ddof=1) / 3**0.5
    ])  # fmt: skip
    rmse = 100 * math.sqrt((0.35 + 0.24) / 3)
    assert result.rmse_lateral == pytest.approx(rmse)
    assert result.efficiency == pytest.approx(100 - math.sqrt(40**2 + rmse**2))
    assert math.isnan(result.rmse_axial)
    assert result.to_dict()["rmse"] == result.rmse.tolist()
    assert repr(result).startswith(
        "Assessment: 3 of 4 true positions found within 1 pixels, 1 of 4 found are false, 1 rows without a position\n"
        " recall 0.75, precision 0.75, Jaccard 0.6\n"
    )


def test_volumes_and_radii_per_axis():
    """A match is within an ellipsoid, and the efficiency is the mean of that in the plane and that along z."""
    truth = np.array([[5.0, 10, 10], [5, 30, 30]])
    result = npsubpix.assess([[7.0, 10.3, 10.4], [5, 30, 31.2]], truth, (3, 1, 1), pixel_size=(50, 100, 100))
    assert result.truth_rows.tolist() == [0]
    assert (result.rmse_axial, result.rmse_lateral) == (pytest.approx(100), pytest.approx(50))
    lateral, axial = (100 - math.hypot(100 - 100 / 3, error) for error in (50, 0.5 * 100))
    assert result.efficiency == pytest.approx((lateral + axial) / 2)


def test_frames_do_not_mix(wrap):
    """Wherever the frames come from, and whatever their numbers."""
    coords, frame = np.array([[3.0, 4.0], [3.0, 4.0], [9.0, 9.0]]), np.array([0, 1, 1])
    result = npsubpix.assess(table(coords + 0.1, frame, wrap), table(coords[::-1], frame[::-1]), 1)
    assert result.found_rows.tolist() == [2, 1, 0]
    assert npsubpix.assess(table(coords, frame), coords, 1, truth_frame=frame + 1).n_matched == 1
    assert npsubpix.assess(coords, coords, 1, frame=frame + 10**6, truth_frame=frame + 10**6).n_matched == 3
    with pytest.raises(ValueError, match="frames must be known of both tables or of neither, got those of found"):
        npsubpix.assess(table(coords, frame), coords, 1)
    with pytest.raises(ValueError, match="of neither, got those of truth and none of found"):
        npsubpix.assess(coords, coords, 1, truth_frame=frame)


def test_nothing_found_and_nothing_there():
    truth = np.array([[4.0, 4.0]])
    missed, invented, empty = (npsubpix.assess(a, b, 1) for a, b in (([], truth), (truth, []), ([], [])))
    assert (missed.recall, missed.jaccard) == (0, 0)
    assert math.isnan(missed.precision)
    assert (invented.precision, invented.jaccard) == (0, 0)
    assert math.isnan(invented.recall)
    assert math.isnan(empty.jaccard)
    for result in (missed, invented, empty):
        assert np.isnan(result.rmse).all()
        assert np.isnan(result.pixel_locking).all()
        assert np.isnan(result.phase_bias(3).bias).all()
        assert "nan" in repr(result)


def test_standard_errors_and_bounds(rng):
    """Errors twice as wide as they are said to be, and 1.5 times the bound."""
    truth = rng.uniform(10, 990, (4000, 2))
    std = rng.uniform(0.01, 0.05, truth.shape)
    found = truth + std * rng.standard_normal(truth.shape)
    result = npsubpix.assess(found, truth, 1, coords_std=std / 2, bound=std / 1.5)
    apart = np.isin(np.arange(4000), result.truth_rows)
    assert apart.sum() > 3990
    np.testing.assert_allclose(result.error_over_std, 2, rtol=0.05)
    np.testing.assert_allclose(result.rms_over_bound, 1.5, rtol=0.05)
    np.testing.assert_allclose(npsubpix.assess(found, truth, 1, bound=(0.1, 0.2)).bound[0], [0.1, 0.2])
    assert result.rms_over_bound is not None
    plain = npsubpix.assess(found, truth, 1)
    assert plain.error_over_std is None
    assert plain.rms_over_bound is None


def test_fits_with_their_standard_errors_reach_their_bound(rng):
    """A table of fits brings its own standard errors."""
    truth = np.stack(np.mgrid[16:336:20, 16:336:20], -1).reshape(-1, 2) + rng.uniform(-1, 1, (256, 2))
    image = npsubpix.simulate_spots((352, 352), truth, flux=2000, sigma=1.3, background=10, rng=rng)
    fits = npsubpix.fit_spots(image, np.rint(truth), camera=npsubpix.Camera())
    result = npsubpix.assess(fits, truth, 1, bound=npsubpix.cramer_rao(2000, 1.3, 10).coords_std)
    assert result.n_matched == 256
    np.testing.assert_allclose(result.rms_over_bound, 1, atol=0.15)  # 3.4 standard errors
    np.testing.assert_allclose(result.error_over_std, 1, atol=0.15)
    assert repr(result).splitlines()[4].startswith(" rms / bound (")


def test_pixel_locking(rng):
    """Positions that are drawn to the centres of pixels along x, and along y are not."""
    truth = rng.uniform(10, 2000, (5000, 2))
    found = truth + rng.normal(0, 0.02, truth.shape)
    found[:, 1] -= 0.08 * np.sin(2 * np.pi * truth[:, 1])
    result = npsubpix.assess(found, truth, 1)
    assert result.pixel_locking[1] == pytest.approx(0.08, abs=5 * result.pixel_locking_std[1])
    assert result.pixel_locking[0] < 5 * result.pixel_locking_std[0] < 0.003
    phase, bias, spread, count = result.phase_bias(8)
    np.testing.assert_allclose(phase, np.arange(8) / 8 - 0.4375)
    wanted = -0.08 * np.sin(2 * np.pi * phase) * np.sinc(1 / 8)
    np.testing.assert_allclose(bias[1], wanted, atol=6 * spread[1].max())
    np.testing.assert_allclose(bias[0], 0, atol=6 * spread[0].max())
    assert count.sum(axis=1).tolist() == [result.n_matched] * 2


@pytest.mark.parametrize(
    ("found", "truth", "options", "error", "message"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0, 3.0]], {}, ValueError, "found and truth must have the same number of coordinates"),
        ([1.0, 2.0], [[1.0, 2.0]], {}, ValueError, r"found must have shape \(N, ndim\)"),
        ([[1.0, 2.0]], [[math.nan, 2.0]], {}, ValueError, "truth must be finite, got 1 rows that are not"),
        ([[1.0, 2.0]], [[1.0, 2.0]], {"radius": 0}, ValueError, "radius must be positive"),
        ([[1.0, 2.0]], [[1.0, 2.0]], {"radius": (1, 2, 3)}, ValueError, "radius must be one number or 2 of them"),
        ([[1.0, 2.0]], [[1.0, 2.0]], {"bound": 0}, ValueError, "bound must be positive, got 0"),
        ([[1.0, 2.0]], [[1.0, 2.0]], {"bound": [1, 2, 3]}, ValueError, "bound must be a number or broadcast"),
        ([[1.0, 2.0]], [[1.0, 2.0]], {"coords_std": [1.0]}, ValueError, "coords_std must have the shape"),
        ([[1.0, 2.0]], [[1.0, 2.0]], {"frame": [0, 1]}, ValueError, r"frame must have shape \(1,\)"),
        ([[1.0, 2.0]], [[1.0, 2.0]], {"frame": [0.5]}, TypeError, "frame must hold integers"),
        ([[1.0, 2.0]], [[1.0, 2.0]], {"pixel_size": -1}, ValueError, "pixel_size must be positive"),
    ],
)  # fmt: skip
def test_misuse(found, truth, options, error, message):
    with pytest.raises(error, match=message):
        npsubpix.assess(found, truth, **{"radius": 1, **options})
    with pytest.raises(ValueError, match="bins must be at least 1"):
        npsubpix.assess([[1.0, 2.0]], [[1.0, 2.0]], 1).phase_bias(0)
