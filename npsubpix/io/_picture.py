"""Read pictures: PNG, JPEG, BMP, GIF, WebP and what else Pillow reads, still or moving."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._source import ImageError, Index, Source, check_ratio, check_size

__all__ = ["picture", "picture_format"]

# Pixels per byte at best: deflate has 1032 bytes, LZW strings of 4096; one bit becomes a byte, a palette four
_RATIOS = {"PNG": 1032 * 32, "GIF": 4096 * 4, "JPEG": 4096, "BMP": 1024}
_OTHER_RATIO = 100_000
_NOT_PICTURES = ("EPS", "WMF", "BUFR", "GRIB", "HDF5", "FITS", "TIFF", "MPEG")  # others draw them, or read them better


def picture_format(path: Path) -> str | None:
    """Name the format of a picture, or return None if Pillow does not know it."""
    import PIL.Image

    try:
        with _quietly(), PIL.Image.open(path) as image:
            return None if image.format in _NOT_PICTURES else str(image.format)
    except PIL.UnidentifiedImageError:
        return None


@contextlib.contextmanager
def picture(path: Path, max_memory: int) -> Iterator[Source]:
    """Open a picture; the images of an animation are frames."""
    import imageio.v3
    import PIL.Image

    size = path.stat().st_size
    with _quietly():
        with PIL.Image.open(path) as header:
            file_format, mode = str(header.format), header.mode
            shape = (header.height, header.width)
            # The most that a frame takes while it is read: four samples of a byte, or the type of the mode
            check_size(path, "a picture", (*shape, 4), np.dtype(np.uint8), max_memory)
            check_ratio(path, "its header", 4 * shape[0] * shape[1], size, _RATIOS.get(file_format, _OTHER_RATIO))
            damages = _check_gif(path) if file_format == "GIF" else ()
            count = getattr(header, "n_frames", 1)
        file = imageio.v3.imopen(path, "r", plugin="pillow")
    with file:
        mode = _mode_to_read(file, mode, count)

        def image(number: int) -> HostArray:
            with _quietly():
                pixels = np.asarray(file.read(index=number, mode=mode))
            return pixels[..., 0] if mode == "LA" else pixels

        first = image(0)
        notes = (f"{count - 1} more images left out",) if count > 1 and file_format in ("JPEG", "MPO") else ()
        axes: tuple[str, ...] = ("y", "x", "s")[: first.ndim]
        if count == 1 or notes:
            yield Source(first.shape, axes, first.dtype, first.__getitem__, True, notes, damages)
            return

        def fetch(index: Index) -> HostArray:
            if isinstance(index[0], slice):
                chosen = [_same_shape(path, image(number), first) for number in range(count)[index[0]]]
                part: Any = (slice(None), *index[1:])
                stack: HostArray = np.stack(chosen)[part]
                return stack
            return _same_shape(path, image(int(index[0])), first)[index[1:]]

        yield Source((count, *first.shape), ("t", *axes), first.dtype, fetch, True, warnings=damages)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep Pillow from warning of large images, whose size is checked here, and of oddities of headers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _mode_to_read(file: Any, mode: str, count: int) -> str | None:
    """Choose the mode in which all images of a file are read, None as they are."""
    if mode in ("CMYK", "YCCK", "YCbCr", "HSV", "LAB"):
        return "RGB"
    if mode in ("LA", "La"):
        return "LA"
    if mode != "P" and (count == 1 or mode not in ("L", "RGB")):
        return None
    if mode == "L":
        return "L"
    if mode == "P":
        palette = np.asarray(file.metadata(index=0, exclude_applied=False).get("palette", ()))
        grey = palette.ndim == 2 and len(palette) and bool((palette[:, :3] == palette[:, :1]).all())
        return "L" if grey and (palette.shape[1] == 3 or bool((palette[:, 3] == 255).all())) else None
    return "RGB"


def _same_shape(path: Path, image: HostArray, first: HostArray) -> HostArray:
    if image.shape != first.shape or image.dtype != first.dtype:
        raise ImageError(
            f"{path}: has an image of shape {image.shape} {image.dtype}; needed is that of its first one, "
            f"{first.shape} {first.dtype}"
        )
    return image


def _check_gif(path: Path) -> tuple[str, ...]:
    """Walk through the blocks of a GIF file: Pillow takes a missing end for the end of the movie."""
    data = path.read_bytes()
    images = 0
    try:
        place = 13 + _palette_size(data[10])
        while place < len(data) or not images:
            mark = data[place]
            if mark == 0x3B:  # the trailer
                return ()
            if mark == 0x21:  # an extension and its label
                place += 2
            elif mark == 0x2C:  # an image, its palette, and its length of codes
                place += 11 + _palette_size(data[place + 9])
                images += 1
            elif mark == 0:
                place += 1
                continue
            else:
                raise ImageError(f"{path}: is damaged: a GIF block of unknown kind at byte {place}")
            while data[place]:
                place += 1 + data[place]
            place += 1
    except IndexError:
        raise ImageError(f"{path}: is a truncated GIF file, {len(data)} bytes long") from None
    return (f"has no end: it may be cut behind frame {images - 1}",)


def _palette_size(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
