"""Drift as a spline over frames, from the distances of all pairs of localizations that are near each other.

The sum over pairs of a Gaussian of their distance is the correlation of images rendered with Gaussians, without pixels.
Its maximum over the coefficients of a spline is found by Newton's method, from iterations of weighted least squares.
Standard errors are those of an M-estimator, with sums over cells of the image, in which localizations of one molecule
lie together, as independent contributions: nothing is assumed of noise or of how often a molecule is seen.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Fit", "Spline", "fit_spline", "near_pairs"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Distance of pairs that are considered, in widths of the Gaussian.
_REACH = 3.5

#: Most pairs that are kept in memory: localizations are thinned out for more.
_MOST_PAIRS = 8_000_000

#: Iterations at each width, first of weighted least squares, and the step in widths at which they end.
_N_FIRST, _N_ITERS, _TOL = 3, 40, 1e-4

#: Cells of the image: least size in widths, and about how many there are at most.
_CELL_WIDTHS, _MOST_CELLS = 12.0, 2000

_DEGREE = 3


class Spline:
    """Splines over frames, with as many coefficients as there are segments."""

    def __init__(self, frame: Ints, count: int) -> None:
        """Put knots between equal numbers of localizations; frames are sorted."""
        degree = max(1, min(_DEGREE, count - 1))
        parts = np.linspace(0, 1, max(2, count - degree + 1))[1:-1]
        inner = np.unique(np.quantile(frame, parts)) if len(parts) else np.empty(0)
        ends = float(frame[0]) - 0.5, float(frame[-1]) + 0.5
        self.degree = degree
        self.knots = np.concatenate([[ends[0]] * (degree + 1), inner, [ends[1]] * (degree + 1)])

    def basis(self, frame: Any) -> Any:
        """Return the values of the basis in frames, as a sparse array of one row per frame."""
        from scipy.interpolate import BSpline
        from scipy.sparse import csr_array

        return csr_array(BSpline.design_matrix(np.asarray(frame, np.float64), self.knots, self.degree))


class Fit(NamedTuple):
    """Coefficients of the spline, one column per axis, and the covariance along each axis."""

    coefficients: Floats
    covariance: Floats  # of shape (ndim, C, C)
    converged: bool
    n_used: int


def near_pairs(points: Floats, frame: Ints, radius: float) -> tuple[Ints, Ints]:
    """Return the pairs of localizations of different frames within a distance."""
    from scipy.spatial import cKDTree

    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    pairs = pairs[frame[pairs[:, 0]] != frame[pairs[:, 1]]]
    return pairs[:, 0], pairs[:, 1]


def fit_spline(points: Floats, frame: Ints, start: Floats, widths: list[Floats], spline: Spline) -> Fit:
    """Fit the drift, from that of a start at each localization; widths of the Gaussian are tried one after another."""
    basis = spline.basis(frame)
    coefficients = _least_squares(basis, start)
    rows = np.arange(len(points))
    for width in widths:
        rows = _thinned(points - basis @ coefficients, width)
        part = _Sums(points[rows], frame[rows], basis[rows], width)
        coefficients, converged = part.maximum(coefficients)
    return Fit(coefficients, part.covariance(coefficients), converged, len(rows))


def _least_squares(basis: Any, values: Floats) -> Floats:
    square = (basis.T @ basis).toarray()
    return np.asarray(np.linalg.solve(square + 1e-9 * np.eye(len(square)) * np.trace(square), basis.T @ values))


def _thinned(points: Floats, width: Floats) -> Ints:
    """Return the localizations to compare: all, or evenly distributed ones if they have too many pairs."""
    from scipy.spatial import cKDTree

    tree = cKDTree(points / width)
    count = (int(tree.count_neighbors(tree, _REACH)) - len(points)) / 2
    if count <= _MOST_PAIRS:
        return np.arange(len(points))
    kept = int(len(points) * math.sqrt(_MOST_PAIRS / count))
    return np.sort(np.random.default_rng(0).permutation(len(points))[:kept])


class _Sums:
    """Sums over pairs of localizations, at one width of the Gaussian."""

    def __init__(self, points: Floats, frame: Ints, basis: Any, width: Floats) -> None:
        self.points, self.frame, self.basis, self.width = points, frame, basis, width
        self.mean = np.asarray(basis.sum(axis=0)).ravel() / len(points)
        self.first = self.second = np.empty(0, np.int64)

    def search(self, coefficients: Floats) -> None:
        """Find the pairs at a drift."""
        places = (self.points - self.basis @ coefficients) / self.width
        first, second = near_pairs(places, self.frame, _REACH)
        order = np.lexsort((second, first))
        self.first, self.second = first[order], second[order]

    def weights(self, coefficients: Floats) -> tuple[Floats, Floats]:
        """Return the distances of pairs in widths, and their weights."""
        places = (self.points - self.basis @ coefficients) / self.width
        distance = places[self.second] - places[self.first]
        squared = (distance**2).sum(axis=1)
        return distance, np.where(squared <= _REACH**2, np.exp(-0.5 * squared), 0.0)

    def square(self, weights: Floats) -> Floats:
        """Return the sum over pairs of a weight times the outer product of the difference of their basis."""
        from scipy.sparse import csr_array

        n = len(self.points)
        starts = np.searchsorted(self.first, np.arange(n + 1))
        upper = csr_array((weights, self.second, starts), shape=(n, n))
        total = np.bincount(self.first, weights, n) + np.bincount(self.second, weights, n)
        diagonal = (self.basis.multiply(total[:, None]).tocsr().T @ self.basis).toarray()
        mixed = (self.basis.T @ (upper @ self.basis)).toarray()
        return np.asarray(diagonal - mixed - mixed.T)

    def slopes(self, distance: Floats, weights: Floats) -> Floats:
        """Return the contribution of each localization to the gradient, one column per axis, in widths."""
        n = len(self.points)
        columns = []
        for axis in range(distance.shape[1]):
            pull = weights * distance[:, axis]
            columns.append(np.bincount(self.second, pull, n) - np.bincount(self.first, pull, n))
        return np.column_stack(columns)

    def maximum(self, coefficients: Floats) -> tuple[Floats, bool]:
        """Return the coefficients at the maximum, and whether iterations converged."""
        self.search(coefficients)
        for k in range(_N_ITERS):
            if k == _N_FIRST:
                self.search(coefficients)
            distance, weights = self.weights(coefficients)
            if not weights.any():
                return coefficients, False
            right = self.basis.T @ self.slopes(distance, weights)
            step = self._step(distance, weights, right, newton=k >= _N_FIRST)
            coefficients = coefficients + step * self.width
            if k >= _N_FIRST and np.abs(self.basis @ step).max() < _TOL:
                return coefficients, True
        return coefficients, False

    def _step(self, distance: Floats, weights: Floats, right: Floats, *, newton: bool) -> Floats:
        """Return the step of the coefficients, in widths."""
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        plain = self._pinned(self.square(weights))
        step = np.empty_like(right)
        for axis in range(right.shape[1]):
            matrix = plain
            if newton:
                matrix = self._pinned(self.square(weights * (1 - distance[:, axis] ** 2)))
            try:
                step[:, axis] = cho_solve(cho_factor(matrix), right[:, axis])
                if np.abs(self.basis @ step[:, axis]).max() > 1:
                    raise LinAlgError
            except LinAlgError:  # far from the maximum
                step[:, axis] = np.linalg.lstsq(plain, right[:, axis], rcond=None)[0]
        return step

    def _pinned(self, square: Floats) -> Floats:
        """Keep the mean of the drift, which no pair depends on."""
        scale = np.trace(square) / len(square) / max(float(self.mean @ self.mean), 1e-300)
        return np.asarray(square + abs(scale) * np.outer(self.mean, self.mean))

    def covariance(self, coefficients: Floats) -> Floats:
        """Return the covariance of the coefficients along each axis; NaN where the sum has no maximum."""
        distance, weights = self.weights(coefficients)
        slopes = self.slopes(distance, weights)
        of_row = np.asarray(np.bincount(self.first, weights, len(self.points)), np.float64)
        cells, size = self._cells(coefficients, of_row)
        covariances = []
        for axis in range(slopes.shape[1]):
            matrix = self._pinned(self.square(weights * (1 - distance[:, axis] ** 2)))
            sums = cells @ self.basis.multiply(slopes[:, axis, None]).tocsr()
            sums = np.asarray(sums.toarray())
            try:
                np.linalg.cholesky(matrix)
            except np.linalg.LinAlgError:
                covariances.append(np.full(matrix.shape, np.nan))
                continue
            spread = np.linalg.solve(matrix, sums.T)
            covariances.append(spread @ spread.T * self.width[axis] ** 2 * size)
        return np.asarray(covariances)

    def _cells(self, coefficients: Floats, weights: Floats) -> tuple[Any, float]:
        """Return a sparse array that sums over cells, and the factor by which few cells underestimate variances."""
        from scipy.sparse import csr_array

        places = self.points[:, -2:] - (self.basis @ coefficients)[:, -2:]
        low = places.min(axis=0)
        area = float(np.prod(np.maximum(np.ptp(places, axis=0), self.width[-2:])))
        side = max(_CELL_WIDTHS * float(self.width[-2:].max()), math.sqrt(area / _MOST_CELLS))
        column = np.floor((places - low) / side).astype(np.int64)
        cell = np.unique(column[:, 0] * (column[:, 1].max() + 1) + column[:, 1], return_inverse=True)[1]
        count = int(cell.max()) + 1
        n = len(places)
        sums = csr_array((np.ones(n), (cell, np.arange(n))), shape=(count, n))
        each = np.bincount(cell, weights, count)
        effective = float(each.sum() ** 2 / max((each**2).sum(), 1e-300))
        return sums, effective / (effective - 1) if effective > 1.5 else math.nan
