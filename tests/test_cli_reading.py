"""The command line reads what is in files, and says what it took for what and what it left out."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from tests.test_cli import fails, run, spots

tifffile = pytest.importorskip("tifffile")


def rows_of(path):
    lines = path.read_text("utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


@pytest.fixture
def movie():
    """Three frames with two spots, of which one moves to the right by a pixel per frame."""
    return np.stack([spots((40, 50), [(10, 20 + k), (30, 35)]) for k in range(3)]).astype(np.float32)


def locate(path, *args, code=0):
    """Find spots, and return the rows of the table and the lines of standard error."""
    table = path.parent / "table.csv"
    result = run("locate", path, "--threshold", 10, "-o", table, *args, code=code)
    return rows_of(table), [line.removeprefix(f"npsubpix: {path}: ") for line in result.stderr.splitlines()]


def moving_spot(rows):
    return [round(float(row["x"])) for row in rows if round(float(row["y"])) == 10]


def test_a_movie_that_was_written_page_by_page_has_all_its_frames(tmp_path, movie):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for frame in movie:
            file.write(frame)
    rows, said = locate(tmp_path / "a.tif")
    assert moving_spot(rows) == [20, 21, 22]
    assert said == ["note: 3 × 40 × 50, axes not named, taken for 3 frames; --volume or --axes reads them otherwise"]
    assert locate(tmp_path / "a.tif", "--quiet")[1] == []


def test_a_series_is_chosen_and_the_others_are_spoken_of(tmp_path, movie):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(movie[0, :20])
        for frame in movie:
            file.write(frame)
    said = "note: series 0 (20 × 50 float32) is read; --series reads 1 (3 images of 40 × 50 float32)"
    assert locate(tmp_path / "a.tif", "--quiet")[1] == [said]
    rows, said = locate(tmp_path / "a.tif", "--series", 1, "--quiet")
    assert moving_spot(rows) == [20, 21, 22]
    assert said == []
    assert "there is no series 2" in fails("locate", tmp_path / "a.tif", "--series", 2)


def test_slices_and_times_are_taken_by_name(tmp_path, movie):
    """Five slices of which the middle one is brightest, at three times."""
    z = np.exp(-((np.arange(5) - 2) ** 2) / 2)[:, None, None]
    data = np.stack([z * frame for frame in movie], axis=1).astype(np.float32)  # z, t, y, x
    tifffile.imwrite(tmp_path / "a.tif", data, metadata={"axes": "ZTYX"}, photometric="minisblack")
    for volume in ([], ["--volume"]):
        rows, said = locate(tmp_path / "a.tif", *volume)
        assert said == ["note: axes ZTYX of 5 × 3 × 40 × 50 taken for 3 frames along T, each a volume"]
        assert [row["frame"] for row in rows] == ["0", "0", "1", "1", "2", "2"]
        assert moving_spot(rows) == [20, 21, 22]
        assert all(round(float(row["z"])) == 2 for row in rows)


def test_names_of_axes_are_overruled(tmp_path, movie):
    tifffile.imwrite(tmp_path / "a.tif", movie, imagej=True, metadata={"axes": "ZYX"}, photometric="minisblack")
    _, said = locate(tmp_path / "a.tif")
    assert "\nz,y,x,value," in "\n" + (tmp_path / "table.csv").read_text()
    assert said == ["note: axes ZYX of 3 × 40 × 50 taken for a volume; --no-volume reads its slices as frames"]
    for args in (["--no-volume"], ["--axes", "tyx"]):
        rows, _ = locate(tmp_path / "a.tif", *args)
        assert moving_spot(rows) == [20, 21, 22]
    assert "has 3 axes, shape 3 × 40 × 50" in fails("locate", tmp_path / "a.tif", "--axes", "YX")


def test_align_takes_slices_for_frames(tmp_path, movie):
    options = {"imagej": True, "metadata": {"axes": "ZYX"}, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", movie[[0, 0, 0]], **options)
    run("align", tmp_path / "a.tif", tmp_path / "a.tif", "--table", tmp_path / "t.csv")
    assert [row["frame"] for row in rows_of(tmp_path / "t.csv")] == ["0", "1", "2"]


def test_a_folder_of_frames_is_a_movie_with_the_file_of_each_frame(tmp_path, movie):
    folder = tmp_path / "movie"
    folder.mkdir()
    for number, frame in zip((8, 9, 10), movie, strict=True):
        np.save(folder / f"f{number}.npy", frame)
    rows, said = locate(folder)
    assert moving_spot(rows) == [20, 21, 22]
    assert [row["frame"] for row in rows] == ["0", "0", "1", "1", "2", "2"]
    assert [row["file"] for row in rows[::2]] == [str(folder / f"f{number}.npy") for number in (8, 9, 10)]
    assert said == ["note: 3 files taken for frames, f8.npy to f10.npy"]
    run("locate", folder, "--threshold", 10, "-o", folder / "peaks.csv")
    run("locate", folder, "--threshold", 10, "-o", folder / "peaks.csv")  # a table is no image
    image = folder / "f8.png"
    pytest.importorskip("imageio.v3").imwrite(image, np.zeros((40, 50), np.uint8))
    assert "f8.png: is an image to read, and would be overwritten" in fails("locate", folder, "--plot", image, code=2)


def test_an_hdu_is_chosen_by_name(tmp_path, movie):
    fits = pytest.importorskip("astropy.io.fits")
    hdus = [fits.ImageHDU(movie[number], name=name) for number, name in enumerate(("SCI", "ERR"))]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "a.fits")
    for hdu, x in (("sci", 20), ("ERR", 21), ("2", 21)):
        rows, said = locate(tmp_path / "a.fits", "--hdu", hdu)
        assert moving_spot(rows) == [x]
        assert said == []
    assert locate(tmp_path / "a.fits")[1] == ["note: HDU 1 (SCI) is read; --hdu reads 2 (ERR)"]


def test_a_damaged_file_whose_frames_can_be_read_is_a_warning_and_exit_status_1(tmp_path, movie):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, movie, extratags=[(65000, 3, 9, tuple(range(9)), True)], photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].tags[65000].offset
    data = bytearray(path.read_bytes())
    data[place + 8 : place + 12] = b"\xff\xff\xff\x7f"
    path.write_bytes(data)
    rows, said = locate(path, "--quiet", code=1)
    assert moving_spot(rows) == [20, 21, 22]
    assert len(said) == 1
    assert said[0].endswith("(a warning: the frames are read)")
    head = (tmp_path / "table.csv").read_text()
    assert "65000" in said[0]
    assert head


def test_whole_frames_take_no_more_memory_than_allowed(tmp_path, movie):
    """Of a frame that is to be drawn or aligned."""
    np.save(tmp_path / "a.npy", movie)
    less = "--max-memory", "1kB"
    assert "--max-memory allows more" in fails("align", tmp_path / "a.npy", tmp_path / "a.npy", *less)
    assert "--plot draws as a whole" in fails("locate", tmp_path / "a.npy", "--plot", tmp_path / "a.png", *less)


def test_many_files_alike_are_spoken_of_once(tmp_path, movie):
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", movie)
    result = run("locate", tmp_path / "a.npy", tmp_path / "b.npy", "--threshold", 10)
    assert len(result.stderr.splitlines()) == 1
    assert "a.npy: note: 3 × 40 × 50" in result.stderr


def test_a_limit_of_memory_is_a_number_or_none(tmp_path):
    np.save(tmp_path / "a.npy", spots((30, 40), [(12.3, 20.2)]))
    assert "1 peak" in run("locate", tmp_path / "a.npy", "--max-memory", "inf", "--threshold", 30).stdout
    for text in ("nan", "0", "-1", "much", "4 GHz"):
        assert "--max-memory" in fails("locate", tmp_path / "a.npy", "--max-memory", text, code=2)
