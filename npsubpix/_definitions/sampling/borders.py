"""Border rules of sampling: the pixels that stand for positions and pixels outside of an image.

A mode of `scipy.ndimage` consists of two rules: one folds a position into the image, the other folds the pixels of
the window around it. They differ where windows of folded positions still reach beyond the image.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = [
    "BORDER_RULES",
    "CVAL",
    "EDGE",
    "FAR",
    "FREE",
    "GRID_WRAP",
    "INSIDE",
    "MIRROR",
    "MODES",
    "NEAREST",
    "OUTSIDE",
    "PADDING_MODES",
    "REFLECT",
    "ROUNDINGS",
    "RULES",
    "STATUSES",
    "UNKNOWN",
    "WRAP",
    "mode_of_padding",
    "without_pixels",
]

MIRROR, REFLECT, WRAP, GRID_WRAP, NEAREST, CVAL, FREE = range(7)

#: Rules by name: periodic ones, the outermost pixel, the fill value, and positions that stay where they are.
RULES: Final = {
    "MIRROR": MIRROR,
    "REFLECT": REFLECT,
    "WRAP": WRAP,
    "GRID_WRAP": GRID_WRAP,
    "NEAREST": NEAREST,
    "CVAL": CVAL,
    "FREE": FREE,
}

#: Rules for positions and for pixels, by mode.
BORDER_RULES: Final = {
    "reflect": (REFLECT, REFLECT),
    "grid-mirror": (REFLECT, REFLECT),
    "constant": (CVAL, MIRROR),
    "grid-constant": (FREE, CVAL),
    "nearest": (FREE, NEAREST),
    "mirror": (MIRROR, MIRROR),
    "wrap": (WRAP, MIRROR),
    "grid-wrap": (GRID_WRAP, GRID_WRAP),
}

#: Border extensions of `scipy.ndimage`.
MODES: Final = tuple(BORDER_RULES)

#: Status of a position along an axis; that of several axes is the greatest: NaN takes precedence over outside.
INSIDE, OUTSIDE, UNKNOWN = range(3)
STATUSES: Final = {"INSIDE": INSIDE, "OUTSIDE": OUTSIDE, "UNKNOWN": UNKNOWN}

#: Units of rounding up to which a weight counts as 0 at the end of the last stretch between pixels.
ROUNDINGS: Final = 16

#: Distance from the image, in pixels, at which no window reaches into it: free positions go no further.
FAR: Final = 9.0

#: Distance in pixels by which a matrix may miss the place of a pixel at an edge: the default tolerance of `align`.
EDGE: Final = 1e-4

#: Modes for the padding modes of torch: with pixel centres at -1 and 1, and with outer edges there.
PADDING_MODES: Final = {
    "zeros": ("grid-constant", "grid-constant"),
    "border": ("nearest", "nearest"),
    "reflection": ("mirror", "reflect"),
}


def mode_of_padding(padding_mode: str, align_corners: bool) -> str:
    """Return the mode that a padding mode of torch stands for."""
    aligned, unaligned = PADDING_MODES[padding_mode]
    return aligned if align_corners else unaligned


def without_pixels(mode: str, cval: float) -> tuple[float, float]:
    """Return the value and the derivative of samples of an image that has no pixels."""
    return (cval, 0.0) if mode in ("constant", "grid-constant") else (math.nan, math.nan)
