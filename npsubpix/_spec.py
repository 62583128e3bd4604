"""Constants that every backend shares: windows, tolerances, flag bits.

What stands here is part of the definition of an operation. The CPU kernels read these
names; a CUDA build gets the same values as preprocessor definitions.
"""

from __future__ import annotations

from enum import IntFlag, unique
from typing import Final

__all__ = [
    "BACKGROUND_CLIP",
    "BORDERS",
    "CENTROID_TOLERANCE",
    "CLIPPED_SHARE",
    "LEAST_GROWN",
    "MOVE_THRESHOLD",
    "REJECTED",
    "SHIFT_LIMIT",
    "SINGULAR_TOLERANCE",
    "AlignmentFlags",
    "PeakFlags",
    "reach",
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

#: How an image goes on beyond its ends, of which ``"shrink"`` is not at all: windows end where it does.
BORDERS: Final = ("reflect", "mirror", "nearest", "wrap", "constant", "shrink")

#: Pixels further than this many standard deviations from the median are not of the background.
BACKGROUND_CLIP: Final = 3.0

#: What that leaves of the standard deviation of Gaussian noise when it is repeated until nothing is left to clip:
#: the s with ``s**2 = 1 - 2 c pdf(c) / (2 cdf(c) - 1)`` for ``c = BACKGROUND_CLIP * s``.
CLIPPED_SHARE: Final = 0.9848461864497761

#: Share of the good pixels of a box that has to be left when what is around clipped ones is left out too.
LEAST_GROWN: Final = 0.25


@unique
class PeakFlags(IntFlag):
    """What happened to a peak while it was found and refined.

    A row without flags was refined around the pixel it was found at. ``MOVED``, ``PLATEAU``,
    ``MINIMUM`` and ``SADDLE`` describe a position that holds; all others say why a position
    could not be refined and is the integer pixel it started from.
    """

    #: Refinement moved to a neighbouring pixel, which fits better than the one it started from.
    MOVED = 1
    #: The peak is a plateau: several pixels share its value.
    PLATEAU = 2
    #: A minimum of the image, not a maximum.
    MINIMUM = 4
    #: The fitted surface has a saddle at the reported position, not an extremum.
    SADDLE = 8
    #: The fitted surface has no unique stationary point, or there is nothing under the window.
    SINGULAR = 16
    #: Still moving after the last iteration.
    NOT_CONVERGED = 32
    #: The pixels that the method needs reach beyond the image.
    AT_BORDER = 64
    #: Further from its starting pixel than allowed.
    TOO_FAR = 128
    #: NaN or infinity among the pixels that the method needs, or in the given position.
    NONFINITE = 256
    #: A masked pixel among those that the method needs.
    MASKED = 512


@unique
class AlignmentFlags(IntFlag):
    """Why an alignment of images is not to be relied on; 0 where there is nothing to say."""

    #: Still moving after the last iteration.
    NOT_CONVERGED = 1
    #: Too few pixels of one image are on the other.
    NO_OVERLAP = 2
    #: Too little texture to tell all parameters apart, or so much noise that none is seen in both images.
    NO_TEXTURE = 4
    #: NaN or infinity in sums over the images.
    NONFINITE = 8
    #: The transform went far out of the images.
    DIVERGED = 16


#: The flags of a position that could not be refined.
REJECTED: Final = (
    PeakFlags.SINGULAR
    | PeakFlags.NOT_CONVERGED
    | PeakFlags.AT_BORDER
    | PeakFlags.TOO_FAR
    | PeakFlags.NONFINITE
    | PeakFlags.MASKED
)


def reach(size: int) -> tuple[int, int]:
    """How many pixels a window of `size` covers before and after its centre.

    An even window reaches one pixel further ahead than back.
    """
    return (size - 1) // 2, size // 2
