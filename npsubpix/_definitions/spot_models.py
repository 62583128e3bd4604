"""Models of spots: their parameters, constants, and columns that are functions of parameters.

The parameters of every model are the position along each axis, the flux, those of its shape, the slopes of the
background along each axis, and the background at the centre of the box.

Constants of a model are one row of numbers, in three parts: for each parameter of the shape its greatest step and its
limits, which those of a width do not use; for models that are integrated over pixels by quadrature, the offsets along y
and x and the weights of the nodes; and the numbers that a caller gives, such as a calibration.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "BACKGROUNDS",
    "MODELS",
    "NODES",
    "WIDTHS",
    "Model",
    "ShapeColumns",
    "angle_error",
    "in_columns",
    "nodes",
    "shape_columns",
    "width_slope",
]

MODELS: Final = ("gaussian", "moffat", "psf")
WIDTHS: Final = ("free", "fixed", "elliptical", "rotated")
BACKGROUNDS: Final = ("constant", "plane")

#: Parameters that only some widths, or some models, have.
_BY_WIDTH: Final = {"rotated": ("correlation",), "astigmatic": ("z",)}
_BY_SHAPE: Final = {"moffat": ("inverse_beta",)}

#: Greatest step, and limits: exponents of a Moffat function are 1.25 to 100, and axes of a spot as 1 to 10.
_LIMITS: Final = {"correlation": (0.3, -0.98, 0.98), "inverse_beta": (0.15, 0.01, 0.8)}

#: Standard deviation of an angle of which nothing is known.
_NO_ANGLE: Final = math.pi / math.sqrt(12)

#: Standard error of an angle where the elongation is three times its own.
_LEAST_SIGNIFICANT: Final = 1 / 6

#: Difference of the variances along the axes, relative to their mean, below which a spot is round.
_ROUND: Final = 1e-12

#: Orders of the quadrature along an axis, and the number of nodes in a pixel.
_ORDERS: Final = (4, 5, 6, 7)
NODES: Final = sum(-(-order * order // 4) * 4 for order in _ORDERS)


class Model(NamedTuple):
    """A spot on a background.

    Attributes
    ----------
    axes : int
        Dimensions of the image, 2 or 3.
    width : {"free", "fixed", "elliptical", "rotated", "astigmatic"}
        ``"free"``: one width, of volumes one along z and one for y and x; ``"elliptical"``: one per axis;
        ``"rotated"``: one per axis, and the correlation of both; ``"astigmatic"``: those of a curve at a fitted z.
    plane : bool
        Whether the background has slopes.
    shape : {"gaussian", "moffat", "moffat_beta", "psf"}
        ``"moffat"``: the inverse of the exponent is fitted; ``"moffat_beta"``: the exponent is a constant; ``"psf"``:
        samples of a measured point spread function are constants.
    """

    axes: int
    width: str
    plane: bool
    shape: str = "gaussian"

    @property
    def name(self) -> str:
        """Name of its kernel."""
        return f"{self.shape}{self.axes}d_{self.width}" + "_plane" * self.plane

    @property
    def shape_parameters(self) -> tuple[str, ...]:
        """Names of the parameters of the shape, which follow the flux."""
        widths = {"free": self.axes - 1, "elliptical": self.axes, "rotated": 2}.get(self.width, 0)
        return ("sigma",) * widths + _BY_WIDTH.get(self.width, ()) + _BY_SHAPE.get(self.shape, ())

    @property
    def widths(self) -> int:
        """Number of parameters of the shape."""
        return len(self.shape_parameters)

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return self.axes + 2 + self.widths + self.axes * self.plane

    @property
    def columns(self) -> int:
        """Length of a row that kernels write: parameters and their variances, widths, chi2 and the likelihood."""
        return 2 * self.parameters + self.axes + 2

    @property
    def moments(self) -> int:
        """Number of moments of residuals: n - p, the two sums, the three terms, weights, and the diagonal of A M A."""
        return 8 + self.parameters

    @property
    def width_of_axis(self) -> tuple[int, ...]:
        """The parameter that is the width along each axis; -1 where it is none."""
        first = self.axes + 1
        if self.width in ("elliptical", "rotated"):
            return tuple(range(first, first + self.axes))
        if self.width == "free":
            return (first,) * 2 if self.axes == 2 else (first, first + 1, first + 1)
        return (-1,) * self.axes

    def parameter(self, name: str) -> int:
        """Return the first parameter of a name among those of the shape; -1 if there is none."""
        names = self.shape_parameters
        return self.axes + 1 + names.index(name) if name in names else -1

    @property
    def is_separable(self) -> bool:
        """Whether a spot is a product of functions of one axis, so that kernels take these by lines of pixels."""
        return self.shape == "gaussian" and self.width != "rotated"

    @property
    def has_curves(self) -> bool:
        """Whether fits by least squares use second derivatives, where these are products of functions of one axis."""
        return self.is_separable and self.axes == 2 and self.width != "astigmatic"

    @property
    def has_quadrature(self) -> bool:
        """Whether a spot is integrated over pixels by quadrature."""
        return self.width == "rotated" or self.shape.startswith("moffat")

    @property
    def limited(self) -> tuple[int, ...]:
        """Parameters of the shape, other than widths, which have a greatest step and limits."""
        first = self.axes + 1
        return tuple(first + k for k, name in enumerate(self.shape_parameters) if name != "sigma")

    @property
    def held(self) -> tuple[int, ...]:
        """Parameters that are held at a limit that they would pass, so that others are fitted."""
        return tuple(k for k in map(self.parameter, ("inverse_beta", "z")) if k >= 0)

    @property
    def needs_covariance(self) -> bool:
        """Whether the errors of columns need the covariance of parameters."""
        return self.width == "rotated"

    @property
    def starts(self) -> int:
        """Number of starts, of which the best fit is kept."""
        return 2 if self.width == "astigmatic" else 1

    @property
    def nodes_at(self) -> int:
        """Place of the nodes of the quadrature among the constants."""
        return 3 * self.widths if self.limited else 0

    @property
    def numbers_at(self) -> int:
        """Place of the numbers of a caller among the constants."""
        return self.nodes_at + 3 * NODES * self.has_quadrature

    def constants(self, numbers: tuple[float, ...] = ()) -> npt.NDArray[np.float64]:
        """Return the constants of kernels, with the numbers that a caller gives.

        The first two numbers of a curve of widths are the limits of z.
        """
        limits = dict(_LIMITS)
        if self.width == "astigmatic":
            low, high = numbers[:2]
            limits["z"] = (high - low) / 4, low, high
        steps = [limit for name in self.shape_parameters for limit in limits.get(name, (0.0, 0.0, 0.0))]
        table = nodes().ravel() if self.has_quadrature else ()
        return np.concatenate([steps if self.limited else (), table, numbers])


@functools.cache
def nodes() -> npt.NDArray[np.float64]:
    """Return the nodes and weights of Gauss and Legendre in a pixel, of shape (3, N): offsets along y and x, weights.

    The orders 4 to 7 along an axis follow one another, each with as many nodes of weight 0 as make a multiple of four.
    Order n integrates a Gaussian of the standard deviation s with an error below 1e-7 of its height for s above 0.94,
    0.58, 0.41 and 0.32 pixels.
    """
    parts = []
    for order in _ORDERS:
        places, weights = np.polynomial.legendre.leggauss(order)
        y, x = np.meshgrid(places / 2, places / 2, indexing="ij")
        part = np.stack([y.ravel(), x.ravel(), np.outer(weights, weights).ravel() / 4])
        parts.append(np.pad(part, ((0, 0), (0, -part.shape[1] % 4))))
    return np.concatenate(parts, axis=1)


class ShapeColumns(NamedTuple):
    """Columns of the shape of spots: widths, and those that not all models have."""

    sigma: Any
    sigma_std: Any
    angle: Any = None
    angle_std: Any = None
    beta: Any = None
    beta_std: Any = None
    z: Any = None
    z_std: Any = None


def shape_columns(
    model: Model, values: Any, errors: Any, covariance: Any, widths: Any, numbers: tuple[float, ...]
) -> ShapeColumns:
    """Return the columns of the shape from parameters, their errors, their covariance if it is known, and widths."""
    sigma, sigma_std = widths.copy(), widths * 0.0
    for axis, k in enumerate(model.width_of_axis):
        if k >= 0:
            sigma_std[:, axis] = errors[:, k]
    columns = ShapeColumns(sigma, sigma_std)
    if model.width == "rotated":
        sigma, angle, jacobian = _axes_of(values[:, 3:6])
        own = jacobian @ covariance[:, 3:6, 3:6] @ jacobian.swapaxes(1, 2)
        found = own.diagonal(0, 1, 2).clip(0.0, None) ** 0.5
        columns = ShapeColumns(sigma, found[:, :2].copy(), angle, found[:, 2].clip(None, _NO_ANGLE))
    if model.width == "astigmatic":
        k = model.parameter("z")
        for axis in range(2):
            columns.sigma_std[:, axis] = (
                abs(width_slope(values[:, k], numbers[2 + 5 * axis : 7 + 5 * axis])) * errors[:, k]
            )
        columns = columns._replace(z=values[:, k].copy(), z_std=errors[:, k].copy())
    if model.shape == "moffat":
        k = model.parameter("inverse_beta")
        columns = columns._replace(beta=1.0 / values[:, k], beta_std=errors[:, k] / values[:, k] ** 2)
    if model.shape == "moffat_beta":
        beta = 0.0 * values[:, 0] + numbers[0]
        columns = columns._replace(beta=beta, beta_std=0.0 * beta)
    return columns


def angle_error(error: Any) -> Any:
    """Return the standard error of an angle from that by propagation, which is right for elongated spots alone.

    Noise makes every spot seem elongated: the squared difference of the variances along the axes, in units of its own
    variance, is greater by 2. It is 1 / (4 error**2). Below the limit the elongation may be noise.
    """
    corrected = error / (1 - 8 * error * error).clip(0.1, None) ** 0.5
    corrected[error > _LEAST_SIGNIFICANT] = _NO_ANGLE
    return corrected


def in_columns(model: Model, values: Any, covariance: Any) -> Any:
    """Return the covariance of parameters as columns have them: axes and angle, and exponents."""
    first = model.axes + 1
    if model.width == "rotated":
        jacobian = _axes_of(values[:, 3:6])[2]
        covariance[:, first : first + 3] = jacobian @ covariance[:, first : first + 3]
        covariance[:, :, first : first + 3] = covariance[:, :, first : first + 3] @ jacobian.swapaxes(1, 2)
    if model.shape == "moffat":
        k = model.parameter("inverse_beta")
        scale = -1.0 / values[:, k, None] ** 2
        covariance[:, k] *= scale
        covariance[:, :, k] *= scale
    return covariance


def _axes_of(values: Any) -> tuple[Any, Any, Any]:
    """Return standard deviations along the major and the minor axis, the angle, and their derivatives.

    `values` are the widths along y and x and their correlation. The angle is that of the major axis from the y axis
    towards the x axis.
    """
    y, x, correlation = (values[:, k] for k in range(3))
    mean, half, mixed = (y * y + x * x) / 2, (y * y - x * x) / 2, correlation * y * x
    length = (half * half + mixed * mixed) ** 0.5
    is_round = length < _ROUND * mean
    length = length.clip(_ROUND * mean, None)  # of a round spot, the angle is that of the y axis
    cosine, sine = half / length * ~is_round + is_round, mixed / length * ~is_round
    major, minor = (mean + length) ** 0.5, (mean - length).clip(0.0, None) ** 0.5
    # Derivatives with respect to the variances along y and x and the covariance, then to widths and correlation
    rows = [
        ((1 + cosine) / (4 * major), (1 - cosine) / (4 * major), sine / (2 * major)),
        ((1 - cosine) / (4 * minor), (1 + cosine) / (4 * minor), -sine / (2 * minor)),
        (-sine / (4 * length), sine / (4 * length), cosine / (2 * length)),
    ]
    jacobian = np.stack(
        [
            np.stack([a * 2 * y + c * correlation * x, b * 2 * x + c * correlation * y, c * y * x], -1)
            for a, b, c in rows
        ],
        -2,
    )
    return np.stack([major, minor], -1), np.arctan2(sine, cosine) / 2, jacobian


def width_slope(z: Any, axis: tuple[float, ...]) -> Any:
    """Return the derivative of the width along an axis with respect to z: see `AstigmaticCurve`."""
    sigma, centre, depth, a, b = axis
    u = (z - centre) / depth
    square = 1 + u * u * (1 + u * (a + u * b))
    return sigma / (2 * depth) * u * (2 + u * (3 * a + 4 * u * b)) / square**0.5
