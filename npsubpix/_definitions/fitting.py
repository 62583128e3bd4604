"""Fits of spots: models and their parameters, estimators, boxes, and the columns of results."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

__all__ = [
    "BACKGROUNDS",
    "ESTIMATORS",
    "MODELS",
    "WIDTHS",
    "Columns",
    "Fit",
    "Model",
    "box_for",
    "columns_of",
]

MODELS: Final = ("gaussian",)
WIDTHS: Final = ("free", "fixed", "elliptical")
BACKGROUNDS: Final = ("constant", "plane")
ESTIMATORS: Final = ("mle", "wls", "lsq")

#: Standard deviation of a spot, in pixels, for which a box is chosen where none is known: that of most microscopes.
_USUAL_SIGMA: Final = 1.3

#: Squared Newton decrement, gradient times inverse information times gradient, at which a fit ends, for each
#: estimator: in units of the variances of the parameters. The step that follows is still taken. Least squares converge
#: fast, and their answers can be compared with those of other programs.
_STOP: Final = {"mle": 1e-4, "wls": 1e-8, "lsq": 1e-8}


class Model(NamedTuple):
    """A Gaussian spot, integrated over pixels, on a background.

    Its parameters are the position along each axis, the flux, the widths, the slopes of the background along each
    axis, and the background at the centre of the box.

    Attributes
    ----------
    axes : int
        Dimensions of the image, 2 or 3.
    width : {"free", "fixed", "elliptical"}
        ``"free"``: one width, of volumes one along z and one for y and x; ``"elliptical"``: one per axis.
    plane : bool
        Whether the background has slopes.
    """

    axes: int
    width: str
    plane: bool

    @property
    def name(self) -> str:
        """Name of its kernel."""
        return f"gaussian{self.axes}d_{self.width}" + "_plane" * self.plane

    @property
    def widths(self) -> int:
        """Number of widths that are fitted."""
        return {"fixed": 0, "free": self.axes - 1, "elliptical": self.axes}[self.width]

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return self.axes + 2 + self.widths + self.axes * self.plane

    @property
    def width_of_axis(self) -> tuple[int, ...]:
        """The parameter that is the width along each axis; -1 where it is fixed."""
        first = self.axes + 1
        if self.width == "fixed":
            return (-1,) * self.axes
        if self.width == "elliptical":
            return tuple(range(first, first + self.axes))
        return (first,) * 2 if self.axes == 2 else (first, first + 1, first + 1)


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
    """

    model: Model
    estimator: str
    sigma: tuple[float, ...]
    box: tuple[int, ...]
    n_iters: int
    max_shift: float
    whole: bool = False
    excess: float = 1.0

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


def columns_of(rows: Any, fit: Fit) -> Columns:
    """Return columns from rows of parameters, standard errors, widths and their errors, chi2 and likelihood.

    Parameters are those of the model, with positions in the image. There is one width if all axes share it.
    """
    model = fit.model
    axes, count = model.axes, model.parameters
    shared = len(set(model.width_of_axis)) == 1 and len(set(fit.sigma)) == 1
    first = 2 * count
    sigma, sigma_std = rows[:, first : first + axes], rows[:, first + axes : first + 2 * axes]
    if shared and axes == 2:
        sigma, sigma_std = sigma[:, 0], sigma_std[:, 0]
    return Columns(
        coords=rows[:, :axes].copy(),
        coords_std=rows[:, count : count + axes].copy(),
        flux=rows[:, axes] * fit.excess,
        flux_std=rows[:, count + axes] * fit.excess,
        background=rows[:, count - 1] * fit.excess,
        background_std=rows[:, 2 * count - 1] * fit.excess,
        sigma=sigma.copy(),
        sigma_std=sigma_std.copy(),
        chi2=rows[:, -2].copy(),
        log_likelihood=rows[:, -1].copy(),
    )
