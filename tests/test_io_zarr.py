"""Zarr stores: axes, sizes, places and levels as their metadata say, and what cannot be read."""

from __future__ import annotations

import functools
import http.server
import json
import pickle
import threading

import numpy as np
import pytest

import npsubpix
from npsubpix.io import ImageError
from npsubpix.io._ngff import level_of

zarr = pytest.importorskip("zarr")
if int(zarr.__version__.partition(".")[0]) < 3:
    pytest.skip("writes stores with zarr 3", allow_module_level=True)

AXES = [
    {"name": "t", "type": "time", "unit": "second"},
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "nanometer"},
]


@pytest.fixture
def movie():
    return np.random.default_rng(1).integers(0, 60000, (3, 2, 4, 20, 30)).astype(np.uint16)


def multiscales(**more):
    def scaled(factor):
        scale = {"type": "scale", "scale": [1.0, 1.0, 0.5, 0.1 * factor, 100.0 * factor]}
        return [scale, {"type": "translation", "translation": [0.0, 0.0, 3.0, 0.05 * (factor - 1), 0.0]}]

    levels = [{"path": str(k), "coordinateTransformations": scaled(2**k)} for k in range(2)]
    whole = [{"type": "scale", "scale": [0.25, 1.0, 1.0, 1.0, 1.0]}]
    return [{"axes": AXES, "datasets": levels, "coordinateTransformations": whole, **more}]


def write(path, movie, version="0.5", group=None, **options):
    store_format = 2 if version == "0.4" else 3
    group = zarr.open_group(path, mode="a", zarr_format=store_format, path=group or "")
    for level, data in enumerate((movie, movie[..., ::2, ::2])):
        array = group.create_array(str(level), shape=data.shape, dtype=data.dtype, chunks=(1, 1, 2, 10, 30), **options)
        array[...] = data
    if version == "0.4":
        group.attrs["multiscales"] = multiscales(version="0.4")
    else:
        group.attrs["ome"] = {"version": version, "multiscales": multiscales()}
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_axes_sizes_and_places_are_those_of_the_metadata(tmp_path, movie, version):
    path = write(tmp_path / "a.zarr", movie, version)
    with npsubpix.open_image(path) as image:
        assert image.axes == ("t", "c", "z", "y", "x")
        assert (image.shape, image.dtype, image.chunks) == (movie.shape, movie.dtype, (1, 1, 2, 10, 30))
        assert image.pixel_size == {"z": (0.5, "µm"), "y": (0.1, "µm"), "x": (100.0, "nm")}
        assert image.time_step == (0.25, "s")
        assert image.origin["z"] == (3.0, "µm")
        assert image.notes == ()
        np.testing.assert_array_equal(image.read((slice(1, 3), 0, ..., slice(4, 9))), movie[1:3, 0, ..., 4:9])
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(image)).read(2), movie[2])
    with npsubpix.open_image(path, level=1, channel=1) as image:
        assert image.axes == ("t", "z", "y", "x")
        assert image.pixel_size["y"] == (0.2, "µm")
        assert image.origin["y"] == (0.05, "µm")
        np.testing.assert_array_equal(image.read(), movie[:, 1, :, ::2, ::2])
    with pytest.raises(ImageError, match=r"a\.zarr: .*has 2 levels of resolution; there is no level 2"):
        npsubpix.open_image(path, level=2)
    with npsubpix.open_image(path / "0") as image:  # an array alone has no names
        assert image.axes == ("axis0", "axis1", "axis2", "y", "x")
        np.testing.assert_array_equal(image.read(0), movie[0])


def test_an_array_in_shards_and_named_dimensions(tmp_path, movie):
    names = ["t", "z", "y", "x"]
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=movie[:, 0].shape, dtype=movie.dtype, chunks=(1, 2, 10, 10), shards=(1, 4, 20, 30),
        dimension_names=names,
    )  # fmt: skip
    array[...] = movie[:, 0]
    for source in (tmp_path / "a.zarr", array):
        with npsubpix.open_image(source) as image:
            assert list(image.axes) == names
            np.testing.assert_array_equal(image.read((slice(0, 2), 1)), movie[:2, 0, 1])


def test_images_of_a_group_are_scenes(tmp_path, movie):
    path = tmp_path / "a.zarr"
    zarr.open_group(path, zarr_format=3).attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for number in (0, 2, 10):
        write(path, movie + number, group=str(number))
    for scene, added in enumerate((0, 2, 10)):
        with npsubpix.open_image(path, scene=scene) as image:
            np.testing.assert_array_equal(image.read(0), movie[0] + added)
            assert image.notes == (("image 0 (0) of 3 is read; --series reads others",) if scene == 0 else ())
    with pytest.raises(ImageError, match="has 3 images; there is no image 3"):
        npsubpix.open_image(path, scene=3)


def test_fields_of_wells_are_scenes(tmp_path, movie):
    path = tmp_path / "a.zarr"
    plate = {"wells": [{"path": "A/1"}, {"path": "B/2"}]}
    zarr.open_group(path, zarr_format=2).attrs["plate"] = plate
    for well in ("A/1", "B/2"):
        group = zarr.open_group(path, path=well, zarr_format=2)
        group.attrs["well"] = {"images": [{"path": "0"}, {"path": "1"}]}
        for field in range(2):
            write(path, movie + field + (10 if well == "B/2" else 0), "0.4", group=f"{well}/{field}")
    for scene, added in enumerate((0, 1, 10, 11)):
        with npsubpix.open_image(path, scene=scene) as image:
            np.testing.assert_array_equal(image.read((0, 0, 0)), movie[0, 0, 0] + added)


def level(image, ndim=2):
    return level_of("a.zarr", image, 0, lambda _: ndim)


def test_other_versions_of_the_metadata():
    datasets = [{"path": "0"}]
    assert level({"datasets": datasets}, 5).axes == ("t", "c", "z", "y", "x")  # 0.1 and 0.2
    assert level({"datasets": datasets, "axes": ["y", "x"]}).axes == ("y", "x")  # 0.3
    systems = [{"name": "physical", "axes": AXES[-2:]}]
    steps = [{"type": "scale", "scale": [0.5, 2.0]}, {"type": "translation", "translation": [1.0, 3.0]}]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "sequence", "transformations": steps}]}]
    found = level({"datasets": datasets, "coordinateSystems": systems})  # 0.6
    assert found.sizes == {"y": (0.5, "µm"), "x": (2.0, "nm")}
    assert found.origin == {"y": (1.0, "µm"), "x": (3.0, "nm")}
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "affine", "affine": [[1, 0, 0], [0, 1, 0]]}]}]
    found = level({"datasets": datasets, "coordinateSystems": systems})
    assert found.sizes == {}
    assert "a transformation affine" in found.notes[0]
    with pytest.raises(ImageError, match="name 2 axes"):
        level({"datasets": datasets, "axes": ["y", "x"]}, 3)


def test_chunks_that_are_absent_are_spoken_of(tmp_path, movie):
    path = write(tmp_path / "a.zarr", movie)
    (path / "0" / "c" / "1" / "0" / "0" / "1" / "0").unlink()
    with npsubpix.open_image(path) as image:
        assert image.notes == ("1 of 24 chunks are absent and read as 0",)
        assert not image.read((1, 0, slice(0, 2), slice(10, 20))).any()


def test_a_chunk_that_is_cut_names_its_frame(tmp_path, movie):
    for compressors in (None, "auto"):
        path = write(tmp_path / f"{compressors}.zarr", movie, compressors=compressors)
        chunk = path / "0" / "c" / "1" / "0" / "0" / "1" / "0"
        data = chunk.read_bytes()
        for length in (0, len(data) // 2, len(data) - 1):
            chunk.write_bytes(data[:length])
            with npsubpix.open_image(path, channel=0) as image:
                np.testing.assert_array_equal(image.read(0), movie[0, 0])
                with pytest.raises(ImageError, match=r"\.zarr: t 1, z 0 cannot be read: "):
                    image.read()


def test_metadata_that_are_no_metadata_are_errors(tmp_path, movie):
    path = write(tmp_path / "a.zarr", movie)
    document = json.loads((path / "zarr.json").read_text())
    for text in (
        "{", "[]", json.dumps(document | {"attributes": {}}), json.dumps(document | {"attributes": {"ome": 3}}),
        json.dumps(document | {"attributes": {"ome": {"multiscales": [{}]}}}),
        json.dumps(document | {"attributes": {"ome": {"multiscales": [{"datasets": [{"path": "9"}]}]}}}),
    ):  # fmt: skip
        (path / "zarr.json").write_text(text)
        with pytest.raises(ImageError, match=r"a\.zarr: "):
            npsubpix.open_image(path)
    array = json.loads((path / "0" / "zarr.json").read_text())
    array["chunk_grid"]["configuration"]["chunk_shape"] = [1, 1, 2**20, 2**20, 2**20]
    (path / "0" / "zarr.json").write_text(json.dumps(array))
    with pytest.raises(ImageError, match=r"a chunk of .* takes .*, and max_memory allows 4 GiB"):
        npsubpix.open_image(path / "0")


def test_a_group_without_an_image_says_what_is_in_it(tmp_path, movie):
    zarr.open_group(tmp_path / "a.zarr").create_array("raw", data=movie)
    with pytest.raises(ImageError, match=r"without OME metadata of an image: name one of its arrays, such as .*/raw"):
        npsubpix.open_image(tmp_path / "a.zarr")


def test_a_store_in_a_zip_file(tmp_path, movie):
    with zarr.storage.ZipStore(tmp_path / "a.zarr.zip", mode="w") as store:
        zarr.create_array(store, data=movie[:, 0, 0], chunks=(1, 20, 30))
    with npsubpix.open_image(tmp_path / "a.zarr.zip") as image:
        np.testing.assert_array_equal(image.read(1), movie[1, 0, 0])


class _Quiet(http.server.SimpleHTTPRequestHandler):
    forbidden = ""

    def do_GET(self):
        if self.forbidden and self.forbidden in self.path:
            self.send_error(403)
        else:
            super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("aiohttp")
    handler = type("Handler", (_Quiet,), {})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(tmp_path))
    ) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", handler
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_store_at_a_url(tmp_path, movie, server, version):
    url, handler = server
    write(tmp_path / "a.zarr", movie, version)
    with npsubpix.open_image(f"{url}/a.zarr", channel=1) as image:
        assert image.pixel_size["z"] == (0.5, "µm")
        np.testing.assert_array_equal(image.read((slice(0, 2), 3)), movie[:2, 1, 3])
        first = image.fingerprint()
        assert json.loads(json.dumps(first)) == first
        handler.forbidden = "/0/1" if version == "0.4" else "/0/c/1"
        with pytest.raises(ImageError, match=r"a\.zarr: t 1, z 0 cannot be read: .*403"):
            image.read()
    with pytest.raises(ImageError, match=r"nothing\.zarr: cannot be read as Zarr: "):
        npsubpix.open_image(f"{url}/nothing.zarr")


def test_no_network_is_one_line():
    pytest.importorskip("aiohttp")
    with pytest.raises(
        ImageError, match=r"^http://127\.0\.0\.1:9/a\.zarr: cannot be read as Zarr: [Cc]onnect"
    ) as caught:
        npsubpix.open_image("http://127.0.0.1:9/a.zarr")
    assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match=r"^nowhere://a\.zarr: cannot be read as Zarr: "):
        npsubpix.open_image("nowhere://a.zarr")


def test_a_folder_that_must_not_be_read(tmp_path, movie, monkeypatch):
    path = write(tmp_path / "a.zarr", movie)
    target = path / "0" / "c" / "2"
    original = zarr.storage.LocalStore.get

    async def get(self, key, *args, **options):  # root may read everything
        if "/c/2" in f"/{key}":
            raise PermissionError(13, "Permission denied", str(target))
        return await original(self, key, *args, **options)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", get)
    with npsubpix.open_image(path, channel=0) as image:
        np.testing.assert_array_equal(image.read(1), movie[1, 0])
        with pytest.raises(ImageError, match=r"a\.zarr: t 2, z 0 cannot be read: Permission denied"):
            image.read()
