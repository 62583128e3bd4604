"""Folders of images: which files are images, and in which order."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from npsubpix.io._source import ImageError

__all__ = ["NotAnImageError", "images_of", "natural_order"]


class NotAnImageError(ImageError):
    """A file of another kind."""


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """Return a key that puts the numbers in names in the order of their values, not of their digits."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], path.name


def images_of(folder: Path, is_image: Callable[[Path], bool]) -> tuple[list[Path], list[Path]]:
    """Return the images of a folder in natural order, and what else is in it; hidden files do not count."""
    entries = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=natural_order)
    files = [path for path in entries if path.is_file() and is_image(path)]
    return files, [path for path in entries if path not in set(files)]
