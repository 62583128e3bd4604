"""Direct alignment: the transform between two images, estimated from their pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from npsubpix._arrays.checks import check_mask, check_reals
from npsubpix._arrays.home import home_of
from npsubpix._arrays.library import Array, HostArray, as_array, as_image, is_array, to_numpy, without_booleans
from npsubpix._arrays.options import check_bool, check_choice, check_count, check_finite, check_positive
from npsubpix._definitions.alignment.gauss_newton import Options, is_of_model
from npsubpix._definitions.flags import AlignmentFlags
from npsubpix._dispatch.call import call
from npsubpix.alignment.preparation import levels_of_radius, mask_around, without_background
from npsubpix.alignment.stars import align_from_stars
from npsubpix.results import Alignment, Background, Peaks

__all__ = ["align", "is_usable"]

_MODELS = ("translation", "euclidean", "similarity", "affine", "homography")
_METHODS = ("inverse_compositional", "forward_additive")
_LOSSES = ("least_squares", "huber", "tukey")


def align(
    fixed: Array,
    moving: Array,
    /,
    *,
    model: str = "translation",
    method: str = "inverse_compositional",
    levels: int | None = None,
    n_iters: int = 50,
    tol: float = 1e-4,
    loss: str = "least_squares",
    gain_bias: bool = False,
    mask: Array | None = None,
    moving_mask: Array | None = None,
    background: int | Array | Background | None = None,
    around: Peaks | Array | None = None,
    radius: float = 5.0,
    init: Array | str | None = None,
) -> Alignment:
    r"""Find the transform from a fixed image to a moving one.

    Gauss-Newton iterations minimise the sum of squared differences of pixels, on a pyramid of images from the
    coarsest level to the finest. Cubic B-splines interpolate the moving image.

    Parameters
    ----------
    fixed, moving : arrays of shape (H, W)
        Images of one channel, of any integer or float dtype, which may differ in shape: NumPy, CuPy or torch,
        or JAX arrays on the host. Pixels that are not finite, and their neighbours, are ignored.
    model : {"translation", "euclidean", "similarity", "affine", "homography"}
        Family of transforms: shifts; also rotations; also scale; also shear; also perspective.
    method : {"inverse_compositional", "forward_additive"}
        Algorithm: by the gradient of the fixed image at its pixels, or by that of the moving image where it is
        sampled. See the notes.
    levels : int, optional
        Number of levels of the pyramid, each half the size of the previous one. By default, the coarsest level
        keeps at least 32 pixels along each axis.
    n_iters : int, default 50
        Maximum number of iterations per level.
    tol : float, default 1e-4
        Tolerance in pixels: iterations end when an update moves no corner by more. After `n_iters` of them, a tenth of
        the standard error will do.
    loss : {"least_squares", "huber", "tukey"}
        Loss function. "huber" and "tukey" down-weight outliers, with tuning constants 1.345 and 4.685 times the
        residual scale. That scale comes from the median absolute residual: if most of an image is empty, it is
        the noise of the empty part.
    gain_bias : bool, default False
        Also estimate a factor and a constant by which the brightness of the images differs, however much.
    mask, moving_mask : arrays of bool of the shapes of the images, optional
        True for pixels of the fixed and of the moving image to ignore, with their neighbours. Pass one mask as
        both for what does not move with the scene, such as hot pixels and dust. The masks of ``numpy.ma`` arrays
        or of astropy ``CCDData`` are joined with them.
    background : int, array of the shape of both images, or Background, optional
        Background to subtract: from `local_background`, with boxes of this many pixels, for each image; or one for
        both. By default, none.
    around : Peaks, or array of shape (N, 2), optional
        Positions (y, x) in the fixed image: only pixels within `radius` of any are compared. Use it with
        ``background`` for few spots on an uneven background.
    radius : float, default 5
        Radius around these positions in pixels: about three times the standard deviation of the spots, plus the
        shift, unless `init` has that.
    init : array of shape (2, 3) or (3, 3), "phase_correlation" or "stars", optional
        Initial transform: a matrix of the model, as in the result; or the shift at the maximum of the phase
        correlation, for large shifts: up to about half of the image, if the overlap has structure enough; or
        that on which the stars of both images agree, of any shift, and with the models that have them of any angle and
        of a scale from 1/8 to 8. The identity by default.

    Returns
    -------
    Alignment
        The matrix from the fixed image to the moving one, its covariance, and measures of the fit. Images
        that cannot be aligned do not raise: they are flagged, and the matrix is the last good one. `ok` means
        that the images look alike where they overlap.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If an image does not have two dimensions, or an option is out of range.

    See Also
    --------
    align_stack : Align a stack of images or a time series.
    warp : Resample the moving image on the fixed one: ``warp(moving, result, fixed.shape)``.

    Notes
    -----
    "forward_additive" minimises the loss itself, and is biased by noise: interpolation smooths the noise of
    the moving image most halfway between pixels, so that the minimum is pulled there, by some hundredths of a
    pixel at a signal 18 times the noise. Its standard errors do not contain this bias. "inverse_compositional"
    solves equations whose solution has no such bias. It reaches the Cramer-Rao bound if the gradient of the image
    stands out from that of the noise; if it does not, smooth both images first [1]_. Where noise hides the texture of
    single pixels, means of two by two or more pixels are aligned, on the finest level of the pyramid at which noise
    allows it.

    The covariance is C^-1 S C^-T [2]_. C are the products of the gradients of both images, to which noise does not
    add. S is the scatter of the sums that are zero at the solution: the mean of C and of the products of the fixed
    image's gradient with itself, each pixel weighted by the square of its own residual. Noise may differ from
    pixel to pixel, as that of photons does, but is independent between pixels. With a loss function, both have its
    derivatives for weights. To the shift is added the error by which interpolation draws structures narrower than two
    pixels to the pixels, for a Gaussian spectrum.

    `correlation` and `noise` say how well the images fit, and ``POOR_FIT`` is set if they are no better alike than
    images of different scenes; ``FIXED_PATTERN``, if pixels such as hot ones, at the same place of both, hold the
    transform near the identity. See :doc:`/alignment`.

    ``init="stars"`` finds local maxima of both images, compares the triangles of the brightest, whose codes do not
    depend on position, angle and scale [3]_, and takes the transform with most pairs within 2 pixels, if fewer than
    1e-4 such transforms are expected among unrelated positions [4]_, and no other has almost as many. Mirrored images
    do not match. Iterations begin there, by default at full resolution alone. If pixels then do not fit, as after a
    change of the seeing or, without `gain_bias`, of the brightness, or if they move by 2 pixels and more, the result is
    that of the stars, of which fewer than 1e-6 are then expected by chance, with the covariance of their scatter.
    ``NO_TEXTURE`` means less than three stars, and ``POOR_FIT`` that lists do not match.

    The outermost 4 pixels of the moving image, where splines are less exact, are not compared, unless it is
    less than 32 pixels wide or high.

    References
    ----------
    .. [1] S. Baker and I. Matthews, "Lucas-Kanade 20 years on: a unifying framework", International Journal
       of Computer Vision 56, 221-255 (2004).
    .. [2] H. White, "A heteroskedasticity-consistent covariance matrix estimator and a direct test for
       heteroskedasticity", Econometrica 48, 817-838 (1980).
    .. [3] M. Beroiz, J. B. Cabral and B. Sanchez, "Astroalign: A Python module for astronomical image registration",
       Astronomy and Computing 32, 100384 (2020).
    .. [4] L. Moisan and B. Stival, "A probabilistic criterion to detect rigid point matches between two images and
       estimate the fundamental matrix", International Journal of Computer Vision 57, 201-218 (2004).

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import align, render_spots
    >>> rng = np.random.default_rng(0)
    >>> spots = rng.uniform(0, 64, (80, 2))
    >>> fixed = render_spots(spots, (64, 64), std=2.0)
    >>> moving = render_spots(spots + [1.25, -0.5], (64, 64), std=2.0)
    >>> result = align(fixed, moving)
    >>> result.shift.round(2), result.ok
    (array([ 1.25, -0.5 ]), True)
    """
    fixed, mask = as_image(fixed, mask, "fixed")
    moving, moving_mask = as_image(moving, moving_mask, "moving")
    first, second = _image(fixed, "fixed"), _image(moving, "moving")
    shape = tuple(first.shape)
    masks = [_mask(mask, shape, "mask"), _mask(moving_mask, tuple(second.shape), "moving_mask")]
    options = _options(model, method, levels, n_iters, tol, loss, gain_bias)
    start = _start(init, shape, options.model)
    all_masks = tuple(masks)
    if background is not None:
        first, second = (
            without_background(x, background, m, name)
            for x, m, name in zip((first, second), masks, ("fixed", "moving"), strict=True)
        )
    if around is not None:
        radius = check_positive(check_finite(radius, "radius"), "radius")
        masks[0] = mask_around(around, radius, first, masks[0])
        options = replace(options, levels=options.levels or levels_of_radius(radius))

    def aligned(start: HostArray | str | None, options: Options) -> Any:
        return call("align", first, second, *masks, init=start, options=options)

    if isinstance(start, str) and start == "stars":
        options = replace(options, levels=options.levels or 1)  # the stars are nearer than what coarse levels show
        return _as_alignment(align_from_stars((first, second), all_masks, options, aligned), shape)
    return _as_alignment(aligned(start, options), shape)


def _mask(mask: Any, shape: tuple[int, ...], name: str) -> Array | None:
    if mask is None:
        return None
    mask = as_array(mask, name)
    check_mask(mask, shape, name)
    return mask


def _as_alignment(outcome: Any, shape: tuple[int, ...]) -> Alignment:
    fields = {name: getattr(outcome, name) for name in Alignment._fields if name != "centre"}
    fields["centre"] = (0.5 * (shape[0] - 1), 0.5 * (shape[1] - 1))
    return Alignment(**{**fields, "flags": AlignmentFlags(outcome.flags)})


def _image(x: Any, name: str) -> Array:
    image = without_booleans(as_array(x, name))
    if image.ndim != 2:
        advice = ": use align_stack for stacks" if image.ndim == 3 else ""
        raise ValueError(f"{name} must have shape (H, W), got {tuple(image.shape)}{advice}")
    return image


def _options(model: Any, method: Any, levels: Any, n_iters: Any, tol: Any, loss: Any, gain_bias: Any) -> Options:
    check_choice(model, "model", _MODELS)
    check_choice(method, "method", _METHODS)
    check_choice(loss, "loss", _LOSSES)
    return Options(
        model=str(model),
        inverse=method == "inverse_compositional",
        levels=None if levels is None else check_count(levels, "levels", 1),
        n_iters=check_count(n_iters, "n_iters", 1),
        tol=check_positive(check_finite(tol, "tol"), "tol"),
        loss=str(loss),
        gain_bias=check_bool(gain_bias, "gain_bias"),
    )


def _start(init: Any, shape: tuple[int, ...], model: str) -> HostArray | str | None:
    """Return the initial matrix, None for the identity, or the name of the method that finds it."""
    if init is None:
        return None
    if isinstance(init, str):
        check_choice(init, "init", ("phase_correlation", "stars"))
        return init
    if is_array(init) and home_of(init).on_gpu:
        raise TypeError(f"init is on {home_of(init).place}: matrices are on the host, as in results")
    matrix = to_numpy(check_reals(init, "init")).astype(np.float64)
    if matrix.shape not in ((2, 3), (3, 3)):
        raise ValueError(
            f'init must be a matrix of shape (2, 3) or (3, 3), "phase_correlation" or "stars", got {matrix.shape}'
        )
    full = np.vstack([matrix, [0, 0, 1]]) if len(matrix) == 2 else matrix
    if not is_usable(full):
        raise ValueError("init must be a finite matrix with an inverse")
    if not is_of_model(model, full, shape):
        raise ValueError(
            f"init must be a matrix of the model {model!r}, got {np.round(full, 6).tolist()}: "
            "choose a model that holds it, or warp the moving image by it first"
        )
    return full


def is_usable(matrix: HostArray) -> bool:
    """Whether a matrix can be an initial transform: it is finite and has an inverse."""
    return bool(np.isfinite(matrix).all() and matrix[2, 2] != 0 and np.linalg.matrix_rank(matrix) == 3)
