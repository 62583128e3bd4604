"""Movies in blocks: the rows of one call on the whole array, whatever blocks, sources and outputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npsubpix
from npsubpix._arrays.options import check_memory
from tests.movie_cases import assert_same_rows, blocks, in_one_call, movie

#: Options whose kernels other tests use as well.
OPTIONS = {
    "threshold": {"threshold_abs": 12},
    "relative": {"threshold_rel": 0.5, "min_distance": 4.0},
    "few": {"num_peaks": 3, "exclude_border": False},
    "noise": {"background": 4.0, "sigma": 2.0, "threshold_abs": 5},
    "centroid": {"threshold_abs": 15, "refine": "centroid", "minima": True},
    "minima": {"threshold_abs": 15, "plateau": "centroid", "minima": True},
}

WIDE = {
    "detect": {"detect": "gaussian", "detect_sigma": 1.0, "threshold_abs": 4},
    "dog": {"detect": "dog", "detect_sigma": 1.2, "threshold_abs": 4},
    "log": {"detect": "log", "detect_sigma": 1.2, "num_peaks": 4, "refine": "centroid"},
    "fit": {"threshold_abs": 18, "refine": "fit"},
    "wide": {"size": 7, "plateau": "drop"},
    "periodic": {"mode": "wrap", "threshold_abs": 12},
    "camera": {"threshold_abs": 12, "camera": npsubpix.Camera(offset=1.0)},
}


@pytest.mark.parametrize("name", OPTIONS)
@settings(max_examples=8, deadline=None)
@given(pixels=st.integers(1, 20_000), axis=st.sampled_from([0, 1, -1]), seed=st.integers(0, 9))
def test_blocks_give_the_rows_of_one_call(name, pixels, axis, seed):
    """Where a movie is cut must never show in the table."""
    counts = np.moveaxis(movie(seed), 0, axis)
    with blocks(pixels):
        found = npsubpix.locate(counts, frames=axis, **OPTIONS[name])
    assert_same_rows(found, in_one_call(counts, axis, **OPTIONS[name]))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize(
    ("depth", "dtype"),
    [(0, "uint8"), (0, "uint16"), (0, "int32"), (0, "float32"), (0, "float64"), (6, "uint16"), (6, "float32")],
)
def test_blocks_of_each_dtype_and_of_volumes(name, dtype, depth):
    counts = movie(3, (9, *([depth] if depth else []), 32, 40)).astype(dtype)
    for pixels in (1, 3 * counts[0].size, 5 * counts[0].size + 1):
        with blocks(pixels):
            assert_same_rows(npsubpix.locate(counts, frames=0, **WIDE[name]), in_one_call(counts, 0, **WIDE[name]))


@pytest.mark.parametrize("fit", [{}, {"model": "gaussian", "width": "fixed", "sigma": 1.3}])
def test_spots_are_fitted_block_by_block(fit):
    counts = movie()
    with blocks(4 * counts[0].size):
        found = npsubpix.locate(counts, task="spots", threshold_abs=25, fit=fit)
    assert_same_rows(found, in_one_call(counts, 0, fit, threshold_abs=25))


def test_a_camera_is_that_of_the_fit():
    """Electrons, and errors of photons, as the two calls in a row would give."""
    counts, camera = movie(), npsubpix.Camera(offset=2.0)
    found = npsubpix.locate(counts, task="spots", threshold_abs=25, camera=camera)
    assert found.flux_unit == "electron"
    assert_same_rows(found, in_one_call(counts, 0, {"camera": camera}, threshold_abs=25))


def test_the_background_of_each_frame_is_measured():
    counts = movie()
    background = npsubpix.local_background(counts, 16, frame_axis=0)
    with blocks(3 * counts[0].size):
        found = npsubpix.locate(counts, background={"size": 16}, threshold_abs=6)
    assert_same_rows(found, in_one_call(counts, 0, background=background, threshold_abs=6))


def test_maps_of_a_frame_and_of_all_frames():
    counts = movie()
    rng = np.random.default_rng(1)
    for mask in (rng.random(counts.shape[1:]) < 0.1, rng.random(counts.shape) < 0.1):
        options = {"mask": mask, "background": rng.normal(4, 1, counts.shape), "threshold_abs": 9}
        with blocks(2 * counts[0].size):
            found = npsubpix.locate(counts, **options)
        assert_same_rows(found, in_one_call(counts, 0, **options))
        with blocks(2 * counts[0].size):
            found = npsubpix.locate(counts, task="spots", mask=mask, threshold_abs=25)
        assert_same_rows(found, in_one_call(counts, 0, {"mask": mask}, mask=mask, threshold_abs=25))


def test_a_region_is_counted_from_the_corner_of_the_frame():
    counts = movie()
    with blocks(3 * counts[0].size):
        found = npsubpix.locate(counts, roi=((5, 30), slice(8, None)), threshold_abs=20)
    expected = in_one_call(counts[:, 5:30, 8:], 0, threshold_abs=20)
    assert np.array_equal(found.indices, expected.indices + np.array([5, 8]))
    assert np.array_equal(found.coords, expected.coords + np.array([5.0, 8.0]))


def test_all_positions_of_a_region_are_counted_from_the_corner_of_the_frame():
    """Those of a function too: a table with centroids, and columns, of frames and of a single image."""
    counts = movie()

    def measured(frames, frame_axis):
        peaks = npsubpix.find_peaks(frames, threshold_abs=20, frame_axis=frame_axis)
        return npsubpix.measure_spots(frames, peaks, radius=3, frame_axis=frame_axis)

    def as_columns(frames, frame_axis):
        table = measured(frames, frame_axis)
        frame = {} if table.frame is None else {"frame": table.frame}
        return {**frame, "y": table.coords[:, 0], "x": table.coords[:, 1], "flux": table.flux}

    part, corner = counts[:, 5:30, 8:], np.array([5.0, 8.0])
    for image, own, axis in ((counts, part, 0), (counts[3], part[3], None)):
        expected = measured(own, axis)
        arguments = {"frames": None if axis == 0 else False, "roi": ((5, 30), (8, counts.shape[2]))}
        found = npsubpix.locate(image, task=measured, **arguments)
        columns = npsubpix.locate(image, task=as_columns, **arguments)
        assert len(found) == len(columns["y"]) == len(expected) > 0
        np.testing.assert_array_equal(found.coords, expected.coords + corner)
        np.testing.assert_array_equal(found.centroid, expected.centroid + corner)
        np.testing.assert_array_equal(np.column_stack([columns["y"], columns["x"]]), expected.coords + corner)
        np.testing.assert_array_equal(columns["flux"], expected.flux)


def test_frames_by_name_by_number_and_none():
    counts = movie(shape=(5, 6, 20, 24))
    assert len(npsubpix.open_image(counts, axes="tzyx").axes) == 4
    for frames in (None, "t", 0, -4):
        found = npsubpix.locate(npsubpix.open_image(counts, axes="tzyx"), frames=frames, threshold_abs=20)
        assert_same_rows(found, in_one_call(counts, 0, threshold_abs=20))
    volume = npsubpix.locate(counts[0], frames=False, threshold_abs=20)
    assert_same_rows(volume, in_one_call(counts[0], None, threshold_abs=20))
    assert_same_rows(npsubpix.locate(npsubpix.open_image(counts[0], axes="zyx"), threshold_abs=20), volume)


def test_a_function_is_called_with_blocks():
    """Whoever brings an algorithm of his own gets blocks of frames, and rows in order."""
    counts = movie()
    lengths = []

    def brightest(frames, frame_axis, above):
        lengths.append(len(frames))
        places = [np.unravel_index(frame.argmax(), frame.shape) for frame in frames]
        kept = [k for k, place in enumerate(places) if frames[k][place] > above]
        return {"frame": np.array(kept, int), "y": np.array([places[k][0] for k in kept])}

    with blocks(4 * counts[0].size):
        found = npsubpix.locate(counts, task=brightest, above=10)
    assert lengths == [4, 4, 4, 1]
    assert found["frame"].tolist() == list(range(13))
    assert found["y"].tolist() == [np.unravel_index(f.argmax(), f.shape)[0] for f in counts]


def test_tensors_on_the_host_are_arrays():
    counts = movie()
    torch = pytest.importorskip("torch")
    found = npsubpix.locate(torch.from_numpy(counts.astype(np.float32)), threshold_abs=20)
    assert_same_rows(found, in_one_call(counts.astype(np.float32), 0, threshold_abs=20))


def test_progress_counts_frames():
    counts, seen = movie(), []
    with blocks(4 * counts[0].size):
        npsubpix.locate(counts, progress=lambda done, count: seen.append((done, count)))
    assert seen == [(4, 13), (8, 13), (12, 13), (13, 13)]


class Failing:
    """A movie of which a frame cannot be read."""

    name, axes, dtype, chunks = "broken.tif", ("t", "y", "x"), np.dtype(np.uint16), None

    def __init__(self, images, frame):
        self.images, self.frame, self.shape = images, frame, images.shape

    def read(self, index):
        first = index[0]
        if first.start <= self.frame < first.stop:
            raise OSError("the disk has gone")
        return self.images[index]

    def fingerprint(self):
        return {}


def test_rows_before_a_frame_that_cannot_be_read_are_kept(tmp_path):
    """A movie that is cut short must not lose what was found, and the message says where."""
    counts = movie()
    table = tmp_path / "rows"
    with blocks(4 * counts[0].size), pytest.raises(npsubpix.io.ImageError, match=r"broken.tif: frame 6 of 13 .* gone"):
        npsubpix.locate(Failing(counts, 6), threshold_abs=20, output=table)
    with blocks(4 * counts[0].size):
        done = npsubpix.locate(Failing(counts, 99), threshold_abs=20, output=table, resume=True)
    expected = in_one_call(counts, 0, threshold_abs=20)
    assert (done.n_frames, done.n_rows, done.n_ok) == (13, len(expected), int(expected.ok.sum()))
    frame = pytest.importorskip("pandas").read_parquet(table)
    assert np.array_equal(frame["y"], expected.coords[:, 0])
    assert np.array_equal(frame["frame"], expected.frame)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"task": "blob"}, ValueError, "task must be one of 'peaks', 'spots', 'blobs' or a function, got 'blob'"),
        ({"treshold_abs": 3}, TypeError, "locate has no option 'treshold_abs'"),
        ({"fit": {}}, TypeError, "fit is for task='spots'"),
        ({"task": "spots", "fit": {"breadth": 1}}, TypeError, "fit has no option 'breadth'"),
        ({"frames": "q"}, ValueError, "frames must be an axis of array"),
        ({"frames": 3}, ValueError, "frames must be an axis of array"),
        ({"frames": True}, TypeError, "frames must be the name or the number"),
        ({"roi": ((0, 3),)}, ValueError, "roi must have a slice per axis"),
        ({"roi": ((0, 3), (5, 5))}, ValueError, "hold pixels"),
        ({"resume": True}, ValueError, "resume is for an output"),
        ({"executor": 0}, ValueError, "executor must be at least 1 process"),
        ({"executor": "dask"}, TypeError, "executor must be None, a number of processes"),
        ({"max_memory": "lots"}, ValueError, "max_memory must be a number of bytes"),
        ({"max_memory": 4000, "mode": "wrap"}, ValueError, "mode='wrap' needs the whole frame"),
        ({"max_memory": 4000, "task": len}, ValueError, "a function as the task needs the whole frame"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(arguments, error, words):
    with pytest.raises(error, match=words) as caught:
        npsubpix.locate(movie(), **arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [("1 GiB", 2**30), ("500 MB", 5 * 10**8), ("1.5kB", 1500), ("64", 64), (10, 10), ("2 KiB", 2048)],
)
def test_memory_in_bytes_and_in_units(memory, expected):
    assert check_memory(memory) == expected


def test_dask_is_read_chunk_by_chunk():
    dask = pytest.importorskip("dask.array")
    counts, seen = movie(), []

    def load(block_info=None):
        (first, last), *_ = block_info[None]["array-location"]
        seen.append((first, last))
        return counts[first:last]

    array = dask.map_blocks(load, chunks=((3, 3, 3, 3, 1), 40, 48), dtype=counts.dtype, meta=counts[:0])
    seen.clear()
    with blocks(3 * counts[0].size):
        found = npsubpix.locate(array, threshold_abs=20, progress=lambda done, _: seen.append(done))
    assert_same_rows(found, in_one_call(counts, 0, threshold_abs=20))
    assert sorted(c for c in seen if isinstance(c, tuple)) == [(0, 3), (3, 6), (6, 9), (9, 12), (12, 13)]
    assert seen.index(3) < seen.index((9, 12))  # rows come while later chunks are not read
