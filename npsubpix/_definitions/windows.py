"""Windows: what footprints and weights have to hold."""

from __future__ import annotations

import numpy as np

from npsubpix._definitions.shapes import HostArray

__all__ = ["check_contents"]


def check_contents(reduction: str, footprint: HostArray | None, weights: HostArray | None) -> None:
    """Check the contents of a footprint and weights; not of those on a GPU, for which the host would have to wait."""
    if type(footprint) is np.ndarray and not footprint.any():
        raise ValueError("footprint must have a pixel that counts")
    if type(weights) is np.ndarray:
        if not np.isfinite(weights).all():
            raise ValueError("weights must be finite")
        if reduction in ("var", "std") and not (weights >= 0).all():
            raise ValueError(f"weights must not be negative for {reduction}")
