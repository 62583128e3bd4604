"""The choice of nodes for the integral of a spot over a pixel: see `nodes` of `_definitions/spot_models.py`."""

from __future__ import annotations

from npsubpix._cpu.compiler.jit import device
from npsubpix._definitions.constants import FIT_NARROW, FIT_NARROWER, FIT_NARROWEST

__all__ = ["choose_nodes"]


@device
def choose_nodes(width):
    """Return the first node for a spot of a width, and how many there are."""
    if width >= FIT_NARROW:
        return 0.0, 16.0
    if width >= FIT_NARROWER:
        return 16.0, 28.0
    if width >= FIT_NARROWEST:
        return 44.0, 36.0
    return 80.0, 52.0
