"""Corners of chessboards, refined to a fraction of a pixel."""

from __future__ import annotations

import numpy as np

from npsubpix._arrays.checks import check_frames_of
from npsubpix._arrays.electrons import noise_of_counts
from npsubpix._arrays.library import Array, as_image, without_booleans
from npsubpix._arrays.options import check_widths
from npsubpix._arrays.positions import frames_beside, points_beside
from npsubpix._arrays.stacks import check_frame_axis, check_stack, shape_of_frame
from npsubpix._definitions.blobs import gaussian_line
from npsubpix._dispatch.call import call
from npsubpix.camera import Camera, noise_of_pixels
from npsubpix.convolution import convolve_separable
from npsubpix.refinement import check_refinement
from npsubpix.results import Peaks

__all__ = ["refine_corners"]

_TRUNCATE = 2.0  # standard deviations at which the Gaussian ends
_WIDEST = 100  # standard deviation in pixels


def refine_corners(
    image: Array,
    coords: Array,
    /,
    *,
    sigma: float | tuple[float, float] = 2.0,
    n_iters: int | None = None,
    max_shift: float = 3.0,
    mask: Array | None = None,
    frame: Array | None = None,
    frame_axis: int | None = None,
    error: float | Array | None = None,
    camera: Camera | None = None,
) -> Peaks:
    """Refine the corners of a chessboard to a fraction of a pixel.

    Where four squares meet, a smoothed image has a saddle. The image is smoothed by a Gaussian, and the strongest
    saddle near each position is found as by ``method="saddle"`` of `refine_peaks`.

    Parameters
    ----------
    image : array of two dimensions, or three with `frame_axis`
        Any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    coords : array of shape (N, 2), or Peaks
        Positions (y, x) in pixels at which corners were detected; OpenCV's are (x, y). A table of peaks also supplies
        `frame`.
    sigma : float or tuple of two floats, default 2.0
        Standard deviation of the Gaussian in pixels, which ends at two of them; 0 for an image that is smooth already.
        A sharp corner has no slope in the middle of a square, and noise and the codec have saddles of their own:
        without smoothing, one corner in a hundred of real images is lost, and the others scatter more. Squares should
        be at least six standard deviations wide.
    n_iters : int, optional
        Greatest number of steps from pixel to pixel: by default 10.
    max_shift : float, default 3.0
        Greatest shift of a corner from the pixel of its position, in pixels on any axis. Less than half of a square,
        lest another corner be taken.
    mask : bool array of the shape of the image or of one frame, optional
        True for pixels to ignore. The mask of a ``numpy.ma`` array or of an astropy ``CCDData`` is joined with it.
    frame : array of ints of shape (N,), optional
        Image of each position in a stack. Required with `frame_axis`, unless `coords` is a table that has frames.
    frame_axis : int, optional
        Axis of a stack along which images are independent.
    error : number above 0 or array of the shape of the image or of one frame, optional
        Standard deviation of the noise of each pixel of the image as it comes, before it is smoothed. The table then
        has the standard errors of the positions.
    camera : Camera, optional
        Calibration of the camera, in place of an `error`.

    Returns
    -------
    Peaks
        One row per position, in the order of `coords`; values are those of the smoothed image. A corner that cannot be
        measured stays at its pixel, and does not affect others. Its flag gives the reason: ``EXTREMUM`` or ``SINGULAR``
        where there is no saddle, ``TOO_FAR`` or ``NOT_CONVERGED`` if it is not near, ``AT_BORDER`` if the smoothed
        pixels of the fit include pixels outside the image, and ``MASKED`` or ``NONFINITE`` if they include a masked
        pixel, NaN or infinity.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or the image does not hold real numbers.
    ValueError
        If shapes do not match, or a number is out of range.

    See Also
    --------
    refine_peaks : Refine positions by other methods.

    Notes
    -----
    :doc:`/corners` leads from images to a calibrated camera, and compares with ``cv2.cornerSubPix``. Noise has saddles
    too: a position at which there is no corner may be refined to one of these.

    References
    ----------
    L. Lucchese and S. K. Mitra, "Using saddle points for subpixel feature detection in camera calibration targets",
    Asia-Pacific Conference on Circuits and Systems, 2002.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> y, x = np.mgrid[:40, :50]
    >>> u, v = (y - 19.3) + 0.2 * (x - 24.6), (x - 24.6) - 0.3 * (y - 19.3)
    >>> image = 100 + 80 * np.tanh(u) * np.tanh(v)
    >>> npsubpix.refine_corners(image, [[19, 25], [21, 23], [2, 2]])
    Peaks: 3 in 2-D
         y      x  value  flags
     19.30  24.60  95.95  -
     19.30  24.60  95.95  MOVED
      2.00   2.00    180  AT_BORDER
    """
    x, mask = as_image(image, mask, frame_axis=frame_axis)
    x = without_booleans(x)
    ndim = check_stack(x, frame_axis)
    refinement = check_refinement("saddle", "method", n_iters, max_shift, None, None, ndim)
    widths = check_widths(sigma, ndim, "sigma")
    if max(widths) > _WIDEST:
        raise ValueError(f"sigma must be at most {_WIDEST} pixels, got {sigma!r}")
    lines = [gaussian_line(width, _TRUNCATE) for width in widths]
    points = points_beside(coords, x, ndim)
    frames = frames_beside(coords, frame, x, frame_axis, points.shape[0])
    axis = None if frame_axis is None else check_frame_axis(frame_axis, x.ndim)
    smooth = convolve_separable(x, lines, channel_axis=axis, border="nearest", dtype=np.float64)
    noise = noise_of_pixels(error, camera)
    if camera is not None:  # of the pixels themselves, not of the smoothed ones
        noise = noise_of_counts(x, *noise[1:], frame_axis), None, None, None
    refined, values, indices, flags, own_frames, errors = call(
        "refine_peaks",
        smooth,
        points,
        frames,
        mask,
        *noise,
        None,
        frame_axis=frame_axis,
        refinement=refinement._replace(lines=(tuple(lines[0].tolist()), tuple(lines[1].tolist()))),
    )
    kept = check_frames_of(coords) if frame_axis is None else own_frames
    shape = shape_of_frame(x, frame_axis)
    return Peaks(refined, values, indices, flags, kept, image_shape=shape, coords_std=errors)
