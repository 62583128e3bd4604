"""``npsubpix simulate`` and ``npsubpix assess``: from nothing to an image, a table, and numbers about it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import npsubpix
from tests.tables import read_table
from tests.test_cli import fails, run, table_of

pytest.importorskip("rich")


def test_simulate_locate_and_assess(tmp_path):
    """What is simulated is found where the table of truth says."""
    movie, truth, found, numbers, plot = (
        tmp_path / n for n in ("movie.tif", "truth.csv", "found.csv", "numbers.json", "errors.png")
    )
    text = run("simulate", movie, "--truth", truth, "--frames", 3, "--spots", 8, "--shape", "60,70", "--flux", 4000,
               "--margin", 6).stdout  # fmt: skip
    assert text.splitlines() == ["24 spots in 3 frames of 60 × 70", f"Wrote {movie}", f"Wrote {truth}"]
    rows, metadata = table_of(truth)
    assert list(rows[0]) == ["frame", "y", "x", "flux", "sigma_y", "sigma_x"]
    assert [row["frame"] for row in rows] == sorted(["0", "1", "2"] * 8)
    assert metadata["options"]["seed"] == 0
    options = "--threshold", 80, "--refine", "centroid", "--radius", 4, "--min-distance", 3
    run("locate", movie, *options, "--output", found, "--quiet")
    text = run("assess", found, truth, "--radius", 1.5, "--pixel-size", 100, "-o", numbers, "--plot", plot).stdout
    assert text.startswith("Assessment: ")
    result = json.loads(numbers.read_text())
    assert result["n_truth"] == 24
    assert result["recall"] > 0.6
    assert max(result["rmse"]) < 0.3
    assert result["rmse_axial"] is None
    assert plot.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".h5", ".ecsv"])
@pytest.mark.parametrize("origin", ["center", "fits"])
def test_tables_of_all_formats_are_read_in_their_origin(tmp_path, suffix, origin):
    coords = np.array([[5.0, 6.0], [8.25, 3.5]])
    image = npsubpix.render_spots(coords, (12, 13), std=1.1, amplitude=100.0)
    peaks = npsubpix.refine_peaks(image, np.rint(coords), method="centroid")
    peaks.save(tmp_path / f"found{suffix}", origin=origin, columns={"y_std": [0.1, 0.2], "x_std": [0.3, 0.1]})
    (tmp_path / "truth.csv").write_text("x,y\n6,5\n3.5,8.25\n")
    run("assess", tmp_path / f"found{suffix}", tmp_path / "truth.csv", "-o", tmp_path / "a.json", "-q")
    result = json.loads((tmp_path / "a.json").read_text())
    assert result["n_matched"] == 2
    assert max(result["rmse"]) < 0.1  # less than half a pixel, by which origins differ
    assert max(result["error_over_std"]) < 1
    run("assess", tmp_path / f"found{suffix}", tmp_path / "truth.csv", "--found-origin", "corner", "--radius", 2,
        "-o", tmp_path / "b.json", "-q")  # fmt: skip
    assert max(json.loads((tmp_path / "b.json").read_text())["rmse"]) > 0.4


def test_rows_that_are_not_ok_are_left_out_and_counted(tmp_path):
    (tmp_path / "found.csv").write_text("y,x,ok\n5,6,True\n9,9,False\n1,,True\n")
    (tmp_path / "truth.csv").write_text("y,x\n5,6\n9,9\n")
    text = run("assess", tmp_path / "found.csv", tmp_path / "truth.csv").stdout
    assert text.startswith(
        "Assessment: 1 of 2 true positions found within 1 pixels, 0 of 1 found are false, 1 rows without a position"
    )
    assert text.splitlines()[-1].endswith("found.csv that are not ok are left out")
    assert run("assess", tmp_path / "found.csv", tmp_path / "truth.csv", "--every-row").stdout.startswith(
        "Assessment: 2 of 2"
    )


@pytest.mark.parametrize("name", ["movie.npy", "movie.tif"])
def test_simulated_volumes_and_single_frames(tmp_path, name):
    path = tmp_path / name
    options = "--shape", "5,20,30", "--sigma", "2,1,1", "--spots", 2, "-q"
    run("simulate", path, *options, "--truth", tmp_path / "t.parquet")
    names = read_table(tmp_path / "t.parquet").columns.tolist()
    assert names == ["z", "y", "x", "flux", "sigma_z", "sigma_y", "sigma_x"]
    with npsubpix.open_image(path) as source:
        image = source.read()
    assert image.shape == (5, 20, 30)
    assert image.mean() == pytest.approx(10, rel=0.2)
    run("simulate", tmp_path / "again.npy", *options)
    np.testing.assert_array_equal(np.load(tmp_path / "again.npy"), image)


@pytest.mark.parametrize("sites", [None, 30])
def test_a_simulated_sample_drifts(tmp_path, sites):
    """Frames show the same molecules, all of them or some in each; the truth has the places in the frames."""
    rate, count = np.array([0.25, -0.5]), 12
    (tmp_path / "drift.csv").write_text(
        "frame,y,x\n" + "".join(f"{k},{rate[0] * k},{rate[1] * k}\n" for k in range(count))
    )
    options = ("--shape", 40, "--frames", count, "--spots", 8, *(() if sites is None else ("--sites", sites)), "-q")
    for drift, table in (("0.25,-0.5", "a.csv"), (tmp_path / "drift.csv", "b.csv")):
        run("simulate", tmp_path / "a.npy", *options, "--drift", drift, "--truth", tmp_path / table)
    truth = read_table(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    at_rest = truth[["y", "x"]].to_numpy() - truth["frame"].to_numpy()[:, None] * rate
    places = np.unique(at_rest.round(6), axis=0)
    assert len(places) == 8 if sites is None else 8 < len(places) <= sites
    assert truth.groupby("frame").size().eq(8).all()
    image = np.load(tmp_path / "a.npy")
    bright = np.unravel_index(image[count - 1].argmax(), image.shape[1:])
    assert np.abs(truth[truth["frame"] == count - 1][["y", "x"]].to_numpy() - bright).max(axis=1).min() < 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--drift", "1,2,3"), "--drift must be one number, or one per axis"),
        (("--drift", "nan"), "--drift must be finite"),
        (("--sites", "2", "--spots", "3"), "--sites must be at least --spots, 3, got 2"),
        (("--drift", "none.csv"), "none.csv: there is no such file"),
        (("--drift", "short.csv"), "short.csv: frames must be 0 to 0, each once"),
        (("--drift", "other.csv"), "other.csv: has no column y"),
    ],
)
def test_drifts_that_cannot_be_simulated(tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.csv").write_text("frame,y,x\n3,0,0\n")
    (tmp_path / "other.csv").write_text("frame,dy,x\n0,0,0\n")
    assert words in fails("simulate", "a.npy", "--shape", "20", *options, code=2)
    assert not (tmp_path / "a.npy").exists()


def test_counts_of_a_simulated_camera(tmp_path):
    args = ("--offset", 100, "--electrons-per-count", 0.5, "--read-variance", 4, "--spots", 0, "-q")
    run("simulate", tmp_path / "a.npy", "--shape", 40, *args)
    image = np.load(tmp_path / "a.npy")
    assert image.mean() == pytest.approx(120, abs=1)
    assert image.var() == pytest.approx(44, rel=0.15)
    assert "electrons_per_count must be positive" in fails(
        "simulate", tmp_path / "b.npy", "--electrons-per-count", 0, code=2
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--shape", "9"), None),
        (("--shape", "9,9,9,9"), "--shape must hold 1, 2 or 3 integers"),
        (("--shape", "0,9"), "--shape must be at least 1, got 0"),
        (("--sigma", "1,2,3"), "--sigma must be one number or 2 of them"),
        (("--sigma", "0"), "--sigma must be positive"),
        (("--flux", "-1"), "--flux must not be negative, got -1.0"),
        (("--frames", "0"), "--frames must be at least 1, got 0"),
        (("--margin", "5", "--shape", "9,30"), "--margin must leave room for spots"),
        (("--truth", "truth.txt"), "unknown format '.txt'"),
    ],
)
def test_simulate_refuses(tmp_path, options, words):
    if words is None:
        run("simulate", tmp_path / "a.npy", *options, "-q")
        assert np.load(tmp_path / "a.npy").shape == (9, 9)
        return
    assert words in fails("simulate", tmp_path / "a.npy", *options, code=2)
    assert not (tmp_path / "a.npy").exists()


def test_refusals(tmp_path):
    assert "the name of the image must end with .tif" in fails("simulate", tmp_path / "a.png", code=2)
    table = tmp_path / "table.csv"
    table.write_text("y,x\n1,2\n")
    assert "there is no such file" in fails("assess", tmp_path / "none.csv", table)
    assert "unknown format '.txt'" in fails("assess", tmp_path / "none.txt", table)
    assert "--radius must be positive" in fails("assess", table, table, "--radius", "0", code=2)
    assert "must end with .json" in fails("assess", table, table, "-o", tmp_path / "a.csv", code=2)
    for text, words in (
        ("a,b\n1,2\n", "has no columns y and x, but a, b"),
        ("", "has no columns y and x, but none"),
        ("y,x\n1,two\n", "the column x must hold numbers"),
        ("y,x\n1,2\n1\n", "rows differ in their number of columns"),
        ("frame,y,x\n0.5,1,2\n", "the column frame must hold whole numbers"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        assert words in fails("assess", tmp_path / "bad.csv", table)
