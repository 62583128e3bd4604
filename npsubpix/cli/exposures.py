"""Frames of the files that a command names, one after the other, each read when it is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npsubpix.alignment.frames import Frames
from npsubpix.cli.terminal import Errors, Notes

__all__ = ["Exposure", "Exposures", "exposures_of"]


class Exposure(NamedTuple):
    """File and number of a frame, and its shape."""

    path: Path
    number: int
    shape: tuple[int, ...]


class Exposures(Frames):
    """Frames of files: the last file stays open, and its last frame in memory."""

    def __init__(self, places: Sequence[Exposure], reading: Mapping[str, Any]) -> None:
        self.places = list(places)
        self._reading = reading
        self._open = contextlib.ExitStack()
        self._path: Path | None = None
        self._stack: Any = None
        self._kept: tuple[Exposure, Any] | None = None

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.places)

    def __getitem__(self, k: int) -> Any:
        """Read a frame."""
        from npsubpix.io._frames import FrameSource

        place = self.places[k]
        if self._kept is None or self._kept[0] != place:
            if self._path != place.path:
                self.close()
                self._stack = self._open.enter_context(FrameSource(place.path, **self._reading))
                self._path = place.path
            if place.number >= self._stack.count:
                raise RuntimeError(f"{place.path}: has changed while it was read")
            self._kept = place, np.asarray(self._stack.frame(place.number))
        return self._kept[1]

    def shape_of(self, k: int) -> tuple[int, ...]:
        """Return the shape of a frame."""
        return self.places[k].shape

    def part(self, k: int, rows: slice, columns: slice) -> Any:
        """Return a part of a frame."""
        return self[k][rows, columns]

    def without(self, bad: set[int]) -> Exposures:
        """Return the frames but some."""
        return Exposures([place for k, place in enumerate(self.places) if k not in bad], self._reading)

    def close(self) -> None:
        """Close the file that is open."""
        self._path, self._stack, self._kept = None, None, None
        self._open.close()
        self._open = contextlib.ExitStack()


@contextlib.contextmanager
def exposures_of(
    paths: Sequence[Path], reading: Mapping[str, Any], errors: Errors, notes: Notes
) -> Iterator[Exposures]:
    """Open the frames of files; those that cannot be opened are reported and left out."""
    from npsubpix.io._frames import FrameSource

    places: list[Exposure] = []
    for path in paths:
        with errors.survived(), FrameSource(path, **reading) as stack:
            notes.say(stack)
            places += [Exposure(path, number, stack.frame_shape) for number in range(stack.count)]
    exposures = Exposures(places, reading)
    try:
        yield exposures
    finally:
        exposures.close()
