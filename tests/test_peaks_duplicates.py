"""Peaks that refinement moves to one place: merged, or flagged."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import PeakFlags
from tests.reference import peaks as reference


def wide_spots(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image of 16 spots of standard deviation 5, with noise that gives each several maxima."""
    truth = np.stack(np.mgrid[:4, :4], -1).reshape(-1, 2) * 40 + 20 + rng.uniform(-0.5, 0.5, (16, 2))
    grid = np.indices((160, 160))
    image = sum(200 * np.exp(-((grid[0] - y) ** 2 + (grid[1] - x) ** 2) / 50) for y, x in truth)
    return rng.poisson(image + 50).astype(np.uint16), truth


OPTIONS = {"threshold_abs": 170, "min_distance": 4, "refine": "centroid", "radius": 15, "max_shift": 9}


@pytest.mark.usefixtures("backend")
def test_one_row_per_spot(rng):
    image, truth = wide_spots(rng)
    every = npsubpix.find_peaks(image, duplicates="flag", **OPTIONS)
    assert len(every) > 30
    peaks = npsubpix.find_peaks(image, **OPTIONS)
    same = np.asarray((every.flags & PeakFlags.DUPLICATE) != 0)
    assert same.sum() > 10
    np.testing.assert_array_equal(every[~same].coords, peaks.coords)
    assert not every.ok[same].any()
    peaks = peaks[peaks.ok]  # others are maxima of noise so far out that they lead elsewhere, and say so
    assert len(peaks) == 16
    distance = np.linalg.norm(peaks.coords[:, None] - truth, axis=2)
    assert sorted(distance.argmin(1).tolist()) == list(range(16))
    assert distance.min(1).max() < 0.3


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(2, 60, 70), (2, 9, 24, 26), (2, 9, 36, 40)])
def test_definition(rng, shape):
    """Of rows of noise that walk far, by the slow comparison of all pairs; maxima and minima apart, frame by frame."""
    stack = rng.standard_normal(shape)
    options = {"frame_axis": 0, "minima": True, "max_shift": 4, "refine": "centroid", "exclude_border": False}
    every = npsubpix.find_peaks(stack, duplicates="flag", **options)
    moved, minima, duplicate = (
        (every.flags & int(flag)) != 0 for flag in (PeakFlags.MOVED, PeakFlags.MINIMUM, PeakFlags.DUPLICATE)
    )
    rejected = (every.flags & ~int(PeakFlags.DUPLICATE)) & ~int(
        PeakFlags.MOVED | PeakFlags.MINIMUM | PeakFlags.FIXED_Z | PeakFlags.FIXED_Y | PeakFlags.FIXED_X
    )
    want = reference.duplicates(every.coords, moved, 2 * every.frame + minima, rejected == 0)
    np.testing.assert_array_equal(duplicate, want)
    assert sum(want) > 5
    merged = npsubpix.find_peaks(stack, **options)
    np.testing.assert_array_equal(merged.coords, every.coords[~duplicate])
    np.testing.assert_array_equal(merged.frame, every.frame[~duplicate])


@pytest.mark.usefixtures("backend")
def test_the_number_of_peaks_is_that_after_merging(rng):
    """Peaks that turn out as duplicates are made up for by the next ones."""
    image, _ = wide_spots(rng)
    every = npsubpix.find_peaks(image, **OPTIONS)
    stack = np.stack([image, np.zeros_like(image), image[::-1]])
    for count in (0, 1, 17, 500):
        peaks = npsubpix.find_peaks(image, num_peaks=count, **OPTIONS)
        np.testing.assert_array_equal(peaks.coords, every.coords[:count])
        of_frames = npsubpix.find_peaks(stack, num_peaks=count, frame_axis=0, **OPTIONS)
        for frame, some in enumerate((image, stack[1], image[::-1])):
            want = npsubpix.find_peaks(some, num_peaks=count, **OPTIONS)
            np.testing.assert_array_equal(of_frames[of_frames.frame == frame].coords, want.coords)


@pytest.mark.usefixtures("backend")
def test_pixels_are_never_merged():
    """Neighbours that are peaks of windows of one pixel stay, refined or not, where none moved."""
    image = np.arange(30.0).reshape(5, 6)
    assert len(npsubpix.find_peaks(image, size=1, refine=None)) == 30


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(20, 6, 14), (6, 4, 8, 9)])
def test_duplicates_across_the_edge_of_a_periodic_image(rng, shape):
    """By the slow comparison of all pairs, with distances modulo the shape; maxima and minima apart, frame by frame.

    Images are symmetric about their first edge, so that peaks on both of its sides move to it.
    """
    half = rng.standard_normal(shape)
    stack = np.concatenate([half, half[:, ::-1]], axis=1)
    options = {"frame_axis": 0, "mode": "wrap", "minima": True, "max_shift": 4, "refine": "centroid"}
    every = npsubpix.find_peaks(stack, duplicates="flag", **options)
    moved, minima, duplicate = (
        (every.flags & int(flag)) != 0 for flag in (PeakFlags.MOVED, PeakFlags.MINIMUM, PeakFlags.DUPLICATE)
    )
    rows = every.coords, moved, 2 * every.frame + minima
    valid = np.asarray(every.ok) | duplicate
    want = reference.duplicates(*rows, valid, period=stack.shape[1:])
    np.testing.assert_array_equal(duplicate, want)
    assert sum(want) > sum(reference.duplicates(*rows, valid))  # else no pair lies across the edge
