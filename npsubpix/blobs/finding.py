"""Blobs of any size: extrema in space and scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays.library import Array, as_image, with_gaps_filled, without_booleans
from npsubpix._arrays.options import check_bool, check_choice, check_count, check_finite, check_per_axis, check_positive
from npsubpix._arrays.stacks import check_frame_axis, check_stack, shape_of_frame
from npsubpix._definitions.blob_search import BlobSearch
from npsubpix._dispatch.call import call
from npsubpix.background import local_background
from npsubpix.blobs.options import check_scales
from npsubpix.results import Background, Blobs

__all__ = ["check_blobs", "check_noise", "find_blobs"]

_SNR = 5.0  # threshold, if none is given


def find_blobs(
    image: Array,
    /,
    min_sigma: float | tuple[float, ...],
    max_sigma: float | tuple[float, ...],
    *,
    scales_per_octave: int = 3,
    method: str = "log",
    dark: bool | str = False,
    threshold_abs: float | None = None,
    threshold_rel: float | None = None,
    threshold_snr: float | None = None,
    noise: float | Array | Background | None = None,
    edge_ratio: float | None = 10.0,
    overlap: float = 0.5,
    spacing: float | tuple[float, ...] | None = None,
    num_blobs: int | None = None,
    exclude_border: bool | int | tuple[int, ...] = False,
    mask: Array | None = None,
    refine: str = "quadratic",
    frame_axis: int | None = None,
) -> Blobs:
    r"""Find blobs of a range of sizes: position, size and height of each.

    Parameters
    ----------
    image : array of two or three dimensions, or three or four with `frame_axis`
        Any integer or float dtype: NumPy, torch, CuPy, or JAX on the host. Results do not depend on it. Pixels that
        are not finite are filled with the local background, as masked ones are.
    min_sigma, max_sigma : float or tuple of floats
        Least and greatest standard deviation of blobs in pixels, at least 0.5 pixels and at most a third of the image
        along each axis. One number per axis if blobs are wider along some, in the same ratios for both.
    scales_per_octave : int, default 3
        Levels of the scale space per doubling of the width, from 1 to 20. Three are enough for widths between them.
    method : {"log", "dog", "doh"}, default "log"
        Filter whose extrema in space and scale are blobs: Laplacian of a Gaussian, difference of two Gaussians whose
        widths are those of adjacent levels, or determinant of the Hessian, which answers less to ridges.
    dark : bool or "both", default False
        True: find dark blobs on a bright background; "both": either. Dark blobs have negative amplitudes and the flag
        ``MINIMUM``.
    threshold_abs : float, optional
        Least height of a blob, in units of the image.
    threshold_rel : float, optional
        Least height as a fraction of the greatest of the frame.
    threshold_snr : float, optional
        Least response of the filter in units of its own noise. 5 if there is no threshold at all.
    noise : number, array of the shape of the image or of one frame, or Background, optional
        Standard deviation of the noise of a pixel, independent of that of others. By default it is estimated, for each
        frame, from the differences of neighbouring pixels, and there are no standard errors. Pass it for images whose
        noise is correlated, see Notes.
    edge_ratio : float or None, default 10.0
        Greatest ratio of the curvatures of the response along two directions, in units of its width, as in [2]_.
        More elongated blobs, and ridges, are left out. None keeps them.
    overlap : float, default 0.5
        Of two blobs the stronger is kept, if the discs (balls) of their radii share more than this fraction of the
        smaller one. 1 keeps both.
    spacing : float or tuple of floats, optional
        Size of a pixel along each axis, in the unit in which `min_sigma` and `max_sigma` then are. Positions and
        widths of the table are in pixels, with a width per axis.
    num_blobs : int, optional
        Greatest number of blobs per frame; the strongest are kept.
    exclude_border : bool, int or tuple of ints, default False
        True: the disc of the radius of a blob must lie inside the image. A number, or one per axis: so must its
        centre, this many pixels from the border.
    mask : bool array of the shape of the image or of one frame, optional
        True for pixels to ignore. They are filled with the local background; blobs whose centre is one of them are
        left out, and those that have one within their sigma are flagged ``MASKED``. The mask of a ``numpy.ma`` array
        or of an astropy ``CCDData`` is joined with it.
    refine : {"quadratic", "fit"}, default "quadratic"
        ``"quadratic"``: a quadratic is fitted to the response at a pixel and its neighbours in space and scale.
        ``"fit"``: `fit_spots` then fits a Gaussian to the image around each blob, which reaches the Cramér-Rao bound
        and takes longer; standard errors are those of the fits, and fits whose errors may be wrong are flagged
        ``POOR_FIT``, ``LOW_SIGNAL`` or ``BLENDED``.
    frame_axis : int, optional
        Axis of a stack along which images are independent.

    Returns
    -------
    Blobs
        One row per blob, in the order of frames, the strongest first. An extremum at the border of the image keeps
        the position of its pixel.

    Raises
    ------
    TypeError
        If an argument has the wrong type, or the image does not hold real numbers.
    ValueError
        If shapes do not match, or a number is out of range.

    See Also
    --------
    scale_space : The levels in which blobs are sought.
    find_peaks : Peaks of one size, with many methods of refinement.
    Blobs.to_skimage : Rows as ``skimage.feature.blob_log`` returns them.

    Notes
    -----
    A Gaussian blob of standard deviation s and height A in n dimensions answers most to the Laplacian of a Gaussian of
    width :math:`s \sqrt{2/n}`. Multiplied by the square of this width [1]_, the response is c A, where c is 0.5 in
    images and 0.558 in volumes. `sigma` and `amplitude` are s and A, and the radius is
    :math:`s \sqrt 2`: widths of blobs, not of filters. What the discrete weights of a level make of a Gaussian is
    computed, and removed. `sigma` is that of the blob as pixels show it; a Gaussian that pixels integrate is
    wider, by 1/12 of a squared pixel in variance, than the light that falls on them, the width of which `fit_spots`
    reports.

    White noise of standard deviation :math:`\sigma_n` has the response :math:`\sigma_n / (\sigma \sqrt{2 \pi})` to a
    Laplacian of width :math:`\sigma` in images, and :math:`\sigma_n \sqrt{15 / (32 \pi^{1.5} \sigma^3)}` in volumes.
    The default noise is the lesser of two estimates, from differences of second and of fourth order along all axes at
    once, clipped at 2.5 times the noise. Whatever the sizes sought, it is right within 2 % in images of some hundred
    pixels along each axis where blobs, however dense, are 1.5 pixels wide or more and 50 times as high as the noise or
    less, or 3 pixels and 500 times. Dense bright blobs of a pixel or less raise it. It takes noise to be independent
    from pixel to pixel. In images that were resampled, smoothed, denoised or compressed as JPEG it is
    too low: noise is then among the rows, but no blob is lost. In sharpened images it is too high.

    Standard errors are those of white noise, to first order, for Gaussian blobs.

    The position of a Gaussian blob has less noise in the level above that of its extremum: for three levels per octave,
    1.05 times the Cramér-Rao bound in images and 1.15 times in volumes, where the extremum has 1.22 and 1.56 times. It
    is taken from there unless the two positions differ by more than noise explains or by a tenth of the width, as
    in structures that are not round, of which the extremum is reported.

    Beyond the border the image is reflected. A blob nearer to it than 2.5 widths is biased, flagged ``AT_BORDER``, and
    not ok, unless it is refined by ``"fit"``.

    The tails of other blobs shift an extremum. This is computed, to first order, for the Gaussians that were found,
    and subtracted where they add less than a twentieth of the response.

    The quadratic has too few pixels of narrow blobs. Without noise, the root mean square of the error of positions by
    "log" in images is 0.001 pixels at a width of 1.25, 0.004 at 1 and 0.05 at 0.7, and widths are up to 0.3 %, 2 % and
    15 % off. Zeros of the determinant are nearer: by "doh" it is 0.004 pixels at a width of 1.5, 0.06 at 1.25 and 0.08
    at 1, with errors of up to half a pixel, which standard errors do not count. A fit is right to 0.001 pixels and
    0.5 %.

    Levels are smoothed one from the other. Beyond a width of 3.2 pixels of the Gaussian, levels have every second
    pixel, so that wide blobs take little time. Pixels are float32, after an offset is subtracted.

    References
    ----------
    .. [1] T. Lindeberg, "Feature detection with automatic scale selection", International Journal of Computer Vision
       30, 79-116 (1998).
    .. [2] D. Lowe, "Distinctive image features from scale-invariant keypoints", International Journal of Computer
       Vision 60, 91-110 (2004).

    Examples
    --------
    Blobs of several sizes:

    >>> import numpy as np
    >>> import npsubpix
    >>> y, x = np.mgrid[:100, :120]
    >>> image = 90 * np.exp(-((y - 27.3) ** 2 + (x - 29.6) ** 2) / (2 * 2.5**2))
    >>> image += 60 * np.exp(-((y - 62.1) ** 2 + (x - 80.4) ** 2) / (2 * 7.0**2))
    >>> image += np.random.default_rng(0).normal(0, 2, image.shape)
    >>> blobs = npsubpix.find_blobs(image, 1, 10, noise=2)
    >>> blobs.coords.round(1), blobs.sigma.round(1), blobs.amplitude.round()
    (array([[27.3, 29.6],
           [62.1, 80.4]]), array([2.5, 7. ]), array([90., 60.]))
    """
    x, mask = as_image(image, mask, frame_axis=frame_axis)
    x = without_booleans(x)
    check_stack(x, frame_axis)
    axis = None if frame_axis is None else check_frame_axis(frame_axis, x.ndim)
    shape = shape_of_frame(x, frame_axis)
    search = check_blobs(
        shape, min_sigma=min_sigma, max_sigma=max_sigma, scales_per_octave=scales_per_octave, method=method, dark=dark,
        threshold_abs=threshold_abs, threshold_rel=threshold_rel, threshold_snr=threshold_snr, edge_ratio=edge_ratio,
        overlap=overlap, spacing=spacing, num_blobs=num_blobs, exclude_border=exclude_border,
    )  # fmt: skip
    check_choice(refine, "refine", ("quadratic", "fit"))
    noise = check_noise(noise)
    filled = with_gaps_filled(x, mask, axis, lambda: local_background(x, mask=mask, frame_axis=frame_axis).level)
    columns = call(
        "find_blobs", x, None if filled is x else filled, mask, noise, frame_axis=frame_axis, search=search
    )  # fmt: skip
    coords, sigma, amplitude, snr, value, flags, frame, *errors = columns
    frames = None if frame_axis is None else frame
    found = Blobs(coords, sigma, amplitude, snr, value, flags, frames, shape, *errors)
    if refine == "quadratic":
        return found
    from npsubpix.blobs.fitted import fitted  # which loads all of fitting

    return fitted(found, x, mask, noise, frame_axis)


def check_blobs(
    shape: tuple[int, ...], *, min_sigma: Any, max_sigma: Any, scales_per_octave: Any, method: Any, dark: Any,
    threshold_abs: Any, threshold_rel: Any, threshold_snr: Any, edge_ratio: Any, overlap: Any, spacing: Any,
    num_blobs: Any, exclude_border: Any,
) -> BlobSearch:  # fmt: skip
    """Check the options of a search for blobs in images of a shape."""
    plan, per_axis = check_scales(min_sigma, max_sigma, scales_per_octave, method, spacing, shape)
    if threshold_abs is None and threshold_rel is None and threshold_snr is None:
        threshold_snr = _SNR
    return BlobSearch(
        plan=plan,
        signs=_signs(dark),
        threshold_abs=_check_threshold(threshold_abs, "threshold_abs"),
        threshold_rel=_check_threshold(threshold_rel, "threshold_rel"),
        threshold_snr=_check_threshold(threshold_snr, "threshold_snr"),
        edge_ratio=None if edge_ratio is None else _check_ratio(edge_ratio),
        overlap=_check_share(overlap),
        num_blobs=None if num_blobs is None else check_count(num_blobs, "num_blobs"),
        exclude_border=_border(exclude_border, len(shape)),
        per_axis=per_axis,
    )


def check_noise(noise: Any) -> Any:
    """Require a number of at least 0, or an array; return that of a background."""
    if isinstance(noise, Background):
        noise = noise.noise
    return noise if noise is None or hasattr(noise, "shape") else _check_noise(noise)


def _check_threshold(value: Any, name: str) -> float | None:
    if value is None:
        return None
    number = check_finite(value, name)
    if number < 0:
        raise ValueError(f"{name} must be at least 0, got {number}")
    return number


def _check_noise(value: Any) -> float:
    number = check_finite(value, "noise")
    if number < 0:
        raise ValueError(f"noise must be at least 0, got {number}")
    return number


def _check_ratio(value: Any) -> float:
    number = check_positive(value, "edge_ratio")
    if number < 1:
        raise ValueError(f"edge_ratio must be at least 1, got {number}")
    return number


def _check_share(value: Any) -> float:
    number = check_finite(value, "overlap")
    if not 0 <= number <= 1:
        raise ValueError(f"overlap must be from 0 to 1, got {number}")
    return number


def _signs(dark: Any) -> tuple[int, ...]:
    if isinstance(dark, str):
        check_choice(dark, "dark", ("both",))
        return (1, -1)
    return (-1,) if check_bool(dark, "dark") else (1,)


def _border(exclude_border: Any, ndim: int) -> tuple[int, ...] | None:
    if isinstance(exclude_border, (bool, np.bool_)):
        return None if exclude_border else (0,) * ndim
    return check_per_axis(exclude_border, ndim, "exclude_border")
