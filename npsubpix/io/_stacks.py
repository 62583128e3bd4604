"""Write frames as a TIFF file that keeps the axes, the pixel size and the interval of the file they come from.

ImageJ's format is written, which ImageJ, Fiji, napari and tifffile read with its axes; OME-TIFF if the source is one,
or if the frames need BigTIFF, which ImageJ's format is not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix.io._source import Size
from npsubpix.io._units import LENGTHS, converted
from npsubpix.io.source import open_image

__all__ = ["Calibration", "calibration_of", "write_stack"]

#: Bytes that a TIFF file can hold, less room for its tags; longer ones are BigTIFF.
LARGEST = 2**32 - 2**25


@dataclass(frozen=True)
class Calibration:
    """Axes and scales of a stack of frames."""

    axis: str = "T"  # of the frames
    pixel: tuple[float, float] | None = None  # height and width of a pixel
    unit: str = ""  # of these, and of the spacing
    spacing: float | None = None  # between slices
    interval: float | None = None  # between times, in seconds
    is_ome: bool = False


def calibration_of(
    fixed: Path, moving: list[Path], *, axes: str | None = None, series: int | None = None
) -> Calibration:
    """Return the calibration of frames of the moving files on the pixels of the fixed one.

    Pixels are those of the fixed file. The axis of frames, and the steps along it, are those of the moving files,
    where these agree. `axes` and `series` are those of `FrameSource`.
    """
    sources = [_read(path, axes, series) for path in dict.fromkeys(moving)]
    pixels = next(
        (source for source in (_read(fixed, axes, series), *sources) if source.pixel is not None), Calibration()
    )
    first = sources[0]
    alike = all(source == first for source in sources)
    spacing = first.spacing if alike else None
    if spacing is not None and first.unit != pixels.unit:
        spacing = converted(spacing, first.unit, pixels.unit)
    return replace(
        pixels,
        axis=first.axis if alike else "T",
        spacing=spacing,
        interval=first.interval if alike else None,
        is_ome=first.is_ome,
    )


def write_stack(
    path: Path, frames: Iterator[Any], count: int, shape: tuple[int, ...], calibration: Calibration
) -> None:
    """Write a number of frames of float32, of one shape (H, W), one page per frame."""
    import tifffile

    axes = "YX" if count == 1 else f"{calibration.axis}YX"
    big = 4 * count * shape[0] * shape[1] > LARGEST
    ome = big or calibration.is_ome
    options = _ome_options(calibration, axes) if ome else _imagej_options(calibration, axes)
    with tifffile.TiffWriter(path, bigtiff=big, ome=ome, imagej=not ome) as file:
        file.write(
            (np.ascontiguousarray(frame, np.float32) for frame in frames),
            shape=shape if count == 1 else (count, *shape),
            dtype=np.float32,
            photometric="minisblack",
            **options,
        )


def _imagej_options(calibration: Calibration, axes: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": axes}
    options: dict[str, Any] = {"metadata": metadata}
    if calibration.pixel is not None:
        height, width = calibration.pixel
        options["resolution"] = (_per_unit(width), _per_unit(height))
        # ImageJ's text is ASCII, and has its own way to write other letters
        metadata["unit"] = "".join(c if c.isascii() else f"\\u{ord(c):04X}" for c in calibration.unit)
    if calibration.spacing is not None:
        metadata["spacing"] = calibration.spacing
    if calibration.interval is not None:
        metadata["finterval"] = calibration.interval
    return options


def _ome_options(calibration: Calibration, axes: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": axes}
    unit = calibration.unit
    sizes = {} if calibration.pixel is None else dict(zip("YX", calibration.pixel, strict=True))
    if calibration.spacing is not None:
        sizes["Z"] = calibration.spacing
    for axis, size in sizes.items():
        metadata[f"PhysicalSize{axis}"] = size
        if unit in (*LENGTHS, "pixel"):
            metadata[f"PhysicalSize{axis}Unit"] = unit
    if calibration.interval is not None:
        metadata |= {"TimeIncrement": calibration.interval, "TimeIncrementUnit": "s"}
    return {"metadata": metadata}


def _per_unit(size: float) -> tuple[int, int]:
    """Return the pixels per unit of length as a fraction of 32-bit integers."""
    largest = min(2**31 * size, 10**6 * max(size, 1.0), 2**31)
    fraction = Fraction(1 / size).limit_denominator(max(1, int(largest)))
    return fraction.numerator, fraction.denominator


def _read(path: Path, axes: str | None, number: int | None) -> Calibration:
    """Return the calibration of a file; an empty one of files that have none."""
    # Other formats, and descriptions that no library understands, are no reason to lose the frames
    with contextlib.suppress(Exception), open_image(path, axes=axes, scene=number or 0) as image:
        # An axis of channels is that of frames only where there is no other: else one channel is read
        named = [axis for axis in image.axes if axis in "tz"] or [axis for axis in image.axes if axis == "c"]
        pixel, spacing = _pair(image.pixel_size), image.pixel_size.get("z")
        unit = image.pixel_size["x"][1] if pixel is not None else ""
        return Calibration(
            axis=named[0].upper() if named else "T",
            pixel=pixel,
            unit=unit,
            spacing=None if spacing is None or not unit else converted(*spacing, unit),
            interval=None if image.time_step is None else converted(*image.time_step, "s"),
            is_ome=isinstance(image.header, str),
        )
    return Calibration()


def _pair(sizes: Mapping[str, Size]) -> tuple[float, float] | None:
    """Return the height and the width of a pixel in one unit."""
    if not {"y", "x"} <= sizes.keys():
        return None
    height = converted(*sizes["y"], sizes["x"][1])
    return None if height is None else (height, sizes["x"][0])
