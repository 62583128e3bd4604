"""Read images frame by frame: TIFF, FITS, PNG, JPEG and NumPy's own format.

Each format has a `Source`: the shape and the names of the axes of a file, and a function that reads the
part of it that an index selects. From the names of the axes, files of all formats are interpreted alike,
as images, stacks, colour images or volumes.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._source import ImageError, Source
from npsubpix.io._tiff import tiff_file

__all__ = ["Frames", "ImageError", "open_frames"]

_MAGIC = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"SIMPLE": "FITS",
    b"\x1f\x8b": "FITS",  # gzip and bzip2: astropy decompresses
    b"BZh": "FITS",
    b"\x93NUMPY": "NumPy",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
}


@dataclass(frozen=True)
class Frames:
    """The frames of an image file, read on demand.

    Attributes
    ----------
    path : Path
        The file.
    count : int
        Number of frames, 1 if the file is not a stack.
    shape : tuple of int
        Shape of a frame, (y, x) or (z, y, x).
    is_stack : bool
        Whether the file has an axis of frames, even of a single one.
    others : int
        Number of series of pages of a TIFF file that are not read, as they differ in size or dtype.
    file_format : str
        Format of the file: ``"TIFF"``, ``"FITS"`` and so on.

    See Also
    --------
    open_frames : Open a file.
    """

    path: Path
    count: int
    shape: tuple[int, ...]
    is_stack: bool
    _read: Callable[[int], HostArray]
    others: int = 0
    file_format: str = ""

    @property
    def frames(self) -> Iterator[HostArray]:
        """Iterate over the frames, and read each in turn."""
        for number in range(self.count):
            which = f"frame {number} of {self.count} " if self.is_stack else ""
            with _as_image_error(self.path, f"{which}cannot be read"):
                frame = self._read(number)
            yield frame


@contextlib.contextmanager
def open_frames(
    path: str | Path, *, hdu: int | None = None, channel: int | None = None, volume: bool = False
) -> Iterator[Frames]:
    """Open an image file to read it frame by frame.

    The format is recognised by the content of the file, not by its name. A file with three axes is a stack
    of frames. Of a TIFF file, the first series is read.

    Parameters
    ----------
    path : str or Path
        A TIFF, FITS (also compressed with gzip or bzip2), PNG, JPEG or ``.npy`` file.
    hdu : int, optional
        The HDU of a FITS file, counted from 0; by default the first that holds an image.
    channel : int, optional
        The channel to read, counted from 0. By default, red, green and blue are averaged, without alpha.
        Channels that are not colours must be chosen, except those of a TIFF file without another axis of
        frames: they are its frames.
    volume : bool, default False
        Read three axes as one volume, and four as a stack of volumes.

    Yields
    ------
    Frames
        The number and shape of the frames, and an iterator of arrays.

    Raises
    ------
    ImageError
        If the file cannot be read or has another format.

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
    with contextlib.ExitStack() as opened:
        with _as_image_error(path, "cannot be read"):
            file_format = _recognise(path)
            if hdu is not None and file_format != "FITS":
                raise ImageError(f"{path}: is a {file_format} file, and only FITS files have HDUs to choose from")
        with _as_image_error(path, f"cannot be read as {file_format}"):
            source = opened.enter_context(
                _fits_file(path, hdu) if file_format == "FITS" else _SOURCES[file_format](path)
            )
            frames = replace(_arrange(path, source, channel, volume), file_format=file_format)
        yield frames


@contextlib.contextmanager
def _as_image_error(path: Path, failure: str) -> Iterator[None]:
    """Name the file in whatever a library raises: they raise anything from ``struct.error`` on."""
    try:
        yield
    except ImageError:
        raise
    except ModuleNotFoundError as error:
        raise ImageError(f"{path}: {failure} without {error.name}: pip install 'npsubpix[app]'") from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{path}: {failure}: {reason}") from error


def _recognise(path: Path) -> str:
    """Name the format of a file by its first bytes."""
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise ImageError(f"{path}: is empty; needed is a TIFF, FITS, PNG, JPEG or .npy file")
    for magic, file_format in _MAGIC.items():
        if head.startswith(magic):
            return file_format
    raise ImageError(f"{path}: is not an image; needed is a TIFF, FITS, PNG, JPEG or .npy file")


def _arrange(path: Path, source: Source, channel: int | None, volume: bool) -> Frames:
    """Say which axis of a file is which, and how to read a frame."""
    shape = source.shape
    dtype = np.dtype(source.dtype)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ImageError(f"{path}: holds {dtype}; needed are integers or floats of up to 64 bits")
    if math.prod(shape) == 0:
        raise ImageError(f"{path}: has no pixels, its shape is {shape}")
    across = _channel_axis(source.axes, channel)
    remaining = [axis for axis in range(len(shape)) if axis != across]
    ndim = 3 if volume else 2
    if len(remaining) not in (ndim, ndim + 1):
        needed = (
            "3 (a volume) or 4 (a stack of volumes)"
            if volume
            else "2 (an image) or 3 (a stack, or a volume with --volume)"
        )
        raise ImageError(f"{path}: has {len(remaining)} dimensions, shape {shape}; needed are {needed}")
    which = _check_channel(path, source, across, channel)
    stack_axis = remaining[0] if len(remaining) > ndim else None

    def read(number: int) -> HostArray:
        index: list[Any] = [slice(None)] * len(shape)
        if stack_axis is not None:
            index[stack_axis] = number
        if across is not None:
            index[across] = which
        data = source.fetch(tuple(index))
        if data.dtype.kind == "b":
            data = data.astype(np.uint8)
        if not isinstance(which, slice):
            return np.asarray(data)
        axis = sum(1 for a in remaining if a != stack_axis and across is not None and a < across)
        mean: HostArray = data.mean(axis=axis, dtype=np.result_type(data.dtype, np.float32))
        return mean

    count = 1 if stack_axis is None else shape[stack_axis]
    frame_shape = tuple(shape[axis] for axis in remaining[-ndim:])
    return Frames(path, count, frame_shape, stack_axis is not None, read, source.others)


def _channel_axis(axes: str, channel: int | None) -> int | None:
    if "S" in axes:
        return axes.index("S")
    # tifffile calls the only other axis of an ImageJ file C where nothing says what it is
    return axes.index("C") if "C" in axes and (channel is not None or len(axes) > 3) else None


def _check_channel(path: Path, source: Source, across: int | None, channel: int | None) -> int | slice | None:
    """Return the index on the axis of channels: one, or the slice to take the mean of."""
    if across is None:
        if channel is not None:
            raise ImageError(f"{path}: has one channel; needed is an image with several to choose channel {channel}")
        return None
    count = source.shape[across]
    if channel is not None:
        if not 0 <= channel < count:
            raise ImageError(f"{path}: has {count} channels; channel must be 0 to {count - 1}, got {channel}")
        return channel
    if count == 1:
        return 0
    if source.colour and count in (3, 4):
        return slice(0, 3)
    raise ImageError(f"{path}: has {count} channels that are no colours; choose one, 0 to {count - 1}, with --channel")


@contextlib.contextmanager
def _numpy_file(path: Path) -> Iterator[Source]:
    try:
        data = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "Python objects" in str(error):
            raise ImageError(f"{path}: holds pickled objects, which are not loaded; needed are numbers") from error
        if "greater than file size" in str(error):
            raise ImageError(f"{path}: is a truncated NumPy file, {path.stat().st_size} bytes long") from error
        raise
    # No frame is three or four pixels wide: such an array is a picture, or a stack of them
    colour = data.ndim in (3, 4) and data.shape[-1] in (3, 4) and min(data.shape[-3:-1]) > 4
    axes = ("YXS" if colour else "YX").rjust(data.ndim, "Q")
    yield Source(data.shape, axes, data.dtype, data.__getitem__, colour)


@contextlib.contextmanager
def _picture(path: Path) -> Iterator[Source]:
    import imageio.v3

    with imageio.v3.imopen(path, "r", plugin="pillow") as file:
        mode = file.metadata(index=0).get("mode")
        data = file.read(index=0, mode="RGB") if mode in ("CMYK", "YCCK") else file.read(index=0)
    if mode in ("LA", "La"):
        data = data[..., 0]
    yield Source(data.shape, "YXS"[: data.ndim], data.dtype, data.__getitem__, colour=True)


@contextlib.contextmanager
def _fits_file(path: Path, hdu: int | None) -> Iterator[Source]:
    import astropy.io.fits

    # Sections read the pixels asked for, scaled ones too, which a memory map cannot
    with warnings.catch_warnings(record=True) as caught, contextlib.ExitStack() as opened:
        warnings.simplefilter("always")
        file = opened.enter_context(astropy.io.fits.open(path, memmap=False))
        count = len(file)  # reads all headers
        if any("truncated" in str(warning.message) for warning in caught):
            raise ImageError(f"{path}: is a truncated FITS file, {path.stat().st_size} bytes long")
        image = file[_choose_hdu(path, file, count, hdu)]
        close = opened.pop_all().close
    try:
        # Radio maps have axes of length one in front, for polarisation and frequency
        extra = max(0, len(image.shape) - 3)
        while extra and math.prod(image.shape[:extra]) > 1:
            extra -= 1
        shape = image.shape[extra:]
        dtype = np.dtype(np.float32)  # that of the scaled pixels shows when they are read; all are numbers
        yield Source(shape, "YX".rjust(len(shape), "Q"), dtype, lambda index: image.section[(0,) * extra + index])
    finally:
        close()


def _choose_hdu(path: Path, file: Any, count: int, hdu: int | None) -> int:
    images = [number for number in range(count) if file[number].is_image and len(file[number].shape) >= 2]
    if not images:
        raise ImageError(f"{path}: is a FITS file without an image")
    if hdu is not None and hdu not in images:
        found = f"HDU {hdu} holds no image" if 0 <= hdu < count else f"there is no HDU {hdu}"
        raise ImageError(f"{path}: {found}; HDUs with images: {', '.join(map(str, images))}")
    return images[0] if hdu is None else hdu


_SOURCES: dict[str, Callable[[Path], contextlib.AbstractContextManager[Source]]] = {
    "TIFF": tiff_file,
    "NumPy": _numpy_file,
    "PNG": _picture,
    "JPEG": _picture,
}
