"""Sizes of the pixels of TIFF files, and the time between their frames, as different programs write them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import numpy as np

from npsubpix.io._source import Size
from npsubpix.io._units import converted, positive, size_of, unit_name

__all__ = ["Sizes", "sizes_of_tiff"]


@dataclass(frozen=True)
class Sizes:
    """Sizes of pixels by axis, the time between frames, and what the file says of itself."""

    pixels: dict[str, Size] = field(default_factory=dict)
    time_step: Size | None = None
    header: Any = None  # the XML of OME-TIFF, or the dictionary of another program


def sizes_of_tiff(file: Any, scene: int) -> Sizes:
    """Return the sizes of a series; those that no library understands are none, since pixels are read without."""
    with contextlib.suppress(Exception):
        if file.is_ome:
            return _from_ome(file.ome_metadata, scene)
        if file.is_imagej:
            return _from_imagej(file)
        if file.is_micromanager:
            return _from_micromanager(file)
        if file.is_lsm:
            return _from_lsm(file)
        return _from_tags(file)
    return Sizes()


def _from_ome(text: str, scene: int) -> Sizes:
    images = [element for element in ElementTree.fromstring(text).iter() if element.tag.endswith("}Pixels")]
    pixels = images[min(scene, len(images) - 1)]
    sizes = {
        axis: size_of(pixels.get(f"PhysicalSize{axis.upper()}"), pixels.get(f"PhysicalSize{axis.upper()}Unit", "µm"))
        for axis in "zyx"
    }
    step = size_of(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    return Sizes(_known(sizes), step, text)


def _from_imagej(file: Any) -> Sizes:
    metadata = file.imagej_metadata or {}
    unit = str(metadata.get("unit", "")).encode("ascii", "backslashreplace").decode("unicode_escape", "replace")
    height, width = _resolution(file)
    sizes = {"z": size_of(metadata.get("spacing"), unit), "y": size_of(height, unit), "x": size_of(width, unit)}
    rate = positive(metadata.get("fps"))
    interval = positive(metadata.get("finterval")) or (1 / rate if rate else None)
    return Sizes(_known(sizes), size_of(interval, metadata.get("tunit", "s")), metadata)


def _from_micromanager(file: Any) -> Sizes:
    summary = (file.micromanager_metadata or {}).get("Summary", {})
    across = size_of(summary.get("PixelSize_um"), "µm")
    sizes = {"z": size_of(summary.get("z-step_um"), "µm"), "y": across, "x": across}
    return Sizes(_known(sizes), size_of(summary.get("Interval_ms"), "ms"), summary)


def _from_lsm(file: Any) -> Sizes:
    metadata = file.lsm_metadata or {}
    sizes = {
        axis: size_of(converted(positive(metadata.get(f"VoxelSize{axis.upper()}")), "m", "µm"), "µm") for axis in "zyx"
    }
    return Sizes(_known(sizes), size_of(metadata.get("TimeIntervall"), "s"), metadata)


def _from_tags(file: Any) -> Sizes:
    """Return the size of pixels in inches or centimetres; 72 pixels per inch are what programs write that know none."""
    tag = file.pages.first.tags.get("ResolutionUnit")
    unit = {2: "in", 3: "cm"}.get(0 if tag is None else int(tag.value))
    height, width = _resolution(file)
    if unit is None or height is None or width is None or (unit == "in" and np.allclose((height, width), 1 / 72)):
        return Sizes()
    return Sizes(_known({"y": size_of(height, unit), "x": size_of(width, unit)}))


def _resolution(file: Any) -> tuple[float | None, float | None]:
    """Return the height and the width of a pixel by the tags of a file."""
    sizes = []
    for name in ("YResolution", "XResolution"):
        tag = file.pages.first.tags.get(name)
        numerator, denominator = (0, 0) if tag is None else tag.value
        sizes.append(denominator / numerator if numerator and denominator else None)
    return sizes[0], sizes[1]


def _known(sizes: dict[str, Size | None]) -> dict[str, Size]:
    return {axis: size for axis, size in sizes.items() if size is not None and unit_name(size[1])}
