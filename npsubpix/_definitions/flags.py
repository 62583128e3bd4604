"""Flags of peaks, of fits and of alignments."""

from __future__ import annotations

from enum import IntFlag, unique
from typing import Final

__all__ = [
    "DOUBTFUL",
    "FIT_NOT_OK",
    "FIT_REJECTED",
    "NOT_OK",
    "REJECTED",
    "AlignmentFlags",
    "FitFlags",
    "PeakFlags",
]


@unique
class PeakFlags(IntFlag):
    """Flags of a peak: how it was found and refined.

    A row without flags was refined around the pixel at which it was found. ``MOVED``, ``PLATEAU``,
    ``MINIMUM``, ``SADDLE``, ``FIXED_Z``, ``FIXED_Y`` and ``FIXED_X`` describe a valid position;
    ``DUPLICATE`` a valid one that a stronger peak has too. ``POOR_FIT``, ``LOW_SIGNAL``, ``BLENDED`` and
    ``OUT_OF_RANGE``, of peaks and blobs that are refined by fits, warn: position and errors are those of
    the fit, but the errors may be wrong. All others give the reason why a position could not be refined:
    it is then that of the pixel at which it started, or the centre of its plateau.
    """

    #: Refinement ended at another pixel than it started from.
    MOVED = 1
    #: The peak is a plateau: several pixels share its value.
    PLATEAU = 2
    #: A minimum of the image, not a maximum.
    MINIMUM = 4
    #: The fitted surface has a saddle at the reported position, not an extremum.
    SADDLE = 8
    #: The fitted surface has no unique stationary point, the window of a centroid holds no signal, or the
    #: plateau is too wide for the method.
    SINGULAR = 16
    #: Still moving after the last iteration.
    NOT_CONVERGED = 32
    #: The method needs pixels outside the image.
    AT_BORDER = 64
    #: The position is further from its starting pixel than allowed.
    TOO_FAR = 128
    #: NaN or infinity among the pixels that the method needs, or in the position to refine.
    NONFINITE = 256
    #: A masked pixel among those that the method needs.
    MASKED = 512
    #: A stronger peak of the image has its position within half a pixel, and one of both moved there.
    DUPLICATE = 1024
    #: Not refined along z: the pixel lies at the border there, and z is that of the pixel.
    FIXED_Z = 2048
    #: Not refined along y.
    FIXED_Y = 4096
    #: Not refined along x.
    FIXED_X = 8192
    #: The fitted surface has an extremum, where a saddle is sought.
    EXTREMUM = 16384
    #: The spot does not have the shape of the model, or is saturated: that of `FitFlags`.
    POOR_FIT = 32768
    #: The fitted position, width or flux is uncertain: that of `FitFlags`.
    LOW_SIGNAL = 65536
    #: Another row of the table, which is no duplicate, started nearer than 1.5 fitted widths: the fit is of both.
    #: Maxima and minima are no neighbours.
    BLENDED = 131072
    #: The fitted z is beyond the range of an astigmatic calibration: that of `FitFlags`.
    OUT_OF_RANGE = 262144


@unique
class FitFlags(IntFlag):
    """Flags of a fitted spot.

    ``PARTIAL_WINDOW``, ``MASKED``, ``AT_BOUND`` and ``NEGATIVE_PIXELS`` describe a valid fit. ``LOW_SIGNAL``,
    ``POOR_FIT``, ``BLENDED`` and ``OUT_OF_RANGE`` warn: position and errors are those of the fit, but the errors may be
    wrong. All others give the reason why a spot could not be fitted: it then keeps the position at which it started,
    and has no errors.
    """

    #: Still moving after the last iteration, or the best width is beyond the limits.
    NOT_CONVERGED = 1
    #: A parameter ended at its limit: the background, as a Poisson mean is positive; beta of a Moffat function; or z.
    #: It has no error, and the others are those for a known value of it.
    AT_BOUND = 2
    #: The pixels do not determine the parameters: they are too few, or all equal; or, where spots are fitted together,
    #: an earlier row starts at the same pixel, or the spot cannot be told from its neighbours.
    SINGULAR = 4
    #: The border of the image cuts the box.
    PARTIAL_WINDOW = 8
    #: Masked pixels of the box were left out.
    MASKED = 16
    #: No positive flux fits the pixels.
    NEGATIVE_FLUX = 32
    #: The standard error of the position exceeds 0.2 of the width, that of the width 0.25 of it, or that of the flux
    #: 0.4 of the flux, where errors are no longer symmetric; or a width is within two standard errors of its limits,
    #: 0.3 pixels and half of the box.
    LOW_SIGNAL = 64
    #: The start of a neighbour is nearer than 1.5 widths: the fit is of both, unless spots are fitted together.
    BLENDED = 128
    #: NaN or infinity among the pixels of the box, or in the position at which the fit starts.
    NONFINITE = 256
    #: The position is further from its start than allowed, or outside the box.
    TOO_FAR = 512
    #: The spot does not have the shape of the model: residuals exceed the noise and are a large part of the spot; or
    #: they have, significantly, the shapes of an elongated or a skew spot, as those of two spots are, or of other
    #: wings; or, where the noise is not known, residuals of neighbours are alike, or more than four pixels share the
    #: greatest value, as those of saturated spots do. A misfit of less than 2 % of the spot is not flagged.
    POOR_FIT = 1024
    #: Pixels, in electrons, are less than the negative of their read variance. The fit takes them as they are.
    NEGATIVE_PIXELS = 2048
    #: The best z is beyond the range of the calibration: z is its end, and has no error. The other columns are those
    #: for this z.
    OUT_OF_RANGE = 4096


@unique
class AlignmentFlags(IntFlag):
    """Reasons not to rely on an alignment of images; 0 if there are none."""

    #: Still moving after the last iteration.
    NOT_CONVERGED = 1
    #: Too few pixels of one image overlap the other.
    NO_OVERLAP = 2
    #: Too little texture to determine all parameters, or too much noise for texture common to both images.
    NO_TEXTURE = 4
    #: NaN or infinity in sums over the images.
    NONFINITE = 8
    #: The transform diverged far beyond the images.
    DIVERGED = 16
    #: The images do not look alike where they overlap: they show different scenes, or the transform is wrong.
    POOR_FIT = 32
    #: One image is the negative of the other, by the gain found with `gain_bias`.
    NEGATIVE_GAIN = 64
    #: Pixels that stand out at the same place of both images, such as hot pixels, hold the transform near the
    #: identity, and the other pixels do not agree: mask them in both images.
    FIXED_PATTERN = 128


#: The flags of a position that could not be refined.
REJECTED: Final = (
    PeakFlags.SINGULAR
    | PeakFlags.NOT_CONVERGED
    | PeakFlags.AT_BORDER
    | PeakFlags.TOO_FAR
    | PeakFlags.NONFINITE
    | PeakFlags.MASKED
    | PeakFlags.EXTREMUM
)

#: The flags of a position by a fit whose errors may be wrong.
DOUBTFUL: Final = PeakFlags.POOR_FIT | PeakFlags.LOW_SIGNAL | PeakFlags.BLENDED | PeakFlags.OUT_OF_RANGE

#: The flags of a position that `Peaks.ok` leaves out: those that could not be refined, duplicates, and doubtful fits.
NOT_OK: Final = REJECTED | PeakFlags.DUPLICATE | DOUBTFUL

#: The flags of a spot that could not be fitted.
FIT_REJECTED: Final = (
    FitFlags.NOT_CONVERGED | FitFlags.SINGULAR | FitFlags.NEGATIVE_FLUX | FitFlags.NONFINITE | FitFlags.TOO_FAR
)

#: The flags of a spot that `Fits.ok` leaves out: those that could not be fitted, and those whose errors may be wrong.
FIT_NOT_OK: Final = FIT_REJECTED | FitFlags.LOW_SIGNAL | FitFlags.POOR_FIT | FitFlags.BLENDED | FitFlags.OUT_OF_RANGE
