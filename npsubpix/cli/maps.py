"""Masks, backgrounds and noise that are images: one frame for all frames of an image, or one for each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from npsubpix.cli.locate import Request
    from npsubpix.io._frames import FrameSource

__all__ = ["MAPS", "FrameMap", "maps_of"]

#: Arguments of `find_peaks` and `find_blobs` that may be images.
MAPS = ("mask", "background", "sigma", "noise")


class FrameMap:
    """One map per frame, read when it is needed; of a mask, whether pixels are not 0."""

    def __init__(self, source: FrameSource, roi: tuple[slice, ...] | None, *, is_mask: bool) -> None:
        whole = (slice(0, n) for n in source.frame_shape)
        self._source, self._is_mask = source, is_mask
        self._box = tuple(whole) if roi is None else _box(roi, source.frame_shape)
        self.shape = (source.count, *(part.stop - part.start for part in self._box))
        self.ndim = len(self.shape)
        self.dtype = np.dtype(bool) if is_mask else source.dtype

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        """Read the maps of frames."""
        frames = index[0] if isinstance(index, tuple) else index
        part = self._source.read((frames, *self._box))
        return part != 0 if self._is_mask else part


def _box(roi: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(*part.indices(n)[:2]) for part, n in zip(roi, shape, strict=True))


@contextlib.contextmanager
def maps_of(image: FrameSource, request: Request) -> Iterator[dict[str, Any]]:
    """Open the mask, the background and the noise of an image; those that are numbers are passed on."""
    from npsubpix.io._frames import FrameSource
    from npsubpix.io._source import check_size

    with contextlib.ExitStack() as opened:
        maps: dict[str, Any] = {}
        for name in MAPS:
            value = request.options.get(name)
            if not isinstance(value, Path):
                maps |= {} if name not in request.options else {name: value}
                continue
            source = opened.enter_context(
                FrameSource(value, volume=len(image.frame_shape) == 3, max_memory=request.reading["max_memory"])
            )
            thing = f"a frame of the {name}, which is read as a whole,"
            check_size(source.path, thing, source.frame_shape, source.dtype, request.max_memory)
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
    if source.count > 1:
        return FrameMap(source, roi, is_mask=name == "mask")
    box: Any = (..., *_box(roi, source.frame_shape)) if roi is not None else ...
    whole = tuple(slice(0, n) for n in source.shape)
    frame = np.array(source.read(whole)).reshape(source.frame_shape)[box]
    return frame != 0 if name == "mask" else frame
