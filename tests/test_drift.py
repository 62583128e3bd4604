"""Drift from localizations of molecules."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import npsubpix
from benchmarks import drift_accuracy
from benchmarks.drifting import Movie, molecules, peaks_table
from npsubpix import DriftFlags
from npsubpix.drift.correlation import Pairs, drift_of_pairs


def flagged(drift: npsubpix.Drift, flag: DriftFlags) -> np.ndarray:
    return (drift.flags & flag) != 0


@pytest.fixture(scope="module")
def movie() -> Movie:
    return molecules(np.random.default_rng(4))


@pytest.fixture(scope="module")
def found(movie) -> npsubpix.Drift:
    return npsubpix.drift_of(movie.points, frame=movie.frame, width=0.2)


def test_drift_is_found_to_a_fiftieth_of_a_pixel(movie, found):
    """With 600 localizations per segment; the drift itself is of two pixels."""
    errors = movie.errors(found)
    assert found.ok.all()
    assert np.ptp(movie.drift, axis=0).min() > 0.5
    assert (np.sqrt((errors**2).mean(axis=0)) < 0.02).all()
    assert (np.abs(errors) < 5 * found.shift_std).all()
    assert (found.n_segments, found.n_used, found.axes) == (10, len(movie.points), ("y", "x"))


@pytest.mark.exhaustive
def test_the_first_frame_is_a_reference_too(movie, found):
    first = npsubpix.drift_of(movie.points, frame=movie.frame, width=0.2, reference="first")
    np.testing.assert_allclose(first.shift, found.shift - found.shift[0], atol=1e-3)
    assert (first.shift_std[0] == 0).all()
    assert (first.shift_std[1000] > found.shift_std[1000]).all()


def test_rows_in_no_order_and_bad_rows_change_nothing():
    """Tables are sorted by brightness, and have rows that failed."""
    rng = np.random.default_rng(0)
    movie = molecules(rng, n_segments=3, per_segment=400, amplitude=0.3)
    found = npsubpix.drift_of(movie.points, frame=movie.frame, width=0.2)
    bad = rng.uniform(0, 64, (500, 2))
    bad[::2] = np.nan
    points = np.concatenate([movie.points, bad])
    frame = np.concatenate([movie.frame, rng.integers(movie.frame[0], movie.frame[-1], 500)])
    table = dataclasses.replace(
        peaks_table(points, frame, 0.1),
        flags=np.repeat([0, int(npsubpix.PeakFlags.SINGULAR)], [len(movie.points), 500]),
    )
    again = npsubpix.drift_of(table[rng.permutation(len(table))])
    np.testing.assert_allclose(again.shift, found.shift, atol=1e-3)
    assert (again.n_used, again.n_rows) == (len(movie.points), len(table))


@pytest.mark.exhaustive
@pytest.mark.parametrize(("sites", "std"), [(300, 0.1), (3000, 0.1), (800, 0.25)])
def test_errors_are_the_scatter(sites, std):
    """Over simulations, errors in units of their standard errors have a standard deviation near 1."""
    scores, errors = [], []
    for seed in range(24):
        movie = molecules(np.random.default_rng(100 + seed), sites=sites, std=std, size=96)
        drift = npsubpix.drift_of(movie.points, frame=movie.frame, width=2 * std)
        assert drift.ok.all()
        errors.append(movie.errors(drift))
        scores.append(errors[-1] / drift.shift_std)
    assert np.sqrt((np.concatenate(errors) ** 2).mean()) < 0.02
    assert 0.85 < np.sqrt((np.concatenate(scores) ** 2).mean()) < 1.25


@pytest.mark.exhaustive
def test_the_benchmark_prints_what_the_page_says(capsys):
    drift_accuracy.main(["--movies", "2"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(rows) == len(drift_accuracy.CASES) + 3
    molecules_rows = rows[: len(drift_accuracy.CASES)]
    assert all(float(row[2]) < (0.03 if "0.25" in row[0] else 0.02) for row in molecules_rows)
    assert all(row[4].strip() == "100.0%" for row in molecules_rows)


@pytest.mark.exhaustive
@pytest.mark.parametrize("depth", [(800.0, 20.0, 100.0), (10.0, 0.2, 1.0)], ids=["nm", "slices"])
def test_drift_along_z(depth):
    """Behind a cylindrical lens in nanometres, in volumes in slices."""
    rng = np.random.default_rng(2)
    movie = molecules(rng, n_segments=20, size=128, sites=1000, depth=depth)
    std = np.broadcast_to([depth[1], 0.1, 0.1], movie.points.shape)
    drift = npsubpix.drift_of(movie.points, frame=movie.frame, coords_std=std)
    errors = movie.errors(drift)
    assert drift.ok.all()
    assert (np.sqrt((errors**2).mean(axis=0)) < [0.1 * depth[1], 0.02, 0.02]).all()
    assert (np.sqrt(((errors / drift.shift_std) ** 2).mean(axis=0)) < 1.7).all()
    flat = npsubpix.drift_of(movie.points, frame=movie.frame, coords_std=std, axes="yx")
    assert flat.axes == ("y", "x")


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_molecules_that_are_not_seen_again_have_no_drift(draw):
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 64, (2000, 2)) if draw == "uniform" else rng.normal(32, 8, (2000, 2))
    table = peaks_table(points, rng.integers(0, 500, 2000), 0.1)
    drift = npsubpix.drift_of(table)
    assert flagged(drift, DriftFlags.NOT_FOUND).all()
    assert np.isnan(drift.shift).all()
    assert "no two segments of the movie are alike" in repr(drift)
    with pytest.raises(ValueError, match=r"drift is not ok in the frames of 2000 of 2000 rows, from 0 to 499"):
        npsubpix.apply_drift(table, drift)


@pytest.mark.exhaustive
def test_a_part_of_the_movie_without_molecules_is_not_found():
    """As while a bubble passes: nothing there repeats, and the rest of the movie is not harmed."""
    rng = np.random.default_rng(3)
    movie = molecules(rng, n_segments=20)
    inside = (movie.frame >= 500) & (movie.frame < 800)
    points = movie.points.copy()
    points[inside] = rng.uniform(0, 64, (inside.sum(), 2))
    drift = npsubpix.drift_of(points, frame=movie.frame, width=0.2)
    assert flagged(drift, DriftFlags.NOT_FOUND)[510 - drift.frame[0] : 790 - drift.frame[0]].all()
    good = drift.ok
    assert good.mean() > 0.75
    errors = movie.errors(drift)[good]
    assert (errors - errors.mean(axis=0)).std() < 0.02
    assert np.isnan(drift.shift[flagged(drift, DriftFlags.NOT_FOUND)]).all()


@pytest.mark.exhaustive
def test_a_gap_is_bridged_and_flagged():
    movie = molecules(np.random.default_rng(5), n_segments=20)
    kept = (movie.frame < 600) | (movie.frame > 1200)
    drift = npsubpix.drift_of(movie.points[kept], frame=movie.frame[kept], width=0.2)
    inside = (drift.frame > 600) & (drift.frame < 1200)
    np.testing.assert_array_equal(flagged(drift, DriftFlags.INTERPOLATED)[inside], True)
    assert drift.ok[~inside].mean() > 0.99
    errors = movie.errors(drift)[drift.ok]
    assert (errors - errors.mean(axis=0)).std() < 0.02


@pytest.mark.exhaustive
def test_a_jump_is_a_misfit():
    """A stage that was touched: no spline follows, and frames around it say so."""
    movie = molecules(np.random.default_rng(6), n_segments=20)
    jump = np.where(np.arange(2000)[:, None] >= 1050, [2.0, -1.0], 0.0)
    moved = Movie(movie.points + jump[movie.frame], movie.frame, movie.drift + jump)
    drift = npsubpix.drift_of(moved.points, frame=moved.frame, width=0.2)
    assert flagged(drift, DriftFlags.MISFIT).any()
    assert not drift.ok[1040 - drift.frame[0] : 1060 - drift.frame[0]].any()
    errors = moved.errors(drift)[drift.ok]
    assert len(errors) > 1000
    assert np.abs(errors - np.median(errors, axis=0)).max() < 0.15


def test_too_few_localizations_are_said():
    rng = np.random.default_rng(0)
    drift = npsubpix.drift_of(rng.uniform(0, 64, (30, 2)), frame=np.arange(30))
    assert flagged(drift, DriftFlags.NOT_FOUND).all()
    assert "30 localizations are too few: two segments of 20 are needed" in repr(drift)
    nothing = npsubpix.drift_of(np.full((9, 2), np.nan), frame=np.arange(9))
    assert flagged(nothing, DriftFlags.NOT_FOUND).all()


def test_bad_pairs_are_left_out():
    """Of all pairs of eight segments, a quarter are off by pixels: the drift is that of the others."""
    rng = np.random.default_rng(0)
    drift = rng.normal(0, 3, (8, 2))
    first, second = np.triu_indices(8, 1)
    shift = drift[second] - drift[first] + rng.normal(0, 0.01, (28, 2))
    wrong = rng.permutation(28)[:7]
    shift[wrong] += rng.uniform(2, 10, (7, 2))
    result, found, n_bad = drift_of_pairs(Pairs(first, second, shift, np.ones(28, bool)), 8, 0.5)
    assert (found.all(), n_bad) == (True, 7)
    np.testing.assert_allclose(result - result[0], drift - drift[0], atol=0.05)


def test_segments_apart_from_the_others_are_not_found():
    pairs = Pairs(np.array([0, 1, 3]), np.array([1, 2, 4]), np.ones((3, 2)), np.array([True, True, False]))
    drift, found, _ = drift_of_pairs(pairs, 5, 0.5)
    assert found.tolist() == [True, True, True, False, False]
    np.testing.assert_allclose(np.diff(drift[:3], axis=0), 1)


POINTS = np.arange(12.0).reshape(6, 2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda f: f(POINTS), ValueError, "frame must give the frame of each row: the table has none"),
        (lambda f: f(POINTS, frame=[0, 1]), ValueError, r"frame must have shape \(6,\), one number per row"),
        (lambda f: f(POINTS, frame=np.arange(6.0)), TypeError, "frame must hold integers, got dtype float64"),
        (lambda f: f(POINTS, frame=[3] * 6), ValueError, "frame must hold at least two frames, got 3 alone"),
        (lambda f: f(POINTS, frame=[0, 1, 2, 3, 4, 10**11]), ValueError, "frame must span at most 100000000 frames"),
        (lambda f: f(POINTS[:0], frame=np.arange(0)), ValueError, "table must hold rows of at least two frames"),
        (lambda f: f(np.arange(6.0), frame=np.arange(6)), ValueError, r"positions of shape \(N, 2\) or \(N, 3\)"),
        (lambda f: f(POINTS, frame=np.arange(6), coords_std=[1, 2]), ValueError, "coords_std must have the shape"),
        (lambda f: f(POINTS, frame=np.arange(6), method="cc"), ValueError, "method must be one of 'rcc', 'tracks'"),
        (lambda f: f(POINTS, frame=np.arange(6), reference="last"), ValueError, "reference must be one of"),
        (lambda f: f(POINTS, frame=np.arange(6), axes="xy"), ValueError, "axes must be 'yx' or 'zyx', got 'xy'"),
        (lambda f: f(POINTS, frame=np.arange(6), axes="zyx"), ValueError, "axes must be 'yx': the table has no z"),
        (lambda f: f(POINTS, frame=np.arange(6), n_segments=1), ValueError, "n_segments must be at least 2, got 1"),
        (lambda f: f(POINTS, frame=np.arange(6), width=0), ValueError, "width must be positive, got 0"),
        (lambda f: f(POINTS, frame=np.arange(6), max_shift=-1), ValueError, "max_shift must be positive, got -1"),
        (lambda f: f(POINTS, frame=np.arange(6), method="tracks", min_presence=2), ValueError, "at most 1, got 2"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(npsubpix.drift_of)
