"""Arrays and files as image sources: axes, sizes, parts, other processes, and whether a source has changed."""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest

import npsubpix
from npsubpix.io import ImageError, ImageSource, ImageWarning
from npsubpix.io._axes import lay_out


@pytest.fixture
def movie():
    return np.random.default_rng(1).integers(0, 60000, (6, 20, 30)).astype(np.uint16)


INDICES = (..., 2, -1, slice(1, 4), (slice(1, 4), 3), (..., slice(5, 9)), (2, ..., 0), (slice(0, 0),), (1, 2, 3))


def check(image, movie):
    """Every part of an image is that of the array, before and after a journey to another process."""
    assert isinstance(image, ImageSource)
    assert (image.shape, image.dtype, image.ndim) == (movie.shape, movie.dtype, movie.ndim)
    assert len(image.axes) == image.ndim
    for source in (image, pickle.loads(pickle.dumps(image))):
        for index in INDICES:
            part = source.read(index)
            assert isinstance(part, np.ndarray)
            assert part.dtype == movie.dtype
            np.testing.assert_array_equal(part, movie[index])
    for index in (slice(0, 4, 2), "y", 6, -7, (0, 0, 0, 0), (..., ...), 1.5):
        with pytest.raises(IndexError):
            image.read(index)
    assert json.loads(json.dumps(image.fingerprint())) == image.fingerprint()


def of_zarr(folder, movie):
    return pytest.importorskip("zarr").array(movie, chunks=(2, 10, 30))


def of_h5py(folder, movie):
    file = pytest.importorskip("h5py").File(folder / "a.h5", "w")
    file.create_dataset("movie", data=movie, chunks=(1, 20, 30))
    file.flush()
    return file["movie"]


def mapped(folder, movie):
    np.save(folder / "a.npy", np.concatenate([movie, movie]))
    return np.load(folder / "a.npy", mmap_mode="r")[len(movie) :]


def backwards(movie):
    return np.frombuffer(movie.astype(">u2").tobytes(), ">u2").reshape(movie.shape)


ARRAYS = {
    "numpy": lambda _, movie: movie,
    "read-only, big-endian": lambda _, movie: backwards(movie),
    "strided": lambda _, movie: np.repeat(movie, 2, axis=2)[:, :, ::2],
    "lists": lambda _, movie: movie.tolist(),
    "memory map": mapped,
    "zarr": of_zarr,
    "h5py": of_h5py,
    "dask": lambda _, movie: pytest.importorskip("dask.array").from_array(movie, chunks=(4, 20, 7)),
    "xarray": lambda _, movie: pytest.importorskip("xarray").DataArray(movie, dims=("time", "row", "column")),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*Blosc.*")
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_all_libraries(tmp_path, movie, name):
    array = ARRAYS[name](tmp_path, movie)
    with npsubpix.open_image(array) as image:
        check(image, movie.astype(int) if name == "lists" else movie)
        assert image.name == "array"
        assert image.axes == (("time", "row", "column") if name == "xarray" else ("axis0", "y", "x"))
        chunks = {"zarr": (2, 10, 30), "h5py": (1, 20, 30), "dask": (4, 20, 7)}
        assert image.chunks == chunks.get(name)
        assert npsubpix.open_image(image) is image
    with pytest.raises(ValueError, match="is closed"):
        image.read(0)


def test_a_memory_map_travels_by_its_file(tmp_path, movie):
    image = npsubpix.open_image(mapped(tmp_path, movie)[1:, ::2])
    data = pickle.dumps(image)
    assert len(data) < 1000
    np.testing.assert_array_equal(pickle.loads(data).read(), movie[1:, ::2])
    assert str(tmp_path / "a.npy") in json.dumps(image.fingerprint())


def test_dask_arrays_are_computed_chunk_by_chunk(movie):
    dask = pytest.importorskip("dask.array")
    computed = []

    def block(block_id):
        computed.append(block_id)
        return movie[block_id[0] : block_id[0] + 1]

    array = dask.map_blocks(
        block, chunks=((1,) * 6, (20,), (30,)), dtype=movie.dtype, meta=np.empty((0, 0, 0), np.uint16)
    )
    with npsubpix.open_image(array) as image:
        assert computed == []
        np.testing.assert_array_equal(image.read(slice(2, 4)), movie[2:4])
        assert sorted(computed) == [(2, 0, 0), (3, 0, 0)]


def test_coordinates_of_xarray_are_sizes(movie):
    xarray = pytest.importorskip("xarray")
    coords = {
        "time": np.datetime64("2026-01-01") + np.arange(6) * np.timedelta64(500, "ms"),
        "y": ("y", np.arange(20) * 0.1 + 5, {"units": "um"}),
        "x": ("x", np.geomspace(1, 2, 30)),
    }
    image = npsubpix.open_image(xarray.DataArray(movie, coords, ("time", "y", "x")))
    assert image.time_step == (0.5, "s")
    assert image.pixel_size["y"] == (pytest.approx(0.1), "µm")
    assert image.origin["y"] == (5.0, "µm")
    assert "x" not in image.pixel_size  # which is not even
    with pytest.raises(ImageError, match=r"is an xarray\.Dataset; needed is one of its variables"):
        npsubpix.open_image(xarray.Dataset({"a": (("y", "x"), movie[0])}))


@pytest.mark.parametrize(
    "value", [np.zeros((3, 3), complex), np.array([["a"]]), np.zeros((0, 3)), np.zeros((2, 2), "f4,f4")]
)
def test_what_is_no_image_is_refused(value):
    with pytest.raises(ImageError, match=r"^array: (holds|has no pixels)"):
        npsubpix.open_image(value)


def test_what_is_neither_a_path_nor_an_array_is_named():
    with pytest.raises(TypeError, match=r"an image must be a path, a URL or an array, got a int"):
        npsubpix.open_image(3)


def test_masked_pixels_are_not_read_past(movie):
    masked = np.ma.masked_greater(movie, 50000)
    with pytest.raises(TypeError, match="image must have no masked pixels"):
        npsubpix.open_image(masked)


# Files


def of_npz(folder, movie):
    np.savez(folder / "a.npz", movie=movie, other=movie[0])
    return f"{folder / 'a.npz'}::movie"


def of_npz_compressed(folder, movie):
    np.savez_compressed(folder / "a.npz", movie=movie)
    return folder / "a.npz"


def of_hdf5(folder, movie):
    of_h5py(folder, movie).file.close()
    return f"{folder / 'a.h5'}::/movie"


def of_npy(folder, movie):
    np.save(folder / "a.npy", movie)
    return folder / "a.npy"


def of_fortran(folder, movie):
    np.save(folder / "a.npy", np.asfortranarray(movie))
    return folder / "a.npy"


def of_tiff(folder, movie, **options):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(folder / "a.tif", movie, **options)
    return folder / "a.tif"


def of_fits(folder, movie):
    pytest.importorskip("astropy.io.fits").writeto(folder / "a.fits", movie)
    return folder / "a.fits"


def of_fz(folder, movie):
    fits = pytest.importorskip("astropy.io.fits")
    fits.CompImageHDU(movie, tile_shape=(1, 10, 30)).writeto(folder / "a.fits.fz")
    return folder / "a.fits.fz"


def of_frames(folder, movie):
    image = pytest.importorskip("PIL.Image")
    for number, frame in enumerate(movie, 6):
        image.fromarray(frame).save(folder / f"f{number}.png")
    (folder / "f1.txt").write_text("")
    return str(folder / "f*.png")


FILES = {
    "npy": of_npy,
    "npy, Fortran": of_fortran,
    "npz": of_npz,
    "npz, compressed": of_npz_compressed,
    "hdf5": of_hdf5,
    "tiff": of_tiff,
    "tiff, pages": lambda folder, movie: of_tiff(folder, movie, metadata=None),
    "tiff, deflated": lambda folder, movie: of_tiff(folder, movie, compression="zlib"),
    "tiff, big-endian": lambda folder, movie: of_tiff(folder, movie, byteorder=">"),
    "tiff, tiles": lambda folder, movie: of_tiff(folder, movie, tile=(16, 16)),
    "fits": of_fits,
    "fits, tiles": of_fz,
    "pattern": of_frames,
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_all_formats(tmp_path, movie, name):
    path = FILES[name](tmp_path, movie)
    with npsubpix.open_image(path) as image:
        check(image, movie)
        assert image.name == str(path).partition("::")[0]


@pytest.mark.parametrize("name", FILES)
def test_threads_may_read_from_one_source(tmp_path, movie, name):
    wrong = []
    with npsubpix.open_image(FILES[name](tmp_path, movie)) as image:

        def read(first):
            order = (*range(first, 6), *range(first))
            wrong.extend(number for number in order if not np.array_equal(image.read(number), movie[number]))

        threads = [threading.Thread(target=read, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.mark.parametrize("name", ["npy", "npz", "hdf5", "tiff", "tiff, deflated", "tiff, tiles", "fits"])
def test_a_file_that_is_cut_while_it_is_read_names_the_frame(tmp_path, movie, name):
    movie = np.concatenate([movie] * 40)
    with npsubpix.open_image(FILES[name](tmp_path, movie)) as image:
        path = image.files[0]
        np.testing.assert_array_equal(image.read(0), movie[0])
        with path.open("rb+") as file:
            file.truncate(path.stat().st_size * 3 // 5)
        with pytest.raises(ImageError, match=r"a\.\w+: frame 1\d\d of 240 cannot be read: "):
            image.read(slice(60, 239))
        np.testing.assert_array_equal(image.read(60), movie[60])


@pytest.mark.filterwarnings("ignore")  # of readers, in their own words
@pytest.mark.parametrize("name", sorted({*FILES} - {"pattern"}))
def test_a_file_that_is_cut_anywhere_is_an_error_or_whole(tmp_path, movie, name):
    target = FILES[name](tmp_path, movie)
    with npsubpix.open_image(target) as image:
        path = image.files[0]
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, len(whole) // 37):
        path.write_bytes(whole[:length])
        caught = None
        try:
            with npsubpix.open_image(target) as image:
                np.testing.assert_array_equal(image.read(), movie)
        except ImageError as error:
            caught = str(error)
        assert caught is None or caught.startswith(f"{path}: "), caught
        assert caught is not None or length > len(whole) - 4000  # padding, or an index of what was read


@pytest.mark.parametrize("name", ["npy", "hdf5", "tiff", "fits", "pattern"])
def test_a_file_that_grows_is_read_as_it_was_and_tells_by_its_fingerprint(tmp_path, movie, name):
    with npsubpix.open_image(FILES[name](tmp_path, movie)) as image:
        before = image.fingerprint()
        assert image.fingerprint() == before
        with image.files[-1].open("ab") as file:
            file.write(bytes(movie.nbytes))
        np.testing.assert_array_equal(image.read(slice(2, 5)), movie[2:5])
        assert image.fingerprint() != before


def test_arrays_tell_by_their_fingerprint_that_they_changed(movie):
    first = npsubpix.open_image(movie).fingerprint()
    assert npsubpix.open_image(movie.copy()).fingerprint() == first
    movie[3] += 1
    assert npsubpix.open_image(movie).fingerprint() != first


def test_another_process_opens_the_file_again(tmp_path, movie):
    image = npsubpix.open_image(of_tiff(tmp_path, np.stack([movie, movie + 1]), metadata={"axes": "CTYX"}), channel=1)
    (tmp_path / "image").write_bytes(pickle.dumps(image))
    code = "import pickle, sys; print(int(pickle.load(open(sys.argv[1], 'rb')).read(4).sum()))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "image"], capture_output=True, text=True, check=True)
    assert int(done.stdout) == int(movie[4].sum(dtype=np.int64) + movie[4].size)
    (tmp_path / "a.tif").unlink()
    with pytest.raises(ImageError, match=r"a\.tif: cannot be read: No such file"):
        pickle.loads((tmp_path / "image").read_bytes())


# Containers


def test_a_dataset_of_an_hdf5_file_is_named_unless_it_is_the_only_one(tmp_path, movie):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("run/movie", data=movie)
        for axis, name in enumerate("tyx"):
            dataset.dims[axis].label = name
        dataset.attrs["element_size_um"] = (0.5, 0.1, 0.2)
        file["numbers"] = np.arange(5)
    with npsubpix.open_image(tmp_path / "a.h5") as image:
        assert image.axes == ("t", "y", "x")
        assert image.pixel_size == {"t": (0.5, "µm"), "y": (0.1, "µm"), "x": (0.2, "µm")}
        np.testing.assert_array_equal(image.read(1), movie[1])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["other"] = movie
    with pytest.raises(
        ImageError, match=r"2 datasets that could be images; name one: a\.h5::/other, a\.h5::/run/movie"
    ):
        npsubpix.open_image(tmp_path / "a.h5")
    for part in ("/nothing", "/run"):
        with pytest.raises(ImageError, match=rf"{part} is (not there|no dataset); name one"):
            npsubpix.open_image(f"{tmp_path / 'a.h5'}::{part}")
    with pytest.raises(ImageError, match=r"a\.npy: is a NumPy file, and holds nothing to choose by ::/x"):
        npsubpix.open_image(f"{of_npy(tmp_path, movie)}::/x")


def test_a_missing_file_of_a_virtual_dataset_is_named(tmp_path, movie):
    h5py = pytest.importorskip("h5py")
    layout = h5py.VirtualLayout((2, *movie.shape), movie.dtype)
    for number in range(2):
        with h5py.File(tmp_path / f"part{number}.h5", "w") as file:
            file["movie"] = movie + number
        layout[number] = h5py.VirtualSource(f"part{number}.h5", "movie", movie.shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("movie", layout)
    with npsubpix.open_image(tmp_path / "a.h5") as image:
        np.testing.assert_array_equal(image.read((1, 2)), movie[2] + 1)
    (tmp_path / "part1.h5").unlink()
    with pytest.raises(ImageError, match=r"a\.h5: /movie is made of several files, of which part1\.h5 is missing"):
        npsubpix.open_image(tmp_path / "a.h5")


def test_an_array_of_an_npz_file_is_named_unless_it_is_the_only_one(tmp_path, movie):
    path = of_npz(tmp_path, movie).partition("::")[0]
    with pytest.raises(ImageError, match=r"holds 2 arrays; name one: a\.npz::movie, a\.npz::other"):
        npsubpix.open_image(path)
    with pytest.raises(ImageError, match="has no array x; holds 2 arrays"):
        npsubpix.open_image(f"{path}::x")
    with npsubpix.open_image(of_npz_compressed(tmp_path, movie)) as image:
        assert image.notes == ("is compressed as a whole: all of it is loaded when a part is read",)


def test_pickles_are_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("a pickle was loaded",)

    np.save(tmp_path / "a.npy", np.array([Trap()], object))
    np.savez(tmp_path / "a.npz", np.array([Trap()], object))
    np.savez_compressed(tmp_path / "b.npz", np.array([Trap()], object))
    for name in ("a.npy", "a.npz", "b.npz"):
        with pytest.raises(ImageError, match="holds pickled objects, which are not loaded"):
            npsubpix.open_image(tmp_path / name)


# FITS


def test_a_scaled_cube_is_scaled_part_by_part_and_keeps_its_world(tmp_path, movie):
    fits = pytest.importorskip("astropy.io.fits")
    header = fits.Header()
    header.update(
        {
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CTYPE3": "FREQ", "CRVAL1": 10.0, "CRVAL2": 20.0, "CRVAL3": 1e9,
            "CDELT1": -1e-4, "CDELT2": 2e-4, "CDELT3": 1e6, "CRPIX1": 15, "CRPIX2": 10,
        }
    )  # fmt: skip
    hdu = fits.PrimaryHDU((movie // 2).astype(np.int16), header)
    hdu.writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update", do_not_scale_image_data=True) as file:
        file[0].header["BSCALE"], file[0].header["BZERO"] = 0.5, 100.0
    with npsubpix.open_image(tmp_path / "a.fits") as image:
        assert image.axes == ("freq", "y", "x")
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image.read((2, slice(3, 5))), (movie[2, 3:5] // 2) * 0.5 + 100)
        assert image.pixel_size["y"] == (pytest.approx(0.72), "arcsec")
        sky = image.wcs.celestial.pixel_to_world_values(14, 9)
        np.testing.assert_allclose(sky, (10, 20))
        assert image.header["CTYPE3"] == "FREQ"
        again = pickle.loads(pickle.dumps(image))
        assert again.wcs.naxis == 3
    with npsubpix.open_image(of_npy(tmp_path, movie)) as image:
        assert image.wcs is None


def test_no_more_of_a_scaled_cube_is_in_memory_than_is_read(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    cube = np.random.default_rng(3).integers(0, 999, (64, 128, 128)).astype(np.int16)
    hdu = fits.PrimaryHDU(cube)
    hdu.writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update", do_not_scale_image_data=True) as file:
        file[0].header["BSCALE"] = 0.25
    with npsubpix.open_image(tmp_path / "a.fits") as image:
        image.read(0)
        tracemalloc.start()
        try:
            for number in (0, 30, 63):
                np.testing.assert_array_equal(image.read(number), cube[number] * np.float32(0.25))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < cube.nbytes / 4


# TIFF


def test_sizes_of_every_image_of_an_ome_file(tmp_path, movie):
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        for scale in (0.1, 0.2):
            sizes = {"PhysicalSizeX": scale, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": scale, "TimeIncrement": scale}
            file.write(movie, metadata={"axes": "TYX", **sizes})
    for scene, scale in enumerate((0.1, 0.2)):
        with npsubpix.open_image(tmp_path / "a.ome.tif", scene=scene) as image:
            assert image.pixel_size == {"y": (scale, "µm"), "x": (scale, "nm")}
            assert image.time_step == (scale, "s")
            assert image.chunks == (1, 20, 30)


def test_a_level_of_a_pyramid_and_its_pixels(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    image = np.random.default_rng(2).integers(0, 255, (64, 96)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        options = {"tile": (16, 16), "compression": "zlib"}
        metadata = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
        file.write(image, subifds=1, metadata=metadata, **options)
        file.write(image[::2, ::2], subfiletype=1, **options)
    with npsubpix.open_image(tmp_path / "a.ome.tif") as source:
        np.testing.assert_array_equal(source.read(), image)
        assert source.chunks == (16, 16)
    with npsubpix.open_image(tmp_path / "a.ome.tif", level=1) as source:
        np.testing.assert_array_equal(source.read(), image[::2, ::2])
        assert source.pixel_size == {"y": (0.5, "µm"), "x": (1.0, "µm")}
    with pytest.raises(ImageError, match="has 2 levels of resolution; there is no level 2"):
        npsubpix.open_image(tmp_path / "a.ome.tif", level=2)


def test_a_part_of_a_large_page_decodes_its_tiles_only(tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("zarr")
    monkeypatch.setattr("npsubpix.io._tiff._LARGE", 1000)
    image = np.random.default_rng(2).integers(0, 255, (64, 96)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(16, 16), compression="zlib")
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda *_, **__: pytest.fail("the whole page was decoded"))
    with npsubpix.open_image(tmp_path / "a.tif") as source:
        np.testing.assert_array_equal(source.read((slice(10, 30), slice(5, 9))), image[10:30, 5:9])


def test_a_movie_of_more_than_4_gib_of_which_one_page_describes_all(tmp_path):
    """As ImageJ writes: a hole in the file stands for the frames between."""
    pytest.importorskip("tifffile")
    shape, path = (9, 16000, 16000), tmp_path / "a.tif"
    with path.open("wb") as file:
        description = f"ImageJ=1.11a\nimages={shape[0]}\nframes={shape[0]}\nhyperstack=true\nunit=um\n\0".encode()
        tags = [(256, 4, 1, 16000), (257, 4, 1, 16000), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1),
                (270, 2, len(description), 200), (273, 4, 1, 1024), (277, 3, 1, 1), (278, 4, 1, 16000),
                (279, 4, 1, 2 * 16000 * 16000)]  # fmt: skip
        entries = b"".join(
            np.array([tag, kind], "<u2").tobytes() + np.array([n, value], "<u4").tobytes()
            for tag, kind, n, value in tags
        )
        file.write(b"II*\0\x08\0\0\0" + np.uint16(len(tags)).tobytes() + entries + bytes(4))
        file.seek(200)
        file.write(description)
        file.seek(1024 + 8 * 2 * 16000 * 16000)
        file.write(np.arange(100, dtype="<u2").tobytes())
        file.truncate(1024 + 9 * 2 * 16000 * 16000)
    with npsubpix.open_image(path) as image:
        assert (image.axes, image.shape) == (("t", "y", "x"), shape)
        np.testing.assert_array_equal(image.read((8, 0, slice(0, 100))), np.arange(100))
        assert not image.read((slice(2, 4), slice(0, 2))).any()


# Frames


@pytest.mark.parametrize(
    ("axes", "frames", "wanted"),
    [
        ("TZYX", None, ("t", ("z", "y", "x"), 5)),
        ("ZTYX", None, ("t", ("z", "y", "x"), 4)),
        ("ZYXT", None, ("t", ("z", "y", "x"), 6)),
        ("ZCYX", "z", ("z", ("y", "x"), 5)),
        ("ZCYX", 0, ("z", ("y", "x"), 5)),
    ],
)
def test_times_are_frames_unless_another_axis_is_named(axes, frames, wanted):
    data = np.random.default_rng(0).integers(0, 99, (5, 4, 7, 6))
    source = npsubpix.open_image(data, axes=axes, channel=1 if "C" in axes else None)
    layout, _ = lay_out(source, frames=frames)
    assert (layout.frame_axis, layout.axes, layout.count) == wanted
    order = [axes.lower().index(name) for name in (layout.frame_axis, *layout.axes)]
    expected = np.transpose(data[:, 1], (0, 1, 2)) if "C" in axes else np.transpose(data, order)
    np.testing.assert_array_equal(layout.block(1, 3), expected[1:3])


def test_frames_that_are_not_there_are_refused(movie):
    source = npsubpix.open_image(movie, axes="tyx")
    for frames, reason in (
        ("z", "none is called 'z'"),
        (5, "no axis 5"),
        ("y", "is an axis of pixels"),
        (False, "no Z"),
    ):
        with pytest.raises(ImageError, match=reason):
            lay_out(source, frames=frames)
    layout, _ = lay_out(npsubpix.open_image(movie), frames=False)
    assert (layout.count, layout.shape, layout.is_stack) == (1, movie.shape, False)


def test_a_damage_is_a_warning_where_pixels_are_there(tmp_path, movie):
    image = pytest.importorskip("PIL.Image")
    frames = [image.fromarray((frame >> 8).astype(np.uint8)) for frame in movie]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "a.gif").write_bytes((tmp_path / "a.gif").read_bytes()[:-1])
    with pytest.warns(ImageWarning, match="has no end"):
        npsubpix.open_image(tmp_path / "a.gif").close()


def test_mixed_shapes_in_a_folder_name_the_file(tmp_path, movie):
    of_frames(tmp_path, movie)
    pytest.importorskip("PIL.Image").fromarray(movie[0, :9]).save(tmp_path / "f8.png")
    with npsubpix.open_image(tmp_path) as image:
        assert "f1.txt left out: not images" in image.notes
        np.testing.assert_array_equal(image.read(1), movie[1])
        with pytest.raises(
            ImageError, match=r"frame 2 of 6 cannot be read: .*f8\.png: is 9 × 30 uint16, axes y, x; needed"
        ):
            image.read()


def test_open_image_costs_nothing_until_it_reads(tmp_path, movie):
    np.save(tmp_path / "a.npy", np.zeros((3, 4)))
    with (tmp_path / "a.npy").open("r+b") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (4000, 4000, 400)})
        file.truncate(128 + 8 * 4000 * 4000 * 400)  # 51 GB, a hole
    with npsubpix.open_image(tmp_path / "a.npy") as image:
        assert image.read((3999, 3999)).sum() == 0


def first_pixels(image, count):
    return os.getpid(), id(image), image.read((slice(0, count), 0, 0)).tolist()


def test_a_worker_opens_a_file_once_and_again_when_it_has_changed(tmp_path, movie):
    path = of_tiff(tmp_path, movie, metadata=None)
    with (
        npsubpix.open_image(path) as image,
        concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        found = [pool.submit(first_pixels, image, count).result() for count in (2, 3)]
        assert found[0][:2] == found[1][:2]
        assert found[0][0] != os.getpid()
        assert found[1][2] == movie[:3, 0, 0].tolist()
        of_tiff(tmp_path, movie[:, ::-1], metadata=None)
        os.utime(path, ns=(1, 1))
        assert pool.submit(first_pixels, image, 2).result()[2] == movie[:2, -1, 0].tolist()
