"""OME-TIFF sets: are the parts there, and the pages that their metadata declare."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from npsubpix.io._source import ImageError
from npsubpix.io._tiff_structure import Structure, tiff_structure

__all__ = ["check_ome"]


def check_ome(path: Path, file: Any, structure: Structure) -> tuple[str, ...]:
    """Refuse a set with missing parts or pages, before tifffile fills them with zeros; return notes."""
    if not file.is_ome or file.is_mmstack:
        return ()
    try:
        root = ElementTree.fromstring(file.ome_metadata)
    except ElementTree.ParseError as error:
        raise ImageError(f"{path}: is damaged: its OME metadata cannot be read: {error}") from error
    parts = _parts(path, root)
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ImageError(f"{path}: is a part of an OME set, of which {missing[0]}{more} is missing beside it")
    there = {path.name: structure.pages * structure.depth}
    for part in parts:
        if part.name != path.name:
            other = tiff_structure(part)
            there[part.name] = other.pages * other.depth
    total = sum(there.values())
    images = [element for element in root.iter() if _tag(element) == "Pixels"]
    declared = sum(_planes(path, pixels) for pixels in images)
    if declared > total:
        raise ImageError(f"{path}: is damaged or incomplete: its OME metadata declare {declared} planes, of {total}")
    for element in root.iter():
        if _tag(element) == "TiffData":
            _check_data(path, element, there, root.get("UUID", ""))
    binary_only = [element.get("MetadataFile") for element in root.iter() if _tag(element) == "BinaryOnly"]
    if binary_only:
        return (f"its metadata are in {binary_only[0]}, which is not read",)
    return (f"{total - declared} pages beside those of its OME metadata left out",) if 0 < declared < total else ()


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _parts(path: Path, root: ElementTree.Element) -> list[Path]:
    """Return the files of a set, each once."""
    uuids = [element for element in root.iter() if _tag(element) == "UUID"]
    # This file may have another name than when it was written
    names = [element.get("FileName", "") for element in uuids if element.text != root.get("UUID", "")]
    return [path.parent / name for name in dict.fromkeys(names) if name and name.lower() != path.name.lower()]


def _planes(path: Path, pixels: ElementTree.Element) -> int:
    """Return the number of planes that an image declares."""
    lengths = [int(pixels.get(f"Size{axis}", 1)) for axis in "ZCT"]
    if min(lengths) < 1:
        raise ImageError(f"{path}: is damaged: its OME metadata declare no pixels")
    samples = [int(element.get("SamplesPerPixel", 1)) for element in pixels if _tag(element) == "Channel"]
    return math.prod(lengths) // max(samples[0] if samples else 1, 1)


def _check_data(path: Path, element: ElementTree.Element, there: dict[str, int], own: str) -> None:
    """Refuse a list of planes longer than its file."""
    names = [child.get("FileName", "") for child in element if _tag(child) == "UUID" and child.text != own]
    name = names[0] if names else path.name
    first = int(element.get("IFD", 0))
    count = int(element.get("PlaneCount", element.get("NumPlanes", 1)))
    pages = there.get(name, there[path.name])
    if first < 0 or count < 0 or first + count > pages:
        raise ImageError(f"{path}: is damaged: its OME metadata want planes {first} to {first + count - 1} of {pages}")
