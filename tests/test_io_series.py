"""Pages of TIFF files: which are one movie, which are left out, and sets of files."""

from __future__ import annotations

import numpy as np
import pytest

from npsubpix.io import ImageError
from npsubpix.io._frames import FrameSource

tifffile = pytest.importorskip("tifffile")


@pytest.fixture
def movie():
    return np.random.default_rng(1).integers(0, 60000, (7, 20, 30)).astype(np.uint16)


def read(path, **options):
    with FrameSource(path, **options) as stack:
        return np.array([np.array(frame) for frame in stack.frames]), stack


def in_a_loop(path, movie, **options):
    with tifffile.TiffWriter(path) as file:
        for frame in movie:
            file.write(frame, **options)


def in_chunks(path, movie):
    for first in range(0, len(movie), 5):  # the last is shorter
        tifffile.imwrite(path, movie[first : first + 5], append=True)


def one_by_one(path, movie):
    for frame in movie:
        tifffile.imwrite(path, frame, append=True)


def of_imageio(path, movie):
    pytest.importorskip("imageio").mimwrite(path, list(movie))


WRITERS = {
    "loop": in_a_loop,
    "loop, deflated": lambda path, movie: in_a_loop(path, movie, compression="zlib"),
    "loop, contiguous": lambda path, movie: in_a_loop(path, movie, contiguous=True),
    "loop, no metadata": lambda path, movie: in_a_loop(path, movie, metadata=None),
    "chunks": in_chunks,
    "one by one": one_by_one,
    "mimwrite": of_imageio,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_pages_that_are_written_one_by_one_are_one_movie(tmp_path, movie, writer):
    WRITERS[writer](tmp_path / "a.tif", movie)
    frames, stack = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(frames, movie)
    assert stack.is_stack
    assert stack.notes == ()
    np.testing.assert_array_equal(read(tmp_path / "a.tif", volume=True)[0], movie[None])


@pytest.mark.parametrize("metadata", [None, {}], ids=["plain", "shaped"])
def test_pages_of_another_shape_are_another_series(tmp_path, movie, metadata):
    """Whatever their order in the file, as from a camera that saves a thumbnail with each frame."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for frame in movie:
            file.write(frame, metadata=metadata)
            file.write(frame[::2, ::2].astype(np.uint8), metadata=metadata)
    frames, stack = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(frames, movie)
    assert stack.notes == (
        "series 0 (7 images of 20 × 30 uint16) is read; --series reads 1 (7 images of 10 × 15 uint8)",
    )
    frames, stack = read(tmp_path / "a.tif", series=1)
    np.testing.assert_array_equal(frames, movie[:, ::2, ::2].astype(np.uint8))
    assert stack.notes == ()
    with pytest.raises(ImageError, match=r"2 series \(0: 7 images of 20 × 30 uint16, 1: .*\); there is no series 2"):
        read(tmp_path / "a.tif", series=2)


def test_pages_of_one_shape_with_other_tags_keep_their_order(tmp_path, movie):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number, frame in enumerate(movie):
            file.write(frame, metadata=None, compression="zlib" if number % 2 else None)
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[0], movie)


def test_images_of_an_ome_file_are_not_joined(tmp_path, movie):
    """They are places, wells or magnifications, as the file says."""
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        for part in (movie[:3], movie[3:6]):
            file.write(part, metadata={"axes": "TYX"})
    frames, stack = read(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(frames, movie[:3])
    assert "--series reads 1 (3 images of 20 × 30 uint16)" in stack.notes[0]
    np.testing.assert_array_equal(read(tmp_path / "a.ome.tif", series=1)[0], movie[3:6])


def ome_xml(planes, data, uuid="urn:uuid:0"):
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="{uuid}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="30" '
        f'SizeY="20" SizeC="1" SizeZ="1" SizeT="{planes}"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}'
        "</Pixels></Image></OME>"
    )


def ome_set(folder, movie):
    """A movie in two files, each with the metadata of both."""
    names = ("a.ome.tif", "b.ome.tif")
    data = "".join(
        f'<TiffData FirstT="{3 * part}" IFD="0" PlaneCount="3">'
        f'<UUID FileName="{name}">urn:uuid:{part}</UUID></TiffData>'
        for part, name in enumerate(names)
    )
    for part, name in enumerate(names):
        frames = movie[3 * part : 3 * part + 3]
        options = {"metadata": None, "photometric": "minisblack"}
        tifffile.imwrite(folder / name, frames, description=ome_xml(6, data, f"urn:uuid:{part}"), **options)


def test_an_ome_set_is_one_movie_and_a_missing_part_is_named(tmp_path, movie):
    ome_set(tmp_path, movie)
    np.testing.assert_array_equal(read(tmp_path / "a.ome.tif")[0], movie[:6])
    (tmp_path / "b.ome.tif").unlink()
    with pytest.raises(ImageError, match=r"a\.ome\.tif: is a part of an OME set, of which b\.ome\.tif is missing"):
        read(tmp_path / "a.ome.tif")


def test_an_ome_file_may_be_renamed(tmp_path, movie):
    options = {"metadata": None, "photometric": "minisblack"}
    data = '<TiffData IFD="0" PlaneCount="7"><UUID FileName="before.ome.tif">urn:uuid:0</UUID></TiffData>'
    tifffile.imwrite(tmp_path / "after.ome.tif", movie, description=ome_xml(7, data), **options)
    np.testing.assert_array_equal(read(tmp_path / "after.ome.tif")[0], movie)


@pytest.mark.parametrize(
    ("planes", "data", "reason"),
    [
        (9, '<TiffData IFD="0" PlaneCount="7"/>', "declare 9 planes, of 7"),
        (999999999, "<TiffData/>", "declare 999999999 planes, of 7"),
        (7, '<TiffData IFD="0" PlaneCount="999999999"/>', "want planes 0 to 999999998 of 7"),
        (7, '<TiffData IFD="5" PlaneCount="7"/>', "want planes 5 to 11 of 7"),
        (0, "<TiffData/>", "declare no pixels"),
        (7, "<TiffData", "its OME metadata cannot be read"),
    ],
)
def test_an_ome_file_that_declares_what_it_has_not_is_damaged(tmp_path, movie, planes, data, reason):
    options = {"metadata": None, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.ome.tif", movie, description=ome_xml(planes, data), **options)
    with pytest.raises(ImageError, match=reason):
        read(tmp_path / "a.ome.tif")


def test_pages_that_ome_metadata_do_not_name_are_spoken_of(tmp_path, movie):
    options = {"metadata": None, "photometric": "minisblack"}
    data = '<TiffData IFD="0" PlaneCount="5"/>'
    tifffile.imwrite(tmp_path / "a.ome.tif", movie, description=ome_xml(5, data), **options)
    frames, stack = read(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(frames, movie[:5])
    assert stack.notes == ("2 pages beside those of its OME metadata left out",)


def test_files_without_series_have_none_to_choose(tmp_path, movie):
    np.save(tmp_path / "a.npy", movie)
    with pytest.raises(ImageError, match="is a NumPy file, and only TIFF, Zarr, ND2, CZI, LIF files have series"):
        read(tmp_path / "a.npy", series=0)


def test_what_is_said_of_a_file_is_not_said_of_another_that_is_open(tmp_path, movie):
    tifffile.imwrite(tmp_path / "a.tif", movie, compression="zlib")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(data.replace(b'"shape": [7', b'"shape": [5', 1))
    with FrameSource(tmp_path / "a.tif") as stack:
        frames = stack.frames
        np.testing.assert_array_equal(next(frames), movie[0])
        with pytest.raises(ImageError, match=r"b\.tif: is damaged"):
            read(tmp_path / "b.tif")
        np.testing.assert_array_equal(next(frames), movie[1])
