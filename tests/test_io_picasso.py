"""Files of picasso and ThunderSTORM, read and written by picasso itself, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from picasso import io as picasso
from picasso import lib, render

from npsubpix.io import read_picasso, read_thunderstorm
from tests.fit_tables import elliptical, fits, good

__all__ = ["elliptical", "fits", "good"]  # fixtures

pytestmark = [
    pytest.mark.exhaustive,  # picasso takes seconds to import
    pytest.mark.filterwarnings("ignore:The inplace keyword"),  # picasso's, with pandas 3.1
]


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    """Keep picasso's settings out of the folder of the user."""
    monkeypatch.setenv("HOME", str(tmp_path))


def test_picasso_opens_its_files(tmp_path, elliptical):
    """picasso's reader, which drops what is not sane, and its renderer."""
    path = tmp_path / "µ.hdf5"
    elliptical.to_picasso(path, shape=(5, 30, 40), pixel_size=130)
    locs, info = picasso.load_locs(str(path))
    assert len(locs) == 2
    order = np.argsort(elliptical.frame)
    np.testing.assert_array_equal(locs[["y", "x"]], elliptical.coords[order].astype(np.float32))
    np.testing.assert_array_equal(locs[["lpy", "lpx"]], elliptical.coords_std[order].astype(np.float32))
    np.testing.assert_array_equal(locs["photons"], elliptical.flux[order].astype(np.float32))
    np.testing.assert_array_equal(locs[["sy", "sx"]], elliptical.sigma[order].astype(np.float32))
    np.testing.assert_array_equal(locs["z"], elliptical.z[order].astype(np.float32))
    assert [value_of(info, key) for key in ("Frames", "Height", "Width", "Pixelsize")] == [5, 30, 40, 130]
    count, image = render.render(locs, info, disp_px_size=130, viewport=((0, 0), (30, 40)))
    assert count == 2
    assert np.argwhere(image).tolist() == [[0, 3], [10, 20]]
    path.with_suffix(".yaml").unlink()
    assert value_of(picasso.load_locs(str(path))[1], "Pixelsize") == 130


def value_of(info, key):
    return lib.get_from_metadata(info, key, raise_error=True)


def test_files_of_picasso_are_read(tmp_path, good):
    """Those that it writes itself come back as they were."""
    good.to_picasso(tmp_path / "a.hdf5")
    locs, info = picasso.load_locs(str(tmp_path / "a.hdf5"))
    picasso.save_locs(str(tmp_path / "b.hdf5"), locs, info)
    first, second = read_picasso(tmp_path / "a.hdf5"), read_picasso(tmp_path / "b.hdf5")
    for name, column in first.to_dict().items():
        np.testing.assert_array_equal(second.to_dict()[name], column, err_msg=name)
    assert second.image_shape == (30, 40)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_picasso_imports_tables_of_thunderstorm(tmp_path, good, elliptical, dimensions):
    """It takes the corner for its origin, half a pixel from that of its own fits, and cuts photons to integers."""
    fits = good if dimensions == 2 else elliptical
    path = tmp_path / "a.csv"
    fits.to_thunderstorm(path, pixel_size=130)
    locs, _ = picasso.import_ts(str(path), 130)
    order = np.argsort(fits.frame)
    np.testing.assert_allclose(locs[["y", "x"]], fits.coords[order] + 0.5, rtol=1e-6)
    np.testing.assert_array_equal(locs["frame"], fits.frame[order])
    np.testing.assert_array_equal(locs["photons"], np.floor(fits.flux[order]))
    widths = fits.sigma[order] if dimensions == 3 else np.column_stack([fits.sigma[order]] * 2)
    np.testing.assert_allclose(locs[["sy", "sx"]], widths, rtol=1e-6)


def test_tables_of_thunderstorm_that_picasso_exports_are_read(tmp_path, elliptical):
    elliptical.to_picasso(tmp_path / "a.hdf5", pixel_size=130)
    locs, info = picasso.load_locs(str(tmp_path / "a.hdf5"))
    picasso.export_thunderstorm(str(tmp_path / "b.csv"), locs, info)
    again = read_thunderstorm(tmp_path / "b.csv", pixel_size=130, origin="center", first_frame=0)
    order = np.argsort(elliptical.frame)
    np.testing.assert_allclose(again.coords, elliptical.coords[order], rtol=1e-6)
    np.testing.assert_allclose(again.sigma, elliptical.sigma[order], rtol=1e-6)
    np.testing.assert_array_equal(again.frame, [0, 1])
