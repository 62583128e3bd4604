"""Units of lengths and times, by whichever of their names a file has."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["DURATIONS", "LENGTHS", "converted", "positive", "size_of", "unit_name"]

#: Lengths in micrometres, and durations in seconds, by the names that are used here.
LENGTHS = {"pm": 1e-6, "Å": 1e-4, "nm": 1e-3, "µm": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "in": 25400.0}
DURATIONS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}

_PREFIXES = {"": "", "pico": "p", "nano": "n", "micro": "µ", "milli": "m", "centi": "c"}
_NAMES = {
    **{f"{prefix}met{end}": f"{short}m" for prefix, short in _PREFIXES.items() for end in ("er", "re", "ers", "res")},
    **{f"{prefix}second{plural}": f"{short}s" for prefix, short in _PREFIXES.items() for plural in ("", "s")},
    **dict.fromkeys(("um", "\N{GREEK SMALL LETTER MU}m", "micron", "microns"), "µm"),
    **dict.fromkeys(("us", "\N{GREEK SMALL LETTER MU}s"), "µs"),
    **dict.fromkeys(("angstrom", "angstroms", "a"), "Å"),
    **dict.fromkeys(("inch", "inches"), "in"),
    **dict.fromkeys(("sec", "secs"), "s"),
    **dict.fromkeys(("msec", "msecs"), "ms"),
    **dict.fromkeys(("minute", "minutes"), "min"),
    **dict.fromkeys(("hour", "hours"), "h"),
    **dict.fromkeys(("pixel", "pixels", "px", "none", "reference frame"), ""),
}


def unit_name(text: Any) -> str:
    """Return the name of a unit that is used here; those that are not known stay as they are."""
    name = str(text or "").strip()
    return _NAMES.get(name.lower(), name)


def size_of(value: Any, unit: Any) -> tuple[float, str] | None:
    """Return a size with its unit, or None if it is none, or has no unit."""
    number, name = positive(value), unit_name(unit)
    return None if number is None or not name else (number, name)


def positive(value: Any) -> float | None:
    """Return a finite number above 0, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < math.inf else None


def converted(size: float | None, unit: str, wanted: str) -> float | None:
    """Convert a length or a duration from one unit to another, or return None if one of them is not known."""
    unit, wanted = unit_name(unit), unit_name(wanted)
    if size is None or unit == wanted:
        return size
    for units in (LENGTHS, DURATIONS):
        if unit in units and wanted in units:
            return size * units[unit] / units[wanted]
    return None
