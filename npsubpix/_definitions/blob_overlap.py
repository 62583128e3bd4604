"""Blobs that cover each other: fractions of the smaller of two discs or balls, and which of two is kept."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["kept_by_overlap", "overlap_fraction", "pairs_within", "without_duplicates"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_NEAR = 0.35  # of a radius: half of a width, within which two extrema of adjacent levels are one blob


def overlap_fraction(distance: Floats, first: Floats, second: Floats, ndim: int) -> Floats:
    """Return the area, or volume, that two discs, or balls, share, as a fraction of that of the smaller."""
    small, large = np.minimum(first, second), np.maximum(first, second)
    d = np.maximum(distance, 1e-300)
    with np.errstate(all="ignore"):
        if ndim == 2:
            a = small**2 * np.arccos(np.clip((d**2 + small**2 - large**2) / (2 * d * small), -1, 1))
            b = large**2 * np.arccos(np.clip((d**2 + large**2 - small**2) / (2 * d * large), -1, 1))
            product = (-d + small + large) * (d + small - large) * (d - small + large) * (d + small + large)
            shared = (a + b - 0.5 * np.sqrt(np.maximum(product, 0))) / (math.pi * small**2)
        else:
            cap = (small + large - d) ** 2 * (d**2 + 2 * d * (small + large) - 3 * (small - large) ** 2) / (12 * d)
            shared = cap / (4 / 3 * small**3)
    return np.where(distance >= first + second, 0.0, np.where(distance <= large - small, 1.0, np.clip(shared, 0, 1)))


def kept_by_overlap(points: Floats, radii: Floats, overlap: float) -> Integers:
    """Return the rows, in order, that no kept row before them covers by more than a fraction."""
    pairs = pairs_within(points, radii)
    distance = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    shared = overlap_fraction(distance, radii[pairs[:, 0]], radii[pairs[:, 1]], points.shape[1])
    return _greedy(len(points), pairs[shared > overlap])


def without_duplicates(points: Floats, radii: Floats, signs: Floats, ratio: float) -> Integers:
    """Return the rows, in order, less those that are a kept row before them, seen on another grid or level."""
    pairs = pairs_within(points, _NEAR * radii)
    a, b = pairs.T
    distance = np.linalg.norm(points[a] - points[b], axis=1)
    near = distance < _NEAR * np.minimum(radii[a], radii[b])
    near &= np.abs(np.log(radii[a] / radii[b])) < 1.01 * math.log(ratio)
    return _greedy(len(points), pairs[near & (np.sign(signs[a]) == np.sign(signs[b]))])


def pairs_within(points: Floats, radii: Floats) -> Integers:
    """Return the pairs whose discs meet, the row that is first in order before the other.

    Radii are halved from class to class, so that a large one does not make pairs of all small ones.
    """
    from scipy.spatial import cKDTree

    if len(points) < 2:
        return np.empty((0, 2), np.int64)
    classes = np.floor(np.log2(radii / radii.min())).astype(int)
    found = []
    trees = {k: (cKDTree(points[classes == k]), np.flatnonzero(classes == k)) for k in np.unique(classes)}
    bounds = {k: radii[rows].max() for k, (_, rows) in trees.items()}
    for k, (tree, rows) in trees.items():
        pairs = tree.query_pairs(2 * bounds[k], output_type="ndarray")
        found.append(rows[pairs])
        for m, (other, others) in trees.items():
            if m > k:
                near = other.sparse_distance_matrix(tree, bounds[k] + bounds[m], output_type="ndarray")
                found.append(np.column_stack([others[near["i"]], rows[near["j"]]]))
    return np.sort(np.concatenate(found).astype(np.int64).reshape(-1, 2), axis=1)


def _greedy(count: int, pairs: Integers) -> Integers:
    """Return the rows that no kept row before them is paired with."""
    kept = np.ones(count, bool)
    order = np.argsort(pairs[:, 0], kind="stable")
    for a, b in pairs[order].tolist():
        if kept[a]:
            kept[b] = False
    return np.flatnonzero(kept)
