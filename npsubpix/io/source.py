"""Images of any size by one interface: files, stores and arrays, of which nothing is loaded until it is read."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._arrays.options import check_memory
from npsubpix.io._arrays import is_worker, opened_again, portable
from npsubpix.io._fingerprints import fingerprint_of, state_of
from npsubpix.io._formats import Opened, open_source
from npsubpix.io._parts import normalized, one_channel, renamed
from npsubpix.io._source import MAX_MEMORY, ImageError, ImageWarning, Index, Options, Size, reason_of, times

__all__ = ["ImageSource", "open_image"]


class ImageSource:
    """An image, a movie or a volume in a file, a store or an array, parts of which are read on demand.

    `open_image` opens one. It is a context manager, and pickles as its path and options: a process that unpickles it
    opens the file again. Several threads may read from one.

    Attributes
    ----------
    name : str
        The path or URL, or ``"array"``.
    shape : tuple of int
        Length of each axis.
    axes : tuple of str
        Name of each axis: ``"t"`` times, ``"z"`` slices, ``"c"`` channels, ``"y"`` rows, ``"x"`` columns and ``"s"``
        samples of colour; ``"axis0"``, ``"axis1"`` and so on, by their number, axes without a name. Dimensions of
        xarray keep their names.
    dtype : numpy.dtype
        Data type of what is read, in the byte order of the machine.
    chunks : tuple of int or None
        Shape of the parts that are read at once, if there are such.
    pixel_size : dict of str to (float, str)
        Size of a pixel along an axis, and its unit, such as ``{"y": (0.1, "µm"), "x": (0.1, "µm")}``; axes of which
        it is not known are not in it.
    time_step : (float, str) or None
        Time between frames, and its unit.
    origin : dict of str to (float, str)
        Position of the centre of the first pixel, if the file has one, in the units of `pixel_size`.
    notes : tuple of str
        What is left out, and what is assumed, each on one line.
    is_colour : bool
        Whether the samples of a pixel are red, green, blue and perhaps alpha.
    warnings : tuple of str
        What is damaged where it does not matter for the pixels, each on one line; `open_image` warns of it.
    header : object or None
        The header of a FITS file, or what else a file says of itself.
    files : tuple of Path
        The files that are read, none of an array or a URL.
    file_format : str
        Format of the file, such as ``"TIFF"``, or ``"array"``.

    See Also
    --------
    open_image : Open an image.
    """

    def __init__(self, opened: Opened, target: Any, options: dict[str, Any]) -> None:
        source = opened.source
        self._source, self._close = source, opened.close
        self._target, self._options = target, options
        self._lock = contextlib.nullcontext() if source.is_concurrent else threading.RLock()
        self._wcs: Any = None
        self.closed = False
        self.name = opened.name
        self.file_format = opened.file_format
        self.shape, self.axes, self.chunks = source.shape, source.axes, source.chunks
        self.dtype: np.dtype[Any] = np.dtype(np.uint8) if source.dtype.kind == "b" else source.dtype.newbyteorder("=")
        self.pixel_size: Mapping[str, Size] = _along(self.axes, source.pixel_size)
        self.origin: Mapping[str, Size] = _along(self.axes, source.origin)
        self.time_step = source.time_step
        self.notes, self.is_colour, self.header = source.notes, source.colour, source.header
        self.files = source.files or opened.files
        self.file_per_frame = source.file_per_frame
        self.warnings = source.warnings

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def wcs(self) -> Any:
        """World coordinates of a FITS image, an ``astropy.wcs.WCS``, or None."""
        if self._wcs is None and self._source.wcs is not None:
            self._wcs = self._source.wcs()
        return self._wcs

    def wcs_of(self, frame: int) -> Any:
        """Return the world coordinates of a frame, in a folder of FITS files those of its file.

        Parameters
        ----------
        frame : int
            Number of the frame, from 0.

        Returns
        -------
        astropy.wcs.WCS or None
            World coordinates; None if there are none.
        """
        return self.wcs if self._source.wcs_of is None else self._source.wcs_of(frame)

    def read(self, index: Any = ...) -> HostArray:
        """Read a part of the image.

        Parameters
        ----------
        index : int, slice, Ellipsis, or a tuple of these
            A number or a slice of step 1 per axis, as NumPy takes them; axes that are left out are read whole.

        Returns
        -------
        ndarray
            The pixels, without the axes of which one number was chosen. Arrays in memory and memory maps give views.

        Raises
        ------
        ImageError
            If the part cannot be read; the message names the file and the frame.
        IndexError
            If the index lies outside of the image, or is none of these.
        """
        parts, shape = normalized(index, self.shape, self.name)
        if 0 in shape:
            return np.empty(shape, self.dtype)
        with self._lock:
            if self.closed:
                raise ValueError(f"{self.name}: is closed")
            try:
                data = self._fetch(parts, shape)
            except Exception as error:
                raise self._failure(parts, error) from error
        return data

    def _fetch(self, parts: Index, shape: tuple[int, ...]) -> HostArray:
        data = np.asarray(self._source.fetch(parts))
        if data.shape != shape:
            raise ImageError(f"{self.name}: has {times(data.shape)} pixels where {times(shape)} were declared")
        return data.astype(self.dtype, copy=False)

    def _failure(self, parts: Index, error: Exception) -> ImageError:
        """Name the file and the first frame that cannot be read."""
        for axis, part in enumerate(parts):
            if isinstance(part, slice) and part.stop - part.start > 1 and axis in self._frame_axes():
                for number in range(part.start, part.stop):
                    single = (*parts[:axis], number, *parts[axis + 1 :])
                    try:
                        self._source.fetch(single)
                    except Exception as first:
                        return self._failure(single, first)
        axes = self._frame_axes()
        numbers = [(axis, parts[axis] if isinstance(parts[axis], int) else parts[axis].start) for axis in axes]
        where = ", ".join(f"{self.axes[axis]} {number}" for axis, number in numbers)
        if len(numbers) == 1:
            where = f"frame {numbers[0][1]} of {self.shape[axes[0]]}"
        where = f"{where} cannot be read" if where else "cannot be read"
        return ImageError(f"{self.name}: {where}: {reason_of(error, self.name)}")

    def _frame_axes(self) -> list[int]:
        """Return the axes that tell one image from another."""
        pixels = [axis for axis, name in enumerate(self.axes) if name != "s"]
        named = [axis for axis in pixels if self.axes[axis] in ("y", "x")]
        space = named if len(named) == 2 else pixels[-2:]
        return [axis for axis in pixels if axis not in space and self.shape[axis] > 1]

    def fingerprint(self) -> dict[str, Any]:
        """Tell whether the image is still the same: what its files are like now, its shape and its dtype.

        Returns
        -------
        dict
            Values that JSON can hold. For files, it has the path, the number of bytes and the time of the last change
            of each; for an array in memory, a digest of samples of it.
        """
        return {
            **fingerprint_of(self._target, self.name, self.files, self.header),
            "options": {name: value for name, value in self._options.items() if name != "max_memory"},
            "shape": list(self.shape),
            "dtype": str(self.dtype),
        }

    def close(self) -> None:
        """Close the file; arrays that were passed stay open."""
        with self._lock:
            if not self.closed:
                self.closed = True
                self._close()

    def __enter__(self) -> ImageSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __array__(self, *_: Any, **__: Any) -> HostArray:
        raise TypeError(
            f"{self.name}: is an ImageSource, not loaded: npsubpix.locate reads it block by block, and its read() "
            "returns an array"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        state = state_of(self.files[0]) if len(self.files) == 1 and self.files[0].is_file() else None
        return _reopened, (portable(self._target), self._options, state)

    def __repr__(self) -> str:
        axes = ", ".join(f"{name} {length}" for name, length in zip(self.axes, self.shape, strict=True))
        return f"<ImageSource {PurePath(self.name).name}: {axes}, {self.dtype}>"


def open_image(
    path_or_url_or_array: Any,
    /,
    *,
    scene: int = 0,
    level: int = 0,
    channel: int | None = None,
    hdu: int | str | None = None,
    axes: str | Sequence[str] | None = None,
    max_memory: int | str = MAX_MEMORY,
) -> ImageSource:
    """Open an image, a movie or a volume of any size; nothing is loaded until it is read.

    The format of a file is recognised by its content, not by its name. Axes have the names that the file has for them.

    Parameters
    ----------
    path_or_url_or_array : str, Path, array or ImageSource
        A file, a folder of images or a pattern such as ``"frames/*.png"``, the files of which are frames in natural
        order (2 is before 10). Or an array of NumPy, dask, zarr, h5py or xarray, or of torch or JAX on the host.
    scene : int, default 0
        The series of a TIFF file, counted from 0.
    level : int, default 0
        The level of resolution, of which 0 is the full one.
    channel : int, optional
        The channel or the sample of colour to read, counted from 0. By default, all are read.
    hdu : int or str, optional
        The HDU of a FITS file, counted from 0, or its name as in ``"SCI"`` or ``"SCI,2"``; by default the first
        that holds an image.
    axes : str or sequence of str, optional
        Names of the axes in place of those that the file has, as in ``"tzyx"``.
    max_memory : int or str, default 4 * 2**30
        Number of bytes, or a text such as ``"8 GiB"``, that a part which can only be read at once may take,
        such as a page or a tile. A file that declares larger ones is not opened.

    Returns
    -------
    ImageSource
        The open image. Close it, or use it in a ``with`` statement.

    Raises
    ------
    ImageError
        If the file cannot be read, is damaged, or has another format.

    Warns
    -----
    ImageWarning
        If the file is damaged where it does not matter for its pixels.

    See Also
    --------
    npsubpix.find_peaks : Find peaks in an image.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import npsubpix
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "movie.npy"
    ...     np.save(path, np.arange(24.0).reshape(2, 3, 4))
    ...     with npsubpix.open_image(path, axes="tyx") as movie:
    ...         print(movie.axes, movie.shape, movie.read((1, 2)))
    ('t', 'y', 'x') (2, 3, 4) [20. 21. 22. 23.]
    """
    if isinstance(path_or_url_or_array, ImageSource):
        return path_or_url_or_array
    memory = check_memory(max_memory)
    chosen = {"scene": scene, "level": level, "channel": channel, "hdu": hdu, "axes": axes, "max_memory": memory}
    source = _open(path_or_url_or_array, chosen)
    for damage in source.warnings:
        warnings.warn(ImageWarning(f"{source.name}: {damage}"), stacklevel=2)
    return source


def _open(target: Any, chosen: dict[str, Any], *, is_checked: bool = False) -> ImageSource:
    """Open an image with the arguments of `open_image`."""
    options = Options(chosen["scene"], chosen["level"], chosen["hdu"], chosen["max_memory"], is_checked=is_checked)
    opened = open_source(target, options)
    try:
        source = opened.source
        if chosen["axes"] is not None:
            source = renamed(source, opened.name, chosen["axes"])
        if chosen["channel"] is not None:
            source = one_channel(source, opened.name, chosen["channel"])
    except BaseException:
        opened.close()
        raise
    return ImageSource(replace(opened, source=source), target, chosen)


def _along(axes: tuple[str, ...], sizes: Mapping[str, Size]) -> Mapping[str, Size]:
    """Return the sizes of the axes of an image, in their order."""
    return {axis: sizes[axis] for axis in axes if axis in sizes}


#: Images that this process has open for another one, which sends them with each piece of work.
_KEPT: dict[str, ImageSource] = {}
_MOST_KEPT = 16


def _reopened(target: Any, chosen: dict[str, Any], state: dict[str, Any] | None) -> ImageSource:
    """Open an image in another process; a file that is as it was has been checked there."""
    key = repr((target, chosen, state))
    if state is None or not is_worker():
        return _open(opened_again(target), chosen)
    kept = _KEPT.pop(key, None)
    if kept is None or kept.closed:
        kept = _open(opened_again(target), chosen, is_checked=state_of(Path(state["path"])) == state)
    _KEPT[key] = kept  # the last one to be forgotten; another thread may still read from the first
    while len(_KEPT) > _MOST_KEPT:
        del _KEPT[next(iter(_KEPT))]
    return kept
