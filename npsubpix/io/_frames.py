"""Frames of an image as a source: which of its axes are frames, slices and channels is settled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._axes import lay_out
from npsubpix.io._formats import SCENES
from npsubpix.io._source import MAX_MEMORY, ImageError, Size
from npsubpix.io.source import open_image

__all__ = ["FrameSource"]


class FrameSource:
    """Frames of a file along an axis t, each with the axes (z,) y, x; or one image without the axis t.

    Parameters
    ----------
    path : str or Path
        What `open_image` opens.
    series, hdu, channel, axes, max_memory
        Arguments of `open_image`.
    frames : int, str or False, optional
        Axis of frames, False for none.
    volume : bool, optional
        Whether slices make a volume.
    whole : bool
        Whether frames are to be read as a whole: none may take more than `max_memory` then.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        series: int | None = None,
        hdu: int | str | None = None,
        channel: int | None = None,
        volume: bool | None = None,
        frames: int | str | bool | None = None,
        axes: str | None = None,
        max_memory: int = MAX_MEMORY,
        whole: bool = True,
    ) -> None:
        self.path = Path(path)
        self._options = {
            "series": series, "hdu": hdu, "channel": channel, "volume": volume, "frames": frames, "axes": axes,
            "max_memory": max_memory, "whole": whole,
        }  # fmt: skip
        # A path holds no two slashes in a row, which a URL has
        target = re.sub(r"^([a-z][a-z0-9+]+):/(?=[^/])", r"\1://", str(path))
        image = open_image(target, scene=series or 0, hdu=hdu, axes=axes, max_memory=max_memory)
        self._image = image
        try:
            if series is not None and image.file_format not in SCENES:
                formats = ", ".join(SCENES)
                raise ImageError(
                    f"{path}: is a {image.file_format} file, and only {formats} files have series to choose from"
                )
            limit = max_memory if whole else None
            layout, notes = lay_out(
                image, frames=frames, channel=channel, volume=volume, named=axes is not None, max_memory=limit
            )
        except BaseException:
            image.close()
            raise
        self._layout = layout
        self.name, self.files, self.file_format = image.name, image.files, image.file_format
        self.notes, self.reading = (*image.notes, *notes), layout.reading
        self.file_per_frame = image.file_per_frame
        if image.file_per_frame:
            first, last = image.files[0].name, image.files[-1].name
            self.reading = f"{len(image.files)} files taken for frames, {first} to {last}"
        self.count, self.frame_shape, self.is_stack = layout.count, layout.shape, layout.is_stack
        self.dtype = np.dtype(layout.dtype)
        space = "zyx"[-len(layout.shape) :]
        self.axes = (*(("t",) if layout.is_stack else ()), *space)
        self.shape = (*((layout.count,) if layout.is_stack else ()), *layout.shape)
        names = (*(() if layout.frame_axis is None else (layout.frame_axis,)), *layout.axes)
        self.chunks = None if image.chunks is None else tuple(image.chunks[image.axes.index(name)] for name in names)
        self.pixel_size: Mapping[str, Size] = _by_letter(image.pixel_size, layout.axes, space)
        self.first_pixel: Mapping[str, Size] = _by_letter(image.origin, layout.axes, space)
        self.time_step = image.time_step if layout.is_stack else None

    @property
    def wcs(self) -> Any:
        """World coordinates of a FITS image, or None."""
        return self._image.wcs

    def wcs_of(self, number: int) -> Any:
        """Return the world coordinates of a frame, or None."""
        return self._image.wcs_of(number)

    def read(self, index: Any) -> HostArray:
        """Read a part: a slice with both ends per axis."""
        frames, box = (index[0], index[1:]) if self.is_stack else (slice(0, 1), index)
        block = self._layout.block(frames.start, frames.stop, tuple(box))
        return block if self.is_stack else block[0]

    def frame(self, number: int) -> HostArray:
        """Read a frame."""
        return self._layout.read(number)

    @property
    def frames(self) -> Iterator[HostArray]:
        """Iterate over the frames, and read each in turn."""
        return map(self.frame, range(self.count))

    def file_of(self, number: int) -> Path:
        """Return the file that a frame is read from."""
        return self.files[number] if self.file_per_frame else self.path

    def fingerprint(self) -> dict[str, Any]:
        """Tell whether the image is still the same, and read in the same way."""
        reading = {name: value for name, value in self._options.items() if name not in ("max_memory", "whole")}
        return {**self._image.fingerprint(), "options": reading}

    def close(self) -> None:
        """Close the file."""
        self._image.close()

    def __enter__(self) -> FrameSource:
        """Return the source."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path, self._options)


def _reopened(path: Path, options: dict[str, Any]) -> FrameSource:
    """Open frames in another process."""
    return FrameSource(path, **options)


def _by_letter(sizes: Mapping[str, Size], names: tuple[str, ...], letters: str) -> dict[str, Size]:
    return {letter: sizes[name] for letter, name in zip(letters, names, strict=True) if name in sizes}
