"""Positions in an image or in a stack: arrays of coordinates, or tables that know their frames."""

from __future__ import annotations

from typing import Any

from npsubpix._arrays.checks import check_frames, check_frames_of, check_positions, check_reals
from npsubpix._arrays.library import Array, as_array, beside, is_array, is_table

__all__ = ["points_and_frames"]


def points_and_frames(
    coords: Any, frame: Any, image: Array, ndim: int, frame_axis: int | None
) -> tuple[Array, Array | None]:
    """Require positions in images of `ndim` axes, and the image of each in a stack; return both beside the image."""
    points = _beside(_points(coords, ndim), coords, image)
    known = check_frames_of(coords, frame) if frame_axis is not None else frame
    return points, _beside(_frames(known, image, frame_axis, points.shape[0]), known, image)


def _beside(numbers: Array | None, source: Any, image: Array) -> Array:
    """Copy numbers that come as lists to the device of the image; arrays stay where they are."""
    return numbers if numbers is None or is_array(source) or is_table(source) else beside(numbers, image)


def _points(coords: Any, ndim: int) -> Array:
    points = check_reals(check_positions(coords, "coords"), "coords")
    if 0 in points.shape:
        points = points.reshape(0, ndim)
    if points.ndim != 2 or points.shape[1] != ndim:
        hint = "" if check_frames_of(coords) is None else ": pass frame_axis for the stack that the peaks are of"
        raise ValueError(
            f"coords must have shape (N, {ndim}), one position of {ndim} coordinates per row, "
            f"got {tuple(points.shape)}{hint}"
        )
    return points


def _frames(frame: Any, image: Array, frame_axis: int | None, count: int) -> Array | None:
    if frame_axis is None:
        if frame is not None:
            as_array(frame, "frame")
            raise ValueError("frame is given, so frame_axis must say which axis of the image it counts along")
        return None
    if frame is None:
        raise ValueError("frame must give the image of each position, since the image is a stack")
    return check_frames(frame, count, image.shape[frame_axis])
