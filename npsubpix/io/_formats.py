"""Which format an image has, and which reader opens it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from npsubpix.io._arrays import array_source, is_array
from npsubpix.io._fits import fits_file
from npsubpix.io._folder import NotAnImageError, folder_source, images_matching, images_of
from npsubpix.io._hdf5 import hdf5_file
from npsubpix.io._microscopes import czi_file, lif_file, mrc_file, nd2_file
from npsubpix.io._npz import is_npz, npz_file
from npsubpix.io._numpy import numpy_file
from npsubpix.io._picture import picture, picture_format
from npsubpix.io._source import ImageError, Options, Source, as_image_error, check_numbers
from npsubpix.io._tiff import tiff_file
from npsubpix.io._video import is_video, video_file
from npsubpix.io._zarr import is_url, is_zarr, zarr_group, zarr_store

__all__ = ["SCENES", "Opened", "is_image", "open_source", "recognise"]

_MAGIC = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"SIMPLE": "FITS",
    b"\x1f\x8b": "FITS",  # gzip and bzip2
    b"BZh": "FITS",
    b"\x93NUMPY": "NumPy",
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"PK\x03\x04": "zip",
    b"\xda\xce\xbe\x0a": "ND2",
    b"ZISRAWFILE": "CZI",
    b"\x70\0\0\0": "LIF",
}
_HEAD = 256

#: What each format lets choose.
SCENES = ("TIFF", "Zarr", "ND2", "CZI", "LIF")
_LEVELS = ("TIFF", "Zarr")
_PARTS = ("HDF5", "npz")
_NEEDED = (
    "needed is a TIFF, FITS, OME-Zarr, HDF5, .npy, .npz, ND2, CZI, LIF or MRC file, a movie, or a picture such as PNG, "
    "JPEG, BMP, GIF or WebP"
)


@dataclass(frozen=True)
class Opened:
    """An open image, and what closes it."""

    source: Source
    name: str
    file_format: str
    close: Callable[[], None]
    files: tuple[Path, ...] = ()


def open_source(target: Any, options: Options) -> Opened:
    """Open a file, a folder, a pattern of names, a store or an array."""
    if is_array(target):
        source = array_source(target)
        _refuse(options, "array", "an array")
        check_numbers("array", source.dtype, source.shape)
        return Opened(source, "array", "array", lambda: None)
    if hasattr(target, "array_keys"):
        with as_image_error("group", "cannot be read as Zarr"):
            return Opened(zarr_group(target, "group", options), "group", "Zarr", lambda: None)
    if not isinstance(target, (str, os.PathLike)):
        raise TypeError(f"an image must be a path, a URL or an array, got a {type(target).__name__}")
    name = os.fspath(target)
    if is_url(name):
        return _zarr(name, options)
    path = Path(name)
    if not path.exists() and "::" in name:
        file, _, part = name.rpartition("::")
        path, options = Path(file), replace(options, part=part)
    if not path.exists() and any(letter in name for letter in "*?["):
        return _folder(path, *images_matching(path, is_image), options)
    if path.is_dir():
        with as_image_error(path, "cannot be read"):
            if is_zarr(path):
                return _zarr(name, options)
            files, others = images_of(path, is_image)
        return _folder(path, files, others, options)
    return open_file(path, options)


def files_named(name: str | os.PathLike[str]) -> list[Path]:
    """Return the files that a path names: that before ``::``, or those that match a pattern."""
    path, text = Path(name), os.fspath(name)
    if path.exists() or is_url(text):
        return [path]
    if "::" in text:
        path = Path(text.rpartition("::")[0])
    if not path.exists() and any(letter in text for letter in "*?["):
        return images_matching(path, is_image)[0]
    return [path]


def _zarr(name: str, options: Options) -> Opened:
    _refuse(options, "Zarr", "a Zarr store", name)
    with as_image_error(name, "cannot be read as Zarr"), contextlib.ExitStack() as opened:
        source = opened.enter_context(zarr_store(name, options))
        check_numbers(name, source.dtype, source.shape)
        files = () if is_url(name) else (Path(name),)
        return Opened(source, name, "Zarr", opened.pop_all().close, files)


def open_file(path: Path, options: Options) -> Opened:
    """Open a file by its content."""
    with as_image_error(path, "cannot be read"):
        file_format = recognise(path)
        _refuse(options, file_format, f"a {file_format} file", path)
    with as_image_error(path, f"cannot be read as {file_format}"), contextlib.ExitStack() as opened:
        source = opened.enter_context(_reader(path, file_format, options))
        check_numbers(str(path), source.dtype, source.shape)
        return Opened(source, str(path), file_format, opened.pop_all().close, (path,))


def _refuse(options: Options, file_format: str, thing: str, path: Path | str = "array") -> None:
    """Refuse a choice that a format does not have."""
    if options.hdu is not None and file_format != "FITS":
        raise ImageError(f"{path}: is {thing}, and only FITS files have HDUs to choose from")
    if options.scene and file_format not in SCENES:
        raise ImageError(f"{path}: is {thing}, and only {', '.join(SCENES)} files have series to choose from")
    if options.level and file_format not in _LEVELS:
        raise ImageError(f"{path}: is {thing}, and has no levels of resolution to choose from")
    if options.part and file_format not in _PARTS:
        raise ImageError(f"{path}: is {thing}, and holds nothing to choose by ::{options.part}")


def _reader(path: Path, file_format: str, options: Options) -> contextlib.AbstractContextManager[Source]:
    if file_format in _READERS:
        return _READERS[file_format](path, options)
    return picture(path, options.max_memory)


_READERS: dict[str, Callable[[Path, Options], contextlib.AbstractContextManager[Source]]] = {
    "TIFF": tiff_file,
    "FITS": fits_file,
    "NumPy": numpy_file,
    "npz": npz_file,
    "HDF5": hdf5_file,
    "Zarr": lambda path, options: zarr_store(str(path), options),
    "ND2": nd2_file,
    "CZI": czi_file,
    "LIF": lif_file,
    "MRC": mrc_file,
    "video": video_file,
}


def _folder(path: Path, files: list[Path], others: list[Path], options: Options) -> Opened:
    """Open files as the frames of a movie."""
    if not files and not others and not path.is_dir():
        raise ImageError(f"{path}: matches no file")
    if not files:
        raise ImageError(f"{path}: is {'a folder' if path.is_dir() else 'a pattern'} without images; {_NEEDED}")

    def open_one(file: Path) -> tuple[Source, str, Callable[[], None]]:
        opened = open_file(file, options)
        return opened.source, opened.file_format, opened.close

    with as_image_error(path, "cannot be read"):
        source, file_format = folder_source(files, others, open_one)
    return Opened(source, str(path), file_format, lambda: None, tuple(files))


def recognise(path: Path) -> str:
    """Name the format of a file by its first bytes."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        raise NotAnImageError(f"{path}: is empty; {_NEEDED}")
    for magic, file_format in _MAGIC.items():
        if head.startswith(magic):
            return file_format if file_format != "zip" else "npz" if is_npz(path) else "Zarr"
    if head[208:212] == b"MAP ":
        return "MRC"
    if head[4:8] == b"jP  " and path.suffix.lower() == ".nd2":  # as ND2 files were before, in JPEG 2000
        return "ND2"
    if is_video(head):
        return "video"
    picture_kind = picture_format(path)
    if picture_kind is None:
        raise NotAnImageError(f"{path}: is not an image; {_NEEDED}")
    return picture_kind


def is_image(path: Path) -> bool:
    """Say whether a file has the first bytes of an image."""
    try:
        recognise(path)
    except NotAnImageError:
        return False
    return True
