"""The command ``npsubpix align`` where alignment is hard, or fails."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import plotting
from tests.test_alignment_fit import field, stars
from tests.test_cli import fails, run, table_of

tifffile = pytest.importorskip("tifffile")


@pytest.fixture
def files(tmp_path, rng):
    """A fixed image; and a movie of it, a blank frame, noise, and the image displaced by little and by more."""
    scene = stars(rng, 60, 64)
    fixed = field(rng, scene, 64).astype(np.float32)
    frames = [fixed, np.full((64, 64), 7.0), rng.normal(0, 1, (64, 64))]
    frames += [field(rng, scene, 64, (0.5, -0.3)), field(rng, scene, 64, (1.2, 0.9), noise=5.0)]
    paths = tmp_path / "fixed.tif", tmp_path / "movie.tif"
    tifffile.imwrite(paths[0], fixed)
    tifffile.imwrite(paths[1], np.array(frames, np.float32), photometric="minisblack")
    return paths


def test_frames_that_failed_are_pages_without_data(files, tmp_path):
    fixed, movie = files
    result = run("align", fixed, movie, "-o", tmp_path / "o.tif", "--table", tmp_path / "t.csv", code=3)
    assert "5 images aligned to fixed.tif; 2 failed, see flags" in result.stdout
    assert "--far finds larger ones" in " ".join(result.stdout.split())
    rows, _ = table_of(tmp_path / "t.csv")
    assert [int(row["flags"]) != 0 for row in rows] == [False, True, True, False, False]
    assert "NO_TEXTURE" in rows[1]["flag_names"]
    assert "POOR_FIT" in rows[2]["flag_names"]
    assert all(0.3 < float(row["correlation"]) <= 1 for row in rows if row["flags"] == "0")
    pages = tifffile.imread(tmp_path / "o.tif")
    assert [bool(np.isfinite(page).any()) for page in pages] == [True, False, False, True, True]
    np.testing.assert_allclose(pages[0], tifffile.imread(fixed), atol=1e-3)  # to the last row and column


def test_the_picture_says_which_frame_it_shows(files, tmp_path, monkeypatch):
    """It is the one that fits worst of those that were aligned, and not the fixed image on itself."""
    fixed, movie = files
    drawn = []
    draw = plotting.draw_alignment
    monkeypatch.setattr(
        plotting, "draw_alignment", lambda *args, **options: drawn.append(options) or draw(*args, **options)
    )
    run("align", fixed, movie, "--plot", tmp_path / "p.png", code=3)
    assert drawn[0]["title"].startswith("movie.tif, frame 4: shift (1.2")
    assert (tmp_path / "p.png").stat().st_size > 0
    result = run("align", fixed, fixed, "--plot", tmp_path / "q.png")
    assert "no frame was aligned, but for the fixed image itself" in " ".join(result.stdout.split())
    assert not (tmp_path / "q.png").exists()


def test_sparse_beads(tmp_path, rng):
    places = rng.uniform(8, 120, (12, 2))
    y, x = np.mgrid[:128, :128] / 128
    for k, name in enumerate(("fixed.tif", "moving.tif")):
        beads = npsubpix.render_spots(places + np.multiply(k, (0.3, -0.2)), (128, 128), std=1.5, amplitude=5000.0)
        glow = 400 * np.exp(-((y - 0.5 - 0.2 * k) ** 2 + (x - 0.5) ** 2) / 0.1)
        tifffile.imwrite(tmp_path / name, rng.poisson(100 + glow + beads).astype(np.uint16))
    command = "align", tmp_path / "fixed.tif", tmp_path / "moving.tif", "--table", tmp_path / "t.csv"
    run(*command, "--background", 16, "--around-peaks", 5)
    row = table_of(tmp_path / "t.csv")[0][0]
    np.testing.assert_allclose([float(row["dy"]), float(row["dx"])], [0.3, -0.2], atol=0.12)
    assert "--background must be at least 1" in fails(*command, "--background", 0, code=2)
    tifffile.imwrite(tmp_path / "fixed.tif", np.zeros((128, 128), np.uint16))
    assert "has no peaks" in fails(*command, "--around-peaks", 5, code=2)


def test_pictures_take_the_result_and_axes(rng):
    from matplotlib.figure import Figure

    scene = stars(rng, 40, 48)
    fixed, moving = field(rng, scene, 48), field(rng, scene, 48, (1.25, -0.5))
    result = npsubpix.align(fixed, moving)
    figure = plotting.draw_alignment(fixed, moving, result)
    assert [axes.get_title() for axes in figure.axes] == ["before", "after"]
    axes = Figure().subplots(1, 2)
    plotting.draw_alignment(fixed, moving, result, ax=axes)
    drawn = [ax.images[0].get_array() for ax in (*figure.axes, *axes)]
    np.testing.assert_array_equal(drawn[0], drawn[2])
    np.testing.assert_array_equal(drawn[1], drawn[3])
    assert np.ptp(drawn[1] - drawn[0]) > 0.1
