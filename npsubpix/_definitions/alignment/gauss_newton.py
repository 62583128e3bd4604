"""Direct alignment of images, wherever they are: Gauss-Newton, from coarse to fine.

What sums up pixels is told by a `Level`; all that is done here is with few numbers, on the host.

Sources: Baker and Matthews, "Lucas-Kanade 20 years on: a unifying framework", International Journal
of Computer Vision 56 (2004), for the forward additive and the inverse compositional algorithm;
Holland and Welsch, "Robust regression using iteratively reweighted least-squares", Communications in
Statistics A 6 (1977), for the weights of Huber and Tukey and their constants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from npsubpix._definitions.alignment.normal_equations import Equations, margin_of
from npsubpix._definitions.alignment.transforms import (
    centred,
    exponential,
    farthest,
    from_parameters,
    generators,
    parameters,
    tangents,
)
from npsubpix._definitions.flags import AlignmentFlags
from npsubpix._definitions.shapes import HostArray

__all__ = [
    "LOSSES",
    "ROUNDING",
    "Level",
    "Options",
    "Outcome",
    "aligned",
    "count_levels",
    "is_of_model",
    "nothing_to_align",
]

LOSSES = {"least_squares": 0, "huber": 1, "tukey": 2}

#: Gradient of an image, in units of the rounding of its pixels, that is nothing but rounding.
ROUNDING = 16.0

#: Least side of the coarsest level, in pixels.
LEAST_SIDE = 32

#: Width of the quadratic part of a loss, in standard deviations of the residuals.
_WIDTHS = {"least_squares": 1.0, "huber": 1.345, "tukey": 4.685}

#: Update, in pixels of a level, at which a coarse level is left for the next.
_COARSE_TOLERANCE = 0.02

#: Least pixels that a level is aligned by.
_LEAST_PIXELS = 16

#: Ratio of the least to the greatest eigenvalue of the scaled normal equations, below which there is no solution.
_SINGULAR = 1e-9

#: Update, in pixels, after which steps may be by the crossed products, and the part of the others that those must have.
_NEAR, _LEAST_SIGNAL = 0.5, 0.02


@dataclass(frozen=True)
class Options:
    """What a call asks for."""

    model: str
    inverse: bool
    levels: int | None
    n_iters: int
    tol: float
    loss: str
    gain_bias: bool


@dataclass
class Outcome:
    """What a call found."""

    matrix: HostArray
    covariance: HostArray
    rms: float
    overlap: float
    n_iters: int
    converged: bool
    flags: int
    gain: float
    bias: float


class Level(Protocol):
    """Both images at one scale."""

    #: Pixels of the whole images that one of this is long.
    scale: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the fixed image."""

    @property
    def moving_shape(self) -> tuple[int, ...]:
        """Shape of the moving image."""

    @property
    def rounding(self) -> float:
        """How far the largest pixel of the fixed image is from the next number."""

    def equations(
        self, inverse: bool, gain_bias: bool, crossed: bool, basis: HostArray, matrix: HostArray, gain: float,
        bias: float, scale: float, loss: int,
    ) -> Equations:  # fmt: skip
        """Sum up the normal equations of one iteration."""

    def residuals(self, matrix: HostArray, gain: float, bias: float) -> HostArray:
        """Return the residuals of some thousand pixels, those that there are."""


def to_level(matrix: HostArray, scale: int) -> HostArray:
    """Turn a matrix between pixels of the whole images into one between pixels that are so many times as long."""
    s = _of_scale(scale)
    inner: HostArray = np.linalg.inv(s) @ matrix @ s
    return np.asarray(inner / inner[2, 2])


def from_level(matrix: HostArray, scale: int) -> HostArray:
    """Undo `to_level`."""
    s = _of_scale(scale)
    outer: HostArray = s @ matrix @ np.linalg.inv(s)
    return np.asarray(outer / outer[2, 2])


def _of_scale(scale: int) -> HostArray:
    s = np.eye(3)
    s[:2, :2] *= scale
    s[:2, 2] = 0.5 * (scale - 1)
    return s


def count_levels(side: int, levels: int | None) -> int:
    """Return how many levels there are for images of a least side: those asked for, or as many as are useful."""
    if levels is not None:
        return levels
    return 1 + max(0, int(math.log2(max(side, 1) / LEAST_SIDE))) if side >= LEAST_SIDE else 1


class Aligner:
    """State of an alignment: the matrix between whole images, gain and bias."""

    def __init__(self, options: Options, matrix: HostArray) -> None:
        self.options = options
        self.matrix = matrix / matrix[2, 2]
        self.gain, self.bias = 1.0, 0.0
        self.flags = 0
        self.total_iters = 0
        self.converged = False
        self.last_equations: Equations | None = None  # of the end, if the last iteration had what is needed

    def equations(
        self, level: Level, matrix: HostArray, basis: HostArray, inverse: bool, crossed: bool = False
    ) -> Equations:
        scale = self.residual_scale(level, matrix)
        return level.equations(
            inverse, self.options.gain_bias, crossed, basis, np.ascontiguousarray(matrix), self.gain, self.bias, scale,
            LOSSES[self.options.loss],
        )  # fmt: skip

    def residual_scale(self, level: Level, matrix: HostArray) -> float:
        """Width of the loss: a multiple of the deviation of residuals on a grid of some thousand pixels."""
        if self.options.loss == "least_squares":
            return 1.0
        residuals = level.residuals(matrix, self.gain, self.bias)
        spread = 1.4826 * float(np.median(np.abs(residuals))) if residuals.size else 0.0
        return _WIDTHS[self.options.loss] * spread if spread > 0 else math.inf

    def refine(self, level: Level, last: bool) -> None:
        """Iterate on one level."""
        options = self.options
        shape = level.shape
        still = centred(generators(options.model), shape)
        matrix = to_level(self.matrix, level.scale)
        best = (math.inf, matrix, self.gain, self.bias)
        tolerance = options.tol if last else max(options.tol, _COARSE_TOLERANCE)
        problem, converged, change = 0, False, math.inf
        trusted, limit = last and options.inverse, _NEAR  # whether steps may be by the crossed products
        for _ in range(options.n_iters):
            basis = still if options.inverse else tangents(options.model, matrix, shape)
            e = self.equations(level, matrix, basis, options.inverse, trusted and change < _NEAR)
            problem = _problem(level, basis, e)
            if problem:
                break
            cost = e.squares / e.weight if e.weight > 0 else math.inf
            if cost < best[0]:
                best = (cost, matrix, self.gain, self.bias)
            self.total_iters += 1
            step, moved, change = self.step(matrix, e.products, e.right, still, shape)
            if trusted and e.crossed is not None and _is_sensitive(e):
                other = self.step(matrix, e.crossed, e.right, still, shape)
                trusted = other[2] < limit
                if trusted:
                    step, moved, change = other
                    limit = 0.5 * change  # of steps that come nearer, each is much shorter than the one before
            if options.gain_bias:
                self.gain, self.bias = self.gain + step[-2], self.bias + step[-1]
            matrix = moved
            if not np.isfinite(matrix).all() or change > 2 * max(shape):
                problem = int(AlignmentFlags.DIVERGED)
                break
            if change < tolerance:
                converged = True
                if e.crossed is not None:
                    self.last_equations = e
                break
        if problem:
            _, matrix, self.gain, self.bias = (
                best if best[0] < math.inf else (0, to_level(self.matrix, level.scale), 1.0, 0.0)
            )
        self.matrix = from_level(matrix, level.scale)
        if last:
            self.converged = converged
            self.flags |= problem | (0 if converged or problem else int(AlignmentFlags.NOT_CONVERGED))

    def step(
        self, matrix: HostArray, products: HostArray, right: HostArray, still: HostArray, shape: tuple[int, ...]
    ) -> tuple[HostArray, HostArray, float]:
        """Return a step, the matrix after it, and how far it moved a corner."""
        step = -_solve(products, right)
        moved = self.moved(matrix, step[: len(still)], still, shape)
        corners = np.array([[y, x, 1.0] for y in (0, shape[0] - 1) for x in (0, shape[1] - 1)])
        return step, moved, farthest(matrix, moved, corners)

    def moved(self, matrix: HostArray, step: HostArray, still: HostArray, shape: tuple[int, ...]) -> HostArray:
        """Update a matrix by a step of its parameters."""
        with np.errstate(all="ignore"):  # a step that is far too long gives a matrix that is not finite
            if self.options.inverse:
                matrix = matrix @ exponential(-np.tensordot(step, still, 1))
            else:
                p = parameters(self.options.model, matrix, shape) + step
                matrix = from_parameters(self.options.model, p, shape)
            return np.asarray(matrix / matrix[2, 2])

    def outcome(self, level: Level) -> Outcome:
        """Evaluate the result on whole images, with parameters about the centre of the fixed one."""
        basis = centred(generators(self.options.model), level.shape)
        e = self.last_equations or self.equations(level, self.matrix, basis, True, True)
        size = len(basis)
        covariance = np.full((size, size), np.nan)
        problem = _problem(level, basis, e)
        self.flags |= problem
        rms = math.sqrt(e.squares / e.weight) if e.pixels > 0 and e.weight > 0 else math.nan
        if not problem and not _is_sensitive(e):
            self.flags |= int(AlignmentFlags.NO_TEXTURE)
        elif not problem and e.crossed is not None:
            # The fixed image's noise times its own gradient sums to nothing: it is the derivative of a square
            spread = 0.5 * (e.products + 0.5 * (e.crossed + e.crossed.T))
            variance = e.squares / e.weight * e.pixels / max(e.pixels - len(e.right), 1)
            back = _inverse(e.crossed)
            covariance = variance * (back @ spread @ back.T)[:size, :size]
        margin = margin_of(level.moving_shape)
        most = math.prod(max(n - 1 - 2 * margin, 1) for n in level.shape)
        return Outcome(
            self.matrix, covariance, rms, min(float(e.pixels) / most, 1.0), self.total_iters,
            self.converged and not problem, self.flags, self.gain, self.bias,
        )  # fmt: skip


def nothing_to_align(options: Options, matrix: HostArray, flag: int) -> Outcome:
    """Return the outcome of images that cannot be aligned, for a reason."""
    size = len(generators(options.model))
    nan = np.full((size, size), np.nan)
    return Outcome(matrix / matrix[2, 2], nan, math.nan, 0.0, 0, False, flag, 1.0, 0.0)


def aligned(levels: Sequence[Level], options: Options, matrix: HostArray) -> Outcome:
    """Align images, given from coarse to fine."""
    aligner = Aligner(options, matrix)
    for level in levels:
        aligner.refine(level, level is levels[-1])
    return aligner.outcome(levels[-1])


def _problem(level: Level, basis: HostArray, e: Equations) -> int:
    """Flag of what keeps normal equations from being solved, 0 for nothing."""
    products, count = e.products, e.pixels
    if count < max(_LEAST_PIXELS, 2 * len(e.right)):
        return int(AlignmentFlags.NO_OVERLAP)
    if not (np.isfinite(products).all() and np.isfinite(e.right).all()):
        return int(AlignmentFlags.NONFINITE)
    scale = np.sqrt(np.diag(products))
    height, width = level.shape
    corners = np.array([[y, x, 1.0] for y in (0, height - 1) for x in (0, width - 1)])
    moves = np.linalg.norm(basis[:, :2] @ corners.T, axis=1).max(-1)  # of a corner, by a unit of each parameter
    moves += np.abs(basis[:, 2] @ corners.T).max(-1) * max(height, width)
    rounding = ROUNDING * level.rounding
    if not (scale[: len(basis)] > rounding * moves * math.sqrt(count)).all() or not (scale > 0).all():
        return int(AlignmentFlags.NO_TEXTURE)
    eigenvalues = np.linalg.eigvalsh(products / np.outer(scale, scale))
    return int(AlignmentFlags.NO_TEXTURE) if eigenvalues[0] < _SINGULAR * eigenvalues[-1] else 0


def _is_sensitive(e: Equations) -> bool:
    """Whether residuals change with parameters by more than chance: crossed products are near the others."""
    if e.crossed is None or not np.isfinite(e.crossed).all():
        return False
    scale = 1 / np.sqrt(np.diag(e.products))
    part = e.crossed * np.outer(scale, scale)
    whole = np.linalg.eigvalsh(e.products * np.outer(scale, scale))
    return bool(np.linalg.eigvalsh(0.5 * (part + part.T))[0] > _LEAST_SIGNAL * whole[0])


def _solve(products: HostArray, right: HostArray) -> HostArray:
    scale = 1 / np.sqrt(np.abs(np.diag(products)))
    solution: HostArray = scale * np.linalg.solve(products * np.outer(scale, scale), scale * right)
    return solution


def _inverse(products: HostArray) -> HostArray:
    scale = 1 / np.sqrt(np.abs(np.diag(products)))
    inverse: HostArray = np.linalg.inv(products * np.outer(scale, scale)) * np.outer(scale, scale)
    return inverse


def is_of_model(model: str, matrix: HostArray, shape: tuple[int, ...]) -> bool:
    """Whether a matrix is what its parameters say, to a thousandth of a pixel."""
    corners = np.array([[y, x, 1.0] for y in (0, shape[0] - 1) for x in (0, shape[1] - 1)])
    nearest = from_parameters(model, parameters(model, matrix / matrix[2, 2], shape), shape)
    return farthest(matrix, nearest, corners) < 1e-3
