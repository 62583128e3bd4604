"""The calibration of a camera from its images: offset, electrons per count, and read noise."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import Array, as_array
from npsubpix._arrays.stacks import check_frame_axis
from npsubpix.camera import Camera

__all__ = ["estimate_camera"]

Floats = npt.NDArray[np.float64]

#: Bins of the photon-transfer curve, and fewest differences in each.
_BINS, _FEWEST = 64, 100

#: Differences of more standard deviations are those of light that changed; the share of the mean square that remains
#: of Gaussian noise without them, 1 - 2 c pdf(c) / (2 cdf(c) - 1); and how often they are left out.
_CLIP, _KEPT, _PASSES = 4.0, 0.998929, 5

#: Frames that are read at a time.
_BLOCK = 64

#: Departure of the variances of bins from a line, as a share of them, that is let pass, since noise that is not quite
#: Gaussian has it; how far beyond, in standard deviations of chi-squared, it is warned of if it also is that of a slope
#: with this relative error; and the relative error by noise alone that is.
_BENT, _BENT_MOST, _UNSURE, _IMPRECISE = 0.01, 5.0, 0.03, 0.1


def estimate_camera(bright: Array, dark: Array | None = None, *, frame_axis: int = 0) -> Camera:
    """Estimate the calibration of a camera from its images.

    Parameters
    ----------
    bright : array of three dimensions
        Frames of light that does not change, or a movie most of whose pixels do not change from frame to frame.
    dark : array of three dimensions, optional
        Frames without light, at least two. Offset and read variance are then maps, the mean and the variance of each
        pixel. Without them, the offset is the number of counts at which noise would vanish.
    frame_axis : int, default 0
        Axis of the frames.

    Returns
    -------
    Camera
        The calibration. ``em_gain`` is 1: with an EM gain, ``electrons_per_count`` is half of what it would be per
        photoelectron, since excess noise doubles variances.

    Raises
    ------
    TypeError
        If the images do not hold real numbers, or are on a GPU.
    ValueError
        If there are too few frames, shapes do not match, or noise does not grow with the signal.

    Warns
    -----
    UserWarning
        If variances are no line over the mean, as where spots blink or move, a lamp flickers or pixels saturate; or if
        the range of the light is too small for electrons per count to be known to 10 %.

    See Also
    --------
    Camera : The calibration of a camera.
    fit_spots : Fit spots in the images of a camera.

    Notes
    -----
    The variance of counts is the read variance plus ``(mean - offset) / electrons_per_count``. Differences of
    successive frames give both: pixels are sorted by the mean of all other frames, whose noise is not that of these
    two, and in each of 64 bins the variance is half the mean square of the differences. Those of more than four
    standard deviations, of bright spots that blink or move, are left out, repeatedly. Changes of the light that are not
    much greater than its noise remain, and add to the variance: in a movie of molecules that blink on an even
    background, electrons per count may be several times off. Calibrate with steady light that differs from place
    to place, such as a blurred sample. A line through the bins, or, with dark
    frames, one through the read variance at the offset, is fitted by least squares with the weights of their
    variances: the photon-transfer curve [1]_.

    Without dark frames the line cannot tell an offset from read noise: electrons then contain the read variance, as do
    backgrounds, and noise is nevertheless right for every signal.

    References
    ----------
    .. [1] J. R. Janesick, "Photon Transfer", SPIE Press, 2007

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> rng = np.random.default_rng(0)
    >>> light = np.linspace(20, 400, 64 * 64).reshape(64, 64)
    >>> bright = 100 + rng.poisson(light, (40, 64, 64)) / 0.5 + rng.normal(0, 2, (40, 64, 64))
    >>> dark = 100 + rng.normal(0, 2, (40, 64, 64))
    >>> camera = npsubpix.estimate_camera(bright, dark)
    >>> round(camera.electrons_per_count, 2), round(float(camera.offset.mean()), 1)
    (0.5, 100.0)
    """
    with np.errstate(over="ignore", invalid="ignore"):  # pixels that are not finite are left out, and their squares
        return _camera(_frames(bright, "bright", frame_axis), dark, frame_axis)


def _camera(frames: npt.NDArray[Any], dark: Array | None, frame_axis: int) -> Camera:
    """Return the calibration from bright frames, and dark ones if there are any."""
    if dark is None:
        curve = _Curve(frames, np.zeros(()))
        slope, level = curve.line(None)
        if not slope > 0:
            raise ValueError(
                "bright must have noise that grows with the signal, which that of these frames does not: is the light "
                "even, or are pixels saturated?"
            )
        curve.warn(slope, level, 2)
        return Camera(offset=-level / slope, electrons_per_count=1 / slope)
    empty = _frames(dark, "dark", frame_axis)
    if empty.shape[1:] != frames.shape[1:]:
        raise ValueError(f"dark must have frames of the shape of bright, {frames.shape[1:]}, got {empty.shape[1:]}")
    if not np.isfinite(empty).all():
        wrong = empty.size - np.count_nonzero(np.isfinite(empty))
        raise ValueError(f"dark must be finite, got {wrong} pixels that are not")
    offsets = empty.mean(axis=0, dtype=np.float64)
    read = empty.var(axis=0, ddof=1, dtype=np.float64)
    typical = float(np.median(read)) / (1 - 2 / (9 * (len(empty) - 1))) ** 3  # the median of chi-squared, by Wilson
    curve = _Curve(frames, offsets)
    if curve.means.size and not curve.means.mean() > 0:
        raise ValueError("bright must be brighter than dark, which these frames are not")
    slope, _ = curve.line(typical)
    if not slope > 0:
        raise ValueError("bright must have more noise than dark, which these frames have not")
    curve.warn(slope, typical, 1)
    return Camera(offset=offsets, electrons_per_count=1 / slope, read_variance=read)


def _frames(images: Any, name: str, frame_axis: int) -> npt.NDArray[Any]:
    """Require at least two images of real numbers; return them with the frames first."""
    stack = np.asarray(as_array(images, name))
    if stack.ndim != 3:
        raise ValueError(f"{name} must have 3 dimensions, frames, rows and columns, got shape {stack.shape}")
    if stack.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {stack.dtype}")
    moved = np.moveaxis(stack, check_frame_axis(frame_axis, 3), 0)
    if len(moved) < 2 or 0 in moved.shape:
        raise ValueError(f"{name} must have at least 2 frames, got shape {stack.shape}")
    return moved


class _Curve:
    """A photon-transfer curve: means of pairs of frames, and squares of their differences, in bins of other frames.

    A bin of pixels that are bright in the same two frames by chance would have a mean that is too great.
    """

    def __init__(self, frames: npt.NDArray[Any], offset: Floats) -> None:
        means, squares, others = [], [], []
        total = frames.sum(axis=0, dtype=np.float64)
        for first in range(0, len(frames) - 1, _BLOCK):
            block = frames[first : first + _BLOCK + 1].astype(np.float64)
            pair = block[1:] + block[:-1]
            means.append((pair / 2 - offset).ravel())
            squares.append((np.diff(block, axis=0) ** 2 / 2).ravel())
            other = (total - pair) / (len(frames) - 2) if len(frames) > 2 else pair / 2
            others.append((other - offset).ravel())
        self.means, self.squares, self.others = (np.concatenate(parts) for parts in (means, squares, others))
        good = np.isfinite(self.means) & np.isfinite(self.squares) & np.isfinite(self.others)
        order = np.flatnonzero(good)[np.argsort(self.others[good], kind="stable")]
        self.means, self.squares, self.others = self.means[order], self.squares[order], self.others[order]
        bins = max(min(_BINS, order.size // _FEWEST), 1)
        self.bins = np.arange(order.size) * bins // max(order.size, 1)
        self.kept = np.ones(order.size, bool)

    def line(self, level: float | None) -> tuple[float, float]:
        """Return slope and level of the variance over the mean, without outliers; the level may be known."""
        slope, found = 0.0, 0.0
        for step in range(_PASSES):
            slope, found = self._fit(self.kept, level, 1.0 if step == 0 else _KEPT)
            expected = found + slope * self.others
            if not slope > 0 or not (expected > 0).any():
                return slope, found
            self.kept = self.squares <= _CLIP**2 * np.maximum(expected, expected[expected > 0].min())
        return slope, found

    def warn(self, slope: float, level: float, parameters: int) -> None:
        """Warn of variances that depart from a line of so many parameters, and of a slope that is not well known."""
        count = np.bincount(self.bins, self.kept)
        used = (count >= _FEWEST) & (np.bincount(self.bins, self.squares * self.kept) > 0)
        number = int(used.sum())
        if number <= parameters:
            return
        count = count[used]
        mean, square, fourth = (
            np.bincount(self.bins, values * self.kept)[used] / count
            for values in (self.means, self.squares, self.squares**2)
        )
        departure = square / _KEPT - level - slope * mean
        sampling = np.maximum(fourth - square**2, 0.0) / count
        weights = count / square**2
        away = mean - (weights * mean).sum() / weights.sum() if parameters == 2 else mean
        spread = slope * float((weights * away**2).sum())
        noise, scatter = (math.sqrt(float((weights**2 * away**2 * v).sum())) / spread for v in (sampling, departure**2))
        chi2 = float((departure**2 / (sampling + (_BENT * square) ** 2)).sum()) / (number - parameters)
        if scatter > _UNSURE and chi2 > 1 + _BENT_MOST * math.sqrt(2 / (number - parameters)):
            most = float(np.abs(departure / square).max())
            warnings.warn(
                f"bright has variances that are no line over the mean: they depart by up to {most:.0%}, as where spots "
                "blink or move, a lamp flickers or pixels saturate; electrons_per_count may be far off",
                stacklevel=4,
            )
        elif noise > _IMPRECISE:
            warnings.warn(
                f"bright has too small a range of light: electrons_per_count is known to {noise:.0%} only", stacklevel=4
            )

    def _fit(self, kept: npt.NDArray[np.bool_], level: float | None, share: float) -> tuple[float, float]:
        """Fit a line to the variances of bins by least squares, with the weights of their standard errors."""
        count = np.bincount(self.bins, kept)
        used = count > 0
        count = count[used]
        mean = np.bincount(self.bins, self.means * kept)[used] / count
        variance = np.bincount(self.bins, self.squares * kept)[used] / count / share
        positive = variance > 0
        if not positive.any():
            return 0.0, 0.0
        mean, variance = mean[positive], variance[positive]
        weights = count[positive] / variance**2
        centre = 0.0 if level is not None else float((weights * mean).sum() / weights.sum())
        height = level if level is not None else float((weights * variance).sum() / weights.sum())
        away = mean - centre
        spread = float((weights * away**2).sum())
        slope = float((weights * away * (variance - height)).sum()) / spread if spread > 0 else 0.0
        return slope, height - slope * centre
