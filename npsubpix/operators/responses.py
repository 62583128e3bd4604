"""Responses of blobs: the maps in which a detector seeks extrema."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npsubpix._arrays.checks import check_ndim, check_reals_beside
from npsubpix._arrays.home import home_of
from npsubpix._arrays.library import Array
from npsubpix._arrays.namespace import constants_like, float_array, namespace_of
from npsubpix._definitions.blob_sizes import filter_width
from npsubpix.convolution import convolve_separable
from npsubpix.operators._options import Operator

__all__ = ["BlobDoG", "BlobHessian"]

#: Lines of weights of a mode of `BlobHessian`: a smoothing, a second and a first difference, for whose product
#: `convolve_separable` gives second derivatives; and the mean variance by which they smooth the response.
_LINES = {
    "sobel": ((0.0625, 0.25, 0.375, 0.25, 0.0625), (0.25, 0.0, -0.5, 0.0, 0.25), (0.125, 0.25, 0.0, -0.25, -0.125)),
    "diff": ((1.0,), (1.0, -2.0, 1.0), (0.5, 0.0, -0.5)),
}
# Along its own axis a second difference smooths by 1/6, that of "sobel" by 1/2 more, and along the other one by 1 or 0.
# A blob's determinant of the Hessian has the cube of the root of the former variance, and the root of the latter.
_SMOOTHING = {"sobel": (3 * (1 / 6 + 1 / 2) + 1) / 4, "diff": (3 * (1 / 6) + 0) / 4}


@dataclass
class BlobDoG(Operator):
    """Respond to blobs by differences of the Gaussian levels of a scale pyramid.

    See Also
    --------
    ScaleSpaceDetector : Detect extrema of the response.
    difference_of_gaussians : The filter for one scale.

    Notes
    -----
    Follows ``kornia.feature.BlobDoG`` of kornia 0.9.0: the response is each level minus the previous one, which is
    negative at bright blobs and positive at dark ones. For a detector, it needs ``minima_are_also_good=True`` to find
    bright blobs, and ``scale_space_response=True``.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import BlobDoG
    >>> BlobDoG()(np.array([0.0, 2, 3]).reshape(1, 1, 3, 1, 1)).ravel()
    array([2., 1.])
    """

    def __call__(self, input: Array, sigmas: Array | None = None) -> Array:  # noqa: ARG002, as other responses
        """Return the response, (B, C, D - 1, H, W), of levels of shape (B, C, D, H, W); ``sigmas`` have no effect."""
        x = float_array(input, "input")
        check_ndim(x, 5, "input", "(B, C, D, H, W)")
        return x[:, :, 1:] - x[:, :, :-1]

    def size_relation(self, step: float) -> tuple[float, float]:
        """Return r and a for blobs of variance r u - a that respond most at a variance u.

        Parameters
        ----------
        step : float
            Ratio of the standard deviations of neighbouring levels.

        Returns
        -------
        ratio, offset : float
            r, and a in pixels squared.
        """
        return filter_width("dog", 2, step) ** -2, 0.0


@dataclass
class BlobHessian(Operator):
    """Respond to blobs by the determinant of the Hessian.

    Parameters
    ----------
    grads_mode : {"sobel", "diff"}, default "sobel"
        Second derivatives: smoothed differences of 5 x 5 pixels, or plain ones of 3 x 3 pixels.

    See Also
    --------
    ScaleSpaceDetector : Detect extrema of the response.

    Notes
    -----
    Follows ``kornia.feature.BlobHessian`` of kornia 0.9.0. The response is positive at bright and dark blobs alike,
    and negative at saddles. The border of an image is extended by its outermost pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import BlobHessian
    >>> y, x = np.mgrid[:9, :9] - 4
    >>> BlobHessian("diff")((y**2 + 3 * x**2 / 2)[None, None])[0, 0, 4, 4]
    np.float64(6.0)
    """

    grads_mode: str = "sobel"

    def __call__(self, input: Array, sigmas: Array | None = None) -> Array:
        """Return the response to images of shape (B, C, H, W), multiplied by the fourth power of B ``sigmas``."""
        x = float_array(input, "input")
        check_ndim(x, 4, "input", "(B, C, H, W)")
        xp = namespace_of(x)
        with home_of(x).working():
            images = xp.reshape(x, (-1, *x.shape[2:]))
            smooth, second, first = (constants_like(np.array(line), x) for line in _LINES[self.grads_mode])
            xx, yy, xy = (
                convolve_separable(images, lines, border="nearest", channel_axis=0)
                for lines in ((smooth, second), (second, smooth), (first, first))
            )
            response = xp.reshape(xx * yy - xy * xy, tuple(x.shape))
            if sigmas is None:
                return response
            widths = check_reals_beside(sigmas, "sigmas", x)
            if tuple(widths.shape) != (x.shape[0],):
                raise ValueError(f"sigmas must have shape ({x.shape[0]},), one per image, got {tuple(widths.shape)}")
            return response * xp.reshape(xp.astype(widths, x.dtype) ** 4, (-1, 1, 1, 1))

    def size_relation(self, step: float) -> tuple[float, float]:
        """Return r and a for blobs of variance r u - a that respond most at a variance u.

        Parameters
        ----------
        step : float
            Ratio of the standard deviations of neighbouring levels, which has no effect.

        Returns
        -------
        ratio, offset : float
            r, and a in pixels squared.
        """
        return filter_width("doh", 2, step) ** -2, _SMOOTHING[self.grads_mode]
