"""Aligned exposures added up on the pixels of a reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.checks import check_mask
from npsubpix._arrays.library import Array, HostArray, as_array, to_numpy
from npsubpix._arrays.options import check_choice, check_count, check_finite, check_memory, check_positive
from npsubpix.alignment.frames import Frames, frames_of
from npsubpix.alignment.tiles import TILE, hull, overlap, parts_of, tiles_at, within
from npsubpix.results import Alignment
from npsubpix.sampling.warping import warp

__all__ = ["Coadd", "coadd"]

_METHODS = ("mean", "median", "clip")

#: Pixels around a part of an image by which its interpolation does not depend on the others, to rounding.
_MARGIN = 28

#: Bytes that warping takes per pixel of a tile; those of a part per pixel, and copies of the values of all exposures
#: while they are sorted.
_WARPING, _ADDING, _COPIES = 120, 48, {"mean": 0, "median": 4, "clip": 8}

#: Standard deviation of Gaussian noise, in units of its median absolute value.
_DEVIATION_OF_MEDIAN = 1.4826

#: Number of times that values are rejected.
_ROUNDS = 5

#: Side of the part of an exposure of which the noise is measured, in pixels.
_MEASURED = 1024


class Coadd(NamedTuple):
    """Exposures added up.

    Attributes
    ----------
    image : array of shape (H, W), float32 or float64
        Mean or median of the exposures at each pixel of the reference, NaN where there is none.
    coverage : array of shape (H, W), int32
        Number of exposures that this is the mean or the median of: without those that do not reach the pixel, that are
        masked or not finite there, or that were rejected.
    weight : array of shape (H, W), float32
        Sum of the weights of these exposures.
    rejected : array of shape (H, W), int32
        Number of exposures rejected by "clip".
    used : array of shape (T,), bool
        Which exposures took part: those whose alignment is ok.
    """

    image: npt.NDArray[Any]
    coverage: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]
    rejected: npt.NDArray[np.int32]
    used: npt.NDArray[np.bool_]

    def __repr__(self) -> str:
        height, width = self.image.shape
        low, high = (int(f(self.coverage)) if self.coverage.size else 0 for f in (np.min, np.max))
        return (
            f"Coadd({height} x {width}, {int(self.used.sum())} of {len(self.used)} exposures, "
            f"coverage {low} to {high}, {int(self.rejected.sum())} values rejected)"
        )


def coadd(
    images: Array | Sequence[Array],
    alignments: Sequence[Alignment | Array],
    /,
    *,
    method: str = "mean",
    shape: tuple[int, int] | None = None,
    mask: Array | Sequence[Array | None] | None = None,
    weights: Sequence[float] | None = None,
    sigma: float = 4.0,
    max_memory: int | str = "1 GiB",
) -> Coadd:
    """Add up aligned exposures on the pixels of the image that they were aligned to.

    Exposures are interpolated by cubic B-splines. Pixels that are NaN, infinite, masked or beyond the border are left
    out, with their neighbours that interpolation needs, and so are exposures whose alignment is not ok.

    Parameters
    ----------
    images : array of shape (T, H, W), sequence of arrays of shape (H, W), or ImageSource
        Exposures, on the host. Those of a sequence may differ in shape.
    alignments : sequence of Alignment, or of arrays of shape (3, 3), of length T
        Results of `align` or `align_stack`, or matrices from the reference to each exposure. Exposures are brought to
        the brightness of the reference by ``(image - bias) / gain``, which `align` finds with `gain_bias`.
    method : {"mean", "median", "clip"}
        Weighted mean; median; or weighted mean without outliers, such as cosmic rays and satellites, see the notes.
    shape : (int, int), optional
        Shape of the reference. By default, that of the first exposure.
    mask : array of bool of shape (H, W) or (T, H, W), or a sequence of these or None, optional
        True for pixels to leave out, of all exposures or of each. A sequence of None and arrays is one per exposure.
    weights : sequence of T floats, optional
        Weights of the exposures in a mean: the inverse of the variance of the noise once brought to the brightness of
        the reference. By default all are 1. A median does not use them.
    sigma : float, default 4
        Distance from the median, in standard deviations, at which "clip" rejects.
    max_memory : int or str, default "1 GiB"
        Number of bytes, about, or a text such as ``"500 MB"``, that are used beside the result and what `images`
        holds. Bands of rows are as high as this allows; the result is the same, bit for bit. A tile of 256 by 256
        pixels, which takes 12 MB, is warped at once in any case.

    Returns
    -------
    Coadd
        The image, and of how many exposures it is made at each pixel.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If lengths or shapes do not match, or an option is out of range.

    See Also
    --------
    align_stack : Align exposures.
    warp : Resample a single one.

    Notes
    -----
    "clip" rejects values further from the median of a pixel than `sigma` times the standard deviation there, which is
    1.4826 times the median absolute deviation, but no less than the noise of the exposure, measured by the
    median absolute second difference along x; and repeats this up to 5 times. It takes three exposures, as of two none
    is the outlier.

    Values are per pixel of the exposures: they are not multiplied by the ratio of the areas of pixels where an
    alignment has a scale. Interpolation makes the noise of neighbouring pixels alike, so that it is a little less than
    that of exposures over the square root of their number.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import align_stack, coadd, render_spots
    >>> rng = np.random.default_rng(0)
    >>> stars = rng.uniform(0, 64, (60, 2))
    >>> shifts = [[0, 0], [1.3, -0.4], [-0.7, 2.1], [0.4, 0.9], [2.2, 1.1]]
    >>> frames = [100 * render_spots(stars + s, (64, 64), std=1.5) + rng.normal(0, 1, (64, 64)) for s in shifts]
    >>> frames[1][30:32, :] = 500  # a satellite
    >>> result = coadd(frames, align_stack(frames, loss="tukey"), method="clip")
    >>> result.coverage[40, 40], bool(result.image[result.coverage > 2].max() < 20)
    (np.int32(5), True)
    """
    check_choice(method, "method", _METHODS)
    sigma = check_positive(check_finite(sigma, "sigma"), "sigma")
    frames = frames_of(images)
    memory = check_memory(max_memory)
    size = frames.shape_of(0) if shape is None else _shape(shape)
    exposures = _Exposures(frames, alignments, mask, weights, size)
    result = _empty(size, exposures)
    limits = exposures.noise() * sigma if method == "clip" else np.zeros(0)
    per_pixel = _ADDING + _COPIES[method] * exposures.dtype.itemsize * len(exposures.used)
    left = max(memory - _WARPING * min(math.prod(size), TILE**2), memory // 2)
    for rows, columns in parts_of(size, left // per_pixel):
        if method == "mean":
            _add(exposures, rows, columns, result)
        else:
            _sort(exposures, rows, columns, result, limits, sigma)
    return result


class _Exposures:
    """Exposures of which parts are warped to the pixels of the reference."""

    def __init__(self, frames: Frames, alignments: Any, mask: Any, weights: Any, size: tuple[int, ...]) -> None:
        count = len(frames)
        if not hasattr(alignments, "__len__") or isinstance(alignments, Alignment) or len(alignments) != count:
            given = 1 if isinstance(alignments, Alignment) or not hasattr(alignments, "__len__") else len(alignments)
            raise ValueError(f"alignments must hold one alignment per image, {count}, got {given}")
        self.frames, self._size = frames, size
        self.ok = np.array([not isinstance(a, Alignment) or a.ok for a in alignments], bool)
        self.used = [int(k) for k in np.flatnonzero(self.ok)]
        self.matrices = [_matrix(a) for a in alignments]
        self.gains = [a.gain if isinstance(a, Alignment) else 1.0 for a in alignments]
        self.biases = [a.bias if isinstance(a, Alignment) else 0.0 for a in alignments]
        self.weights = _weights(weights, count)
        self.mask = mask
        several = isinstance(mask, (list, tuple)) or getattr(mask, "ndim", 2) == 3
        if several and len(mask) != count:
            raise ValueError(f"mask must be one for all images or one per image, {count}, got {len(mask)}")
        self._mask_per_image = several
        for k in range(count):
            one = self.mask_of(k)
            if one is not None:
                check_mask(one, frames.shape_of(k), "mask")
        first = as_array(frames.part(0, slice(0, 1), slice(0, 1)), "images")
        self.dtype = np.result_type(to_numpy(first).dtype, np.float32)

    def mask_of(self, k: int) -> HostArray | None:
        """Return the mask of an exposure."""
        one = self.mask[k] if self._mask_per_image else self.mask
        return None if one is None else to_numpy(as_array(one, "mask"))

    def warped(self, k: int, rows: slice, columns: slice) -> HostArray:
        """Return an exposure at some pixels of the reference, NaN where it has none, in the brightness of that."""
        result = np.full((rows.stop - rows.start, columns.stop - columns.start), np.nan, self.dtype)
        tiles = [
            (*tile, there)
            for tile in tiles_at(rows, columns, self._size)
            if (there := _reached(self.matrices[k], *tile, self.frames.shape_of(k))) is not None
        ]
        if not tiles:
            return result
        around = [hull(there[axis] for *_, there in tiles) for axis in (0, 1)]
        pixels = self.part(k, *around)  # once: a file may have to be read from its beginning
        for own_rows, own_columns, there in tiles:
            part = pixels[within(there[0], around[0]), within(there[1], around[1])]
            warped = self._warped_tile(k, part, there, own_rows, own_columns)
            seen = overlap(own_rows, rows), overlap(own_columns, columns)
            result[within(seen[0], rows), within(seen[1], columns)] = warped[
                within(seen[0], own_rows), within(seen[1], own_columns)
            ]
        return result

    def _warped_tile(
        self, k: int, pixels: HostArray, there: tuple[slice, slice], rows: slice, columns: slice
    ) -> HostArray:
        """Return an exposure at the pixels of a tile, interpolated from those that the tile is reached by."""
        shape = rows.stop - rows.start, columns.stop - columns.start
        matrix = _moved(-there[0].start, -there[1].start) @ self.matrices[k] @ _moved(rows.start, columns.start)
        warped = warp(np.ascontiguousarray(pixels), matrix, shape, method="bspline3", cval=math.nan)
        return np.where(np.isfinite(warped), (warped - self.biases[k]) / self.gains[k], np.nan)

    def part(self, k: int, rows: slice, columns: slice) -> HostArray:
        """Return a part of an exposure, NaN where it is masked."""
        pixels = to_numpy(self.frames.part(k, rows, columns)).astype(self.dtype)
        mask = self.mask_of(k)
        if mask is not None:
            pixels[mask[rows, columns]] = np.nan
        return np.asarray(pixels)

    def noise(self) -> HostArray:
        """Return the standard deviation of the noise of the exposures in use, in the brightness of the reference."""
        found = []
        for k in self.used:
            size = self.frames.shape_of(k)
            place = [
                slice(max(0, (n - _MEASURED) // 2), max(0, (n - _MEASURED) // 2) + min(n, _MEASURED)) for n in size
            ]
            x = self.part(k, *place).astype(np.float64)
            second = np.abs(np.diff(x, 2, axis=1))
            second = second[np.isfinite(second)]
            spread = _DEVIATION_OF_MEDIAN * float(np.median(second)) / math.sqrt(6) if second.size else 0.0
            found.append(spread / abs(self.gains[k]))
        return np.array(found)


def _matrix(alignment: Any) -> HostArray:
    matrix = np.asarray(to_numpy(as_array(getattr(alignment, "matrix", alignment), "alignments")), np.float64)
    if matrix.shape == (2, 3):
        matrix = np.vstack([matrix, [0, 0, 1]])
    if matrix.shape != (3, 3):
        raise ValueError(f"alignments must be results of align or matrices of shape (3, 3), got shape {matrix.shape}")
    return matrix


def _weights(weights: Any, count: int) -> HostArray:
    if weights is None:
        return np.ones(count)
    numbers = np.asarray(to_numpy(as_array(weights, "weights")), np.float64)
    if numbers.shape != (count,) or not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ValueError(f"weights must be {count} numbers above 0, one per image, got {weights!r}")
    return numbers


def _shape(shape: Any) -> tuple[int, int]:
    if not isinstance(shape, (tuple, list)) or len(shape) != 2:
        raise ValueError(f"shape must be two numbers of pixels, got {shape!r}")
    height, width = (check_count(n, "shape", 1) for n in shape)
    return height, width


def _empty(size: tuple[int, ...], exposures: _Exposures) -> Coadd:
    image = np.full(size, np.nan, exposures.dtype)
    coverage, rejected = np.zeros(size, np.int32), np.zeros(size, np.int32)
    return Coadd(image, coverage, np.zeros(size, np.float32), rejected, exposures.ok)


def _moved(y: float, x: float) -> HostArray:
    return np.array([[1.0, 0, y], [0, 1, x], [0, 0, 1]])


def _reached(matrix: HostArray, rows: slice, columns: slice, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Return the part of an exposure that some pixels of the reference are interpolated from; None if none is."""
    corners = np.array([[y, x, 1.0] for y in (rows.start, rows.stop - 1) for x in (columns.start, columns.stop - 1)])
    moved = corners @ matrix.T
    if not (moved[:, 2] > 0).all():  # a line between them is at infinity
        return slice(0, shape[0]), slice(0, shape[1])
    places = moved[:, :2] / moved[:, 2:]
    if not np.isfinite(places).all():
        return None
    low = np.floor(places.min(0)).astype(np.int64) - _MARGIN
    high = np.ceil(places.max(0)).astype(np.int64) + _MARGIN + 1
    part = [slice(max(0, int(a)), min(n, int(b))) for a, b, n in zip(low, high, shape, strict=True)]
    return (part[0], part[1]) if all(p.start < p.stop for p in part) else None


def _add(exposures: _Exposures, rows: slice, columns: slice, result: Coadd) -> None:
    """Add up a part of the exposures."""
    part = np.s_[rows, columns]
    total = np.zeros(result.image[part].shape)
    weight = np.zeros_like(total)
    for k in exposures.used:
        warped = exposures.warped(k, rows, columns)
        finite = np.isfinite(warped)
        total += exposures.weights[k] * np.where(finite, warped, 0.0)
        weight += exposures.weights[k] * finite
        result.coverage[part] += finite
    result.image[part] = total / np.where(weight > 0, weight, np.nan)
    result.weight[part] = weight


def _sort(exposures: _Exposures, rows: slice, columns: slice, result: Coadd, limits: HostArray, sigma: float) -> None:
    """Take the median of a part of the exposures, or their mean without outliers if there are limits."""
    part = np.s_[rows, columns]
    values = np.full((*result.image[part].shape, len(exposures.used)), np.nan, exposures.dtype)
    for n, k in enumerate(exposures.used):
        values[..., n] = exposures.warped(k, rows, columns)
    if not len(exposures.used):
        return
    seen = np.isfinite(values)
    if len(limits):
        kept = _without_outliers(values, limits, sigma)
        weights = np.where(kept, exposures.weights[exposures.used], 0.0)
        total = np.where(kept, values, 0.0)
        result.weight[part] = weights.sum(-1)
        summed = np.einsum("ijk,ijk->ij", weights, total)
        result.image[part] = summed / np.where(kept.any(-1), result.weight[part].astype(np.float64), np.nan)
        result.rejected[part] = (seen & ~kept).sum(-1)
        seen = kept
    else:
        result.image[part] = _median(values)
        result.weight[part] = (seen * exposures.weights[exposures.used]).sum(-1)
    result.coverage[part] = seen.sum(-1)


def _without_outliers(values: HostArray, limits: HostArray, sigma: float) -> HostArray:
    """Return which values are near the median of their pixel."""
    kept = np.isfinite(values)
    for _ in range(_ROUNDS):
        distance = np.abs(values - _median(np.where(kept, values, np.nan))[..., None])
        spread = sigma * _DEVIATION_OF_MEDIAN * _median(np.where(kept, distance, np.nan))[..., None]
        with np.errstate(invalid="ignore"):
            near = kept & (distance <= np.maximum(spread, limits))
        if np.array_equal(near, kept):
            break
        kept = near
    return np.asarray(kept)


def _median(values: HostArray) -> HostArray:
    """Return the median along the last axis of what is finite, NaN where nothing is."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = np.isfinite(ordered).sum(-1, keepdims=True)
    low, high = (np.take_along_axis(ordered, np.maximum(count + k, 0) // 2, -1)[..., 0] for k in (-1, 0))
    return np.asarray(0.5 * low + 0.5 * high, values.dtype)
