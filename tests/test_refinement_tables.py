"""Refinement of the peaks of a table, which knows their frames."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from tests.peak_tables import COORDS, FRAME, table


@pytest.fixture
def movie():
    frames = [npsubpix.render_spots(COORDS[number == FRAME] * 2, (20, 30), std=1.3) for number in range(4)]
    return np.stack(frames)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("axis", [0, -1])
def test_rows_are_refined_in_their_frames(movie, wrap, axis):
    order = np.array([3, 1, 0, 2])
    peaks = table(np.rint(2 * COORDS), FRAME, wrap)[order]
    found = npsubpix.refine_peaks(wrap(np.moveaxis(movie, 0, axis)), peaks, method="centroid", frame_axis=axis)
    assert np.asarray(found.frame).tolist() == FRAME[order].tolist()
    np.testing.assert_allclose(np.asarray(found.coords), 2 * COORDS[order], atol=0.02)


def test_frames_of_the_caller_count_more_than_those_of_the_table(movie):
    peaks = table(2 * COORDS[:1], FRAME[:1])
    kept = npsubpix.refine_peaks(movie, peaks, frame_axis=0, method="centroid")
    np.testing.assert_allclose(kept.coords, 2 * COORDS[:1], atol=0.02)
    other = npsubpix.refine_peaks(movie, peaks, frame=[1], frame_axis=0, method="centroid")
    assert other.frame.tolist() == [1]
    assert not other.ok.any()


def test_peaks_of_a_movie_in_one_image_keep_their_frames(movie):
    """As when the peaks of all frames are refined in the mean of a movie."""
    refined = npsubpix.refine_peaks(movie.sum(axis=0), table(2 * COORDS, FRAME), method="centroid", radius=2)
    assert refined.frame.tolist() == FRAME.tolist()
    assert npsubpix.refine_peaks(movie[0], table(2 * COORDS)).frame is None


def test_errors(movie):
    with pytest.raises(ValueError, match=r"coords must have shape \(N, 3\).*: pass frame_axis for the stack"):
        npsubpix.refine_peaks(movie, table(COORDS, FRAME))
    with pytest.raises(ValueError, match="frame must give the image of each position"):
        npsubpix.refine_peaks(movie, table(COORDS), frame_axis=0)
    with pytest.raises(ValueError, match="frame must be between 0 and 2, got 0 to 3"):
        npsubpix.refine_peaks(movie[:3], table(COORDS, FRAME), frame_axis=0)
