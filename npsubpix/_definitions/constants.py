"""Constants that every backend shares: windows, tolerances, flag bits.

What stands here is part of the definition of an operation. The CPU kernels read these
names; a CUDA build gets the same values as preprocessor definitions.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BACKGROUND_CLIP",
    "CENTROID_TOLERANCE",
    "CLIPPED_SHARE",
    "LEAST_GROWN",
    "MOVE_THRESHOLD",
    "SHIFT_LIMIT",
    "SINGULAR_TOLERANCE",
]

#: A 3 x 3 (x 3) Hessian is singular when ``abs(det) <= SINGULAR_TOLERANCE * m**n``, where ``m`` is
#: its largest entry and ``n`` its rank: relative, so that the amplitude of the image does not matter.
SINGULAR_TOLERANCE: Final = 1e-7

#: A fit whose extremum lies further than this from its pixel, on any axis, is repeated one pixel on.
MOVE_THRESHOLD: Final = 0.6

#: Largest final shift, in pixels on any axis, that the kornia-named operators accept.
SHIFT_LIMIT: Final = 1.5


#: A centroid has converged when an iteration moves it by no more than this, in pixels on any axis.
CENTROID_TOLERANCE: Final = 1e-3


#: Pixels further than this many standard deviations from the median are not of the background.
BACKGROUND_CLIP: Final = 3.0

#: What that leaves of the standard deviation of Gaussian noise when it is repeated until nothing is left to clip:
#: the s with ``s**2 = 1 - 2 c pdf(c) / (2 cdf(c) - 1)`` for ``c = BACKGROUND_CLIP * s``.
CLIPPED_SHARE: Final = 0.9848461864497761

#: Share of the good pixels of a box that has to be left when what is around clipped ones is left out too.
LEAST_GROWN: Final = 0.25
