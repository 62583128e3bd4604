"""Damaged files are errors, and files that ask for the world get none of it."""

from __future__ import annotations

import logging
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from npsubpix.io import ImageError, ImageWarning
from npsubpix.io._frames import FrameSource
from tests.mutations import KINDS

tifffile = pytest.importorskip("tifffile")


@pytest.fixture
def movie():
    return np.random.default_rng(1).integers(0, 60000, (7, 20, 30)).astype(np.uint16)


def read(path, **options):
    with FrameSource(path, **options) as stack:
        return np.array([np.array(frame) for frame in stack.frames])


def in_a_loop(path, movie):
    with tifffile.TiffWriter(path) as file:
        for frame in movie:
            file.write(frame)


def pages(path):
    """Places of the pages of a file, and of the words that lead to the next ones."""
    with tifffile.TiffFile(path) as file:
        places = [page.offset for page in file.pages]
    data = path.read_bytes()
    return places, [place + 2 + 12 * struct.unpack_from("<H", data, place)[0] for place in places]


def change(path, place, value):
    data = bytearray(path.read_bytes())
    data[place : place + len(value)] = value
    path.write_bytes(data)


WRITERS = {
    "imagej, one page": lambda path, movie: tifffile.imwrite(path, movie, imagej=True, truncate=True),
    "imagej": lambda path, movie: tifffile.imwrite(path, movie, imagej=True),
    "loop": in_a_loop,
    "ome": lambda path, movie: tifffile.imwrite(path, movie, ome=True, metadata={"axes": "TYX"}),
    "deflated": lambda path, movie: tifffile.imwrite(path, movie, compression="zlib", metadata=None),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_movie_that_is_cut_is_an_error_wherever_it_is_cut(tmp_path, movie, writer):
    """Also where one page describes all frames, as ImageJ does beyond 4 GB: behind the first, it looks whole."""
    WRITERS[writer](tmp_path / "a.tif", movie)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), movie)
    whole = (tmp_path / "a.tif").read_bytes()
    for length in range(0, len(whole) - 1, 101):
        (tmp_path / "a.tif").write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"a\.tif: "):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize("number", [0, 3, 5])
@pytest.mark.parametrize("target", [7, 2**31, 2**32 - 1])
def test_a_chain_of_pages_that_leads_nowhere_is_an_error(tmp_path, movie, number, target):
    in_a_loop(tmp_path / "a.tif", movie)
    change(tmp_path / "a.tif", pages(tmp_path / "a.tif")[1][number], struct.pack("<I", target))
    with pytest.raises(ImageError, match=rf"there is no page {number + 1} at byte {target}|page {number + 1}"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize(("source", "target"), [(6, 0), (2, 0), (4, 4), (1, 1)])
def test_pages_that_run_in_a_circle_are_an_error(tmp_path, movie, source, target):
    in_a_loop(tmp_path / "a.tif", movie)
    places, following = pages(tmp_path / "a.tif")
    change(tmp_path / "a.tif", following[source], struct.pack("<I", places[target]))
    with pytest.raises(ImageError, match=f"run in a circle, page {source} is followed by page {target}"):
        read(tmp_path / "a.tif")


def test_a_chain_that_ends_before_the_frames_that_metadata_declare_is_an_error(tmp_path, movie):
    tifffile.imwrite(tmp_path / "a.tif", movie, compression="zlib")
    change(tmp_path / "a.tif", pages(tmp_path / "a.tif")[1][3], bytes(4))
    with pytest.raises(ImageError, match=r"is damaged.*\(7, 20, 30\)"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize(("tag", "value"), [(256, 60000), (257, 60000), (322, 60000), (323, 4_000_000), (277, 60000)])
def test_a_tile_that_cannot_hold_what_its_page_declares_is_an_error_before_it_is_read(tmp_path, movie, tag, value):
    """One word made a reader work for minutes, and take gigabytes."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, movie[0], tile=(16, 16), compression="zlib")
    place = pages(path)[0][0]
    data = path.read_bytes()
    entries = range(place + 2, place + 2 + 12 * struct.unpack_from("<H", data, place)[0], 12)
    entry = next(entry for entry in entries if struct.unpack_from("<H", data, entry)[0] == tag)
    change(path, entry + 2, struct.pack("<HII", 4, 1, value))
    with pytest.raises(ImageError, match=r"a\.tif: is damaged: page 0"):
        read(path)


def test_tiles_that_are_not_there_are_a_warning(tmp_path, movie):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, movie[0], tile=(16, 16))
    with tifffile.TiffFile(path) as file:
        tags = [file.pages[0].tags[code] for code in (324, 325)]
    for tag in tags:
        change(path, tag.valueoffset, bytes({3: 2, 4: 4}[tag.dtype]))  # the first of four numbers
    with pytest.warns(ImageWarning, match=r"a\.tif: 1 tiles or strips are absent and read as 0"):
        frame = read(path)[0]
    movie[0, :16, :16] = 0
    np.testing.assert_array_equal(frame, movie[0])


def test_a_private_tag_that_is_damaged_is_a_warning(tmp_path, movie):
    tifffile.imwrite(tmp_path / "a.tif", movie, extratags=[(65000, 3, 9, tuple(range(9)), True)], metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        place = file.pages[0].tags[65000].offset
    change(tmp_path / "a.tif", place + 8, b"\xff\xff\xff\x7f")
    with pytest.warns(ImageWarning, match=r"a\.tif: .*65000|a\.tif: .*offset"):
        np.testing.assert_array_equal(read(tmp_path / "a.tif"), movie)


@pytest.mark.parametrize("silence", ["level", "disabled"])
def test_damage_is_noticed_where_another_library_has_silenced_tifffile(tmp_path, movie, silence):
    """picasso does, when it is imported."""
    tifffile.imwrite(tmp_path / "a.tif", movie, compression="zlib")
    change(tmp_path / "a.tif", pages(tmp_path / "a.tif")[1][3], bytes(4))  # as in the test of a chain that ends
    logger = logging.getLogger("tifffile")
    before = logger.level, logger.disabled
    try:
        logger.setLevel(logging.CRITICAL if silence == "level" else logging.WARNING)
        logger.disabled = silence == "disabled"
        found = logger.level, logger.disabled
        with pytest.raises(ImageError, match=r"a\.tif"):
            read(tmp_path / "a.tif")
        assert (logger.level, logger.disabled) == found
    finally:
        logger.level, logger.disabled = before


@pytest.mark.parametrize("ending", ["tif", "npy", "fits", "fits.gz", "png", "gif"])
def test_a_frame_is_held_against_the_memory_that_it_may_take(tmp_path, ending):
    image = np.zeros((100, 200), np.uint8)
    path = tmp_path / f"a.{ending}"
    if ending == "tif":
        tifffile.imwrite(path, image, compression="zlib")
    elif ending == "npy":
        np.save(path, image)
    elif ending.startswith("fits"):
        pytest.importorskip("astropy.io.fits").writeto(path, image)
    else:
        pytest.importorskip("imageio.v3").imwrite(path, image)
    assert read(path, max_memory=4 * image.size).shape == (1, 100, 200)
    with pytest.raises(ImageError, match=r"of 100 × 200.* takes .*KiB, and max_memory allows 9.77 KiB; --max-memory"):
        read(path, max_memory=10_000)


def test_a_compressed_movie_is_decompressed_once_for_a_pass(tmp_path, movie, monkeypatch):
    """And once to be opened, for its headers and its length."""
    fits = pytest.importorskip("astropy.io.fits")
    import gzip

    movie = np.concatenate([movie] * 20).astype(np.int16)
    path = tmp_path / "a.fits.gz"
    fits.writeto(path, movie)
    taken = 0

    class Counted:
        def __init__(self, path):
            self.file = path.open("rb")

        def read(self, size=-1):
            nonlocal taken
            data = self.file.read(size)
            taken += len(data)
            return data

        def __getattr__(self, name):
            return getattr(self.file, name)

    class Patched(gzip.GzipFile):
        def __init__(self, path):
            self.counted = Counted(path)
            super().__init__(fileobj=self.counted)

        def close(self):
            super().close()
            self.counted.file.close()

    monkeypatch.setattr(gzip, "GzipFile", Patched)
    np.testing.assert_array_equal(read(path), movie)
    assert taken < 2.1 * path.stat().st_size + 2**18  # of buffers


def sweep(step, *kinds):
    """Read small files with one changed word in a child process, which has limits of time and memory."""
    command = [sys.executable, "-m", "tests.mutations", str(step), *kinds]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    *wrong, last = done.stdout.splitlines() or [""]
    assert not wrong, wrong
    assert done.returncode == 0, done.stderr
    number, _, word = last.partition(" ")
    assert word == "files"
    return int(number)


@pytest.fixture
def limits():
    if not sys.platform.startswith("linux"):
        pytest.skip("limits memory as Linux does")
    for package in ("imagecodecs", "astropy", "imageio", "zarr"):
        pytest.importorskip(package)


def test_a_changed_word_costs_neither_time_nor_memory(limits):
    """Each 149th of all small files of which the next test reads more."""
    assert sweep(149) > 1000


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", KINDS)
def test_no_changed_word_costs_time_or_memory(kind, limits):
    """Each word of small files with one or two of six values, each second one of files of ten thousand words."""
    large = kind in {"npz", "packed.npz", "h5", "mrc", "lif", "zarr.zip", "czi"}
    assert sweep(13 if large else 5, kind) > 100
