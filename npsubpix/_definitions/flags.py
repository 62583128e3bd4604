"""Flags of peaks and of alignments."""

from __future__ import annotations

from enum import IntFlag, unique
from typing import Final

__all__ = ["REJECTED", "AlignmentFlags", "PeakFlags"]


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
