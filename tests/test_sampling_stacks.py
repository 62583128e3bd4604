"""Sampling at the positions of tables of peaks, in one image and in the frames of a stack."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch

import npsubpix
from tests.peak_tables import COORDS, FRAME, table


@pytest.fixture
def movie(rng):
    return rng.standard_normal((4, 9, 15))


def values(image, coords):
    return ndi.map_coordinates(image, np.asarray(coords).T, order=1, mode="reflect")


@pytest.mark.usefixtures("backend")
def test_a_table_is_sampled_row_by_row(movie, wrap):
    for peaks in (table(COORDS, wrap=wrap), table(COORDS, FRAME, wrap)):
        found = npsubpix.sample(wrap(movie[1]), peaks, method="linear")
        np.testing.assert_allclose(np.asarray(found), values(movie[1], COORDS), atol=1e-12)
        again, gradient = npsubpix.sample_with_gradient(wrap(movie[1]), peaks, method="linear")
        np.testing.assert_array_equal(np.asarray(again), np.asarray(found))
        assert tuple(gradient.shape) == (2, 4)
    grads = npsubpix.sample_vjp(np.ones(4), movie[1], table(COORDS), method="linear")
    want = npsubpix.sample_vjp(np.ones(4), movie[1], COORDS.T, method="linear")
    for grad, wanted in zip(grads, want, strict=True):
        np.testing.assert_array_equal(grad, wanted)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("axis", [0, 2, -1])
def test_each_row_is_sampled_in_its_frame(movie, wrap, axis):
    """A frame that is not a number does not reach the rows of others."""
    movie[1] = math.nan
    stack = wrap(np.moveaxis(movie, 0, axis))
    peaks = table(COORDS, FRAME, wrap)
    want = [values(movie[f], [c])[0] for f, c in zip(FRAME, COORDS, strict=True)]
    found = npsubpix.sample(stack, peaks, method="linear", frame_axis=axis)
    np.testing.assert_allclose(np.asarray(found), want, atol=1e-12)
    again, gradient = npsubpix.sample_with_gradient(stack, peaks, method="bspline3", frame_axis=axis)
    for k, (f, c) in enumerate(zip(FRAME, COORDS, strict=True)):
        one, slope = npsubpix.sample_with_gradient(movie[f], c[:, None], method="bspline3")
        assert float(again[k]) == one[0]
        np.testing.assert_array_equal(np.asarray(gradient[:, k]), slope[:, 0])


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("channel_axis", [0, 1, 3])
def test_channels_of_a_stack(rng, channel_axis):
    colours = rng.standard_normal((4, 3, 9, 15))  # T, C, H, W
    stack = np.moveaxis(colours, 1, channel_axis)
    frame_axis = 1 if channel_axis == 0 else 0
    found = npsubpix.sample(
        stack, table(COORDS, FRAME), method="linear", channel_axis=channel_axis, frame_axis=frame_axis
    )
    want = np.array([[values(colours[f, c], [p])[0] for c in range(3)] for f, p in zip(FRAME, COORDS, strict=True)])
    np.testing.assert_allclose(found if found.shape == (4, 3) else found.T, want, atol=1e-12)


def test_an_empty_table_gives_no_values(movie):
    empty = table(np.empty((0, 2)), np.empty(0, np.int64))
    assert npsubpix.sample(movie, empty, method="linear", frame_axis=0).shape == (0,)


def test_gradients_of_a_stack(movie):
    stack = torch.tensor(movie, requires_grad=True)
    npsubpix.sample(stack, table(COORDS, FRAME, torch.as_tensor), method="linear", frame_axis=0).sum().backward()
    assert stack.grad.sum(dim=(1, 2)).round(decimals=9).tolist() == [1, 0, 2, 1]


def test_a_stack_has_no_pullback(movie):
    """Each frame is a call of its own."""
    with pytest.raises(TypeError, match="vjp differentiates one call, and sample makes 3: call vjp for each of them"):
        npsubpix.vjp(npsubpix.sample, movie, table(COORDS, FRAME), method="linear", frame_axis=0)


def test_points_of_a_table_are_transformed(wrap):
    moved = npsubpix.transform_points([[1, 0, 0.5], [0, 1, -2]], table(COORDS, FRAME, wrap))
    np.testing.assert_allclose(np.asarray(moved), COORDS + np.array([0.5, -2]), atol=1e-12)


def test_each_row_is_transformed_by_the_matrix_of_its_frame(wrap):
    """As peaks of a movie that drifts."""
    shifts = np.array([[0.5, 0.0], [9.0, 9.0], [-1.0, 2.0], [0.0, 0.25]])
    matrices = [np.array([[1, 0, dy], [0, 1, dx], [0, 0, 1.0]]) for dy, dx in shifts]
    for several in (matrices, np.stack(matrices)):
        moved = npsubpix.transform_points(several, table(COORDS, FRAME, wrap))
        np.testing.assert_allclose(np.asarray(moved), COORDS + shifts[FRAME], atol=1e-12)
    with pytest.raises(TypeError, match="points must be Peaks with frames if there is a matrix per frame, got a list"):
        npsubpix.transform_points(matrices, [[1.0, 2.0]])
    with pytest.raises(ValueError, match="frame must be between 0 and 2"):
        npsubpix.transform_points(matrices[:3], table(COORDS, FRAME, wrap))


def test_errors(movie):
    peaks = table(COORDS, FRAME)
    with pytest.raises(ValueError, match=r"coords must have shape \(3, \.\.\.\).*: pass frame_axis for the stack"):
        npsubpix.sample(movie, peaks, method="linear")
    with pytest.raises(TypeError, match="coords must be Peaks with frames if frame_axis is given, got a ndarray"):
        npsubpix.sample(movie, COORDS.T, method="linear", frame_axis=0)
    with pytest.raises(ValueError, match="frame_axis and channel_axis must be different axes"):
        npsubpix.sample(movie, peaks, method="linear", frame_axis=0, channel_axis=-3)
    with pytest.raises(ValueError, match="frame_axis must be below 3"):
        npsubpix.sample(movie, peaks, method="linear", frame_axis=3)
    with pytest.raises(ValueError, match="frame must be between 0 and 2"):
        npsubpix.sample(movie[:3], peaks, method="linear", frame_axis=0)
    with pytest.raises(TypeError, match=r"grid must be an array, got a Peaks: its \.coords are"):
        npsubpix.grid_sample(movie[None], peaks)
