"""What tells whether an image is still the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix.io._arrays import file_of, is_array

__all__ = ["fingerprint_of", "state_of"]

_LISTED = 64  # files; of more, a digest is kept
_SAMPLES, _SAMPLE = 64, 4096  # parts of an array in memory, and their bytes
_BOXES, _BOX = 8, 16  # parts of an array that is read from elsewhere, and their length along each axis


def fingerprint_of(target: Any, name: str, files: Sequence[Path], header: Any) -> dict[str, Any]:
    """Return values that JSON can hold, and that change with an image."""
    if not is_array(target):
        if files:
            return {"name": os.path.abspath(name), **_of_files(files)}  # noqa: PTH100, of patterns too
        return {"name": name, "digest": hashlib.sha256(repr(header).encode()).hexdigest()}
    file, part = file_of(target)
    if file is not None:
        return {"name": str(file.absolute()), "part": part, **_of_files([file])}
    return {"name": "array", "digest": _digest_of(target)}


def _of_files(files: Sequence[Path]) -> dict[str, Any]:
    entries = [state_of(path) for path in files]
    if len(entries) <= _LISTED:
        return {"files": entries}
    return {"n_files": len(entries), "digest": hashlib.sha256(repr(entries).encode()).hexdigest()}


def state_of(path: Path) -> dict[str, Any]:
    """Return the path, the number of bytes and the time of the last change of a file, or of all files of a folder."""
    size, changed = 0, 0
    try:
        if not path.is_dir():
            stat = path.stat()
            return {"path": str(path), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        for folder, _, names in os.walk(path):
            for name in names:
                stat = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118, which are faster
                size, changed = size + stat.st_size, max(changed, stat.st_mtime_ns)
    except OSError:
        return {"path": str(path), "size": None, "mtime_ns": None}
    return {"path": str(path), "size": size, "mtime_ns": changed}


def _digest_of(array: Any) -> str:
    """Return a digest of an array: of its graph if it is not computed yet, else of samples of its values."""
    if hasattr(array, "coords") and getattr(array, "chunks", None) is not None:
        array = array.data  # of xarray, around one of dask
    if hasattr(array, "dask"):
        return str(array.name)
    if isinstance(array, (list, tuple)):
        array = np.asarray(array)
    digest = hashlib.sha256()
    if not isinstance(array, np.ndarray):
        for box in _boxes(tuple(map(int, array.shape))):
            digest.update(np.ascontiguousarray(array[box]).tobytes())
        return digest.hexdigest()
    count = max(1, _SAMPLE // max(array.itemsize, 1))
    flat = array.reshape(-1) if array.flags.c_contiguous else array.flat
    for start in np.linspace(0, max(array.size - count, 0), _SAMPLES).astype(np.int64).tolist():
        digest.update(np.ascontiguousarray(flat[start : start + count]).tobytes())
    return digest.hexdigest()


def _boxes(shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Return small boxes along the diagonal of an array, parts of which are read."""
    lengths = [min(n, _BOX) for n in shape]
    starts = np.linspace(np.zeros(len(shape)), np.subtract(shape, lengths), _BOXES).astype(np.int64)
    return [tuple(slice(s, s + n) for s, n in zip(start, lengths, strict=True)) for start in np.unique(starts, axis=0)]
