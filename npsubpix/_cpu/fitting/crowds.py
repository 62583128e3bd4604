"""Fits of spots together with their neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.fitting.coupling import coupling_kernel
from npsubpix._cpu.fitting.crowded_starts import STATES
from npsubpix._cpu.fitting.gaussian import BLOCK
from npsubpix._cpu.fitting.graph import Graph
from npsubpix._cpu.fitting.joint import joint_kernel
from npsubpix._cpu.fitting.solver import ESTIMATOR_CODES, PADDED
from npsubpix._cpu.fitting.sweeps import sweep_kernel
from npsubpix._definitions.crowds import SWEEPS, margins_of
from npsubpix._definitions.fitting import Fit

__all__ = ["Reader", "Sizes", "Spots", "fit_crowd"]

#: Lengths of a box, of its padded rows, and its padded size.
Sizes = tuple[tuple[int, ...], int, int]

#: Writes the pixels, read variances and least read variances of the boxes of rows.
Reader = Callable[[slice, HostArray, HostArray, HostArray], None]

#: Bytes of the boxes of spots that are fitted at a time, and spots of a piece of work.
_MEMORY, _TASK = 1 << 25, 64

#: Elementary operations that sweeps take for each pixel of a box.
_WORK = 1000


class Spots(NamedTuple):
    """Rows of spots: where they begin in their boxes; the first pixels of these, also along three axes; results."""

    starts: HostArray
    origins: HostArray
    corners: HostArray
    flags: HostArray
    rows: HostArray
    moments: HostArray
    matrices: HostArray
    n_iters: HostArray
    constants: HostArray


def _blocks(groups: HostArray, most: int) -> Iterator[tuple[int, int]]:
    """Yield first and last groups of blocks, of not much more than so many spots."""
    first = 0
    while first < len(groups) - 1:
        last = max(first + 1, int(np.searchsorted(groups, groups[first] + most, side="right")) - 1)
        yield first, last
        first = last


def fit_crowd(spots: Spots, graph: Graph, sizes: Sizes, table: Any, fit: Fit, read: Reader) -> None:
    """Fit the spots that have neighbours."""
    model, (box, padded, size) = fit.model, sizes
    margins = margins_of(box)
    wide = tuple(length + 2 * margin for length, margin in zip(box, margins, strict=True))
    wide_padded = -(-wide[2] // BLOCK) * BLOCK
    wide_size = -(-wide[0] * wide[1] * wide_padded // PADDED) * PADDED
    most = _MEMORY // (8 * (3 * size + wide_size))
    count, constants, unweighted = model.parameters, spots.constants, fit.estimator == "lsq"
    kept = model.axes + 1 + model.widths
    for first, last in _blocks(graph.groups, most):
        low, high = int(graph.groups[first]), int(graph.groups[last])
        many, part = high - low, slice(graph.alone + low, graph.alone + high)
        data, spread = np.empty((2, many, size))
        least = np.empty(many)
        read(part, data, spread, least)
        groups = graph.groups[first : last + 1] - low
        offsets = graph.offsets[low : high + 1] - graph.offsets[low]
        neighbours = graph.neighbours[graph.offsets[low] : graph.offsets[high]] - low
        wanted = np.arange(0, many + _TASK, _TASK)
        tasks = np.unique(np.searchsorted(groups, np.minimum(wanted, many)))
        light, moving = np.empty((many, wide_size)), np.zeros((2, many), np.uint8)
        parameters, states = np.zeros((many, count)), np.zeros((many, STATES))
        histories, seen = np.zeros((many, 3, count)), np.zeros((many, size))
        covariances = np.empty((many, 2, count, count))
        starts, corners, flags = spots.starts[part], spots.corners[part], spots.flags[part]
        rows, moments, matrices = spots.rows[part], spots.moments[part], spots.matrices[part]
        sweep_kernel(model).run(
            _WORK * data.size, data, spread, least, starts, corners, part.start, *table, fit.sigma, constants, box,
            padded, ESTIMATOR_CODES[fit.estimator], SWEEPS * fit.n_iters, fit.max_shift, margins, wide, wide_padded,
            offsets, neighbours, groups, tasks, light, parameters, states, histories, seen, moving, rows, moments,
            covariances, flags, spots.n_iters[part],
        )  # fmt: skip
        transfers, strengths = np.empty((len(neighbours), count, kept)), np.zeros(len(neighbours))
        shared = np.empty((len(neighbours), 2 if unweighted else 1, count, count))
        coupling_kernel(model).run(
            _WORK * data.size, data, spread, light, corners, fit.sigma, constants, box, padded, unweighted, margins,
            wide, wide_padded, wide_size, offsets, neighbours, parameters, covariances, flags, transfers, shared,
            strengths,
        )  # fmt: skip
        joint_kernel.run(
            _WORK * data.size, offsets, neighbours, transfers, shared, strengths, covariances, kept, unweighted, rows,
            moments, matrices, flags,
        )  # fmt: skip
        rows[:, : model.axes] += spots.origins[part]
