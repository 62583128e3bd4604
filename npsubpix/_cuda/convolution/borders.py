"""Names of borders by the numbers of ends.cuh."""

from __future__ import annotations

__all__ = ["BORDERS"]

#: Border extensions of an axis.
BORDERS = {"constant": 0, "shrink": 0, "nearest": 1, "wrap": 2, "mirror": 3, "reflect": 4}
