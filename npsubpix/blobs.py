"""Filters that blobs stand out in."""

from __future__ import annotations

from typing import Any

from npsubpix._arrays.checks import check_image
from npsubpix._arrays.library import Array, as_array
from npsubpix._arrays.options import check_choice, check_fill, check_finite, check_lengths, check_positive
from npsubpix._definitions.borders import BORDERS
from npsubpix._dispatch.call import call

__all__ = ["difference_of_gaussians", "laplacian_of_gaussian"]

_RATIO = 1.6  # of widths, at which the difference is closest to the Laplacian
_NARROWEST = 1e-75  # a width whose fourth power is not 0


def difference_of_gaussians(
    image: Array,
    /,
    sigma: float | tuple[float, ...],
    *,
    wide_sigma: float | tuple[float, ...] | None = None,
    border: str = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
) -> Array:
    """Subtract a wide from a narrow smoothed image: blobs of the size between stay, background and noise go.

    Parameters
    ----------
    image : array of 1 to 3 dimensions
        Image, of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    sigma : float or tuple of floats
        Standard deviation of the narrow Gaussian in pixels, of all axes or one an axis. For blobs that are Gaussians
        themselves, about theirs.
    wide_sigma : float or tuple of floats, optional
        That of the wide one; by default 1.6 times `sigma`, which comes closest to the Laplacian [1]_.
    border : str, default "reflect"
        How the image goes on, as for `correlate`: "reflect", "mirror", "nearest", "wrap" or "constant".
    cval : float, default 0.0
        Value beyond the ends for "constant".
    truncate : float, default 4.0
        Standard deviations that Gaussians end at.

    Returns
    -------
    array
        Of the shape of the image and its dtype, or its promotion with float32 if it holds integers. Positive at
        bright blobs.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the image does not have one to three dimensions, or an option is out of range.

    See Also
    --------
    laplacian_of_gaussian : The filter that this comes close to.
    find_peaks : Finds the blobs in the result.

    Notes
    -----
    On the host, both Gaussians are applied in one pass over the image, with no image in between.

    References
    ----------
    .. [1] D. Marr and E. Hildreth, "Theory of edge detection", Proceedings of the Royal Society of London B 207,
       187-217 (1980).

    Examples
    --------
    A spot on a slope, found by its filtered image, and measured in the image itself:

    >>> import numpy as np
    >>> import npsubpix
    >>> y, x = np.mgrid[:40, :50]
    >>> image = 5.0 * x + 60 * np.exp(-((y - 17.3) ** 2 + (x - 20.8) ** 2) / 8)
    >>> found = npsubpix.find_peaks(npsubpix.difference_of_gaussians(image, 2), threshold_abs=5)
    >>> found.coords.round(1)
    array([[17.3, 20.8]])
    """
    image = _image(image)
    narrow = check_lengths(sigma, image.ndim, "sigma")
    chosen = tuple(_RATIO * s for s in narrow) if wide_sigma is None else wide_sigma
    wide = check_lengths(chosen, image.ndim, "wide_sigma")
    if any(w <= s for w, s in zip(wide, narrow, strict=True)):
        raise ValueError(f"wide_sigma must be greater than sigma, {narrow}, got {wide}")
    return call("difference_of_gaussians", image, sigma=narrow, wide_sigma=wide, **_options(border, cval, truncate))[0]


def laplacian_of_gaussian(
    image: Array,
    /,
    sigma: float | tuple[float, ...],
    *,
    border: str = "reflect",
    cval: float = 0.0,
    truncate: float = 4.0,
) -> Array:
    """Sum the second derivatives of the smoothed image: blobs stand out as minima, background and noise go.

    Parameters
    ----------
    image : array of 1 to 3 dimensions
        Image, of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    sigma : float or tuple of floats
        Standard deviation of the Gaussian in pixels, of all axes or one an axis. A Gaussian blob of the same is the
        one that stands out most from noise.
    border, cval, truncate
        As for `difference_of_gaussians`.

    Returns
    -------
    array
        Of the shape of the image and its dtype, or its promotion with float32 if it holds integers. Negative at
        bright blobs, as in ``scipy.ndimage.gaussian_laplace``.

    Raises
    ------
    TypeError, ValueError
        As `difference_of_gaussians`.

    See Also
    --------
    difference_of_gaussians : Comes close to it, and is positive at bright blobs.

    Notes
    -----
    On the host, all derivatives are taken in one pass over the image, with no image in between. Negate the result for
    `find_peaks`, or ask that for minima.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> image = np.zeros((9, 9))
    >>> image[4, 5] = 100
    >>> npsubpix.laplacian_of_gaussian(image, 1.5)[4].round(1)
    array([ 0.1,  0.5,  0.9, -0.3, -3.9, -6.3, -3.9, -0.2,  1.3])
    """
    image = _image(image)
    widths = check_lengths(sigma, image.ndim, "sigma")
    if min(widths) < _NARROWEST:
        raise ValueError(f"sigma must be at least {_NARROWEST}, got {min(widths)}")
    return call("laplacian_of_gaussian", image, sigma=widths, **_options(border, cval, truncate))[0]


def _image(image: Any) -> Array:
    x = as_array(image, "image")
    check_image(x)
    return x


def _options(border: Any, cval: Any, truncate: Any) -> dict[str, Any]:
    check_choice(border, "border", BORDERS[:-1])
    return {
        "border": str(border),
        "cval": check_fill(cval, "cval"),
        "truncate": check_positive(check_finite(truncate, "truncate"), "truncate"),
    }
