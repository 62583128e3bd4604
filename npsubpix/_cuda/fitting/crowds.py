"""Fits of spots together with their neighbours, on the GPU."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import Device, blocks_for, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.constants import FIT_JOINT_SPOTS, FIT_LEAP_SWEEPS, FIT_LINEAR_SWEEPS
from npsubpix._definitions.crowds import SWEEPS, hashed, margins_of, reach_of
from npsubpix._definitions.fitting import Fit
from npsubpix._definitions.flags import FitFlags
from npsubpix._definitions.shapes import three_axes

__all__ = ["Results", "fit_crowd"]

register("crowds", each("Pixel", ("UInt16", *FLOATS)))
register("crowds_models", each("Pixel", ("UInt16", *FLOATS)))
register("crowd_graph", ((),))

#: Phases of kernels, see `crowds.cuh`.
_BEGIN, _SWEEP, _LEAP, _FINISH, _COUPLE = range(5)

#: Sweeps, and rounds of colours, between looks at whether any spot is left: the host waits for the device there.
_SWEEPS_BETWEEN, _ROUNDS_BETWEEN = 4, 4

#: Threads of a block, and most blocks of the kernel that solves for joint errors, each of whose threads needs memory.
_THREADS, _SOLVERS = 64, 64


class Results(NamedTuple):
    """What kernels write for each row, and whether covariances are wanted."""

    rows: DeviceArray
    moments: DeviceArray
    matrices: DeviceArray
    covariance: bool
    flags: DeviceArray
    n_iters: DeviceArray


class _Graph(NamedTuple):
    """Rows of spots that have neighbours, those of spot k beginning at ``offsets[k]``; colours, and how many."""

    rows: DeviceArray
    offsets: DeviceArray
    neighbours: DeviceArray
    colours: DeviceArray
    many: int


def _graph(
    device: Device, points: DeviceArray, pixels: DeviceArray, frames: DeviceArray, images: int,
    shape: tuple[int, ...], fit: Fit, results: Results,
) -> _Graph | None:  # fmt: skip
    """Return spots and their neighbours; of several that start at one pixel, all but the first row are rejected."""
    inside = (points == points).all(1) & (frames >= 0) & (frames < images)
    in_frame = frames * 0
    for axis, length in enumerate(shape):
        inside = inside & (pixels[:, axis] >= 0) & (pixels[:, axis] < length)
        in_frame = in_frame * length + pixels[:, axis].clip(0, length - 1)
    rows = np.flatnonzero(inside)
    keys = (in_frame + frames * math.prod(shape))[rows]
    order = np.argsort(keys, kind="stable")
    rows, keys = rows[order], keys[order]
    again = keys != keys
    again[1:] = keys[1:] == keys[:-1]
    _reject(rows[again], points, fit, results)
    rows, keys = rows[~again], keys[~again]
    limits = *reach_of(three_axes(fit.box, 1)), *three_axes(shape, 1)
    counts = device.empty((len(rows),), np.int64)
    keys = device.rows(keys, keys.shape, np.int64)
    count_kernel = Kernel.of("crowd_graph", "crowd_count_neighbours")
    run(device, count_kernel, blocks_for(len(rows)), keys, len(rows), *limits, counts)
    near = counts > 0
    rows, keys, counts = rows[near], keys[near], counts[near]
    count = len(rows)
    if count == 0:
        return None
    offsets = device.full((count + 1,), 0, np.int64)
    offsets[1:] = np.cumsum(counts)
    total = int(device.get(offsets[-1:])[0])
    neighbours, colours = device.empty((total,), np.int64), device.full((count,), -1, np.int64)
    rows, keys = (device.rows(x, x.shape, np.int64) for x in (rows, keys))
    find_kernel = Kernel.of("crowd_graph", "crowd_find_neighbours")
    run(device, find_kernel, blocks_for(count), keys, count, *limits, offsets, neighbours)
    priorities = device.rows(hashed(in_frame[rows]), (count,), np.uint64)
    left = 1
    while left:
        for _ in range(_ROUNDS_BETWEEN):
            open_spots = device.full((1,), 0, np.int64)
            run(
                device, Kernel.of("crowd_graph", "crowd_colour_spots"), blocks_for(count), offsets, neighbours,
                priorities, count, colours, open_spots,
            )  # fmt: skip
        left = int(device.get(open_spots)[0])
    return _Graph(rows, offsets, neighbours, colours, int(device.get(colours.max())) + 1)


def _reject(rows: DeviceArray, points: DeviceArray, fit: Fit, results: Results) -> None:
    """Flag rows as `SINGULAR`."""
    results.flags[rows], results.n_iters[rows] = int(FitFlags.SINGULAR), 0
    results.rows[rows] = math.nan
    results.rows[rows, : fit.model.axes] = points[rows]
    if fit.estimator == "lsq":
        results.moments[rows] = 0.0
    if results.covariance:
        results.matrices[rows] = math.nan


def fit_crowd(
    device: Device, x: DeviceArray, arguments: tuple[Any, ...], points: DeviceArray, pixels: DeviceArray,
    frames: DeviceArray, fit: Fit, results: Results,
) -> None:  # fmt: skip
    """Fit the spots that have neighbours; `arguments` are those of kernels that fit spots one by one."""
    graph = _graph(device, points, pixels, frames, x.shape[0], tuple(x.shape[1:]), fit, results)
    if graph is None:
        return
    model, count, box = fit.model, len(graph.rows), three_axes(fit.box, 1)
    margins, parameters = margins_of(box), model.parameters
    kept, kinds = model.axes + 1 + model.widths, 2 if fit.estimator == "lsq" else 1
    size = math.prod(box)
    wide = math.prod(length + 2 * margin for length, margin in zip(box, margins, strict=True))

    def numbers(*shape: int) -> DeviceArray:
        return device.full(shape, 0.0, np.float64)

    edges, moves = len(graph.neighbours), device.full((2, count), 0, np.int32)
    covariances, transfers = numbers(count, 2, parameters, parameters), numbers(edges, parameters, kept)
    shared, strengths = numbers(edges, kinds, parameters, parameters), numbers(edges)
    kernel = Kernel.of(
        "crowds" if model.is_separable else "crowds_models", f"crowd_{model.name}", Pixel=x.dtype
    )  # fmt: skip
    own = (
        count, graph.rows, graph.offsets, graph.neighbours, graph.colours, *margins, numbers(count, wide),
        numbers(count, size), numbers(count, size), numbers(count, parameters), numbers(count, 3, parameters),
        covariances, numbers(count, size), numbers(count, size), transfers, shared, strengths, numbers(count, 6), moves,
    )  # fmt: skip

    def phase(number: int, colour: int = 0, *, linear: bool = False) -> None:
        run(
            device, kernel, blocks_for(count, each=_THREADS), *arguments, *own, number, colour, linear,
            threads=_THREADS,
        )  # fmt: skip

    phase(_BEGIN)
    sweeps = SWEEPS * fit.n_iters
    for sweep in range(sweeps):
        for colour in range(graph.many):
            phase(_SWEEP, colour, linear=sweep < FIT_LINEAR_SWEEPS)
        active = device.full((1,), 0, np.int64)
        run(
            device, Kernel.of("crowd_graph", "crowd_settle"), blocks_for(count), graph.rows, graph.offsets,
            graph.neighbours, count, results.flags, moves, active,
        )  # fmt: skip
        if sweep + 1 < sweeps:
            phase(_LEAP, linear=sweep > FIT_LINEAR_SWEEPS and (sweep - FIT_LINEAR_SWEEPS) % FIT_LEAP_SWEEPS == 0)
            if sweep % _SWEEPS_BETWEEN == 0 and not int(device.get(active)[0]):
                break
    phase(_FINISH)
    phase(_COUPLE)
    stride = FIT_JOINT_SPOTS * kept
    need = 2 * parameters * parameters + stride * (stride + 2 * parameters)
    blocks = min(blocks_for(count, each=_THREADS), _SOLVERS)
    scratch = device.empty((blocks * _THREADS, need), np.float64)
    run(
        device, Kernel.of("crowd_graph", "crowd_joint_errors"), blocks, graph.rows, graph.offsets, graph.neighbours,
        transfers, shared, strengths, covariances, parameters, kept, kinds, count, scratch, need, model.columns,
        results.rows, results.moments, results.matrices, results.covariance, points, model.axes, results.flags,
        threads=_THREADS,
    )  # fmt: skip
