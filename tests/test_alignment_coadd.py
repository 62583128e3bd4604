"""Aligned exposures added up: known sums, what is left out, and little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.ndimage as ndi

import npsubpix
from npsubpix import Alignment, AlignmentFlags, align, align_stack, coadd

SHIFTS = [(0.0, 0.0), (1.0, -2.0), (-3.0, 1.0), (2.0, 4.0), (0.0, 3.0)]


def matrix_of(shift) -> np.ndarray:
    matrix = np.eye(3)
    matrix[:2, 2] = shift
    return matrix


def exposures(rng: np.random.Generator, shape=(40, 50), noise: float = 1.0) -> tuple[np.ndarray, list[np.ndarray]]:
    """A scene, and exposures of it that are displaced by whole pixels, which interpolation leaves as they are."""
    scene = ndi.gaussian_filter(rng.uniform(0, 1000, (shape[0] + 10, shape[1] + 10)), 1.5)
    frames = []
    for y, x in SHIFTS:
        rows, columns = 5 - int(y), 5 - int(x)
        frame = scene[rows : rows + shape[0], columns : columns + shape[1]]
        frames.append(frame + rng.normal(0, noise, shape))
    return scene[5 : 5 + shape[0], 5 : 5 + shape[1]], frames


def expected(frames, values=None) -> np.ndarray:
    """Exposures on the pixels of the first, NaN beyond their border."""
    height, width = frames[0].shape
    moved = np.full((len(frames), height, width), np.nan)
    for k, (y, x) in enumerate(SHIFTS):
        rows, columns = np.arange(height) + int(y), np.arange(width) + int(x)
        inside = np.ix_((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
        taken = np.ix_(rows[(rows >= 0) & (rows < height)], columns[(columns >= 0) & (columns < width)])
        moved[k][inside] = frames[k][taken]
    return moved


@pytest.mark.parametrize("method", ["mean", "median", "clip"])
@pytest.mark.parametrize("max_memory", [2**30, 10_000])
def test_sums_are_those_of_numpy(rng, method, max_memory):
    """Also by bands of a row and less."""
    _, frames = exposures(rng)
    result = coadd(frames, [matrix_of(s) for s in SHIFTS], method=method, sigma=100.0, max_memory=max_memory)
    moved = expected(frames)
    want = np.nanmedian(moved, axis=0) if method == "median" else np.nanmean(moved, axis=0)
    np.testing.assert_allclose(result.image, want, atol=1e-8)
    np.testing.assert_array_equal(result.coverage, np.isfinite(moved).sum(0))
    np.testing.assert_array_equal(result.weight, result.coverage)
    assert result.rejected.sum() == 0
    assert result.used.all()


@pytest.mark.parametrize("method", ["mean", "median", "clip"])
def test_bits_do_not_depend_on_the_memory(rng, method):
    """Also where parts end within tiles, or hold several."""
    frames = rng.normal(100, 3, (3, 300, 530)).astype(np.float32)
    turn = np.array([[np.cos(0.02), -np.sin(0.02), 3.3], [np.sin(0.02), np.cos(0.02), -4.7], [0, 0, 1]])
    matrices = [np.eye(3), matrix_of((0.37, -1.61)), turn]
    whole = coadd(frames, matrices, method=method, sigma=2.0)
    assert 0.9 < np.isfinite(whole.image).mean() <= 1
    for memory in ("60 MB", "16 MB", 3_000_000):
        part = coadd(frames, matrices, method=method, sigma=2.0, max_memory=memory)
        for name in whole._fields:
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name))


def test_masked_pixels_and_those_that_are_not_finite_are_left_out(rng):
    scene, frames = exposures(rng, noise=0.0)
    masks = [None, np.zeros(scene.shape, bool), None, None, None]
    masks[1][20, 20] = True
    frames[1][20, 20] = 1e6
    frames[2][10, 30] = np.nan
    frames[3][30, 10] = np.inf
    result = coadd(frames, [matrix_of(s) for s in SHIFTS], mask=masks)
    np.testing.assert_allclose(result.image, scene, atol=1e-8)
    for y, x, k in ((20, 20, 1), (10, 30, 2), (30, 10, 3)):
        assert result.coverage[y - int(SHIFTS[k][0]), x - int(SHIFTS[k][1])] == 4
    everywhere = coadd(frames, [matrix_of(s) for s in SHIFTS], mask=np.ones(scene.shape, bool))
    assert np.isnan(everywhere.image).all()
    assert not everywhere.coverage.any()


def test_outliers_are_rejected(rng):
    """Cosmic rays and a satellite; and few of the others."""
    scene, frames = exposures(rng, shape=(60, 80))
    plain = coadd(frames, [matrix_of(s) for s in SHIFTS])
    struck = [frame.copy() for frame in frames]
    for frame in struck:
        frame[tuple(rng.integers(8, 50, (2, 12)))] += 500
    struck[3][30:33] = 2000
    clipped = coadd(struck, [matrix_of(s) for s in SHIFTS], method="clip")
    inside = np.s_[8:-8, 8:-8]
    errors = [np.abs(result.image - scene)[inside].max() for result in (plain, clipped)]
    assert errors[1] < 1.5 * errors[0]
    assert np.abs(coadd(struck, [matrix_of(s) for s in SHIFTS]).image - scene)[inside].max() > 100
    untouched = coadd(frames, [matrix_of(s) for s in SHIFTS], method="clip")
    assert untouched.rejected.sum() < 0.02 * untouched.coverage.sum()


def test_brightness_and_weights(rng):
    scene, frames = exposures(rng, noise=0.0)
    dimmed = [
        frame * gain + bias for frame, gain, bias in zip(frames, (1, 2, 0.5, 3, 1), (0, 7, 2, -4, 1), strict=True)
    ]
    alignments = [
        Alignment(matrix_of(s), np.eye(2), 0, 1, 1, True, AlignmentFlags(0), gain, bias)
        for s, gain, bias in zip(SHIFTS, (1, 2, 0.5, 3, 1), (0, 7, 2, -4, 1), strict=True)
    ]
    np.testing.assert_allclose(coadd(dimmed, alignments).image, scene, atol=1e-8)
    weights = [1, 2, 3, 4, 5]
    frames = [frame + k for k, frame in enumerate(frames)]
    result = coadd(frames, [matrix_of(s) for s in SHIFTS], weights=weights)
    assert result.image[20, 20] - scene[20, 20] == pytest.approx(np.average(range(5), weights=weights))
    assert result.weight[20, 20] == 15


def test_exposures_that_are_not_ok_are_left_out(rng):
    _, frames = exposures(rng)
    alignments = align_stack(frames)
    bad = alignments[1]._replace(flags=AlignmentFlags.POOR_FIT)
    result = coadd(frames, [alignments[0], bad, *alignments[2:]])
    assert result.used.tolist() == [True, False, True, True, True]
    assert result.coverage.max() == 4
    none = coadd(frames, [bad] * 5, method="clip")
    assert np.isnan(none.image).all()
    assert "0 of 5 exposures" in repr(none)


def test_rotated_exposures_of_other_shapes(rng):
    """Stars stay where they are in the reference, with the light they have there."""
    places = rng.uniform(10, 90, (40, 2))
    fixed = npsubpix.render_spots(places, (100, 100), std=1.6, amplitude=1000.0) + rng.normal(0, 0.05, (100, 100))
    turn = np.array([[0.6, -0.8, 60.0], [0.8, 0.6, -10.0], [0, 0, 1]])
    moved = npsubpix.transform_points(turn, places)
    other = npsubpix.render_spots(moved, (120, 110), std=1.6, amplitude=1000.0) + rng.normal(0, 0.05, (120, 110))
    result = align(fixed, other, model="euclidean", init="stars")
    assert result.ok
    total = coadd([fixed, other], [np.eye(3), result], max_memory=200_000)
    seen = total.coverage == 2
    assert 0.5 < seen.mean() < 0.95
    assert np.percentile(np.abs(total.image - fixed)[seen], 99) < 0.3
    whole = coadd([fixed, other], [np.eye(3), result])
    np.testing.assert_array_equal(total.image, whole.image)
    np.testing.assert_array_equal(total.coverage, whole.coverage)


def test_sources_are_read_in_blocks(rng):
    """A frame of a chunk is read with the others of it, and parts alone where parts are needed."""
    _, frames = exposures(rng)
    source = Source(np.array(frames)[:, None], ("t", "c", "y", "x"), (2, 1, 40, 50))
    results = align_stack(source)
    assert [result.ok for result in results] == [True] * 5
    want = [result.matrix for result in align_stack(frames)]
    np.testing.assert_array_equal([result.matrix for result in results], want)
    assert max(source.lengths) == 2
    source.lengths.clear()
    total = coadd(source, results, method="median", max_memory=100_000)
    assert max(source.rows) < 40 + 1
    np.testing.assert_array_equal(total.image, coadd(frames, results, method="median").image)


class Source:
    """What an `ImageSource` has, which counts what is read."""

    name = "movie"

    def __init__(self, data, axes, chunks) -> None:
        self.data, self.axes, self.chunks = data, axes, chunks
        self.shape, self.dtype = data.shape, data.dtype
        self.lengths: list[int] = []
        self.rows: list[int] = []

    def read(self, index):
        part = self.data[index]
        self.lengths.append(part.shape[0])
        self.rows.append(part.shape[-2])
        return part


def test_sources_with_other_axes_are_refused():
    source = Source(np.zeros((2, 3, 8, 8)), ("t", "c", "y", "x"), None)
    with pytest.raises(ValueError, match=r"one axis beside y and x, got movie with axes t 2, c 3, y 8, x 8"):
        align_stack(source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "sum"}, "method must be one of"),
        ({"sigma": 0}, "sigma must be positive"),
        ({"weights": [1, 2]}, "weights must be 5 numbers above 0"),
        ({"weights": [1, 2, 3, 4, -1]}, "weights must be 5 numbers above 0"),
        ({"mask": [None]}, "mask must be one for all images or one per image, 5, got 1"),
        ({"mask": np.zeros((3, 3), bool)}, "mask"),
        ({"shape": (3,)}, "shape must be two numbers"),
        ({"max_memory": 0}, "max_memory must be at least 1"),
    ],
)
def test_wrong_options_are_refused(rng, options, message):
    _, frames = exposures(rng)
    with pytest.raises((ValueError, TypeError), match=message):
        coadd(frames, [np.eye(3)] * 5, **options)


def test_one_alignment_per_image(rng):
    _, frames = exposures(rng)
    with pytest.raises(ValueError, match="one alignment per image, 5, got 2"):
        coadd(frames, [np.eye(3)] * 2)
    with pytest.raises(ValueError, match="one alignment per image, 5, got 1"):
        coadd(frames, align(frames[0], frames[1]))


def test_frames_are_aligned_to_an_image_of_their_own(rng):
    _, frames = exposures(rng)
    for reference in ("first", "previous", "mean"):
        results = align_stack(frames[1:], fixed=frames[0], reference=reference)
        for result, shift in zip(results, SHIFTS[1:], strict=True):
            assert result.ok
            if reference != "mean":
                np.testing.assert_allclose(result.shift, shift, atol=0.05)


class Made:
    """Exposures that are made when they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.scene = ndi.gaussian_filter(np.random.default_rng(0).uniform(0, 1000, (200, 200)), 1.5)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> np.ndarray:
        if not 0 <= k < self.count:
            raise IndexError(k)
        return self.scene + np.random.default_rng(k).normal(0, 1, self.scene.shape)


def peak(function) -> int:
    """Greatest number of bytes that were in use."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.exhaustive  # tracing takes seconds
@pytest.mark.parametrize("method", ["mean", "median", "clip"])
def test_memory_does_not_grow_with_the_number_of_exposures(method):
    def sums(count: int) -> int:
        matrices = np.tile(np.eye(3), (count, 1, 1))
        return peak(lambda: coadd(Made(count), list(matrices), method=method, max_memory=4_000_000))

    sums(2)
    few, many = sums(8), sums(64)
    assert many < 1.25 * few
    assert many < 10_000_000


@pytest.mark.exhaustive
@pytest.mark.parametrize("reference", ["first", "previous", "mean"])
def test_memory_of_a_series_does_not_grow_with_it(reference):
    few, many = (peak(lambda n=n: align_stack(Made(n), reference=reference)) for n in (4, 24))
    assert many < 1.25 * few
