"""Parts of an image: indices as NumPy takes them, a channel, and other names for axes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from npsubpix._arrays.library import HostArray
from npsubpix.io._source import ImageError, Index, Source, letter_of, names_of, times

__all__ = ["normalized", "one_channel", "renamed"]


def normalized(index: Any, shape: tuple[int, ...], name: str) -> tuple[Index, tuple[int, ...]]:
    """Return an index with an integer from 0 or a slice with both ends for each axis, and the shape of its part."""
    parts = list(index) if isinstance(index, tuple) else [index]
    dots = [number for number, part in enumerate(parts) if part is Ellipsis]
    if len(dots) > 1:
        raise IndexError(f"{name}: an index has at most one Ellipsis")
    missing = len(shape) - len(parts) + len(dots)
    if missing < 0:
        raise IndexError(f"{name}: has {len(shape)} axes, and the index has {len(parts) - len(dots)}")
    at = dots[0] if dots else len(parts)
    parts[at : at + len(dots)] = [slice(None)] * missing
    found: list[Any] = []
    for axis, (part, length) in enumerate(zip(parts, shape, strict=True)):
        if isinstance(part, slice):
            if part.step not in (None, 1):
                raise IndexError(f"{name}: a slice must have step 1, got {part.step}")
            start, stop, _ = part.indices(length)
            found.append(slice(start, max(start, stop)))
            continue
        try:
            number = operator.index(part)
        except TypeError:
            raise IndexError(f"{name}: an index must be an integer or a slice per axis, got {part!r}") from None
        if not -length <= number < length:
            raise IndexError(f"{name}: {number} is outside of axis {axis}, which has length {length}")
        found.append(number % length)
    return tuple(found), tuple(part.stop - part.start for part in found if isinstance(part, slice))


def renamed(source: Source, name: str, axes: str | Sequence[str]) -> Source:
    """Return a source with other names for its axes."""
    names = names_of(axes) if isinstance(axes, str) else tuple(axes)
    letters = not isinstance(axes, str) or axes.isalpha()
    if len(names) != len(source.shape) or len(set(names)) < len(names) or not letters or not {"y", "x"} <= set(names):
        raise ImageError(
            f"{name}: has {len(source.shape)} axes, shape {times(source.shape)}; axes must name each by one letter, Y "
            f"and X among them, got {axes!r}"
        )
    of = dict(zip(source.axes, names, strict=True))
    return replace(
        source,
        axes=names,
        colour=source.colour if "s" in source.axes else "s" in names,
        pixel_size={of[axis]: size for axis, size in source.pixel_size.items() if of[axis] != "t"},
        origin={of[axis]: place for axis, place in source.origin.items() if of[axis] != "t"},
    )


def one_channel(source: Source, name: str, channel: int) -> Source:
    """Return a source with one of its channels, or of its samples of colour."""
    letters = [letter_of(axis, k) for k, axis in enumerate(source.axes)]
    across = "S" if "S" in letters else "C"
    if across not in letters:
        raise ImageError(f"{name}: has one channel; needed is an image with several to choose channel {channel}")
    axis = letters.index(across)
    count = source.shape[axis]
    if not 0 <= channel < count:
        raise ImageError(f"{name}: has {count} channels; channel must be 0 to {count - 1}, got {channel}")

    def without(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*values[:axis], *values[axis + 1 :])

    def fetch(index: Index) -> HostArray:
        return source.fetch((*index[:axis], channel, *index[axis:]))

    return replace(
        source,
        shape=without(source.shape),
        axes=without(source.axes),
        fetch=fetch,
        colour=False,
        chunks=None if source.chunks is None else without(source.chunks),
    )
