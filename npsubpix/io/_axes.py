"""Axes of a file by name: which are frames, slices, rows, columns and channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._source import ImageError, Source, check_size, times

__all__ = ["Layout", "lay_out"]

_UNNAMED = "QI"


@dataclass(frozen=True)
class Layout:
    """The frames of a file: how many, their shape, how one is read, and what was taken for what."""

    count: int
    shape: tuple[int, ...]
    is_stack: bool
    read: Callable[[int], HostArray]
    reading: str  # empty for an image of two axes


@dataclass(frozen=True)
class _Roles:
    """Positions of the axes of a file by their role."""

    names: str
    frames: int | None
    channel: int | None
    space: tuple[int, ...]  # z if there is one, y and x


def lay_out(
    path: Path, source: Source, *, channel: int | None, volume: bool | None, axes: str | None, max_memory: int
) -> tuple[Layout, list[str]]:
    """Return the frames of a source, and notes on what is left out of them."""
    shape, dtype = source.shape, np.dtype(source.dtype)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ImageError(f"{path}: holds {dtype}; needed are integers or floats of up to 64 bits")
    if math.prod(shape) == 0:
        raise ImageError(f"{path}: has no pixels, its shape is {shape}")
    names = source.axes if axes is None else _checked_names(path, axes, shape)
    roles = _assign(path, names, shape, channel, volume, chosen=axes is not None)
    colour = source.colour if axes is None or "S" in source.axes else "S" in names
    chosen = _choose_channel(path, shape, roles, channel, colour)
    notes = []
    averaged = isinstance(chosen, slice)
    if averaged and roles.channel is not None:
        notes.append(_colours(names, shape[roles.channel], axes))
        check_size(path, "a frame", (*(shape[axis] for axis in roles.space), 3), dtype, max_memory)
    frame_shape = tuple(shape[axis] for axis in roles.space)
    hint = "" if len(frame_shape) == 2 or roles.frames is not None else " (--no-volume reads its slices as frames)"
    check_size(path, f"a frame{hint}", frame_shape, dtype, max_memory)
    count = 1 if roles.frames is None else shape[roles.frames]
    read = _reader(source, roles, chosen)
    layout = Layout(count, frame_shape, roles.frames is not None, read, _reading(roles, shape, volume, axes))
    return layout, notes


def _checked_names(path: Path, axes: str, shape: tuple[int, ...]) -> str:
    """Check the names that the caller has for the axes of a file."""
    names = axes.upper()
    unique = all(names.count(letter) <= 1 for letter in "TZCSYX")
    if len(names) != len(shape) or not names.isalpha() or "Y" not in names or "X" not in names or not unique:
        raise ImageError(
            f"{path}: has {len(shape)} axes, shape {times(shape)}; axes must name each by one letter, Y and X among "
            f"them, got {axes!r}"
        )
    return names


def _assign(
    path: Path, names: str, shape: tuple[int, ...], channel: int | None, volume: bool | None, *, chosen: bool
) -> _Roles:
    """Say which axis of a file is which."""
    if "Y" not in names or "X" not in names:
        raise ImageError(f"{path}: has {_dimensions(names, shape)}; needed are Y and X")
    across = _channel_axis(names, channel, chosen)
    others = [axis for axis, name in enumerate(names) if name not in "YX" and axis != across]
    depth = names.index("Z") if "Z" in names and volume is not False else None
    if depth is not None and shape[depth] == 1 and not volume:
        depth = None  # one slice is an image
    if depth is None and volume:
        unnamed = [axis for axis in others if names[axis] in _UNNAMED + "C"]
        if unnamed:
            depth = unnamed[-1]
        elif others:
            last = names[others[-1]]
            slices = names.replace(last, "Z")
            raise ImageError(f"{path}: has axes {names} and no Z for a volume; --axes {slices} calls {last} Z")
    frames = [axis for axis in others if axis != depth]
    while len(frames) > 1 and any(shape[axis] == 1 for axis in frames):  # such as times and slices of which is one
        frames.remove(next(axis for axis in frames if shape[axis] == 1))
    if len(frames) > 1 or (volume and depth is None):
        raise ImageError(f"{path}: has {_dimensions(names, shape)}; {_needed(volume)}")
    space = (names.index("Y"), names.index("X"))
    return _Roles(names, frames[0] if frames else None, across, space if depth is None else (depth, *space))


def _needed(volume: bool | None) -> str:
    if volume:
        return "needed are 3 (a volume) or 4 (a stack of volumes)"
    return "needed are 2 (an image) or 3 (a stack, or a volume with --volume), or more with names given by --axes"


def _dimensions(names: str, shape: tuple[int, ...]) -> str:
    return f"{len(shape)} dimensions, {names} of {times(shape)}"


def _channel_axis(names: str, channel: int | None, chosen: bool) -> int | None:
    if "S" in names:
        return names.index("S")
    if "C" not in names:
        return None
    # tifffile calls the only other axis of an ImageJ file C where nothing says what it is
    return names.index("C") if chosen or channel is not None or len(names) > 3 else None


def _choose_channel(
    path: Path, shape: tuple[int, ...], roles: _Roles, channel: int | None, colour: bool
) -> int | slice | None:
    """Return the index on the axis of channels: one, or the slice to take the mean of."""
    if roles.channel is None:
        if channel is not None:
            raise ImageError(f"{path}: has one channel; needed is an image with several to choose channel {channel}")
        return None
    count = shape[roles.channel]
    if channel is not None:
        if not 0 <= channel < count:
            raise ImageError(f"{path}: has {count} channels; channel must be 0 to {count - 1}, got {channel}")
        return channel
    if count == 1:
        return 0
    if colour and count in (3, 4):
        return slice(0, 3)
    raise ImageError(f"{path}: has {count} channels that are no colours; choose one, 0 to {count - 1}, with --channel")


def _colours(names: str, count: int, axes: str | None) -> str:
    """Say that colours are averaged, and what reads them otherwise."""
    alpha = ", alpha left out" if count == 4 else ""
    text = f"mean of red, green and blue{alpha}; --channel reads one"
    if axes is None and names.index("S") < names.index("Y"):
        frames = names.replace("S", "T" if "T" not in names else "I")
        text += f", --axes {frames} reads {count} planes of colour as frames"
    return text


def _reader(source: Source, roles: _Roles, chosen: int | slice | None) -> Callable[[int], HostArray]:
    """Return a function that reads a frame, with its axes in the order z, y, x."""

    def read(number: int) -> HostArray:
        index: list[Any] = [slice(None)] * len(source.shape)
        if roles.frames is not None:
            index[roles.frames] = number
        if roles.channel is not None:
            index[roles.channel] = chosen
        left_out = {axis for axis, part in enumerate(index) if not isinstance(part, slice)}
        for axis in range(len(index)):  # axes of length one without a role
            if axis not in (*roles.space, *left_out, roles.channel):
                index[axis] = 0
                left_out.add(axis)
        data = source.fetch(tuple(index))
        if data.dtype.kind == "b":
            data = data.astype(np.uint8)
        order = [axis for axis in range(len(index)) if axis not in left_out]
        data = np.transpose(data, [order.index(axis) for axis in (*roles.space, roles.channel) if axis in order])
        if not isinstance(chosen, slice):
            return np.asarray(data)
        mean: HostArray = data.mean(axis=-1, dtype=np.result_type(data.dtype, np.float32))
        return mean

    return read


def _reading(roles: _Roles, shape: tuple[int, ...], volume: bool | None, axes: str | None) -> str:
    """Say what was taken for what, if there is anything beside y and x."""
    others = set(range(len(shape))) - set(roles.space[-2:]) - {roles.channel}
    if not others:
        return ""
    names, frames = roles.names, roles.frames
    named = axes is not None or not any(names[axis] in _UNNAMED for axis in others)
    text = f"axes {names} of {times(shape)} taken for " if named else f"{times(shape)}, axes not named, taken for "
    if len(roles.space) == 2:
        text += f"{0 if frames is None else shape[frames]} frames" + (f" along {names[frames or 0]}" if named else "")
        certain = axes is not None or volume is False or names[frames or 0] not in _UNNAMED + "C"
        return text if certain else f"{text}; --volume or --axes reads them otherwise"
    if frames is not None:
        return text + f"{shape[frames]} frames" + (f" along {names[frames]}" if named else "") + ", each a volume"
    return text + "a volume" + ("; --no-volume reads its slices as frames" if volume is None else "")
