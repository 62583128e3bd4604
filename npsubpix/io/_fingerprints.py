"""What tells whether an image is still the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix.io._arrays import file_of, is_array

__all__ = ["fingerprint_of"]

_LISTED = 64  # files; of more, a digest is kept
_SAMPLES, _SAMPLE = 64, 4096  # parts of an array, and their bytes


def fingerprint_of(target: Any, name: str, files: Sequence[Path]) -> dict[str, Any]:
    """Return values that JSON can hold, and that change with an image."""
    if not is_array(target):
        return {"name": os.path.abspath(name) if files else name, **_of_files(files)}  # noqa: PTH100, of patterns too
    file, part = file_of(target)
    if file is not None:
        return {"name": str(file.absolute()), "part": part, **_of_files([file])}
    return {"name": "array", "digest": _digest_of(target)}


def _of_files(files: Sequence[Path]) -> dict[str, Any]:
    entries = []
    for path in files:
        stat = path.stat() if path.exists() else None
        entries.append([str(path), stat.st_size, stat.st_mtime_ns] if stat else [str(path), None, None])
    if len(entries) <= _LISTED:
        return {"files": entries}
    text = repr(entries).encode()
    return {"n_files": len(entries), "digest": hashlib.sha256(text).hexdigest()}


def _digest_of(array: Any) -> str:
    """Return a digest of an array: of its graph if it is not computed yet, else of samples of its bytes."""
    if hasattr(array, "dask"):
        return str(array.name)
    if not isinstance(array, np.ndarray):
        return f"{type(array).__module__}.{type(array).__name__}"
    digest = hashlib.sha256()
    count = max(1, _SAMPLE // max(array.itemsize, 1))
    flat = array.reshape(-1) if array.flags.c_contiguous else array.flat
    for start in np.linspace(0, max(array.size - count, 0), _SAMPLES).astype(np.int64).tolist():
        digest.update(np.ascontiguousarray(flat[start : start + count]).tobytes())
    return digest.hexdigest()
