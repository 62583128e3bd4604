"""Tables in memory for trackpy, napari and astropy, and tables joined."""

from __future__ import annotations

import builtins
import dataclasses
import sys

import numpy as np
import pytest

import npsubpix
from npsubpix.io import peak_columns, read_table
from tests.fit_tables import fits_table
from tests.peak_tables import COORDS, FRAME, table

pd = pytest.importorskip("pandas")


@pytest.fixture
def good():
    fits = fits_table()
    return fits[fits.ok]


@pytest.fixture
def measurements():
    number = np.arange(1.0, 3.0)
    columns = {name: number * k for k, name in enumerate(npsubpix.Measurements.__dataclass_fields__, 1)}
    return npsubpix.Measurements(**{
        **columns, "coords": np.array([[1.5, 2.5], [3.5, 4.5]]), "centroid": np.zeros((2, 2)),
        "flags": np.zeros(2, np.int32), "frame": np.array([0, 1]), "image_shape": (9, 9), "flux_unit": None,
    })  # fmt: skip


# --- trackpy


def test_columns_of_trackpy(good, measurements):
    frame = measurements.to_trackpy()
    assert list(frame.columns) == ["y", "x", "mass", "size", "ecc", "signal", "raw_mass", "ep", "frame"]
    for name in ("mass", "size", "ecc", "signal", "raw_mass", "ep"):
        np.testing.assert_array_equal(frame[name], getattr(measurements, name))
    fitted = good.to_trackpy()
    assert list(fitted.columns) == ["y", "x", "mass", "size", "signal", "ep", "frame"]
    np.testing.assert_allclose(fitted["size"], np.sqrt(2) * good.sigma)
    np.testing.assert_allclose(fitted["signal"], good.flux / (2 * np.pi * good.sigma**2))
    np.testing.assert_allclose(fitted["ep"], np.sqrt((good.coords_std**2).sum(axis=1) / 2))
    peaks = table(COORDS).to_trackpy()
    assert list(peaks.columns) == ["y", "x", "signal", "frame"]
    assert peaks["frame"].tolist() == [0, 0, 0, 0]


def test_moments_of_an_elliptical_gaussian_are_those_of_trackpy(good):
    """Sums over a rendered Gaussian, by the definitions of trackpy."""
    sigma = np.array([1.5, 2.5])
    y, x = np.mgrid[-20:21, -20:21]
    image = np.exp(-0.5 * ((y / sigma[0]) ** 2 + (x / sigma[1]) ** 2))
    fits = dataclasses.replace(
        good, sigma=np.array([sigma] * 2), sigma_std=np.full((2, 2), 0.1), flux=np.full(2, image.sum())
    )
    row = fits.to_trackpy().iloc[0]
    assert row["size"] == pytest.approx(np.sqrt((image * (y**2 + x**2)).sum() / image.sum()), rel=1e-6)
    turns = np.exp(2j * np.arctan2(y, x))
    assert row["ecc"] == pytest.approx(abs((image * turns).sum() - image[20, 20]) / image.sum(), abs=2e-3)
    assert row["signal"] == pytest.approx(1, rel=1e-6)


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # trackpy's, with pandas 3.1
def test_trackpy_links_the_table_as_it_is():
    trackpy = pytest.importorskip("trackpy")
    trackpy.quiet()
    moved = [COORDS[:2] + np.array([0.3 * k, 0]) for k in range(4)]
    peaks = npsubpix.Peaks.concatenate([table(coords) for coords in moved], frame=range(4))
    linked = trackpy.link(peaks.to_trackpy(), 1.0)
    assert sorted(linked.groupby("particle").size()) == [4, 4]
    flagged = dataclasses.replace(peaks, flags=np.array([0] * 7 + [64], np.int32))
    with pytest.warns(UserWarning, match="1 of 8 rows are not ok and left out of trackpy's tables"):
        assert len(flagged.to_trackpy()) == 7
    assert len(flagged.to_trackpy(ok_only=False)) == 8


@pytest.mark.exhaustive
@pytest.mark.parametrize("make", [lambda: table(COORDS[:2]), lambda: fits_table(frame=None)[:2]], ids=["Peaks", "Fits"])
def test_laptrack_links_the_table_as_it_is(make):
    laptrack = pytest.importorskip("laptrack")
    first = make()
    moved = [dataclasses.replace(first, coords=first.coords + np.array([0.3 * k, 0])) for k in range(4)]
    joined = type(first).concatenate(moved, frame=range(4)).to_pandas()
    tracks, _, _ = laptrack.LapTrack(cutoff=1.0).predict_dataframe(
        joined, coordinate_cols=["y", "x"], only_coordinate_cols=False
    )
    assert sorted(tracks.groupby("track_id").size()) == [4, 4]
    assert tracks["track_id"].tolist() == [0, 1] * 4


# --- napari


def test_units_of_napari():
    layer = table(COORDS, FRAME).to_napari(pixel_size=0.108, unit="um")
    assert layer["units"] == ("pixel", "um", "um")
    assert fits_table(frame=None).to_napari(pixel_size=0.108, unit="um")["units"] == ("um", "um")
    with pytest.raises(ValueError, match="unit is that of pixel_size, which must be given with it, got 'um'"):
        table(COORDS, FRAME).to_napari(unit="um")


def test_points_of_napari():
    layer = table(COORDS, FRAME).to_napari(pixel_size=(2, 3))
    assert layer["data"].tolist() == np.column_stack([FRAME, COORDS]).tolist()
    assert layer["scale"] == (1, 2, 3)
    assert "units" not in layer
    assert list(layer["features"].columns) == ["value", "y_index", "x_index", "ok", "flags", "flag_names"]
    fits = fits_table(frame=None)
    layer = fits.to_napari()
    assert set(layer) == {"data", "features"}
    assert layer["data"].tolist() == fits.coords.tolist()
    assert layer["features"].ok.tolist() == [True, True, False]
    with pytest.warns(UserWarning, match="left out of the layer of points"):
        assert len(fits.to_napari(ok_only=True)["features"]) == 2
    assert fits[:0].to_napari()["data"].shape == (0, 2)


def test_fits_are_saved_for_napari(tmp_path):
    fits = fits_table(z=np.arange(3.0), z_std=np.ones(3))
    fits.save(tmp_path / "a.csv", napari=True)
    saved = pd.read_csv(tmp_path / "a.csv")
    assert list(saved.columns)[:4] == ["index", "axis-0", "axis-1", "axis-2"]
    assert saved["axis-1"].tolist() == fits.coords[:, 0].tolist()
    assert saved["z"].tolist() == [0, 1, 2]
    assert read_table(tmp_path / "a.csv")[1]["flux_unit"] == "electron"
    with pytest.raises(ValueError, match="origin must be 'center' for napari"):
        fits.save(tmp_path / "a.csv", napari=True, origin="fits")


def test_an_origin_does_not_move_positions_of_a_calibration():
    """z beside positions in two dimensions is not in pixels."""
    fits = fits_table(z=np.arange(3.0), z_std=np.ones(3))
    columns = peak_columns(fits, origin="fits")
    assert columns["z"].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(columns["y"], fits.coords[:, 0] + 1)


def test_what_is_not_installed_is_named(monkeypatch):
    found = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name="pandas")
        return found(name, *args, **kwargs)

    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setattr(builtins, "__import__", without)
    for convert in (table(COORDS).to_trackpy, table(COORDS).to_napari):
        with pytest.raises(ModuleNotFoundError, match=r"needs pandas: pip install 'npsubpix\[table\]'"):
            convert()


# --- astropy


def test_units_of_astropy(good, measurements):
    units = pytest.importorskip("astropy.units")
    fits = good.to_astropy()
    assert fits["x"].unit == fits["x_std"].unit == fits["sigma"].unit == units.pix
    for name in ("flux", "flux_std", "background", "background_std"):
        assert fits[name].unit == units.electron
    assert fits["flux"].to_value(units.electron).tolist() == good.flux.tolist()
    assert fits.meta["origin"] == "center"
    with pytest.raises(ValueError, match="with a camera, brightnesses are in electrons"):
        good.to_astropy(image_unit="adu")
    counts = dataclasses.replace(good, flux_unit=None)
    assert getattr(counts.to_astropy()["flux"], "unit", None) is None
    assert counts.to_astropy(image_unit=units.adu)["flux_std"].unit == units.adu
    measured = measurements.to_astropy(image_unit="adu")
    assert measured["raw_mass"].unit == measured["background"].unit == units.adu
    assert (measured["area"].unit, measured["angle"].unit) == (units.pix**2, units.rad)
    assert table(COORDS).to_astropy(image_unit="adu")["value"].unit == units.adu
    calibrated = fits_table(z=np.arange(3.0), z_std=np.ones(3)).to_astropy()
    assert getattr(calibrated["z"], "unit", None) is None


# --- concatenation


def test_tables_are_joined(wrap):
    first, second = table(COORDS[:3], wrap=wrap), table(COORDS[3:], wrap=wrap)
    joined = npsubpix.Peaks.concatenate([first, second], frame=[4, 7])
    np.testing.assert_array_equal(np.asarray(joined.coords), COORDS)
    assert np.asarray(joined.frame).tolist() == [4, 4, 4, 7]
    assert type(joined.coords) is type(first.coords) is type(joined.frame)
    assert npsubpix.Peaks.concatenate(iter([first])).frame is None


def test_fits_are_joined_with_all_their_columns(good):
    joined = npsubpix.Fits.concatenate([good, good[:1]])
    assert joined.flux.tolist() == [*good.flux.tolist(), good.flux[0]]
    assert joined.frame.tolist() == [1, 0, 1]
    assert (joined.image_shape, joined.flux_unit, joined.covariance) == ((30, 40), "electron", None)
    other = dataclasses.replace(good, image_shape=(9, 9))
    assert npsubpix.Fits.concatenate([good, other]).image_shape is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"flux_unit": None}, "fluxes of one unit"),
        ({"frame": None}, "the same columns, got rows of shapes .* for frame"),
        ({"sigma": np.ones((2, 2)), "sigma_std": np.ones((2, 2))}, "the same columns, got rows of shapes .* for sigma"),
    ],
)
def test_tables_that_do_not_match_are_refused(good, changes, reason):
    with pytest.raises(ValueError, match=reason):
        npsubpix.Fits.concatenate([good, dataclasses.replace(good, **changes)])


def test_misuse_of_concatenate(good):
    with pytest.raises(ValueError, match="at least one table"):
        npsubpix.Fits.concatenate([])
    with pytest.raises(TypeError, match="tables must be Peaks, got Fits"):
        npsubpix.Peaks.concatenate([good])
    with pytest.raises(ValueError, match="one item per table"):
        npsubpix.Peaks.concatenate([table(COORDS)], frame=[1, 2])
    with pytest.raises(ValueError, match="frames of their own"):
        npsubpix.Peaks.concatenate([table(COORDS, FRAME)], frame=[1])
