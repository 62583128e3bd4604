"""The point spread function of an image, measured from its spots."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import Array, as_image, is_array, to_numpy, without_booleans
from npsubpix._arrays.options import check_count, check_per_axis
from npsubpix._arrays.positions import points_beside
from npsubpix._arrays.stacks import check_frame_axis, check_stack
from npsubpix._definitions.flags import FIT_REJECTED, FitFlags
from npsubpix.camera import Camera
from npsubpix.fitting.fine_splines import coefficients_of, design_of, roughness_of, sampled, values_of
from npsubpix.fitting.spots import fit_patches, fit_spots
from npsubpix.results import Fits

__all__ = ["EffectivePsf", "build_psf"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Length of the array by default, in standard deviations of the spots.
_SIGMAS = 12

#: Samples of more robust standard deviations, among those in the area of a pixel, are left out; the factor from the
#: median of magnitudes to the standard deviation; and the least of these, relative to that of all samples.
_CLIP, _MEDIAN, _LEAST = 3.5, 1.4826, 0.5

#: Standard deviation of second differences between neighbouring samples, relative to the greatest, that is expected of
#: the difference from a Gaussian: what decides where there are no samples, or only noise.
_SMOOTH = 0.01

#: Fits of these flags tell nothing of a single spot.
_UNFIT = FIT_REJECTED | FitFlags.BLENDED | FitFlags.LOW_SIGNAL


class EffectivePsf(NamedTuple):
    """A measured point spread function.

    Attributes
    ----------
    psf : array of ndim dimensions, float64
        Samples: shares of the flux of a spot in a pixel at a distance from it. Lengths are odd, the centre is the
        middle sample, and the sum is ``oversampling**ndim``.
    oversampling : tuple of ints
        Samples per pixel along each axis.
    fits : Fits
        Fits of all spots with it, in the order of `coords`, on the host.
    used : array of shape (N,), bool
        Which spots it is made of.
    """

    psf: Floats
    oversampling: tuple[int, ...]
    fits: Fits
    used: Bools


def build_psf(
    image: Array,
    coords: Array,
    /,
    *,
    oversampling: int | tuple[int, ...] = 4,
    size: int | tuple[int, ...] | None = None,
    sigma: float | tuple[float, ...] | None = None,
    camera: Camera | None = None,
    mask: Array | None = None,
    frame: Array | None = None,
    frame_axis: int | None = None,
    n_iters: int = 6,
) -> EffectivePsf:
    """Measure the effective point spread function of an image from its spots: isolated stars, or beads.

    Parameters
    ----------
    image : array of two or three dimensions, or three or four with `frame_axis`
        Any integer or float dtype.
    coords : array of shape (N, ndim), or a table with positions, such as Peaks or Fits
        Positions of spots that stand alone, in pixels. A table also supplies `frame`.
    oversampling : int of at least 1, or one per axis, default 4
        Samples per pixel. Take about 5 / sigma: 4 for spots that are undersampled, 2 for those of the usual width.
    size : odd int of at least 5, or one per axis, optional
        Length of the point spread function in pixels, by default the odd number nearest to 12 sigma + 1. Spots have to
        vanish at its border.
    sigma : number above 0, or one per axis, optional
        Approximate standard deviation of the spots.
    camera : Camera, optional
        Calibration of the camera.
    mask : bool array of the shape of the image or of one frame, optional
        True for pixels to ignore.
    frame : array of ints of shape (N,), optional
        Image of each position in a stack. Required with `frame_axis`, unless `coords` is a table that has frames.
    frame_axis : int, optional
        Axis of a stack along which images are independent.
    n_iters : int, default 6
        Number of times that the spots are fitted with the function, and the function is made of the spots.

    Returns
    -------
    EffectivePsf
        A named tuple of ``psf`` and ``oversampling``, which `fit_spots` takes, and of ``fits`` and ``used``.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If shapes do not match, a number is out of range, or no spot can be fitted.

    See Also
    --------
    fit_spots : Fit spots with it.

    Notes
    -----
    Every pixel near a spot, less the background and divided by the flux, is a sample of the effective point spread
    function at its distance from the spot; as spots lie at all phases of the pixels, together they sample it more
    finely than the pixels [1]_. A cubic spline is fitted to all samples by least squares with the weights of their
    noise, and then the spots are fitted with it, in turns, which begin with a Gaussian. Samples of more than 3.5 robust
    standard deviations from the last spline, among all in an area of a pixel, are left out: those of neighbours, cosmic
    rays and bad pixels. Second differences of the deviation from the Gaussian are taken to be about one percent of the
    maximum, which smooths the noise and fills gaps between few spots. Spots should outnumber ``oversampling**ndim``.

    The mean of the samples in the outermost pixels is made 0: what extends beyond is taken for background. The centre
    is that of a Gaussian fitted to the samples, so that positions of asymmetric spots are what fits of Gaussians would
    give.

    References
    ----------
    .. [1] J. Anderson and I. R. King, "Toward high-precision astrometry with WFPC2. I. Deriving an accurate
       point-spread function", Publications of the Astronomical Society of the Pacific 112, 1360-1382, 2000

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> rng = np.random.default_rng(0)
    >>> stars = np.stack(np.mgrid[12:240:18, 12:240:18], -1).reshape(-1, 2) + rng.uniform(-0.5, 0.5, (169, 2))
    >>> image = rng.poisson(npsubpix.render_spots(stars, (256, 256), std=0.9, amplitude=20000, integrate=True) + 20)
    >>> psf, oversampling, *_ = npsubpix.build_psf(image, stars.round(), oversampling=4, size=11)
    >>> psf.shape
    (45, 45)
    >>> fits = npsubpix.fit_spots(image, stars.round(), psf=psf, oversampling=oversampling)
    >>> bool(np.abs(fits.coords - stars).max() < 0.05)
    True
    """
    x, mask = as_image(image, mask, frame_axis=frame_axis)
    x = without_booleans(x)
    ndim = check_stack(x, frame_axis)
    per_pixel = check_per_axis(oversampling, ndim, "oversampling", 1)
    lengths = None if size is None else check_per_axis(size, ndim, "size", 5, 1001)
    if lengths is not None and any(n % 2 == 0 for n in lengths):
        raise ValueError(f"size must be odd, so that a pixel is the centre, got {size!r}")
    turns = check_count(n_iters, "n_iters", 1)
    fits = _on_host(fit_spots(x, coords, sigma=sigma, camera=camera, mask=mask, frame=frame, frame_axis=frame_axis))
    points = to_numpy(points_beside(coords, x, ndim)).astype(np.float64)
    images = _Images.of(x, mask, camera, frame_axis, fits.frame if frame_axis is not None else np.zeros(len(points)))
    good = _usable(fits)
    if not good.any():
        raise ValueError(f"coords must have spots that can be fitted, got {len(points)}, of which none can")
    widths = tuple(np.median(fits.sigma[good].reshape(good.sum(), -1) * np.ones(ndim), axis=0).tolist())
    if lengths is None:
        lengths = tuple(2 * math.floor(_SIGMAS * s / 2 + 0.5) + 1 for s in widths)
    shape = tuple(n * s + 1 - n * s % 2 for n, s in zip(lengths, per_pixel, strict=True))
    prior = _centred(_gaussian(shape, per_pixel, widths), per_pixel)
    psf = prior
    for _ in range(turns):
        samples = _Samples.of(images, fits, good, lengths)
        psf = _centred(_spline_through(samples, psf, prior, per_pixel, lengths), per_pixel)
        starts = np.where(good[:, None], fits.coords, points)
        fits = fit_spots(images.stack, starts, psf=psf, oversampling=per_pixel, **images.options)
        good = _usable(fits)
        if not good.any():
            raise ValueError("size must be large enough, and spots alone, since none could be fitted with the function")
    kept = fits if frame_axis is not None else dataclasses.replace(fits, frame=None)
    return EffectivePsf(psf, per_pixel, kept, good)


class _Images(NamedTuple):
    """Images in electrons, or as they are without a camera, on the host; and options with which spots are fitted."""

    stack: Floats
    frames: npt.NDArray[np.int64]
    mask: Bools | None
    options: dict[str, Any]

    @classmethod
    def of(cls, x: Array, mask: Array | None, camera: Camera | None, frame_axis: int | None, frames: Any) -> _Images:
        def stacked(values: Any, dtype: Any) -> Any:
            """Return an array with the frames first; numbers, and arrays of one frame, broadcast against it."""
            array = np.asarray(to_numpy(values), dtype)
            if frame_axis is not None and array.ndim == x.ndim:
                return np.moveaxis(array, check_frame_axis(frame_axis, x.ndim), 0)
            return array[None] if array.ndim else array

        stack = stacked(x, np.float64)
        own = frames.astype(np.int64)
        options: dict[str, Any] = {"frame": own, "frame_axis": 0}
        if camera is not None:
            factor = stacked(camera.electrons_per_count, np.float64) / camera.em_gain
            stack = (stack - stacked(camera.offset, np.float64)) * factor
            read = np.broadcast_to(stacked(camera.read_variance, np.float64) * factor**2, stack.shape)
            options["camera"] = Camera(
                electrons_per_count=camera.em_gain, em_gain=camera.em_gain, read_variance=np.ascontiguousarray(read)
            )
        if mask is not None:
            masked = np.broadcast_to(stacked(mask, bool), stack.shape)
            options["mask"] = np.ascontiguousarray(masked)
        return cls(np.ascontiguousarray(stack), own, options.get("mask"), options)


def _on_host(fits: Fits) -> Fits:
    """Copy the columns to NumPy."""
    columns: dict[str, Any] = {name: to_numpy(x) for name, x in vars(fits).items() if is_array(x)}
    return dataclasses.replace(fits, **columns)


def _usable(fits: Fits) -> Bools:
    """Return which spots are single, and were fitted."""
    found: Bools = (np.asarray(fits.flags) & int(_UNFIT)) == 0
    return found


class _Samples(NamedTuple):
    """Samples of the effective point spread function."""

    values: Floats
    places: Floats  # distances from the spot in pixels, one row per axis
    fluxes: Floats

    @classmethod
    def of(cls, images: _Images, fits: Fits, good: Bools, lengths: tuple[int, ...]) -> _Samples:
        """Take the pixels around spots."""
        coords, frames = np.asarray(fits.coords)[good], images.frames[good]
        flux, background = np.asarray(fits.flux)[good, None], np.asarray(fits.background)[good, None]
        around = np.indices(lengths).reshape(len(lengths), -1) - np.reshape(lengths, (-1, 1)) // 2
        pixels = np.floor(coords + 0.5).astype(np.int64)[:, :, None] + around
        shape = np.reshape(images.stack.shape[1:], (-1, 1))
        inside = ((pixels >= 0) & (pixels < shape)).all(axis=1)
        at = (frames[:, None], *np.clip(pixels, 0, shape - 1).swapaxes(0, 1))
        values = images.stack[at]
        counts = inside & np.isfinite(values)
        if images.mask is not None:
            counts &= ~images.mask[at]
        distances = (pixels - coords[:, :, None]).swapaxes(0, 1)
        fluxes = np.broadcast_to(flux, values.shape)
        return cls(((values - background) / flux)[counts], distances[:, counts], fluxes[counts])


def _spline_through(
    samples: _Samples, psf: Floats, prior: Floats, per_pixel: tuple[int, ...], lengths: tuple[int, ...]
) -> Floats:
    """Return the samples of the spline through those of spots, by weighted least squares.

    Their mean in the outermost pixels is taken off. It is better known than that of the spline at its border.
    """
    from scipy import sparse
    from scipy.sparse.linalg import cg

    steps = np.reshape(per_pixel, (-1, 1))
    at = samples.places * steps + (np.reshape(psf.shape, (-1, 1)) - 1) / 2
    counts = ((at >= 0) & (at <= np.reshape(psf.shape, (-1, 1)) - 1)).all(axis=0)
    at, values, fluxes = at[:, counts], samples.values[counts], samples.fluxes[counts]
    expected = sampled(psf, at)
    places = samples.places[:, counts]
    weights = _weights(values - expected, expected, fluxes, places)
    outside = (np.abs(places) > np.reshape(lengths, (-1, 1)) / 2 - 1).any(axis=0)
    outer = weights[outside]
    level = float((outer * values[outside]).sum() / outer.sum()) if outer.sum() > 0 else 0.0
    values = values - level
    keep = weights > 0
    design = design_of(at[:, keep], psf.shape)
    start = coefficients_of(prior)
    roughness = roughness_of(psf.shape) * (1 / (_SMOOTH * prior.max()) ** 2)
    normal = (design.T @ sparse.diags(weights[keep]) @ design + roughness).tocsr()
    gradient = design.T @ (weights[keep] * (values[keep] - design @ start.ravel()))
    scale = sparse.diags(1 / normal.diagonal())
    step, _ = cg(normal, gradient, rtol=1e-8, maxiter=2000, M=scale)
    return values_of(start + step.reshape(start.shape))


def _weights(residuals: Floats, expected: Floats, fluxes: Floats, places: Floats) -> Floats:
    """Return the weights of samples: inverse variances, and 0 of outliers.

    The variance of a pixel is that of the background, plus the signal if noise is that of photons.
    """
    differences = residuals * fluxes  # in units of the image
    signal = np.maximum(expected * fluxes, 0.0)
    dark = signal <= np.percentile(signal, 50)
    level = (_MEDIAN * np.median(np.abs(differences[dark]))) ** 2
    variances = (signal + max(level, 1e-12 * float(fluxes.max()) ** 2)) / fluxes**2
    ratios = residuals / np.sqrt(variances)
    cells = np.floor(places + 0.5).astype(np.int64)
    cells = np.ravel_multi_index(tuple(cells - cells.min(axis=1)[:, None]), tuple(np.ptp(cells, axis=1) + 1))
    centres = _medians(ratios, cells)
    scales = _MEDIAN * _medians(np.abs(ratios - centres), cells)
    typical = _MEDIAN * float(np.median(np.abs(ratios)))
    keep = np.abs(ratios - centres) <= _CLIP * np.maximum(scales, _LEAST * typical)
    squares = float((ratios[keep] ** 2).mean())
    return np.where(keep, 1 / (variances * (squares if squares > 0 else 1.0)), 0.0)


def _medians(values: Floats, cells: npt.NDArray[np.int64]) -> Floats:
    """Return, for each value, the median of those in its cell."""
    order = np.lexsort((values, cells))
    counts = np.bincount(cells)
    first = np.cumsum(counts) - counts
    ordered = values[order]
    low, high = first + np.maximum(counts - 1, 0) // 2, first + counts // 2
    last = len(values) - 1
    medians = (ordered[np.minimum(low, last)] + ordered[np.minimum(high, last)]) / 2
    found: Floats = medians[cells]
    return found


def _centred(psf: Floats, per_pixel: tuple[int, ...]) -> Floats:
    """Return samples that have unit flux, and whose Gaussian is at the centre."""
    fit = fit_patches(psf[None], width="free")
    middle = (np.array(psf.shape) - 1) / 2
    shift = np.asarray(fit.coords)[0] - middle
    if int(fit.flags[0]) & int(FIT_REJECTED) == 0 and np.abs(shift).max() < max(per_pixel):
        places = np.indices(psf.shape).reshape(psf.ndim, -1) + shift[:, None]
        psf = sampled(psf, places).reshape(psf.shape)
    scaled: Floats = psf * (math.prod(per_pixel) / psf.sum())
    return scaled


def _gaussian(shape: tuple[int, ...], per_pixel: tuple[int, ...], widths: tuple[float, ...]) -> Floats:
    """Return samples of a Gaussian, integrated over pixels."""
    from scipy.special import erf

    spot = np.ones(())
    for length, step, width in zip(shape, per_pixel, widths, strict=True):
        places = (np.arange(length) - (length - 1) / 2) / step
        low, high = ((places + edge) / (math.sqrt(2) * width) for edge in (-0.5, 0.5))
        spot = np.multiply.outer(spot, (erf(high) - erf(low)) / 2)
    return spot
