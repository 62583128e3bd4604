"""Frames of a stack, a sequence or a source, each of which is read when it is asked for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npsubpix._arrays.lazy import LazyFrames, is_lazy
from npsubpix._arrays.library import Array, HostArray, as_array, is_array
from npsubpix.io import open_image
from npsubpix.io._source import TIMES

__all__ = ["Frames", "frames_of"]

#: Bytes of the frames of a source that are read at once, and kept until others are read.
_BLOCK = 2**27


class Frames:
    """Frames, which may be on a device or in a file."""

    def __init__(self, images: Any) -> None:
        self._images = images
        self._shape = self.shape_of(0)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._images)

    def __getitem__(self, k: int) -> Array:
        """Return a frame, of the shape of the first."""
        frame = self._images[k]
        shape = tuple(as_array(frame, "images").shape)
        if shape != self._shape:
            raise ValueError(f"images must have one shape, {self._shape}, got {shape} for image {k}")
        return frame

    def shape_of(self, k: int) -> tuple[int, ...]:
        """Return the shape of a frame, which may differ from that of the first."""
        if isinstance(self._images, SourceFrames):
            return self._images.shape
        return tuple(as_array(self._images[k], "images").shape)

    def part(self, k: int, rows: slice, columns: slice) -> Array:
        """Return a part of a frame, of whatever shape that is."""
        if isinstance(self._images, SourceFrames):
            return self._images.part(k, rows, columns)
        return as_array(self._images[k], "images")[rows, columns]


def frames_of(images: Any) -> Frames:
    """Return the frames of an array of shape (T, H, W), of a sequence of images, or of an `ImageSource`."""
    if isinstance(images, Frames):
        return images
    if hasattr(images, "dims") and hasattr(images, "coords"):  # of xarray, whose names of axes decide
        images = open_image(images)
    if hasattr(images, "axes") and hasattr(images, "read"):
        return Frames(SourceFrames(images))
    if is_array(images):
        images = images if is_lazy(images) else as_array(images, "images")
        if images.ndim != 3:
            raise ValueError(f"images must have shape (T, H, W), got {tuple(images.shape)}")
    elif not (hasattr(images, "__len__") and hasattr(images, "__getitem__")) or isinstance(images, (str, dict)):
        as_array(images, "images")  # says what to do about the name of a file
        raise TypeError(
            f"images must be an array of shape (T, H, W), a sequence of images or an ImageSource, got "
            f"{type(images).__name__}"
        )
    if not is_array(images) or is_lazy(images):
        images = LazyFrames(images)
    if len(images) == 0:
        raise ValueError("images must hold at least one image, got none")
    return Frames(images)


class SourceFrames:
    """The frames of an `ImageSource`, read in blocks of its chunks."""

    def __init__(self, source: Any) -> None:
        self._source = source
        names, lengths = [str(name).lower() for name in source.axes], tuple(source.shape)
        space = [names.index(name) for name in ("y", "x") if name in names]
        if len(space) != 2:
            space = [axis for axis, name in enumerate(names) if name not in TIMES][-2:]
        others = [axis for axis in range(len(names)) if axis not in space and lengths[axis] != 1]
        if len(others) > 1:
            listed = ", ".join(f"{name} {length}" for name, length in zip(names, lengths, strict=True))
            raise ValueError(f"images must have one axis beside y and x, got {source.name} with axes {listed}")
        self._space, self._axis = space, others[0] if others else None
        self.shape = lengths[space[0]], lengths[space[1]]
        self._count = 1 if self._axis is None else lengths[self._axis]
        if self._count == 0:
            raise ValueError(f"images must hold at least one image, got none in {source.name}")
        self._length = self._block_length()
        self._first, self._block = -1, np.zeros((0, 0, 0))

    def __len__(self) -> int:
        """Return the number of frames."""
        return self._count

    def __getitem__(self, k: int) -> HostArray:
        """Return a frame, and keep those read with it."""
        k = range(self._count)[k]
        first = k - k % self._length
        if first != self._first:
            last = min(first + self._length, self._count)
            self._block = self._read(slice(first, last), slice(None), slice(None))
            self._first = first
        return np.asarray(self._block[k - first])

    def part(self, k: int, rows: slice, columns: slice) -> HostArray:
        """Read a part of a frame."""
        return np.asarray(self._read(slice(k, k + 1), rows, columns)[0])

    def _block_length(self) -> int:
        """Return how many frames are read at once: those of a chunk, as far as memory allows."""
        chunks = getattr(self._source, "chunks", None)
        if self._axis is None or chunks is None:
            return 1
        frame = math.prod(self.shape) * np.dtype(self._source.dtype).itemsize
        return int(max(1, min(chunks[self._axis], _BLOCK // max(frame, 1))))

    def _read(self, frames: slice, rows: slice, columns: slice) -> HostArray:
        """Read a part of some frames, in the order frame, y, x."""
        index: list[Any] = [0] * len(self._source.shape)
        index[self._space[0]], index[self._space[1]] = rows, columns
        if self._axis is not None:
            index[self._axis] = frames
        data = np.asarray(self._source.read(tuple(index)))
        kept = [axis for axis, part in enumerate(index) if isinstance(part, slice)]
        order = [axis for axis in (self._axis, *self._space) if axis is not None]
        data = np.transpose(data, [kept.index(axis) for axis in order])
        return data if self._axis is not None else data[None]
