"""Read images frame by frame: the images of a file, a folder or an array as one movie."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from npsubpix._arrays.library import HostArray
from npsubpix.io._axes import lay_out
from npsubpix.io._formats import is_image
from npsubpix.io._source import MAX_MEMORY, ImageError, ImageWarning
from npsubpix.io.source import open_image

__all__ = ["Frames", "ImageError", "ImageWarning", "is_image", "open_frames"]


@dataclass(frozen=True)
class Frames:
    """The frames of an image file, read on demand.

    Attributes
    ----------
    path : Path
        The file, or the folder of files.
    count : int
        Number of frames, 1 if the file is not a stack.
    shape : tuple of int
        Shape of a frame, (y, x) or (z, y, x).
    is_stack : bool
        Whether the file has an axis of frames, even of a single one.
    reading : str
        Which axes of the file were taken for what; empty for an image of two axes.
    notes : tuple of str
        What the file holds beside the frames, and what was assumed.
    files : tuple of Path
        The files of a folder, one per frame, or the file.
    file_format : str
        Format of the file, or of the first of a folder: ``"TIFF"``, ``"FITS"`` and so on.

    See Also
    --------
    open_frames : Open a file.
    """

    path: Path
    count: int
    shape: tuple[int, ...]
    is_stack: bool
    _read: Callable[[int], HostArray] = field(repr=False)
    reading: str = ""
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    file_format: str = ""

    @property
    def frames(self) -> Iterator[HostArray]:
        """Iterate over the frames, and read each in turn."""
        for number in range(self.count):
            yield self._read(number)

    def read(self, number: int) -> HostArray:
        """Read a frame."""
        return self._read(number)

    def file_of(self, number: int) -> Path:
        """Return the file that a frame is read from."""
        return self.files[number if len(self.files) > 1 else 0]


@contextlib.contextmanager
def open_frames(
    path: str | Path,
    *,
    hdu: int | str | None = None,
    series: int | None = None,
    channel: int | None = None,
    volume: bool | None = None,
    axes: str | None = None,
    max_memory: int = MAX_MEMORY,
) -> Iterator[Frames]:
    """Open an image file to read it frame by frame.

    The format is recognised by the content of the file, not by its name. Axes are taken by the names that the
    file has for them: slices (Z) make a volume, and times (T) are frames. A single axis without a name is one of
    frames. ``Frames.reading`` says which axis was taken for what, and ``Frames.notes`` what is left out.

    Parameters
    ----------
    path : str or Path
        A TIFF, FITS (also compressed with gzip or bzip2) or ``.npy`` file, a picture that Pillow reads, such as
        PNG, JPEG, BMP, GIF and WebP, or a folder of such files. The files of a folder have one frame each, and
        are the frames of one movie, in natural order: 2 is before 10.
    hdu : int or str, optional
        The HDU of a FITS file, counted from 0, or its name as in ``"SCI"`` or ``"SCI,2"``; by default the first
        that holds an image.
    series : int, optional
        The series of a TIFF file, counted from 0; by default the first. Pages of one shape and dtype are one
        series, unless the file says otherwise.
    channel : int, optional
        The channel to read, counted from 0. By default, red, green and blue are averaged, without alpha.
        Channels that are not colours must be chosen, except those of a TIFF file without another axis of
        frames: they are its frames.
    volume : bool, optional
        If True, read the last axis without a name as slices of a volume. If False, read slices as frames.
    axes : str, optional
        Names of the axes of the file, in place of those it has, as in ``"TZYX"``: T are times, Z slices, C
        channels, S samples of colour, Y rows and X columns, other letters axes of frames.
    max_memory : int, default 4 * 2**30
        Number of bytes that a frame may take. A file that declares larger ones is not read.

    Yields
    ------
    Frames
        The number and shape of the frames, and an iterator of arrays.

    Raises
    ------
    ImageError
        If the file cannot be read, is damaged, or has another format.

    Warns
    -----
    ImageWarning
        If the file is damaged where it does not matter for the frames.

    See Also
    --------
    npsubpix.find_peaks : Find peaks in a frame.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from npsubpix.io import open_frames
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "stack.npy"
    ...     np.save(path, np.arange(24.0).reshape(2, 3, 4))
    ...     with open_frames(path) as stack:
    ...         print(stack.count, stack.shape, [float(frame.max()) for frame in stack.frames])
    2 (3, 4) [11.0, 23.0]
    """
    path = Path(path)
    with open_image(path, scene=series or 0, hdu=hdu, axes=axes, max_memory=max_memory) as source:
        if series is not None and source.file_format != "TIFF":
            raise ImageError(f"{path}: is a {source.file_format} file, and only TIFF files have series to choose from")
        layout, notes = lay_out(source, channel=channel, volume=volume, named=axes is not None, max_memory=max_memory)
        reading = layout.reading
        if source.file_per_frame:
            first, last = source.files[0].name, source.files[-1].name
            reading = f"{len(source.files)} files taken for frames, {first} to {last}"
        yield Frames(
            path,
            layout.count,
            layout.shape,
            layout.is_stack,
            layout.read,
            reading,
            (*source.notes, *notes),
            source.files,
            source.file_format,
        )
