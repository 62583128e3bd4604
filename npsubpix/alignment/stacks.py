"""Alignment of the frames of a series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npsubpix._arrays.home import home_of
from npsubpix._arrays.lazy import LazyFrames, is_lazy
from npsubpix._arrays.library import Array, HostArray, as_array, is_array, to_numpy
from npsubpix._arrays.options import check_choice
from npsubpix.alignment.images import align, is_usable
from npsubpix.results import Alignment, Peaks

__all__ = ["align_stack"]

_REFERENCES = ("first", "previous", "mean")

#: Number of frames with which one is compared, to see whether it can be a reference.
_TRIALS = 3

#: Number of frames that may be no reference before the first one that is.
_MOST_REFUSED = 64


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
        Reference of the alignment. "first" is the first frame that a later one can be aligned to. "previous" is the
        previous frame, or the last one that is `ok`, for scenes that change with time; matrices are multiplied, so
        that they refer to the first. "mean" is the mean of the other frames, once aligned to the first, for noisy
        frames.
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

    Notes
    -----
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
    check_choice(reference, "reference", _REFERENCES)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be a function of two numbers, got {progress!r}")
    frames = _Frames(images)
    options = {"model": model, **options}
    first = frames[_first_reference(frames, options)]
    if reference != "mean":
        return _align_all(frames, lambda _: first, reference == "previous", progress, None, options)
    report = None if progress is None else lambda done, _: progress(done, 2 * len(frames))
    once = _align_all(frames, lambda _: first, False, report, None, options)
    mean = _Mean(frames, once)
    report = None if progress is None else lambda done, _: progress(len(frames) + done, 2 * len(frames))
    starts = [result.matrix for result in once]
    return _align_all(frames, lambda k: first if mean.empty else mean.without(k), False, report, starts, options)


class _Frames:
    """The frames of a stack or of a sequence, each of the shape of the first."""

    def __init__(self, images: Any) -> None:
        if is_array(images):
            images = images if is_lazy(images) else as_array(images, "images")
            if images.ndim != 3:
                raise ValueError(f"images must have shape (T, H, W), got {tuple(images.shape)}")
            images = LazyFrames(images) if is_lazy(images) else images
        elif not (hasattr(images, "__len__") and hasattr(images, "__getitem__")) or isinstance(images, (str, dict)):
            as_array(images, "images")  # says what to do about the name of a file
            raise TypeError(
                f"images must be an array of shape (T, H, W) or a sequence of images, got {type(images).__name__}"
            )
        if len(images) == 0:
            raise ValueError("images must hold at least one image, got none")
        self._images = images
        self._shape = tuple(as_array(images[0], "images").shape)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._images)

    def __getitem__(self, k: int) -> Array:
        """Return a frame."""
        frame = self._images[k]
        shape = tuple(as_array(frame, "images").shape)
        if shape != self._shape:
            raise ValueError(f"images must have one shape, {self._shape}, got {shape} for image {k}")
        return frame


def _first_reference(frames: _Frames, options: dict[str, Any]) -> int:
    """Return the number of the first frame that one of the next can be aligned to; 0 if there is none."""
    for k in range(min(len(frames) - 1, _MOST_REFUSED)):
        if any(align(frames[k], frames[j], **options).ok for j in range(k + 1, min(k + 1 + _TRIALS, len(frames)))):
            return k
    return 0


def _align_all(
    frames: _Frames,
    reference: Callable[[int], Array],
    chained: bool,
    progress: Callable[[int, int], Any] | None,
    starts: list[HostArray] | None,
    options: dict[str, Any],
) -> list[Alignment]:
    """Align each frame to a reference, or from the second on to the last frame before it that is ok."""
    results: list[Alignment] = []
    last: Array | None = None  # the last frame that is ok, and the matrix to it
    matrix = np.eye(3)
    covariance: Any = 0.0  # of the matrix, in a chain
    around = options.get("around")
    for k in range(len(frames)):
        start = starts[k] if starts is not None else matrix
        if chained or not is_usable(start):
            start = np.eye(3)
        if chained and around is not None:
            options = {**options, "around": _moved(around, matrix)}
        fixed = reference(k) if last is None or not chained else last
        frame = frames[k]
        result = align(fixed, frame, **{"init": start, **options})
        good = result.ok and is_usable(result.matrix)
        if chained:
            moved = result.matrix @ matrix if good else matrix
            summed = covariance + result.covariance
            result = result._replace(matrix=moved / moved[2, 2], covariance=np.asarray(summed))
            if good:
                covariance = summed
        if good:
            matrix, last = result.matrix, frame
        results.append(result)
        if progress is not None:
            progress(k + 1, len(frames))
    return results


def _moved(around: Any, matrix: HostArray) -> HostArray:
    """Return the positions of the first frame in another one."""
    coords = around.coords if isinstance(around, Peaks) else as_array(around, "around")
    points = np.asarray(to_numpy(coords), np.float64)
    moved = points @ matrix[:2, :2].T + matrix[:2, 2]
    return np.asarray(moved / (points @ matrix[2, :2] + matrix[2, 2])[:, None])


class _Mean:
    """The mean of the frames that are ok, warped to the first."""

    def __init__(self, frames: _Frames, results: list[Alignment]) -> None:
        self.frames, self.results = frames, results
        first = as_array(frames[0], "images")
        self.home = home_of(first)
        self.empty = sum(result.ok for result in results) < 2
        with self.home.working():
            self.total = np.zeros_like(self.home.adopt(first, "images"), dtype=np.float64)
            self.count = np.zeros_like(self.total)
            for k in range(len(frames)):
                self._add(k, 1)

    def _add(self, k: int, sign: int) -> None:
        from npsubpix.sampling.warping import warp

        if not self.results[k].ok:
            return
        image = self.home.adopt(as_array(self.frames[k], "images"), "images").astype(np.float64)
        warped = warp(image, self.results[k].matrix, method="bspline3", cval=float("nan"))
        finite = np.isfinite(warped)
        self.total += sign * np.where(finite, warped, 0.0)
        self.count += sign * finite

    def without(self, k: int) -> HostArray:
        """Return the mean of all frames but one, NaN where there is none."""
        with self.home.working():
            total, count = self.total, self.count
            self.total, self.count = total.copy(), count.copy()
            self._add(k, -1)
            mean: HostArray = self.total / np.where(self.count > 0.5, self.count, np.nan)
            self.total, self.count = total, count
        return mean
