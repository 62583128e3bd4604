"""Command ``npsubpix drift``, and ``npsubpix locate --drift``."""

from __future__ import annotations

import json

import numpy as np
import pytest

import npsubpix
from benchmarks.drifting import beads, peaks_table
from npsubpix.io import read_table
from tests.fit_tables import fits_table

testing = pytest.importorskip("typer.testing")
app = pytest.importorskip("npsubpix.cli.app").app


def run(*args, code=0):
    result = testing.CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def movie():
    return beads(np.random.default_rng(0), 4, n_frames=60, lost=0.0)


@pytest.fixture
def table(movie, tmp_path):
    peaks_table(movie.points, movie.frame, 0.05).save(tmp_path / "spots.csv", origin="corner")
    return tmp_path / "spots.csv"


def test_rows_are_written_without_drift(movie, table, tmp_path):
    """The same as `apply_drift`, in the origin of the table, with the other columns as they are."""
    output, drift = tmp_path / "moved.csv", tmp_path / "drift.csv"
    result = run("drift", table, "--method", "tracks", "--output", output, "--table", drift)
    assert "Drift of 60 frames by tracks, 4 beads" in result.output
    peaks = peaks_table(movie.points, movie.frame, 0.05)
    expected = npsubpix.apply_drift(peaks, npsubpix.drift_of(peaks, method="tracks"))
    columns, metadata = read_table(output)
    np.testing.assert_allclose(np.column_stack([columns["y"], columns["x"]]), expected.coords + 0.5, atol=1e-6)
    np.testing.assert_allclose(columns["y_std"], expected.coords_std[:, 0], rtol=1e-6)
    assert list(columns) == list(read_table(table)[0])
    assert metadata["first_pixel_centre"] == 0.5
    assert metadata["drift"]["options"]["method"] == "tracks"
    assert len(read_table(drift)[0]["frame"]) == 60
    assert len(read_table(table)[0]["y"]) == len(columns["y"])


@pytest.mark.parametrize("program", ["picasso", "thunderstorm"])
def test_localizations_of_other_programs(movie, tmp_path, program):
    """In their units: positions and drift are in pixels, and z, which does not move, in nm."""
    order = np.argsort(movie.frame, kind="stable")
    points, count = movie.points[order], len(order)
    points -= points.min(axis=0) - 3  # these programs have no negative positions
    ones, frame = np.ones(count), movie.frame[order]
    fits = fits_table(
        **dict.fromkeys(("flux", "flux_std", "background", "background_std", "sigma", "sigma_std"), ones),
        **dict.fromkeys(("chi2", "log_likelihood"), ones), coords=points, coords_std=np.full((count, 2), 0.05),
        n_iters=np.full(count, 3, np.int32), indices=np.rint(points).astype(np.int64), frame=frame,
        flags=np.zeros(count, np.int32), image_shape=(160, 160), z=100 * ones, z_std=ones,
    )  # fmt: skip
    output, options = tmp_path / "moved.csv", ("--method", "tracks")
    if program == "picasso":
        path = tmp_path / "locs.hdf5"
        fits.to_picasso(path, shape=(60, 160, 160), pixel_size=100)
    else:
        path = tmp_path / "locs.csv"
        fits.to_thunderstorm(path, pixel_size=100)
        path.with_name("locs.csv.json").unlink(missing_ok=True)  # as ThunderSTORM writes
        assert "pixel_size, in nm, is needed" in run("drift", path, *options, code=1).output
        options += ("--pixel-size", 100)
    run("drift", path, *options, "--output", output)
    expected = npsubpix.apply_drift(fits, npsubpix.drift_of(fits, method="tracks", axes="yx"))
    columns, metadata = read_table(output)
    np.testing.assert_allclose(np.column_stack([columns["y"], columns["x"]]), expected.coords, atol=1e-3)
    np.testing.assert_allclose(columns["x_std"], expected.coords_std[:, 1], rtol=1e-4)
    np.testing.assert_allclose(columns["z_nm"], 100, rtol=1e-6)
    assert metadata["origin"] == "center"


def test_pixels_of_other_tables_have_a_size_already(table):
    assert "--pixel-size is for files of ThunderSTORM" in " ".join(
        run("drift", table, "--pixel-size", 9, code=2).output.split()
    )


def test_lengths_move_with_pixels(movie, tmp_path):
    """They stay the position in pixels times the size of a pixel, also in the origin of the table."""
    spots, output = tmp_path / "spots.csv", tmp_path / "moved.csv"
    peaks = peaks_table(movie.points, movie.frame, 0.05)
    y, x = (peaks.coords + 0.5).T
    lengths = {"y_um": 0.2 * y, "x_um": 0.1 * x, "x_um_std": 0.1 * peaks.coords_std[:, 1]}
    peaks.save(spots, origin="corner", columns=lengths)
    run("drift", spots, "--method", "tracks", "--output", output)
    columns, _ = read_table(output)
    assert abs(columns["x"] - x).max() > 0.1
    for name, pixels, size in (("y_um", "y", 0.2), ("x_um", "x", 0.1), ("x_um_std", "x_std", 0.1)):
        np.testing.assert_allclose(columns[name], columns[pixels] * size, rtol=1e-12)
    peaks.save(spots, columns={"x_um": 0.1 * x + 3})
    result = run("drift", spots, "--method", "tracks", "--output", output, code=1)
    assert "x_um is not x times the size of a pixel" in " ".join(result.output.split())


def test_frames_without_a_drift(movie, table, tmp_path):
    """Nothing is written, or they are left out; the exit status tells."""
    kept = (movie.frame < 20) | (movie.frame > 22) | (movie.points[:, 0] > 65)
    stray = np.flatnonzero((movie.frame >= 20) & (movie.frame <= 22))[:2]
    kept &= (movie.frame < 20) | (movie.frame > 22)
    kept[stray] = True
    points = movie.points.copy()
    points[stray] = [[500.0, 500.0], [600.0, 600.0]]
    peaks_table(points[kept], movie.frame[kept], 0.05).save(table)
    output = tmp_path / "moved.csv"
    result = run("drift", table, "--method", "tracks", "--output", output, code=1)
    assert "rows without drift are not written: --drop leaves these out" in " ".join(result.output.split())
    assert not output.exists()
    result = run("drift", table, "--method", "tracks", "--output", output, "--drop", code=3)
    assert "2 rows are left out" in " ".join(result.output.split())
    assert len(read_table(output)[0]["y"]) == kept.sum() - 2
    assert json.loads(output.with_name("moved.csv.json").read_text())["drift"]["rows_left_out"] == 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--output", "spots.csv"], "is the table to read, and would be overwritten"),
        (["--output", "moved.txt"], "moved.txt"),
        (["--method", "cc"], "'cc' is not one of rcc, tracks"),
    ],
)
def test_bad_arguments(table, monkeypatch, args, words):
    monkeypatch.chdir(table.parent)
    assert words in " ".join(run("drift", table, *args, code=2).output.split())


def test_bad_tables(tmp_path):
    path = tmp_path / "a.csv"
    for text, words in (
        ("y,x\n1,2\n", "needs columns frame, y and x, has y, x"),
        ("frame,y,x\n", "has no rows"),
        ("frame,y,x\n1,2,3\n", "frame must hold at least two frames, got 1 alone"),
        ("frame,y,x,ra,dec\n1,2,3,4,5\n", "has ra and dec, places on the sky, which would not move with y and x"),
        ("file,frame,y,x\na,1,2,3\na,2,2,3\nb,2,2,3\n", "frame 2 is there of several images"),
    ):
        path.write_text(text)
        assert words in " ".join(run("drift", path, code=1).output.split())


def test_locate_measures_the_drift_of_its_rows(tmp_path):
    """Few rows have no drift: the table of --output is there, and the reason."""
    movie = npsubpix.render_spots([[8.0, 9.0], [20.0, 6.0]], (32, 32), std=1.3, amplitude=900)
    np.save(tmp_path / "movie.npy", np.stack([movie] * 3))
    spots, moved = tmp_path / "spots.csv", tmp_path / "moved.csv"
    result = run("locate", tmp_path / "movie.npy", "--threshold", 9, "--output", spots, "--drift", moved, code=1)
    assert "6 localizations are too few" in result.output
    assert len(read_table(spots)[0]["y"]) == 6
    assert not moved.exists()
    result = run("locate", tmp_path / "movie.npy", "--threshold", 9, "--drift", moved, code=2)
    assert "--drift needs --output" in " ".join(result.output.split())


def test_locate_writes_its_rows_without_the_drift_of_the_movie(tmp_path):
    """What stands still is in one place in all frames; the columns beside the positions are those of the table."""
    rng = np.random.default_rng(3)
    sites, drift = rng.uniform(8, 88, (40, 2)), np.linspace([0, 0], [1.2, -0.8], 60)
    frames = [npsubpix.render_spots(sites + d, (96, 96), std=1.3, amplitude=900) for d in drift]
    np.save(tmp_path / "movie.npy", np.stack(frames))
    spots, moved = tmp_path / "spots.csv", tmp_path / "moved.csv"
    run("locate", tmp_path / "movie.npy", "--threshold", 20, "--output", spots, "--drift", moved)
    found, without = read_table(spots)[0], read_table(moved)[0]
    assert list(found) == list(without)
    for name in set(found) - {"y", "x"}:
        np.testing.assert_array_equal(found[name], without[name])
    for k, axis in enumerate("yx"):
        left = found[axis] - without[axis] - drift[found["frame"].astype(int), k]
        assert np.ptp(left) < 0.06
        assert np.ptp(found[axis] - without[axis]) > 0.7
