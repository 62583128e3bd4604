"""Simulate images of spots."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.checks import check_frames, check_frames_of, check_numbers, check_positions, check_reals
from npsubpix._arrays.library import Array, as_array, is_array, to_numpy
from npsubpix._arrays.options import check_finite
from npsubpix._arrays.stacks import check_frame_axis
from npsubpix.camera import Camera
from npsubpix.gaussian import render_spots
from npsubpix.results import Peaks

__all__ = ["simulate_spots"]

#: Arguments of `render_spots` by the names that they have here, at the beginning of errors.
_NAMES = {"std": "sigma", "amplitude": "flux"}
_OF_RENDERING = re.compile(rf"^({'|'.join(_NAMES)})\b")

#: Most photons in a pixel: more are beyond integers of 64 bits.
_MOST_PHOTONS = 1e18


def simulate_spots(
    shape: tuple[int, ...],
    coords: Array,
    /,
    *,
    flux: float | Array,
    sigma: float | Array,
    background: float | Array = 0.0,
    camera: Camera | None = None,
    rng: np.random.Generator | int,
    frame: Array | None = None,
    frame_axis: int | None = None,
    drift: Array | None = None,
) -> npt.NDArray[np.float64]:
    r"""Simulate an image of Gaussian spots with the noise of photons, and of a camera.

    Parameters
    ----------
    shape : tuple of one to three ints
        Shape of the image; of the stack with `frame_axis`.
    coords : array of shape (N, ndim), or Peaks
        True positions in pixels, (y, x) or (z, y, x). They may lie outside the image. A table also supplies `frame`.
    flux : float or array of shape (N,)
        Mean number of photons of each spot, those outside the image included.
    sigma : float or array
        Standard deviation of a spot in pixels: one for all, one number per axis, of shape (ndim,), or one or ndim
        numbers per spot, of shape (N, 1) or (N, ndim).
    background : float, or array of the shape of the image or of one frame, default 0.0
        Mean number of photons of the background per pixel.
    camera : Camera, optional
        Camera that records the photons. Maps of it have the shape of a frame.
    rng : numpy.random.Generator or int
        Generator of random numbers, or the seed of one.
    frame : array of ints of shape (N,), optional
        Frame of each spot. Required with `frame_axis`, unless `coords` is a table that has frames.
    frame_axis : int, optional
        Axis of `shape` for the frames of a stack.
    drift : array of shape (T, ndim), or one number per axis, optional
        Displacement of the sample in each of the T frames of a stack, in pixels, which is added to `coords`; or its
        rate, in pixels per frame, from the first frame on.

    Returns
    -------
    array of shape `shape`, float64
        The image, of NumPy: numbers of photons, or counts of the camera, which are not rounded.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If shapes do not match, a flux or a background is negative or not finite, or `sigma` is not positive.

    See Also
    --------
    render_spots : The mean of the image, without background.
    assess : Compare the positions that a method finds with the true ones.

    Notes
    -----
    A spot is integrated over each pixel. The number of photons in a pixel is of the Poisson distribution of the sum of
    all spots and the background. A camera with an EM gain multiplies n electrons to a number of the gamma distribution
    of shape n, which doubles the variance; the noise of reading is normal. Pixels of infinite read variance are NaN.
    Simulations run on the host; arrays on a GPU are copied there.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> image = npsubpix.simulate_spots((30, 40), [[12.3, 20.7]], flux=2000, sigma=1.3, background=5, rng=0)
    >>> image.shape, float(image.sum()), 2000 + 5 * 30 * 40
    ((30, 40), 7990.0, 8000)
    >>> movie = npsubpix.simulate_spots(
    ...     (2, 30, 40), [[12.3, 20.7], [5, 6]], flux=2000, sigma=1.3, rng=0, frame=[0, 1], frame_axis=0
    ... )
    >>> [[int(k) for k in np.unravel_index(image.argmax(), image.shape)] for image in movie]
    [[12, 21], [5, 6]]

    A bead that drifts by half a pixel per frame along y:

    >>> frame = np.arange(8)
    >>> movie = npsubpix.simulate_spots(
    ...     (8, 30, 40), [[12.3, 20.7]] * 8, flux=50_000, sigma=1.3, rng=0, frame=frame, frame_axis=0, drift=(0.5, 0)
    ... )
    >>> found = npsubpix.find_peaks(movie, threshold_abs=1000, refine="centroid", frame_axis=0)
    >>> float((found.coords[-1] - found.coords[0])[0].round(1))
    3.5
    """
    points = np.asarray(to_numpy(check_reals(check_positions(coords, "coords"), "coords")), np.float64)
    if points.shape == (0,):  # an empty list
        points = points.reshape(0, len(shape) - (frame_axis is not None))
    generator = _generator(rng)
    amplitude, width = _amplitude(flux), _on_host(sigma, "sigma")
    frames = check_frames_of(coords, frame) if frame_axis is not None else frame
    spots: Any = points
    if frame_axis is not None:
        axis = check_frame_axis(frame_axis, len(shape))
        if frames is None:
            raise ValueError("frame must give the image of each position, since shape is that of a stack")
        numbers = to_numpy(check_frames(frames, len(points), shape[axis]))
        moved = points if drift is None else points + _drift_of(drift, shape[axis], len(shape) - 1)[numbers]
        spots = _in_frames(moved, numbers)
    elif drift is not None:
        as_array(drift, "drift")
        raise ValueError("drift is of the frames of a stack: frame_axis must say which axis of shape these are")
    elif frames is not None:
        as_array(frames, "frame")
        raise ValueError("frame is given, so frame_axis must say which axis of shape it counts along")
    try:
        mean = render_spots(spots, shape, std=width, amplitude=amplitude, integrate=True, frame_axis=frame_axis)
    except (TypeError, ValueError) as error:  # which names arguments as that function does
        raise type(error)(_OF_RENDERING.sub(lambda found: _NAMES[found[0]], str(error))) from None
    mean = mean + _background(background, mean.shape, frame_axis)
    if mean.size and mean.max() > _MOST_PHOTONS:
        limit = f"at most {_MOST_PHOTONS:g} photons in a pixel"
        raise ValueError(f"flux and background must have {limit}, got {mean.max():g}")
    photons = np.asarray(generator.poisson(mean))
    return np.asarray(photons, np.float64) if camera is None else _recorded(photons, camera, frame_axis, generator)


def _recorded(
    electrons: npt.NDArray[np.int64], camera: Camera, frame_axis: int | None, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the counts of a camera from numbers of photoelectrons."""
    if not isinstance(camera, Camera):
        raise TypeError(f"camera must be a Camera or None, got {camera!r}")
    offset, factor, variance, gain = (
        _of_frame(getattr(camera, name), name, electrons.shape, frame_axis)
        for name in ("offset", "electrons_per_count", "read_variance", "em_gain")
    )
    output = np.asarray(electrons, np.float64)
    if camera.excess > 1:
        output = np.where(electrons > 0, rng.gamma(np.maximum(electrons, 1), gain), 0.0)
    else:
        output = output * gain
    counts = offset + output / factor
    if np.any(variance > 0):
        known = np.isfinite(variance)
        noise = rng.normal(0.0, 1.0, counts.shape) * np.sqrt(np.where(known, variance, 0.0))
        counts = np.where(known, counts + noise, np.nan)
    return np.asarray(counts)


def _of_frame(value: Any, name: str, shape: tuple[int, ...], frame_axis: int | None) -> npt.NDArray[np.float64]:
    """Require a number, or a map of the shape of a frame; return what can be added to the image."""
    numbers = np.asarray(_on_host(value, name), np.float64)
    axis = None if frame_axis is None else frame_axis % len(shape)
    frame = tuple(n for k, n in enumerate(shape) if k != axis)
    if numbers.shape not in ((), frame):
        raise ValueError(f"{name} must be a number or have the shape of a frame, {frame}, got {numbers.shape}")
    return numbers if axis is None or numbers.ndim == 0 else np.expand_dims(numbers, axis)


def _in_frames(points: npt.NDArray[np.float64], frames: npt.NDArray[np.int64]) -> Peaks:
    """Return positions as a table with frames."""
    count = len(points)
    return Peaks(points, np.zeros(count), np.zeros(points.shape, np.int64), np.zeros(count, np.int32), frames)


def _drift_of(drift: Any, count: int, ndim: int) -> npt.NDArray[np.float64]:
    """Require a displacement per frame, or a rate; return one per frame."""
    numbers = np.asarray(to_numpy(check_reals(as_array(drift, "drift"), "drift")), np.float64)
    if numbers.shape not in ((ndim,), (count, ndim)):
        raise ValueError(
            f"drift must have the shape of frames and axes, {(count, ndim)}, or one number per axis, got "
            f"{numbers.shape}"
        )
    if not np.isfinite(numbers).all():
        raise ValueError(f"drift must be finite, got {numbers[~np.isfinite(numbers)].flat[0]}")
    return numbers if numbers.ndim == 2 else np.arange(count)[:, None] * numbers


def _generator(rng: Any) -> np.random.Generator:
    if isinstance(rng, bool) or not isinstance(rng, (int, np.integer, np.random.Generator)):
        raise TypeError(f"rng must be a numpy.random.Generator or an integer, the seed of one, got {rng!r}")
    return np.random.default_rng(rng)


def _on_host(value: Any, name: str) -> Any:
    numbers = check_numbers(value, name)
    return np.asarray(to_numpy(numbers), np.float64) if is_array(numbers) else numbers


def _amplitude(flux: Any) -> Any:
    """Require numbers of photons."""
    numbers = _on_host(flux, "flux")
    values = np.asarray(numbers)
    if not ((values >= 0) & np.isfinite(values)).all():
        wrong = values[~((values >= 0) & np.isfinite(values))].flat[0]
        raise ValueError(f"flux must be finite and not negative, got {wrong}")
    return numbers


def _background(value: Any, shape: tuple[int, ...], frame_axis: int | None) -> Any:
    """Require mean numbers of photons, of all pixels or of each; return what can be added to the image."""
    numbers = _on_host(value, "background")
    if not is_array(numbers):
        numbers = np.asarray(check_finite(numbers, "background"))
    axis = None if frame_axis is None else frame_axis % len(shape)
    frame = tuple(n for k, n in enumerate(shape) if k != axis)
    if numbers.shape not in ((), shape, frame):
        raise ValueError(f"background must be a number or have the shape of the image, {shape}, got {numbers.shape}")
    if not (numbers >= 0).all():
        raise ValueError(f"background must not be negative, got {numbers[~(numbers >= 0)].flat[0]}")
    return np.expand_dims(numbers, axis) if axis is not None and numbers.shape == frame else numbers
