"""Direct alignment: the transform between two images, estimated from their pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npsubpix._arrays.checks import check_mask, check_reals
from npsubpix._arrays.home import home_of
from npsubpix._arrays.library import Array, HostArray, as_array, as_image, is_array, to_numpy
from npsubpix._arrays.options import check_bool, check_choice, check_count, check_finite, check_positive
from npsubpix._definitions.alignment.gauss_newton import Options, is_of_model
from npsubpix._definitions.flags import AlignmentFlags
from npsubpix._dispatch.call import call
from npsubpix.results import Alignment

__all__ = ["Alignment", "AlignmentFlags", "align", "align_stack"]

_MODELS = ("translation", "euclidean", "similarity", "affine", "homography")
_METHODS = ("inverse_compositional", "forward_additive")
_LOSSES = ("least_squares", "huber", "tukey")
_REFERENCES = ("first", "previous", "mean")


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
        Tolerance in pixels: iterations end when an update moves no corner by more.
    loss : {"least_squares", "huber", "tukey"}
        Loss function. "huber" and "tukey" down-weight outliers, with tuning constants 1.345 and 4.685 times the
        residual scale. That scale comes from the median absolute residual: if most of an image is empty, it is
        the noise of the empty part.
    gain_bias : bool, default False
        Also estimate a factor and a constant by which the brightness of the images differs.
    mask : array of bool of shape (H, W), optional
        True for pixels of the fixed image to ignore, with their neighbours. The mask of a ``numpy.ma`` array or of an
        astropy ``CCDData`` is joined with it.
    init : array of shape (2, 3) or (3, 3), or "phase_correlation", optional
        Initial transform: a matrix of the model, as in the result; or the shift at the maximum of the phase
        correlation, for large shifts. The identity by default.

    Returns
    -------
    Alignment
        The matrix from the fixed image to the moving one, its covariance, and measures of the fit. Images
        without texture or overlap do not raise: they are flagged, and the matrix is the last good one.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If an image does not have two dimensions, or an option is out of range.

    See Also
    --------
    align_stack : Align a stack of images or a time series.
    warp : Resample the moving image on the fixed one: ``warp(moving, result.matrix, fixed.shape)``.

    Notes
    -----
    "forward_additive" minimises the loss itself, and is biased by noise: interpolation smooths the noise of
    the moving image most halfway between pixels, so that the minimum is pulled there, by some hundredths of a
    pixel at a signal 18 times the noise. "inverse_compositional" solves equations whose solution has no such
    bias. It reaches the Cramer-Rao bound if the gradient of the image stands out from that of the noise;
    if it does not, smooth both images first [1]_.

    The covariance is C^-1 S C^-T. C are the products of the gradients of both images, to which noise does not
    add. S is the variance of residuals times the mean of C and of the products of the fixed image's gradient
    with itself. It assumes that the noise of pixels is independent, and that the images differ by noise alone.
    If brightness or moving objects differ too, errors may be larger: compare `rms` with the noise.

    The outermost 4 pixels of the moving image, where splines are less exact, are not compared, unless it is
    less than 32 pixels wide or high.

    References
    ----------
    .. [1] S. Baker and I. Matthews, "Lucas-Kanade 20 years on: a unifying framework", International Journal
       of Computer Vision 56, 221-255 (2004).

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
    first, second = _image(fixed, "fixed"), _image(moving, "moving")
    shape = tuple(first.shape)
    if mask is not None:
        mask = as_array(mask, "mask")
        check_mask(mask, shape, "mask")
    options = _options(model, method, levels, n_iters, tol, loss, gain_bias)
    outcome = call("align", first, second, mask, init=_start(init, shape, options.model), options=options)
    return _as_alignment(outcome, shape)


def _as_alignment(outcome: Any, shape: tuple[int, ...]) -> Alignment:
    fields = {name: getattr(outcome, name) for name in Alignment._fields if name != "centre"}
    fields["centre"] = (0.5 * (shape[0] - 1), 0.5 * (shape[1] - 1))
    return Alignment(**{**fields, "flags": AlignmentFlags(outcome.flags)})


def _image(x: Any, name: str) -> Array:
    image = as_array(x, name)
    if image.ndim != 2:
        raise ValueError(f"{name} must have shape (H, W), got {tuple(image.shape)}")
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
        check_choice(init, "init", ("phase_correlation",))
        return init
    if is_array(init) and home_of(init).on_gpu:
        raise TypeError(f"init is on {home_of(init).place}: matrices are on the host, as in results")
    matrix = to_numpy(check_reals(init, "init")).astype(np.float64)
    if matrix.shape not in ((2, 3), (3, 3)):
        raise ValueError(f'init must be a matrix of shape (2, 3) or (3, 3), or "phase_correlation", got {matrix.shape}')
    full = np.vstack([matrix, [0, 0, 1]]) if len(matrix) == 2 else matrix
    if not _is_usable(full):
        raise ValueError("init must be a finite matrix with an inverse")
    if not is_of_model(model, full, shape):
        raise ValueError(
            f"init must be a matrix of the model {model!r}, got {np.round(full, 6).tolist()}: "
            "choose a model that holds it, or warp the moving image by it first"
        )
    return full


def _is_usable(matrix: HostArray) -> bool:
    """Whether a matrix can be an initial transform: it is finite and has an inverse."""
    return bool(np.isfinite(matrix).all() and matrix[2, 2] != 0 and np.linalg.matrix_rank(matrix) == 3)


def align_stack(
    images: Array | Sequence[Array],
    /,
    *,
    reference: str = "first",
    progress: Callable[[int, int], Any] | None = None,
    model: str = "translation",
    **options: Any,
) -> list[Alignment]:
    """Align the frames of a stack or of a time series to a common reference.

    Parameters
    ----------
    images : array of shape (T, H, W), or a sequence of arrays of shape (H, W)
        Frames, as `align` takes them. A sequence may load each frame on access.
    reference : {"first", "previous", "mean"}, default "first"
        Reference of the alignment. "first" is the first frame. "previous" is the previous frame, or the last one
        that did not fail, for scenes that change with time; matrices are multiplied, so that they refer to the
        first frame. "mean" is the mean of all frames, once aligned to the first, for noisy frames.
    progress : callable, optional
        Called as ``progress(done, total)`` after each frame.
    model : str, default "translation"
        As for `align`.
    **options
        Other options of `align`. Without `init`, each frame starts from the result of the previous one.

    Returns
    -------
    list of Alignment
        One per frame, with the matrix from the first frame, or from the mean, to it. Frames that cannot be
        aligned are flagged and do not stop the others; with "previous", they count as not moved.

    Raises
    ------
    TypeError, ValueError
        As `align`, and if frames differ in shape or there are none.

    See Also
    --------
    align : Align two images.

    Notes
    -----
    With "previous", errors accumulate along the series, and so do the returned covariances.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import align_stack, render_spots
    >>> spots = np.random.default_rng(0).uniform(0, 64, (80, 2))
    >>> drift = np.array([[0.0, 0.0], [0.5, -0.25], [1.0, -0.5]])
    >>> movie = [render_spots(spots + d, (64, 64), std=2.0) for d in drift]
    >>> np.array([a.matrix[:2, 2] for a in align_stack(movie)]).round(2) + 0.0
    array([[ 0.  ,  0.  ],
           [ 0.5 , -0.25],
           [ 1.  , -0.5 ]])
    """
    check_choice(reference, "reference", _REFERENCES)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be a function of two numbers, got {progress!r}")
    frames = _frames(images)
    options = {"model": model, **options}
    if reference == "mean":
        report = None if progress is None else lambda done, _: progress(done, 2 * len(frames))
        first = _align_all(frames, frames[0], False, report, None, options)
        mean = _mean_of(frames, first)
        report = None if progress is None else lambda done, _: progress(len(frames) + done, 2 * len(frames))
        return _align_all(frames, mean, False, report, [result.matrix for result in first], options)
    return _align_all(frames, frames[0], reference == "previous", progress, None, options)


def _frames(images: Any) -> Any:
    """Require a stack or a sequence of at least one frame."""
    if is_array(images):
        if images.ndim != 3:
            raise ValueError(f"images must have shape (T, H, W), got {tuple(images.shape)}")
    elif not (hasattr(images, "__len__") and hasattr(images, "__getitem__")) or isinstance(images, (str, dict)):
        raise TypeError(
            f"images must be an array of shape (T, H, W) or a sequence of images, got {type(images).__name__}"
        )
    if len(images) == 0:
        raise ValueError("images must hold at least one image, got none")
    return images


def _align_all(
    frames: Any,
    first: Array,
    chained: bool,
    progress: Callable[[int, int], Any] | None,
    starts: list[HostArray] | None,
    options: dict[str, Any],
) -> list[Alignment]:
    """Align all frames to one image, or each to the last frame before it that was aligned well."""
    results: list[Alignment] = []
    fixed, matrix = first, np.eye(3)  # the matrix of the last frame that did not fail
    covariance: Any = 0.0  # of the matrix, in a chain
    shape = tuple(as_array(frames[0]).shape)
    for k in range(len(frames)):
        frame = frames[k]
        if tuple(as_array(frame).shape) != shape:
            raise ValueError(f"images must have one shape, {shape}, got {tuple(as_array(frame).shape)} for image {k}")
        start = starts[k] if starts is not None else matrix
        if chained or not _is_usable(start):
            start = np.eye(3)
        result = align(fixed, frame, **{"init": start, **options})
        failed = bool(result.flags & ~AlignmentFlags.NOT_CONVERGED) or not _is_usable(result.matrix)
        if chained:
            moved = matrix if failed else result.matrix @ matrix
            summed = covariance + result.covariance
            result = result._replace(matrix=moved / moved[2, 2], covariance=np.asarray(summed))
            if not failed:
                covariance, fixed = summed, frame
        if not failed:
            matrix = result.matrix
        results.append(result)
        if progress is not None:
            progress(k + 1, len(frames))
    return results


def _mean_of(frames: Any, results: list[Alignment]) -> HostArray:
    """Return the mean of the frames that were aligned, warped to the first; NaN where there is none."""
    from npsubpix.sampling.warping import warp

    first = as_array(frames[0])
    home = home_of(first)
    with home.working():
        total = np.zeros_like(home.adopt(first, "images"), dtype=np.float64)
        count = np.zeros_like(total)
        for k, result in enumerate(results):
            if result.flags & ~AlignmentFlags.NOT_CONVERGED:
                continue
            image = home.adopt(as_array(frames[k]), "images").astype(np.float64)
            warped = warp(image, result.matrix, method="bspline3", cval=float("nan"))
            finite = np.isfinite(warped)
            total += np.where(finite, warped, 0.0)
            count += finite
        with np.errstate(invalid="ignore"):
            mean: HostArray = total / np.where(count > 0, count, np.nan)
    return mean
