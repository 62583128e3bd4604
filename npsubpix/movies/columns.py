"""Columns beside those in pixels: lengths in micrometres or nanometres, and positions on the sky."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._tables.columns import LENGTH_UNITS, Columns

__all__ = ["celestial_of", "inserted", "length_columns", "lengths_of", "sizes_of", "sky_columns", "with_sky"]

#: Units of lengths as files name them, in metres.
_METRES = {
    **LENGTH_UNITS,
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimetre", "centimeters"), 1e-2),
    **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters"), 1e-3),
    **dict.fromkeys(("µm", "μm", "micron", "microns", "micrometer", "micrometre", "micrometers"), 1e-6),
    **dict.fromkeys(("nanometer", "nanometre", "nanometers"), 1e-9),
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-12),
    **dict.fromkeys(("Å", "å", "angstrom", "ångström"), 1e-10),
    **dict.fromkeys(("inch", "in"), 0.0254),
}


def lengths_of(sizes: Mapping[str, tuple[float, str]], axes: Sequence[str], unit: str, name: str) -> tuple[float, ...]:
    """Return the size of a pixel along axes in a unit; raise ValueError if the image does not say it."""
    lengths = []
    for axis in axes:
        value, given = sizes.get(axis, (0.0, ""))
        metres = _METRES.get(given, _METRES.get(given.lower()))
        if not value > 0 or metres is None:
            reason = f"says it in {given!r}" if axis in sizes and value > 0 else "does not say it"
            raise ValueError(f"{name}: the size of a pixel along {axis} is needed, and the image {reason}")
        # Powers of ten are exact in both directions, their quotients are not: 1e-6 / 1e-9 is 1000.0000000000001
        lengths.append(float(f"{value * metres / LENGTH_UNITS[unit]:.15g}"))
    return tuple(lengths)


def length_columns(columns: Columns, axes: str, lengths: Sequence[float], unit: str) -> dict[str, npt.NDArray[Any]]:
    """Return positions, sizes of blobs and their errors in a unit: columns such as ``x_um`` and ``x_um_std``."""
    found = {f"{axis}_{unit}": columns[axis] * length for axis, length in zip(axes, lengths, strict=True)}
    for axis, length in zip(axes, lengths, strict=True):
        if f"{axis}_std" in columns:
            found[f"{axis}_{unit}_std"] = columns[f"{axis}_std"] * length
    for size in ("sigma", "radius"):
        scaled = {f"{size}_{axis}": length for axis, length in zip(axes, lengths, strict=True)}
        if size in columns and len(set(lengths)) == 1:
            scaled = {size: lengths[0]}
        for name, length in scaled.items():
            own = name if name in columns else size
            for end in ("", "_std"):
                if own + end in columns:
                    found[f"{name}_{unit}{end}"] = columns[own + end] * length
    return found


def sky_columns(wcs: Any, columns: Columns) -> dict[str, npt.NDArray[Any]]:
    """Return the right ascension and the declination in the ICRS, in degrees, of positions (y, x)."""
    if isinstance(wcs, PerFrame):
        found = {name: np.full(len(columns["x"]), np.nan) for name in ("ra", "dec")}
        for number in np.unique(columns["frame"]).tolist():
            rows = np.asarray(columns["frame"]) == number
            own = sky_columns(celestial(wcs.of(number)), {name: np.asarray(columns[name])[rows] for name in "yx"})
            for name, column in found.items():
                column[rows] = own[name]
        return found
    if wcs is None:
        nothing = np.full(len(columns["x"]), np.nan)
        return {"ra": nothing, "dec": nothing.copy()}
    if not len(columns["x"]):
        return {"ra": np.empty(0), "dec": np.empty(0)}
    places = wcs.celestial.pixel_to_world(columns["x"], columns["y"]).icrs
    return {"ra": np.asarray(places.ra.deg, np.float64), "dec": np.asarray(places.dec.deg, np.float64)}


def with_sky(columns: Columns, wcs: Any) -> dict[str, npt.NDArray[Any]]:
    """Return columns with those of places on the sky after the positions and their errors."""
    if wcs is None or "x" not in columns or "y" not in columns:
        return dict(columns)
    return inserted(columns, "x", sky_columns(wcs, columns))


def inserted(columns: Columns, axis: str, further: Columns) -> dict[str, npt.NDArray[Any]]:
    """Insert columns after those of the positions along the last axis, and their errors."""
    if not further:
        return dict(columns)
    names = list(columns)
    at = names.index(f"{axis}_std" if f"{axis}_std" in columns else axis) + 1
    ordered = (*names[:at], *further, *names[at:])
    return {name: columns[name] if name in columns else further[name] for name in ordered}


def sizes_of(source: Any) -> dict[str, Any]:
    """Return what metadata say of the size of an image: its shape, the size of a pixel, and the interval."""
    sizes: dict[str, Any] = {"shape": dict(zip(source.axes, source.shape, strict=True))}
    for name in ("pixel_size", "time_step"):
        if value := getattr(source, name, None):
            sizes[name] = value
    return sizes


@dataclass(frozen=True)
class PerFrame:
    """World coordinates of a folder of exposures, each of which has its own."""

    of: Callable[[int], Any]


def celestial_of(source: Any) -> Any:
    """Return the world coordinates of the sky of an image, or of each file of a folder; None if there are none."""
    if not getattr(source, "file_per_frame", False):
        return celestial(getattr(source, "wcs", None))
    return None if celestial(source.wcs_of(0)) is None else PerFrame(source.wcs_of)


def celestial(wcs: Any) -> Any:
    """Return world coordinates if they are those of the sky along the last two axes of the image, or None."""
    if wcs is None or not wcs.has_celestial:
        return None
    return wcs if {wcs.wcs.lng, wcs.wcs.lat} == {0, 1} else None
