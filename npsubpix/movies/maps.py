"""Maps among the options of `locate`: of one frame or of all, checked for the whole movie before a block is read."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.lazy import is_lazy
from npsubpix._arrays.library import HostArray, is_array
from npsubpix.camera import Camera
from npsubpix.io import ImageError, open_image
from npsubpix.movies.sources import files_of
from npsubpix.results import Background

__all__ = ["StoredMap", "changed", "check_map", "frame_of_map", "frames_of_map", "has_maps", "part_of", "with_stored"]

#: Options that may be one map for all frames, or one per frame; cameras have such fields.
_MAPS = ("mask", "background", "sigma", "noise", "error", "detect")

#: Those that may be the name of a file.
_FILES = ("mask", "background", "sigma", "noise", "error")

#: Bytes of a map that are read at once where all of it is looked at.
_AT_ONCE = 2**25


class StoredMap:
    """A map that is in a file, or not computed yet, and read in parts."""

    def __init__(
        self,
        read: Callable[[tuple[slice, ...]], HostArray],
        shape: tuple[int, ...],
        dtype: Any,
        fingerprint: Callable[[], Any] = str,
        chunks: tuple[int, ...] | None = None,
        files: tuple[Path, ...] = (),
    ) -> None:
        self._read, self.fingerprint, self.files = read, fingerprint, files
        self.shape, self.dtype = tuple(map(int, shape)), np.dtype(dtype)
        self.chunks = None  # of arrays of other libraries, which are loaded by NumPy
        self.ndim, self.size = len(self.shape), math.prod(self.shape)
        self._stored = chunks or (*(1,) * (self.ndim - 1), *self.shape[-1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> HostArray:
        """Read a part: a slice for each of the first axes."""
        parts = index if isinstance(index, tuple) else (index,)
        ends = [part.indices(n)[:2] for part, n in zip(parts, self.shape, strict=False)]
        ends += [(0, n) for n in self.shape[len(ends) :]]
        return np.asarray(self._read(tuple(slice(*pair) for pair in ends)), self.dtype)

    def __array__(self, dtype: Any = None, copy: Any = None) -> HostArray:
        whole = self[()]
        return whole if dtype is None else whole.astype(dtype)

    def frame(self, axis: int, number: int) -> StoredMap:
        """Return the map of a frame, of a map that has one per frame."""

        def read(box: tuple[slice, ...]) -> HostArray:
            part = *box[:axis], slice(number, number + 1), *box[axis:]
            return self[part].squeeze(axis)

        shape, stored = ((*lengths[:axis], *lengths[axis + 1 :]) for lengths in (self.shape, self._stored))
        return StoredMap(read, shape, self.dtype, self.fingerprint, stored, self.files)

    def ends(self) -> HostArray:
        """Return the least and the greatest number, from one part after the other."""
        found = [math.nan, math.nan]
        for box in self._boxes():
            part = self[box]
            found = [np.fmin(found[0], np.fmin.reduce(part, None)), np.fmax(found[1], np.fmax.reduce(part, None))]
        return np.array(found)

    def _boxes(self) -> Iterator[tuple[slice, ...]]:
        lengths = [min(c, n) for c, n in zip(self._stored, self.shape, strict=True)]
        for axis in reversed(range(self.ndim)):
            room = max(1, _AT_ONCE // (math.prod(lengths) * self.dtype.itemsize))
            lengths[axis] = min(lengths[axis] * room, self.shape[axis])
        ends = [[slice(b, min(b + n, m)) for b in range(0, m, n)] for n, m in zip(lengths, self.shape, strict=True)]
        return itertools.product(*ends)


def with_stored(options: Mapping[str, Any], opened: contextlib.ExitStack) -> dict[str, Any]:
    """Return options with maps in files, and those that are not computed yet, such that they are read in parts."""
    own = dict(options)
    for name in _MAPS:
        value = own.get(name)
        is_name = name in _FILES and isinstance(value, (str, os.PathLike))
        if is_name or is_lazy(value) or (hasattr(value, "read") and hasattr(value, "axes")):
            own[name] = _stored(value, name, opened)
    if isinstance(own.get("fit"), Mapping):
        own["fit"] = with_stored(own["fit"], opened)
    return own


def _stored(value: Any, name: str, opened: contextlib.ExitStack) -> StoredMap:
    """Open a map; a mask in a file need not be of booleans: all that is not 0 is masked."""
    try:
        image = open_image(value)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    if image is not value:
        opened.callback(image.close)
    files = files_of(image)
    if name != "mask":
        return StoredMap(image.read, image.shape, image.dtype, image.fingerprint, image.chunks, files)
    if is_array(value) and np.dtype(value.dtype).kind != "b" and image is not value:
        raise TypeError(f"mask must be an array of booleans, got dtype {value.dtype}")
    return StoredMap(lambda box: image.read(box) != 0, image.shape, bool, image.fingerprint, image.chunks, files)


def changed(options: Mapping[str, Any], change: Callable[[str, Any], Any]) -> dict[str, Any]:
    """Return options with all maps and numbers in place of maps changed, those of backgrounds and cameras too."""
    own = dict(options)
    for name in _MAPS:
        value = own.get(name)
        if isinstance(value, Background):
            own[name] = Background(change("background", value.level), change("sigma", value.noise))
        elif value is not None and not isinstance(value, (str, Mapping)) and not callable(value):
            own[name] = change(name, value)
    camera = own.get("camera")
    if isinstance(camera, Camera):
        fields = {field.name: getattr(camera, field.name) for field in dataclasses.fields(camera)}
        new = {name: change(name, value) for name, value in fields.items() if is_array(value)}
        if any(new[name] is not fields[name] for name in new):
            own["camera"] = dataclasses.replace(camera, **new)
    return own


def has_maps(options: Mapping[str, Any]) -> bool:
    """Whether any option is a map of pixels."""
    seen: list[bool] = []

    def look(_: str, value: Any) -> Any:
        seen.append(is_array(value) and np.ndim(value) > 0)
        return value

    changed(options, look)
    return any(seen)


def check_map(name: str, value: Any, frame: tuple[int, ...], movie: tuple[int, ...]) -> Any:
    """Require a number, or a map of a frame or of all frames; return lists as arrays.

    A block sees its own frames alone: a map of another number of frames could fit one block, and not the next.
    """
    own = np.asarray(value) if isinstance(value, (list, tuple)) else value
    shape = tuple(getattr(own, "shape", ()))
    if shape in (frame, movie) or (name not in ("mask", "detect") and shape in ((), (1,))):
        return own
    number = "have" if name in ("mask", "detect") else "be a number or have"
    frames = "" if frame == movie else f", or of all frames, {movie}"
    raise ValueError(f"{name} must {number} the shape of a frame, {frame}{frames}, got {shape}")


def frames_of_map(value: Any, first: int, last: int, movie: tuple[int, ...], axis: int) -> Any:
    """Return the frames first <= n < last of a map of all frames, frames first; any other map as it is."""
    if tuple(getattr(value, "shape", ())) != movie:
        return value
    block = (slice(None),) * axis + (slice(first, last),)
    return np.moveaxis(np.asarray(value[block]), axis, 0)


def frame_of_map(value: Any, number: int, movie: tuple[int, ...], axis: int) -> Any:
    """Return the map of a frame from a map of all frames, not read yet if it is in a file; any other map as it is."""
    if isinstance(value, StoredMap) and value.shape == movie:
        return value.frame(axis, number)
    return frames_of_map(value, number, number + 1, movie, axis)


def part_of(value: Any, box: tuple[slice, ...]) -> HostArray:
    """Return a part of a map of a frame, read if it is in a file."""
    return value[box] if isinstance(value, StoredMap) else np.asarray(value)[box]
