"""The part of the table of operations that measures spots."""

from __future__ import annotations

from npsubpix._definitions.photometry import COLUMNS
from npsubpix._dispatch.operation import Argument, Operation, Result

__all__ = ["PHOTOMETRY"]

PHOTOMETRY = (
    Operation(
        "measure_spots",
        family="photometry",
        arguments=(
            Argument("image", layout="stack"),
            Argument("coords"),
            Argument("frame", optional=True),
            Argument("mask", optional=True, boolean=True, layout="mask"),
            Argument("background", optional=True, layout="pixels"),
            Argument("error", optional=True, layout="pixels"),
        ),
        results=(
            Result("coords", "float64"),
            *(Result(name, "float64") for name in COLUMNS),
            Result("flags", "int32"),
            Result("frame", "int64"),
        ),
        options=("radius", "annulus", "method"),
        functions={
            "measure_spots": lambda npsubpix, x: npsubpix.measure_spots(x[0, 0, 1], [[3, 2], [2.2, 5]], 1.5),
        },
    ),
)
