"""``npsubpix locate`` on movies: parts of them, workers, other units, and runs that are stopped and go on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import npsubpix
from npsubpix._arrays.options import check_memory
from npsubpix.io import read_table
from tests.test_cli import COMMAND, fails, on_a_terminal, run, spots, table_of

pytest.importorskip("rich")

OPTIONS = ("--threshold", 10, "--quiet")


@pytest.fixture
def movie(tmp_path):
    path = tmp_path / "movie.npy"
    places = [[(10, 20 + k % 9), (30, 35 - k % 7)] for k in range(20)]
    np.save(path, np.stack([spots((40, 50), place) for place in places]).astype(np.float32))
    return path


def numbers(path, *names):
    columns, _ = read_table(path)
    return [columns[name] for name in names]


# --- what is searched


def test_a_frame_larger_than_the_memory_is_searched_in_tiles(tmp_path):
    """It was refused, though Python searched it; and rows are the same."""
    image = tmp_path / "mosaic.npy"
    places = [(20 + 37 * k % 260, 25 + 53 * k % 340) for k in range(24)]
    np.save(image, spots((300, 390), places).astype(np.float32))
    bad, level = np.zeros((1, 300, 390), np.uint8), np.random.default_rng(0).uniform(-1, 1, (300, 390))
    bad[0, :, 100:140] = 255
    np.save(tmp_path / "bad.npy", bad)
    np.save(tmp_path / "level.npy", level)
    fit = "--fit", "--min-distance", 9
    maps = "--mask", tmp_path / "bad.npy", "--level", tmp_path / "level.npy", "--sigma", 1.0
    detect = "--detect", "dog", "--detect-sigma", 1
    for options in ((), detect, ("--background", 40, "--refine", "centroid"), fit, maps, (*maps, "--roi", "9:,9:")):
        tables = []
        for memory in ("1GiB", "1200 kB"):
            run("locate", image, *OPTIONS, *options, "--max-memory", memory, "-o", tmp_path / "a.csv")
            tables.append((tmp_path / "a.csv").read_text())
            assert json.loads((tmp_path / "a.csv.json").read_text())["options"]["max_memory"] == check_memory(memory)
        assert tables[0] == tables[1]
        assert len(tables[0].splitlines()) > 10


def test_a_region_is_searched_and_positions_are_those_in_the_frame(movie, tmp_path):
    run("locate", movie, *OPTIONS, "-o", tmp_path / "all.csv")
    run("locate", movie, *OPTIONS, "--roi", "4:20,:", "-o", tmp_path / "part.csv")
    (y, x), (part_y, part_x) = (numbers(tmp_path / f"{name}.csv", "y", "x") for name in ("all", "part"))
    assert part_y.tolist() == y[y < 20].tolist()
    assert part_x.tolist() == x[y < 20].tolist()
    assert table_of(tmp_path / "part.csv")[1]["options"]["roi"] == [[4, 20], [None, None]]
    assert "roi must have a slice per axis of a frame" in fails("locate", movie, "--quiet", "--roi", "90:99,:")


def test_a_mask_of_a_region_is_that_part_of_it(movie, tmp_path):
    for shape in ((40, 50), (20, 40, 50)):
        mask = np.zeros(shape, bool)
        mask[..., 25:, :] = True
        np.save(tmp_path / "mask.npy", mask)
        run("locate", movie, *OPTIONS, "--mask", tmp_path / "mask.npy", "--roi", "2:,3:", "-o", tmp_path / "a.csv")
        (y,) = numbers(tmp_path / "a.csv", "y")
        assert len(y) == 20
        assert y.max() < 25


def test_the_axis_of_frames_is_chosen(movie, tmp_path):
    np.save(tmp_path / "other.npy", np.moveaxis(np.load(movie), 0, 1))
    run("locate", movie, *OPTIONS, "-o", tmp_path / "a.csv")
    run("locate", tmp_path / "other.npy", *OPTIONS, "--axes", "YAX", "--frames", "a", "-o", tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert "none is called 'q'" in fails("locate", movie, "--frames", "q")


@pytest.mark.exhaustive
def test_workers_find_the_same(movie, tmp_path):
    for name, extra in (("one", ()), ("two", ("--workers", 2))):
        done = subprocess.run(
            [*COMMAND, *map(str, ("locate", movie, *OPTIONS, *extra, "-o", tmp_path / f"{name}.csv"))],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


# --- what is written


def test_positions_in_micrometres_and_nanometres(movie, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tiff = tmp_path / "a.tif"
    metadata = {"axes": "TYX", "unit": "um", "finterval": 0.5}
    tifffile.imwrite(tiff, np.load(movie), imagej=True, resolution=(10, 8), metadata=metadata)
    table = tmp_path / "a.csv"
    run("locate", tiff, *OPTIONS, "--sigma", 2, "--units", "um", "-o", table)
    columns, about = read_table(table)
    assert list(columns)[:9] == ["frame", "y", "x", "y_std", "x_std", "y_um", "x_um", "y_um_std", "x_um_std"]
    for axis, size in (("y", 0.125), ("x", 0.1)):
        np.testing.assert_allclose(columns[f"{axis}_um"], columns[axis] * size, rtol=1e-12)
        np.testing.assert_allclose(columns[f"{axis}_um_std"], columns[f"{axis}_std"] * size, rtol=1e-12)
    assert about["pixel_size"]["x"] == [pytest.approx(0.1), "µm"]
    assert about["time_step"][0] == 0.5
    assert about["shape"] == {"t": 20, "y": 40, "x": 50}
    run("locate", movie, *OPTIONS, "--units", "nm", "--pixel-size", "125,100", "-o", table)
    columns, about = read_table(table)
    np.testing.assert_allclose(columns["y_nm"], columns["y"] * 125)
    assert about["pixel_size"] == {"y": [125.0, "nm"], "x": [100.0, "nm"]}
    line = fails("locate", movie, "--units", "um")
    assert line.endswith(
        "movie.npy: the size of a pixel along y is needed, and the image does not say it; --pixel-size says it"
    )


def test_a_volume_has_lengths_along_three_axes(movie, tmp_path):
    sizes = ("--units", "um", "--pixel-size", "300,100,110")
    run("locate", movie, *OPTIONS, "--volume", *sizes, "-o", tmp_path / "a.csv")
    columns, _ = read_table(tmp_path / "a.csv")
    for axis, size in (("z", 0.3), ("y", 0.1), ("x", 0.11)):
        np.testing.assert_allclose(columns[f"{axis}_um"], columns[axis] * size, rtol=1e-12)
    assert "--pixel-size must be one number or 3 of them" in fails("locate", movie, "--volume", *sizes[:-1], "3,4")


def test_units_are_in_the_files(movie, tmp_path):
    for package in ("astropy", "pyarrow"):
        pytest.importorskip(package)
    import astropy.table
    import pyarrow.parquet

    args = ("--units", "um", "--pixel-size", 100)
    run("locate", movie, *OPTIONS, *args, "-o", tmp_path / "a.fits", "-o", tmp_path / "a.ecsv")
    for name in ("a.fits", "a.ecsv"):
        table = astropy.table.QTable.read(tmp_path / name)
        assert (str(table["x"].unit), str(table["x_um"].unit)) == ("pix", "um")
    run(
        "locate",
        movie,
        *OPTIONS,
        *args,
        "-o",
        tmp_path / "a.csv",
        "-o",
        tmp_path / "a.parquet",
        "-o",
        tmp_path / "a.h5",
    )
    run("locate", movie, *OPTIONS, *args, "-o", tmp_path / "set")
    for name in ("a.fits", "a.ecsv", "a.csv", "a.parquet", "a.h5", "set"):
        about = {k: v if isinstance(v, str) else json.dumps(v) for k, v in read_table(tmp_path / name)[1].items()}
        assert (about["npsubpix_version"], about["origin"], about["axes"]) == (npsubpix.__version__, "center", "y, x")
        assert json.loads(about["shape"]) == {"t": 20, "y": 40, "x": 50}
        assert json.loads(about["pixel_size"]) == {"y": [100.0, "nm"], "x": [100.0, "nm"]}
        assert json.loads(about["options"])["threshold_abs"] == 10
    schema = pyarrow.parquet.read_schema(tmp_path / "set" / "_common_metadata")
    assert schema.field("x_um").metadata == {b"unit": b"um"}
    assert schema.metadata[b"axes"] == b"y, x"


def test_places_on_the_sky(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    import astropy.coordinates
    import astropy.wcs

    wcs = astropy.wcs.WCS(naxis=2)
    wcs.wcs.ctype = "GLON-TAN", "GLAT-TAN"
    wcs.wcs.crpix, wcs.wcs.cdelt, wcs.wcs.crval = (25, 20), (-1e-4, 1e-4), (120.0, 45.0)
    image = spots((40, 50), [(10.3, 20.6), (30.1, 35.2)])
    fits.writeto(tmp_path / "a.fits", image, wcs.to_header())
    run("locate", tmp_path / "a.fits", *OPTIONS, "--origin", "fits", "-o", tmp_path / "stars.fits")
    columns, about = read_table(tmp_path / "stars.fits")
    longitude, latitude = wcs.all_pix2world(columns["x"], columns["y"], 1)
    place = astropy.coordinates.SkyCoord(longitude, latitude, unit="deg", frame="galactic").icrs
    np.testing.assert_allclose(columns["ra"], place.ra.deg, rtol=1e-12)
    np.testing.assert_allclose(columns["dec"], place.dec.deg, rtol=1e-12)
    assert about["ra_dec"] == "ICRS, in degrees"
    np.save(tmp_path / "b.npy", image)
    run("locate", tmp_path / "b.npy", tmp_path / "a.fits", *OPTIONS, "-o", tmp_path / "both.csv")
    (ra,) = numbers(tmp_path / "both.csv", "ra")
    assert np.isnan(ra).tolist() == [True, True, False, False]


def test_each_exposure_of_a_folder_has_its_own_place_on_the_sky(tmp_path):
    """Rows of dithered exposures have the world coordinates of their files, from the command and from Python."""
    fits = pytest.importorskip("astropy.io.fits")
    import astropy.wcs

    wcs = astropy.wcs.WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crpix, wcs.wcs.cdelt = (25, 20), (-1e-4, 1e-4)
    (tmp_path / "night").mkdir()
    for k in range(3):
        wcs.wcs.crval = 10.0 + 0.1 * k, 20.0
        header = fits.Header() if k == 2 else wcs.to_header()
        fits.writeto(tmp_path / "night" / f"e{k}.fits", spots((40, 50), [(10, 20), (30, 35)]), header)
    run("locate", tmp_path / "night", *OPTIONS, "-o", tmp_path / "a.csv")
    npsubpix.locate(tmp_path / "night", threshold_abs=10, output=tmp_path / "b.csv")
    for name in ("a.csv", "b.csv"):
        columns, _ = read_table(tmp_path / name)
        for k in range(3):
            rows = columns["frame"] == k
            wcs.wcs.crval = 10.0 + 0.1 * k, 20.0
            ra, dec = wcs.all_pix2world(columns["x"][rows], columns["y"][rows], 0)
            assert rows.sum() == 2
            np.testing.assert_allclose(columns["ra"][rows], np.nan if k == 2 else ra, rtol=1e-12)
            np.testing.assert_allclose(columns["dec"][rows], np.nan if k == 2 else dec, rtol=1e-12)


def test_a_resume_says_where_it_begins(movie, tmp_path):
    """A file that is whole has no parts, and is made again; a dataset keeps them."""
    for output, words in (
        ("a.csv", "is found to resume: starts anew"),
        ("a", "frames are safe already: goes on"),
    ):
        command = "locate", movie, "--threshold", 10, "-o", tmp_path / output
        run(*command, "--quiet")
        rows = read_table(tmp_path / output)[0]["y"]
        assert words in " ".join(run(*command, "--resume").stderr.split())
        assert np.array_equal(read_table(tmp_path / output)[0]["y"], rows)


def test_a_dataset_is_a_table(movie, tmp_path):
    pandas = pytest.importorskip("pandas")
    run("locate", movie, *OPTIONS, "-o", tmp_path / "a.csv")
    run("locate", movie, *OPTIONS, "-o", tmp_path / "set")
    found, expected = pandas.read_parquet(tmp_path / "set"), pandas.read_csv(tmp_path / "a.csv")
    pandas.testing.assert_frame_equal(found, expected, check_dtype=False)
    assert "threshold_abs" in read_table(tmp_path / "set")[1]["options"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cat.txt").write_text("")
    assert "is a folder with files of others" in fails("locate", movie, *OPTIONS, "-o", tmp_path / "other")


# --- what is stopped


def stopped(movie, output, *, blocks, length=3, extra=()):
    """Search blocks of a few frames in a process that is killed as soon as a number of them is written."""
    code = textwrap.dedent(
        """
        import os, signal, sys
        import npsubpix.movies.plans as plans
        from npsubpix.movies.outputs import journal
        from npsubpix.cli.app import main

        blocks, plans._PIXELS = int(sys.argv.pop(1)), int(sys.argv.pop(1)) * 2000
        write, count = journal.Journal.write, 0
        def writing(*args):
            global count
            if count == blocks:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            write(*args)
        journal.Journal.write = writing
        main()
        """
    )
    command = [sys.executable, "-c", code, blocks, length, "locate", movie, *OPTIONS, *extra, "-o", output]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("ending", [".csv", ".parquet", ".h5", ".ecsv", ".fits", ""])
def test_a_run_that_was_killed_goes_on_and_has_the_rows_of_one_that_was_not(movie, tmp_path, ending):
    """At every block, and with other lengths of blocks afterwards."""
    run("locate", movie, *OPTIONS, "-o", tmp_path / f"whole{ending}")
    expected, about = read_table(tmp_path / f"whole{ending}")
    for blocks in (0, 1, 4, 6):
        table = tmp_path / f"a{blocks}{ending}"
        assert stopped(movie, table, blocks=blocks).returncode == -signal.SIGKILL
        if ending:
            assert not table.exists()
            parts = list(tmp_path.glob(f"a{blocks}{ending}.parts/part-*"))
            assert len(parts) == blocks
        done = stopped(movie, table, blocks=99, length=4, extra=["--resume"])
        assert (done.returncode, done.stderr) == (0, "")
        columns, again = read_table(table)
        assert list(columns) == list(expected)
        for name, column in expected.items():
            np.testing.assert_array_equal(columns[name], column)
        assert {**again, "created": 0} == {**about, "created": 0}
        if ending == ".csv":
            assert table.read_bytes() == (tmp_path / f"whole{ending}").read_bytes()
        assert not list(tmp_path.glob("*.parts"))


@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_several_images_go_on_in_the_middle_of_one(movie, tmp_path):
    np.save(tmp_path / "other.npy", np.load(movie)[::-1])
    images = [movie, tmp_path / "other.npy"]
    run("locate", *images, *OPTIONS, "-o", tmp_path / "whole.csv")
    command = ("-o", tmp_path / "b.csv", images[1])
    assert stopped(movie, tmp_path / "a.csv", blocks=9, extra=command).returncode == -signal.SIGKILL
    assert stopped(movie, tmp_path / "a.csv", blocks=99, extra=(*command, "--resume")).returncode == 0
    for name in ("a.csv", "b.csv"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.exhaustive
def test_a_resume_of_something_else_is_refused_and_says_of_what(movie, tmp_path):
    table = tmp_path / "a.csv"
    assert stopped(movie, table, blocks=2).returncode == -signal.SIGKILL
    resume = ("locate", movie, "--quiet", "-o", table, "--resume")
    line = fails(*resume, "--threshold", 12)
    assert "a.csv: cannot be resumed: options.threshold_abs is 12.0, and was 10.0" in line
    os.utime(movie, ns=(1, 1))
    line = fails(*resume, "--threshold", 10)
    assert "a.csv: cannot be resumed: images[0].files[0].mtime_ns is 1, and was" in line
    anew = run("locate", movie, "--quiet", "-o", table, "--threshold", 10)
    assert anew.stderr == "npsubpix: note: 6 frames of an earlier run are replaced\n"


def test_a_movie_that_breaks_leaves_its_rows_and_a_resume_tries_again(tmp_path):
    """Rows up to the broken frame are in the table, and a run with --resume begins with that frame."""
    tifffile = pytest.importorskip("tifffile")
    frames = np.stack([spots((40, 50), [(10, 20 + k)]) for k in range(4)]).astype(np.float32)
    path, table = tmp_path / "a.tif", tmp_path / "a.csv"
    tifffile.imwrite(path, frames, compression="zlib", photometric="minisblack")
    good = path.read_bytes()
    data = bytearray(good)
    with tifffile.TiffFile(path) as file:
        start = file.pages[2].dataoffsets[0]
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    about = path.stat()
    line = fails("locate", path, *OPTIONS, "-o", table)
    assert "frame 2 of 4 cannot be read" in line
    assert numbers(table, "frame")[0].tolist() == [0, 1]
    path.write_bytes(good)
    os.utime(path, ns=(about.st_mtime_ns, about.st_mtime_ns))  # as if the network were back
    run("locate", path, *OPTIONS, "-o", table, "--resume", "--max-memory", "1MB")
    assert numbers(table, "frame")[0].tolist() == [0, 1, 2, 3]
    assert not (tmp_path / "a.csv.parts").exists()


@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_the_bar_has_a_rate_and_the_time_left(movie):
    shown = on_a_terminal("locate", movie, "--max-memory", 5e-5)  # GiB: a few frames at a time
    assert "100%" in shown
    assert re.search(r"[0-9] frames/s", shown)
    assert re.search(r"\d:\d\d", shown)
    assert "movie.npy 20/20" in shown


@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_is_flat_in_frames(tmp_path):
    """Twice the frames, and the rows in them, take no more memory, once all blocks at work are full."""
    code = (
        "from npsubpix.cli.app import app\n"
        "try:\n    app()\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    peaks = []
    for frames in (20_000, 40_000):
        path = tmp_path / f"{frames}.npy"
        movie = np.lib.format.open_memmap(path, "w+", np.uint16, (frames, 64, 64))
        movie[:, 10::16, 10::16] = 200
        movie.flush()
        del movie
        options = map(str, ("locate", path, "--threshold", 100, "--quiet", "-o", tmp_path / f"{frames}.csv"))
        done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert [len(numbers(tmp_path / f"{frames}.csv", "x")[0]) / frames for frames in (20_000, 40_000)] == [16, 16]
    assert peaks[1] - peaks[0] < 30_000  # KiB: the movie takes 160 MB, its rows 50 MB


def test_a_table_of_a_movie_is_that_of_python(movie, tmp_path):
    run("locate", movie, *OPTIONS, "-o", tmp_path / "a.csv")
    peaks = npsubpix.locate(np.load(movie), threshold_abs=10)
    peaks.save(tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
