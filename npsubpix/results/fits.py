"""Fits of spots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from npsubpix._arrays.library import Array, to_numpy
from npsubpix._definitions.flags import FIT_NOT_OK, FitFlags
from npsubpix.results.table import AXES, Table

__all__ = ["Fits"]


@dataclass(frozen=True, eq=False, repr=False)
class Fits(Table):
    """Spots of an image with standard errors: positions, fluxes, backgrounds and widths, one row per spot.

    The arrays are of the library and on the device of the image. Indexing with a slice, or with an array of booleans
    or integers, selects rows and returns Fits. A spot that could not be fitted keeps the position at which it
    started; its other columns, errors included, are NaN, and its flags give the reason.

    Attributes
    ----------
    coords, coords_std : arrays of shape (N, ndim), float64
        Positions in pixels in array order, (y, x) or (z, y, x), and their standard errors. The centre of the first
        pixel is 0.
    flux, flux_std : arrays of shape (N,), float64
        The integral of the spot: in electrons with a `Camera`, else in units of the image.
    background, background_std : arrays of shape (N,), float64
        Background per pixel, in the same unit, at the centre of the box.
    sigma, sigma_std : arrays of shape (N,), or (N, K) with several widths, float64
        Standard deviation of the Gaussian in pixels, or one per axis; of a rotated Gaussian, those along the major and
        the minor axis. Of a Moffat function, the full width at half maximum over 2.3548. Its error is 0 where it is
        fixed.
    chi2 : array of shape (N,), float64
        Reduced chi-squared: sum of squared residuals in units of the noise, per degree of freedom. Without knowledge
        of the noise (``estimator="lsq"``) the variance of the residuals, in squared units of the image.
    log_likelihood : array of shape (N,), float64
        Logarithm of the likelihood of the fit, less that of a model that equals the data: never positive. With
        ``estimator="lsq"``, that of Gaussian noise of the variance of the residuals, up to a constant.
    n_iters : array of shape (N,), int32
        Number of iterations.
    indices : array of shape (N, ndim), int64
        Pixel at the centre of the box; -1 for a start that was not finite.
    flags : array of shape (N,), int32
        Bits of `FitFlags`.
    covariance : array of shape (N, P, P), float64, or None
        Covariance of the parameters, if it was asked for: positions, flux, widths that are fitted, angle, beta or z,
        slopes of the background, and background.
    angle, angle_std : arrays of shape (N,), float64, or None
        With ``width="rotated"``, the angle of the major axis in radians, from the y axis towards the x axis, from -π/2
        to π/2. Its error is at most π/√12 = 0.907, that of an angle of which nothing is known, as in round spots.
    beta, beta_std : arrays of shape (N,), float64, or None
        Exponent of a Moffat function. Its error is 0 where it is fixed.
    z, z_std : arrays of shape (N,), float64, or None
        With an `AstigmaticCurve`, the position along z in the unit of the curve.
    frame : array of shape (N,), int64, or None
        Index of the image in its stack; None without a stack.
    image_shape : tuple of ints or None
        Shape of the image, or of one frame of a stack; None if it is not known.

    See Also
    --------
    fit_spots : Fit spots of an image.
    FitFlags : The meaning of the flags.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> image = npsubpix.render_spots([[6.2, 7.9]], (15, 16), std=1.2, amplitude=900, integrate=True)
    >>> image = np.random.default_rng(0).poisson(image + 4.0)
    >>> fits = npsubpix.fit_spots(image, [[6, 8]], camera=npsubpix.Camera())
    >>> fits.coords.round(2), fits.coords_std.round(2)
    (array([[6.22, 7.89]]), array([[0.05, 0.05]]))
    >>> fits.flux.round(), fits.flux_std.round(), bool(fits.ok[0])
    (array([862.]), array([37.]), True)
    """

    coords: Array
    coords_std: Array
    flux: Array
    flux_std: Array
    background: Array
    background_std: Array
    sigma: Array
    sigma_std: Array
    chi2: Array
    log_likelihood: Array
    n_iters: Array
    indices: Array
    flags: Array
    covariance: Array | None = None
    angle: Array | None = None
    angle_std: Array | None = None
    beta: Array | None = None
    beta_std: Array | None = None
    z: Array | None = None
    z_std: Array | None = None
    frame: Array | None = None
    image_shape: tuple[int, ...] | None = None

    _NOT_OK = int(FIT_NOT_OK)
    _FLAGS = FitFlags
    _OF_TABLE = ("image_shape",)
    _HIDDEN = ("log_likelihood", "n_iters")

    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copy the fits to a dictionary of NumPy arrays, one per column.

        The columns are ``frame`` (in stacks), ``z`` (in volumes), ``y``, ``x``, their errors ``y_std`` and so on,
        ``flux``, ``background`` and ``sigma`` (``sigma_y`` and so on with one width per axis, ``sigma_major`` and
        ``sigma_minor`` with an angle), ``angle``, ``beta`` and ``z`` where the model has them, each followed by its
        error, ``chi2``, ``log_likelihood``, ``n_iters``, ``z_index`` (in volumes), ``y_index``, ``x_index``, ``ok``,
        ``flags`` and ``flag_names``.
        """
        axes = AXES[-self.ndim :]
        coords, errors, indices = (to_numpy(column) for column in (self.coords, self.coords_std, self.indices))
        columns = {} if self.frame is None else {"frame": to_numpy(self.frame)}
        columns |= {axis: coords[:, k] for k, axis in enumerate(axes)}
        columns |= {f"{axis}_std": errors[:, k] for k, axis in enumerate(axes)}
        for name in ("flux", "background"):
            columns |= {n: to_numpy(getattr(self, n)) for n in (name, f"{name}_std")}
        columns |= self._widths(axes)
        for name in ("angle", "beta", "z"):
            if getattr(self, name) is not None:
                columns |= {n: to_numpy(getattr(self, n)) for n in (name, f"{name}_std")}
        columns |= {n: to_numpy(getattr(self, n)) for n in ("chi2", "log_likelihood", "n_iters")}
        columns |= {f"{axis}_index": indices[:, k] for k, axis in enumerate(axes)}
        return columns | self._flag_columns()

    def _widths(self, axes: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
        """Return the columns of widths and of their errors."""
        sigma, errors = to_numpy(self.sigma), to_numpy(self.sigma_std)
        if sigma.ndim == 1:
            return {"sigma": sigma, "sigma_std": errors}
        columns: dict[str, npt.NDArray[Any]] = {}
        for k, axis in enumerate(axes if self.angle is None else ("major", "minor")):
            columns |= {f"sigma_{axis}": sigma[:, k], f"sigma_{axis}_std": errors[:, k]}
        return columns
