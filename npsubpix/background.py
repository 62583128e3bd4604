"""The background of images: its level and its noise around each pixel."""

from __future__ import annotations

from npsubpix._arrays.library import Array, as_array
from npsubpix._arrays.options import check_choice, check_per_axis
from npsubpix._arrays.stacks import check_stack
from npsubpix._dispatch.call import call
from npsubpix.results import Background

__all__ = ["local_background"]


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
    r"""Measure the level and the noise of the background around each pixel.

    The image is cut into boxes. In each, pixels that stand out are left out, and level and noise are
    those of the rest. The mesh of boxes is smoothed by a median filter and interpolated.

    Parameters
    ----------
    image : array of two or three dimensions, or three or four with `frame_axis`
        Any integer or float dtype: NumPy, torch, CuPy, or JAX on the host. NaN and infinities do not count.
    size : int or tuple of ints, default 64
        Length of a box in pixels, of all axes or one an axis: large beside the spots, small beside the
        variations of the background. Boxes of one length, to a pixel, that is nearest to it fill the image.
    method : {"median", "mean"}, default "median"
        What the level is of the pixels that are left. The mean has 0.8 times the noise of the median, but is
        drawn further by faint spots that are too many to be left out.
    grow : int or tuple of ints, default 3
        Distance in pixels, of all axes or one an axis, up to which pixels around those that stand out
        are left out too, since they are of the same spots. 0 for none.
    filter_size : int or tuple of ints, default 3
        Length in boxes of the window of the median filter, odd, of all axes or one an axis; 1 for no
        filter. It takes out boxes that a large object fills.
    mask : bool array of the shape of the image or of one frame, optional
        True where pixels do not count.
    frame_axis : int, optional
        The axis of a stack along which images are independent.

    Returns
    -------
    Background
        Level and noise at each pixel, also at those that do not count, in units of the image: arrays of its shape,
        of its dtype if that is of floats, else of ``np.result_type(image.dtype, np.float32)``. NaN in an image
        without a pixel that counts.

    Raises
    ------
    TypeError
        If an argument is of the wrong type, or the image not of real numbers.
    ValueError
        If the image does not have two or three dimensions, or a number is out of range.

    See Also
    --------
    find_peaks : Takes it, for thresholds in units of the noise.

    Notes
    -----
    Of the pixels of a box, those further than three standard deviations from the median are left out, again and again
    until there are none. Then so are all that are within `grow` of one of them, if a quarter of the box remains, and
    the rest is clipped once more. The noise is the standard deviation of what is left, divided by 0.98485, which
    is what three standard deviations leave of that of Gaussian noise. In a median several equal pixels count as
    numbers that were rounded: as if they were spread evenly, halfway to the next smaller and greater ones.

    A box with less than half as many pixels that count as the fullest one gets the mean of the boxes around it.
    Between the centres of boxes a cubic spline takes its slopes from the boxes on both sides: it swings over by at
    most 7.5 % of a step, an axis, within a box of it. From the outermost centres on, level and noise go on in a
    straight line, and the median filter too takes the mesh to go on point-symmetrically. So a slope of the background
    is followed up to the border. The noise stays within the noises of the boxes.

    Sums are of float64, about a value of the box: an offset costs no precision. Integers of more than 53
    bits are rounded to that many. On a GPU nothing waits for it.

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

    The noise was 5: what the level changes by within a box adds to it. Smaller boxes have less of that.

    >>> float(np.median(npsubpix.local_background(image, 16).noise).round(1))
    5.0
    """
    x = as_array(image, "image")
    ndim = check_stack(x, frame_axis)
    check_choice(method, "method", ("median", "mean"))
    window = check_per_axis(filter_size, ndim, "filter_size", 1)
    if any(k % 2 == 0 for k in window):
        raise ValueError(f"filter_size must be odd, got {filter_size!r}")
    level, noise = call(
        "local_background",
        x,
        mask,
        frame_axis=frame_axis,
        size=check_per_axis(size, ndim, "size", 1),
        method=method,
        grow=check_per_axis(grow, ndim, "grow"),
        filter_size=window,
    )
    return Background(level, noise)
