"""Alignment of the frames of a series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npsubpix._arrays.home import home_of
from npsubpix._arrays.library import Array, HostArray, as_array, to_numpy
from npsubpix._arrays.options import check_choice
from npsubpix.alignment.frames import Frames, frames_of
from npsubpix.alignment.images import align, is_usable
from npsubpix.results import Alignment, Peaks

__all__ = ["Mean", "Series", "align_stack"]

REFERENCES = ("first", "previous", "mean")

#: Number of frames with which one is compared, to see whether it can be a reference.
_TRIALS = 3

#: Number of frames that may be no reference before the first one that is.
_MOST_REFUSED = 64


def align_stack(
    images: Array | Sequence[Array],
    /,
    *,
    reference: str = "first",
    fixed: Array | None = None,
    progress: Callable[[int, int], Any] | None = None,
    model: str = "translation",
    **options: Any,
) -> list[Alignment]:
    """Align the frames of a stack or of a time series to a common reference.

    Parameters
    ----------
    images : array of shape (T, H, W), sequence of arrays of shape (H, W), or ImageSource
        Frames, as `align` takes them. A sequence may load each frame on access. Those of an `ImageSource`, see
        `open_image`, are read in blocks; it needs one axis beside y and x.
    reference : {"first", "previous", "mean"}, default "first"
        Reference of the alignment. "first" is the first frame that a later one can be aligned to. "previous" is the
        previous frame, or the last one that is `ok`, for scenes that change with time; matrices are multiplied, so
        that they refer to the first. "mean" is the mean of the other frames, once aligned to the first, for noisy
        frames.
    fixed : array of shape (H, W), optional
        Image to align to in place of the first frame, such as another exposure. Matrices then refer to it, and with
        "previous" the first frame is aligned to it.
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
        aligned are flagged and do not stop the others, and none of the others begins with them or is compared to
        them; with "previous", they count as not moved.

    Raises
    ------
    TypeError, ValueError
        As `align`, and if frames differ in shape or there are none.

    See Also
    --------
    align : Align two images.
    coadd : Add up the frames on the pixels of the first.

    Notes
    -----
    At any time, a few frames are in memory, or a block of them; with "mean", also a sum and a count.

    With "previous", errors accumulate along the series, and so do the returned covariances.

    With "mean", the mean that a frame is aligned to does not contain the frame, whose own noise would hold it where
    it was. The standard errors are those of shifts from one frame to another: the place of the mean itself is that of
    the first frame, to the error of the first.

    `around` refers to the first frame; with "previous", it moves with the scene.

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
    check_choice(reference, "reference", REFERENCES)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be a function of two numbers, got {progress!r}")
    frames = frames_of(images)
    options = {"model": model, **options}
    first = frames[_first_reference(frames, options)] if fixed is None else fixed
    total = len(frames) * (2 if reference == "mean" else 1)
    series = Series(first, options, chained=reference == "previous")
    mean = Mean(first) if reference == "mean" else None
    results = []
    for k in range(len(frames)):
        frame = frames[k]
        results.append(series.align(frame))
        if mean is not None:
            mean.add(frame, results[-1])
        if progress is not None:
            progress(k + 1, total)
    if mean is None:
        return results
    again = []
    for k in range(len(frames)):
        frame = frames[k]
        again.append(mean.align(frame, results[k], options))
        if progress is not None:
            progress(len(frames) + k + 1, total)
    return again


def _first_reference(frames: Frames, options: dict[str, Any]) -> int:
    """Return the number of the first frame that one of the next can be aligned to; 0 if there is none."""
    for k in range(min(len(frames) - 1, _MOST_REFUSED)):
        if any(align(frames[k], frames[j], **options).ok for j in range(k + 1, min(k + 1 + _TRIALS, len(frames)))):
            return k
    return 0


class Series:
    """Frames that are aligned one after the other to an image; or each, in a chain, to the last before it that is ok.

    None is compared with a frame that is not ok, or begins with its matrix.
    """

    def __init__(self, fixed: Array, options: dict[str, Any], chained: bool = False) -> None:
        self._fixed, self._chained = fixed, chained
        self._options = {name: value for name, value in options.items() if name != "init" or value is not None}
        self._last: Array | None = None  # the last frame that is ok, and the matrix to it
        self._matrix = np.eye(3)
        self._covariance: Any = 0.0  # of the matrix, in a chain

    def align(self, frame: Array) -> Alignment:
        """Align the next frame."""
        options = self._options
        start = np.eye(3) if self._chained or not is_usable(self._matrix) else self._matrix
        around = options.get("around")
        if self._chained and around is not None:
            options = {**options, "around": _moved(around, self._matrix)}
        fixed = self._fixed if self._last is None or not self._chained else self._last
        result = align(fixed, frame, **{"init": start, **options})
        good = result.ok and is_usable(result.matrix)
        if self._chained:
            moved = result.matrix @ self._matrix if good else self._matrix
            summed = self._covariance + result.covariance
            result = result._replace(matrix=moved / moved[2, 2], covariance=np.asarray(summed))
            if good:
                self._covariance = summed
        if good:
            self._matrix, self._last = result.matrix, frame if self._chained else None
        return result


def _moved(around: Any, matrix: HostArray) -> HostArray:
    """Return the positions of the first frame in another one."""
    coords = around.coords if isinstance(around, Peaks) else as_array(around, "around")
    points = np.asarray(to_numpy(coords), np.float64)
    moved = points @ matrix[:2, :2].T + matrix[:2, 2]
    return np.asarray(moved / (points @ matrix[2, :2] + matrix[2, 2])[:, None])


class Mean:
    """The mean of the frames that are ok, warped to an image."""

    def __init__(self, fixed: Array) -> None:
        self._fixed = fixed
        first = as_array(fixed, "images")
        self._home = home_of(first)
        self._frames = 0
        with self._home.working():
            self._total = np.zeros_like(self._home.adopt(first, "images"), dtype=np.float64)
            self._count = np.zeros_like(self._total)

    def add(self, frame: Array, result: Alignment) -> None:
        """Add a frame, if it is ok."""
        if result.ok:
            with self._home.working():
                warped, finite = self._warped(frame, result)
                self._total += warped
                self._count += finite
            self._frames += 1

    def align(self, frame: Array, result: Alignment, options: dict[str, Any]) -> Alignment:
        """Align a frame to the mean of all others, beginning with its result for the image."""
        start = result.matrix if is_usable(result.matrix) else np.eye(3)
        fixed = self._fixed if self._frames < 2 else self.without(frame, result)
        if isinstance(options.get("init"), str) and options["init"] == "stars":
            options = {"levels": 1, **options}  # as from the stars themselves
        return align(fixed, frame, **{**options, "init": start})

    def without(self, frame: Array, result: Alignment) -> HostArray:
        """Return the mean of all frames but one, NaN where there is none."""
        with self._home.working():
            total, count = self._total, self._count
            if result.ok:
                warped, finite = self._warped(frame, result)
                total, count = total - warped, count - finite
            mean: HostArray = total / np.where(count > 0.5, count, np.nan)
        return mean

    def _warped(self, frame: Array, result: Alignment) -> tuple[HostArray, HostArray]:
        from npsubpix.sampling.warping import warp

        image = self._home.adopt(as_array(frame, "images"), "images").astype(np.float64)
        shape = tuple(self._total.shape)
        warped = warp(image, result.matrix, shape, method="bspline3", cval=float("nan"))
        finite = np.isfinite(warped)
        return np.where(finite, warped, 0.0), finite
