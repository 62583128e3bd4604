"""Samples of the frames of a stack, each at the positions that a table has in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npsubpix._arrays.checks import check_channel_axis, check_frames_of, check_positions
from npsubpix._arrays.library import Array, as_array, take, without_booleans
from npsubpix._arrays.stacks import check_frame_axis, in_order_of_rows, rows_by_frame

__all__ = ["sample_stack"]


def sample_stack(
    image: Any,
    coords: Any,
    frame_axis: Any,
    channel_axis: Any,
    sample_frame: Callable[[Array, Array, int | None], tuple[Array, ...]],
) -> tuple[Array, ...]:
    """Sample each frame at its rows of a table; return values, and a gradient if there is one, in the order of rows.

    `sample_frame` takes a frame, positions (ndim, N) and the channel axis of the frame.
    """
    x = without_booleans(as_array(image, "image"))
    frames = check_frames_of(coords)
    if frames is None:
        raise TypeError(f"coords must be Peaks with frames if frame_axis is given, got a {type(coords).__name__}")
    axis, channels = check_frame_axis(frame_axis, x.ndim), check_channel_axis(channel_axis, x)
    if axis == channels:
        raise ValueError(f"frame_axis and channel_axis must be different axes of the image, got {frame_axis} for both")
    channels = None if channels is None else channels - (channels > axis)
    rows_of = rows_by_frame(frames, len(coords), x.shape[axis])
    positions = check_positions(coords, "coords", axis=0)
    parts = [
        sample_frame(x[(slice(None),) * axis + (number,)], take(positions, rows, 1), channels)
        for number, rows in rows_of.items()
    ]
    first = 1 if channels == 0 else 0
    return tuple(in_order_of_rows(results, rows_of, first + k) for k, results in enumerate(zip(*parts, strict=True)))
