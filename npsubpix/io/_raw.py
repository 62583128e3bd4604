"""Arrays in files as they are in memory: parts are read, and nothing is mapped that stays.

The pages of a memory map count as memory of the process for as long as it is there, and one that is read beyond the
end of a file that has become shorter ends the process.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._source import ImageError, Index

__all__ = ["RawArray"]


class RawArray:
    """An array in a file."""

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], order: str = "C") -> None:
        self.path, self.offset, self.shape, self.dtype, self.order = path, offset, shape, dtype, order

    def check(self) -> None:
        """Refuse a file that is too short."""
        size = self.path.stat().st_size
        needed = self.offset + math.prod(self.shape) * self.dtype.itemsize
        if size < needed:
            raise ImageError(f"{self.path}: is truncated, {size} bytes long of {needed}")

    def fetch(self, index: Index) -> HostArray:
        """Read the part that integers and slices with both ends select."""
        run = self._run(index) if self.order == "C" else None
        if run is not None:
            first, shape = run
            part = np.empty(shape, self.dtype)
            self._read_into(part, self.offset + first * self.dtype.itemsize)
            return part
        self.check()
        pixels = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)  # type: ignore[call-overload]
        return np.array(pixels[index], order="C", subok=False)

    def _run(self, index: Index) -> tuple[int, tuple[int, ...]] | None:
        """Return the first pixel and the shape of a part whose pixels follow each other, or None."""
        first, shape, seen = 0, [], False
        for part, length, stride in zip(index, self.shape, self._strides(), strict=True):
            if not isinstance(part, slice):
                if seen:
                    return None
                first += part * stride
                continue
            count = part.stop - part.start
            if seen and count != length:
                return None
            seen = seen or count != 1
            first += part.start * stride
            shape.append(count)
        return first, tuple(shape)

    def _strides(self) -> list[int]:
        return [math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]

    def _read_into(self, part: HostArray, place: int) -> None:
        with self.path.open("rb", buffering=0) as file:
            file.seek(place)
            target = memoryview(part.reshape(-1).view(np.uint8))
            while len(target):
                count = file.readinto(target)
                if not count:
                    size, needed = os.fstat(file.fileno()).st_size, place + part.nbytes
                    raise ImageError(f"{self.path}: is truncated, {size} bytes long of {needed}")
                target = target[count:]
