"""``npsubpix locate --fit``: positions, fluxes and errors of fits in the table."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from tests.test_cli import fails, run, table_of

pytest.importorskip("rich")

SPOTS = np.array([[10.2, 11.7], [30.6, 25.1]])


@pytest.fixture
def movie(tmp_path):
    light = npsubpix.render_spots(SPOTS, (41, 40), std=1.2, amplitude=3000.0, integrate=True) + 5
    counts = 100 + np.random.default_rng(0).poisson(np.stack([light] * 2)) / 0.5
    path = tmp_path / "movie.npy"
    np.save(path, np.rint(counts).astype(np.uint16))
    return path


def test_columns_of_fits(movie, tmp_path):
    output = tmp_path / "spots.csv"
    camera = "--offset", 100, "--electrons-per-count", 0.5
    run("locate", movie, "--axes", "TYX", "--threshold", 500, "--fit", "--fit-sigma", 1.2, *camera, "-o", output)
    rows, metadata = table_of(output)
    assert len(rows) == 4
    image = np.load(movie)[1]
    peaks = npsubpix.find_peaks(image, threshold_abs=500)
    fits = npsubpix.fit_spots(image, peaks, sigma=1.2, camera=npsubpix.Camera(offset=100, electrons_per_count=0.5))
    for row, k in zip(rows[2:], range(2), strict=True):
        assert float(row["y"]) == fits.coords[k, 0]
        assert float(row["x_std"]) == fits.coords_std[k, 1]
        assert float(row["flux"]) == fits.flux[k]
        assert float(row["fit_sigma"]) == fits.sigma[k]
        assert (row["fit_ok"], row["fit_flags"]) == ("True", "-")
    assert "electrons_per_count=0.5" in metadata["options"]["fit"]["camera"]


def test_standard_errors_of_refined_peaks(movie, tmp_path):
    """A camera, or the noise, is enough; with a fit, errors are those of the fit."""
    output = tmp_path / "spots.csv"
    common = "locate", movie, "--axes", "TYX", "-o", output
    run(*common, "--threshold", 500, "--offset", 100, "--electrons-per-count", 0.5)
    image = np.load(movie)[1]
    peaks = npsubpix.find_peaks(image, threshold_abs=500, camera=npsubpix.Camera(100, 0.5))
    rows, metadata = table_of(output)
    assert [float(row["y_std"]) for row in rows[2:]] == peaks.coords_std[:, 0].tolist()
    assert list(rows[0]).index("x_std") == list(rows[0]).index("x") + 2
    assert "offset=100" in metadata["options"]["camera"]
    run(*common, "--threshold", 50, "--sigma", 8, "--fit")
    rows, _ = table_of(output)
    fits = npsubpix.fit_spots(image, npsubpix.find_peaks(image, threshold_abs=50, sigma=8))
    assert [float(row["y_std"]) for row in rows[2:]] == fits.coords_std[:, 0].tolist()


def test_options_of_fits_need_it(movie):
    assert "--fit-box needs --fit" in fails("locate", movie, "--fit-box", 7, code=2)
    wrong = fails("locate", movie, "--fit", "--electrons-per-count", 0, code=2)
    assert "--electrons-per-count must be positive" in wrong
