"""Transforms between two lists of points of which some are the same, from triangles that are alike.

Sources: Valdes, Campusano, Velasquez and Stetson, "FOCAS automatic catalog matching algorithms", PASP 107 (1995), and
Beroiz, Cabral and Sanchez, "Astroalign: A Python module for astronomical image registration", Astronomy and Computing
32 (2020), for triangles; Lang et al., "Astrometry.net: Blind astrometric calibration of arbitrary astronomical images",
The Astronomical Journal 139 (2010), for codes of asterisms; Moisan and Stival, "A probabilistic criterion to detect
rigid point matches between two images and estimate the fundamental matrix", IJCV 57 (2004), for the number of false
alarms; Umeyama, "Least-squares estimation of transformation parameters between two point patterns", IEEE PAMI 13
(1991), for similarities.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from npsubpix._definitions.alignment.solutions import corners_of
from npsubpix._definitions.alignment.transforms import farthest
from npsubpix._definitions.dtypes import HostArray

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

__all__ = ["Match", "inside", "least_squares", "match_points"]

#: Number of points of each list, the first ones, of which triangles are made.
_IN_TRIANGLES = 40

#: Numbers of points of each list in which pairs are counted, the first ones: faint stars may be seen in one image only.
_DEPTHS = (25, 50, 100, 200)

#: Distance in pixels up to which two points may be one, and that which its vertices add to the code of a triangle.
_TOLERANCE, _VERTEX_ERROR = 2.0, 0.7

#: Least longest side of a triangle, in pixels.
_LEAST_SIDE = 12.0

#: Distance in pixels, at the corner of the image, of transforms of one cell in the vote.
_CELL = 8.0

#: Number of cells of which the transform is tried, and of those with most pairs that are refined.
_TRIED, _REFINED = 60, 12

#: Greatest ratio of the scales of both images.
_GREATEST_SCALE = 8.0

#: Angle in radians, and share of the scale, up to which a transform counts as a shift.
_AS_SHIFT = 0.02

#: Expected number of matches as good as this one among lists of points that have nothing in common.
_FALSE_ALARMS = 1e-4

#: Share of the pairs that another transform may have.
_AMBIGUOUS = 0.8

#: Least number of pairs to which an affine transform is fitted.
_LEAST_AFFINE = 6

#: Number of times that pairs are chosen anew.
_ROUNDS = 8


class Match(NamedTuple):
    """Transform between two lists of points, the pairs that agree on it, and how many of them chance would give."""

    matrix: HostArray  # from the first list to the second
    pairs: HostArray  # rows of both lists, shape (N, 2)
    false_alarms: float


def match_points(
    fixed: HostArray, moving: HostArray, model: str, shape: tuple[int, ...], moving_shape: tuple[int, ...]
) -> Match | None:
    """Match two lists of positions (y, x), the brightest first; None if nothing speaks for any transform, or two do."""
    from scipy.spatial import cKDTree

    if min(len(fixed), len(moving)) < 3:
        return None
    votes = _votes(fixed[:_IN_TRIANGLES], moving[:_IN_TRIANGLES], model, shape)
    lists = fixed[: _DEPTHS[-1]], moving[: _DEPTHS[-1]]
    tree = cKDTree(lists[1])
    corners = corners_of(shape)
    counts = [len(_pairs(matrix, lists[0], tree, 3 * _TOLERANCE)) for matrix in votes]
    found: list[tuple[int, HostArray]] = []
    for k in sorted(range(len(votes)), key=lambda k: -counts[k])[:_REFINED]:
        refined, pairs = _refined(votes[k], *lists, tree, model)
        if len(pairs):
            found.append((len(pairs), refined))
    found.sort(key=lambda match: -match[0])
    for count, matrix in found[:1]:
        others = (n for n, other in found if farthest(matrix, other, corners) > 4 * _TOLERANCE)
        if max(others, default=0) > _AMBIGUOUS * count:
            return None
        pairs = _pairs(matrix, lists[0], tree, _TOLERANCE)
        alarms = _false_alarms(matrix, pairs, *lists, model, moving_shape)
        if alarms < _FALSE_ALARMS:
            return Match(matrix, pairs, alarms)
    return None


class _Triangles(NamedTuple):
    """Triangles of points: codes that do not depend on position, angle and scale, and the ends of longest sides."""

    codes: HostArray  # (N, 2): the third vertex, where the ends of the longest side are at 0 and 1
    first: HostArray  # (N, 2): the end of the longest side that is nearer to the third vertex
    side: HostArray  # (N,) complex: from there to the other end


def _triangles(points: HostArray) -> _Triangles:
    z = points[:, 0] + 1j * points[:, 1]
    corners = np.array(list(itertools.combinations(range(len(z)), 3)))
    vertices = z[corners]
    opposite = np.abs(np.stack([vertices[:, (k + 2) % 3] - vertices[:, (k + 1) % 3] for k in range(3)], 1))
    third = opposite.argmax(1)
    rows = np.arange(len(third))
    a, b, c = (vertices[rows, (third + k) % 3] for k in (1, 2, 0))
    nearer = np.abs(c - a) <= np.abs(c - b)
    a, b = np.where(nearer, a, b), np.where(nearer, b, a)
    long = np.abs(b - a) >= _LEAST_SIDE
    a, b, c = a[long], b[long], c[long]
    codes = (c - a) / (b - a)
    return _Triangles(np.stack([codes.real, codes.imag], 1), np.stack([a.real, a.imag], 1), b - a)


def _votes(fixed: HostArray, moving: HostArray, model: str, shape: tuple[int, ...]) -> list[HostArray]:
    """Return the transforms of triangles that are alike, those that many pairs agree on first."""
    first, second = _triangles(fixed), _triangles(moving)
    if min(len(first.side), len(second.side)) == 0:
        return []
    lengths = np.abs(first.side), np.abs(second.side)
    from scipy.spatial import cKDTree

    tree = cKDTree(second.codes)
    radii = _VERTEX_ERROR * (1 / lengths[0] + 1 / np.median(lengths[1]))
    near = tree.query_ball_point(first.codes, radii)
    i = np.repeat(np.arange(len(near)), [len(rows) for rows in near])
    if len(i) == 0:
        return []
    j = np.concatenate([np.asarray(rows, np.int64) for rows in near])
    turn = second.side[j] / first.side[i]
    good = _allowed(turn, lengths[0][i], lengths[1][j], model)
    i, j, turn = i[good], j[good], turn[good]
    middle = complex(*(0.5 * (n - 1) for n in shape))
    start = first.first[i] @ (1, 1j)
    ends = second.first[j] @ (1, 1j) + turn * (middle - start)
    return _most_frequent(turn, ends, middle, model)


def _allowed(turn: HostArray, first: HostArray, second: HostArray, model: str) -> HostArray:
    """Return which transforms of longest sides are of a model."""
    scale = np.abs(turn)
    if model in ("translation", "euclidean"):
        good = np.abs(second - first) < 2 * _TOLERANCE
    else:
        good = (scale < _GREATEST_SCALE) & (scale > 1 / _GREATEST_SCALE)
    if model == "translation":
        good &= np.abs(turn - 1) < _AS_SHIFT + 2 * _TOLERANCE / first
    return np.asarray(good)


def _most_frequent(turn: HostArray, ends: HostArray, middle: complex, model: str) -> list[HostArray]:
    """Return the mean transforms of the cells with most votes."""
    if len(turn) == 0:
        return []
    radius = abs(middle)
    where = np.stack([radius * turn.real, radius * turn.imag, ends.real, ends.imag], 1)
    cells, places, counts = np.unique(np.floor(where / _CELL), axis=0, return_inverse=True, return_counts=True)
    places = places.ravel()
    means = np.stack([np.bincount(places, column, len(cells)) / counts for column in where.T], 1)
    best = np.argsort(-counts, kind="stable")[:_TRIED]
    return [_matrix(complex(*means[k, :2]) / radius, complex(*means[k, 2:]), middle, model) for k in best]


def _matrix(turn: complex, end: complex, middle: complex, model: str) -> HostArray:
    """Return the matrix that turns and scales around a point, and takes it to another."""
    if model == "translation":
        turn = 1.0
    elif model == "euclidean":
        turn /= abs(turn)
    offset = end - turn * middle
    return np.array([[turn.real, -turn.imag, offset.real], [turn.imag, turn.real, offset.imag], [0, 0, 1]])


def _refined(
    matrix: HostArray, fixed: HostArray, moving: HostArray, tree: cKDTree, model: str
) -> tuple[HostArray, HostArray]:
    """Fit a transform to its pairs by least squares, until the pairs stay the same."""
    pairs = _pairs(matrix, fixed, tree, 3 * _TOLERANCE)
    for _ in range(_ROUNDS):
        if len(pairs) < 3:
            return matrix, pairs[:0]
        matrix = least_squares(fixed[pairs[:, 0]], moving[pairs[:, 1]], model)
        again = _pairs(matrix, fixed, tree, _TOLERANCE)
        if np.array_equal(again, pairs):
            break
        pairs = again
    return matrix, pairs


def _pairs(matrix: HostArray, fixed: HostArray, tree: cKDTree, tolerance: float) -> HostArray:
    """Return the rows of points that a transform takes to one place, each the nearest of the other."""
    moved = fixed @ matrix[:2, :2].T + matrix[:2, 2]
    distance, nearest = tree.query(moved, distance_upper_bound=tolerance)
    rows = np.flatnonzero(np.isfinite(distance))
    rows = rows[np.lexsort((distance[rows], nearest[rows]))]
    _, first = np.unique(nearest[rows], return_index=True)
    rows = np.sort(rows[first])
    return np.stack([rows, nearest[rows]], 1)


def least_squares(fixed: HostArray, moving: HostArray, model: str, weights: HostArray | None = None) -> HostArray:
    """Return the transform of a model, or the best affine one for homographies, that takes points to others."""
    w = np.ones(len(fixed)) if weights is None else weights
    centres = [np.average(points, axis=0, weights=w) for points in (fixed, moving)]
    a, b = fixed - centres[0], moving - centres[1]
    linear = np.eye(2)
    if model in ("affine", "homography") and len(a) >= _LEAST_AFFINE:
        root = np.sqrt(w)[:, None]
        linear = np.linalg.lstsq(root * a, root * b, rcond=None)[0].T
    elif model != "translation":
        p, q = a @ (1, 1j), b @ (1, 1j)
        turn = np.vdot(p, w * q)
        norm = abs(turn) if model == "euclidean" else np.vdot(p, w * p).real
        turn = turn / norm if norm > 0 else 1.0
        linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, centres[1] - linear @ centres[0]
    return matrix


def _false_alarms(
    matrix: HostArray, pairs: HostArray, fixed: HostArray, moving: HostArray, model: str, shape: tuple[int, ...]
) -> float:
    """Return how many transforms between lists without a common point would have as many pairs, by chance.

    Two pairs of points determine a similarity, and one a shift; each other point of the first list that comes to lie
    in the second image is near one of the second list with the same probability.
    """
    from scipy.special import bdtrc

    visible = inside(matrix, fixed, shape)
    least, area = math.inf, max(math.prod(shape), 1)
    for depth in _DEPTHS:
        first, second = min(depth, len(fixed)), min(depth, len(moving))
        count = int((pairs < depth).all(1).sum())
        seen = int(visible[:first].sum())
        chance = min(1.0, second * math.pi * _TOLERANCE**2 / area)
        determined = 1 if model == "translation" else 2
        trials = float(first * second)
        if determined == 2:
            trials *= (first - 1) * (second - 1)
        if model == "euclidean":
            trials *= min(1.0, 4 * _TOLERANCE / math.sqrt(area))
        if count > determined and seen > determined:
            more = bdtrc(count - determined - 1, max(seen - determined, count - determined), chance)
            least = min(least, len(_DEPTHS) * trials * float(more))
    return least


def inside(matrix: HostArray, points: HostArray, shape: tuple[int, ...]) -> HostArray:
    """Return which points an affine transform takes into an image."""
    moved = points @ matrix[:2, :2].T + matrix[:2, 2]
    return np.asarray(((moved > -0.5) & (moved < np.array(shape) - 0.5)).all(1))
