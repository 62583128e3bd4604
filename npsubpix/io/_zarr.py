"""Read Zarr stores, on the disk, in a zip file or at a URL: OME-Zarr images, and arrays alone."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix.io._arrays import array_source
from npsubpix.io._ngff import Level, level_of, scenes_of
from npsubpix.io._source import ImageError, Options, Source, check_size

__all__ = ["is_url", "is_zarr", "zarr_group", "zarr_store"]

_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
_COUNTED = 20_000  # chunks, of which it is said how many are absent
_CONNECT, _READ = 30.0, 120.0  # seconds that a server may take


def is_url(name: str) -> bool:
    """Whether a name is a URL, not one of a file."""
    return "://" in name


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr group or array."""
    return any((folder / mark).is_file() for mark in _MARKS)


@contextlib.contextmanager
def zarr_store(name: str, options: Options) -> Iterator[Source]:
    """Open an image of a store: an array, or a level of an image of a group."""
    import zarr

    if not is_url(name) and Path(name).is_dir() and (Path(name) / "zarr.json").is_file() and not _is_3(zarr):
        raise ImageError(
            f"{name}: is a Zarr store of format 3, which zarr {zarr.__version__} does not read: it needs 3"
        )
    store = _store_of(zarr, name)
    try:
        node: Any = zarr.open(store, mode="r")
        if hasattr(node, "shape"):
            if options.scene or options.level:
                raise ImageError(f"{name}: is a Zarr array, and has no series or levels to choose from")
            source = _source_of(name, node, Level("", ()), dict(node.attrs), options)
        else:
            source = zarr_group(node, name, options)
        yield source
    finally:
        close = getattr(store, "close", None)
        if close is not None:
            close()


def _is_3(zarr: Any) -> bool:
    return int(str(zarr.__version__).partition(".")[0]) >= 3


def _store_of(zarr: Any, name: str) -> Any:
    """Return the store of a name, in which what cannot be read is an error and not an empty chunk."""
    if not is_url(name):
        if Path(name).is_file():
            return zarr.storage.ZipStore(name, mode="r")
        return zarr.storage.LocalStore(name, read_only=True) if _is_3(zarr) else zarr.storage.DirectoryStore(name)
    options: dict[str, Any] = {}
    if name.startswith(("http://", "https://")):
        import aiohttp

        options["client_kwargs"] = {"timeout": aiohttp.ClientTimeout(None, sock_connect=_CONNECT, sock_read=_READ)}
    if _is_3(zarr):
        return zarr.storage.FsspecStore.from_url(name, storage_options=options, read_only=True)
    return zarr.storage.FSStore(name, mode="r", exceptions=(KeyError, FileNotFoundError), **options)


def zarr_group(group: Any, name: str, options: Options) -> Source:
    """Return a level of an image of an OME-Zarr group."""
    attributes = dict(group.attrs)

    def child(path: str) -> Mapping[str, Any]:
        return dict(group[path].attrs)

    images = scenes_of(name, attributes, child, lambda: sorted(group.group_keys()))
    if not images:
        arrays = sorted(group.array_keys())
        listed = f": name one of its arrays, such as {name}/{arrays[0]}" if arrays else ""
        raise ImageError(f"{name}: is a Zarr group without OME metadata of an image{listed}")
    if not 0 <= options.scene < len(images):
        raise ImageError(f"{name}: has {len(images)} images; there is no image {options.scene}")
    path, image = images[options.scene]

    def full(part: str) -> str:
        return f"{path}/{part}" if path else part

    level = level_of(name, image, options.level, lambda part: len(group[full(part)].shape))
    source = _source_of(name, group[full(level.path)], level, attributes, options)
    if options.scene == 0 and len(images) > 1:
        note = f"image 0{f' ({path})' if path else ''} of {len(images)} is read; --series reads others"
        source = replace(source, notes=(*source.notes, note))
    return source


def _source_of(name: str, array: Any, level: Level, attributes: Mapping[str, Any], options: Options) -> Source:
    """Return an array with what its metadata say."""
    source = array_source(array)
    chunks = tuple(map(int, array.chunks))
    check_size(name, "a chunk", chunks, np.dtype(array.dtype), options.max_memory)
    axes = level.axes or source.axes
    sizes, origin = dict(level.sizes), dict(level.origin)
    notes = level.notes
    if not is_url(name) and 0 < _count(source.shape, chunks) <= _COUNTED:
        absent = int(array.nchunks) - int(array.nchunks_initialized)
        if absent > 0:
            notes += (f"{absent} of {array.nchunks} chunks are absent and read as {array.fill_value}",)
    return replace(
        source,
        axes=axes,
        colour=source.colour and not level.axes,
        chunks=chunks,
        pixel_size=sizes,
        time_step=sizes.pop("t", None),
        origin=origin,
        notes=notes,
        header=attributes,
    )


def _count(shape: tuple[int, ...], chunks: tuple[int, ...]) -> int:
    return math.prod(-(-length // max(chunk, 1)) for length, chunk in zip(shape, chunks, strict=True))
