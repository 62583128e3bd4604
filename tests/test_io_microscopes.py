"""Files of microscopes and movies: axes, sizes, scenes, and files that are cut."""

from __future__ import annotations

import pickle
import struct
import sys
import types

import numpy as np
import pytest

import npsubpix
from npsubpix.io import ImageError


@pytest.fixture
def movie():
    return np.random.default_rng(1).integers(0, 60000, (4, 3, 20, 30)).astype(np.uint16)


def check(path, wanted, axes, **options):
    with npsubpix.open_image(path, **options) as image:
        assert (image.axes, image.shape, image.dtype) == (axes, wanted.shape, wanted.dtype)
        for source in (image, pickle.loads(pickle.dumps(image))):
            for index in (..., 1, -1, (slice(1, 3), 0), (..., slice(3, 9)), (2, ..., slice(4, 5), 7)):
                np.testing.assert_array_equal(source.read(index), wanted[index])
            source.read(0)
        return image


# MRC


def write_mrc(path, data, **options):
    mrcfile = pytest.importorskip("mrcfile")
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(data)
        file.voxel_size = 2.5
        for name in options:
            getattr(file, name)()
    return path


def test_an_mrc_file_is_a_movie_or_a_volume_as_its_header_says(tmp_path, movie):
    image = check(write_mrc(tmp_path / "a.mrc", movie[0], set_image_stack=True), movie[0], ("t", "y", "x"))
    assert image.pixel_size == {"y": (2.5, "Å"), "x": (2.5, "Å")}
    image = check(write_mrc(tmp_path / "a.mrc", movie[0], set_volume=True), movie[0], ("z", "y", "x"))
    assert image.pixel_size["z"] == (2.5, "Å")
    check(write_mrc(tmp_path / "a.mrc", movie), movie, ("t", "z", "y", "x"))
    check(write_mrc(tmp_path / "a.map", movie[0].astype(np.float32)), movie[0].astype(np.float32), ("z", "y", "x"))


def test_an_mrc_file_that_is_cut_is_an_error(tmp_path, movie):
    whole = write_mrc(tmp_path / "a.mrc", movie[0]).read_bytes()
    for length in range(0, len(whole) - 1, 97):
        (tmp_path / "a.mrc").write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"a\.mrc: "):
            npsubpix.open_image(tmp_path / "a.mrc")


# CZI


def write_czi(path, movie, scenes=1):
    czi = pytest.importorskip("pylibCZIrw.czi")
    with czi.create_czi(str(path), exist_ok=True) as file:
        for scene in range(scenes):
            for t, z in np.ndindex(movie.shape[:2]):
                place = (100 * scene, 10)
                file.write(movie[t, z] + scene, location=place, plane={"T": t, "Z": z, "C": 0}, scene=scene)
        file.write_metadata("movie", scale_x=1e-7, scale_y=2e-7, scale_z=5e-7)
    return path


def test_a_czi_file_and_its_scenes(tmp_path, movie):
    image = check(write_czi(tmp_path / "a.czi", movie), movie, ("t", "z", "y", "x"))
    assert {axis: size for axis, (size, _) in image.pixel_size.items()} == pytest.approx({"z": 0.5, "y": 0.2, "x": 0.1})
    write_czi(tmp_path / "b.czi", movie, scenes=2)
    assert check(tmp_path / "b.czi", movie, ("t", "z", "y", "x")).notes == (
        "scene 0 of 2 is read; --series reads others",
    )
    assert check(tmp_path / "b.czi", movie + 1, ("t", "z", "y", "x"), scene=1).notes == ()
    with pytest.raises(ImageError, match=r"b\.czi: has 2 scenes; there is no scene 2"):
        npsubpix.open_image(tmp_path / "b.czi", scene=2)


def test_colours_of_a_czi_file_are_red_green_and_blue(tmp_path):
    czi = pytest.importorskip("pylibCZIrw.czi")
    colours = np.random.default_rng(2).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        file.write(colours[..., ::-1], plane={"C": 0})
    with npsubpix.open_image(tmp_path / "a.czi") as image:
        assert image.axes == ("y", "x", "s")
        assert image.is_colour
        np.testing.assert_array_equal(image.read(), colours)


def test_a_czi_file_that_is_cut_is_an_error_with_its_frame(tmp_path, movie):
    whole = write_czi(tmp_path / "a.czi", movie).read_bytes()
    for length in range(0, len(whole) - 400, len(whole) // 23):
        (tmp_path / "a.czi").write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"a\.czi: "), npsubpix.open_image(tmp_path / "a.czi") as image:
            image.read()


# LIF


def write_lif(path, movie):
    """Two images: the XML of the axes, then a block of memory for each."""
    t, z, height, width = movie.shape
    plane = 2 * width * height
    lengths = (
        (1, width, 2, (width - 1) * 1e-7, "m"),
        (2, height, 2 * width, (height - 1) * 2e-7, "m"),
        (3, z, plane, (z - 1) * 5e-7, "m"),
        (4, t, plane * z, (t - 1) * 0.5, "s"),
    )
    dimensions = "".join(
        f'<DimensionDescription DimID="{k}" NumberOfElements="{n}" Origin="0" Length="{length}" Unit="{unit}" '
        f'BitInc="0" BytesInc="{step}"/>'
        for k, n, step, length, unit in lengths
    )
    channel = (
        '<ChannelDescription DataType="0" ChannelTag="0" Resolution="16" NameOfMeasuredQuantity="" Min="0" Max="65535" '
        'Unit="" LUTName="Grey" IsLUTInverted="0" BytesInc="0" BitInc="0"/>'
    )
    images = "".join(
        f'<Element Name="i{k}"><Data><Image><ImageDescription><Channels>{channel}</Channels><Dimensions>{dimensions}'
        f'</Dimensions></ImageDescription></Image></Data><Memory Size="{movie.nbytes}" MemoryBlockID="M{k}"/></Element>'
        for k in range(2)
    )
    text = f'<LMSDataContainerHeader Version="2"><Element Name="all"><Data/><Children>{images}</Children></Element>'
    text = (text + "</LMSDataContainerHeader>").encode("utf-16-le")
    data = struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(text) // 2) + text
    for k in range(2):
        name = f"M{k}".encode("utf-16-le")
        data += struct.pack("<IIBQBI", 0x70, len(name) + 14, 0x2A, movie.nbytes, 0x2A, len(name) // 2) + name
        data += (movie + k).tobytes()
    path.write_bytes(data)
    return path


def test_a_lif_file_and_its_images(tmp_path, movie):
    pytest.importorskip("liffile")
    write_lif(tmp_path / "a.lif", movie)
    image = check(tmp_path / "a.lif", movie, ("t", "z", "y", "x"))
    assert {axis: size for axis, (size, _) in image.pixel_size.items()} == pytest.approx({"z": 0.5, "y": 0.2, "x": 0.1})
    assert image.time_step == (pytest.approx(0.5), "s")
    assert image.notes == ("image 0 of 2 is read; --series reads others",)
    check(tmp_path / "a.lif", movie + 1, ("t", "z", "y", "x"), scene=1)
    with pytest.raises(ImageError, match="has 2 images; there is no image 2"):
        npsubpix.open_image(tmp_path / "a.lif", scene=2)


def test_a_lif_file_that_is_cut_is_an_error(tmp_path, movie):
    pytest.importorskip("liffile")
    whole = write_lif(tmp_path / "a.lif", movie).read_bytes()
    for length in range(0, len(whole) - 1, len(whole) // 41):
        (tmp_path / "a.lif").write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"a\.lif: "), npsubpix.open_image(tmp_path / "a.lif", scene=1) as image:
            image.read()


# ND2


class FakeNd2:
    """What of a file of the library nd2 is used, which writes none."""

    movie = np.zeros(0)

    def __init__(self, _):
        self.sizes = {"T": 4, "P": 2, "Z": 3, "C": 2, "Y": 20, "X": 30}
        self.dtype = np.uint16
        loop = types.SimpleNamespace(type="TimeLoop", parameters=types.SimpleNamespace(periodMs=250.0))
        self.experiment = [loop]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def voxel_size(self):
        return types.SimpleNamespace(x=0.1, y=0.2, z=1.0)

    def read_frame(self, number):
        t, p, z = np.unravel_index(number, (4, 2, 3))
        return np.stack([self.movie[t, z] + 10 * p + channel for channel in range(2)])


def test_positions_times_slices_and_channels_of_an_nd2_file(tmp_path, movie, monkeypatch):
    monkeypatch.setitem(sys.modules, "nd2", types.SimpleNamespace(ND2File=FakeNd2))
    monkeypatch.setattr(FakeNd2, "movie", movie // 2)
    (tmp_path / "a.nd2").write_bytes(b"\xda\xce\xbe\x0a" + bytes(100))
    for scene in (0, 1):
        wanted = np.stack([movie // 2 + 10 * scene + channel for channel in range(2)], axis=2)
        image = check(tmp_path / "a.nd2", wanted, ("t", "z", "c", "y", "x"), scene=scene)
        assert image.pixel_size == {"z": (1.0, "µm"), "y": (0.2, "µm"), "x": (0.1, "µm")}
        assert image.time_step == (0.25, "s")
        assert image.notes == (() if scene else ("position 0 of 2 is read; --series reads others",))


def test_a_damaged_nd2_file_is_an_error(tmp_path):
    pytest.importorskip("nd2")
    for tail in (b"", bytes(100), bytes(range(256)) * 8):
        (tmp_path / "a.nd2").write_bytes(b"\xda\xce\xbe\x0a" + tail)
        with pytest.raises(ImageError, match=r"a\.nd2: cannot be read as ND2: "):
            npsubpix.open_image(tmp_path / "a.nd2")


# Movies


def write_video(path, frames, codec, kind):
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = kind
        for frame in frames:
            layout = "rgb24" if frame.ndim == 3 else "gray"
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=layout)))
        file.mux(stream.encode())
    return path


def test_a_movie_without_loss_is_read_frame_by_frame(tmp_path):
    frames = np.random.default_rng(3).integers(0, 255, (12, 32, 48)).astype(np.uint8)
    image = check(write_video(tmp_path / "a.mkv", frames, "ffv1", "gray"), frames, ("t", "y", "x"))
    assert image.time_step == (0.04, "s")
    assert not image.is_colour


def test_a_movie_of_colours_has_their_samples(tmp_path):
    frames = np.zeros((12, 32, 48, 3), np.uint8)
    frames[..., 0] = np.arange(0, 240, 20)[:, None, None]
    path = write_video(tmp_path / "a.mp4", frames, "mpeg4", "yuv420p")
    with npsubpix.open_image(path) as image:
        assert image.axes == ("t", "y", "x", "s")
        assert image.shape == frames.shape
        assert np.abs(image.read((slice(4, 8), 16, 24, 0)).astype(int) - frames[4:8, 16, 24, 0]).max() < 12
        np.testing.assert_array_equal(image.read(2), image.read(slice(2, 3))[0])  # and back


def test_a_movie_that_is_cut_is_an_error_or_shorter(tmp_path):
    """A container that is written as it goes says nothing of its length: frames that are there are whole."""
    frames = np.random.default_rng(3).integers(0, 255, (12, 32, 48)).astype(np.uint8)
    whole = write_video(tmp_path / "a.mkv", frames, "ffv1", "gray").read_bytes()
    for length in range(0, len(whole), len(whole) // 17):
        (tmp_path / "a.mkv").write_bytes(whole[:length])
        caught = None
        try:
            with npsubpix.open_image(tmp_path / "a.mkv") as image:
                np.testing.assert_array_equal(image.read(), frames[: image.shape[0]])
        except ImageError as error:
            caught = error
        assert caught is None or "a.mkv: " in str(caught)


@pytest.mark.parametrize(
    ("head", "package", "extra"),
    [
        (b"\xda\xce\xbe\x0a", "nd2", "microscopes"), (b"ZISRAWFILE", "pylibCZIrw", "microscopes"),
        (b"\x70\0\0\0", "liffile", "microscopes"), (bytes(208) + b"MAP ", "mrcfile", "microscopes"),
        (b"\0\0\0\x20ftypisom", "av", "video"), (b"\x89HDF\r\n\x1a\n", "h5py", "app"),
    ],
)  # fmt: skip
def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch, head, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "a.bin").write_bytes(head + bytes(300))
    with pytest.raises(ImageError, match=rf"a\.bin: .* without {package}.*: pip install 'npsubpix\[{extra}\]'"):
        npsubpix.open_image(tmp_path / "a.bin")
