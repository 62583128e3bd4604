"""Frames in memory on their way to other processes of this machine, which read them as a file.

Through the pipes of a pool a frame takes longer than the search for its peaks. The file has no name and is in memory:
the system takes it back when the last process that holds it ends, however it ends.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._raw import RawArray

__all__ = ["Shared", "SharedFiles", "SharedFrames", "shared"]


class Shared(NamedTuple):
    """Where another process of this machine finds frames."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def get(self) -> HostArray:
        """Read the frames."""
        index = tuple(slice(0, length) for length in self.shape)
        return RawArray(Path(self.path), 0, self.shape, self.dtype).fetch(index)


class SharedFiles:
    """Files in memory without a name, which are written again and again: pages that are new take longer than a copy."""

    def __init__(self) -> None:
        self._spare: list[int] | None = []

    def take(self) -> int:
        """Return a file that nobody reads."""
        return self._spare.pop() if self._spare else os.memfd_create("npsubpix")

    def give_back(self, file: int) -> None:
        """Take a file back, which is read no more."""
        if self._spare is None:
            os.close(file)
        else:
            self._spare.append(file)

    def close(self) -> None:
        """Close all files, those that are still read once they are given back."""
        spare, self._spare = self._spare, None
        for file in spare or ():
            os.close(file)


class SharedFrames:
    """Frames that other processes of this machine can read while this object is there; pickles as where they are."""

    def __init__(self, frames: HostArray, files: SharedFiles) -> None:
        file = files.take()
        weakref.finalize(self, files.give_back, file)
        self._place = Shared(f"/proc/{os.getpid()}/fd/{file}", frames.shape, frames.dtype)
        values = np.ascontiguousarray(frames).reshape(-1).view(np.uint8).data
        done = 0
        while done < len(values):
            done += os.pwrite(file, values[done:], done)

    def __reduce__(self) -> tuple[Any, ...]:
        return Shared, tuple(self._place)


def shared(frames: HostArray | None, files: SharedFiles) -> Any:
    """Return frames as other processes of this machine read them; as they are where the system has no such files."""
    if frames is None or not frames.size or not hasattr(os, "memfd_create"):
        return frames
    try:
        return SharedFrames(frames, files)
    except OSError:  # no memory for files, or no more files
        return frames
