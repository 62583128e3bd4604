"""Folders and patterns of images: which files are images, in which order, and the movie that they are."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._source import ImageError, Index, Source, as_image_error, times

__all__ = ["NotAnImageError", "folder_source", "images_matching", "images_of", "natural_order"]

#: Opens a file: its contents, its format, and what closes it.
OpenFile = Callable[[Path], tuple[Source, str, Callable[[], None]]]


class NotAnImageError(ImageError):
    """A file of another kind."""


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """Return a key that puts the numbers in names in the order of their values, not of their digits."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], path.name


def images_of(folder: Path, is_image: Callable[[Path], bool]) -> tuple[list[Path], list[Path]]:
    """Return the images of a folder in natural order, and what else is in it; hidden files do not count."""
    return _sorted_out((path for path in folder.iterdir() if not path.name.startswith(".")), is_image)


def images_matching(pattern: Path, is_image: Callable[[Path], bool]) -> tuple[list[Path], list[Path]]:
    """Return the images whose paths match a pattern with ``*``, ``?`` or ``[...]``, and what else matches it."""
    return _sorted_out(map(Path, glob.glob(str(pattern), recursive=True)), is_image)  # noqa: PTH207, which has no patterns of drives


def _sorted_out(paths: Any, is_image: Callable[[Path], bool]) -> tuple[list[Path], list[Path]]:
    entries = sorted(paths, key=lambda path: (natural_order(path)[0], str(path)))
    files = [path for path in entries if path.is_file() and is_image(path)]
    return files, [path for path in entries if path not in set(files)]


def folder_source(files: list[Path], others: list[Path], open_file: OpenFile) -> tuple[Source, str]:
    """Return the movie whose frames are the images of files, and the format of the first."""

    def image_of(file: Path) -> tuple[Source, str, tuple[str, ...], HostArray]:
        source, file_format, close = open_file(file)
        try:
            index, axes = _one_image(file, source)
            if source.warnings:
                raise ImageError(f"{file}: {source.warnings[0]}")
            with as_image_error(file, "cannot be read"):
                return source, file_format, axes, np.array(source.fetch(index))
        finally:
            close()

    first, file_format, axes, pixels = image_of(files[0])

    def read(number: int) -> HostArray:
        if number == 0:
            return pixels
        _, _, found, image = image_of(files[number])
        if image.shape != pixels.shape or image.dtype != pixels.dtype or found != axes:
            raise ImageError(
                f"{files[number]}: is {times(image.shape)} {image.dtype}, axes {_listed(found)}; needed is "
                f"{times(pixels.shape)} {pixels.dtype}, axes {_listed(axes)}, as of {files[0].name}"
            )
        return image

    def wcs_of(number: int) -> Any:
        source, _, close = open_file(files[number])
        close()
        return None if source.wcs is None else source.wcs()

    def fetch(index: Index) -> HostArray:
        if isinstance(index[0], slice):
            return np.stack([read(number)[index[1:]] for number in range(len(files))[index[0]]])
        return np.asarray(read(int(index[0]))[index[1:]])

    notes = tuple(f"{files[0].name}: {note}" for note in first.notes)
    if others:
        more = "" if len(others) == 1 else f" and {len(others) - 1} more"
        notes += (f"{others[0].name}{more} left out: not images",)
    source = Source(
        (len(files), *pixels.shape),
        ("t", *axes),
        pixels.dtype,
        fetch,
        first.colour,
        notes,
        chunks=(1, *pixels.shape),
        pixel_size=first.pixel_size,
        origin=first.origin,
        header=first.header,
        wcs_of=None if first.wcs is None else wcs_of,
        files=tuple(files),
        file_per_frame=True,
    )
    return source, file_format


def _listed(axes: tuple[str, ...]) -> str:
    return ", ".join(axes)


def _one_image(file: Path, source: Source) -> tuple[Index, tuple[str, ...]]:
    """Return the index of the only image of a file, and the axes of that."""
    index: list[Any] = []
    axes = []
    for name, length in zip(source.axes, source.shape, strict=True):
        is_frames = name not in ("z", "c", "y", "x", "s")
        if is_frames and length > 1:
            raise ImageError(f"{file}: holds {length} frames; needed is one per file of a folder, or name the files")
        drop = length == 1 and name not in ("y", "x")
        index.append(0 if drop else slice(0, length))
        if not drop:
            axes.append(name)
    return tuple(index), tuple(axes)
