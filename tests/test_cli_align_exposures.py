"""The command ``npsubpix align`` on exposures and movies: what is aligned to what, applied, coadded and written."""

from __future__ import annotations

import errno
import math

import numpy as np
import pytest

import npsubpix
from npsubpix import plotting
from tests.test_alignment_fit import field, stars
from tests.test_cli import fails, run, table_of

fits = pytest.importorskip("astropy.io.fits")
tifffile = pytest.importorskip("tifffile")

SHIFTS = ((0.0, 0.0), (0.5, -0.3), (1.2, 0.9), (-0.8, 0.4))


@pytest.fixture
def scene(rng):
    return stars(rng, 60, 64)


@pytest.fixture
def movie(tmp_path, rng, scene):
    """A movie in ImageJ's format, with the size of its pixels and its interval."""
    frames = np.array([field(rng, scene, 64, shift) for shift in SHIFTS], np.float32)
    path = tmp_path / "movie.tif"
    metadata = {"axes": "TYX", "finterval": 0.25, "unit": "um"}
    tifffile.imwrite(path, frames, imagej=True, resolution=(1 / 0.1, 1 / 0.2), metadata=metadata)
    return path


@pytest.fixture
def exposures(tmp_path, rng, scene):
    """FITS files with world coordinates, as of a dither, with cosmic rays and a region without data."""
    paths = []
    for k, shift in enumerate(SHIFTS):
        pixels = field(rng, scene, 64, shift).astype(np.float32)
        pixels[tuple(rng.integers(6, 58, (2, 3)))] += 400
        if k == 1:
            pixels[50:, 50:] = np.nan
        header = fits.Header({"OBJECT": "field", "EXPTIME": 30.0, "BUNIT": "adu", "CTYPE1": "RA---TAN"})
        header.update({"CTYPE2": "DEC--TAN", "CRVAL1": 202.4 + k, "CRVAL2": 47.2, "CRPIX1": 32.0, "CRPIX2": 32.0})
        header.update({"CDELT1": -2e-4, "CDELT2": 2e-4})
        paths.append(tmp_path / f"e{k}.fits")
        fits.PrimaryHDU(pixels, header).writeto(paths[-1])
    return paths


def shifts_of(table):
    rows, _ = table_of(table)
    return np.array([[float(row["dy"]), float(row["dx"])] for row in rows])


@pytest.mark.parametrize("reference", ["first", "previous", "mean"])
def test_references(movie, tmp_path, reference):
    run("align", movie, movie, "--reference", reference, "--table", tmp_path / "t.csv", "-q")
    shifts = shifts_of(tmp_path / "t.csv")
    np.testing.assert_allclose(shifts - shifts[0], SHIFTS, atol=0.05)
    assert table_of(tmp_path / "t.csv")[1]["reference"] == reference


def test_transforms_are_applied_to_another_channel(movie, tmp_path):
    """They are those of the table, whatever the other file shows."""
    run("align", movie, movie, "--table", tmp_path / "t.csv", "-q")
    other = tmp_path / "other.tif"
    ramp = np.tile(np.arange(64.0, dtype=np.float32), (4, 64, 1))
    tifffile.imwrite(other, ramp, photometric="minisblack")
    out = tmp_path / "o.tif"
    run("align", other, other, "--apply", tmp_path / "t.csv", "-o", out, "--table", tmp_path / "u.csv", "-q")
    shifts = shifts_of(tmp_path / "t.csv")
    np.testing.assert_allclose(shifts_of(tmp_path / "u.csv"), shifts, atol=1e-9)
    rows = [table_of(tmp_path / name)[0] for name in ("t.csv", "u.csv")]
    np.testing.assert_allclose(*[[float(row["dy_error"]) for row in table] for table in rows])
    for page, shift in zip(tifffile.imread(out), shifts, strict=True):
        np.testing.assert_allclose(page[20:40, 20:40], ramp[0, 20:40, 20:40] + shift[1], atol=1e-3)


def test_a_drift_is_applied(movie, tmp_path):
    """A table of drift has a frame, and the displacement of each."""
    lines = ["frame,y,x,y_std,x_std", *(f"{k},{y},{x},0,0" for k, (y, x) in enumerate(SHIFTS))]
    (tmp_path / "drift.csv").write_text("\n".join(lines) + "\n")
    run("align", movie, movie, "--apply", tmp_path / "drift.csv", "-o", tmp_path / "o.tif", "-q")
    pages = tifffile.imread(tmp_path / "o.tif")[:, 8:-8, 8:-8]
    assert np.abs(pages - pages[0]).max() < 0.1 * np.abs(pages[0]).max()


def test_tables_that_cannot_be_applied(movie, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("frame,y,x\n0,0,0\n1,0,0\n")
    assert "has 2 rows; needed is one for each of the 4 frames" in fails("align", movie, movie, "--apply", table, "-q")
    table.write_text("frame,y,x\n0,0,0\n1,0,0\n1,0,0\n7,0,0\n")
    assert "frames must be 0 to 3" in fails("align", movie, movie, "--apply", table, "-q")
    table.write_text("a,b\n1,2\n")
    assert "has no transforms; needed are columns m00 to m22" in fails("align", movie, movie, "--apply", table, "-q")
    assert "none.csv" in fails("align", movie, movie, "--apply", tmp_path / "none.csv", "-q")


def test_tiff_keeps_axes_sizes_and_interval(movie, tmp_path):
    run("align", movie, movie, "-o", tmp_path / "o.tif", "-q")
    with npsubpix.open_image(tmp_path / "o.tif") as source:
        assert source.axes == ("t", "y", "x")
        assert source.pixel_size["y"] == (pytest.approx(0.2), "µm")
        assert source.pixel_size["x"] == (pytest.approx(0.1), "µm")
        assert source.time_step == (pytest.approx(0.25), "s")


def test_ome_tiff_stays_ome_tiff_with_its_axes_sizes_and_interval(movie, tmp_path):
    path, output = tmp_path / "movie.ome.tif", tmp_path / "o.ome.tif"
    sizes = {"PhysicalSizeY": 200.0, "PhysicalSizeYUnit": "nm", "PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm"}
    metadata = {"axes": "TYX", **sizes, "TimeIncrement": 250.0, "TimeIncrementUnit": "ms"}
    tifffile.imwrite(path, tifffile.imread(movie), ome=True, metadata=metadata)
    run("align", path, path, "-o", output, "-o", tmp_path / "o.tif", "-q")
    run("align", movie, movie, "-o", tmp_path / "imagej.tif", "-q")
    for name in ("o.ome.tif", "o.tif"):  # whatever the name, the format is that of the movie
        with tifffile.TiffFile(tmp_path / name) as file:
            assert file.is_ome
            assert (file.series[0].axes, file.series[0].shape) == ("TYX", (4, 64, 64))
        with npsubpix.open_image(tmp_path / name) as source:
            assert source.axes == ("t", "y", "x")
            assert source.pixel_size["y"] == (pytest.approx(0.2), "µm")
            assert source.pixel_size["x"] == (pytest.approx(0.1), "µm")
            assert source.time_step == (pytest.approx(0.25), "s")
    np.testing.assert_array_equal(tifffile.imread(output), tifffile.imread(tmp_path / "imagej.tif"))


def test_ome_zarr_has_the_pixels_of_tiff(movie, tmp_path):
    zarr = pytest.importorskip("zarr")
    store = tmp_path / "o.zarr"
    run("align", movie, movie, "-o", tmp_path / "o.tif", "-o", store, "-q")
    group = zarr.open_group(str(store), mode="r")
    np.testing.assert_array_equal(group["0"][:], tifffile.imread(tmp_path / "o.tif"))
    (image,) = group.attrs["multiscales"]
    assert image["version"] == "0.4"
    assert [axis["name"] for axis in image["axes"]] == ["t", "y", "x"]
    assert [axis.get("unit") for axis in image["axes"]] == ["second", "micrometer", "micrometer"]
    (level,) = image["datasets"]
    np.testing.assert_allclose(level["coordinateTransformations"][0]["scale"], [0.25, 0.2, 0.1])
    assert "exists, and a store is not replaced" in fails("align", movie, movie, "-o", store, code=2)
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("method", ["mean", "median", "clip"])
def test_exposures_are_coadded_with_the_header_of_the_reference(exposures, tmp_path, rng, scene, method):
    out = tmp_path / "deep.fits"
    said = run("align", exposures[1], *exposures, "--stars", "--stack", method, "-o", out).stdout
    assert f"{method} of 4 of 4 exposures" in " ".join(said.split())
    with fits.open(out) as file:
        names = [hdu.name for hdu in file]
        assert names == ["PRIMARY", "COVERAGE", "WEIGHT"] + ["REJECTED"] * (method == "clip")
        header, image, coverage = file[0].header, file[0].data, file["COVERAGE"].data
        assert (header["OBJECT"], header["EXPTIME"], header["BUNIT"]) == ("field", 30.0, "adu")
        assert header["CRVAL1"] == pytest.approx(203.4)
        assert (header["NCOMBINE"], header["COMBINE"], header["IMCMB004"]) == (4, method, "e3.fits")
        assert file["COVERAGE"].header["CRVAL1"] == header["CRVAL1"]
        assert "BUNIT" not in file["COVERAGE"].header
    assert coverage[55, 55] == 3  # beside the region without data
    assert coverage[30, 20] >= 3
    reference = fits.getdata(exposures[1])
    good = np.s_[10:45, 10:45]
    difference = np.abs(image - reference)[good]
    assert np.median(difference) < 1.2
    # cosmic rays stay in a mean, and in none of the others
    clean = field(rng, scene, 64, SHIFTS[1], noise=0.0)
    assert (np.nanmax((image - clean)[8:48, 8:48]) > 40) == (method == "mean")


def test_a_reference_that_is_no_exposure_is_said(exposures, tmp_path):
    out = tmp_path / "deep.fits"
    said = run("align", exposures[0], *exposures[1:], "--stack", "mean", "-o", out, "--stars").stdout
    assert "e0.fits itself is not among them" in " ".join(said.split())
    (tmp_path / "out").mkdir()
    out.unlink()
    for images in (exposures[0].parent, exposures[0].with_name("e*.fits")):  # which it is among
        said = run(
            "align", exposures[0], images, "--stack", "mean", "-o", tmp_path / "out" / "deep.fits", "--stars"
        ).stdout
        assert "itself is not among" not in " ".join(said.split())


def test_one_bad_exposure_is_flagged_and_left_out(exposures, tmp_path, rng):
    """And one that cannot be read is named; the others are added."""
    fits.writeto(exposures[2], rng.normal(0, 1, (64, 64)).astype(np.float32), overwrite=True)
    exposures[3].write_bytes(exposures[3].read_bytes()[:5000])
    out = tmp_path / "deep.fits"
    result = run("align", exposures[0], *exposures, "--stars", "--stack", "mean", "-o", out, code=1)
    assert "e3.fits" in result.stderr
    assert "mean of 2 of 3 exposures" in " ".join(result.stdout.split())
    assert fits.getheader(out)["IMCMB002"] == "e1.fits"
    assert "IMCMB003" not in fits.getheader(out)


def test_exposures_of_several_shapes(exposures, tmp_path):
    pixels, header = fits.getdata(exposures[1], header=True)
    fits.writeto(exposures[1], pixels[:48, :56], header, overwrite=True)
    out = tmp_path / "deep.fits"
    run("align", exposures[0], *exposures, "--stars", "--stack", "median", "-o", out, "-q")
    assert fits.getdata(out).shape == (64, 64)
    assert fits.getdata(out, "COVERAGE")[60, 30] == 3


def test_no_exposure_that_can_be_added(exposures, tmp_path, rng):
    for path in exposures[1:]:
        fits.writeto(path, rng.normal(0, 1, (64, 64)).astype(np.float32), overwrite=True)
    out = tmp_path / "deep.fits"
    message = run("align", exposures[0], *exposures[1:], "--stack", "mean", "-o", out, code=1).stderr
    assert "not written: no exposure was aligned" in message
    assert not out.exists()


def test_a_full_disk_leaves_the_old_file_and_says_so(exposures, movie, tmp_path, monkeypatch):
    """Of all formats, and the table is written all the same."""
    zarr = pytest.importorskip("zarr")

    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "deep.fits"
    out.write_bytes(b"old")
    monkeypatch.setattr(fits.HDUList, "writeto", full)
    command = "align", exposures[0], *exposures, "--stars", "-q", "--table", tmp_path / "t.csv"
    assert "deep.fits: cannot be written: No space left on device" in fails(*command, "--stack", "mean", "-o", out)
    assert out.read_bytes() == b"old"
    assert len(table_of(tmp_path / "t.csv")[0]) == 4
    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    store = tmp_path / "o.zarr"
    assert "o.zarr: cannot be written: No space left on device" in fails("align", movie, movie, "-q", "-o", store)
    assert not store.exists()
    assert not list(tmp_path.glob(".*"))


def test_stars_at_any_angle(tmp_path, rng):
    """Exposures of a telescope that was turned around."""
    places, heights = stars(rng, 150, 160, 2.0)
    to = np.array([[1, 0, 79.5], [0, 1, 79.5], [0, 0, 1]])
    paths = []
    for k, degrees in enumerate((0, 180, 63)):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        matrix = to @ np.array([[c, -s, 2.0 * k], [s, c, -k], [0, 0, 1]]) @ np.linalg.inv(to)
        amplitude = heights * 2 * math.pi * 1.5**2
        spots = npsubpix.render_spots(
            npsubpix.transform_points(matrix, places), (160, 160), std=1.5, amplitude=amplitude
        )
        paths.append(tmp_path / f"e{k}.npy")
        np.save(paths[-1], (spots + rng.normal(0, 1, (160, 160))).astype(np.float32))
    run("align", paths[0], *paths, "--stars", "--model", "euclidean", "--table", tmp_path / "t.csv", "-q")
    rows, metadata = table_of(tmp_path / "t.csv")
    turns = np.exp(1j * np.radians([float(row["angle"]) for row in rows]))
    np.testing.assert_allclose(turns, np.exp(1j * np.radians([0, 180, 63])), atol=1e-3)
    np.testing.assert_allclose(shifts_of(tmp_path / "t.csv"), [[0, 0], [2, -1], [4, -2]], atol=0.1)
    assert metadata["options"]["init"] == "stars"


def test_fits_images_are_drawn_upwards(exposures, tmp_path, monkeypatch):
    drawn = []
    draw = plotting.draw_alignment
    monkeypatch.setattr(plotting, "draw_alignment", lambda *a, **options: drawn.append(options) or draw(*a, **options))
    command = "align", exposures[0], exposures[2], "--stars", "-q", "--plot", tmp_path / "p.png"
    run(*command)
    run(*command, "--y-down")
    assert [options["y_up"] for options in drawn] == [True, False]
    image = np.arange(12.0).reshape(3, 4)
    for up in (False, True):
        figure = plotting.draw_alignment(image, image, np.eye(3), y_up=up)
        bottom, top = figure.axes[0].get_ylim()
        assert (top > bottom) == up
