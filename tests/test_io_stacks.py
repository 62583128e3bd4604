"""Aligned stacks: what ImageJ, Fiji and other programs read of the axes, the pixel size and the interval."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix.io import _stacks
from npsubpix.io._stacks import calibration_of, write_stack
from tests.test_cli import fails, run

tifffile = pytest.importorskip("tifffile")

FRAMES = np.arange(3 * 5 * 6, dtype=np.uint16).reshape(3, 5, 6)

#: How a movie is written, and what is known of it.
SOURCES = {
    "imagej": (
        {
            "imagej": True,
            "resolution": (1 / 0.1083, 1 / 0.2),
            "metadata": {"axes": "TYX", "unit": "\\u00B5m", "finterval": 0.25},
        },
        ("T", 0.2, 0.1083, "µm", None, 0.25),
    ),
    "imagej slices": (
        {"imagej": True, "resolution": (2.0, 4.0), "metadata": {"axes": "ZYX", "unit": "nm", "spacing": 300}},
        ("Z", 0.25, 0.5, "nm", 300.0, None),
    ),
    "ome": (
        {
            "ome": True,
            "metadata": {
                "axes": "TYX",
                "PhysicalSizeX": 108.3,
                "PhysicalSizeXUnit": "nm",
                "PhysicalSizeY": 0.2,
                "TimeIncrement": 250.0,
                "TimeIncrementUnit": "ms",
            },
        },
        ("T", 200.0, 108.3, "nm", None, 0.25),
    ),
    "ome slices": (
        {
            "ome": True,
            "metadata": {
                "axes": "ZYX",
                "PhysicalSizeX": 0.1,
                "PhysicalSizeY": 0.1,
                "PhysicalSizeZ": 300.0,
                "PhysicalSizeZUnit": "nm",
            },
        },
        ("Z", 0.1, 0.1, "µm", 0.3, None),
    ),
    "centimetres": ({"resolution": (1e4, 1e4), "resolutionunit": 3}, ("T", 1e-4, 1e-4, "cm", None, None)),
    "a screen": ({"resolution": (72, 72), "resolutionunit": 2}, ("T", None, None, "", None, None)),
    "nothing": ({"metadata": None}, ("T", None, None, "", None, None)),
}


def known(calibration):
    height, width = calibration.pixel or (None, None)
    return calibration.axis, height, width, calibration.unit, calibration.spacing, calibration.interval


def write(path, **form):
    tifffile.imwrite(path, FRAMES, photometric="minisblack", **form)
    return path


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("big", [False, True])
def test_axes_pixel_size_and_interval_are_kept(tmp_path, monkeypatch, name, big):
    """BigTIFF, which ImageJ's format is not, is OME-TIFF."""
    form, wanted = SOURCES[name]
    source = write(tmp_path / "a.tif", **form)
    calibration = calibration_of(source, [source])
    assert known(calibration) == pytest.approx(wanted)
    monkeypatch.setattr(_stacks, "LARGEST", 100 if big else _stacks.LARGEST)
    write_stack(tmp_path / "o.tif", iter(FRAMES), 3, (5, 6), calibration)
    with tifffile.TiffFile(tmp_path / "o.tif") as file:
        assert file.is_bigtiff is big
        assert (file.is_ome, file.is_imagej) == ((True, False) if big or "ome" in name else (False, True))
        assert file.series[0].axes == f"{wanted[0]}YX"
        assert file.asarray().dtype == np.float32
        np.testing.assert_array_equal(file.asarray(), FRAMES)
        if file.is_imagej:
            metadata = file.imagej_metadata
            assert metadata.get("unit") == {"µm": "\\u00B5m", "": None}.get(wanted[3], wanted[3])
            assert metadata.get("finterval") == wanted[5]
            assert metadata["frames" if wanted[0] == "T" else "slices"] == 3
    again = calibration_of(tmp_path / "o.tif", [tmp_path / "o.tif"])
    if wanted[1] is not None:
        assert known(again) == pytest.approx(wanted)


def test_one_page_has_two_axes(tmp_path):
    source = write(tmp_path / "a.tif", **SOURCES["imagej"][0])
    write_stack(tmp_path / "o.tif", iter(FRAMES[:1]), 1, (5, 6), calibration_of(source, [source]))
    assert tifffile.imread(tmp_path / "o.tif").shape == (5, 6)


@pytest.mark.parametrize("size", [1e-7, 0.1083, 108.3, 25400.0])
def test_every_size_of_pixels_is_kept(size):
    numerator, denominator = _stacks._per_unit(size)
    assert 0 < numerator < 2**32
    assert 0 < denominator < 2**32
    assert denominator / numerator == pytest.approx(size, rel=1e-9)


def test_pixels_are_those_of_the_fixed_image_and_steps_those_of_the_moving_ones(tmp_path):
    fixed = write(tmp_path / "f.tif", imagej=True, resolution=(10, 10), metadata={"axes": "TYX", "unit": "um"})
    moving = [
        write(
            tmp_path / f"{k}.tif", imagej=True, resolution=(1, 1), metadata={"axes": "ZYX", "unit": "nm", "spacing": z}
        )
        for k, z in enumerate((500, 500, 400))
    ]
    np.save(tmp_path / "plain.npy", FRAMES)
    assert known(calibration_of(fixed, moving[:2])) == pytest.approx(("Z", 0.1, 0.1, "µm", 0.5, None))
    assert known(calibration_of(fixed, moving)) == pytest.approx(("T", 0.1, 0.1, "µm", None, None))
    assert known(calibration_of(tmp_path / "plain.npy", moving[:1])) == pytest.approx(("Z", 1, 1, "nm", 500, None))
    assert known(calibration_of(fixed, moving[:1], axes="TYX")) == pytest.approx(("T", 0.1, 0.1, "µm", None, None))
    assert known(calibration_of(tmp_path / "plain.npy", [tmp_path / "plain.npy"])) == ("T", None, None, "", None, None)


def test_damaged_metadata_lose_no_frames(tmp_path):
    text = "<?xml version='1.0'?><OME xmlns='http://www.openmicroscopy.org/Schemas/OME/2016-06'><Image></OME>"
    source = write(tmp_path / "a.tif", description=text, metadata=None)
    assert known(calibration_of(source, [source])) == ("T", None, None, "", None, None)


def test_align_keeps_what_the_movie_says(tmp_path):
    spots = np.random.default_rng(0).uniform(0, 64, (60, 2))
    movie = np.stack([npsubpix.render_spots(spots + np.array([0.4, -0.2]) * k, (64, 72), std=2.0) for k in range(3)])
    form = {"imagej": True, "resolution": (10, 10), "metadata": {"axes": "TYX", "unit": "um", "finterval": 0.5}}
    tifffile.imwrite(tmp_path / "movie.tif", (1000 * movie).astype(np.float32), **form)
    run("align", tmp_path / "movie.tif", tmp_path / "movie.tif", "-o", tmp_path / "o.tif", "--quiet")
    with tifffile.TiffFile(tmp_path / "o.tif") as file:
        assert not file.is_bigtiff
        assert file.series[0].axes == "TYX"
        assert (file.imagej_metadata["unit"], file.imagej_metadata["finterval"]) == ("\\u00B5m", 0.5)
        assert file.pages.first.tags["XResolution"].value == (10, 1)
        assert np.isfinite(file.asarray()[:, 8:-8, 8:-8]).all()


def test_a_stack_that_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch):
    fixed = tmp_path / "f.npy"
    np.save(fixed, npsubpix.render_spots(np.random.default_rng(0).uniform(0, 40, (30, 2)), (40, 40), std=2.0))
    (tmp_path / "o.tif").write_text("old")

    def fail(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile.TiffWriter, "write", fail)
    assert "cannot be written: No space left" in fails("align", fixed, fixed, "-o", tmp_path / "o.tif")
    assert (tmp_path / "o.tif").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"f.npy", "o.tif"}
