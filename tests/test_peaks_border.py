"""Peaks at the border: what is left out is said, and periodic images have none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import npsubpix
from npsubpix import PeakFlags


@pytest.fixture
def correlation(rng):
    """A periodic map whose greatest peak lies at its first pixel."""
    return rng.normal(0, 0.3, (16, 20))


@pytest.mark.usefixtures("backend")
def test_a_stronger_peak_at_the_border_is_said(correlation):
    correlation[0, 0] = 5
    peaks = npsubpix.find_peaks(correlation, num_peaks=1)
    assert peaks.border.tolist() == [5]
    assert repr(peaks).splitlines()[-1] == " exclude_border leaves out a higher peak at the border: 5"
    whole = npsubpix.find_peaks(correlation, num_peaks=1, exclude_border=False)
    assert whole.indices.tolist() == [[0, 0]]
    assert whole.border is None
    assert "border" not in repr(peaks[:1])
    stack = np.stack([correlation, correlation * 0, correlation[::-1]])
    assert repr(npsubpix.find_peaks(stack, num_peaks=1, frame_axis=0)).splitlines()[-1] == (
        " exclude_border leaves out a higher peak at the border of 2 frames: 5"
    )


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_border_by_its_definition(rng, dtype):
    """The greatest unmasked maximum there: no neighbour is greater, one is less, and it exceeds threshold and peaks."""
    for size, threshold, _ in itertools.product((3, (4, 3)), (None, 7.5), range(20)):
        image = rng.integers(0, 10, (7, 9)).astype(dtype)
        mask = rng.random(image.shape) < 0.1
        if dtype == "float32":
            image[rng.integers(7), rng.integers(9)] = np.nan
        before, after = ((1, 1), (1, 1)) if size == 3 else ((1, 1), (2, 1))
        seen = np.where(mask, np.nan, image.astype(float))
        border = seen.copy()
        border[before[0] : 7 - after[0], before[1] : 9 - after[1]] = np.nan
        peaks = npsubpix.find_peaks(image, size=size, mask=mask, threshold_abs=threshold, refine=None)
        np.testing.assert_array_equal(peaks.border, [highest(border, seen, border, peaks.values, threshold)])


def highest(border, seen, heights, of_peaks, threshold):
    """The value of the border pixel of the greatest height that is a maximum, if it is above all peaks."""
    best, value = max([-np.inf if threshold is None else threshold, *of_peaks]), np.nan
    for y, x in np.argwhere(~np.isnan(border)):
        around = seen[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        if np.nanmax(around) == seen[y, x] > np.nanmin(around) and heights[y, x] > best:
            best, value = heights[y, x], seen[y, x]
    return value


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("width", [1, 100])
def test_the_border_of_each_frame_beside_its_maxima(width):
    """A minimum may come first, a frame may be without peaks, whatever the width of the border."""
    stack = np.zeros((4, 300, 400), np.float32)
    stack[:3, 150, 200], stack[:3, 150, 150] = 2, -9
    stack[:, 0, 70] = 3, 2, 1, 0.5
    peaks = npsubpix.find_peaks(stack, exclude_border=width, minima=True, threshold_abs=0.4, refine=None, frame_axis=0)
    np.testing.assert_array_equal(peaks.border, [3, np.nan, np.nan, 0.5])
    np.testing.assert_array_equal(peaks.values, [-9, 2] * 3)


@pytest.mark.usefixtures("backend")
def test_the_border_above_a_background(rng):
    """The highest there is that of the greatest height in units of the noise, not the brightest."""
    for threshold, per_pixel, _ in itertools.product((None, 1.0), (False, True), range(10)):
        image = rng.normal(0, 1, (2, 8, 9)).astype(np.float32)
        level = rng.normal(0, 2, image.shape) if per_pixel else 0.5
        noise = rng.choice([0.5, 1.0, 2.0], (8, 9)) if per_pixel else 2.0
        heights = (image.astype(float) - level) / noise
        peaks = npsubpix.find_peaks(
            image, background=level, sigma=noise, threshold_abs=threshold, refine=None, frame_axis=0
        )
        for frame in range(2):
            border = image[frame].astype(float)
            border[1:-1, 1:-1] = np.nan
            places = np.asarray(peaks.indices)[peaks.frame == frame]
            found = [heights[frame, y, x] for y, x in places]
            want = highest(border, image[frame], heights[frame], found, threshold)
            np.testing.assert_array_equal(peaks.border[frame], want)


@pytest.mark.usefixtures("backend")
def test_a_peak_at_the_border_of_a_slope_is_said():
    """Fainter than a peak on a bright background, but higher above its own."""
    image = np.linspace(0, 90, 20) * np.ones((16, 1))
    level = image.copy()
    image[8, 15] += 10
    image[0, 3] += 30
    peaks = npsubpix.find_peaks(image, background=level, threshold_abs=5)
    assert peaks.values.max() > image[0, 3]
    np.testing.assert_allclose(peaks.border, [image[0, 3]])
    assert "exclude_border leaves out a higher peak at the border: 44.21" in repr(peaks)
    image[8, 15] += 30
    assert np.isnan(npsubpix.find_peaks(image, background=level, threshold_abs=5).border).all()


@pytest.mark.usefixtures("backend")
def test_flat_borders_are_not_peaks():
    assert np.isnan(npsubpix.find_peaks(np.zeros((5, 5))).border).all()
    assert repr(npsubpix.find_peaks(np.zeros((5, 5)))) == "Peaks: 0 in 2-D"


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["quadratic", "parabola", "centroid"])
def test_periodic_spots_are_refined_across_the_edge(method, rng):
    """A spot anywhere is found where it is, as the same spot in the middle of the image."""
    shape = (24, 31)
    truth = np.array([12.3, 15.8])
    grid = np.indices(shape)
    middle = np.exp(-((grid[0] - truth[0]) ** 2 + (grid[1] - truth[1]) ** 2) / 4)
    want = npsubpix.find_peaks(middle, num_peaks=1, refine=method, radius=4)
    for step in ((-12, -16), (-13, -16), (11, 0), (0, 15), (12, -17), (-12, 14)):
        moved = npsubpix.find_peaks(np.roll(middle, step, (0, 1)), num_peaks=1, refine=method, radius=4, mode="wrap")
        assert moved.ok.all()
        assert moved.border is None
        expected = (want.coords + step + 0.5) % shape - 0.5
        np.testing.assert_allclose(moved.coords, expected, atol=1e-9)
        again = npsubpix.refine_peaks(
            np.roll(middle, step, (0, 1)), moved.indices, method=method, radius=4, mode="wrap"
        )
        np.testing.assert_allclose(again.coords, expected, atol=1e-9)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(9, 11), (4, 5, 6)])
def test_periodic_search_is_that_of_any_shift(rng, shape):
    """Windows, distances, masks, minima and backgrounds: a shifted image has the shifted peaks, in their order."""
    image = rng.permutation(np.arange(np.prod(shape))).reshape(shape).astype(np.float32)
    axes = tuple(range(len(shape)))
    mask, level = rng.random(shape) < 0.1, 50 * rng.random(shape)
    for options in (
        {}, {"size": 5}, {"size": 4, "minima": True}, {"size": 99}, {"min_distance": 3.5},
        {"min_distance": 99}, {"threshold_abs": 2.0, "background": level}, {"mask": mask, "num_peaks": 4},
    ):  # fmt: skip
        common = {"refine": None, "mode": "wrap", **options}
        every = npsubpix.find_peaks(image, **common)
        assert len(every) > 0
        for _ in range(4):
            step = tuple(rng.integers(0, n) for n in shape)
            rolled = {k: np.roll(v, step, axes) if isinstance(v, np.ndarray) else v for k, v in common.items()}
            peaks = npsubpix.find_peaks(np.roll(image, step, axes), **rolled)
            np.testing.assert_array_equal(peaks.indices, (every.indices + step) % shape)
            np.testing.assert_array_equal(peaks.flags, every.flags)


@pytest.mark.usefixtures("backend")
def test_ties_of_periodic_images(rng):
    """As many plateaus, of the same values, however the image is shifted."""
    image = rng.integers(0, 5, (14, 17)).astype(np.uint8)
    every = npsubpix.find_peaks(image, mode="wrap", refine=None)
    assert (every.flags & int(PeakFlags.PLATEAU)).any()
    for step in ((3, 0), (0, 9), (7, 8), (13, 1)):
        peaks = npsubpix.find_peaks(np.roll(image, step, (0, 1)), mode="wrap", refine=None)
        np.testing.assert_array_equal(peaks.values, every.values)
        assert sorted(peaks.flags.tolist()) == sorted(every.flags.tolist())


@pytest.mark.usefixtures("backend")
def test_periodic_distances():
    image = np.zeros((10, 12))
    image[1, 1], image[9, 11], image[5, 6] = 3, 2, 1
    for distance, count in ((2.8, 3), (2.9, 2), (100, 1)):
        assert len(npsubpix.find_peaks(image, min_distance=distance, mode="wrap", refine=None)) == count
    assert len(npsubpix.find_peaks(image, min_distance=2.9, exclude_border=False, refine=None)) == 3


@pytest.mark.usefixtures("backend")
def test_a_plateau_across_the_edge_is_one():
    image = np.zeros((8, 9), np.uint8)
    image[[0, -1], 0] = image[[0, -1], -1] = 7
    peaks = npsubpix.find_peaks(image, mode="wrap", plateau="centroid")
    np.testing.assert_array_equal(np.mod(peaks.coords, (8, 9)), [[7.5, 8.5]])
    np.testing.assert_array_equal(peaks.coords, [[-0.5, -0.5]])
    assert len(npsubpix.find_peaks(np.ones((8, 9)), mode="wrap")) == 0


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("plateau", ["refine", "centroid", "first"])
def test_a_long_plateau_across_the_edge_is_one_wherever_it_lies(plateau):
    """Of more than 16 pixels beyond the edge a part was seen, with a centre of its own; of more than 32, several."""
    y, x = np.indices((61, 47))
    disc = np.where((y - 30) ** 2 + (x - 23) ** 2 <= 19**2, 7, 0).astype(np.uint8)
    disc[30, 42] = 0  # so that the pixel nearest to the centre is one
    options = {"mode": "wrap", "plateau": plateau}
    (want,) = npsubpix.find_peaks(disc, **options)
    for step in ((0, 0), (30, 0), (31, 24), (13, 23), (-28, 5), (-45, -30), (12, 40)):
        peaks = npsubpix.find_peaks(np.roll(disc, step, (0, 1)), **options)
        np.testing.assert_allclose(peaks.coords, (want.coords + step + 0.5) % disc.shape - 0.5, atol=1e-9)
        np.testing.assert_array_equal(peaks.flags, want.flags)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("plateau", ["refine", "centroid", "first"])
def test_a_ridge_around_a_periodic_image_is_one_peak(plateau):
    """Its first pixel lies where the image is cut, in none of the images that are repeated: there was no peak."""
    image = np.zeros((11, 13), np.uint8)
    image[4] = 9
    for ridge in (image, np.roll(image, 6, 0), image.T):
        assert len(npsubpix.find_peaks(ridge, mode="wrap", plateau=plateau)) == 1


@pytest.mark.usefixtures("backend")
def test_positions_outside_a_periodic_image_are_taken_into_it():
    grid = np.indices((12, 14))
    image = np.exp(-((grid[0] - 3.2) ** 2 + (grid[1] - 4.9) ** 2) / 3)
    far = [[3, 5], [15, 5], [-9, 19], [np.nan, 3]]
    peaks = npsubpix.refine_peaks(image, far, mode="wrap")
    np.testing.assert_allclose(peaks.coords[1:3], peaks.coords[[0, 0]])
    assert peaks.flags[3] == PeakFlags.NONFINITE
    assert np.isnan(peaks.values[3])


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("size", [4, 5])
def test_equal_maxima_of_a_periodic_image_do_not_rule_out_each_other(rng, size):
    """Around a periodic image each may be the first for the next: none would be left."""
    small = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 0, 1.0]])
    for k in range(12):
        image = small if k == 0 else rng.integers(0, 2 + k % 3, (5 + k % 4, 9)).astype(float)
        if np.ptp(image) == 0:
            continue
        peaks = npsubpix.find_peaks(image, mode="wrap", size=size, refine=None)
        assert len(peaks) > 0
        assert (image[tuple(peaks.indices.T)] == image.max()).any()
        step = (2, 4)
        rolled = npsubpix.find_peaks(np.roll(image, step, (0, 1)), mode="wrap", size=size, refine=None)
        assert sorted(peaks.values) == sorted(rolled.values)
