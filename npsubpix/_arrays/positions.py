"""Positions in images and in stacks, as the functions that measure spots take them."""

from __future__ import annotations

from typing import Any

from npsubpix._arrays.checks import check_frames, check_frames_of, check_positions, check_reals
from npsubpix._arrays.library import Array, as_array, beside, is_array, is_table

__all__ = ["frames_beside", "points_beside"]


def points_beside(coords: Any, image: Array, ndim: int) -> Array:
    """Require positions of shape (N, ndim), or a table of them; return them on the device of the image."""
    points = check_reals(check_positions(coords, "coords"), "coords")
    if 0 in points.shape:
        points = points.reshape(0, ndim)
    if points.ndim != 2 or points.shape[1] != ndim:
        hint = "" if check_frames_of(coords) is None else ": pass frame_axis for the stack that the peaks are of"
        raise ValueError(
            f"coords must have shape (N, {ndim}), one position of {ndim} coordinates per row, "
            f"got {tuple(points.shape)}{hint}"
        )
    return _beside(points, coords, image)


def frames_beside(coords: Any, frame: Any, image: Array, frame_axis: int | None, count: int) -> Array | None:
    """Require the frame of each position of a stack, or a table that has it; none without a stack."""
    known = check_frames_of(coords, frame) if frame_axis is not None else frame
    if frame_axis is None:
        if known is not None:
            as_array(known, "frame")
            raise ValueError("frame is given, so frame_axis must say which axis of the image it counts along")
        return None
    if known is None:
        raise ValueError("frame must give the image of each position, since the image is a stack")
    return _beside(check_frames(known, count, image.shape[frame_axis]), known, image)


def _beside(numbers: Array, source: Any, image: Array) -> Array:
    """Copy numbers that come as lists to the device of the image; arrays stay where they are."""
    return numbers if is_array(source) or is_table(source) else beside(numbers, image)
