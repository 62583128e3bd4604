"""Write frames as a TIFF file that keeps the axes, the pixel size and the interval of the file they come from.

ImageJ's format is written, which ImageJ, Fiji, napari and tifffile read with its axes; OME-TIFF if the source is one,
or if the frames need BigTIFF, which ImageJ's format is not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from npsubpix.io._folder import images_of
from npsubpix.io.images import is_image

__all__ = ["Calibration", "calibration_of", "write_stack"]

#: Bytes that a TIFF file can hold, less room for its tags; longer ones are BigTIFF.
LARGEST = 2**32 - 2**25

# Names of units, as OME-XML has them, and their lengths in micrometres or their durations in seconds
_MICRO = {"um", "\N{MICRO SIGN}m", "\N{GREEK SMALL LETTER MU}m", "micron", "microns", "micrometer"}
_NAMES = {**dict.fromkeys(_MICRO, "µm"), "inch": "in", "sec": "s", "second": "s", "seconds": "s", "msec": "ms"}
_LENGTHS = {"pm": 1e-6, "Å": 1e-4, "nm": 1e-3, "µm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "in": 25400.0}
_DURATIONS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


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
    where these agree. `axes` and `series` are those of `open_frames`.
    """
    sources = [_read(path, axes, series) for path in dict.fromkeys(moving)]
    pixels = next(
        (source for source in (_read(fixed, axes, series), *sources) if source.pixel is not None), Calibration()
    )
    first = sources[0]
    alike = all(source == first for source in sources)
    spacing = first.spacing if alike else None
    if spacing is not None and first.unit != pixels.unit:
        spacing = _convert(spacing, first.unit, pixels.unit)
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
    unit = _NAMES.get(calibration.unit, calibration.unit)
    sizes = {} if calibration.pixel is None else dict(zip("YX", calibration.pixel, strict=True))
    if calibration.spacing is not None:
        sizes["Z"] = calibration.spacing
    for axis, size in sizes.items():
        metadata[f"PhysicalSize{axis}"] = size
        if unit in (*_LENGTHS, "pixel"):
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
    import tifffile

    # Other formats, and descriptions that no library understands, are no reason to lose the frames
    with contextlib.suppress(Exception), tifffile.TiffFile(_first_of(path)) as file:
        series = file.series[number or 0]
        letters = series.axes if axes is None else axes
        # An axis of channels is that of frames only where there is no other: else one channel is read
        named = [axis for axis in letters if axis in "TZ"] or [axis for axis in letters if axis == "C"]
        axis = named[0] if named else "T"
        if file.is_ome:
            return replace(_from_ome(file.ome_metadata), axis=axis)
        return replace(_from_imagej(file) if file.is_imagej else _from_tags(file), axis=axis)
    return Calibration()


def _first_of(path: Path) -> Path:
    """Return the file, or the first image of a folder."""
    return images_of(path, is_image)[0][0] if path.is_dir() else path


def _from_ome(text: str) -> Calibration:
    pixels = next(element for element in ElementTree.fromstring(text).iter() if element.tag.endswith("}Pixels"))
    unit = pixels.get("PhysicalSizeXUnit", "µm")
    sizes = {}
    for axis in "ZYX":
        size = _positive(pixels.get(f"PhysicalSize{axis}"))
        sizes[axis] = _convert(size, pixels.get(f"PhysicalSize{axis}Unit", "µm"), unit)
    interval = _positive(pixels.get("TimeIncrement"))
    duration = _DURATIONS.get(pixels.get("TimeIncrementUnit", "s"))
    return Calibration(
        pixel=_pair(sizes["Y"], sizes["X"]),
        unit=unit,
        spacing=sizes["Z"],
        interval=None if interval is None or duration is None else interval * duration,
        is_ome=True,
    )


def _from_imagej(file: Any) -> Calibration:
    metadata = file.imagej_metadata or {}
    unit = str(metadata.get("unit", "")).encode("ascii", "backslashreplace").decode("unicode_escape", "replace")
    unit = unit.strip()
    if unit in ("", "pixel", "pixels"):
        unit = ""
    interval = _positive(metadata.get("finterval"))
    rate = _positive(metadata.get("fps"))
    if interval is None and rate is not None:
        interval = 1 / rate
    name = str(metadata.get("tunit", "s")).strip()
    duration = _DURATIONS.get(_NAMES.get(name, name))
    return Calibration(
        pixel=_pixel(file) if unit else None,
        unit=unit,
        spacing=_positive(metadata.get("spacing")) if unit else None,
        interval=None if interval is None or duration is None else interval * duration,
    )


def _from_tags(file: Any) -> Calibration:
    """Return the size of pixels in inches or centimetres; 72 pixels per inch are what programs write that know none."""
    tag = file.pages.first.tags.get("ResolutionUnit")
    unit = {2: "inch", 3: "cm"}.get(0 if tag is None else int(tag.value))
    pixel = _pixel(file)
    if unit is None or pixel is None or (unit == "inch" and np.allclose(pixel, 1 / 72)):
        return Calibration()
    return Calibration(pixel=pixel, unit=unit)


def _pixel(file: Any) -> tuple[float, float] | None:
    sizes = []
    for name in ("YResolution", "XResolution"):
        tag = file.pages.first.tags.get(name)
        numerator, denominator = (0, 0) if tag is None else tag.value
        sizes.append(denominator / numerator if numerator and denominator else None)
    return _pair(*sizes)


def _pair(height: float | None, width: float | None) -> tuple[float, float] | None:
    return None if height is None or width is None else (height, width)


def _positive(value: Any) -> float | None:
    """Return a finite number above 0, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < float("inf") else None


def _convert(size: float | None, unit: str, wanted: str) -> float | None:
    """Convert a length from one unit to another, or return None if one of them is not known."""
    lengths = [_LENGTHS.get(_NAMES.get(name, name)) for name in (unit, wanted)]
    if size is None or unit == wanted:
        return size
    return None if lengths[0] is None or lengths[1] is None else size * lengths[0] / lengths[1]
