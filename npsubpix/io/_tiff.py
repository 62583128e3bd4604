"""Read TIFF files, also those with more pages than fit in memory: only the pages asked for are read."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._source import ImageError, Index, Source

__all__ = ["tiff_file"]


class _Messages(logging.Handler):
    """Keep what tifffile logs: it reports that pages are missing, and goes on without them."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@contextlib.contextmanager
def tiff_file(path: Path) -> Iterator[Source]:
    """Open the first series of a TIFF file."""
    import tifffile

    messages = _Messages()
    logger = logging.getLogger("tifffile")
    logger.addHandler(messages)
    try:
        with tifffile.TiffFile(path) as file:
            if not file.series:
                raise ImageError(f"{path}: is a TIFF file without an image")
            series = file.series[0]
            size = file.filehandle.size
            cut = series.dataoffset is not None and series.dataoffset + series.nbytes > size
            if cut or any("invalid page offset" in text for text in messages.texts):
                raise ImageError(f"{path}: is a truncated TIFF file, {size} bytes long")
            if "Y" not in series.axes or "X" not in series.axes:
                raise ImageError(f"{path}: has axes {series.axes}; needed are Y and X")
            with _tiff_pages(file, series) as fetch:
                colour = int(series.keyframe.photometric) in (2, 6)
                yield Source(series.shape, series.axes, series.dtype, fetch, colour, len(file.series) - 1)
    finally:
        logger.removeHandler(messages)


@contextlib.contextmanager
def _tiff_pages(file: Any, series: Any) -> Iterator[Callable[[Index], HostArray]]:
    """Return a function that fetches a part of a series and reads no other page."""
    contiguous = series.dataoffset is not None
    lead = series.axes.index("Y") if contiguous else series.ndim - series.keyframe.ndim
    numbers = np.arange(math.prod(series.shape[:lead])).reshape(series.shape[:lead])
    if not contiguous and (len(series) != numbers.size or series.keyframe.ndim > 2 + ("S" in series.keyframe.axes)):
        # A page that holds several frames: its tiles are read as they are needed
        import zarr

        with contextlib.closing(series.aszarr()) as store:
            tiles: Any = zarr.open(store, mode="r")
            yield lambda index: np.asarray(tiles[index])
        return
    shape = series.shape[lead:]
    dtype = series.dtype.newbyteorder(file.byteorder)
    block = math.prod(shape) * dtype.itemsize

    def page(number: int) -> HostArray:
        if contiguous:  # one read, and right also where one page describes the whole stack
            data = file.filehandle.read_array(dtype, math.prod(shape), series.dataoffset + number * block)
        else:
            data = series[number].asarray()
        pixels: HostArray = np.asarray(data).reshape(shape)
        return pixels

    def fetch(index: Index) -> HostArray:
        chosen = np.asarray(numbers[index[:lead]])
        if chosen.ndim == 0:
            return np.asarray(page(int(chosen))[index[lead:]])
        pages: HostArray = np.stack([page(int(number)) for number in chosen.flat]).reshape(chosen.shape + shape)
        return np.asarray(pages[(slice(None),) * chosen.ndim + index[lead:]])

    yield fetch
