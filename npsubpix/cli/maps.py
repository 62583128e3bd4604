"""Masks, backgrounds and noise that are images: one frame for all frames of an image, or one for each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    from npsubpix.cli.locate import Request
    from npsubpix.io._frames import FrameSource
    from npsubpix.movies.maps import StoredMap

__all__ = ["MAPS", "maps_of"]

#: Arguments of `find_peaks` and `find_blobs` that may be images.
MAPS = ("mask", "background", "sigma", "noise")


def _box(roi: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(*part.indices(n)[:2]) for part, n in zip(roi, shape, strict=True))


@contextlib.contextmanager
def maps_of(image: FrameSource, request: Request) -> Iterator[dict[str, Any]]:
    """Open the mask, the background and the noise of an image; those that are numbers are passed on."""
    from npsubpix.io._frames import FrameSource

    with contextlib.ExitStack() as opened:
        maps: dict[str, Any] = {}
        for name in MAPS:
            value = request.options.get(name)
            if not isinstance(value, Path):
                maps |= {} if name not in request.options else {name: value}
                continue
            volume, memory = len(image.frame_shape) == 3, request.reading["max_memory"]
            source = opened.enter_context(FrameSource(value, volume=volume, max_memory=memory, whole=False))
            maps[name] = _map(name, source, image, request.roi)
        yield maps


def _map(name: str, source: FrameSource, image: FrameSource, roi: tuple[slice, ...] | None) -> Any:
    """Return the map of all frames, or of each."""
    if source.count not in (1, image.count):
        needed = "1" if image.count == 1 else f"1 or {image.count}"
        raise ValueError(f"{source.path}: has {source.count} frames; needed are {needed}, as in {image.path}")
    if source.frame_shape != image.frame_shape:
        raise ValueError(
            f"{name} must have frames of {image.frame_shape}, as {image.path} has, got {source.frame_shape} of "
            f"{source.path}"
        )
    return _stored(source, roi, is_mask=name == "mask")


def _stored(source: FrameSource, roi: tuple[slice, ...] | None, *, is_mask: bool) -> StoredMap:
    """Return a map that is read when it is needed, and in parts; of a mask, whether pixels are not 0."""
    from npsubpix.movies.maps import StoredMap

    part = tuple(slice(0, n) for n in source.frame_shape) if roi is None else _box(roi, source.frame_shape)
    alone = source.count == 1

    def read(box: tuple[slice, ...]) -> npt.NDArray[Any]:
        own = box if alone else box[1:]
        own = tuple(slice(p.start + b.start, p.start + b.stop) for p, b in zip(part, own, strict=True))
        pixels = source.read((*((slice(0, 1) if alone else box[0],) if source.is_stack else ()), *own))
        pixels = pixels[0] if alone and source.is_stack else pixels
        return pixels != 0 if is_mask else pixels

    shape = (*(() if alone else (source.count,)), *(p.stop - p.start for p in part))
    return StoredMap(read, shape, bool if is_mask else source.dtype)
