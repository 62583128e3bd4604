"""Read FITS files, also compressed ones: only the pixels asked for are read."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from npsubpix.io._source import ImageError, Options, Size, Source, check_ratio, check_size, unnamed
from npsubpix.io._units import size_of

__all__ = ["fits_file"]

_TIMES = ("TIME", "UTC", "TAI", "TT", "MJD", "JD")
_RATIO = 40_000  # pixels per byte of compressed tiles: lists of runs have 4095 pixels in two bytes
_BLOCK = 2**20


class _Stream:
    """A file, perhaps compressed, that is read, and decompressed, once for a pass through it.

    To seek costs nothing before the next read: astropy goes back to where it was after each one, which would
    decompress the file from its beginning for each frame. And no read is longer than what is left of the file:
    others allocate what they are asked for, and headers ask.
    """

    mode = "rb"
    closed = False

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            magic = file.read(3)
        self._stream: gzip.GzipFile | bz2.BZ2File | BinaryIO
        self._length: int | None = None
        if magic.startswith(b"\x1f\x8b"):
            self._stream = gzip.GzipFile(path)
        elif magic == b"BZh":
            self._stream = bz2.BZ2File(path)
        else:
            self._stream = path.open("rb")
            self._length = path.stat().st_size
        self._position = 0

    def _end(self) -> int:
        if self._length is None:
            while self._stream.read(_BLOCK):
                pass
            self._length = self._stream.tell()
        return self._length

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: 0}[whence]
        self._position = start + offset + (self._end() if whence == io.SEEK_END else 0)
        return self._position

    def read(self, size: int | None = None) -> bytes:
        left = max(self._end() - self._position, 0)
        size = left if size is None or size < 0 else min(size, left)
        if self._stream.tell() != self._position:
            self._stream.seek(self._position)
        data = self._stream.read(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        self._stream.close()
        self.closed = True


@contextlib.contextmanager
def fits_file(path: Path, options: Options) -> Iterator[Source]:
    """Open an HDU with an image: the first, or the one of a number or a name."""
    import astropy.io.fits

    # Sections read the pixels asked for, scaled ones too, which a memory map cannot
    with warnings.catch_warnings(record=True) as caught, contextlib.ExitStack() as opened:
        warnings.simplefilter("always")
        stream = opened.enter_context(contextlib.closing(_Stream(path)))
        file = opened.enter_context(astropy.io.fits.open(stream, memmap=False))
        count = len(file)  # reads all headers
        texts = [" ".join(str(warning.message).split()) for warning in caught]
        if any("truncated" in text for text in texts):
            raise ImageError(f"{path}: is a truncated FITS file, {path.stat().st_size} bytes long")
        chosen, notes = _choose_hdu(path, file, count, options.hdu)
        image = file[chosen]
        _check_tiles(path, image, options.max_memory)
        close = opened.pop_all().close
    try:
        # Radio maps have axes of length one in front, for polarisation and frequency
        extra = max(0, len(image.shape) - 3)
        while extra and math.prod(image.shape[:extra]) > 1:
            extra -= 1
        shape = tuple(map(int, image.shape[extra:]))
        axes = _axis_names(image.header, len(shape))
        dtype = np.dtype(f"f{max(4, abs(image.header['BITPIX']) // 8)}")  # scaled pixels show theirs when they are read
        damages = tuple(text for text in texts if "corrupt" in text)
        header = image.header.copy()
        step = size_of(header.get("CDELT3"), header.get("CUNIT3")) if "t" in axes else None
        yield Source(
            shape,
            axes,
            dtype,
            lambda index: image.section[(0,) * extra + index],
            notes=notes,
            warnings=damages,
            chunks=tuple(map(int, image.tile_shape))[extra:] if hasattr(image, "tile_shape") else None,
            pixel_size=_pixel_sizes(header),
            time_step=step,
            header=header,
            wcs=lambda: _wcs_of(header),
        )
    finally:
        close()


def _axis_names(header: Any, count: int) -> tuple[str, ...]:
    """Name the axes from NAXISn to NAXIS1: rows and columns last, others by the header: times, or wavelengths."""
    names = ["x", "y"][:count]
    for number in range(3, count + 1):
        kind = str(header.get(f"CTYPE{number}", "")).split("-")[0].strip().lower()
        name = "t" if kind.upper() in _TIMES else kind
        names.append(name if name.isidentifier() and name not in names else unnamed(count - number))
    return tuple(reversed(names))


def _wcs_of(header: Any) -> Any:
    """Return the world coordinates of a header, or None if it has none."""
    import astropy.wcs

    if not any(str(header.get(f"CTYPE{number}", "")).strip() for number in (1, 2)):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keywords that are brought into today's form
        with contextlib.suppress(Exception):
            return astropy.wcs.WCS(header)
    return None


def _pixel_sizes(header: Any) -> dict[str, Size]:
    """Return the sizes of pixels on the sky, in seconds of arc."""
    wcs = _wcs_of(header)
    with contextlib.suppress(Exception):
        import astropy.wcs.utils

        if wcs is not None and wcs.has_celestial:
            width, height = astropy.wcs.utils.proj_plane_pixel_scales(wcs.celestial)
            return {"y": (3600.0 * float(height), "arcsec"), "x": (3600.0 * float(width), "arcsec")}
    return {}


def _choose_hdu(path: Path, file: Any, count: int, hdu: int | str | None) -> tuple[int, tuple[str, ...]]:
    """Return the number of an HDU, and a note on those that are not read."""
    images = [number for number in range(count) if file[number].is_image and len(file[number].shape) >= 2]
    if not images:
        raise ImageError(f"{path}: is a FITS file without an image")
    listed = {number: f"{number} ({name})" if (name := file[number].name) else str(number) for number in images}
    if hdu is None:
        others = ", ".join(text for number, text in listed.items() if number != images[0])
        notes = (f"HDU {listed[images[0]]} is read; --hdu reads {others}",) if others else ()
        return images[0], notes
    number = int(hdu) if isinstance(hdu, int) or hdu.isdecimal() else _named_hdu(file, count, hdu)
    if number not in images:
        there = number is not None and 0 <= number < count
        found = f"HDU {hdu} holds no image" if there else f"there is no HDU {hdu}"
        raise ImageError(f"{path}: {found}; HDUs with images: {', '.join(listed.values())}")
    return number, ()


def _named_hdu(file: Any, count: int, hdu: str) -> int | None:
    """Find an HDU by its name, or by its name and version as in "SCI,2"."""
    name, _, version = (part.strip() for part in hdu.upper().partition(","))
    for number in range(count):
        if file[number].name.upper() == name and version in ("", str(file[number].ver)):
            return number
    return None


def _check_tiles(path: Path, image: Any, max_memory: int) -> None:
    """Hold the pixels that the header of compressed tiles declares against their bytes."""
    if hasattr(image, "tile_shape"):
        dtype = np.dtype(f"f{max(4, abs(image.header['BITPIX']) // 8)}")
        stored = image.fileinfo()["datSpan"]
        check_ratio(path, "the header of its tiles", math.prod(map(int, image.shape)) * dtype.itemsize, stored, _RATIO)
        check_size(path, "a tile", tuple(map(int, image.tile_shape)), dtype, max_memory)
