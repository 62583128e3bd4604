"""Read images frame by frame: TIFF, FITS, NumPy's own format, pictures, and folders of them.

Each format has a `Source`: the shape and the names of the axes of a file, and a function that reads the
part of it that an index selects. From the names of the axes, files of all formats are interpreted alike,
as images, stacks, colour images or volumes.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from npsubpix._arrays.library import HostArray
from npsubpix.io._axes import lay_out
from npsubpix.io._fits import fits_file
from npsubpix.io._folder import NotAnImageError, images_of
from npsubpix.io._numpy import numpy_file
from npsubpix.io._picture import picture, picture_format
from npsubpix.io._source import ImageError, ImageWarning, Source
from npsubpix.io._tiff import tiff_file

__all__ = ["Frames", "ImageError", "ImageWarning", "is_image", "open_frames"]

_MAGIC = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"SIMPLE": "FITS",
    b"\x1f\x8b": "FITS",  # gzip and bzip2
    b"BZh": "FITS",
    b"\x93NUMPY": "NumPy",
}
_NEEDED = "needed is a TIFF, FITS or .npy file, or a picture such as PNG, JPEG, BMP, GIF or WebP"
MAX_MEMORY = 4 * 2**30


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
            which = f"frame {number} of {self.count} " if self.is_stack else ""
            with _as_image_error(self.path, f"{which}cannot be read"):
                frame = self._read(number)
            yield frame

    def file_of(self, number: int) -> Path:
        """Return the file that a frame is read from."""
        return self.files[number if len(self.files) > 1 else 0]


@dataclass(frozen=True)
class _Options:
    """Arguments of `open_frames`."""

    hdu: int | str | None
    series: int | None
    channel: int | None
    volume: bool | None
    axes: str | None
    max_memory: int


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
    options = _Options(hdu, series, channel, volume, axes, max_memory)
    with contextlib.ExitStack() as opened:
        if path.is_dir():
            frames = _folder(path, options)
        else:
            frames, damages = _file(path, options, opened)
            for damage in damages:
                warnings.warn(ImageWarning(f"{path}: {damage}"), stacklevel=3)
        yield frames


def _file(path: Path, options: _Options, opened: contextlib.ExitStack) -> tuple[Frames, tuple[str, ...]]:
    """Open a file, and return its frames and what is damaged in it."""
    with _as_image_error(path, "cannot be read"):
        file_format = _recognise(path)
        for option, owner in (("hdu", "FITS"), ("series", "TIFF")):
            if getattr(options, option) is not None and file_format != owner:
                plural = {"hdu": "HDUs", "series": "series"}[option]
                raise ImageError(
                    f"{path}: is a {file_format} file, and only {owner} files have {plural} to choose from"
                )
    with _as_image_error(path, f"cannot be read as {file_format}"):
        source = opened.enter_context(_source(path, file_format, options))
        layout, notes = lay_out(
            path,
            source,
            channel=options.channel,
            volume=options.volume,
            axes=options.axes,
            max_memory=options.max_memory,
        )
    frames = Frames(
        path,
        layout.count,
        layout.shape,
        layout.is_stack,
        layout.read,
        layout.reading,
        (*source.notes, *notes),
        (path,),
        file_format,
    )
    return frames, source.warnings


def _source(path: Path, file_format: str, options: _Options) -> contextlib.AbstractContextManager[Source]:
    if file_format == "TIFF":
        return tiff_file(path, options.series, options.max_memory)
    if file_format == "FITS":
        return fits_file(path, options.hdu, options.max_memory)
    return numpy_file(path) if file_format == "NumPy" else picture(path, options.max_memory)


def _folder(path: Path, options: _Options) -> Frames:
    """Return the files of a folder as the frames of a movie."""

    def read(file: Path) -> tuple[Frames, HostArray]:
        with contextlib.ExitStack() as opened:
            frames, damages = _file(file, options, opened)
            if frames.count > 1:
                raise ImageError(
                    f"{file}: holds {frames.count} frames; needed is one per file of a folder, or name the files"
                )
            if damages:
                raise ImageError(f"{file}: {damages[0]}")
            return frames, next(frames.frames).copy()

    with _as_image_error(path, "cannot be read"):
        files, others = images_of(path, is_image)
        if not files:
            raise ImageError(f"{path}: is a folder without images; {_NEEDED}")
        first, pixels = read(files[0])

    def read_frame(number: int) -> HostArray:
        if number == 0:
            return pixels
        frames, frame = read(files[number])
        if frames.shape != first.shape or frame.dtype != pixels.dtype:
            raise ImageError(
                f"{files[number]}: is {frames.shape} {frame.dtype}; needed is {first.shape} {pixels.dtype}, as of "
                f"{files[0].name}"
            )
        return frame

    notes = tuple(f"{file.name}: {note}" for file, note in ((files[0], note) for note in first.notes))
    if others:
        more = "" if len(others) == 1 else f" and {len(others) - 1} more"
        notes += (f"{others[0].name}{more} left out: not images",)
    reading = f"{len(files)} files taken for frames, {files[0].name} to {files[-1].name}"
    return Frames(path, len(files), first.shape, True, read_frame, reading, notes, tuple(files), first.file_format)


@contextlib.contextmanager
def _as_image_error(path: Path, failure: str) -> Iterator[None]:
    """Name the file in whatever a library raises: they raise anything from ``struct.error`` on."""
    try:
        yield
    except ImageError:
        raise
    except ModuleNotFoundError as error:
        raise ImageError(f"{path}: {failure} without {error.name}: pip install 'npsubpix[app]'") from error
    except MemoryError as error:
        raise ImageError(f"{path}: {failure}: there is not enough memory") from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{path}: {failure}: {reason}") from error


def _recognise(path: Path) -> str:
    """Name the format of a file by its first bytes."""
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise NotAnImageError(f"{path}: is empty; {_NEEDED}")
    for magic, file_format in _MAGIC.items():
        if head.startswith(magic):
            return file_format
    picture_kind = picture_format(path)
    if picture_kind is None:
        raise NotAnImageError(f"{path}: is not an image; {_NEEDED}")
    return picture_kind


def is_image(path: Path) -> bool:
    """Say whether a file has the first bytes of an image."""
    try:
        _recognise(path)
    except NotAnImageError:
        return False
    return True
