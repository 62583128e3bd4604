"""Background and noise of images around each pixel."""

from __future__ import annotations

from typing import Any

from npsubpix._arrays.library import Array, as_image
from npsubpix._arrays.options import check_choice, check_per_axis
from npsubpix._arrays.stacks import check_stack
from npsubpix._dispatch.call import call
from npsubpix.results import Background

__all__ = ["check_boxes", "local_background"]


def local_background(
    image: Array,
    /,
    size: int | tuple[int, ...] = 64,
    *,
    method: str = "median",
    grow: int | tuple[int, ...] = 3,
    filter_size: int | tuple[int, ...] = 3,
    mask: Array | None = None,
    frame_axis: int | None = None,
) -> Background:
    r"""Measure the background and its noise around each pixel.

    The image is divided into boxes. In each box, outliers are clipped, and background and noise are
    computed from the remaining pixels. The mesh of boxes is smoothed by a median filter and interpolated.

    Parameters
    ----------
    image : array of two or three dimensions, or three or four with `frame_axis`
        Any integer or float dtype: NumPy, torch, CuPy, or JAX on the host. NaN and infinity are ignored.
    size : int or tuple of ints, default 64
        Length of a box in pixels, one for all axes or one per axis. Choose boxes much larger than the spots,
        yet small enough that the background is nearly constant within a box. The image is filled with boxes of
        equal length, to within a pixel, as near to `size` as possible.
    method : {"median", "mean"}, default "median"
        Estimator of the background from the remaining pixels. The mean has 0.8 times the scatter of the median,
        but a greater bias where faint spots are too numerous to be clipped.
    grow : int or tuple of ints, default 3
        Distance in pixels, one for all axes or one per axis, within which the pixels around clipped ones are
        excluded too, since they belong to the same spots. 0 for none.
    filter_size : int or tuple of ints, default 3
        Length in boxes of the window of the median filter, odd, one for all axes or one per axis; 1 for no
        filter. The filter removes boxes that are filled by a large object.
    mask : bool array of the shape of the image or of one frame, optional
        True for pixels to ignore. The mask of a ``numpy.ma`` array or of an astropy ``CCDData`` is joined with it.
    frame_axis : int, optional
        Axis of a stack along which images are independent.

    Returns
    -------
    Background
        Background and noise at each pixel, including ignored ones, in units of the image: arrays of its shape,
        and of its dtype if that is floating, else of ``np.result_type(image.dtype, np.float32)``. NaN in an image
        whose pixels are all ignored. ``guessed`` is True in boxes whose noise is a guess. The noise is 0 only if all
        pixels of each box are equal. `find_peaks` takes guesses as they are; to leave out peaks that are compared with
        one, select ``peaks[~background.guessed[tuple(peaks.indices.T)]]``.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or the image does not hold real numbers.
    ValueError
        If the image does not have two or three dimensions, or a number is out of range.

    See Also
    --------
    find_peaks : Find peaks, with thresholds in units of the noise.

    Notes
    -----
    Pixels of a box further than three standard deviations from the median are clipped, repeatedly, until none is.
    Then all pixels within `grow` of a clipped one are excluded, if a quarter of the box remains, and the remaining
    pixels are clipped once more. The noise is their standard deviation divided by 0.98485, the factor by which
    clipping at three standard deviations reduces that of Gaussian noise. In a median, several equal pixels are taken
    to be rounded numbers: they count as spread evenly, halfway to the next smaller and greater values.

    If at least 5 % of the pixels of a box share its least value, and more than the next value, the values below it are
    missing, since a camera clips at it or photons are few. The noise is then measured above the median. Pixels are
    clipped at three times 1.4826 times their median distance above it, or at three steps between whole numbers if
    these are more, and the noise is the root mean square of the remaining distances. If the median itself is the least
    value, the noise is a guess. For rare photons, this is about one photon, more than their standard deviation, so that
    single photons are not peaks of many standard deviations.

    Where clipping leaves nothing but equal pixels, though not all pixels of the box are equal, the noise is measured in
    the same way, on both sides of the median if pixels lie on both, and is a guess. Wherever many pixels share a value,
    the noise is at least that of rounding, 0.29 steps between values, and just this if less than 0.27 % of the pixels,
    or less than 4, lie above the median.

    A box with less than half as many valid pixels as the fullest one is set to the mean of the boxes around it, and so
    is the noise of a box of equal pixels. Between the centres of boxes, a cubic spline takes its slopes from the boxes
    on both sides. Beyond the outermost centres, background and noise are extrapolated linearly, and the median filter
    extends the mesh point-symmetrically, so that a slope of the background is followed up to the border. Both stay
    within the range of the boxes around a pixel, and of those that continue a slope beyond the border; the background
    stays within the range of the pixels that are not clipped, and the noise within that of the noises of the boxes.

    Sums are in float64, relative to a value of the box, so that an offset costs no precision. Integers of more
    than 53 bits are rounded to 53 bits. On a GPU the host does not wait for the result.

    The boxes are those of SExtractor [1]_, which estimates the mode instead and has no `grow`.

    References
    ----------
    .. [1] E. Bertin and S. Arnouts, "SExtractor: software for source extraction", Astronomy and
       Astrophysics Supplement 117 (1996).

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> y, x = np.mgrid[:256, :256]
    >>> rng = np.random.default_rng(0)
    >>> image = 500 + 0.1 * x + rng.normal(0, 5, x.shape)
    >>> image[100:104, 50:54] += 1000
    >>> background = npsubpix.local_background(image)
    >>> background.level[100, [0, 52, 255]].round()
    array([500., 505., 525.])
    >>> float(np.median(background.noise).round(1))
    5.3

    The noise is 5; the slope of the background within a box adds to it. It adds less in smaller boxes.

    >>> float(np.median(npsubpix.local_background(image, 16).noise).round(1))
    5.0
    """
    x, mask = as_image(image, mask, frame_axis=frame_axis)
    ndim = check_stack(x, frame_axis)
    boxes = check_boxes(ndim, size, method=method, grow=grow, filter_size=filter_size)
    level, noise, guessed = call("local_background", x, mask, frame_axis=frame_axis, **boxes)
    return Background(level, noise, guessed)


def check_boxes(
    ndim: int, size: Any = 64, *, method: Any = "median", grow: Any = 3, filter_size: Any = 3
) -> dict[str, Any]:
    """Require the options of a background that is measured in images of so many dimensions."""
    check_choice(method, "method", ("median", "mean"))
    window = check_per_axis(filter_size, ndim, "filter_size", 1)
    if any(k % 2 == 0 for k in window):
        raise ValueError(f"filter_size must be odd, got {filter_size!r}")
    return {
        "size": check_per_axis(size, ndim, "size", 1),
        "method": method,
        "grow": check_per_axis(grow, ndim, "grow"),
        "filter_size": window,
    }
