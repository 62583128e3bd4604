"""Refine positions to a fraction of a pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from npsubpix._arrays.checks import check_frames_of
from npsubpix._arrays.library import Array, as_image, beside, without_booleans
from npsubpix._arrays.options import FARTHEST, check_choice, check_count, check_lengths, check_positive, remembered
from npsubpix._arrays.positions import frames_beside, points_beside
from npsubpix._arrays.stacks import check_stack, shape_of_frame
from npsubpix._definitions.peaks import PEAK_MODES
from npsubpix._definitions.refinement import (
    ITERATIONS,
    NO_RADIUS,
    PLANAR,
    REFINEMENTS,
    WITH_RADIUS,
    Refinement,
    box_of_radius,
)
from npsubpix._dispatch.call import call
from npsubpix.camera import Camera, noise_of_pixels
from npsubpix.results import Peaks

__all__ = ["check_refinement", "refine_peaks", "with_fit"]


_USUAL_RADIUS = 3.0
_LARGEST_RADIUS = 1000

#: Options of `fit_spots` that refinement takes by name, and those that are arguments of its own.
_OF_FITS = (
    "model", "width", "sigma", "beta", "background", "box", "estimator", "neighbors", "psf", "oversampling",
)  # fmt: skip
_OWN = "camera", "error", "mask", "frame", "frame_axis", "max_shift", "n_iters"


def refine_peaks(
    image: Array,
    coords: Array,
    /,
    *,
    method: str | None = "quadratic",
    n_iters: int | None = None,
    max_shift: float = 1.5,
    radius: float | tuple[float, ...] | None = None,
    mask: Array | None = None,
    mode: str | None = None,
    frame: Array | None = None,
    frame_axis: int | None = None,
    error: float | Array | None = None,
    camera: Camera | None = None,
    fit: Mapping[str, Any] | None = None,
) -> Peaks:
    """Refine positions to a fraction of a pixel.

    Parameters
    ----------
    image : array of two or three dimensions, or three or four with `frame_axis`
        Any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    coords : array of shape (N, ndim), or Peaks
        Positions in pixels, (y, x) or (z, y, x). Each is refined from the nearest pixel. A table of peaks also
        supplies `frame`.
    method : str or None, default "quadratic"
        :doc:`/accuracy` compares the methods.

        - ``"quadratic"``: stationary point of the quadratic with the central differences of the pixel, mixed ones
          included; if it is more than 0.6 pixels away on any axis, the fit is repeated one pixel further in that
          direction [1]_.
        - ``"parabola"``: the same for each axis separately.
        - ``"least_squares"``: the same for the quadratic that fits the 3 × 3 (× 3) pixels best, which has less noise.
        - ``"log_quadratic"``: the same for the logarithm of the signal, which is exact for Gaussians. The signal is
          the difference from the mean of the pixels around the window; each pixel has it as its weight [3]_, and
          pixels on the other side of the background have none.
        - ``"saddle"``: the saddle of the quadratic of ``"least_squares"``, in images only. The fit begins at the
          pixel of the strongest saddle, that of the least determinant of second derivatives, of those within
          `max_shift` and 3 pixels on any axis. An extremum is flagged ``EXTREMUM``. `refine_corners` smooths the
          image first.
        - ``"centroid"``: centroid under a Gaussian window that moves with it [2]_, of standard deviation
          ``radius / 3`` but at least 1 pixel, after subtraction of the mean of the pixels around the window; it has
          converged when it moves by at most 0.001 pixels. Along an axis on which the border cuts the window, a
          Gaussian is fitted to what is seen of it [3]_.
        - ``"phasor"``: phase of the first Fourier coefficient of the box of this radius along each axis [4]_; lines
          far from the middle of the box have less weight than others. The box must lie inside the image. It is
          repeated one pixel further as ``"quadratic"`` is.
        - ``"radial"``: the point nearest to all lines along gradients in the box of this radius [5]_, the centre of
          rings and of spots out of focus. It is repeated, with weights by the distance from the last centre, until it
          moves by at most 0.001 pixels. The border cuts the box.
        - ``"fit"``: `fit_spots`, which also returns fluxes and widths: a Gaussian, integrated over pixels, is fitted
          to the box of this radius, or what `fit` says. With `camera` it is that of maximum likelihood, with `error`
          that of weighted least squares, else that of least squares.
        - None: the pixel itself.
    n_iters : int, optional
        Greatest number of iterations: by default 30 for ``"centroid"`` and ``"radial"``, 50 for ``"fit"``, 10 for
        ``"saddle"``, 5 for the others.
    max_shift : float, default 1.5
        Greatest shift of a position from its pixel, in pixels on any axis.
    radius : float or tuple of floats, optional
        Radius in pixels of the window of ``"centroid"`` and ``"log_quadratic"``, and of the box of ``"phasor"``,
        ``"radial"`` and ``"fit"``, one for all axes or one per axis; by default 3. Three times the standard deviation
        of a spot, but not below 3, gives the least scatter; a smaller radius takes fewer pixels of a neighbour, at
        least two on each side. For ``"radial"``, a ring and its outer slope must lie in the box; radii of axes that
        are in a ratio, as those of flat voxels are, make spheres of ellipsoids. ``"least_squares"`` and ``"saddle"``
        refuse it; ``"quadratic"``, ``"parabola"`` and None do not use it.
    mask : bool array of the shape of the image or of one frame, optional
        True for pixels to ignore. The mask of a ``numpy.ma`` array or of an astropy ``CCDData`` is joined with it.
    mode : {None, "wrap"}, optional
        ``"wrap"``: the image is periodic, as a correlation map is; beyond its border are the pixels of
        the opposite side. Positions are from -0.5 to the length of an axis - 0.5.
    frame : array of ints of shape (N,), optional
        Image of each position in a stack. Required with `frame_axis`, unless `coords` is a table that has frames.
    frame_axis : int, optional
        Axis of a stack along which images are independent.
    error : number above 0 or array of the shape of the image or of one frame, optional
        Standard deviation of the noise of each pixel, in units of the image, that of the photons of the spot included.
        The table then has the standard errors of the positions.
    camera : Camera, optional
        Calibration of the camera, in place of an `error`: the noise of a pixel is that of its electrons and of reading.
    fit : dict, optional
        Options of `fit_spots` for ``"fit"``: ``model``, ``width``, ``sigma``, ``beta``, ``background``, ``box`` in
        place of `radius`, ``estimator``, ``neighbors``, ``psf`` and ``oversampling``.

    Returns
    -------
    Peaks
        One row per position, in the order of `coords`. Peaks of a stack that are refined in a single image keep
        their frames. A position that cannot be measured is set to
        its pixel, with a flag that gives the reason: ``SINGULAR``, ``NOT_CONVERGED``,
        ``AT_BORDER``, ``TOO_FAR``, ``NONFINITE``, ``MASKED``, ``EXTREMUM``. An axis along which its pixel lies at
        the border is not refined, and flagged ``FIXED_Z``, ``FIXED_Y`` or ``FIXED_X``. A position
        outside the image is returned unchanged, with value NaN and ``AT_BORDER``; one that is not
        finite is NaN, with ``NONFINITE``. By ``"fit"``, rows whose errors may be wrong are not `ok`, as those of
        `fit_spots` are not: they have ``POOR_FIT``, ``LOW_SIGNAL``, ``BLENDED`` or ``OUT_OF_RANGE``.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or the image does not hold real numbers.
    ValueError
        If shapes do not match, a number is out of range, or `radius` is passed with a method that refuses it.

    See Also
    --------
    find_peaks : Find peaks and refine their positions.
    refine_corners : Refine the corners of chessboards.
    fit_spots : Fit spots, with standard errors.

    Notes
    -----
    Minima and maxima are refined in the same way, except by ``"fit"``, which flags minima as ``SINGULAR``.
    ``"quadratic"``, ``"parabola"``, ``"least_squares"`` and ``"log_quadratic"`` flag a saddle of the fitted surface as
    ``SADDLE``, and ``"phasor"`` a box that is bright along one axis and dark along another. The value is that of the
    fitted surface, or, for ``"centroid"``, ``"phasor"`` and ``"radial"``, that of the nearest pixel. Computations are
    in float64.

    `mask` rules out a position whose method needs a masked pixel: one of the 3 × 3 (× 3) pixels, of the box, or of the
    window and the pixels around it.

    With `error` or `camera`, the independent noise of pixels is propagated through the method: the variance of a
    position is the sum of the variances of pixels times the squared derivatives of the position with respect to them.
    That is the scatter about the mean of the method, not its bias. It holds up to standard errors of 0.1 pixels for
    methods with a window, and of 0.05 pixels for those of 3 x 3 pixels, which have outliers in more noise, see
    :doc:`/measuring`. Standard errors of ``"fit"`` are those of `fit_spots`: of the Fisher information with `camera` or
    `error`, else from the residuals. A row is NaN where it could not be refined, or the noise of one of its pixels is
    negative or not finite; an axis is NaN along which it was not refined.

    References
    ----------
    .. [1] M. Brown and D. Lowe, "Invariant features from interest point groups", British Machine
       Vision Conference, 2002.
    .. [2] E. Bertin, SExtractor documentation, "Windowed positional parameters" (XWIN, YWIN),
       https://sextractor.readthedocs.io/en/latest/PositionWin.html
    .. [3] H. Guo, "A simple algorithm for fitting a Gaussian function", IEEE Signal Processing
       Magazine 28(5), 2011
    .. [4] K. J. A. Martens et al., "Phasor based single-molecule localization microscopy in 3D (pSMLM-3D)", Journal
       of Chemical Physics 148, 123311, 2018
    .. [5] R. Parthasarathy, "Rapid, accurate particle tracking by calculation of radial symmetry centers", Nature
       Methods 9, 724-726, 2012

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> y, x = np.mgrid[:20, :30]
    >>> image = 100 + 50 * np.exp(-((y - 7.3) ** 2 + (x - 9.6) ** 2) / 2)
    >>> for method in ("quadratic", "least_squares", "log_quadratic", "centroid", "phasor"):
    ...     print(method, npsubpix.refine_peaks(image, [[7, 10]], method=method).coords.round(3))
    quadratic [[7.276 9.62 ]]
    least_squares [[7.284 9.613]]
    log_quadratic [[7.3 9.6]]
    centroid [[7.299 9.6  ]]
    phasor [[7.3 9.6]]

    Standard errors, of noise of standard deviation 1:

    >>> npsubpix.refine_peaks(image, [[7, 10]], error=1).coords_std.round(3)
    array([[0.032, 0.04 ]])
    """
    x, mask = as_image(image, mask, frame_axis=frame_axis)
    x = without_booleans(x)
    ndim = check_stack(x, frame_axis)
    points = points_beside(coords, x, ndim)
    frames = frames_beside(coords, frame, x, frame_axis, points.shape[0])
    refinement = check_refinement(method, "method", n_iters, max_shift, radius, mode, ndim)
    noise, shape = noise_of_pixels(error, camera), shape_of_frame(x, frame_axis)
    refinement, psf = with_fit(refinement, "method", fit, radius, error, camera, shape)
    samples = None if psf is None else beside(psf, x)
    refined, values, indices, flags, own_frames, errors = call(
        "refine_peaks", x, points, frames, mask, *noise, samples, frame_axis=frame_axis, refinement=refinement
    )
    kept = check_frames_of(coords) if frame_axis is None else own_frames
    return Peaks(refined, values, indices, flags, kept, image_shape=shape, coords_std=errors)


@remembered
def check_refinement(
    method: Any, name: str, n_iters: Any, max_shift: Any, radius: Any, mode: Any, ndim: int
) -> Refinement:
    """Require a method of refinement, an argument called `name`, and its options."""
    check_choice(method, name, REFINEMENTS)
    check_choice(mode, "mode", PEAK_MODES)
    if method in PLANAR and ndim > 2:
        raise ValueError(f"{name}={method!r} refines positions in images, and this image has {ndim} dimensions")
    if radius is not None and method in NO_RADIUS:
        have = ", ".join(map(repr, WITH_RADIUS))
        raise ValueError(f"radius is of the methods {have}, and {name}={method!r} has none")
    radii = check_lengths(_USUAL_RADIUS if radius is None else radius, ndim, "radius")
    if not 1 <= min(radii) <= max(radii) <= _LARGEST_RADIUS:
        raise ValueError(f"radius must be between 1 and {_LARGEST_RADIUS} pixels, got {radius!r}")
    return Refinement(
        method=method,
        n_iters=ITERATIONS[method] if n_iters is None else check_count(n_iters, "n_iters", 1),
        max_shift=min(check_positive(max_shift, "max_shift"), float(FARTHEST)),
        radius=radii,
        wrap=mode == "wrap",
    )


def with_fit(
    refinement: Refinement, name: str, options: Any, radius: Any, error: Any, camera: Any, shape: tuple[int, ...]
) -> tuple[Refinement, Any]:
    """Require options of a fit, if the method is one; return the refinement with it, and samples of a measured model.

    `name` is that of the argument that is the method, and `shape` that of an image.
    """
    if refinement.method != "fit":
        if options is not None:
            raise ValueError(f"fit is for {name}='fit', got {name}={refinement.method!r}")
        return refinement, None
    from npsubpix.fitting.spots import fit_of  # as most methods need none of it

    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f"fit must be a dict of options of fit_spots, got {options!r}")
    own = dict(options or {})
    for option in own:
        if option in _OWN:
            raise TypeError(f"fit must not have {option!r}, which is an argument beside it")
        if option not in _OF_FITS:
            raise TypeError(f"fit has no option {option!r}: those of fit_spots are {', '.join(_OF_FITS)}")
    if own.get("box") is not None and radius is not None:
        raise ValueError("radius and the box of fit exclude each other: a box is as long as twice the radius, and 1")
    n_iters, max_shift = refinement.n_iters, refinement.max_shift
    fit, psf = fit_of(len(shape), shape, **own, camera=camera, error=error, n_iters=n_iters, max_shift=max_shift)
    if radius is not None or not own:
        fit = fit._replace(box=box_of_radius(refinement.radius))
    share, samples = 0.0, None
    if psf is not None:
        middle = (1,) * len(shape)
        share, samples = float(psf.shares(middle, (0.0,) * len(shape))[0][0]), psf.coefficients
    # The excess of noise is in the electrons per count of refinements
    fit = fit._replace(excess=1.0)
    return refinement._replace(model=fit, calibrated=camera is not None, share=share), samples
