"""Corners of chessboards: known positions, awkward images, and cameras calibrated from photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import npsubpix
from benchmarks import corner_accuracy
from npsubpix import PeakFlags
from tests.assertions import assert_library


def board(shape: tuple[int, int], squares: int, matrix: np.ndarray, rng: np.random.Generator) -> tuple[Any, Any]:
    """A board of squares under an affine map of pixels to squares, averaged over pixels, with noise; its corners."""
    fine = 5
    offsets = (np.arange(fine) + 0.5) / fine - 0.5
    y = (np.arange(shape[0])[:, None] + offsets).ravel()
    x = (np.arange(shape[1])[:, None] + offsets).ravel()
    u = matrix[0, 0] * y[:, None] + matrix[0, 1] * x + matrix[0, 2]
    v = matrix[1, 0] * y[:, None] + matrix[1, 1] * x + matrix[1, 2]
    inside = (u > 0) & (u < squares) & (v > 0) & (v < squares)
    dark = inside & ((np.floor(u) + np.floor(v)) % 2 == 0)
    image = np.where(dark, 40.0, 200.0).reshape(shape[0], fine, shape[1], fine).mean((1, 3))
    corners = np.stack(np.mgrid[1:squares, 1:squares], -1).reshape(-1, 2) - matrix[:, 2]
    return image + rng.normal(0, 2, shape), np.linalg.solve(matrix[:, :2], corners.T).T


MATRIX = np.array([[0.046, 0.009, -0.7], [-0.011, 0.051, -0.3]])


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_corners_of_a_known_board(rng, dtype):
    """All are found to a few hundredths of a pixel, from seeds up to two pixels off, in a stack too."""
    image, corners = board((170, 180), 7, MATRIX, rng)
    image = image.astype(dtype)
    seeds = np.rint(corners) + rng.integers(-2, 3, corners.shape)
    found = npsubpix.refine_corners(image, seeds)
    assert found.ok.all()
    error = found.coords - corners
    assert np.sqrt((error**2).mean()) < 0.03
    assert np.abs(error).max() < 0.1
    again = npsubpix.refine_corners(image, np.rint(corners))
    np.testing.assert_allclose(again.coords, found.coords, atol=1e-9)
    stack = np.stack([image, image[::-1]], 1)
    frames = np.arange(len(corners)) % 2
    upright = np.where(frames[:, None] == 0, corners, (169, 0) + corners * (-1, 1))
    of_stack = npsubpix.refine_corners(stack, upright, frame=frames, frame_axis=1)
    assert of_stack.ok.all()
    np.testing.assert_array_equal(of_stack.frame, frames)
    np.testing.assert_allclose(of_stack.coords[::2], again.coords[::2], atol=1e-9)
    np.testing.assert_allclose(of_stack.coords[1::2], ((169, 0) + again.coords * (-1, 1))[1::2], atol=1e-6)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
def test_one_bad_corner_does_not_stop_the_others(rng):
    """Masked and missing pixels, the border, flat places and bad positions have flags; the others are the same."""
    image, corners = board((170, 180), 7, MATRIX, rng)
    want = npsubpix.refine_corners(image, np.rint(corners))
    image[140:, 160:] = 7.0
    mask = np.zeros(image.shape, bool)
    first, second = np.rint(want.coords[:2]).astype(int)
    mask[first[0] + 5, first[1]] = True  # the pixels of the fit are means of those up to four pixels away
    holed = image.copy()
    holed[second[0], second[1] - 5] = np.nan
    seeds = np.concatenate([np.rint(corners), [[1, 90], [160, 172], [np.nan, 3], [300, 3], [5, 5]]])
    found = npsubpix.refine_corners(holed, seeds, mask=mask)
    flags = found.flags & int(~PeakFlags.MOVED)
    assert flags[0] == PeakFlags.MASKED
    assert flags[1] == PeakFlags.NONFINITE
    np.testing.assert_array_equal(flags[-5:-1], [PeakFlags.AT_BORDER, PeakFlags.SINGULAR, 256, PeakFlags.AT_BORDER])
    others = slice(2, len(corners))
    assert found.ok[others].all()
    np.testing.assert_allclose(found.coords[others], want.coords[others], atol=1e-9)
    joined = npsubpix.refine_corners(np.ma.array(image, mask=mask), seeds)
    assert joined.flags[0] == PeakFlags.MASKED


@pytest.mark.exhaustive
def test_masked_pixels_change_nothing(rng):
    """Two pixels further away, a mask neither changes nor flags a corner."""
    image, corners = board((170, 180), 7, MATRIX, rng)
    want = npsubpix.refine_corners(image, np.rint(corners))
    first = np.rint(want.coords[0]).astype(int)
    mask = np.zeros(image.shape, bool)
    mask[first[0] + 7, first[1]] = mask[first[0], first[1] - 7] = True
    found = npsubpix.refine_corners(image, np.rint(corners), mask=mask)
    assert found.ok[0]
    np.testing.assert_array_equal(found.coords[0], want.coords[0])


@pytest.mark.exhaustive
def test_libraries_and_smoothing_per_axis(rng, wrap: Callable[[Any], Any]):
    image, corners = board((90, 100), 4, MATRIX, rng)
    seeds = np.rint(corners)
    x = wrap(image.astype(np.float32))
    found = npsubpix.refine_corners(x, wrap(seeds), sigma=(2, 1.5))
    assert_library(found.coords, x)
    assert np.sqrt(((np.asarray(found.coords) - corners) ** 2).mean()) < 0.05
    smooth = npsubpix.refine_corners(image, seeds, sigma=0)
    np.testing.assert_array_equal(
        smooth.coords, npsubpix.refine_peaks(image, seeds, method="saddle", max_shift=3).coords
    )


def test_wrong_arguments():
    for options, error, words in [
        ({"sigma": -1}, ValueError, "sigma must be positive, or 0"),
        ({"sigma": (1, 2, 3)}, ValueError, "sigma must be one number or 2 of them"),
        ({"sigma": np.nan}, ValueError, "sigma must be"),
        ({"sigma": 1e6}, ValueError, "sigma must be at most 100 pixels, got 1000000.0"),
        ({"max_shift": 0}, ValueError, "max_shift must be positive"),
        ({"frame": [0]}, ValueError, "frame is given, so frame_axis must say"),
    ]:
        with pytest.raises(error, match=words):
            npsubpix.refine_corners(np.zeros((9, 9)), [[1, 2]], **options)
    with pytest.raises(
        ValueError, match="method='saddle' refines positions in images, and this image has 3 dimensions"
    ):
        npsubpix.refine_corners(np.zeros((3, 9, 9)), [[1, 2, 3]])


@pytest.mark.parametrize(("name", "most"), [("corners_sony", 0.145), ("corners_opencv_left", 0.178)])
def test_cameras_are_calibrated_at_least_as_well_as_by_opencv(data: Callable[[str], Path], name, most):
    """No corner of the photographs is lost, and residuals are less than those of `cv2.cornerSubPix`."""
    photographs = corner_accuracy.views(data(name))
    best = corner_accuracy.calibrated(photographs, corner_accuracy.ours)
    peer = corner_accuracy.calibrated(photographs, corner_accuracy.opencv)
    assert best.refined == best.listed == {"corners_sony": 312, "corners_opencv_left": 702}[name]
    assert best.residual < most < peer.residual
    assert abs(best.focal_length - {"corners_sony": 701.0, "corners_opencv_left": 532.8}[name]) < 2.5
    off = corner_accuracy.calibrated(photographs, corner_accuracy.ours, moved=2)
    assert off.refined == off.listed
    assert abs(off.residual - best.residual) < 1e-3
