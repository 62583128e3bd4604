"""Axes of an image by name: which are frames, slices, rows, columns and channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._source import ImageError, check_size, letter_of, times
from npsubpix.io.source import ImageSource

__all__ = ["Layout", "lay_out"]


@dataclass(frozen=True)
class Layout:
    """The frames of an image: how many, their shape, how they are read, and what was taken for what."""

    count: int
    shape: tuple[int, ...]
    is_stack: bool
    block: Callable[..., HostArray]  # frames of [first, last), of shape (last - first, *shape), or a box of each
    reading: str  # empty for an image of two axes
    dtype: np.dtype[Any]
    axes: tuple[str, ...]  # of a frame, by the names of the image
    frame_axis: str | None

    def read(self, number: int) -> HostArray:
        """Read a frame."""
        frame: HostArray = self.block(number, number + 1)[0]
        return frame


@dataclass(frozen=True)
class _Roles:
    """Positions of the axes of an image by their role."""

    names: str
    frames: int | None
    channel: int | None
    space: tuple[int, ...]  # z if there is one, y and x


def lay_out(
    source: ImageSource,
    *,
    frames: int | str | bool | None = None,
    channel: int | None = None,
    volume: bool | None = None,
    named: bool = False,
    max_memory: int | None = None,
) -> tuple[Layout, list[str]]:
    """Return the frames of an image, and notes on what is left out of them.

    `frames` is the name or the number of their axis, or False for a volume; `named` says that the caller named the
    axes; `max_memory` is what a frame may take.
    """
    shape, dtype = source.shape, source.dtype
    letters = _letters(source, frames)
    if frames is False or (isinstance(frames, bool) and frames):
        volume = not frames
    named = named or (frames is not None and not isinstance(frames, bool))
    roles = _assign(source, letters, channel, volume, chosen=named)
    if frames is False and roles.frames is not None and shape[roles.frames] > 1:
        raise ImageError(
            f"{source.name}: has {_dimensions(source, letters)}, of which a volume leaves {shape[roles.frames]} frames"
        )
    chosen = _choose_channel(source, roles, channel)
    notes = []
    if isinstance(chosen, slice) and roles.channel is not None:
        notes.append(_colours(letters, shape[roles.channel], named))
    frame_shape = tuple(shape[axis] for axis in roles.space)
    if max_memory is not None:
        if isinstance(chosen, slice):
            check_size(source.name, "a frame", (*frame_shape, 3), dtype, max_memory)
        hint = "" if len(frame_shape) == 2 or roles.frames is not None else " (--no-volume reads its slices as frames)"
        check_size(source.name, f"a frame{hint}", frame_shape, dtype, max_memory)
    count = 1 if roles.frames is None else shape[roles.frames]
    layout = Layout(
        count,
        frame_shape,
        roles.frames is not None,
        _reader(source, roles, chosen),
        _reading(source, roles, volume, named),
        np.result_type(dtype, np.float32) if isinstance(chosen, slice) else dtype,
        tuple(source.axes[axis] for axis in roles.space),
        None if roles.frames is None else source.axes[roles.frames],
    )
    return layout, notes


def _letters(source: ImageSource, frames: int | str | bool | None) -> str:
    """Return a letter per axis: T, Z, C, S, Y and X, Q for axes without a name, O for those with another one."""
    letters = [letter_of(name, axis) for axis, name in enumerate(source.axes)]
    if frames is not None and not isinstance(frames, bool):
        chosen = _axis_of(source, frames)
        letters = ["O" if letter == "T" else letter for letter in letters]
        letters[chosen] = "T"
    if not {"Y", "X"} <= set(letters):  # assumed to be the last
        space = [axis for axis, letter in enumerate(letters) if letter in "QOYX"][-2:]
        if len(space) == 2:
            letters = ["O" if letter in "YX" else letter for letter in letters]
            letters[space[0]], letters[space[1]] = "Y", "X"
    return "".join(letters)


def _axis_of(source: ImageSource, frames: int | str) -> int:
    """Return the axis that the caller calls that of frames."""
    listed = ", ".join(source.axes)
    if isinstance(frames, str):
        names = [name.lower() for name in source.axes]
        if frames.lower() not in names:
            raise ImageError(f"{source.name}: has axes {listed}, and none is called {frames!r}")
        axis = names.index(frames.lower())
    else:
        if not -source.ndim <= frames < source.ndim:
            raise ImageError(f"{source.name}: has {source.ndim} axes ({listed}), and no axis {frames}")
        axis = frames % source.ndim
    if source.axes[axis] in ("y", "x"):
        raise ImageError(f"{source.name}: {source.axes[axis]} is an axis of pixels, and frames lie along another one")
    return axis


def _assign(source: ImageSource, names: str, channel: int | None, volume: bool | None, *, chosen: bool) -> _Roles:
    """Say which axis of a file is which."""
    shape, path = source.shape, source.name
    if "Y" not in names or "X" not in names:
        raise ImageError(f"{path}: has {_dimensions(source, names)}; needed are Y and X")
    across = _channel_axis(names, channel, chosen)
    others = [axis for axis, name in enumerate(names) if name not in "YX" and axis != across]
    depth = names.index("Z") if "Z" in names and volume is not False else None
    if depth is not None and shape[depth] == 1 and not volume:
        depth = None  # one slice is an image
    if depth is None and volume:
        without_name = [axis for axis in others if names[axis] in "QCO"]
        if without_name:
            depth = without_name[-1]
        elif others:
            last = names[others[-1]]
            slices = names.replace(last, "Z")
            raise ImageError(f"{path}: has axes {names} and no Z for a volume; --axes {slices} calls {last} Z")
    frames = [axis for axis in others if axis != depth]
    while len(frames) > 1 and any(shape[axis] == 1 for axis in frames):  # such as times and slices of which is one
        frames.remove(next(axis for axis in frames if shape[axis] == 1))
    if len(frames) > 1 or (volume and depth is None):
        raise ImageError(f"{path}: has {_dimensions(source, names)}; {_needed(volume)}")
    space = (names.index("Y"), names.index("X"))
    return _Roles(names, frames[0] if frames else None, across, space if depth is None else (depth, *space))


def _needed(volume: bool | None) -> str:
    if volume:
        return "needed are 3 (a volume) or 4 (a stack of volumes)"
    return "needed are 2 (an image) or 3 (a stack, or a volume with --volume), or more with names given by --axes"


def _dimensions(source: ImageSource, names: str) -> str:
    return f"{len(source.shape)} dimensions, {_spelled(source, names)} of {times(source.shape)}"


def _spelled(source: ImageSource, names: str) -> str:
    """Write the names of axes: letters as in TZYX, or words."""
    return names if "O" not in names else ", ".join(source.axes)


def _channel_axis(names: str, channel: int | None, chosen: bool) -> int | None:
    if "S" in names:
        return names.index("S")
    if "C" not in names:
        return None
    # tifffile calls the only other axis of an ImageJ file C where nothing says what it is
    return names.index("C") if chosen or channel is not None or len(names) > 3 else None


def _choose_channel(source: ImageSource, roles: _Roles, channel: int | None) -> int | slice | None:
    """Return the index on the axis of channels: one, or the slice to take the mean of."""
    path = source.name
    if roles.channel is None:
        if channel is not None:
            raise ImageError(f"{path}: has one channel; needed is an image with several to choose channel {channel}")
        return None
    count = source.shape[roles.channel]
    if channel is not None:
        if not 0 <= channel < count:
            raise ImageError(f"{path}: has {count} channels; channel must be 0 to {count - 1}, got {channel}")
        return channel
    if count == 1:
        return 0
    if source.is_colour and count in (3, 4):
        return slice(0, 3)
    raise ImageError(f"{path}: has {count} channels that are no colours; choose one, 0 to {count - 1}, with --channel")


def _colours(names: str, count: int, named: bool) -> str:
    """Say that colours are averaged, and what reads them otherwise."""
    alpha = ", alpha left out" if count == 4 else ""
    text = f"mean of red, green and blue{alpha}; --channel reads one"
    if not named and "S" in names and names.index("S") < names.index("Y"):
        frames = names.replace("S", "T" if "T" not in names else "I")
        text += f", --axes {frames} reads {count} planes of colour as frames"
    return text


def _reader(source: ImageSource, roles: _Roles, chosen: int | slice | None) -> Callable[..., HostArray]:
    """Return a function that reads a block of frames, with the axes of each in the order z, y, x."""
    wanted = [axis for axis in (roles.frames, *roles.space, roles.channel) if axis is not None]
    index: list[Any] = [slice(None) if axis in wanted else 0 for axis in range(source.ndim)]
    if roles.channel is not None:
        index[roles.channel] = chosen
    kept = [axis for axis, part in enumerate(index) if isinstance(part, slice)]
    order = [kept.index(axis) for axis in wanted if axis in kept]

    def block(first: int, last: int, box: tuple[slice, ...] = ()) -> HostArray:
        parts = list(index)
        for axis, part in zip(roles.space, box, strict=False):
            parts[axis] = part
        if roles.frames is not None:
            parts[roles.frames] = slice(first, last)
        data = np.transpose(source.read(tuple(parts)), order)
        if isinstance(chosen, slice):
            data = data.mean(axis=-1, dtype=np.result_type(data.dtype, np.float32))
        return data if roles.frames is not None else data[None]

    return block


def _reading(source: ImageSource, roles: _Roles, volume: bool | None, named: bool) -> str:
    """Say what was taken for what, if there is anything beside y and x."""
    shape, names, frames = source.shape, roles.names, roles.frames
    others = set(range(len(shape))) - set(roles.space[-2:]) - {roles.channel}
    if not others:
        return ""
    has_names = named or not any(names[axis] == "Q" for axis in others)
    text = f"axes {_spelled(source, names)} of {times(shape)} taken for " if has_names else ""
    text = text or f"{times(shape)}, axes not named, taken for "
    along = ""
    if has_names and frames is not None:
        along = f" along {source.axes[frames] if names[frames] == 'O' else names[frames]}"
    if len(roles.space) == 2:
        text += f"{0 if frames is None else shape[frames]} frames{along}"
        certain = named or volume is False or names[frames or 0] not in "QC"
        return text if certain else f"{text}; --volume or --axes reads them otherwise"
    if frames is not None:
        return f"{text}{shape[frames]} frames{along}, each a volume"
    return text + "a volume" + ("; --no-volume reads its slices as frames" if volume is None else "")
