"""Files in and out: what a user's images become, and what survives when a disk or a file fails."""

from __future__ import annotations

import errno
import json
import os
import stat
import tracemalloc

import numpy as np
import pytest

import npsubpix
from npsubpix.io import ImageError, OutputError, peak_columns, replacing, write_table
from npsubpix.io._frames import FrameSource

METADATA = {"origin": "center", "images": ["a.tif", "b.tif"], "options": {"size": 3, "minima": False}}


def read(path, **options):
    with FrameSource(path, **options) as stack:
        frames = [np.array(frame) for frame in stack.frames]
    assert len(frames) == stack.count
    assert all(frame.shape == stack.frame_shape for frame in frames)
    return frames


@pytest.fixture
def stack():
    return np.random.default_rng(1).integers(0, 60000, (5, 40, 50)).astype(np.uint16)


@pytest.fixture
def columns():
    peaks = npsubpix.Peaks(
        np.array([[1.1, 2.2], [1 / 3, 1e-17], [5.0, np.nan]]),
        np.array([9.5, 0.1 + 0.2, np.nan]),
        np.array([[1, 2], [0, 0], [5, 9]]),
        np.array([0, 3, 64], np.int32),
        np.array([0, 0, 1]),
    )
    return peak_columns(peaks, files=["a #1.tif", 'b,"2".tif', "ü.tif"])


# --- images


TIFF_FORMS = [
    {},
    {"compression": "zlib"},
    {"metadata": None},
    {"imagej": True},
    {"truncate": True},
    {"byteorder": ">"},
    {"tile": (16, 16), "compression": "lzw"},
    {"ome": True, "metadata": {"axes": "TYX"}},
    {"bigtiff": True},
]


@pytest.mark.parametrize("form", TIFF_FORMS, ids=str)
def test_every_form_of_tiff_gives_the_frames_that_were_written(tmp_path, stack, form):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "stack.tif", stack, **form)
    np.testing.assert_array_equal(read(tmp_path / "stack.tif"), stack)
    options = {"axes": "ZYX"} if "ome" in form else {"volume": True}  # which names T, no slices
    np.testing.assert_array_equal(read(tmp_path / "stack.tif", **options), stack[None])


def test_a_tiff_with_many_planes_a_page_is_read_in_tiles(tmp_path, stack):
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("zarr")
    data = np.random.default_rng(2).integers(0, 255, (32, 64, 48)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "v.tif", data, volumetric=True, tile=(16, 16, 16), compression="zlib")
    np.testing.assert_array_equal(read(tmp_path / "v.tif"), data[None])
    np.testing.assert_array_equal(read(tmp_path / "v.tif", volume=False), data)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_large_stack_is_never_whole_in_memory(tmp_path, compression):
    tifffile = pytest.importorskip("tifffile")
    pages = np.random.default_rng(3).integers(0, 9, (120, 256, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "large.tif", pages, compression=compression)
    size, total = pages.nbytes, pages.sum(axis=(1, 2)).tolist()
    del pages
    tracemalloc.start()
    try:
        with FrameSource(tmp_path / "large.tif") as frames:
            assert [int(frame.sum()) for frame in frames.frames] == total
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size / 8


def test_only_the_pages_asked_for_are_read(tmp_path, stack, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "stack.tif", stack, compression="zlib")
    decoded = []
    for kind in (tifffile.TiffPage, tifffile.TiffFrame):
        original = kind.asarray

        def counted(self, *args, original=original, **options):
            decoded.append(self.index)
            return original(self, *args, **options)

        monkeypatch.setattr(kind, "asarray", counted)
    with FrameSource(tmp_path / "stack.tif") as frames:
        assert decoded == []
        np.testing.assert_array_equal(next(frames.frames), stack[0])
        assert len(set(decoded)) == 1


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_read_in_parts(tmp_path, order):
    data = np.random.default_rng(3).integers(0, 9, (120, 64, 256)).astype(np.uint16)
    np.save(tmp_path / "stack.npy", np.asarray(data, order=order))
    tracemalloc.start()
    try:
        with FrameSource(tmp_path / "stack.npy") as frames:
            for frame, wanted in zip(frames.frames, data, strict=True):
                np.testing.assert_array_equal(frame, wanted)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < data.nbytes / 8


@pytest.mark.parametrize("ending", ["fits", "fits.gz", "fits.bz2"])
@pytest.mark.parametrize("dtype", [">f4", ">i2", "u2", "f8"])
def test_fits_gives_the_frames_that_were_written(tmp_path, stack, ending, dtype):
    fits = pytest.importorskip("astropy.io.fits")
    data = (stack // 4).astype(dtype)
    fits.writeto(tmp_path / f"a.{ending}", data)
    np.testing.assert_array_equal(read(tmp_path / f"a.{ending}"), data)


def test_the_hdu_of_a_fits_file_can_be_chosen(tmp_path, stack):
    fits = pytest.importorskip("astropy.io.fits")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
    images = [fits.ImageHDU(stack[k].astype(np.float32)) for k in range(2)]
    squeezed = fits.CompImageHDU(stack[2].astype(np.int32))
    radio = fits.ImageHDU(stack[3].astype(np.float32)[None, None])
    fits.HDUList([fits.PrimaryHDU(), table, *images, squeezed, radio]).writeto(tmp_path / "a.fits")
    for hdu, plane in ((None, 0), (2, 0), (3, 1), (4, 2)):
        np.testing.assert_array_equal(read(tmp_path / "a.fits", hdu=hdu), stack[plane][None])
    np.testing.assert_array_equal(np.squeeze(read(tmp_path / "a.fits", hdu=5)), stack[3])
    for hdu, reason in ((1, "HDU 1 holds no image"), (9, "no HDU 9")):
        with pytest.raises(ImageError, match=rf"a\.fits.*{reason}.*2, 3, 4 .*, 5"):
            read(tmp_path / "a.fits", hdu=hdu)


@pytest.mark.parametrize("channel", [None, 0, 2])
@pytest.mark.parametrize("ending", ["png", "tif", "npy"])
@pytest.mark.parametrize("samples", [3, 4])
def test_a_colour_image_is_the_mean_of_its_colours_or_one_of_them(tmp_path, channel, ending, samples):
    iio = pytest.importorskip("imageio.v3")
    tifffile = pytest.importorskip("tifffile")
    pixels = np.random.default_rng(4).integers(0, 255, (12, 17, samples)).astype(np.uint8)
    path = tmp_path / f"a.{ending}"
    if ending == "png":
        iio.imwrite(path, pixels)
    elif ending == "tif":
        tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"] * (samples - 3))
    else:
        np.save(path, pixels)
    wanted = pixels[..., :3].mean(axis=-1) if channel is None else pixels[..., channel]
    np.testing.assert_allclose(read(path, channel=channel)[0], wanted, rtol=1e-6)
    with pytest.raises(ImageError, match=f"channel must be 0 to {samples - 1}, got 7"):
        read(path, channel=7)


def test_planar_colours_and_stacks_of_colours(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    pixels = np.random.default_rng(5).integers(0, 255, (4, 3, 20, 30)).astype(np.uint8)
    for name, compression in (("a.tif", None), ("b.tif", "zlib")):
        tifffile.imwrite(tmp_path / name, pixels, photometric="rgb", planarconfig="separate", compression=compression)
        np.testing.assert_allclose(read(tmp_path / name), pixels.mean(axis=1), rtol=1e-6)
        np.testing.assert_array_equal(read(tmp_path / name, channel=1), pixels[:, 1])


@pytest.mark.parametrize(("mode", "dtype"), [("1", np.uint8), ("L", np.uint8), ("LA", np.uint8), ("I;16", np.uint16)])
def test_grey_png_of_every_depth_is_an_image_of_two_dimensions(tmp_path, mode, dtype):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("imageio")
    image.new(mode, (9, 5)).save(tmp_path / "a.png")
    frame = read(tmp_path / "a.png")[0]
    assert frame.shape == (5, 9)
    assert frame.dtype == dtype


def test_channels_that_are_no_colours_are_not_mixed_silently(data):
    path = data("micro_pims_cluster3d/cluster_TZCYX.tif")
    pytest.importorskip("tifffile")
    for volume in (None, True):
        with pytest.raises(ImageError, match="2 channels that are no colours"):
            read(path, volume=volume)
    volumes = [read(path, volume=True, channel=channel) for channel in (0, 1)]
    assert np.shape(volumes) == (2, 3, 10, 31, 38)
    assert not np.array_equal(volumes[0], volumes[1])


def test_real_images_read_as_their_sources_say(data):
    fits, tiff, png = (
        data(name)
        for name in (
            "astro_iraf_m51/dev_pix.fits",
            "smlm_storm_analysis/test_300x200.tif",
            "micro_trackpy_t76/T76S3F00001.png",
        )
    )
    for package in ("astropy", "tifffile", "imageio"):
        pytest.importorskip(package)
    galaxy = read(fits)[0]
    assert galaxy.dtype == np.int16
    assert (round(float(galaxy.mean()), 1), galaxy.min(), galaxy.max()) == (108.3, -1, 19936)
    assert np.shape(read(tiff)) == (10, 200, 300)
    assert read(png)[0].shape == (424, 640)


def bad_images(folder):
    """Files that are no images, and what to say of them."""
    rng = np.random.default_rng(6)
    np.save(folder / "five.npy", np.zeros((2, 2, 2, 8, 8)))
    np.save(folder / "zero.npy", np.zeros((0, 8)))
    np.save(folder / "line.npy", np.zeros(8))
    np.save(folder / "complex.npy", np.zeros((8, 8), complex))
    np.save(folder / "text.npy", np.full((8, 8), "a"))
    np.save(folder / "pickled.npy", np.array([[{}, 1]], object), allow_pickle=True)
    np.save(folder / "whole.npy", rng.normal(size=(30, 30)))
    (folder / "cut.npy").write_bytes((folder / "whole.npy").read_bytes()[:-5])
    (folder / "empty.tif").touch()
    (folder / "notes.txt").write_text("peaks at noon")
    (folder / "text.png").write_text("not a picture at all")
    (folder / "folder.tif").mkdir()
    yield from [
        ("five.npy", "5 dimensions"),
        ("zero.npy", "no pixels"),
        ("line.npy", "1 dimensions"),
        ("complex.npy", "complex128"),
        ("text.npy", "<U1"),
        ("pickled.npy", "pickled"),
        ("cut.npy", "truncated"),
        ("empty.tif", "empty"),
        ("notes.txt", "not an image"),
        ("text.png", "not an image"),
        ("folder.tif", "folder without images"),
        ("missing.tif", "No such file"),
    ]


def test_a_bad_file_is_one_line_that_names_it_and_says_why(tmp_path):
    for name, reason in bad_images(tmp_path):
        with pytest.raises(ImageError) as caught:
            read(tmp_path / name)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / name}: ")
        assert reason in message
        assert "\n" not in message


@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("form", [*TIFF_FORMS[:5], "fits", "fits.gz", "fits.bz2", "png", "npy"], ids=str)
def test_a_truncated_file_is_an_error_never_fewer_frames(tmp_path, stack, form, part):
    iio = pytest.importorskip("imageio.v3")
    tifffile = pytest.importorskip("tifffile")
    fits = pytest.importorskip("astropy.io.fits")
    path = tmp_path / f"a.{form if isinstance(form, str) else 'tif'}"
    if form == "png":
        iio.imwrite(path, stack[0])
    elif form == "npy":
        np.save(path, stack)
    elif isinstance(form, str):
        fits.writeto(path, stack.astype(">i4"))
    else:
        tifffile.imwrite(path, stack, **form)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    try:
        frames = read(path)
    except ImageError:
        return
    np.testing.assert_array_equal(frames, stack)  # only what follows the pixels is missing
    assert part > 0.9


def test_an_error_of_the_caller_is_not_taken_for_one_of_the_image(tmp_path, stack):
    np.save(tmp_path / "a.npy", stack)
    with pytest.raises(KeyError), FrameSource(tmp_path / "a.npy"):
        raise KeyError("mine")


# --- tables


def test_origins_shift_positions_and_leave_pixels_alone():
    image = np.zeros((5, 7))
    image[2, 4] = 1
    peaks = npsubpix.find_peaks(image)
    found = {origin: peak_columns(peaks, origin=origin) for origin in ("center", "corner", "fits")}
    assert [float(found[o]["y"][0]) for o in found] == [2.0, 2.5, 3.0]
    assert [float(found[o]["x"][0]) for o in found] == [4.0, 4.5, 5.0]
    assert all(found[o]["x_index"][0] == 4 for o in found)
    with pytest.raises(ValueError, match="origin must be one of"):
        peak_columns(peaks, origin="top")


def assert_columns(table, columns, names):
    for name in names:
        wanted = columns[name].tolist()
        assert len(table[name]) == len(wanted)
        if columns[name].dtype.kind == "O":
            assert [v.decode() if isinstance(v, bytes) else str(v) for v in table[name]] == wanted
        else:
            np.testing.assert_array_equal(np.asarray(table[name]), wanted)  # to the last bit


@pytest.mark.parametrize("rows", [3, 0])
def test_csv_comes_back_to_the_last_bit(tmp_path, columns, rows):
    pd = pytest.importorskip("pandas")
    columns = {name: column[:rows] for name, column in columns.items()}
    write_table(tmp_path / "a.csv", columns, METADATA)
    table = pd.read_csv(tmp_path / "a.csv")
    assert list(table) == list(columns)
    assert_columns(table, columns, ["file", "frame", "y_index", "ok", "flags", "flag_names"])
    text = pd.read_csv(tmp_path / "a.csv", dtype=str, keep_default_na=False)
    assert_columns({name: text[name].astype(float) for name in ("y", "x", "value")}, columns, ["y", "x", "value"])
    assert json.loads((tmp_path / "a.csv.json").read_text("utf-8")) == METADATA


@pytest.mark.parametrize("rows", [3, 0])
def test_parquet_comes_back_with_units_and_metadata(tmp_path, columns, rows):
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {name: column[:rows] for name, column in columns.items()}
    write_table(tmp_path / "a.parquet", columns, METADATA)
    table = parquet.read_table(tmp_path / "a.parquet")
    assert_columns({name: table[name].to_pylist() for name in table.column_names}, columns, columns)
    assert table.schema.metadata[b"origin"] == b"center"
    assert table.schema.field("y").metadata == {b"unit": b"pixel"}
    assert str(table.schema.field("flags").type) == "int32"


@pytest.mark.parametrize("rows", [3, 0])
def test_hdf5_comes_back_with_attributes(tmp_path, columns, rows):
    h5py = pytest.importorskip("h5py")
    columns = {name: column[:rows] for name, column in columns.items()}
    write_table(tmp_path / "a.h5", columns, {**METADATA, "images": ["long"] * 20000})
    with h5py.File(tmp_path / "a.h5") as file:
        assert list(file) == ["peaks"]
        table = file["peaks"][()]
        assert file["peaks"].attrs["origin"] == "center"
        assert "pixel" in file["peaks"].attrs["column_units"]
    assert table.dtype["flags"] == np.int32
    assert table.dtype["ok"].kind == "b"
    assert_columns(table, columns, columns)


@pytest.mark.parametrize("rows", [3, 0])
def test_ecsv_comes_back_with_units_and_metadata(tmp_path, columns, rows):
    table_module = pytest.importorskip("astropy.table")
    columns = {name: column[:rows] for name, column in columns.items()}
    write_table(tmp_path / "a.ecsv", columns, METADATA)
    table = table_module.Table.read(tmp_path / "a.ecsv")
    assert_columns(table, columns, columns)
    assert str(table["x"].unit) == "pix"
    assert table["value"].unit is None
    assert dict(table.meta) == METADATA


@pytest.mark.parametrize("ending", ["csv", "parquet", "h5", "ecsv"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, columns, ending, monkeypatch):
    path = tmp_path / f"a.{ending}"
    path.write_text("old")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=rf"a\.{ending}: cannot be written: No space left on device"):
        write_table(path, columns, METADATA)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_keeps_its_permissions_and_a_link_its_target(tmp_path, columns):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "a.csv", tmp_path / "a.csv"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_table(link, columns, METADATA)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert "flag_names" in target.read_text("utf-8")
    write_table(tmp_path / "new.csv", columns, METADATA)
    (tmp_path / "touched").touch()
    assert (tmp_path / "new.csv").stat().st_mode == (tmp_path / "touched").stat().st_mode


@pytest.mark.parametrize(
    ("name", "reason"), [("a.xls", "unknown format"), ("nowhere/a.csv", "no folder"), ("b.csv", "is a folder")]
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path, columns, name, reason):
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(OutputError, match=reason):
        write_table(tmp_path / name, columns, METADATA)
