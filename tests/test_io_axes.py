"""Axes of files are taken by name: what is a frame, a slice, a channel, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from npsubpix.io import ImageError
from npsubpix.io._frames import FrameSource

tifffile = pytest.importorskip("tifffile")


@pytest.fixture
def pixels():
    """Four axes of different lengths, none of three or four, which would be colours."""
    return np.random.default_rng(1).integers(0, 60000, (2, 5, 20, 30)).astype(np.uint16)


def read(path, **options):
    with FrameSource(path, **options) as stack:
        frames = np.array([np.array(frame) for frame in stack.frames])
        assert frames.shape == (stack.count, *stack.frame_shape)
        return frames, stack


@pytest.mark.parametrize("form", [{}, {"ome": True}, {"compression": "zlib"}], ids=str)
@pytest.mark.parametrize("axes", ["ZTYX", "TZYX"])
@pytest.mark.parametrize("volume", [None, True])
def test_times_are_frames_and_slices_volumes_in_whatever_order(tmp_path, pixels, form, axes, volume):
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata={"axes": axes}, **form)
    frames, stack = read(tmp_path / "a.tif", volume=volume)
    np.testing.assert_array_equal(frames, pixels if axes == "TZYX" else np.swapaxes(pixels, 0, 1))
    count = 2 if axes == "TZYX" else 5
    assert stack.reading == f"axes {axes} of 2 × 5 × 20 × 30 taken for {count} frames along T, each a volume"


def test_slices_of_an_imagej_stack_are_a_volume_unless_frames_are_asked_for(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels[0], imagej=True, metadata={"axes": "ZYX"})
    volume, stack = read(tmp_path / "a.tif")
    assert not stack.is_stack
    np.testing.assert_array_equal(volume, pixels[:1])
    assert stack.reading == "axes ZYX of 5 × 20 × 30 taken for a volume; --no-volume reads its slices as frames"
    slices, stack = read(tmp_path / "a.tif", volume=False)
    assert stack.is_stack
    np.testing.assert_array_equal(slices, pixels[0])


def test_a_single_slice_is_an_image_unless_a_volume_is_asked_for(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels[:, :1], metadata={"axes": "TZYX"})
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[0], pixels[:, 0])
    np.testing.assert_array_equal(read(tmp_path / "a.tif", volume=True)[0], pixels[:, :1])


def test_times_are_no_slices_unless_they_are_called_so(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels[0], imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(ImageError, match=r"axes TYX and no Z for a volume; --axes ZYX calls T Z"):
        read(tmp_path / "a.tif", volume=True)
    volume, stack = read(tmp_path / "a.tif", axes="ZYX")
    np.testing.assert_array_equal(volume, pixels[:1])
    assert stack.reading.startswith("axes ZYX of 5 × 20 × 30 taken for a volume")
    assert read(tmp_path / "a.tif")[1].reading == "axes TYX of 5 × 20 × 30 taken for 5 frames along T"


def test_axes_without_names_are_frames_or_a_volume_as_is_asked_for(tmp_path, pixels):
    np.save(tmp_path / "a.npy", pixels[0])
    frames, stack = read(tmp_path / "a.npy")
    np.testing.assert_array_equal(frames, pixels[0])
    said = "5 × 20 × 30, axes not named, taken for"
    assert stack.reading == f"{said} 5 frames; --volume or --axes reads them otherwise"
    volume, stack = read(tmp_path / "a.npy", volume=True)
    np.testing.assert_array_equal(volume, pixels[:1])
    assert stack.reading == f"{said} a volume"


def test_names_of_the_caller_order_any_axes(tmp_path, pixels):
    np.save(tmp_path / "a.npy", np.transpose(pixels, (3, 1, 2, 0)))  # x, z, y, t
    frames, stack = read(tmp_path / "a.npy", axes="xzyt")
    np.testing.assert_array_equal(frames, pixels)
    assert stack.reading == "axes XZYT of 30 × 5 × 20 × 2 taken for 2 frames along T, each a volume"
    np.save(tmp_path / "b.npy", pixels)
    for channel in (0, 1):
        np.testing.assert_array_equal(read(tmp_path / "b.npy", axes="CTYX", channel=channel)[0], pixels[channel])
    with pytest.raises(ImageError, match="choose one, 0 to 1, with --channel"):
        read(tmp_path / "b.npy", axes="CTYX")


@pytest.mark.parametrize("axes", ["TYX", "TZYXS", "TTYX", "TZYC", "T3YX", ""])
def test_names_that_do_not_fit_are_refused(tmp_path, pixels, axes):
    np.save(tmp_path / "a.npy", pixels)
    with pytest.raises(ImageError, match=r"has 4 axes, shape 2 × 5 × 20 × 30; axes must name each by one letter"):
        read(tmp_path / "a.npy", axes=axes)


def test_four_axes_without_names_are_no_guess(tmp_path, pixels):
    np.save(tmp_path / "a.npy", pixels)
    with pytest.raises(ImageError, match=r"4 dimensions, QQYX of 2 × 5 × 20 × 30; .*--volume.*--axes"):
        read(tmp_path / "a.npy")
    np.testing.assert_array_equal(read(tmp_path / "a.npy", volume=True)[0], pixels)
    np.save(tmp_path / "b.npy", pixels[:1])  # an axis of length one is no choice
    np.testing.assert_array_equal(read(tmp_path / "b.npy")[0], pixels[0])


def test_four_frames_that_a_tiff_file_calls_colours_are_said_to_be_averaged(tmp_path):
    frames = np.random.default_rng(2).integers(0, 255, (4, 20, 30)).astype(np.uint8)
    colours = {"photometric": "rgb", "planarconfig": "separate", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(tmp_path / "a.tif", frames, **colours)  # as tifffile writes four frames of bytes by default
    mean, stack = read(tmp_path / "a.tif")
    np.testing.assert_allclose(mean[0], frames[:3].mean(axis=0), rtol=1e-6)
    said = "mean of red, green and blue, alpha left out; --channel reads one"
    assert stack.notes == (f"{said}, --axes TYX reads 4 planes of colour as frames",)
    np.testing.assert_array_equal(read(tmp_path / "a.tif", axes="TYX")[0], frames)


def test_the_time_axis_of_a_fits_file_has_a_name(tmp_path, pixels):
    fits = pytest.importorskip("astropy.io.fits")
    header = fits.Header({"CTYPE3": "TIME"})
    fits.writeto(tmp_path / "a.fits", pixels[0], header)
    assert "5 frames along T" in read(tmp_path / "a.fits")[1].reading
    with pytest.raises(ImageError, match="no Z for a volume"):
        read(tmp_path / "a.fits", volume=True)


def test_an_hdu_has_a_name_and_the_others_are_spoken_of(tmp_path, pixels):
    fits = pytest.importorskip("astropy.io.fits")
    planes = pixels[0].astype(np.float32)
    names = (("SCI", 1), ("ERR", 1), ("SCI", 2))
    images = [fits.ImageHDU(plane, name=name, ver=ver) for plane, (name, ver) in zip(planes, names, strict=False)]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "a.fits")
    for hdu, plane in ((None, 0), ("SCI", 0), ("err", 1), ("SCI,2", 2), ("2", 1), (3, 2)):
        frames, stack = read(tmp_path / "a.fits", hdu=hdu)
        np.testing.assert_array_equal(frames[0], planes[plane])
        assert stack.notes == (("HDU 1 (SCI) is read; --hdu reads 2 (ERR), 3 (SCI)",) if hdu is None else ())
    with pytest.raises(ImageError, match=r"no HDU DQ; HDUs with images: 1 \(SCI\), 2 \(ERR\), 3 \(SCI\)"):
        read(tmp_path / "a.fits", hdu="DQ")
