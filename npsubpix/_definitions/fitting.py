"""Fits of spots: models and their parameters, estimators, boxes, standard errors, and the columns of results.

Unweighted least squares know nothing of the noise. Its variance is taken to be a + b m, where m is the signal of a
pixel above the background: a is that of the background of each spot, b that of a camera, common to all spots. With the
projection H of data to fitted means, residuals are (1 - H) times noise, and their moments are

    sum r**2    = a (n - p) + b sum m (1 - h)
    sum m r**2  = a sum m (1 - h) + b (sum m**2 (1 - 2 h) + tr(A M A M))

in expectation, for n pixels, p parameters, leverages h, the inverse A of the information, and the matrix M of the sum
of m times products of derivatives. Each spot gives an estimate of b, weighted by its variance for Gaussian noise. The
covariance of parameters is then a A + b A M A.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from npsubpix._definitions.constants import (
    FIT_LEAST_NOISE,
    FIT_LEAST_WIDTH,
    FIT_LOW_FLUX,
    FIT_LOW_SIGNAL,
    FIT_LOW_WIDTH,
    FIT_MOST_WIDTH,
)
from npsubpix._definitions.flags import FitFlags
from npsubpix._definitions.spot_models import (
    BACKGROUNDS,
    MODELS,
    WIDTHS,
    Model,
    angle_error,
    in_columns,
    shape_columns,
)

__all__ = [
    "BACKGROUNDS",
    "ESTIMATORS",
    "MODELS",
    "NEIGHBORS",
    "WIDTHS",
    "Columns",
    "Fit",
    "Model",
    "box_for",
    "columns_of",
    "with_warnings",
]

ESTIMATORS: Final = ("mle", "wls", "lsq")
NEIGHBORS: Final = ("ignore", "fit")

#: Standard deviation of a spot, in pixels, for which a box is chosen where none is known: that of most microscopes.
_USUAL_SIGMA: Final = 1.3

#: Squared Newton decrement, gradient times inverse information times gradient, at which a fit ends, for each
#: estimator: in units of the variances of the parameters. The step that follows is still taken. Answers of least
#: squares can be compared with those of other programs; fits that converge slowly, as those that are far from their
#: model do, then agree to 1e-7 on the host and on a GPU too.
_STOP: Final = {"mle": 1e-5, "wls": 1e-12, "lsq": 1e-14}


#: Times that the weights of estimates of the noise are found: from the residuals alone, then from the noise.
_PASSES: Final = 3


class Fit(NamedTuple):
    """How spots are fitted.

    Attributes
    ----------
    model : Model
        The model.
    estimator : {"mle", "wls", "lsq"}
        Likelihood of Poisson noise and read noise, weighted or unweighted least squares.
    sigma : tuple of floats
        Width per axis: fixed, or where fits begin; 0 where each spot has its own start.
    box : tuple of ints
        Lengths of the box.
    n_iters : int
        Most iterations.
    max_shift : float
        Furthest that a position may go from its start, in pixels on any axis.
    whole : bool
        Whether each image is a box itself, in which a fit begins at the moments of its pixels.
    excess : float
        Variance per electron: 2 behind an EM gain.
    covariance : bool
        Whether the covariance of parameters is wanted.
    together : bool
        Whether spots are fitted together with their neighbours.
    numbers : tuple of floats
        Numbers of the model: a fixed exponent; the limits of z, and the curves of widths along y and x.
    """

    model: Model
    estimator: str
    sigma: tuple[float, ...]
    box: tuple[int, ...]
    n_iters: int
    max_shift: float
    whole: bool = False
    excess: float = 1.0
    covariance: bool = False
    together: bool = False
    numbers: tuple[float, ...] = ()

    def matrices(self, count: int) -> tuple[int, ...]:
        """Return the shape of the covariances of spots, and of those if pixels had their signal as variance."""
        parameters = self.model.parameters
        return (count if self.has_matrices else 0), 2, parameters, parameters

    @property
    def has_matrices(self) -> bool:
        """Whether kernels write the covariance of parameters."""
        return self.covariance or self.model.needs_covariance

    @property
    def function(self) -> str:
        """Name of the public function."""
        return "fit_patches" if self.whole else "fit_spots"

    @property
    def stop(self) -> float:
        """Squared Newton decrement at which a fit ends."""
        return _STOP[self.estimator]


def box_for(sigma: tuple[float, ...] | None, axes: int) -> tuple[int, ...]:
    """Return the lengths of a box: the odd number nearest to 6 sigma + 1, but not below 5."""
    widths = (_USUAL_SIGMA,) * axes if sigma is None else sigma
    return tuple(max(5, 2 * math.floor(3 * s + 0.5) + 1) for s in widths)


class Columns(NamedTuple):
    """The columns of a table of fits that kernels measure."""

    coords: Any
    coords_std: Any
    flux: Any
    flux_std: Any
    background: Any
    background_std: Any
    sigma: Any
    sigma_std: Any
    chi2: Any
    log_likelihood: Any
    covariance: Any
    angle: Any = None
    angle_std: Any = None
    beta: Any = None
    beta_std: Any = None
    z: Any = None
    z_std: Any = None


def columns_of(rows: Any, moments: Any, matrices: Any, fit: Fit) -> Columns:
    """Return columns from rows of parameters, variances, widths, chi2 and likelihood, and moments of residuals.

    Positions are those in the image. There is one width if both axes of an image share it.
    """
    model = fit.model
    axes, count = model.axes, model.parameters
    values, variances, covariance = rows[:, :count], rows[:, count : 2 * count], None
    if fit.has_matrices:
        covariance = matrices[:, 0].copy()
    if fit.estimator == "lsq":
        slope = _noise_slope(moments)
        degrees = moments[:, 0] + (moments[:, 0] == 0)
        level = (moments[:, 1] - slope * moments[:, 3]).clip(FIT_LEAST_NOISE * moments[:, 1], None) / degrees
        variances = level[:, None] * variances + slope * moments[:, 8:]
        if covariance is not None:
            covariance = level[:, None, None] * covariance + slope * matrices[:, 1]
    errors = variances**0.5
    widths = rows[:, 2 * count : 2 * count + axes]
    shape = shape_columns(model, values, errors, covariance, widths, fit.numbers)
    if shape.angle is not None:
        shape = shape._replace(angle_std=angle_error(shape.angle_std))
    if not fit.covariance:
        covariance = None
    else:  # fluxes and backgrounds are measured in units of the excess
        covariance = in_columns(model, values, covariance)
        for k in (axes, *range(axes + 1 + model.widths, count)):
            covariance[:, k, :] *= fit.excess
            covariance[:, :, k] *= fit.excess
    if axes == 2 and len(set(model.width_of_axis)) == 1 and len(set(fit.sigma)) == 1 and model.starts == 1:
        shape = shape._replace(sigma=shape.sigma[:, 0].copy(), sigma_std=shape.sigma_std[:, 0].copy())
    return Columns(
        coords=rows[:, :axes].copy(),
        coords_std=errors[:, :axes].copy(),
        flux=rows[:, axes] * fit.excess,
        flux_std=errors[:, axes] * fit.excess,
        background=rows[:, count - 1] * fit.excess,
        background_std=errors[:, count - 1] * fit.excess,
        chi2=rows[:, -2].copy(),
        log_likelihood=rows[:, -1].copy(),
        covariance=covariance,
        **shape._asdict(),
    )


def _noise_slope(moments: Any) -> Any:
    """Return by how much the variance of a pixel grows with its signal, the same for all spots."""
    degrees, s0, s1, signal, own, t0, t1, t2 = moments[:, :8].T.copy()  # one after the other in memory
    none = degrees == 0  # rejected spots, whose moments are all 0
    degrees = degrees + none
    found, expected = s1 - signal * s0 / degrees, own - signal * signal / degrees
    level, slope, positive = s0 / degrees, 0.0, expected * (expected > 0)
    for _ in range(_PASSES):
        variance = 2 * (level * level * t0 + 2 * level * slope * t1 + slope * slope * t2)
        weight = positive / (variance + (variance == 0))
        total = (positive * weight).sum()
        slope = ((found * weight).sum() / (total + (total == 0))).clip(0.0, None)
        level = ((s0 - slope * signal) / degrees).clip(0.0, None)
    return slope


def _any_axis(holds: Any) -> Any:
    """Whether a condition holds along any axis: faster than `any`, whose loop is over two or three axes."""
    result, *others = holds.T
    for column in others:
        result = result | column
    return result


def with_warnings(flags: Any, columns: Columns, fit: Fit) -> Any:
    """Return flags with those of spots whose position, width or flux is uncertain, or z not known.

    So is a width within two standard errors of its limits: fits whose width is beyond do not converge, and those that
    remain are not typical.
    """
    shared = len(columns.sigma.shape) == 1
    sigma = columns.sigma[:, None] if shared else columns.sigma
    sigma_std = columns.sigma_std[:, None] if shared else columns.sigma_std
    low = _any_axis(sigma_std > FIT_LOW_WIDTH * sigma) | (columns.flux_std > FIT_LOW_FLUX * columns.flux)
    narrow = sigma if columns.angle is None else sigma[:, 1:]
    low = low | _any_axis(columns.coords_std > FIT_LOW_SIGNAL * narrow)
    if max(fit.model.width_of_axis) >= 0:
        low = low | _any_axis(sigma - 2 * sigma_std < FIT_LEAST_WIDTH)
        for axis, length in enumerate(fit.box[:1] if shared else fit.box):
            low = low | (sigma + 2 * sigma_std > FIT_MOST_WIDTH * length)[:, axis]
    flags = flags | (low * int(FitFlags.LOW_SIGNAL)).astype(flags.dtype)
    if columns.z is not None:
        beyond = (columns.z == columns.z) & (columns.z_std != columns.z_std)
        flags = flags | (beyond * int(FitFlags.OUT_OF_RANGE)).astype(flags.dtype)
    return flags
