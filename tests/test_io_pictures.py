"""Pictures of all formats, animations, and folders of files."""

from __future__ import annotations

import numpy as np
import pytest

from npsubpix.io import ImageError, ImageWarning
from npsubpix.io._frames import FrameSource

image_module = pytest.importorskip("PIL.Image")
pytest.importorskip("imageio")


@pytest.fixture
def movie():
    return np.random.default_rng(1).integers(0, 255, (4, 20, 30)).astype(np.uint8)


def read(path, **options):
    with FrameSource(path, **options) as stack:
        return np.array([np.array(frame) for frame in stack.frames]), stack


def animate(path, movie, **options):
    images = [image_module.fromarray(frame) for frame in movie]
    images[0].save(path, save_all=True, append_images=images[1:], **options)


@pytest.mark.parametrize("ending", ["bmp", "gif", "webp", "png", "ppm", "tga", "jp2"])
def test_a_grey_picture_of_every_format_has_its_values(tmp_path, movie, ending):
    image_module.fromarray(movie[0]).save(tmp_path / f"a.{ending}", **({"lossless": True} if ending == "webp" else {}))
    frames, stack = read(tmp_path / f"a.{ending}")
    assert not stack.is_stack
    np.testing.assert_array_equal(frames, movie[:1])


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
@pytest.mark.parametrize("colour", [False, True])
def test_images_of_an_animation_are_frames(tmp_path, movie, ending, colour):
    pixels = movie
    if colour:  # of few colours, which a palette holds
        pixels = np.stack([movie // 128 * 200, movie // 64 % 2 * 100, movie // 128 * 50], axis=-1)
    animate(tmp_path / f"a.{ending}", pixels, **({"lossless": True} if ending == "webp" else {}))
    frames, stack = read(tmp_path / f"a.{ending}")
    assert stack.is_stack
    assert stack.reading.endswith("taken for 4 frames along T")
    np.testing.assert_allclose(frames, pixels.mean(axis=-1) if colour else pixels, rtol=1e-6)


def test_a_gif_movie_that_is_cut_is_no_shorter_movie(tmp_path, movie):
    animate(tmp_path / "a.gif", movie)
    whole = (tmp_path / "a.gif").read_bytes()
    for length in range(20, len(whole) - 1, 13):
        (tmp_path / "a.gif").write_bytes(whole[:length])
        with pytest.raises((ImageError, ImageWarning), match=r"a\.gif: "):  # warnings are errors in tests
            read(tmp_path / "a.gif")
    (tmp_path / "a.gif").write_bytes(whole[:-1])  # where a block ends, nothing says that more were meant
    with pytest.warns(ImageWarning, match=r"a\.gif: has no end: it may be cut behind frame 3"):
        np.testing.assert_array_equal(read(tmp_path / "a.gif")[0], movie)


@pytest.mark.parametrize("ending", ["webp", "bmp", "png"])
def test_other_pictures_that_are_cut_are_errors(tmp_path, movie, ending):
    if ending == "bmp":
        image_module.fromarray(movie[0]).save(tmp_path / "a.bmp")
    else:
        animate(tmp_path / f"a.{ending}", movie)
    whole = (tmp_path / f"a.{ending}").read_bytes()
    for length in range(20, len(whole) - 40, 61):
        (tmp_path / f"a.{ending}").write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"a\..*: "):
            read(tmp_path / f"a.{ending}")


# --- folders


@pytest.fixture
def folder(tmp_path, movie):
    """Frames with numbers of one and two digits, and what else is in such folders."""
    folder = tmp_path / "movie"
    folder.mkdir()
    for number, frame in zip((2, 9, 10, 11), movie, strict=True):
        image_module.fromarray(frame).save(folder / f"frame{number}.png")
    (folder / ".hidden.png").write_text("not an image")
    (folder / "readme.txt").write_text("ten frames a second")
    return folder


def test_a_folder_of_frames_is_a_movie_in_natural_order(folder, movie):
    frames, stack = read(folder)
    np.testing.assert_array_equal(frames, movie)
    assert stack.is_stack
    assert stack.reading == "4 files taken for frames, frame2.png to frame11.png"
    assert stack.notes == ("readme.txt left out: not images",)
    assert stack.file_of(2) == folder / "frame10.png"


def test_a_folder_of_several_formats_gives_what_each_file_holds(folder, movie):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(folder / "frame100.tif", movie[0])
    frames, stack = read(folder)
    np.testing.assert_array_equal(frames, [*movie, movie[0]])
    assert stack.files[-1].name == "frame100.tif"


def test_a_file_of_a_folder_that_does_not_fit_is_named(folder, movie):
    image_module.fromarray(movie[0, :10]).save(folder / "frame12.png")
    with pytest.raises(ImageError, match=r"frame12\.png: is 10 × 30 uint8, axes y, x; needed is 20 × 30 uint8"):
        read(folder)
    np.save(folder / "frame1.npy", movie)
    with pytest.raises(ImageError, match=r"frame1\.npy: holds 4 frames; needed is one per file"):
        read(folder)


def test_a_folder_without_images_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("peaks at noon")
    with pytest.raises(ImageError, match="is a folder without images"):
        read(tmp_path)
