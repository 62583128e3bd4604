"""Drift from beads, and drift that is subtracted from tables."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import npsubpix
from benchmarks.drifting import beads, peaks_table
from npsubpix import DriftFlags
from npsubpix.io import read_table
from tests.fit_tables import fits_table


def centred(movie, drift):
    """Found less true drift, each from its mean over the frames that are ok."""
    errors = (drift.shift - movie.drift[drift.frame])[drift.ok]
    return errors - errors.mean(axis=0)


@pytest.mark.parametrize(("count", "known"), [(1, True), (3, True), (3, False), (8, True), (8, False)])
def test_beads_give_the_drift_and_its_scatter(count, known):
    """Whether the table has standard errors or not; beads are missed, and molecules are among them."""
    scores = []
    for seed in range(6):
        movie = beads(np.random.default_rng(seed), count)
        std = np.full(movie.points.shape, 0.05) if known else None
        drift = npsubpix.drift_of(movie.points, frame=movie.frame, method="tracks", coords_std=std)
        assert drift.n_segments == count
        assert drift.ok.mean() > 0.85
        errors = centred(movie, drift)
        assert errors.std() < 1.2 * 0.05 / np.sqrt(0.85 * count)
        scores.append(errors / drift.shift_std[drift.ok])
    assert 0.9 < np.concatenate(scores).std() < 1.15


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # trackpy's, with pandas 3.1
def test_the_mean_motion_is_that_of_trackpy():
    """`trackpy.compute_drift` of the same beads in all frames, which adds up mean steps."""
    trackpy = pytest.importorskip("trackpy")
    trackpy.quiet()
    movie = beads(np.random.default_rng(1), 4, lost=0.0)
    drift = npsubpix.drift_of(movie.points, frame=movie.frame, method="tracks", reference="first")
    linked = trackpy.link(peaks_table(movie.points, movie.frame, 0.05).to_trackpy(), 1.0)
    theirs = trackpy.compute_drift(trackpy.filter_stubs(linked, 150))[["y", "x"]].to_numpy()
    assert np.abs(drift.shift[1:] - theirs).std() < 0.05


def test_one_bead_without_errors_has_none():
    movie = beads(np.random.default_rng(0), 1)
    drift = npsubpix.drift_of(movie.points, frame=movie.frame, method="tracks")
    assert np.isnan(drift.shift_std).all()
    assert "standard errors are not known" in repr(drift)


def test_a_loose_bead_is_down_weighted():
    movie = beads(np.random.default_rng(2), 8, lost=0.0)
    loose = np.abs(movie.points[:, 0] - 60 - movie.drift[movie.frame][:, 0]) < 2
    points = movie.points.copy()
    points[loose] += 0.5 * np.sin(movie.frame[loose] / 10)[:, None]
    drift = npsubpix.drift_of(points, frame=movie.frame, method="tracks")
    assert centred(movie, drift).std() < 1.3 * 0.05 / np.sqrt(7)


def test_no_bead_stays():
    rng = np.random.default_rng(0)
    drift = npsubpix.drift_of(rng.uniform(0, 500, (400, 2)), frame=np.repeat(np.arange(100), 4), method="tracks")
    assert (drift.flags == DriftFlags.NOT_FOUND).all()
    assert np.isnan(drift.shift).all()
    assert "no bead is in 0.5 of the 100 frames: the longest track has" in repr(drift)


def test_frames_without_beads_are_interpolated_and_those_outside_are_not_known():
    frame = np.arange(100)
    points = np.column_stack([0.01 * frame, 0.02 * frame]) + 30
    kept = (frame < 50) | (frame > 52)
    kept &= (frame >= 10) & (frame < 95)
    others = np.array([[90.0, 90.0], [95.0, 20.0]])
    drift = npsubpix.drift_of(
        np.concatenate([points[kept], others]), frame=np.concatenate([frame[kept], [0, 99]]), method="tracks"
    )
    assert np.flatnonzero(drift.flags == DriftFlags.INTERPOLATED).tolist() == [50, 51, 52]
    assert np.flatnonzero(drift.flags == DriftFlags.NOT_FOUND).tolist() == [*range(10), *range(95, 100)]
    np.testing.assert_allclose(np.diff(drift.shift[10:95], axis=0), [[0.01, 0.02]] * 84, atol=1e-9)


# --- what is done with it


@pytest.fixture
def drift():
    shift = np.array([[0.0, 0.0], [0.5, -0.25], [np.nan, np.nan], [1.0, 2.0]])
    flags = np.array([0, 0, DriftFlags.NOT_FOUND, DriftFlags.INTERPOLATED], np.int32)
    return npsubpix.Drift(np.arange(4), shift, np.full((4, 2), 0.03), flags, ("y", "x"), "rcc", 9, 9, 2)


def test_fits_are_moved_and_their_errors_grow(drift):
    fits = fits_table(covariance=np.tile(np.eye(5), (3, 1, 1)))
    moved = npsubpix.apply_drift(fits, drift)
    assert isinstance(moved, npsubpix.Fits)
    np.testing.assert_allclose(moved.coords, fits.coords - drift.shift[fits.frame])
    np.testing.assert_allclose(moved.coords_std[:2], np.hypot(fits.coords_std[:2], 0.03))
    np.testing.assert_allclose(moved.covariance[0].diagonal(), [1.0009, 1.0009, 1, 1, 1])
    assert fits.covariance[0, 0, 0] == 1
    assert moved.flux is fits.flux
    assert moved.image_shape == fits.image_shape


def test_z_is_moved_in_its_unit(drift):
    deep = dataclasses.replace(
        drift, shift=np.full((4, 3), [30.0, 1.0, 2.0]), shift_std=np.full((4, 3), [4.0, 0.0, 0.0]), axes=("z", "y", "x")
    )
    covariance = np.tile(np.diag([1.0, 1.0, 25.0, 9.0, 4.0]), (3, 1, 1))  # of y, x, flux, z and background
    covariance[:, 0, 3] = covariance[:, 3, 0] = 0.5
    z, error = np.array([-120.0, 300.0, np.nan]), np.array([3.0, 3.0, np.nan])
    fits = fits_table(z=z, z_std=error, covariance=covariance)
    moved = npsubpix.apply_drift(fits, deep)
    assert moved.z[:2].tolist() == [-150, 270]
    assert moved.z_std[:2].tolist() == [5, 5]
    np.testing.assert_array_equal(moved.covariance - covariance, np.tile(np.diag([0, 0, 0, 16.0, 0]), (3, 1, 1)))
    with pytest.raises(ValueError, match="drift is along z, which the table has not"):
        npsubpix.apply_drift(fits_table(), deep)


def test_tensors_stay_tensors(drift):
    torch = pytest.importorskip("torch")
    peaks = npsubpix.Peaks(
        torch.ones((2, 2), dtype=torch.float64), torch.ones(2), torch.ones((2, 2)), torch.zeros(2, dtype=torch.int32),
        torch.tensor([0, 1]),
    )  # fmt: skip
    moved = npsubpix.apply_drift(peaks, drift)
    assert isinstance(moved.coords, torch.Tensor)
    assert moved.coords.tolist() == [[1, 1], [0.5, 1.25]]
    assert moved.coords_std is None


def test_rows_without_a_drift_are_not_moved_in_silence(drift):
    peaks = peaks_table(np.ones((5, 2)), np.array([0, 1, 2, 3, 7]), 0.04)
    with pytest.raises(ValueError, match=r"drift is not ok in the frames of 3 of 5 rows, from 2 to 7: leave them out"):
        npsubpix.apply_drift(peaks, drift)
    with pytest.warns(UserWarning, match="3 of 5 rows are left out: their drift is not ok"):
        assert npsubpix.apply_drift(peaks, drift, missing="drop").frame.tolist() == [0, 1]
    moved = npsubpix.apply_drift(peaks[[0, 1, 3]], drift, missing="interpolate")
    assert moved.coords[2].tolist() == [0, -1]
    assert moved.coords_std[2].tolist() == [0.05, 0.05]
    with pytest.raises(ValueError, match=r"of 2 of 5 rows, from 2 to 7"):
        npsubpix.apply_drift(peaks, drift, missing="interpolate")


def test_what_is_no_table_is_refused(drift):
    peaks = peaks_table(np.ones((1, 2)), np.zeros(1, np.int64), 0.04)
    with pytest.raises(TypeError, match="table must be a table such as Fits, got ndarray"):
        npsubpix.apply_drift(np.ones((1, 2)), drift)
    with pytest.raises(TypeError, match="drift must be a Drift, got ndarray"):
        npsubpix.apply_drift(peaks, drift.shift)
    with pytest.raises(ValueError, match="table must have frames"):
        npsubpix.apply_drift(dataclasses.replace(peaks, frame=None), drift)


def test_the_drift_is_a_table_of_frames(drift, tmp_path):
    drift.save(tmp_path / "drift.csv", metadata={"images": ["a.tif"]})
    columns, metadata = read_table(tmp_path / "drift.csv")
    assert list(columns) == ["frame", "y", "x", "y_std", "x_std", "ok", "flags", "flag_names"]
    assert columns["y"][:2].tolist() == [0, 0.5]
    assert columns["flag_names"].tolist() == ["-", "-", "NOT_FOUND", "INTERPOLATED"]
    assert (metadata["drift"]["method"], metadata["images"]) == ("rcc", ["a.tif"])
    assert drift.to_pandas()["x"].tolist()[3] == 2
    assert "2 frames are not ok: 1 NOT_FOUND, 1 INTERPOLATED" in repr(drift)
