"""Measure spots without a model: brightness in apertures, and shape."""

from __future__ import annotations

from typing import Any

from npsubpix._arrays.checks import check_frames_of
from npsubpix._arrays.library import Array, as_image, is_array, without_booleans
from npsubpix._arrays.options import check_choice, check_finite, check_lengths, check_positive
from npsubpix._arrays.positions import frames_beside, points_beside
from npsubpix._arrays.stacks import check_stack, shape_of_frame
from npsubpix._definitions.photometry import COLUMNS, METHODS, default_annulus
from npsubpix._dispatch.call import call
from npsubpix.camera import Camera, maps_of
from npsubpix.results import Background, Measurements

__all__ = ["measure_spots"]

_LARGEST_RADIUS = 1000


def measure_spots(
    image: Array,
    coords: Array,
    /,
    radius: float,
    *,
    annulus: tuple[float, float] | None = None,
    method: str = "mean",
    background: float | Array | Background | None = None,
    error: float | Array | None = None,
    camera: Camera | None = None,
    mask: Array | None = None,
    frame: Array | None = None,
    frame_axis: int | None = None,
) -> Measurements:
    r"""Measure spots without a model: brightness in circular apertures, local background, width and ellipticity.

    The brightness is summed over a circle around each position, in which pixels that the circle cuts count by the
    share that is inside, above a background that is measured in an annulus around it.

    Parameters
    ----------
    image : array of two dimensions, or three with `frame_axis`
        Any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    coords : array of shape (N, 2), or Peaks
        Positions (y, x) in pixels, which are kept. A table also supplies `frame`.
    radius : float
        Radius of the aperture in pixels, at most 1000. A circle of three standard deviations of a Gaussian spot holds
        98.9 % of it; one of 1.6 gives faint spots the best signal to noise ratio, and holds 72 %.
    annulus : tuple of two floats, optional
        Inner and outer radius, in pixels, of the annulus of the background: pixels whose centres lie in it count. By
        default 1.5 and 2.5 times the radius of the aperture, and at least 2 pixels apart.
    method : {"mean", "median"}, default "mean"
        Estimator of the background from the pixels of the annulus that are not clipped. The mean has 0.8 times the
        scatter of the median, and holds for few photons: the median of counts of mean 0.3 is too low by so much that
        the flux of a spot of 100 photons is 1.5 standard errors too high, and at a mean of 2 by 0.6. The median is the
        less biased where faint spots lie in the annulus.
    background : number, array of the shape of the image or of one frame, or Background, optional
        Background, if it is known. A `Background` from `local_background` also supplies the noise of the background,
        unless `error` or `camera` is given.
    error : number above 0 or array of the shape of the image or of one frame, optional
        Standard deviation of the noise of each pixel, that of the photons of the spot included. By default, the noise
        of the annulus, and the noise of the light of spots that their residuals show; see Notes.
    camera : Camera, optional
        Calibration of the camera, in place of an `error`. The image is converted to electrons, the unit of all results
        and of ``background`` then; the noise of a pixel is that of its electrons and of reading.
    mask : bool array of the shape of the image or of one frame, optional
        True for pixels to ignore. The mask of a ``numpy.ma`` array or of an astropy ``CCDData`` is joined with it.
    frame : array of ints of shape (N,), optional
        Image of each position in a stack. Required with `frame_axis`, unless `coords` is a table that has frames.
    frame_axis : int, optional
        Axis of a stack along which images are independent.

    Returns
    -------
    Measurements
        One row per position, in the order of `coords`. Pixels that are masked or not finite do not count, and the row
        is flagged ``MASKED`` or ``NONFINITE``; where the border of the image cuts the aperture, the part inside
        counts, with ``PARTIAL_WINDOW``. A row whose position is outside the image or not finite is NaN, flagged
        ``OUTSIDE`` or ``NONFINITE``. `Measurements.ok` is False for all of these.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or the image does not hold real numbers.
    ValueError
        If shapes do not match, or a number is out of range.

    See Also
    --------
    find_peaks : Find spots.
    local_background : Background and noise around each pixel.
    Measurements : All columns, with their definitions.

    Notes
    -----
    With the share :math:`w` of a pixel inside the circle, of area :math:`A = \sum w`, and the standard deviation
    :math:`\sigma` of its noise, the variance of the flux is

    .. math::
        \sum w^2 \sigma^2 + A^2 \sigma_b^2 \, c / n,

    where :math:`n` pixels of noise :math:`\sigma_b` determine the background of the annulus, and c is 1 for their mean
    and π/2 for their median. The second term is 0 if the background is known.

    Without `error` or `camera`, the variance of a pixel is that of the background plus a multiple of the signal above
    it. The multiple, common to all spots of a call, comes from residuals: a series of Hermite functions [3]_,
    Gaussians of other widths and a constant are fitted to each spot, whatever its shape, and the squares of residuals
    that the noise of the background does not explain are compared with the signal. Spots which the series does not
    describe, as those with a neighbour, are left out; light of a shape that it does not describe at all makes standard
    errors too large. Measure many spots at once: of a single one, errors are good to about 10 %. If no spot can be
    fitted, bright ones have the standard error NaN and the flag ``NO_ERROR``.

    In simulations of 50 to 100,000 photons on a background of 0.1 to 100 per pixel, and apertures of 1.6 to 3.5
    standard deviations, (flux − truth) / standard error has a standard deviation from 0.89 to 1.13 and a mean within
    0.13, with `camera` and without; with two neighbours in each annulus, a mean down to -0.4.

    Pixels of the annulus are clipped at three standard deviations from their median until none is, so that neighbours
    do not count. The upper limit is two electrons higher with a `camera`, and six with an EM gain; without a camera,
    two steps between the values of pixels, where several share the median. Counts of few photons are skew: without
    that, the mean would be too low by a quarter at 0.3 photons per pixel.

    ``mass``, ``size``, ``ecc``, ``signal``, ``raw_mass`` and ``ep`` are those of trackpy [1]_, for the mask of its
    ``diameter=2 * radius + 1``, of an image from which the background is subtracted; ``ep`` is that of [2]_.
    ``aperture_sum`` is that of photutils with ``method="exact"``.

    Second moments weight noise by the squared distance: use a small aperture for faint spots. A pixel adds 1/12 to the
    variances of a spot, which is not subtracted.

    References
    ----------
    .. [1] D. Allan et al., trackpy, https://soft-matter.github.io/trackpy/
    .. [2] T. Savin and P. Doyle, "Static and dynamic errors in particle tracking microrheology", Biophysical Journal
       88 (2005), 623-638.
    .. [3] A. Refregier, "Shapelets - I. A method for image analysis", Monthly Notices of the Royal Astronomical
       Society 338 (2003), 35-47.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> spots = np.array([[12.3, 14.6], [30.2, 20.9]])
    >>> image = 10 + npsubpix.render_spots(spots, (45, 40), std=1.5, amplitude=[2000, 500], integrate=True)
    >>> image += np.random.default_rng(0).normal(0, 2, image.shape)
    >>> measured = npsubpix.measure_spots(image, npsubpix.find_peaks(image, threshold_abs=25), radius=4.5)
    >>> measured.flux.round()
    array([1958.,  478.])
    >>> measured.flux_std.round(1)
    array([18.1, 18.2])
    >>> measured.width.round(2)
    array([1.49, 1.53])
    """
    x, mask = as_image(image, mask, frame_axis=frame_axis)
    x = without_booleans(x)
    if check_stack(x, frame_axis) != 2:
        hint = ": pass frame_axis for the axis of frames" if frame_axis is None else ""
        raise ValueError(
            f"image must have 2 dimensions besides frames, as apertures are circles, got shape {tuple(x.shape)}{hint}"
        )
    points = points_beside(coords, x, 2)
    frames = frames_beside(coords, frame, x, frame_axis, points.shape[0])
    reach = check_positive(radius, "radius")
    if reach > _LARGEST_RADIUS:
        raise ValueError(f"radius must be at most {_LARGEST_RADIUS} pixels, got {radius!r}")
    check_choice(method, "method", METHODS)
    if camera is not None:
        if not isinstance(camera, Camera):
            raise TypeError(f"camera must be a Camera or None, got {camera!r}")
        if error is not None:
            raise ValueError("error and camera exclude each other: a camera says what the noise of each pixel is")
    own_noise = camera is None and error is None
    if isinstance(background, Background):
        error = background.noise if own_noise else error
        background = background.level
    results = call(
        "measure_spots",
        x,
        points,
        frames,
        mask,
        background,
        _checked_error(error),
        *maps_of(camera, x),
        frame_axis=frame_axis,
        radius=reach,
        annulus=_annulus(annulus, reach),
        method=method,
        excess=0.0 if camera is None else camera.excess,
        own_noise=own_noise,
    )
    columns = dict(zip(("coords", *COLUMNS, "flags", "frame"), results, strict=True))
    if frame_axis is None:
        columns["frame"] = check_frames_of(coords)
    unit = None if camera is None else "electron"
    return Measurements(**columns, image_shape=shape_of_frame(x, frame_axis), flux_unit=unit)


def _checked_error(error: Any) -> Any:
    """Require a positive number, or an array, of which kernels flag what is not one."""
    if error is None or is_array(error) or not isinstance(error, (int, float)):
        return error
    return check_finite(check_positive(error, "error"), "error")


def _annulus(annulus: Any, radius: float) -> tuple[float, float]:
    """Require the radii of an annulus."""
    if annulus is None:
        return default_annulus(radius)
    inner, outer = _pair(annulus)
    if not inner < outer <= 3 * _LARGEST_RADIUS:
        raise ValueError(
            f"annulus must be an inner radius and a greater outer one of at most {3 * _LARGEST_RADIUS}, got {annulus!r}"
        )
    return inner, outer


def _pair(annulus: Any) -> tuple[float, ...]:
    if not isinstance(annulus, (tuple, list)):
        raise TypeError(f"annulus must be a tuple of an inner and an outer radius, got {annulus!r}")
    return check_lengths(annulus, 2, "annulus")
