"""Fit spots of images and of patches."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays.checks import check_frames_of, check_reals
from npsubpix._arrays.library import Array, as_image, beside, is_array, without_booleans
from npsubpix._arrays.options import (
    FARTHEST,
    check_bool,
    check_choice,
    check_count,
    check_lengths,
    check_per_axis,
    check_positive,
)
from npsubpix._arrays.positions import frames_beside, points_beside
from npsubpix._arrays.stacks import check_stack, shape_of_frame
from npsubpix._definitions.fitting import ESTIMATORS, NEIGHBORS, Columns, Fit, box_for
from npsubpix._dispatch.call import call
from npsubpix.camera import Camera, maps_of
from npsubpix.fitting.astigmatism import AstigmaticCurve
from npsubpix.fitting.measured import MeasuredPsf, check_psf
from npsubpix.fitting.models import check_model, widths_of
from npsubpix.results import Fits

__all__ = ["fit_of", "fit_patches", "fit_spots", "lengths_of_box", "run_fits"]

#: Most pixels of a box along an axis.
_LONGEST = 1001


def fit_spots(
    image: Array,
    coords: Array,
    /,
    *,
    model: str = "gaussian",
    width: str | AstigmaticCurve = "free",
    sigma: float | tuple[float, ...] | None = None,
    beta: float | None = None,
    background: str = "constant",
    box: int | tuple[int, ...] | None = None,
    estimator: str = "auto",
    camera: Camera | None = None,
    error: float | Array | None = None,
    neighbors: str = "ignore",
    mask: Array | None = None,
    frame: Array | None = None,
    frame_axis: int | None = None,
    max_shift: float = 1.5,
    n_iters: int = 50,
    covariance: bool = False,
    psf: Array | None = None,
    oversampling: float | tuple[float, ...] = 1,
) -> Fits:
    """Fit a model to each spot of an image: position, flux, background and width, each with its standard error.

    Parameters
    ----------
    image : array of two or three dimensions, or three or four with `frame_axis`
        Any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    coords : array of shape (N, ndim), or a table with positions, such as Peaks
        Positions at which fits begin, in pixels, (y, x) or (z, y, x). A table also supplies `frame`.
    model : {"gaussian", "moffat", "psf"}, default "gaussian"
        ``"gaussian"``: a Gaussian, integrated over each pixel. ``"moffat"``: a Moffat function [2]_, integrated over
        each pixel, for images with the wings of stars; ``(1 + r**2 / alpha**2)**-beta``. ``"psf"``: `psf`, which also
        implies it.
    width : {"free", "fixed", "elliptical", "rotated"} or AstigmaticCurve, default "free"
        ``"free"``: one width is fitted, in volumes one along z and one for y and x. ``"fixed"``: `sigma` is the width.
        ``"elliptical"``: a width per axis is fitted. ``"rotated"``, in images: the widths along a major and a minor
        axis, up to ten to one, and the angle of the major axis. A curve, in images: z is fitted, and the widths along
        y and x are those of the curve at z. A Moffat function is round, ``"free"`` or ``"fixed"``.
    sigma : number above 0, or one per axis, optional
        Standard deviation of a spot in pixels: its fixed width, or that with which fits begin. By default each spot
        begins with the width of its moments. Of a Moffat function it is the full width at half maximum over 2.3548,
        as for a Gaussian.
    beta : number above 1, optional
        Exponent of a Moffat function, which is fitted by default, between 1.25 and 100.
    background : {"constant", "plane"}, default "constant"
        ``"plane"``: the background of a box also has a slope along each axis.
    box : odd int, or one per axis, optional
        Length of the box of pixels around a spot: by default the odd number nearest to ``6 * sigma + 1``, but not
        below 5; 9 if `sigma` is not known.
    estimator : {"auto", "mle", "wls", "lsq"}, default "auto"
        ``"mle"``: maximum likelihood for Poisson noise and the read noise of `camera` [1]_. ``"wls"``: least squares,
        weighted by `error`. ``"lsq"``: least squares; standard errors come from the residuals, and hold where noise
        grows with the signal too. ``"auto"``: ``"wls"`` with `error`, else ``"mle"`` with `camera`, else ``"lsq"``.
    camera : Camera, optional
        Calibration of the camera. With one, fluxes and backgrounds are in electrons. Its maps have the shape of a
        frame.
    error : number or array of the shape of the image or of one frame, optional
        Standard deviation of the noise, in units of the image.
    neighbors : {"ignore", "fit"}, default "ignore"
        ``"ignore"``: each spot is fitted as if there were no others. ``"fit"``: spots that reach each other's boxes are
        fitted together, each on the background of its own box, and errors are those of the joint fit. All spots have
        to be among `coords`.
    mask : bool array of the shape of the image or of one frame, optional
        True for pixels to ignore. The mask of a ``numpy.ma`` array or of an astropy ``CCDData`` is joined with it.
    frame : array of ints of shape (N,), optional
        Image of each position in a stack. Required with `frame_axis`, unless `coords` is a table that has frames.
    frame_axis : int, optional
        Axis of a stack along which images are independent.
    max_shift : float, default 1.5
        Greatest distance of a position from its start, in pixels on any axis.
    n_iters : int, default 50
        Greatest number of iterations.
    covariance : bool, default False
        Return the covariance of the parameters of each spot as well.
    psf : array of ndim dimensions, optional
        Measured point spread function, the model of every spot: its shape is fixed, only position, flux and background
        are fitted. A sample is the share of the flux in a pixel whose centre is as far from the spot as the sample from
        the centre of the array, as in the effective point spread function of [3]_ and of photutils; it needs no further
        integration over the pixel. Lengths are odd, the centre is sample ``(n - 1) / 2``, and samples are divided by
        ``psf.sum() / oversampling**ndim``, so that the flux is that of all pixels. Between samples it is their cubic
        spline; outside the array it is 0. `build_psf` measures one.
    oversampling : number of at least 1, or one per axis, default 1
        Samples of `psf` per pixel.

    Returns
    -------
    Fits
        One row per position, in the order of `coords`. A spot that cannot be fitted keeps the position at which it
        started, has NaN in all other columns, and a flag that gives the reason.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or the image does not hold real numbers.
    ValueError
        If shapes do not match, or a number is out of range.

    See Also
    --------
    fit_patches : Fit spots that have been cut out.
    find_peaks : Find the positions at which fits begin.
    cramer_rao : The standard errors that can be reached.

    Notes
    -----
    Parameters are found by Fisher scoring; for least squares this is the method of Gauss and Newton, which in images
    is followed by Newton's own, with second derivatives, for Gaussians along the axes. Iterations end when the squared
    Newton decrement, gradient times inverse information times gradient, is below 1e-5, or will be after the last step
    if it falls as it did: what is left is then about 0.003 standard errors. For least squares the limit is
    1e-12 with an `error`, and 1e-14 without one.
    Standard errors of ``"mle"`` and ``"wls"`` are those of the inverse of the Fisher information. Those of ``"lsq"``
    assume that the variance of a pixel is a linear function of the signal in it, which is fitted to the squared
    residuals of the box.

    A likelihood is that of electrons plus read variance, which is nearly Poisson distributed [1]_. A pixel of less
    than zero after this sum is used as it is, since raising it to zero would bias the background, and flagged
    ``NEGATIVE_PIXELS``.

    Computations are in float64, in coordinates of the box.

    References
    ----------
    .. [1] F. Huang et al., "Video-rate nanoscopy using sCMOS camera-specific single-molecule localization
       algorithms", Nature Methods 10, 653-658, 2013
    .. [2] I. Trujillo et al., "The effects of seeing on Sérsic profiles - II. The Moffat PSF", Monthly Notices of the
       Royal Astronomical Society 328, 977-985, 2001
    .. [3] J. Anderson and I. R. King, "Toward high-precision astrometry with WFPC2. I. Deriving an accurate
       point-spread function", Publications of the Astronomical Society of the Pacific 112, 1360-1382, 2000

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> positions = np.array([[8.3, 9.1], [20.4, 30.7]])
    >>> image = npsubpix.render_spots(positions, (30, 40), std=1.3, amplitude=2000, integrate=True)
    >>> counts = 100 + np.random.default_rng(1).poisson(image + 5.0)
    >>> peaks = npsubpix.find_peaks(counts, threshold_abs=160)
    >>> fits = npsubpix.fit_spots(counts, peaks, camera=npsubpix.Camera(offset=100))
    >>> fits.coords.round(2)
    array([[20.46, 30.67],
           [ 8.27,  9.15]])
    >>> fits.coords_std.round(3)
    array([[0.033, 0.033],
           [0.034, 0.034]])
    """
    x, mask = as_image(image, mask, frame_axis=frame_axis)
    x = without_booleans(x)
    ndim = check_stack(x, frame_axis)
    points = points_beside(coords, x, ndim)
    frames = frames_beside(coords, frame, x, frame_axis, points.shape[0])
    fit, measured = fit_of(
        ndim, shape_of_frame(x, frame_axis), model=model, width=width, sigma=sigma, beta=beta, background=background,
        box=box, estimator=estimator, camera=camera, error=error, neighbors=neighbors, max_shift=max_shift,
        n_iters=n_iters, covariance=covariance, psf=psf, oversampling=oversampling,
    )  # fmt: skip
    return run_fits(x, points, frames, mask, error, camera, measured, fit, frame_axis, check_frames_of(coords))


def fit_patches(
    patches: Array,
    /,
    *,
    model: str = "gaussian",
    width: str | AstigmaticCurve = "free",
    sigma: float | tuple[float, ...] | None = None,
    beta: float | None = None,
    background: str = "constant",
    estimator: str = "auto",
    camera: Camera | None = None,
    error: float | Array | None = None,
    mask: Array | None = None,
    n_iters: int = 50,
    covariance: bool = False,
    psf: Array | None = None,
    oversampling: float | tuple[float, ...] = 1,
) -> Fits:
    """Fit a model to the spot in each of many patches.

    Parameters
    ----------
    patches : array of shape (N, h, w) or (N, d, h, w)
        Boxes of pixels, each with one spot. Any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    model : {"gaussian", "moffat", "psf"}, default "gaussian"
        The model, see `fit_spots`.
    width : {"free", "fixed", "elliptical", "rotated"} or AstigmaticCurve, default "free"
        Which widths are fitted.
    sigma : number above 0, or one per axis, optional
        Standard deviation of a spot in pixels: its fixed width, or that with which fits begin.
    beta : number above 1, optional
        Exponent of a Moffat function, which is fitted by default.
    background : {"constant", "plane"}, default "constant"
        ``"plane"``: the background of a patch also has a slope along each axis.
    estimator : {"auto", "mle", "wls", "lsq"}, default "auto"
        The estimator.
    camera : Camera, optional
        Calibration of the camera. Its maps have the shape of the patches, or of one patch.
    error : number or array of the shape of the patches or of one patch, optional
        Standard deviation of the noise, in units of the patches.
    mask : bool array of the shape of the patches or of one patch, optional
        True for pixels to ignore.
    n_iters : int, default 50
        Greatest number of iterations.
    covariance : bool, default False
        Return the covariance of the parameters of each spot as well.
    psf : array of ndim dimensions, optional
        Measured point spread function, see `fit_spots`.
    oversampling : number of at least 1, or one per axis, default 1
        Samples of `psf` per pixel.

    Returns
    -------
    Fits
        One row per patch. Positions are in pixels of the patch, whose first pixel has its centre at 0. A spot that
        cannot be fitted has the position of the centre of its patch.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or the patches do not hold real numbers.
    ValueError
        If shapes do not match, or a number is out of range.

    See Also
    --------
    fit_spots : Fit spots of an image.

    Notes
    -----
    Fits begin at the centroid of the pixels above the mean of the border of a patch.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> patch = npsubpix.render_spots([[3.2, 2.9]], (7, 7), std=1.1, amplitude=1000, integrate=True) + 2
    >>> fits = npsubpix.fit_patches(patch[None], camera=npsubpix.Camera())
    >>> fits.coords.round(3), fits.flux.round(), fits.sigma.round(3)
    (array([[3.2, 2.9]]), array([1000.]), array([1.1]))
    """
    x, mask = as_image(patches, mask, "patches", frame_axis=0)
    check_reals(without_booleans(x)[:0], "patches")
    x = without_booleans(x)
    if x.ndim not in (3, 4):
        raise ValueError(f"patches must have shape (N, h, w) or (N, d, h, w), got shape {tuple(x.shape)}")
    count, *lengths = (int(n) for n in x.shape)
    ndim = len(lengths)
    if max(lengths) > _LONGEST:
        raise ValueError(f"patches must have at most {_LONGEST} pixels along each axis, got shape {tuple(x.shape)}")
    widths = None if sigma is None else check_lengths(sigma, ndim, "sigma")
    measured = check_psf(psf, oversampling, ndim)
    fit = _fit(
        model, width, widths, beta, background, estimator, camera, error, tuple(lengths), n_iters, ndim, covariance,
        measured,
    )  # fmt: skip
    centres = beside(np.tile((np.array(lengths) - 1) / 2, (count, 1)), x)
    frames = beside(np.arange(count), x)
    fits = run_fits(x, centres, frames, mask, error, camera, measured, fit._replace(whole=True), 0, None)
    return Fits(**{**vars(fits), "frame": None})


def run_fits(
    x: Array, points: Array, frames: Array | None, mask: Array | None, error: float | Array | None,
    camera: Camera | None, psf: MeasuredPsf | None, fit: Fit, frame_axis: int | None, kept: Array | None,
    maps: tuple[Any, ...] | None = None,
) -> Fits:  # fmt: skip
    """Run the operation; `kept` are the frames of a table of spots of a single image, `maps` replace the camera's."""
    samples = None if psf is None else beside(psf.coefficients, x)
    results = call(
        "fit_spots", x, points, frames, mask, error if fit.estimator == "wls" else None,
        *(maps_of(camera, x) if maps is None else maps), samples,
        frame_axis=frame_axis, fit=fit,
    )  # fmt: skip
    count = len(Columns._fields)
    columns, (n_iters, indices, flags, own_frames) = Columns(*results[:count]), results[count:]
    return Fits(
        **columns._asdict(),
        n_iters=n_iters,
        indices=indices,
        flags=flags,
        frame=kept if frame_axis is None else own_frames,
        image_shape=shape_of_frame(x, frame_axis),
        flux_unit=None if camera is None else "electron",
    )


def fit_of(
    ndim: int, shape: tuple[int, ...], *, camera: Any, error: Any, max_shift: Any, n_iters: Any,
    model: Any = "gaussian", width: Any = "free", sigma: Any = None, beta: Any = None, background: Any = "constant",
    box: Any = None, estimator: Any = "auto", neighbors: Any = "ignore", covariance: Any = False, psf: Any = None,
    oversampling: Any = 1,
) -> tuple[Fit, MeasuredPsf | None]:  # fmt: skip
    """Require the options of `fit_spots` for images of a shape; return the fit, and the samples of a measured model."""
    check_choice(neighbors, "neighbors", NEIGHBORS)
    widths = None if sigma is None else check_lengths(sigma, ndim, "sigma")
    measured = check_psf(psf, oversampling, ndim)
    lengths = lengths_of_box(ndim, shape, box=box, width=width, sigma=sigma, psf=psf, oversampling=oversampling)
    fit = _fit(
        model, width, widths, beta, background, estimator, camera, error, lengths, n_iters, ndim, covariance, measured
    )
    shift = min(check_positive(max_shift, "max_shift"), float(FARTHEST))
    return fit._replace(max_shift=shift, together=neighbors == "fit"), measured


def _fit(
    model: Any, width: Any, sigma: tuple[float, ...] | None, beta: Any, background: Any, estimator: Any, camera: Any,
    error: Any, box: tuple[int, ...], n_iters: Any, ndim: int, covariance: Any, psf: MeasuredPsf | None,
) -> Fit:  # fmt: skip
    """Require a model, an estimator and their options."""
    shape, numbers = check_model(model, width, sigma, beta, background, ndim, psf)
    check_choice(estimator, "estimator", ("auto", *ESTIMATORS))
    if camera is not None and not isinstance(camera, Camera):
        raise TypeError(f"camera must be a Camera or None, got {camera!r}")
    if estimator == "auto":
        estimator = "wls" if error is not None else "lsq" if camera is None else "mle"
    if estimator == "wls" and error is None:
        raise ValueError("error must be given with estimator='wls': weights are its inverse squares")
    if estimator != "wls" and error is not None:
        raise ValueError(f"error is for estimator='wls', got estimator={estimator!r}")
    if error is not None and not is_array(error) and not isinstance(error, (list, tuple)):
        check_positive(error, "error")
    return Fit(
        model=shape,
        estimator=estimator,
        sigma=psf.widths if psf is not None else (0.0,) * ndim if sigma is None else sigma,
        box=box,
        n_iters=check_count(n_iters, "n_iters", 1),
        max_shift=float(FARTHEST),
        excess=camera.excess if camera is not None and estimator == "mle" else 1.0,
        covariance=check_bool(covariance, "covariance"),
        numbers=numbers,
    )


def lengths_of_box(
    ndim: int, shape: tuple[int, ...], *, box: Any = None, width: Any = "free", sigma: Any = None, psf: Any = None,
    oversampling: Any = 1, **_: Any,
) -> tuple[int, ...]:  # fmt: skip
    """Return the lengths of the box in which `fit_spots` fits with these options, in images of a shape."""
    if box is not None:
        return _box(box, ndim, shape)
    widths = None if sigma is None else check_lengths(sigma, ndim, "sigma")
    return _box_of(widths_of(width, widths, check_psf(psf, oversampling, ndim)), ndim)


def _box_of(sigma: tuple[float, ...] | None, ndim: int) -> tuple[int, ...]:
    """Return the default lengths of a box; require a width for which it can be fitted."""
    lengths = box_for(sigma, ndim)
    if max(lengths) > _LONGEST:
        raise ValueError(f"sigma must be at most {_LONGEST // 6} if box is not given, got {sigma!r}")
    return lengths


def _box(box: Any, ndim: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Require odd lengths of a box that are not above those of the image."""
    lengths = check_per_axis(box, ndim, "box", 3, _LONGEST)
    if any(length % 2 == 0 for length in lengths):
        raise ValueError(f"box must be odd, so that it has a pixel at its centre, got {box!r}")
    if any(length > n for length, n in zip(lengths, shape, strict=True)):
        raise ValueError(f"box must not be larger than the image, of shape {shape}, got {box!r}")
    return lengths
