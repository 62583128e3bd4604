"""Rendering from tables of peaks, with and without frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import npsubpix
from tests.peak_tables import COORDS, FRAME, table
from tests.reference import gaussian


@pytest.mark.usefixtures("backend")
def test_a_table_is_rendered_as_its_positions(wrap):
    """Peaks of all frames are drawn into one image, as a picture of single molecules is."""
    want = gaussian.spots(COORDS, (10, 16), 1.3)
    for peaks in (table(COORDS, wrap=wrap), table(COORDS, FRAME, wrap)):
        np.testing.assert_allclose(np.asarray(npsubpix.render_spots(peaks, (10, 16), std=1.3)), want, atol=1e-7)
    maps = npsubpix.render_gaussian(table(COORDS, wrap=wrap), 1.3, (10, 16))
    for found, position in zip(np.asarray(maps), COORDS, strict=True):
        np.testing.assert_allclose(found, gaussian.gaussian(position, (1.3, 1.3), (10, 16)), atol=1e-12)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("axis", [0, -1])
def test_a_table_with_frames_is_rendered_into_a_stack(wrap, axis):
    """Widths and amplitudes of rows go with them; a frame without rows is empty."""
    std, amplitude = np.linspace(1, 1.6, 8).reshape(4, 2), np.array([1.0, 2.0, 3.0, 4.0])
    shape = (5, 10, 16) if axis == 0 else (10, 16, 5)
    stack = npsubpix.render_spots(
        table(COORDS, FRAME, wrap), shape, std=wrap(std), amplitude=wrap(amplitude), frame_axis=axis
    )
    assert tuple(stack.shape) == shape
    for number, image in enumerate(np.moveaxis(np.asarray(stack), axis, 0)):
        rows = number == FRAME
        want = npsubpix.render_spots(COORDS[rows], (10, 16), std=std[rows], amplitude=amplitude[rows])
        np.testing.assert_allclose(image, want, atol=1e-12)
        assert image.any() == rows.any()


def test_an_empty_table_is_a_dark_stack():
    empty = table(np.empty((0, 2)), np.empty(0, np.int64))
    assert not npsubpix.render_spots(empty, (3, 5, 6), std=1.0, frame_axis=0).any()


def test_gradients_of_a_stack_reach_the_rows():
    coords = torch.tensor(COORDS, requires_grad=True)
    peaks = npsubpix.Peaks(coords, coords[:, 0], coords, coords[:, 0], torch.as_tensor(FRAME))
    (npsubpix.render_spots(peaks, (4, 10, 16), std=1.3, frame_axis=0)[2] ** 2).sum().backward()
    assert (coords.grad != 0).any(dim=1).tolist() == [True, False, True, False]


def test_errors():
    with pytest.raises(TypeError, match="coords must be Peaks with frames if frame_axis is given, got a ndarray"):
        npsubpix.render_spots(COORDS, (4, 10, 16), std=1.0, frame_axis=0)
    with pytest.raises(TypeError, match="coords must be Peaks with frames"):
        npsubpix.render_spots(table(COORDS), (4, 10, 16), std=1.0, frame_axis=0)
    with pytest.raises(ValueError, match="frame must be between 0 and 2, got 0 to 3"):
        npsubpix.render_spots(table(COORDS, FRAME), (3, 10, 16), std=1.0, frame_axis=0)
    with pytest.raises(ValueError, match="shape must hold 2, 3 or 4 integers with frame_axis"):
        npsubpix.render_spots(table(COORDS, FRAME), (3,), std=1.0, frame_axis=0)
    with pytest.raises(TypeError, match=r"mean must be an array, got a Peaks: its \.coords are"):
        npsubpix.render_gaussian2d(table(COORDS), 1.0, (10, 16))
