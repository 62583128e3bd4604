"""Peaks that refinement moved to the place of a stronger one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.constants import DUPLICATE_DISTANCE
from npsubpix._definitions.flags import REJECTED, PeakFlags

__all__ = ["flag_duplicates"]

_MOVED = int(PeakFlags.MOVED)

_FEW = 1000  # places that are sorted in less time than those far from all that moved are left out
_MARKS = 1 << 18  # for numbers of pixels, of which those that are equal modulo so many share one


def _near_any(moved: npt.NDArray[np.int64], pixels: npt.NDArray[np.int64], neighbours: npt.NDArray[np.int64]) -> Any:
    """Select the places in the pixels of those that moved and around them, and a few others: the rest have no pair."""
    if pixels.size < _FEW or 6 * moved.size * neighbours.size > _MARKS:
        return slice(None)
    marks = np.zeros(_MARKS, bool)
    around = pixels[moved] + neighbours[:, None]
    for step in (-1, 0, 1):
        marks[(around + step) & (_MARKS - 1)] = True
    return np.flatnonzero(marks[pixels & (_MARKS - 1)])


def _weaker_of_pairs(
    moved: npt.NDArray[np.int64],
    pixels: npt.NDArray[np.int64],
    coords: npt.NDArray[np.float64],
    rows: npt.NDArray[np.int64],
    neighbours: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Return the weaker of each two rows within the distance, for places that `moved` and all others.

    Places are in order of `pixels`, the numbers of the pixels in which they lie. A row may have several places, as it
    has in a periodic image. Few rows move, for which a kernel would take longer to compile than to run.
    """
    first = (pixels[moved] + neighbours[:, None] - 1).ravel()  # ascending for each neighbour: these are found sooner
    own = np.tile(moved, neighbours.size)
    place = np.searchsorted(pixels, first)
    found = [rows[:0]]
    pixels = np.append(pixels, np.iinfo(np.int64).max)
    while (left := np.flatnonzero(pixels[place] <= first + 2)).size:
        own, place, first = own[left], place[left], first[left]
        distance = np.zeros(own.size)
        for axis in range(coords.shape[1]):
            distance += (coords[own, axis] - coords[place, axis]) ** 2
        near = np.flatnonzero((distance < DUPLICATE_DISTANCE * DUPLICATE_DISTANCE) & (rows[place] != rows[own]))
        found.append(np.maximum(rows[place[near]], rows[own[near]]))
        place = place + 1
    return np.concatenate(found)


def flag_duplicates(
    coords: npt.NDArray[np.float64],
    flags: npt.NDArray[np.int32],
    frames: npt.NDArray[np.int64],
    shape: tuple[int, ...],
    wrap: bool,
) -> bool:
    """Flag the peaks whose place a stronger one of the image has too; return whether there are any.

    Maxima and minima do not interact.
    Rows are image by image, the strongest first. Only rows that were refined count. In a periodic image distances
    are those to the nearest repetition.
    """
    if int(np.bitwise_or.reduce(flags)) & _MOVED == 0:
        return False
    rows = np.flatnonzero((flags & int(REJECTED)) == 0)
    places = coords.take(rows, axis=0)
    if wrap:
        rows, places = _with_repetitions(rows, places, shape[1:])
    # Numbers of pixels, with two more on each side of the image, so that neighbours are pixels of the same image.
    pixel = 2 * frames[rows] + ((flags[rows] & int(PeakFlags.MINIMUM)) != 0)
    steps = np.zeros(1, np.int64)
    for axis, count in enumerate(shape[1:]):
        pixel = pixel * (count + 4) + np.rint(places[:, axis]).astype(np.int64) + 2
        around = np.arange(-1, 2) if axis < len(shape) - 2 else np.zeros(1, np.int64)  # kernels go along the last axis
        steps = (steps[:, None] * (count + 4) + around).ravel()
    near = _near_any(np.flatnonzero(flags[rows] & _MOVED), pixel, steps)
    rows, pixel, places = rows[near], pixel[near], places[near]
    order = np.argsort(pixel)
    rows, pixel, places = rows[order], pixel[order], places.take(order, axis=0)
    walked = np.flatnonzero(flags[rows] & _MOVED)
    found = _weaker_of_pairs(walked, pixel, places, rows, steps)
    flags[found] |= int(PeakFlags.DUPLICATE)
    return found.size > 0


def _with_repetitions(
    rows: npt.NDArray[np.int64], places: npt.NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Add the places near an edge of a periodic image beyond the opposite edge, as further places of their rows."""
    for axis, count in enumerate(shape):
        low = np.flatnonzero(places[:, axis] < DUPLICATE_DISTANCE - 0.5)
        high = np.flatnonzero(places[:, axis] > count - 0.5 - DUPLICATE_DISTANCE)
        beyond = places[np.concatenate([low, high])]
        beyond[:, axis] += np.repeat([count, -count], [low.size, high.size])
        rows = np.concatenate([rows, rows[low], rows[high]])
        places = np.concatenate([places, beyond])
    return rows, places
