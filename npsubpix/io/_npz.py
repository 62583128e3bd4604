"""Read the arrays of ``.npz`` files."""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._arrays import axes_of_array
from npsubpix.io._numpy import array_at, header_of
from npsubpix.io._source import ImageError, Index, Options, Source, check_ratio, check_size

__all__ = ["is_npz", "npz_file"]

_RATIO = 1032  # bytes that deflate makes of one


def is_npz(path: Path) -> bool:
    """Whether a zip file holds nothing but arrays."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


@contextlib.contextmanager
def npz_file(path: Path, options: Options) -> Iterator[Source]:
    """Open an array of a file: stored ones are read in parts, compressed ones whole, when they are first read."""
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        wanted = options.part or names[0]
        if (len(names) > 1 and not options.part) or wanted not in names:
            missing = f"has no array {wanted}; " if options.part else ""
            listed = ", ".join(f"{path.name}::{name}" for name in names[:5])
            raise ImageError(f"{path}: {missing}holds {len(names)} arrays; name one: {listed}")
        member = archive.getinfo(f"{wanted}.npy")
        if member.compress_type == zipfile.ZIP_STORED:
            array = array_at(path, wanted, _place_of(path, member))
            array.check()
            axes, colour = axes_of_array(array.shape)
            yield Source(array.shape, axes, array.dtype, array.fetch, colour, is_concurrent=True)
            return
        with archive.open(member) as file:
            shape, _, dtype = header_of(file)
        if dtype.hasobject:
            raise ImageError(f"{path}: holds pickled objects, which are not loaded; needed are numbers")
        check_size(path, f"{wanted}, which is compressed as a whole,", shape, dtype, options.max_memory)
        check_ratio(path, wanted, math.prod(shape) * dtype.itemsize, member.compress_size, _RATIO)
        loaded: list[HostArray] = []

        def fetch(index: Index) -> HostArray:
            if not loaded:
                with archive.open(member) as whole:
                    loaded.append(np.lib.format.read_array(whole, allow_pickle=False))
            return np.array(loaded[0][index])

        axes, colour = axes_of_array(shape)
        note = "is compressed as a whole: all of it is loaded when a part is read"
        yield Source(shape, axes, dtype, fetch, colour, (note,))


def _place_of(path: Path, member: zipfile.ZipInfo) -> int:
    """Return the place of the bytes of a member, behind its header."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        head = file.read(30)
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise ImageError(f"{path}: is damaged: there is no {member.filename} at byte {member.header_offset}")
    return member.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
