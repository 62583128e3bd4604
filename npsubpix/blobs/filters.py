"""Filters that enhance blobs: differences of Gaussians and Laplacians of Gaussians."""

from __future__ import annotations

from typing import Any

from npsubpix._arrays.checks import check_image
from npsubpix._arrays.library import Array, as_array, join, moveaxis, without_booleans
from npsubpix._arrays.options import check_choice, check_fill, check_finite, check_positive, check_widths
from npsubpix._arrays.stacks import check_frame_axis
from npsubpix._definitions.borders import BORDERS
from npsubpix._dispatch.call import call

__all__ = ["difference_of_gaussians", "laplacian_of_gaussian"]

_RATIO = 1.6  # of the standard deviations, at which the difference is closest to the Laplacian
_NARROWEST = 1e-75  # standard deviation whose fourth power is not 0


def difference_of_gaussians(
    image: Array,
    /,
    sigma: float | tuple[float, ...],
    *,
    wide_sigma: float | tuple[float, ...] | None = None,
    border: str = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
    frame_axis: int | None = None,
) -> Array:
    """Filter an image with a difference of Gaussians, which enhances blobs and suppresses background and noise.

    Parameters
    ----------
    image : array of 1 to 3 dimensions, or 2 to 4 with `frame_axis`
        Image, of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    sigma : float or tuple of floats
        Standard deviation of the narrow Gaussian in pixels, for all axes or per axis. Choose about that of the blobs.
        0 for an axis that is not smoothed.
    wide_sigma : float or tuple of floats, optional
        Standard deviation of the wide Gaussian. By default 1.6 times `sigma`, where the difference best approximates
        the Laplacian [1]_. Greater than `sigma`, or 0 where that is 0.
    border : str, default "reflect"
        Border extension, as for `correlate`: "reflect", "mirror", "nearest", "wrap" or "constant".
    cval : float, default 0.0
        Value outside of the image for "constant".
    truncate : float, default 4.0
        Radius at which Gaussians are truncated, in standard deviations.
    frame_axis : int, optional
        Axis of a stack along which images are independent. The other options are those of a frame.

    Returns
    -------
    array
        Filtered image, in the dtype of the image, or in its promotion with float32 for integers. Bright blobs are
        positive.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the image does not have one to three dimensions, or an option is out of range.

    See Also
    --------
    laplacian_of_gaussian : The filter that this one approximates.
    find_peaks : Detection of the blobs in the filtered image.

    Notes
    -----
    On the host, both Gaussians are applied in one pass over the image, without intermediate images. Integers of more
    than 8 bits are summed in float64.

    References
    ----------
    .. [1] D. Marr and E. Hildreth, "Theory of edge detection", Proceedings of the Royal Society of London B 207,
       187-217 (1980).

    Examples
    --------
    Detect a spot on a sloping background:

    >>> import numpy as np
    >>> import npsubpix
    >>> y, x = np.mgrid[:40, :50]
    >>> image = 5.0 * x + 60 * np.exp(-((y - 17.3) ** 2 + (x - 20.8) ** 2) / 8)
    >>> found = npsubpix.find_peaks(npsubpix.difference_of_gaussians(image, 2), threshold_abs=5)
    >>> found.coords.round(1)
    array([[17.3, 20.8]])
    """
    x, axis = _image(image, frame_axis)
    narrow = check_widths(sigma, _axes(x, axis), "sigma")
    chosen = tuple(_RATIO * s for s in narrow) if wide_sigma is None else wide_sigma
    wide = check_widths(chosen, _axes(x, axis), "wide_sigma")
    if any(w <= s and not w == s == 0 for w, s in zip(wide, narrow, strict=True)) or not any(wide):
        raise ValueError(f"wide_sigma must be greater than sigma, {narrow}, got {wide}")
    options = {"sigma": narrow, "wide_sigma": wide, **_options(border, cval, truncate)}
    return _filtered("difference_of_gaussians", x, axis, options)


def laplacian_of_gaussian(
    image: Array,
    /,
    sigma: float | tuple[float, ...],
    *,
    border: str = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
    frame_axis: int | None = None,
) -> Array:
    r"""Filter an image with the Laplacian of a Gaussian, in which bright blobs are minima.

    Parameters
    ----------
    image : array of 1 to 3 dimensions, or 2 to 4 with `frame_axis`
        Image, of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    sigma : float or tuple of floats
        Standard deviation of the Gaussian in pixels, for all axes or per axis. The signal-to-noise ratio is highest
        for Gaussian blobs of the same standard deviation. 0 for an axis that is neither smoothed nor differentiated.
    border, cval, truncate, frame_axis
        As for `difference_of_gaussians`.

    Returns
    -------
    array
        Filtered image, in the dtype of the image, or in its promotion with float32 for integers. Bright blobs are
        negative, as in ``scipy.ndimage.gaussian_laplace``, and a constant image is 0.

    Raises
    ------
    TypeError, ValueError
        As for `difference_of_gaussians`.

    See Also
    --------
    difference_of_gaussians : Approximation that is positive at bright blobs.

    Notes
    -----
    The second derivative along an axis is :math:`g(x) (x^2 - v) / \sigma^4`, where g are samples of the Gaussian and v
    is their variance, so that the weights add up to 0. With the variance of the continuous Gaussian, as in SciPy, a
    constant image gives a fraction of itself: 7e-5 per axis for a standard deviation of 1, 0.56 for 0.5.

    On the host, all derivatives are taken in one pass over the image, without intermediate images. Integers of more
    than 8 bits are summed in float64. Negate the result before `find_peaks` to detect bright blobs.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> image = np.zeros((9, 9))
    >>> image[4, 5] = 100
    >>> npsubpix.laplacian_of_gaussian(image, 1.5)[4].round(1)
    array([ 0.1,  0.5,  0.9, -0.3, -3.9, -6.3, -3.9, -0.2,  1.3])
    """
    x, axis = _image(image, frame_axis)
    widths = check_widths(sigma, _axes(x, axis), "sigma")
    if not any(widths):
        raise ValueError(f"sigma must be above 0 on an axis, got {sigma!r}")
    if min(w for w in widths if w) < _NARROWEST:
        raise ValueError(f"sigma must be 0 or at least {_NARROWEST}, got {min(w for w in widths if w)}")
    return _filtered("laplacian_of_gaussian", x, axis, {"sigma": widths, **_options(border, cval, truncate)})


def _image(image: Any, frame_axis: Any) -> tuple[Array, int | None]:
    """Require an image, or a stack of images; return it and its axis of frames, counted from the first."""
    x = without_booleans(as_array(image, "image"))
    if frame_axis is None:
        check_image(x)
        return x, None
    axis = check_frame_axis(frame_axis, x.ndim)
    check_image(x, axis, "its frame axis")
    return x, axis


def _axes(x: Array, frame_axis: int | None) -> int:
    return int(x.ndim - (frame_axis is not None))


def _filtered(name: str, x: Array, frame_axis: int | None, options: dict[str, Any]) -> Array:
    """Filter an image, or each frame of a stack: along its axis there are no weights but one."""
    if frame_axis is None:
        return call(name, x, **options)[0]
    if x.ndim > 3 and x.shape[frame_axis] == 0:
        return call(name, x.reshape((0, 1, 1)), **options)[0].reshape(tuple(x.shape))
    if x.ndim > 3:
        frames = moveaxis(x, frame_axis, 0)
        parts = [call(name, frames[number], **options)[0][None] for number in range(frames.shape[0])]
        return moveaxis(join(parts, 0), 0, frame_axis)
    for width in ("sigma", "wide_sigma"):
        if width in options:
            lengths = options[width]
            options |= {width: (*lengths[:frame_axis], 0.0, *lengths[frame_axis:])}
    return call(name, x, **options)[0]


def _options(border: Any, cval: Any, truncate: Any) -> dict[str, Any]:
    check_choice(border, "border", BORDERS[:-1])
    return {
        "border": str(border),
        "cval": check_fill(cval, "cval"),
        "truncate": check_positive(check_finite(truncate, "truncate"), "truncate"),
    }
