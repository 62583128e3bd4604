"""The precision that fits can reach: the bound of Cramér and Rao."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import Array, as_array, to_numpy
from npsubpix._arrays.options import check_choice, check_count, check_finite, check_lengths, check_per_axis
from npsubpix._definitions.fitting import BACKGROUNDS, MODELS, WIDTHS, Model, box_for
from npsubpix.fitting.camera import Camera

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
        Of the width along each axis, in pixels; 0 where it is fixed.
    """

    coords_std: Floats
    flux_std: Floats
    background_std: Floats
    sigma_std: Floats


def cramer_rao(
    flux: Array | float,
    sigma: float | tuple[float, ...],
    background: Array | float = 0.0,
    *,
    model: str = "gaussian",
    width: str = "free",
    plane: bool = False,
    box: int | tuple[int, ...] | None = None,
    shift: float | tuple[float, ...] = 0.0,
    camera: Camera | None = None,
    estimator: str = "mle",
    ndim: int = 2,
) -> CramerRao:
    """Return the standard errors that a fit of a spot reaches: the bound of Cramér and Rao.

    Parameters
    ----------
    flux : number or array
        Electrons of a spot, above 0.
    sigma : number above 0, or one per axis
        Standard deviation of the spot in pixels.
    background : number or array, default 0
        Electrons of the background per pixel, at least 0; it broadcasts against `flux`.
    model : {"gaussian"}, default "gaussian"
        A Gaussian, integrated over each pixel.
    width : {"free", "fixed", "elliptical"}, default "free"
        Whether widths are fitted, see `fit_spots`.
    plane : bool, default False
        Whether the slopes of the background are fitted too.
    box : odd int, or one per axis, optional
        Length of the box, by default that of `fit_spots`.
    shift : number, or one per axis, default 0
        Distance of the position from the centre of the central pixel, in pixels.
    camera : Camera, optional
        Its read variance, in counts squared, adds to the noise, and an EM gain doubles the variance of the signal.
    estimator : {"mle", "lsq"}, default "mle"
        ``"mle"``: the bound, which maximum likelihood reaches. ``"lsq"``: the standard errors of unweighted least
        squares, which exceed it.
    ndim : {2, 3}, default 2
        Dimensions of the image.

    Returns
    -------
    CramerRao
        A named tuple of ``coords_std``, ``flux_std``, ``background_std`` and ``sigma_std``.

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
    check_choice(model, "model", MODELS)
    check_choice(width, "width", WIDTHS)
    check_choice(estimator, "estimator", ("mle", "lsq"))
    if camera is not None and not isinstance(camera, Camera):
        raise TypeError(f"camera must be a Camera or None, got {camera!r}")
    if check_count(ndim, "ndim", 2) > 3:
        raise ValueError(f"ndim must be 2 or 3, got {ndim}")
    check_choice("plane" if plane else "constant", "background", BACKGROUNDS)
    photons, level = _numbers(flux, "flux", above=True), _numbers(background, "background")
    widths = check_lengths(sigma, ndim, "sigma")
    lengths = box_for(widths, ndim) if box is None else check_per_axis(box, ndim, "box", 3)
    shifts = [check_finite(s, "shift") for s in ((shift,) * ndim if np.ndim(shift) == 0 else tuple(shift))]  # type: ignore[arg-type]
    photons, level = np.broadcast_arrays(photons, level)
    spot, slopes = _slopes(Model(ndim, width, plane), lengths, widths, shifts)
    excess, read = 1.0, 0.0
    if camera is not None:
        excess = camera.excess
        factor = _numbers(camera.electrons_per_count, "electrons_per_count") / _numbers(camera.em_gain, "em_gain")
        if np.ndim(factor) or np.ndim(camera.read_variance):
            raise ValueError("camera must have numbers, not maps: a bound is that of one pixel and its neighbours")
        read = float(camera.read_variance) * float(factor) ** 2
    variances = excess * (photons[..., None] * spot + level[..., None]) + read
    if not (variances > 0).all():
        raise ValueError("background or the read variance of the camera must be positive in a box of this length")
    return _bounds(Model(ndim, width, plane), photons, slopes, variances, estimator)


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


def _slopes(model: Model, box: tuple[int, ...], sigma: tuple[float, ...], shift: list[float]) -> tuple[Floats, Floats]:
    """Return the means of the pixels of a spot of one electron, and their derivatives, a row per parameter."""
    from scipy.special import erf

    lines = []
    for length, s, centre in zip(box, sigma, shift, strict=True):
        edges = (np.arange(length + 1) - length / 2 - centre) / s
        density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi) / s
        lines.append([np.diff(erf(edges / math.sqrt(2))) / 2, -np.diff(density), -np.diff(density * edges)])

    def product(of: tuple[int, ...]) -> Floats:
        total = np.ones(())
        for line, k in zip(lines, of, strict=True):
            total = np.multiply.outer(total, line[k])
        return total.ravel()

    axes = model.axes
    rows = np.zeros((model.parameters, math.prod(box)))
    for a in range(axes):
        rows[a] = product(tuple(int(k == a) for k in range(axes)))
        if model.width_of_axis[a] >= 0:
            rows[model.width_of_axis[a]] += product(tuple(2 * int(k == a) for k in range(axes)))
        if model.plane:
            place = np.indices(box)[a].ravel() - (box[a] - 1) / 2
            rows[model.parameters - 1 - axes + a] = place
    rows[axes] = product((0,) * axes)
    rows[-1] = 1
    return rows[axes], rows


def _bounds(model: Model, photons: Floats, slopes: Floats, variances: Floats, estimator: str) -> CramerRao:
    axes, count = model.axes, model.parameters
    scale = np.ones((*photons.shape, count))
    for k in itertools.chain(range(axes), model.width_of_axis):
        if k >= 0:
            scale[..., k] = photons  # of which the other derivatives are independent
    if estimator == "mle":
        covariance = np.linalg.inv(np.einsum("pk,...k,qk->...pq", slopes, 1 / variances, slopes))
    else:
        inverse = np.linalg.inv(slopes @ slopes.T)
        covariance = inverse @ np.einsum("pk,...k,qk->...pq", slopes, variances, slopes) @ inverse
    errors = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1)) / scale
    widths = [errors[..., k] if k >= 0 else np.zeros(photons.shape) for k in model.width_of_axis]
    return CramerRao(errors[..., :axes], errors[..., axes], errors[..., -1], np.stack(widths, -1))
