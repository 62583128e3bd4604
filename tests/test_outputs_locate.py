"""`npsubpix.locate` writes what it finds: files say of themselves what they hold, and a stopped run goes on."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix.io import OutputError, read_table
from npsubpix.movies import plans
from tests.test_cli import spots


@pytest.fixture
def movie():
    return np.stack([spots((40, 50), [(10, 20 + k % 9), (30, 35)]) for k in range(12)]).astype(np.float32)


class Stopped(Exception):
    """The end of a run."""


def test_a_file_has_the_rows_and_says_what_they_are(movie, tmp_path):
    located = npsubpix.locate(movie, threshold_abs=10, output=tmp_path / "a.csv")
    peaks = npsubpix.locate(movie, threshold_abs=10)
    assert (located.n_frames, located.n_rows, located.n_ok) == (12, len(peaks), int(peaks.ok.sum()))
    columns, metadata = read_table(tmp_path / "a.csv")
    for name, column in peaks.to_dict().items():
        np.testing.assert_array_equal(columns[name], column)
    assert metadata["npsubpix_version"] == npsubpix.__version__
    assert (metadata["axes"], metadata["origin"]) == ("y, x", "center")
    assert list(metadata["shape"].values()) == [12, 40, 50]
    assert metadata["read_as"] == {"axis0": "frames", "y": "y", "x": "x"}
    assert metadata["options"]["threshold_abs"] == 10


def test_a_stopped_run_goes_on_where_it_was(movie, tmp_path, monkeypatch):
    monkeypatch.setattr(plans, "_PIXELS", 3 * movie[0].size)
    table = tmp_path / "a.csv"

    def stop(done, count):
        if done >= 6:
            raise Stopped

    with pytest.raises(Stopped):
        npsubpix.locate(movie, threshold_abs=10, output=table, progress=stop)
    assert not table.exists()
    with pytest.raises(OutputError, match=r"cannot be resumed: options\.threshold_abs is 12, and was 10"):
        npsubpix.locate(movie, threshold_abs=12, output=table, resume=True)
    with pytest.raises(OutputError, match="cannot be resumed: source"):
        npsubpix.locate(movie + 1, threshold_abs=10, output=table, resume=True)
    seen = []
    npsubpix.locate(movie, threshold_abs=10, output=table, resume=True, progress=lambda done, _: seen.append(done))
    assert seen == [9, 12]
    npsubpix.locate(movie, threshold_abs=10, output=tmp_path / "whole.csv")
    assert table.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_fits_file_gives_places_on_the_sky(movie, tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    import astropy.wcs

    wcs = astropy.wcs.WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crpix, wcs.wcs.cdelt, wcs.wcs.crval = (25, 20), (-1e-4, 1e-4), (120.0, 45.0)
    fits.writeto(tmp_path / "a.fits", movie[0], wcs.to_header())
    npsubpix.locate(tmp_path / "a.fits", threshold_abs=10, output=tmp_path / "stars.fits")
    columns, _ = read_table(tmp_path / "stars.fits")
    ra, dec = wcs.all_pix2world(columns["x"], columns["y"], 0)
    np.testing.assert_allclose(columns["ra"], ra, rtol=1e-9)  # the frame of the header is the ICRS by default
    np.testing.assert_allclose(columns["dec"], dec, rtol=1e-9)
