"""The libraries to compare with. Each is optional."""

from __future__ import annotations

import importlib
import warnings
from importlib import metadata
from types import ModuleType

__all__ = ["load", "versions"]

_MODULES = (
    "numpy",
    "scipy",
    "numba",
    "npsubpix",
    "kornia",
    "torch",
    "cupy",
    "cv2",
    "skimage",
    "trackpy",
    "photutils",
    "sep",
    "picasso",
)


def load(name: str) -> ModuleType | None:
    """Import a module; None if it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


def versions() -> dict[str, str | None]:
    """Return the version of every library that takes part, without importing it; None if it is not installed."""
    owners = metadata.packages_distributions()
    return {name: _version(owners.get(name, [name])[0]) for name in _MODULES}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
