"""Numbers that are part of the definition of an operation, and that all backends share.

Kernels of the host read these names; those of the GPU get all of them as preprocessor definitions.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BACKGROUND_CLIP",
    "CENTROID_LEAST_FACTOR",
    "CENTROID_LEAST_MASS",
    "CENTROID_TOLERANCE",
    "CLIPPED_SHARE",
    "DEVIATIONS_PER_MEDIAN",
    "DUPLICATE_DISTANCE",
    "ELLIPSOID_LIMIT",
    "EXPECTATION_SCALE",
    "FEWEST_ABOVE",
    "FIT_ALIKE",
    "FIT_BLENDED",
    "FIT_CAUTION",
    "FIT_CONTRACTION",
    "FIT_CURVED",
    "FIT_DAMPING",
    "FIT_DEPTHS",
    "FIT_EASING",
    "FIT_EQUAL",
    "FIT_FLUX_STEP",
    "FIT_JOINT_COUPLING",
    "FIT_JOINT_LIGHT",
    "FIT_JOINT_PIVOT",
    "FIT_JOINT_SPOTS",
    "FIT_KEPT_ROW",
    "FIT_LEAP_ALIGNED",
    "FIT_LEAP_LEAST",
    "FIT_LEAP_RATIO",
    "FIT_LEAP_SWEEPS",
    "FIT_LEAST_BACKGROUND",
    "FIT_LEAST_FLUX",
    "FIT_LEAST_MEAN",
    "FIT_LEAST_NOISE",
    "FIT_LEAST_PIVOT",
    "FIT_LEAST_WIDTH",
    "FIT_LINEAR_SWEEPS",
    "FIT_LOW_FLUX",
    "FIT_LOW_SIGNAL",
    "FIT_LOW_WIDTH",
    "FIT_MISFIT",
    "FIT_MOST_TIED",
    "FIT_MOST_WIDTH",
    "FIT_NARROW",
    "FIT_NARROWER",
    "FIT_NARROWEST",
    "FIT_NEARLY",
    "FIT_NEARLY_CURVED",
    "FIT_NOISY_PIXEL",
    "FIT_RELATIVE_STOP",
    "FIT_SHAPE",
    "FIT_SHAPE_ELONGATED",
    "FIT_SHAPE_ELONGATED_UNWEIGHTED",
    "FIT_SHAPE_SIGNIFICANT",
    "FIT_SHAPE_SIGNIFICANT_UNWEIGHTED",
    "FIT_SHAPE_WIDTH",
    "FIT_SIGNIFICANT",
    "FIT_START_INVERSE_BETA",
    "FIT_START_SIGMA",
    "FIT_START_WIDTH",
    "FIT_SWEEP_CHANGE",
    "FIT_SWEEP_GROWTH",
    "FIT_SWEEP_MOVING",
    "FIT_SWEEP_STEP",
    "FIT_SWEEP_STOP",
    "FIT_WIDEST_SIGMA",
    "FIT_WIDEST_START",
    "GAUSSIAN_FARTHEST",
    "GAUSSIAN_LEAST_EXPONENT_32",
    "GAUSSIAN_LEAST_EXPONENT_64",
    "GAUSSIAN_STEEPEST",
    "GAUSSIAN_WIDE",
    "HALF_SHARE",
    "LEAST_ANNULUS",
    "LEAST_CURVED",
    "LEAST_EXPONENT",
    "LEAST_GOOD",
    "LEAST_GROWN",
    "LEAST_PILED",
    "MOST_AT_CUT",
    "MOST_TEMPERATURE_32",
    "MOST_TEMPERATURE_64",
    "MOST_TIED",
    "MOVE_THRESHOLD",
    "PHASOR_ACROSS",
    "ROUNDING_NOISE",
    "SADDLE_SEARCH",
    "SHIFT_LIMIT",
    "SINGULAR_TOLERANCE",
    "SPARSE_SHARE",
    "SYMMETRIC_RATIO",
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

#: A weighted sum of pixels that is no more than this share of the sum of their magnitudes has no centroid: it is
#: nothing but rounding.
CENTROID_LEAST_MASS: Final = 1e-7

#: A Gaussian along an axis has no vertex if the determinant of its normal equations is no more than this share of the
#: product of their diagonal: fewer than three planes have signal.
LEAST_CURVED: Final = 1e-12

#: Greatest share of the signal under a window in the plane at which the border cuts it, where moments are those of the
#: whole spot: next to nothing of it is beyond.
MOST_AT_CUT: Final = 0.01

#: Least factor by which the window is taken to shrink the shift of a spot. It bounds the step where the light is
#: spread evenly, or noise makes the second moment large.
CENTROID_LEAST_FACTOR: Final = 0.2


#: Amplitude of the cosine in the weights of lines across the direction of a phasor, ``1 + PHASOR_ACROSS * cos``:
#: without it, noise of the background makes errors 1.3 times as large as they need be, and 1 costs bright spots 1.5 %.
PHASOR_ACROSS: Final = 0.75


#: Greatest distance on any axis, in pixels, of the pixels among which the strongest saddle is taken.
SADDLE_SEARCH: Final = 3


#: Two refined positions of one image closer than this are one place, in pixels. Strict maxima of windows of three
#: pixels or more are two pixels apart, so that only a position that moved can come so close.
DUPLICATE_DISTANCE: Final = 0.5

#: Most pixels of a plateau on which a fit to 3 x 3 (x 3) pixels is valid. Wider plateaus are clipped spots, nearly all:
#: `benchmarks/plateau_accuracy.py` measures both.
MOST_TIED: Final = 2


#: Pixels further than this many standard deviations from the median are not part of the background.
BACKGROUND_CLIP: Final = 3.0

#: The share of the standard deviation of Gaussian noise that remains when clipping is repeated until no pixel is
#: clipped: the s with ``s**2 = 1 - 2 c pdf(c) / (2 cdf(c) - 1)`` for ``c = BACKGROUND_CLIP * s``.
CLIPPED_SHARE: Final = 0.9848461864497761

#: Share of the pixels of a box that have the least value, from which on they are taken to be clipped at it, if more
#: have it than have the next value.
LEAST_PILED: Final = 0.05

#: Standard deviations of Gaussian noise per median distance from its mean.
DEVIATIONS_PER_MEDIAN: Final = 1.482602218505602

#: Share of the pixels of a box above its median, from which on they are taken to be half of a distribution whose other
#: half is clipped. Where fewer are above it, the noise is the root mean square of their distances from it.
HALF_SHARE: Final = 0.3

#: Share of the pixels of a box above its median, below which these say nothing of the noise: as many of Gaussian noise
#: are clipped.
SPARSE_SHARE: Final = 0.0027

#: Fewest pixels above the median that say something of the noise.
FEWEST_ABOVE: Final = 4.0

#: Pixels that share a value are in the middle of a distribution if not more than so many times as many are above it as
#: are below it.
SYMMETRIC_RATIO: Final = 4.0

#: Standard deviation of the rounding of numbers, in units of the step between rounded ones: no noise is taken to be
#: smaller, where most pixels are equal. It is 1 / sqrt(12).
ROUNDING_NOISE: Final = 0.28867513459481287

#: Share of the good pixels of a box that must remain for the pixels around clipped ones to be left out too.
LEAST_GROWN: Final = 0.25

#: Pixels are around a clipped one if the sum of their squared distances, in units of the radius of each axis, is no
#: more than this: 1 but for rounding.
ELLIPSOID_LIMIT: Final = 1 + 1e-9

#: A box with less than this share of the good pixels of the fullest box of its image is filled from its neighbours.
LEAST_GOOD: Final = 0.5

#: Fewest pixels of an annulus from which a background is measured.
LEAST_ANNULUS: Final = 5

#: Exponent of a softmax, relative to the greatest, below which exponents are held to it: its exponential is 0, and so
#: is the product of both.
LEAST_EXPONENT: Final = -1000.0

#: Factor of the pixels of a map whose expectation overflows: none of as many pixels as memory can hold then does on the
#: way, unless the expectation itself does.
EXPECTATION_SCALE: Final = 2.0**-64

#: Greatest temperature of a softmax, in float32 and in float64; the least is its inverse. Both are normal numbers.
MOST_TEMPERATURE_32: Final = 2.0**126
MOST_TEMPERATURE_64: Final = 2.0**1022

#: Exponents below which the weight of a Gaussian along an axis of a map is 0, in float32 and in float64. The product
#: of the weights of two axes is then a normal number, as processors are slow with others.
GAUSSIAN_LEAST_EXPONENT_32: Final = -40.0
GAUSSIAN_LEAST_EXPONENT_64: Final = -340.0

#: Standard deviations from the mean to which distances are held: a Gaussian, and its product with a distance, are 0.
GAUSSIAN_FARTHEST: Final = 50.0

#: Greatest inverse of a standard deviation, and greatest distance from a mean, in pixels: their squares are finite.
GAUSSIAN_STEEPEST: Final = 1e150

#: Inverse of the standard deviation, in pixels, below which the mean of a spot over a pixel is taken from a series: it
#: is then exact to 3e-14 of the peak, and the difference of two values of erf no longer is.
GAUSSIAN_WIDE: Final = 1 / 512


#: A spot is blended if a neighbour starts nearer than this many of its widths.
FIT_BLENDED: Final = 1.5

#: Least damping of a step, relative to the diagonal of the information; the factor by which the Newton decrement must
#: fall for steps not to be damped; and the factor by which damping then falls.
FIT_DAMPING: Final = 1.0
FIT_CONTRACTION: Final = 0.8
FIT_EASING: Final = 0.5

#: Depths on each side of the focus at which a fit of z may begin.
FIT_DEPTHS: Final = 8

#: Pixels are all equal if their distances from the background sum up to less than this share of their magnitudes.
FIT_EQUAL: Final = 1e-12

#: Least factor of the flux in one step, least share of the differences of pixels that the flux begins with, and the
#: square root of the share of that at which there is no flux left.
FIT_FLUX_STEP: Final = 0.3
FIT_LEAST_FLUX: Final = 0.1

#: Least background plus read variance, in electrons, and least mean of a pixel plus its read variance.
FIT_LEAST_BACKGROUND: Final = 1e-3
FIT_LEAST_MEAN: Final = 1e-3

#: Least pivot of an information matrix, as a share of its diagonal: below, parameters are not determined.
FIT_LEAST_PIVOT: Final = 1e-10

#: Least width in pixels: of a narrower spot, pixels show the flux, but not the width.
FIT_LEAST_WIDTH: Final = 0.3

#: Inverse of the exponent of a Moffat function with which a fit begins: that of turbulent air is a quarter to a half.
FIT_START_INVERSE_BETA: Final = 0.3

#: Greatest width, as a share of the length of the box: a wider spot cannot be told from its background.
FIT_MOST_WIDTH: Final = 0.5

#: Least width in pixels at which a fit begins that takes it from moments, or from the caller; and the greatest, as
#: shares of the length of the box.
FIT_START_WIDTH: Final = 0.8
FIT_START_SIGMA: Final = 0.5
FIT_WIDEST_START: Final = 0.2
FIT_WIDEST_SIGMA: Final = 0.25

#: Standard errors of positions above this many widths are no longer those of a normal distribution; nor are those of
#: widths and fluxes above these shares of them, as where a box is too small to tell a spot from its background.
FIT_LOW_SIGNAL: Final = 0.2
FIT_LOW_WIDTH: Final = 0.25
FIT_LOW_FLUX: Final = 0.4

#: Least variance of the background that least squares take, as a share of the mean square of residuals: what is left
#: of these beside the noise of the signal is uncertain.
FIT_LEAST_NOISE: Final = 0.01

#: A fit is poor if residuals exceed the noise by so many standard deviations, and what exceeds it by this share of the
#: signal, both as root mean squares. Where the noise is not known, they do so if neighbours are alike by so many
#: standard deviations of the sum of their products, along x and y: least squares leave white noise with neighbours that
#: differ, of -1 standard deviation on average. Rows of more pixels are compared along x alone.
FIT_SIGNIFICANT: Final = 6.0
FIT_ALIKE: Final = 2.8
FIT_MISFIT: Final = 0.1
FIT_KEPT_ROW: Final = 32

#: A fit is poor too if residuals have the shapes of `misfits.py`: with this significance in all, or in those of an
#: elongated spot, where the noise is known and where it is not; and of at least this share of the signal. Shapes have
#: at least this width in pixels.
FIT_SHAPE_SIGNIFICANT: Final = 34.0
FIT_SHAPE_ELONGATED: Final = 24.0
FIT_SHAPE_SIGNIFICANT_UNWEIGHTED: Final = 24.0
FIT_SHAPE_ELONGATED_UNWEIGHTED: Final = 18.0
FIT_SHAPE: Final = 0.02
FIT_SHAPE_WIDTH: Final = 0.5

#: Most pixels of a box that share its greatest value: more are those of a saturated spot.
FIT_MOST_TIED: Final = 4

#: A fit may end before the last step if its Newton decrement is below so many times the limit, and would be below the
#: limit after this step if it fell by the same factor as before: near the end, it falls geometrically.
FIT_NEARLY: Final = 1e3

#: Steps of Newton are taken where no pivot of their matrix is less than that of Gauss and Newton over this. Two of them
#: tell by which power the decrement falls: a fit may end at so many times the limit, if the next decrement would be
#: below so small a part of it.
FIT_CURVED: Final = 4.0
FIT_NEARLY_CURVED: Final = 1e6
FIT_CAUTION: Final = 1e-2

#: Pixels of a read variance above so many times the background do not take part in the moments with which fits begin.
FIT_NOISY_PIXEL: Final = 10.0

#: Least widths, in pixels, of spots that a quadrature of the orders 4, 5 and 6 along an axis integrates over a pixel.
FIT_NARROW: Final = 0.94
FIT_NARROWER: Final = 0.58
FIT_NARROWEST: Final = 0.41

#: Squared relative change of the flux below which rounding is all that moves a fit.
FIT_RELATIVE_STOP: Final = 1e-20

#: Spots are fitted together until the steps of positions are below this many pixels, and squared Newton decrements
#: below this many variances of the parameters.
FIT_SWEEP_STEP: Final = 1e-3
FIT_SWEEP_STOP: Final = 1e-4

#: Squared Newton decrement, in variances, above which a spot has not converged in the last sweep.
FIT_SWEEP_MOVING: Final = 1e-2

#: Sweeps in which only fluxes and backgrounds move.
FIT_LINEAR_SWEEPS: Final = 2

#: Growth of the Newton decrement from sweep to sweep above which steps are damped. Neighbours make it fall slowly.
FIT_SWEEP_GROWTH: Final = 2.0

#: Most spots of the neighbourhood whose joint covariance gives the errors of a spot.
#: The least coupling of two of its spots, as the product of the norms of T_ij and T_ji, see `crowds.py`.
#: The squared change of the light of one in the box of the other, in variances of pixels, by a standard error of its
#: flux, below which T is taken to be 0.
#: The least pivot, of a matrix whose diagonal is 1, below which a spot cannot be told from its neighbours.
FIT_JOINT_SPOTS: Final = 10
FIT_JOINT_COUPLING: Final = 1e-2
FIT_JOINT_LIGHT: Final = 1e-5
FIT_JOINT_PIVOT: Final = 1e-6

#: Squared change of the light of neighbours, in variances of pixels, summed over a box, after which a spot moves again.
FIT_SWEEP_CHANGE: Final = 4e-3

#: After so many sweeps, spots whose last two steps are parallel, by the square of the cosine of their angle, go as far
#: as such steps would take them that shrink by the same ratio each time, if it is above the least. At most the greatest
#: is taken.
FIT_LEAP_SWEEPS: Final = 7
FIT_LEAP_ALIGNED: Final = 0.8
FIT_LEAP_LEAST: Final = 0.3
FIT_LEAP_RATIO: Final = 0.95
