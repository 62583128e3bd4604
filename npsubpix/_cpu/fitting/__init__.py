"""Fits of spots on the host."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.fitting.boxes import boxes_kernel
from npsubpix._cpu.fitting.crowds import Reader, Sizes, Spots, fit_crowd
from npsubpix._cpu.fitting.gaussian import BLOCK
from npsubpix._cpu.fitting.graph import graph_of
from npsubpix._cpu.fitting.solver import ESTIMATOR_CODES, PADDED, fit_kernel
from npsubpix._definitions.cameras import factors_of
from npsubpix._definitions.crowds import reach_of
from npsubpix._definitions.fitting import Fit, columns_of, with_warnings
from npsubpix._definitions.flags import FIT_REJECTED, FitFlags
from npsubpix._definitions.shapes import three_axes

__all__ = ["fit_spots"]

#: Spots whose boxes are copied before they are fitted: these stay in the cache.
_BLOCK = 4096

#: Elementary operations that a fit takes for each pixel of a box.
_WORK = 400

_NO_MASK = np.zeros((0, 0, 0, 0), bool)
_NONE = np.zeros(0, np.int64)


def _start(
    coords: HostArray, shape: tuple[int, ...], fit: Fit
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return the pixels around which boxes lie, the first pixels of these, and flags of starts that have no box."""
    finite = np.asarray(np.isfinite(coords).all(axis=1))
    nearest = np.floor(np.where(finite[:, None], coords, -1.0) + 0.5)
    pixels = np.clip(nearest, -1, shape).astype(np.int64)
    inside = ((pixels >= 0) & (pixels < shape)).all(axis=1)
    flags = np.where(inside, 0, int(FitFlags.PARTIAL_WINDOW | FitFlags.SINGULAR)).astype(np.int32)
    flags[~finite] = int(FitFlags.NONFINITE)
    halves = [(length - 1) // 2 for length in fit.box]
    return pixels, np.zeros_like(pixels) if fit.whole else pixels - np.array(halves), flags


def _steps(values: HostArray, pixels: int) -> tuple[int, int]:
    """Return how far apart two frames and two pixels are in a flat map of one, of a frame, or of a stack."""
    if values.size == 1:
        return 0, 0
    return (0, 1) if values.size == pixels else (pixels, 1)


def _numbers(value: HostArray | None, default: float) -> HostArray:
    return np.array([default]) if value is None else np.ascontiguousarray(value, np.float64)


def _factors(electrons_per_count: HostArray, em_gain: HostArray, pixels: int, excess: float) -> HostArray:
    """Return electrons per count without gain and excess noise; no copy where neither changes a number.

    Of the map of a frame that is larger than memory only a part is there.
    """
    is_plain = em_gain.size == 1 and em_gain[0] == 1 and excess == 1
    return electrons_per_count if is_plain else factors_of(electrons_per_count, em_gain, pixels) / excess


class _Neighbours:
    """Starts sorted by their pixels."""

    def __init__(
        self, coords: HostArray, pixels: HostArray, frames: HostArray, shape: tuple[int, ...], fit: Fit
    ) -> None:
        lengths = three_axes(shape, 1)
        self.table = _NONE, _NONE, coords, _NONE, lengths
        if fit.whole or len(coords) < 2:
            return
        keys = frames.copy()
        for axis, length in enumerate(shape):
            keys *= length
            keys += np.clip(pixels[:, axis], 0, length - 1)
        order = np.argsort(keys, kind="stable")
        self.table = keys[order], order, coords, keys, lengths


def fit_spots(
    image: HostArray,
    coords: HostArray,
    frame: HostArray | None,
    mask: HostArray | None,
    error: HostArray | None,
    offset: HostArray | None,
    electrons_per_count: HostArray | None,
    read_variance: HostArray | None,
    em_gain: HostArray | None,
    psf: HostArray | None = None,
    *,
    fit: Fit,
) -> tuple[HostArray, ...]:
    """Fit spots; return the columns of a table, numbers of iterations, pixels at the centre, flags and frames."""
    shape, (count, axes) = image.shape[1:], coords.shape
    places = coords.astype(np.float64)
    frames = np.zeros(count, np.int64) if frame is None else frame.astype(np.int64)
    if fit.whole:  # all of them begin at the centre
        pixels, origins, flags = (
            np.broadcast_to(found, (count, *found.shape[1:])).copy() for found in _start(places[:1], shape, fit)
        )
    else:
        pixels, origins, flags = _start(places, shape, fit)
    box, graph = three_axes(fit.box, 1), None
    if fit.together and not fit.whole and count > 1:
        graph = graph_of(pixels, frames, flags, shape, reach_of(box))
        places, frames, pixels = places[graph.order], frames[graph.order], pixels[graph.order]
        origins, flags = origins[graph.order], flags[graph.order]
    likelihood = fit.estimator == "mle"
    maps = (
        _numbers(offset, 0.0),
        _factors(_numbers(electrons_per_count, 1.0), _numbers(em_gain, 1.0), math.prod(shape), fit.excess),
        _numbers(read_variance, 0.0) if likelihood else _numbers(error, 1.0),
    )
    steps = tuple(step for values in maps for step in _steps(values, math.prod(shape)))
    stack = image.reshape(len(image), *three_axes(shape, 1))
    masks = _NO_MASK if mask is None else mask.reshape(len(mask), *stack.shape[1:])
    padded = -(-box[2] // BLOCK) * BLOCK
    size = -(-box[0] * box[1] * padded // PADDED) * PADDED
    corners = np.zeros((count, 3), np.int64)
    corners[:, 3 - axes :] = origins
    table = _Neighbours(places, pixels, frames, shape, fit).table
    rows = np.empty((count, fit.model.columns))
    moments = np.zeros((count if fit.estimator == "lsq" else 0, fit.model.moments))
    matrices = np.full(fit.matrices(count), math.nan)
    n_iters = np.zeros(count, np.int32)
    constants = fit.model.constants(fit.numbers)
    if psf is not None:
        constants = np.concatenate([constants, psf.astype(np.float64).ravel()])
    spots = Spots(places - origins, origins, corners, flags, rows, moments, matrices, n_iters, constants)

    def read(part: slice, data: HostArray, spread: HostArray, least: HostArray) -> None:
        boxes_kernel.run(
            20 * data.size, stack, frames[part], corners[part], masks, maps, steps, box, padded, likelihood, data,
            spread, least, flags[part],
        )  # fmt: skip

    _fit_each(spots, count if graph is None else graph.alone, (box, padded, size), table, fit, read)
    if graph is not None:
        fit_crowd(spots, graph, (box, padded, size), table, fit, read)
    rejected = (flags & int(FIT_REJECTED)) != 0
    rows[rejected, :axes] = places[rejected]  # as they came, not rounded
    if graph is not None:
        back = np.empty(count, np.int64)
        back[graph.order] = np.arange(count)
        rows, pixels, frames = rows[back], pixels[back], frames[back]
        n_iters, flags = n_iters[back], flags[back]
        moments = moments[back] if len(moments) else moments
        matrices = matrices[back] if len(matrices) else matrices
    columns = columns_of(rows, moments, matrices, fit)
    return (*columns, n_iters, pixels, with_warnings(flags, columns, fit), frames)


def _fit_each(spots: Spots, count: int, sizes: Sizes, table: Any, fit: Fit, read: Reader) -> None:
    """Fit the first spots, each on its own."""
    box, padded, size = sizes
    options = ESTIMATOR_CODES[fit.estimator], fit.n_iters, fit.stop, fit.whole
    data, spread = np.empty((2, min(count, _BLOCK), size))
    least = np.empty(len(data))
    run = fit_kernel(fit.model).run
    for first in range(0, count, _BLOCK):
        part = slice(first, min(first + _BLOCK, count))
        length = part.stop - first
        own, own_spread = data[:length], spread[:length]
        read(part, own, own_spread, least)
        run(
            _WORK * own.size, own, own_spread, least, spots.starts[part], spots.origins[part], first, *table,
            fit.sigma, spots.constants, box, padded, options, fit.max_shift, spots.rows[part], spots.moments[part],
            spots.matrices[part], spots.flags[part], spots.n_iters[part],
        )  # fmt: skip
