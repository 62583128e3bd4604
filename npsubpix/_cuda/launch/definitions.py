"""Headers of kernels that are written from the definitions which both backends share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from npsubpix._definitions.misfits import ELONGATED, MISFITS, flat_shapes
from npsubpix._definitions.photometry import NOT_MEASURED, SCATTER, SERIES, SUMS, MeasurementFlags
from npsubpix._definitions.sampling.borders import EDGE, FAR, ROUNDINGS, RULES, STATUSES
from npsubpix._definitions.sampling.methods import (
    BICUBIC_SLOPE,
    CATMULL_ROM_SLOPE,
    GAUSSIAN_WIDTH,
    MOST_REACH,
    PIXELS_PER_AXIS,
    SIGMOID_STEEPNESS,
    USER_WEIGHT,
)
from npsubpix._definitions.sampling.splines import FILL_REACH, SMALLEST_POWER

__all__ = ["HEADERS", "SAMPLING_METHODS"]

#: Number of each sampling method in kernels: its last octal digit is the number of pixels per axis.
SAMPLING_METHODS: Final = {
    name: 8 * k + pixels for k, (name, pixels) in enumerate(PIXELS_PER_AXIS.items()) if name != USER_WEIGHT
}


def _macros(numbers: Mapping[str, float]) -> str:
    return "".join(f"#define {name} ({number!r})\n" for name, number in numbers.items())


def _misfits() -> str:
    """Return the shapes of misfits: their number, how many are not for volumes alone, and the terms of all."""
    terms = [(k, *term) for k, shape in enumerate(MISFITS) for term in shape]
    rows = ", ".join("{" + ", ".join(map(str, term)) + "}" for term in terms)
    sizes = {"MISFIT_SHAPES": len(MISFITS), "MISFIT_FLAT": flat_shapes(), "MISFIT_ELONGATED": ELONGATED}
    return _macros(sizes) + f"#define MISFITS {{{rows}}}\n"


#: Texts of headers by name.
HEADERS: Final = {
    "fitting_definitions.cuh": _misfits(),
    "photometry_definitions.cuh": _macros(
        {
            **{f"SUM_{name}": place for place, name in enumerate(SUMS)},
            "SUM_COUNT": len(SUMS),
            **{f"SCATTER_{name}": place for place, name in enumerate(SCATTER)},
            "SCATTER_COUNT": len(SCATTER),
            **SERIES,
            "NOT_MEASURED": int(NOT_MEASURED),
            **{f"MEASUREMENT_{flag.name}": int(flag) for flag in MeasurementFlags},
        }
    ),
    "sampling_definitions.cuh": _macros(
        {
            **RULES,
            **STATUSES,
            **{f"METHOD_{name.upper()}": number for name, number in SAMPLING_METHODS.items()},
            "FAR": FAR,
            "EDGE": EDGE,
            "MOST_REACH": MOST_REACH,
            "ROUNDINGS": ROUNDINGS,
            "CATMULL_ROM_SLOPE": CATMULL_ROM_SLOPE,
            "BICUBIC_SLOPE": BICUBIC_SLOPE,
            "SIGMOID_STEEPNESS": SIGMOID_STEEPNESS,
            "GAUSSIAN_WIDTH": GAUSSIAN_WIDTH,
            "SMALLEST_POWER": SMALLEST_POWER,
            "FILL_REACH": FILL_REACH,
        }
    ),
}
