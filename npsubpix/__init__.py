"""Sub-pixel measurement on NumPy, CuPy and torch arrays.

Names are loaded when they are first used: importing npsubpix imports neither Numba nor any array
library but NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from npsubpix._results import Peaks
    from npsubpix._spec import PeakFlags
    from npsubpix.gradients import vjp
    from npsubpix.nms import nms2d, nms3d, nms3d_minmax
    from npsubpix.operators import (
        AdaptiveQuadInterp3d,
        ConvQuadInterp3d,
        IterativeQuadInterp3d,
        NonMaximaSuppression2d,
        NonMaximaSuppression3d,
    )
    from npsubpix.peaks import find_peaks, refine_peaks
    from npsubpix.quad_interp import conv_quad_interp3d, iterative_quad_interp3d

_HOME = {
    "AdaptiveQuadInterp3d": "operators",
    "ConvQuadInterp3d": "operators",
    "IterativeQuadInterp3d": "operators",
    "NonMaximaSuppression2d": "operators",
    "NonMaximaSuppression3d": "operators",
    "PeakFlags": "_spec",
    "Peaks": "_results",
    "conv_quad_interp3d": "quad_interp",
    "find_peaks": "peaks",
    "iterative_quad_interp3d": "quad_interp",
    "nms2d": "nms",
    "nms3d": "nms",
    "nms3d_minmax": "nms",
    "refine_peaks": "peaks",
    "vjp": "gradients",
}

__all__ = [
    "AdaptiveQuadInterp3d",
    "ConvQuadInterp3d",
    "IterativeQuadInterp3d",
    "NonMaximaSuppression2d",
    "NonMaximaSuppression3d",
    "PeakFlags",
    "Peaks",
    "conv_quad_interp3d",
    "find_peaks",
    "iterative_quad_interp3d",
    "nms2d",
    "nms3d",
    "nms3d_minmax",
    "refine_peaks",
    "vjp",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
