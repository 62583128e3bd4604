"""Arguments of `locate` that fit one block and not another, and rows that a function of the caller returns."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import npsubpix
from npsubpix.io import ImageError, OutputError, read_table
from tests.movie_cases import assert_same_rows, blocks, in_one_call, movie


@pytest.mark.parametrize("shape", [(3, 40, 48), (1, 40, 48), (40, 40), (12, 1, 1)])
@pytest.mark.parametrize("name", ["mask", "background", "error"])
def test_maps_of_other_frames_are_refused_before_a_block_is_read(name, shape):
    """Twelve frames in blocks of three took a mask of three frames for that of each block, without a word."""
    counts = movie()[:12]
    seen = []
    values = np.zeros(shape, bool) if name == "mask" else np.ones(shape)
    with blocks(3 * counts[0].size), pytest.raises(ValueError, match=rf"^{name} must .* or of all frames") as caught:
        npsubpix.locate(counts, threshold_abs=20, progress=lambda *done: seen.append(done), **{name: values})
    assert not seen
    assert str((12, 40, 48)) in str(caught.value)


def test_maps_of_all_frames_are_those_of_each_block_in_fits_too():
    """Masks, errors and cameras of a fit were those of the first frames in every block, or refused in the second."""
    counts = movie()
    rng = np.random.default_rng(2)
    mask, error = rng.random(counts.shape) < 0.1, rng.uniform(1, 3, counts.shape)
    camera = npsubpix.Camera(offset=rng.uniform(0, 1, counts.shape))
    with blocks(3 * counts[0].size):
        masked = npsubpix.locate(counts, task="spots", threshold_abs=25, fit={"mask": mask})
        weighted = npsubpix.locate(counts, task="spots", threshold_abs=25, error=error)
        counted = npsubpix.locate(counts, task="spots", threshold_abs=25, camera=camera)
    assert_same_rows(masked, in_one_call(counts, 0, {"mask": mask}, threshold_abs=25))
    assert_same_rows(weighted, in_one_call(counts, 0, {"error": error}, threshold_abs=25))
    assert_same_rows(counted, in_one_call(counts, 0, {"camera": camera}, threshold_abs=25))


def test_maps_may_be_lists():
    counts = movie()
    background = np.full(counts.shape, 4.0)
    with blocks(3 * counts[0].size):
        found = npsubpix.locate(counts, background=background.tolist(), threshold_abs=9)
    assert_same_rows(found, in_one_call(counts, 0, background=background, threshold_abs=9))


def test_tables_of_a_region_know_the_whole_frame():
    """Positions are those of the whole frame: pictures and files of the shape of the region would miss some."""
    counts = movie()
    peaks = npsubpix.locate(counts, roi=((5, 30), (8, 48)), threshold_abs=20)
    assert peaks.image_shape == counts.shape[1:]
    assert (peaks.coords < counts.shape[1:]).all()

    def brightest(frames, frame_axis):
        y, x = np.array([np.unravel_index(frame.argmax(), frame.shape) for frame in frames]).T
        return {"frame": np.arange(len(frames)), "y": y, "x": x}

    rows = npsubpix.locate(counts, roi=((5, 30), (8, 48)), task=brightest)
    own = np.zeros_like(counts)
    own[:, 5:30, 8:48] = counts[:, 5:30, 8:48]
    assert (counts[rows["frame"], rows["y"], rows["x"]] == own.max(axis=(1, 2))).all()


@pytest.mark.parametrize("dims", ["t y x", "y x t", "time y x", "Y X Time", "row col frame"])
def test_frames_lie_along_the_axis_of_times_wherever_it_is(dims):
    """Rows of pixels were taken for frames where an array of xarray had its times last."""
    counts, names = movie(), dims.split()
    times = next(k for k, name in enumerate(names) if name[0] in "tTf")
    array = pytest.importorskip("xarray").DataArray(np.moveaxis(counts, 0, times), dims=names)
    assert_same_rows(npsubpix.locate(array, threshold_abs=20), in_one_call(counts, 0, threshold_abs=20))


@pytest.mark.parametrize("axes", ["txy", "xyt", "yxz"])
def test_axes_in_another_order_than_positions_are_refused(axes):
    """Positions (y, x) were (x, y)."""
    with pytest.raises(ValueError, match="needed are those of frames in the order z, y, x"):
        npsubpix.locate(npsubpix.open_image(movie(), axes=axes), threshold_abs=20)


@pytest.mark.parametrize(
    ("dims", "count"),
    [("depth y x", None), ("plane row column", None), ("foo y x", 5), ("step depth y x", 1)],
)
def test_names_of_slices_are_those_of_the_command_line(dims, count):
    """An axis called depth was one of frames."""
    counts, names = movie(shape=(5, 20, 24)), dims.split()
    array = pytest.importorskip("xarray").DataArray(counts.reshape((1,) * (len(names) - 3) + counts.shape), dims=names)
    found = npsubpix.locate(array, threshold_abs=20)
    expected = in_one_call(counts, 0 if count == 5 else None, threshold_abs=20)
    np.testing.assert_array_equal(found.coords, expected.coords)
    assert (found.frame is None) == (count is None)


def test_a_channel_is_chosen_by_any_name_that_axes_of_channels_have():
    """The hint is to choose one, and there was none where the axis was called channel."""
    counts = movie(shape=(4, 20, 24))
    array = pytest.importorskip("xarray").DataArray(np.stack([counts, counts + 9]), dims=["channel", "time", "y", "x"])
    with pytest.raises(ValueError, match=r"has channels, .*: choose one by npsubpix.open_image\(\.\.\., channel=0\)"):
        npsubpix.locate(array, threshold_abs=20)
    found = npsubpix.locate(npsubpix.open_image(array, channel=0), threshold_abs=20)
    assert_same_rows(found, in_one_call(counts, 0, threshold_abs=20))


@pytest.mark.parametrize("frames", [None, "t"])
def test_an_axis_that_may_be_z_or_not_is_not_taken_for_z(frames):
    """Wavelengths were slices, in silence; without frames, or as these, it is said what they are."""
    counts = movie(shape=(4, 5, 20, 24))
    source = npsubpix.open_image(counts, axes=("t", "wavelength", "y", "x"))
    with pytest.raises(
        ValueError, match="it is not known whether wavelength is z: choose a part of it, or name the axes"
    ):
        npsubpix.locate(source, frames=frames, threshold_abs=20)
    named = npsubpix.locate(npsubpix.open_image(counts, axes="tzyx"), frames=frames, threshold_abs=20)
    assert_same_rows(named, in_one_call(counts, 0, threshold_abs=20))
    alone = npsubpix.open_image(counts[0], axes=("wavelength", "y", "x"))
    assert_same_rows(npsubpix.locate(alone, threshold_abs=20), in_one_call(counts[0], 0, threshold_abs=20))


def rows_of(result):
    """Return a function for `locate` that returns rows for the frames of a block."""
    return lambda frames, frame_axis: result(frames if frame_axis == 0 else None)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (lambda _: {"frame": [99], "y": [1]}, "the frame of each row, .* got 99"),
        (lambda _: {"frame": [-1], "y": [1]}, "the frame of each row, .* got -1"),
        (lambda _: {"frame": [0.5], "y": [1]}, "the frame of each row, .* dtype float64"),
        (lambda _: {"frame": 0, "y": 1}, r"columns of one length, .* frame of shape \(\)"),
        (lambda frames: npsubpix.Peaks.concatenate([npsubpix.find_peaks(frames[0])]), "a table without frames"),
        (lambda frames: {"frame": [0], ("y" if len(frames) > 1 else "z"): [1]}, "the same columns .* frame, z"),
    ],
)
def test_rows_of_a_function_that_belong_to_no_frame_are_refused(result, words):
    """They were counted as rows of frames of other blocks, or lost their frames or columns."""
    counts = movie()
    with blocks(4 * counts[0].size), pytest.raises((ValueError, TypeError), match=words):
        npsubpix.locate(counts, task=rows_of(result))


def test_rows_of_a_function_are_frame_by_frame_whatever_the_blocks():
    counts = movie()

    def brightest(frames, frame_axis):
        peaks = npsubpix.find_peaks(frames, frame_axis=0, threshold_abs=40)
        return peaks[np.argsort(-peaks.values, kind="stable")]

    whole = npsubpix.locate(counts, task=brightest)
    with blocks(3 * counts[0].size):
        assert_same_rows(npsubpix.locate(counts, task=brightest), whole)
    assert (np.diff(whole.frame) >= 0).all()


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".h5", ".ecsv", ".fits", ""])
def test_empty_lists_of_the_first_blocks_decide_no_dtype(ending, tmp_path):
    """A function that finds nothing in the first frames must not stop the run at the first that has something."""
    for package in {".parquet": "pyarrow", "": "pyarrow", ".h5": "h5py"}.get(ending, "astropy").split():
        pytest.importorskip(package)
    counts = np.zeros((12, 40, 48), np.uint16)
    counts[[7, 10], 20, 30] = 200

    def bright(frames, frame_axis):
        own = [k for k, frame in enumerate(frames) if frame.max() > 100]
        return {"frame": own, "n": [2**60 + k for k in own], "name": ["a" for _ in own], "is_high": [True for _ in own]}

    path = tmp_path / f"rows{ending}"
    with blocks(3 * counts[0].size):
        npsubpix.locate(counts, task=bright, output=path)
        memory = npsubpix.locate(counts, task=bright)
    columns, _ = read_table(path)
    for found in (columns, memory):
        assert found["frame"].tolist() == [7, 10]
        assert found["n"].tolist() == [2**60 + 1, 2**60 + 1]
        assert (found["name"].tolist(), found["is_high"].tolist()) == (["a", "a"], [True, True])
        assert (found["n"].dtype, found["is_high"].dtype) == (np.int64, bool)


def test_columns_of_several_numbers_per_row_are_refused_at_the_first_block(tmp_path):
    seen = []
    with pytest.raises(ValueError, match=r"a\.csv: columns must have one value per row, got box of shape \(0, 3\)"):
        npsubpix.locate(
            movie(),
            task=rows_of(lambda _: {"frame": [], "box": np.zeros((0, 3))}),
            output=tmp_path / "a.csv",
            progress=lambda *done: seen.append(done),
        )
    assert not seen


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"progress": True}, TypeError, "progress must be a function"),
        ({"output": 3}, TypeError, "output must be a path"),
        ({"background": {"length": 8}}, TypeError, "background has no option 'length': those of"),
        ({"refine": "nearest"}, ValueError, "refine must be one of"),
        ({"task": "spots", "mask": np.zeros((40, 48), bool), "fit": {"mask": None}}, TypeError, "mask .* got twice"),
    ],
)
def test_errors_come_before_pixels_are_read(arguments, error, words):
    class Unread:
        name, axes, shape, dtype, chunks = "movie", ("t", "y", "x"), (13, 40, 48), np.dtype(np.uint16), None

        def read(self, index):
            raise AssertionError(f"{index} is read")

    with pytest.raises(error, match=words):
        npsubpix.locate(Unread(), **arguments)


def test_images_of_a_list_have_one_shape():
    counts = movie()
    with pytest.raises(ImageError, match=r"a list must hold images of one shape, got \(40, 48\), \(5, 48\)"):
        npsubpix.open_image([counts[0], counts[0, :5]])


def test_an_executor_that_was_shut_down_is_named():
    with ThreadPoolExecutor(1) as executor:
        pass
    with pytest.raises(RuntimeError, match="executor was shut down, or lost a worker, and does not take frame"):
        npsubpix.locate(movie(), executor=executor, threshold_abs=20)


# --- outputs


def test_the_source_is_not_replaced_by_its_rows(tmp_path):
    """The rows of an HDF5 movie, written to its name, took the place of the movie."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "movie.h5"
    with h5py.File(path, "w") as file:
        file["movie"] = movie()
    (tmp_path / "link.h5").symlink_to(path)
    before = path.read_bytes()
    with h5py.File(path, "r") as file:
        for source in (path, file["movie"]):
            with pytest.raises(OutputError, match=r"link\.h5: is the source"):
                npsubpix.locate(source, threshold_abs=20, output=tmp_path / "link.h5")
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["mask", "background", "error"])
def test_a_map_is_not_replaced_by_the_rows(name, tmp_path):
    """The rows, written to the name of an HDF5 file with the mask, took the place of the mask."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "maps.h5"
    with h5py.File(path, "w") as file:
        file["map"] = np.zeros(movie().shape[1:], bool if name == "mask" else np.float32)
    before = path.read_bytes()
    with h5py.File(path, "r") as file:
        for value in (f"{path}::/map", file["map"]):
            with pytest.raises(OutputError, match=rf"maps\.h5: is the {name}, which the rows would replace"):
                npsubpix.locate(movie(), task="spots", threshold_abs=20, output=path, **{name: value})
    assert path.read_bytes() == before


def test_a_map_that_is_not_there_is_named(tmp_path):
    """With four files among the arguments, a name alone did not say which of them was meant."""
    with pytest.raises(npsubpix.io.ImageError, match=r"^background: .*flat\.npy: cannot be read"):
        npsubpix.locate(movie(), threshold_abs=20, background=tmp_path / "flat.npy")


def test_rows_are_not_written_into_a_store_that_is_read(tmp_path):
    """The store then had other files: a resume was refused, as the source had changed."""
    zarr = pytest.importorskip("zarr", minversion="3")
    zarr.create_array(tmp_path / "movie.zarr", shape=movie().shape, dtype="uint16")[...] = movie()
    with pytest.raises(OutputError, match=r"rows\.csv: is inside of the source, which it would change"):
        npsubpix.locate(tmp_path / "movie.zarr", threshold_abs=20, output=tmp_path / "movie.zarr" / "rows.csv")


def test_a_run_that_finds_nothing_takes_nothing_away(tmp_path):
    """An error before the first block, such as a frame that cannot be read, removed the rows of an earlier run."""
    pytest.importorskip("pyarrow")
    counts, path = movie(), tmp_path / "rows"
    npsubpix.locate(counts, threshold_abs=20, output=path)
    before = {entry.name: entry.read_bytes() for entry in path.iterdir()}

    def fails(frames, frame_axis):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        npsubpix.locate(counts, task=fails, output=path)
    assert {entry.name: entry.read_bytes() for entry in path.iterdir()} == before
    with blocks(5 * counts[0].size):
        npsubpix.locate(counts, threshold_abs=30, output=path)
    assert read_table(path)[0]["y"].tolist() == npsubpix.locate(counts, threshold_abs=30).coords[:, 0].tolist()


class Stopped(Exception):
    """The end of a run."""


def stop(done, count):
    if done >= 6:
        raise Stopped


def _zarr(counts):
    zarr = pytest.importorskip("zarr", minversion="3")
    return zarr.array(counts, chunks=(3, 40, 48))


@pytest.mark.parametrize(
    "array",
    [
        list,
        lambda counts: pytest.importorskip("xarray").DataArray(counts, dims=("t", "y", "x")),
        lambda counts: pytest.importorskip("xarray").DataArray(counts, dims=("t", "y", "x")).chunk({"t": 3}),
        _zarr,
    ],
    ids=["list", "xarray", "xarray of dask", "zarr"],
)
def test_a_run_does_not_go_on_with_another_array(array, tmp_path):
    """Rows of two movies would be joined in one table, without a word."""
    counts, path = movie(), tmp_path / "a.csv"
    with blocks(3 * counts[0].size):
        with pytest.raises(Stopped):
            npsubpix.locate(array(counts), threshold_abs=20, output=path, progress=stop)
        with pytest.raises(OutputError, match=r"cannot be resumed: source\.digest is"):
            npsubpix.locate(array(counts[::-1].copy()), threshold_abs=20, output=path, resume=True)
        npsubpix.locate(array(counts), threshold_abs=20, output=path, resume=True)
    assert read_table(path)[0]["y"].tolist() == npsubpix.locate(counts, threshold_abs=20).coords[:, 0].tolist()


class Above:
    """A function with a value of its own."""

    def __init__(self, level):
        self.level = level

    def __call__(self, frames, frame_axis, level=None):
        count = frames.shape[frame_axis]
        return {"frame": np.arange(count), "level": np.full(count, self.level if level is None else level)}


def _closure(level):
    return lambda frames, frame_axis: Above(level)(frames, frame_axis)


@pytest.mark.parametrize(
    "function",
    [Above, _closure, lambda level: functools.partial(Above(0), level=level)],
    ids=["object", "closure", "partial"],
)
def test_a_run_does_not_go_on_with_another_function(function, tmp_path):
    """Functions of one name may hold other values."""
    counts, path = movie(), tmp_path / "a.csv"
    with blocks(3 * counts[0].size):
        with pytest.raises(Stopped):
            npsubpix.locate(counts, task=function(1), output=path, progress=stop)
        with pytest.raises(OutputError, match="cannot be resumed: task is"):
            npsubpix.locate(counts, task=function(2), output=path, resume=True)
        npsubpix.locate(counts, task=function(1), output=path, resume=True)
    assert read_table(path)[0]["level"].tolist() == [1] * 13
