"""The precision that fits can reach: the bound of Cramér and Rao."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import Array, as_array, to_numpy
from npsubpix._arrays.options import (
    check_bool,
    check_choice,
    check_count,
    check_finite,
    check_lengths,
    check_per_axis,
)
from npsubpix._definitions.fitting import box_for
from npsubpix._definitions.spot_models import Model, shape_columns
from npsubpix.camera import Camera
from npsubpix.fitting.astigmatism import AstigmaticCurve
from npsubpix.fitting.measured import MeasuredPsf, check_psf
from npsubpix.fitting.models import check_model
from npsubpix.fitting.slopes import spot_slopes

__all__ = ["CramerRao", "cramer_rao"]

Floats = npt.NDArray[np.float64]


class CramerRao(NamedTuple):
    r"""Standard errors that fits of a model reach.

    Attributes
    ----------
    coords_std : array of shape (\*S, ndim), float64
        Of the position along each axis, in pixels; S is the shape to which flux and background broadcast.
    flux_std : array of shape S, float64
        Of the flux, in electrons.
    background_std : array of shape S, float64
        Of the background per pixel, in electrons.
    sigma_std : array of shape (\*S, ndim), float64
        Of the width along each axis, in pixels; of a rotated Gaussian, along the major and the minor axis. 0 where it
        is fixed.
    angle_std, beta_std, z_std : arrays of shape S, float64, or None
        Of the angle of a rotated Gaussian, of the exponent of a Moffat function, and of z on an astigmatic curve.
    """

    coords_std: Floats
    flux_std: Floats
    background_std: Floats
    sigma_std: Floats
    angle_std: Floats | None = None
    beta_std: Floats | None = None
    z_std: Floats | None = None


def cramer_rao(
    flux: Array | float,
    sigma: float | tuple[float, ...] | None,
    background: Array | float = 0.0,
    *,
    model: str = "gaussian",
    width: str | AstigmaticCurve = "free",
    angle: float = 0.0,
    beta: float | None = None,
    free_beta: bool = True,
    z: float | None = None,
    plane: bool = False,
    box: int | tuple[int, ...] | None = None,
    shift: float | tuple[float, ...] = 0.0,
    camera: Camera | None = None,
    estimator: str = "mle",
    ndim: int = 2,
    psf: Array | None = None,
    oversampling: float | tuple[float, ...] = 1,
) -> CramerRao:
    """Return the standard errors that a fit of a spot reaches: the bound of Cramér and Rao.

    Parameters
    ----------
    flux : number or array
        Electrons of a spot, above 0.
    sigma : number above 0, or one per axis; None with an AstigmaticCurve, or with `psf`
        Standard deviation of the spot in pixels; along the major and the minor axis with ``width="rotated"``. Of a
        Moffat function, the full width at half maximum over 2.3548.
    background : number or array, default 0
        Electrons of the background per pixel, at least 0; it broadcasts against `flux`.
    model : {"gaussian", "moffat", "psf"}, default "gaussian"
        A Gaussian or a Moffat function, integrated over each pixel, or `psf`, which also implies it.
    width : {"free", "fixed", "elliptical", "rotated"} or AstigmaticCurve, default "free"
        Which widths are fitted, see `fit_spots`.
    angle : number, default 0
        Angle of the major axis with ``width="rotated"``, in radians from the y axis towards the x axis.
    beta : number above 1, optional
        Exponent of a Moffat function, for which it is required.
    free_beta : bool, default True
        Whether the exponent is fitted.
    z : number, optional
        Position along z, required with an AstigmaticCurve.
    plane : bool, default False
        Whether the slopes of the background are fitted too.
    box : odd int, or one per axis, optional
        Length of the box, by default that of `fit_spots`.
    shift : number, or one per axis, default 0
        Distance of the position from the centre of the central pixel, in pixels.
    camera : Camera, optional
        Its read variance, in counts squared, adds to the noise, and an EM gain doubles the variance of the signal.
        Maps are those of a box: their last axes have its shape, and all others broadcast against `flux`.
    estimator : {"mle", "lsq"}, default "mle"
        ``"mle"``: the bound, which maximum likelihood reaches. ``"lsq"``: the standard errors of unweighted least
        squares, which exceed it.
    ndim : {2, 3}, default 2
        Dimensions of the image.
    psf : array of ndim dimensions, optional
        Measured point spread function, see `fit_spots`.
    oversampling : number of at least 1, or one per axis, default 1
        Samples of `psf` per pixel.

    Returns
    -------
    CramerRao
        A named tuple of ``coords_std``, ``flux_std``, ``background_std`` and ``sigma_std``, and ``angle_std``,
        ``beta_std`` and ``z_std`` of models that have them.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If a number is out of range.

    See Also
    --------
    fit_spots : Fits that reach the bound.

    Notes
    -----
    In a large box, with a fixed width s and N electrons on a background of b per pixel, the variance of a position is
    ``a / N * (1 + 4 t + sqrt(2 t / (1 + 4 t)))`` for maximum likelihood [1]_ [2]_ and ``a / N * (16 / 9 + 4 t)`` for
    least squares [1]_, with ``a = s**2 + 1 / 12`` and ``t = 2 pi a b / N``.

    References
    ----------
    .. [1] K. I. Mortensen et al., "Optimized localization analysis for single-molecule tracking and super-resolution
       microscopy", Nature Methods 7, 377-381, 2010
    .. [2] B. Rieger and S. Stallinga, "The lateral and axial localization uncertainty in super-resolution light
       microscopy", ChemPhysChem 15, 664-670, 2014

    Examples
    --------
    >>> import npsubpix
    >>> bound = npsubpix.cramer_rao(1000, 1.2, 10, box=9)
    >>> bound.coords_std.round(4)
    array([0.0509, 0.0509])
    """
    check_choice(estimator, "estimator", ("mle", "lsq"))
    if camera is not None and not isinstance(camera, Camera):
        raise TypeError(f"camera must be a Camera or None, got {camera!r}")
    if check_count(ndim, "ndim", 2) > 3:
        raise ValueError(f"ndim must be 2 or 3, got {ndim}")
    background_model = "plane" if check_bool(plane, "plane") else "constant"
    photons, level = _numbers(flux, "flux", above=True), _numbers(background, "background")
    given = None if sigma is None else check_lengths(sigma, ndim, "sigma")
    measured = check_psf(psf, oversampling, ndim)
    chosen, numbers = check_model(model, width, given, beta, background_model, ndim, measured)
    if check_bool(free_beta, "free_beta") and model == "moffat":
        chosen, numbers = chosen._replace(shape="moffat"), ()
    shape = _shape(chosen, width, given, angle, beta, z, measured)
    lengths = box_for(shape.widths, ndim) if box is None else check_per_axis(box, ndim, "box", 3)
    shifts = [check_finite(s, "shift") for s in ((shift,) * ndim if np.ndim(shift) == 0 else tuple(shift))]  # type: ignore[arg-type]
    photons, level = np.broadcast_arrays(photons, level)
    slopes = spot_slopes(chosen, lengths, shape.widths, shape.parameters, shifts, numbers, measured)
    excess, read = 1.0, np.zeros(1)
    if camera is not None:
        excess = camera.excess
        factor = _map(camera.electrons_per_count, "electrons_per_count", lengths)
        factor = factor / _map(camera.em_gain, "em_gain", lengths)
        read = _map(camera.read_variance, "read_variance", lengths) * factor**2
    variances = excess * (photons[..., None] * slopes[ndim] + level[..., None]) + read
    if not (variances > 0).all():
        raise ValueError("background or the read variance of the camera must be positive in a box of this length")
    photons = np.broadcast_to(photons, variances.shape[:-1])
    return _bounds(chosen, shape, numbers, photons, slopes, variances, estimator)


class _Shape(NamedTuple):
    """Widths along the axes of the image, and the parameters of the shape of a model."""

    widths: tuple[float, ...]
    parameters: tuple[float, ...]


def _shape(
    model: Model, width: Any, sigma: tuple[float, ...] | None, angle: float, beta: float | None, z: float | None,
    psf: MeasuredPsf | None,
) -> _Shape:  # fmt: skip
    """Require the numbers that the shape of a model has."""
    if (z is not None) != isinstance(width, AstigmaticCurve):
        raise ValueError("z must be given with an AstigmaticCurve for width, and not without one")
    if isinstance(width, AstigmaticCurve):
        depth = check_finite(z, "z")
        low, high = width.z_range
        if not low <= depth <= high:
            raise ValueError(f"z must be in the range of the curve, from {low} to {high}, got {depth}")
        y, x = width.sigma(depth)
        return _Shape((float(y), float(x)), (depth,))
    if check_finite(angle, "angle") != 0 and model.width != "rotated":
        raise ValueError(f"angle is for width='rotated', got width={width!r}")
    if psf is not None:
        return _Shape(psf.widths, ())
    if sigma is None:
        raise ValueError("sigma must be given: it is the width of the spot")
    if model.width == "rotated":
        major, minor = sigma
        if major < minor:
            raise ValueError(f"sigma must be the widths along the major and the minor axis, got {sigma}")
        cosine, sine = math.cos(angle), math.sin(angle)
        y, x = math.hypot(major * cosine, minor * sine), math.hypot(major * sine, minor * cosine)
        return _Shape((y, x), (y, x, (major**2 - minor**2) * sine * cosine / (y * x)))
    own = dict(zip(model.width_of_axis, sigma, strict=True))
    free = tuple(own[k] for k in sorted(own) if k >= 0)
    if model.shape.startswith("moffat") and beta is None:
        raise ValueError("beta must be given with model='moffat': it is the exponent")
    return _Shape(sigma, (*free, 1 / beta) if model.shape == "moffat" and beta is not None else free)


def _numbers(value: Any, name: str, above: bool = False) -> Floats:
    """Require numbers at least, or above, 0."""
    array = to_numpy(as_array(value, name))
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    right = (array > 0 if above else array >= 0) & (array < math.inf)
    if not right.all():
        needed = "positive" if above else "at least 0"
        raise ValueError(f"{name} must be {needed} and finite, got {array[~right].flat[0]}")
    return array.astype(np.float64)


def _map(value: Any, name: str, box: tuple[int, ...]) -> Floats:
    """Require a number, or maps of a box; return its pixels along the last axis. Infinite ones do not count."""
    array = to_numpy(as_array(value, name)).astype(np.float64)
    if array.ndim == 0:
        return array[None]
    if array.shape[-len(box) :] != box:
        raise ValueError(f"{name} must be a number or have the shape of the box, {box}, got shape {array.shape}")
    return array.reshape(*array.shape[: -len(box)], -1)


def _bounds(
    model: Model, shape: _Shape, numbers: tuple[float, ...], photons: Floats, slopes: Floats, variances: Floats,
    estimator: str,
) -> CramerRao:  # fmt: skip
    axes, count = model.axes, model.parameters
    scale = np.ones((*photons.shape, count))
    for k in (*range(axes), *range(axes + 1, axes + 1 + model.widths)):
        scale[..., k] = photons  # of which the other derivatives are independent
    if estimator == "mle":
        covariance = np.linalg.inv(np.einsum("pk,...k,qk->...pq", slopes, 1 / variances, slopes))
    else:
        counts = variances < math.inf
        inverse = np.linalg.inv(np.einsum("pk,...k,qk->...pq", slopes, counts, slopes))
        noise = np.where(counts, variances, 0.0)
        covariance = inverse @ np.einsum("pk,...k,qk->...pq", slopes, noise, slopes) @ inverse
    covariance = (covariance / (scale[..., :, None] * scale[..., None, :])).reshape(-1, count, count)
    errors = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    values = np.zeros((len(errors), count))
    values[:, axes + 1 : axes + 1 + model.widths] = shape.parameters
    widths = np.tile(shape.widths, (len(errors), 1))
    columns = shape_columns(model, values, errors, covariance, widths, numbers)
    found = [columns.sigma_std, columns.angle_std, columns.beta_std, columns.z_std]
    own = [None if c is None else c.reshape((*photons.shape, *c.shape[1:])) for c in found]
    errors = errors.reshape(*photons.shape, count)
    return CramerRao(errors[..., :axes], errors[..., axes], errors[..., -1], *own)  # type: ignore[arg-type]
