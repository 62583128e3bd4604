"""Peaks as lists: find them, and refine their positions to a fraction of a pixel."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from npsubpix._arrays.library import Array, as_array, as_image, beside, without_booleans
from npsubpix._arrays.options import (
    check_bool,
    check_choice,
    check_count,
    check_finite,
    check_lengths,
    check_per_axis,
    remembered,
)
from npsubpix._arrays.stacks import check_stack, shape_of_frame
from npsubpix._definitions.nms import nms_reach
from npsubpix._definitions.peaks import DUPLICATES, PLATEAUS, PeakSearch
from npsubpix._definitions.refinement import Refinement
from npsubpix._detection import detected
from npsubpix._dispatch.call import call
from npsubpix.background import local_background
from npsubpix.camera import Camera, noise_of_pixels
from npsubpix.refinement import check_refinement, with_fit
from npsubpix.results import Background, Peaks

__all__ = ["check_joint", "check_search", "find_peaks"]


def find_peaks(
    image: Array,
    /,
    *,
    size: int | tuple[int, ...] = 3,
    min_distance: float | tuple[float, ...] | None = None,
    threshold_abs: float | None = None,
    threshold_rel: float | None = None,
    background: float | Array | Background | None = None,
    sigma: float | Array | None = None,
    exclude_border: bool | int | tuple[int, ...] = True,
    num_peaks: int | None = None,
    plateau: str = "refine",
    minima: bool = False,
    mask: Array | None = None,
    refine: str | None = "quadratic",
    n_iters: int | None = None,
    max_shift: float = 1.5,
    radius: float | tuple[float, ...] | None = None,
    duplicates: str = "merge",
    detect: str | Array | Callable[[Array], Array] | None = None,
    detect_sigma: float | tuple[float, ...] | None = None,
    mode: str | None = None,
    frame_axis: int | None = None,
    error: float | Array | None = None,
    camera: Camera | None = None,
    fit: Mapping[str, Any] | None = None,
) -> Peaks:
    """Find the peaks of an image, and their positions to a fraction of a pixel.

    A peak is a pixel greater than all others in its window, or a plateau of equal pixels that is. Of two
    peaks closer than `min_distance` the stronger one is kept. The peaks are then refined as by
    `refine_peaks`, and those that end at one place are merged.

    Parameters
    ----------
    image : array of two or three dimensions, or three or four with `frame_axis`
        Any integer or float dtype: NumPy, torch, CuPy, or JAX on the host. The image is not
        copied if it is contiguous. A pixel with NaN in its window is not a peak.
    size : int or tuple of ints, default 3
        Length of the window in pixels, one for all axes or one per axis. A window of even length k
        extends ``(k - 1) // 2`` pixels before its centre and ``k // 2`` pixels after it. A pixel that is alone
        in its window, as with ``size=1``, is a peak unless it has the least value of its dtype: 0 of unsigned
        integers, -inf of floats.
    min_distance : float or tuple of floats, optional
        Least Euclidean distance in pixels between the pixels of two peaks of a frame. Peaks are
        selected greedily, the strongest first; of equally strong ones, the first in memory order.
        Give one number per axis for anisotropic pixels: distances are then measured in those
        units. Maxima and minima are filtered independently.
    threshold_abs : float, optional
        Report only peaks above this value; with ``background`` or `sigma`, only those with
        ``value - background > threshold_abs * sigma``.
    threshold_rel : float, optional
        Report only peaks above this fraction of the greatest value of their frame; with ``background``, only those
        whose height above it exceeds this fraction of the greatest height of their frame.
    background : number, array of the shape of the image or of one frame, or Background, optional
        Background; 0 if only `sigma` is given. A `Background` from `local_background` also supplies
        `sigma`. Pixels at which it is NaN are not peaks.
    sigma : number above 0 or array of the shape of the image or of one frame, optional
        Standard deviation of the noise; 1 if only ``background`` is given. Where it is 0, any value above
        the background exceeds any threshold; pixels at which it is negative or NaN are not peaks. A warning
        says so if no pixel is left.
    exclude_border : bool, int or tuple of ints, default True
        True: the whole window of a peak must lie inside the image. False: windows are clipped at
        the border. A number, one for all axes or one per axis: peaks lie at least this many pixels
        from the border, and windows are clipped as with False. If a higher peak than all others lies in
        the border that is left out, the table says so when it is shown: see the ``border`` of `Peaks`.
    num_peaks : int, optional
        Greatest number of peaks per frame; the strongest are kept.
    plateau : {"refine", "drop", "first", "centroid"}, default "refine"
        Treatment of plateaus, adjacent pixels that share the greatest value, as the brightest pixels of
        many spots do in images of 8 bits, and of saturated spots. "refine" reports each once, refined
        from the pixel nearest to its centre; if it cannot be refined, it is set to its centre. "first"
        begins at the first pixel in memory order, "centroid" reports the centroid of the pixels, which
        is not refined further, and "drop" reports none. Reported plateaus are flagged ``PLATEAU``. One
        of more than two pixels is too wide for methods that take 3 × 3 (× 3) pixels, and one that does
        not fit into the window for the others: then it is flagged ``SINGULAR``. So are two equal pixels for the
        former where the image is known to be clipped at their value: the greatest of an integer dtype, or that
        of the highest peak of the frame if this is a plateau of more than two pixels.
    minima : bool, default False
        Find minima too, in the same pass. They are the maxima of the negated image, subject to the
        same thresholds, and are flagged ``MINIMUM``. The only pixel of a window is both.
    mask : bool array of the shape of the image or of one frame, optional
        True for pixels to ignore: they are not peaks, and do not suppress others. A peak whose
        refinement needs one of them keeps the position of its pixel and is flagged ``MASKED``. The mask of a
        ``numpy.ma`` array or of an astropy ``CCDData`` is joined with it.
    refine : str or None, default "quadratic"
        Method of refinement, see `refine_peaks`: ``"quadratic"``, ``"parabola"``, ``"least_squares"``,
        ``"log_quadratic"``, ``"saddle"``, ``"centroid"``, ``"phasor"``, ``"radial"``, ``"fit"`` or None. ``"saddle"``
        needs `detect`, as maxima are no saddles.
    n_iters : int, optional
        Greatest number of iterations of refinement: by default 30 for ``"centroid"`` and ``"radial"``, 50 for
        ``"fit"``, 10 for ``"saddle"``, 5 for the others.
    max_shift : float, default 1.5
        Greatest shift of a position from the pixel of its peak, in pixels on any axis.
    radius : float or tuple of floats, optional
        Radius in pixels of the window of ``"centroid"`` and ``"log_quadratic"``, and of the box of ``"phasor"``,
        ``"radial"`` and ``"fit"``, one for all axes or one per axis; by default 3. Three times the standard deviation
        of a spot, but not below 3. ``"least_squares"`` and ``"saddle"`` refuse it, and the others do not use it.
    duplicates : {"merge", "flag"}, default "merge"
        Treatment of peaks that refinement moves to within half a pixel of a stronger one, as those of
        noise on a wide spot. "merge" reports the strongest alone; "flag" all, with the flag
        ``DUPLICATE``. Positions that could not be refined are not compared.
    detect : {None, "dog", "log", "gaussian"}, array of the shape of the image, or callable, optional
        Image in which peaks are sought, while they are refined, and their values measured, in `image` itself.
        ``"gaussian"``: the image smoothed by a Gaussian of standard deviation `detect_sigma`, the matched filter of
        Gaussian spots. ``"dog"``, ``"log"``: `difference_of_gaussians`, or the negative `laplacian_of_gaussian`, which
        suppress slow changes of the background too. A function is called with the image, or with each frame of a stack,
        and returns an array of its shape. Unless ``background`` or `sigma` is given, background and noise are those of
        this image, measured by `local_background`: `threshold_abs` is then in units of its noise, above its background.
        Masked pixels, and those that are not finite, are filled with the local background first.
    detect_sigma : float or tuple of floats, optional
        Standard deviation of the named filters in pixels, for all axes or per axis: about that of the spots.
    mode : {None, "wrap"}, optional
        ``"wrap"``: the image is periodic, as a correlation map is. Windows, distances and refinement
        continue on the opposite side of the image, and `exclude_border` has no meaning. Positions
        are from -0.5 to the length of an axis - 0.5. ``plateau="first"`` begins at the pixel nearest to the
        centre, as which pixel is the first depends on where the image is cut. Of equal maxima in one
        window all are reported, where in other images the first is.
    frame_axis : int, optional
        Axis of a stack along which images are independent. Peaks then have a frame.
    error : number above 0 or array of the shape of the image or of one frame, optional
        Standard deviation of the noise of each pixel, that of the photons of the peak included. The table then has the
        standard errors of the positions, see `refine_peaks`. By default it is `sigma`, if that is the noise of this
        image, not of one made with `detect`. Peaks are not chosen by it.
    camera : Camera, optional
        Calibration of the camera, in place of an `error`.
    fit : dict, optional
        Options of `fit_spots` for ``refine="fit"``, see `refine_peaks`; with ``neighbors="fit"``, all peaks of a frame
        are fitted together, and `num_peaks` must be None.

    Returns
    -------
    Peaks
        One row per peak, frame by frame, the strongest first. Coordinates are in pixels, (y, x) or
        (z, y, x). Without peaks, the table is empty. Its arrays are of the library of the image.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or the image does not hold real numbers.
    ValueError
        If the image does not have two or three dimensions, or a number is out of range.

    See Also
    --------
    refine_peaks : Refine known positions.
    local_background : Background and noise around each pixel.
    nms2d : Maxima as a mask.

    Notes
    -----
    A peak must exceed the thresholds, as in ``skimage.feature.peak_local_max``. The search needs a byte per
    pixel besides the result, and a copy of the image if there is a mask. On a GPU the host waits for the number
    of peaks, once more with `min_distance`, once more for plateaus, and once more to merge duplicates.

    Peaks are ranked by their values; with ``background`` or `sigma`, by ``(value - background) / sigma`` in float64.
    Both are those of the pixel of the peak, at which refinement begins. The choice of maxima, their
    refinement and `values` do not depend on background and noise.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> y, x = np.mgrid[:20, :30]
    >>> image = 90 * np.exp(-((y - 7.3) ** 2 + (x - 9.6) ** 2) / 8)
    >>> image += 60 * np.exp(-((y - 12.1) ** 2 + (x - 20.4) ** 2) / 8)
    >>> npsubpix.find_peaks(image, threshold_abs=10)
    Peaks: 2 in 2-D
         y      x  value  flags
      7.30   9.60  89.63  -
     12.10  20.39  59.82  -

    Five times the noise of single pixels finds noise where photons are few; that of a matched filter finds spots:

    >>> rng = np.random.default_rng(3)
    >>> truth = rng.uniform(5, 95, (20, 2))
    >>> image = npsubpix.simulate_spots((100, 100), truth, flux=200, sigma=1.3, background=2, rng=rng)
    >>> found = npsubpix.find_peaks(image, detect="gaussian", detect_sigma=1.3, threshold_abs=5, refine="centroid")
    >>> npsubpix.assess(found, truth, 1.5).n_matched, len(found)
    (20, 20)
    >>> len(npsubpix.find_peaks(image, background=2, sigma=2**0.5, threshold_abs=5, refine="centroid"))
    23
    """
    x, mask = as_image(image, mask, frame_axis=frame_axis)
    x = without_booleans(x)
    ndim = check_stack(x, frame_axis)
    search, refinement = check_search(
        ndim, size, min_distance, threshold_abs, threshold_rel, exclude_border, num_peaks, plateau, minima, refine,
        n_iters, max_shift, radius, duplicates, mode,
    )  # fmt: skip
    if isinstance(background, Background):
        sigma = background.noise if sigma is None else sigma
        background = background.level
    if error is None and camera is None and detect is None:
        noise = noise_of_pixels(sigma, None, "sigma")
    else:
        noise = noise_of_pixels(error, camera)
    shape = shape_of_frame(x, frame_axis)
    refinement, psf = with_fit(refinement, "refine", fit, radius, error, camera, shape)
    check_joint(refinement, num_peaks)
    samples = None if psf is None else beside(psf, x)
    searched, given = None, sigma
    if detect is not None or detect_sigma is not None:
        searched = detected(x, detect, detect_sigma, mask=mask, wrap=search.wrap, frame_axis=frame_axis)
        if background is None and sigma is None:
            background, sigma = local_background(searched, mask=mask, frame_axis=frame_axis)
    coords, values, indices, flags, frame, errors, border = call(
        "find_peaks", x, searched, mask, background, sigma, *noise, samples,
        frame_axis=frame_axis, search=search, refinement=refinement,
    )  # fmt: skip
    if given is not None and not coords.shape[0]:  # the map has to be read for it
        pixels = as_array(given, "sigma")
        if math.prod(pixels.shape) and not bool((pixels >= 0).any()):
            warn_of_unusable_noise()
    frames = None if frame_axis is None else frame
    return Peaks(coords, values, indices, flags, frames, border=border, image_shape=shape, coords_std=errors)


def warn_of_unusable_noise() -> None:
    """Say why no pixel of a map of noise was a peak; the caller is the function that a user called."""
    warnings.warn("sigma is negative or NaN at all pixels, so that none can be a peak", stacklevel=3)


@remembered
def check_joint(refinement: Refinement, num_peaks: Any) -> None:
    """Require that all peaks are kept, if they are fitted together."""
    if refinement.model is not None and refinement.model.together and num_peaks is not None:
        raise ValueError(f"num_peaks must be None with neighbors='fit', which fits all peaks, got {num_peaks!r}")


@remembered
def check_search(
    ndim: int, size: Any, min_distance: Any, threshold_abs: Any, threshold_rel: Any, exclude_border: Any,
    num_peaks: Any, plateau: Any, minima: Any, refine: Any, n_iters: Any, max_shift: Any, radius: Any, duplicates: Any,
    mode: Any,
) -> tuple[PeakSearch, Refinement]:  # fmt: skip
    """Require the options of a search for peaks in images of so many dimensions."""
    lengths = check_per_axis(size, ndim, "size", 1)
    check_choice(plateau, "plateau", PLATEAUS)
    check_choice(duplicates, "duplicates", DUPLICATES)
    refinement = check_refinement(refine, "refine", n_iters, max_shift, radius, mode, ndim)
    search = PeakSearch(
        size=lengths,
        margins=_margins(exclude_border, lengths, refinement.wrap),
        threshold_abs=None if threshold_abs is None else check_finite(threshold_abs, "threshold_abs"),
        threshold_rel=None if threshold_rel is None else check_finite(threshold_rel, "threshold_rel"),
        plateau=plateau,
        minima=check_bool(minima, "minima"),
        min_distance=None if min_distance is None else check_lengths(min_distance, ndim, "min_distance"),
        num_peaks=None if num_peaks is None else check_count(num_peaks, "num_peaks"),
        duplicates=duplicates,
        wrap=refinement.wrap,
    )
    return search, refinement


def _margins(exclude_border: Any, size: tuple[int, ...], wrap: bool) -> tuple[int, ...]:
    """Return the widths of the border before and after, per axis, in which no peak is reported."""
    if isinstance(exclude_border, (bool, np.bool_)):
        if wrap:
            return (0,) * (2 * len(size))
        return sum(map(nms_reach, size), ()) if exclude_border else (0,) * (2 * len(size))
    widths = check_per_axis(exclude_border, len(size), "exclude_border")
    if wrap and max(widths) > 0:
        raise ValueError(f"exclude_border must be True or False with mode='wrap', got {exclude_border!r}")
    return tuple(width for width in widths for _ in range(2))
