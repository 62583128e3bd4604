"""Partitions of positions among threads: runs of positions in scan order, bands of rows for any others."""

from __future__ import annotations

import numpy as np

from npsubpix._cpu.compiler.jit import allocating, device

__all__ = ["RUNS", "SMALLEST_BAND", "chunks_per_run", "places_of", "slow_axis", "sort"]

SMALLEST_BAND = 4  # binary logarithm of its rows, of which no window has more
RUNS = 64  # at most


@device
def slow_axis(shape):
    """Return the axis that bands divide, and its stride in pixels."""
    if shape[0] > 1:
        return 0, shape[1] * shape[2]
    if shape[1] > 1:
        return 1, shape[2]
    return 2, 1


@allocating
def places_of(counts):
    """Replace counts (chunks, bands) by the places of the first positions of each; return where each band begins."""
    chunks, bands = counts.shape
    begins = np.empty(bands, np.int64)
    total = 0
    for band in range(bands):
        begins[band] = total
        for k in range(chunks):
            here = counts[k, band]
            counts[k, band] = total
            total += here
    return begins


@device
def sort(bands, places, begin, end, order):
    """Write the indices of the positions of a chunk to the places of their bands."""
    for k in range(begin, end):
        order[places[bands[k]]] = k
        places[bands[k]] += 1


@allocating
def _are_apart(lows, highs, runs, per):
    """Return whether runs of `per` chunks share no rows with the second next run and those after it."""
    low, high = np.full(runs, np.iinfo(np.int64).max), np.full(runs, -1)
    for k in range(lows.size):
        low[k // per] = min(low[k // per], lows[k])
        high[k // per] = max(high[k // per], highs[k])
    for run in range(runs):
        for other in range(run + 2, runs, 2):
            if low[run] <= high[other] and low[other] <= high[run]:
                return False
    return True


@device
def chunks_per_run(lows, highs):
    """Return the number of chunks per run of positions in scan order, or 0 if they are in another order."""
    chunks = lows.size
    runs = RUNS
    while runs >= 4:
        per = (chunks + runs - 1) // runs
        if _are_apart(lows, highs, (chunks + per - 1) // per, per):
            return per
        runs //= 2
    return chunks if chunks < 4 else 0
