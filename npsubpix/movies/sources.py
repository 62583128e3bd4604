"""Frames of a source: which axis they lie along, which part of each is wanted, and how blocks of them are read."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._arrays.stacks import is_delayed
from npsubpix.io import open_image
from npsubpix.io._arrays import file_of
from npsubpix.io._source import letter_of

__all__ = ["Movie", "files_of", "in_memory", "movie_of", "opened"]


def opened(source: Any) -> Any:
    """Open what a caller calls a source: whatever `open_image` takes, or what has the attributes of its result."""
    if hasattr(source, "read") and hasattr(source, "axes") and hasattr(source, "shape"):
        return source
    return open_image(source)


def in_memory(source: Any) -> bool:
    """Whether the pixels of a source are in this process, so that reading a block costs nothing."""
    return type(getattr(source, "_target", None)) is np.ndarray


def files_of(source: Any) -> tuple[Path, ...]:
    """Return the files of a source, or that of which it, an array, is a part."""
    target = getattr(source, "_target", None)
    of_array = None if target is None else file_of(target)[0]
    return (*getattr(source, "files", ()), *(() if of_array is None else (of_array,)))


@dataclass(frozen=True)
class Movie:
    """The frames of a source.

    Attributes
    ----------
    source : ImageSource
        Where pixels come from.
    axis : int or None
        Axis of the source along which images are independent; None for a single image.
    index : tuple of slices
        Part of each axis of the source that is wanted, that of frames included.
    """

    source: Any
    axis: int | None
    index: tuple[slice, ...]
    shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        lengths = [part.stop - part.start for part in self.index]
        object.__setattr__(self, "shape", tuple(n for k, n in enumerate(lengths) if k != self.axis))

    @property
    def count(self) -> int:
        """Number of frames."""
        return 1 if self.axis is None else self.index[self.axis].stop

    @property
    def origin(self) -> tuple[int, ...]:
        """First pixel of the part of each frame that is wanted."""
        return tuple(part.start for k, part in enumerate(self.index) if k != self.axis)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of the whole of each frame."""
        return tuple(int(n) for k, n in enumerate(self.source.shape) if k != self.axis)

    @property
    def roles(self) -> dict[str, str]:
        """What each axis was taken for: frames, z, y or x."""
        space = iter("zyx"[-len(self.shape) :])
        return {name: "frames" if k == self.axis else next(space) for k, name in enumerate(self.source.axes)}

    @property
    def whole(self) -> tuple[int, ...]:
        """Shape of the part of all frames that is wanted."""
        return self.shape if self.axis is None else (*self.shape[: self.axis], self.count, *self.shape[self.axis :])

    @property
    def has_rows_and_columns_last(self) -> bool:
        """Whether the last two axes of frames are those of the source."""
        return self.axis is None or self.axis < len(self.index) - 2

    @property
    def chunks(self) -> tuple[int, tuple[int, ...]]:
        """Frames, and lengths of the part of a frame, that are stored together."""
        lengths = self.source.chunks or tuple(1 if k == self.axis else n for k, n in enumerate(self.source.shape))
        frames = 1 if self.axis is None else int(lengths[self.axis])
        return max(frames, 1), tuple(max(int(n), 1) for k, n in enumerate(lengths) if k != self.axis)

    def read(self, first: int, last: int, box: tuple[slice, ...] | None = None) -> HostArray:
        """Read frames first <= n < last, or a box of pixels of each; return a stack, frames first."""
        whole = tuple(slice(0, n) for n in self.shape)
        parts = [slice(o + part.start, o + part.stop) for o, part in zip(self.origin, box or whole, strict=True)]
        if self.axis is None:
            return np.asarray(self.source.read(tuple(parts)))[None]
        parts.insert(self.axis, slice(first, last))
        return np.moveaxis(self.source.read(tuple(parts)), self.axis, 0)

    def part(self, first: int, last: int) -> Movie:
        """Return a movie to send elsewhere for these frames: of a graph of dask, no more than they need."""
        target: Any = getattr(self.source, "_target", None)
        if self.axis is None or not is_delayed(target) or tuple(target.shape) != tuple(self.source.shape):
            return self
        index = list(self.index)
        index[self.axis] = slice(0, last - first)
        selection = tuple(slice(first, last) if k == self.axis else slice(None) for k in range(len(index)))
        return _Later(open_image(target[selection]), self.axis, tuple(index), first)


@dataclass(frozen=True)
class _Later(Movie):
    """A movie without the frames before the first."""

    begin: int = 0

    def read(self, first: int, last: int, box: tuple[slice, ...] | None = None) -> HostArray:
        """Read frames that are counted from the first of the whole movie."""
        return super().read(first - self.begin, last - self.begin, box)


def movie_of(source: Any, frames: Any, roi: Any) -> Movie:
    """Say which axis of a source frames lie along, and which part of each frame is wanted."""
    axis = _frame_axis(source, frames)
    shape = [int(n) for n in source.shape]
    ndim = len(shape) - (axis is not None)
    letters = [letter_of(str(name), k) for k, name in enumerate(source.axes)]
    colours = [letter for k, letter in enumerate(letters) if letter in "CS" and k != axis]
    if colours and (frames is None or ndim > 3):
        raise ValueError(
            f"{source.name}: has channels, {_described(source)}: choose one by npsubpix.open_image(..., channel=0)"
        )
    if ndim not in (2, 3):
        hint = "" if axis is not None else ": name the axis of frames by frames="
        raise ValueError(
            f"{source.name}: has axes {_described(source)}; needed are 2 or 3 besides that of frames{hint}"
        )
    _check_order(source, [letter for k, letter in enumerate(letters) if k != axis])
    if ndim == 3 and frames is not False:
        _check_depth(source, letters, axis)
    if 0 in shape:
        raise ValueError(f"{source.name}: has no pixels, its shape is {tuple(shape)}")
    wanted = _region(roi, [n for k, n in enumerate(shape) if k != axis])
    if axis is not None:
        wanted.insert(axis, slice(0, shape[axis]))
    return Movie(source, axis, tuple(wanted))


def _frame_axis(source: Any, frames: Any) -> int | None:
    """Return the axis of frames, by its name or number; the one that the names of axes say by default."""
    names, ndim = tuple(source.axes), len(source.shape)
    if frames is False:
        return None
    if frames is None:
        return _usual_axis([letter_of(str(name), k) for k, name in enumerate(names)])
    if isinstance(frames, str):
        if frames not in names:
            raise ValueError(f"frames must be an axis of {source.name}, one of {', '.join(names)}, got {frames!r}")
        return names.index(frames)
    try:
        number = None if isinstance(frames, bool) else operator.index(frames)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"frames must be the name or the number of an axis, False or None, got {frames!r}")
    if not -ndim <= number < ndim:
        raise ValueError(f"frames must be an axis of {source.name}, which has {_described(source)}, got {number}")
    return number % ndim


def _usual_axis(letters: list[str]) -> int | None:
    """Return the axis of times; else, of three or more, one that is neither of space nor of channels, or the first."""
    times = [k for k, letter in enumerate(letters) if letter == "T"]
    if times or len(letters) < 3:
        return times[0] if times else None
    others = [k for k, letter in enumerate(letters) if letter not in "ZYXCS"]
    if {"Y", "X"} <= set(letters):
        return others[0] if others else 0 if letters[0] == "C" and len(letters) == 3 else None
    return None if len(letters) == 3 and letters[0] == "Z" else others[0] if len(letters) > 3 and others else 0


def _check_depth(source: Any, letters: list[str], axis: int | None) -> None:
    """Refuse volumes along an axis with a name that is not known for slices, such as wavelength."""
    space = [k for k in range(len(letters)) if k != axis]
    across = [k for k in space if letters[k] in "YX"] if {"Y", "X"} <= set(letters) else space[-2:]
    depth = next(k for k in space if k not in across)
    if letters[depth] not in "ZQ":
        name = source.axes[depth]
        raise ValueError(
            f"{source.name}: has axes {_described(source)}, and it is not known whether {name} is z: choose a part of "
            "it, or name the axes, as by npsubpix.open_image(..., axes='tzyx')"
        )


def _check_order(source: Any, letters: list[str]) -> None:
    """Refuse frames whose axes have names in another order than positions, which would be exchanged in silence."""
    own = [letter for letter in "ZYX" if letter in letters]
    if own != [letter for letter in letters if letter in own]:
        raise ValueError(
            f"{source.name}: has axes {_described(source)}; needed are those of frames in the order z, y, x, which is "
            "that of positions: transpose it"
        )


def _described(source: Any) -> str:
    return ", ".join(f"{name} of {n}" for name, n in zip(source.axes, source.shape, strict=True))


def _region(roi: Any, shape: list[int]) -> list[slice]:
    """Require a slice, or a pair of its ends, per axis of a frame."""
    if roi is None:
        return [slice(0, n) for n in shape]
    needed = f"roi must have a slice per axis of a frame, of shape {tuple(shape)}, got {roi!r}"
    try:
        parts = [part if isinstance(part, slice) else slice(*map(operator.index, part)) for part in roi]
        ends = [part.indices(n) for part, n in zip(parts, shape, strict=True)]
    except (TypeError, ValueError):
        raise ValueError(needed) from None
    if any(step != 1 or stop <= start for start, stop, step in ends):
        raise ValueError(f"{needed}: slices must have step 1 and hold pixels")
    return [slice(start, stop) for start, stop, _ in ends]
