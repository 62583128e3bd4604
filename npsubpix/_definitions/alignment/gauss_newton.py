"""Direct alignment of images, wherever they are: Gauss-Newton iterations, from coarse to fine levels.

A `Level` samples and sums pixels on the device of the images. Everything here works with few numbers, on the host.

Sources: Baker and Matthews, "Lucas-Kanade 20 years on: a unifying framework", International Journal
of Computer Vision 56 (2004), for the forward additive and the inverse compositional algorithm;
Holland and Welsch, "Robust regression using iteratively reweighted least-squares", Communications in
Statistics A 6 (1977), for the weights of Huber and Tukey and their constants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

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
from npsubpix._definitions.dtypes import HostArray
from npsubpix._definitions.flags import AlignmentFlags

__all__ = [
    "Comparison",
    "Level",
    "Options",
    "Outcome",
    "aligned",
    "is_of_model",
    "nothing_to_align",
    "residual_step",
]

#: Numbers by which kernels know a loss function.
_LOSSES = {"least_squares": 0, "huber": 1, "tukey": 2}

#: Tuning constant of a loss function: residual at which it begins to down-weight, in units of the residual scale.
_TUNING_CONSTANTS = {"least_squares": 1.0, "huber": 1.345, "tukey": 4.685}

#: Standard deviation of Gaussian noise, in units of its median absolute value.
_DEVIATION_OF_MEDIAN = 1.4826

#: Number of pixels, about, from which the residual scale is estimated.
_SAMPLED_PIXELS = 4096

#: Gradient of an image, in units of the rounding of its pixels, that is nothing but rounding.
_LEAST_GRADIENT = 16.0

#: Update, in pixels of a level, at which a coarse level is left for the next.
_COARSE_TOLERANCE = 0.02

#: Least number of pixels that a level is aligned by.
_LEAST_PIXELS = 16

#: Ratio of the least to the greatest eigenvalue of the scaled normal equations, below which there is no solution.
_SINGULAR = 1e-9

#: Update, in pixels, below which crossed products replace the others.
_NEAR = 0.5

#: Least ratio of the smallest eigenvalue of the crossed products to that of the others for them to be used.
_LEAST_SIGNAL = 0.02


@dataclass(frozen=True)
class Options:
    """Options of an alignment."""

    model: str
    inverse: bool
    levels: int | None
    n_iters: int
    tol: float
    loss: str
    gain_bias: bool


@dataclass
class Outcome:
    """Result of an alignment, in numbers on the host."""

    matrix: HostArray
    covariance: HostArray
    rms: float
    overlap: float
    n_iters: int
    converged: bool
    flags: int
    gain: float
    bias: float


class Comparison(NamedTuple):
    """Comparison of both images in one iteration."""

    matrix: HostArray
    gain: float
    bias: float
    loss: int
    residual_scale: float  # times the tuning constant of the loss function
    inverse: bool  # by the gradient of the fixed image instead of that of the moving one
    gain_bias: bool
    crossed: bool  # sum crossed products too


class Level(Protocol):
    """Both images at one level of their pyramids."""

    #: Side of a pixel of this level, in pixels of the whole images.
    scale: int

    #: Rounding of the greatest pixel of the fixed image.
    rounding: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the fixed image."""

    @property
    def moving_shape(self) -> tuple[int, ...]:
        """Shape of the moving image."""

    def equations(self, basis: HostArray, comparison: Comparison) -> Equations:
        """Sum up the normal equations of one iteration."""

    def residuals(self, matrix: HostArray, gain: float, bias: float) -> HostArray:
        """Return the finite residuals of every `residual_step`-th pixel along both axes."""

    def halved(self) -> Level:
        """Return the next coarser level."""


def residual_step(shape: tuple[int, ...]) -> int:
    """Return the step of the grid of pixels from which the residual scale is estimated."""
    return max(1, int(math.sqrt(math.prod(shape) / _SAMPLED_PIXELS)))


def to_level(matrix: HostArray, scale: int) -> HostArray:
    """Convert a matrix between pixels of the whole images to one between pixels of a level."""
    s = _of_scale(scale)
    inner: HostArray = np.linalg.inv(s) @ matrix @ s
    return np.asarray(inner / inner[2, 2])


def from_level(matrix: HostArray, scale: int) -> HostArray:
    """Convert a matrix between pixels of a level to one between pixels of the whole images."""
    s = _of_scale(scale)
    outer: HostArray = s @ matrix @ np.linalg.inv(s)
    return np.asarray(outer / outer[2, 2])


def _of_scale(scale: int) -> HostArray:
    s = np.eye(3)
    s[:2, :2] *= scale
    s[:2, 2] = 0.5 * (scale - 1)
    return s


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
        options = self.options
        comparison = Comparison(
            np.ascontiguousarray(matrix), self.gain, self.bias, _LOSSES[options.loss],
            self.residual_scale(level, matrix), inverse, options.gain_bias, crossed,
        )  # fmt: skip
        return level.equations(basis, comparison)

    def residual_scale(self, level: Level, matrix: HostArray) -> float:
        """Return the residual at which the loss function begins to down-weight, infinity where none differs from 0."""
        if self.options.loss == "least_squares":
            return 1.0
        residuals = level.residuals(matrix, self.gain, self.bias)
        spread = _DEVIATION_OF_MEDIAN * float(np.median(np.abs(residuals))) if residuals.size else 0.0
        return _TUNING_CONSTANTS[self.options.loss] * spread if spread > 0 else math.inf

    def refine(self, level: Level, last: bool) -> None:
        """Iterate on one level."""
        options = self.options
        shape = level.shape
        fixed_basis = centred(generators(options.model), shape)
        matrix = to_level(self.matrix, level.scale)
        best = (math.inf, matrix, self.gain, self.bias)
        tolerance = options.tol if last else max(options.tol, _COARSE_TOLERANCE)
        problem, converged, change = 0, False, math.inf
        trusted, limit = last and options.inverse, _NEAR  # whether steps may be by the crossed products
        for _ in range(options.n_iters):
            basis = fixed_basis if options.inverse else tangents(options.model, matrix, shape)
            e = self.equations(level, matrix, basis, options.inverse, trusted and change < _NEAR)
            problem = _problem(level, basis, e)
            if problem:
                break
            cost = e.squares / e.weight if e.weight > 0 else math.inf
            if cost < best[0]:
                best = (cost, matrix, self.gain, self.bias)
            self.total_iters += 1
            step, moved, change = self.step(matrix, e.products, e.right, fixed_basis, shape)
            if trusted and e.crossed is not None and _is_sensitive(e):
                other = self.step(matrix, e.crossed, e.right, fixed_basis, shape)
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
        self, matrix: HostArray, products: HostArray, right: HostArray, basis: HostArray, shape: tuple[int, ...]
    ) -> tuple[HostArray, HostArray, float]:
        """Return a step, the matrix after it, and how far it moved a corner."""
        step = -_solve(products, right)
        moved = self.moved(matrix, step[: len(basis)], basis, shape)
        corners = np.array([[y, x, 1.0] for y in (0, shape[0] - 1) for x in (0, shape[1] - 1)])
        return step, moved, farthest(matrix, moved, corners)

    def moved(self, matrix: HostArray, step: HostArray, basis: HostArray, shape: tuple[int, ...]) -> HostArray:
        """Update a matrix by a step of its parameters."""
        with np.errstate(all="ignore"):  # a step that is far too long gives a matrix that is not finite
            if self.options.inverse:
                matrix = matrix @ exponential(-np.tensordot(step, basis, 1))
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
    """Return the outcome of images that cannot be aligned, with the flag of the reason."""
    size = len(generators(options.model))
    nan = np.full((size, size), np.nan)
    return Outcome(matrix / matrix[2, 2], nan, math.nan, 0.0, 0, False, flag, 1.0, 0.0)


def aligned(levels: Sequence[Level], options: Options, matrix: HostArray) -> Outcome:
    """Align images over levels from coarse to fine."""
    aligner = Aligner(options, matrix)
    for level in levels:
        aligner.refine(level, level is levels[-1])
    return aligner.outcome(levels[-1])


def _problem(level: Level, basis: HostArray, e: Equations) -> int:
    """Return the flag of normal equations that cannot be solved, 0 for others."""
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
    rounding = _LEAST_GRADIENT * level.rounding
    if not (scale[: len(basis)] > rounding * moves * math.sqrt(count)).all() or not (scale > 0).all():
        return int(AlignmentFlags.NO_TEXTURE)
    eigenvalues = np.linalg.eigvalsh(products / np.outer(scale, scale))
    return int(AlignmentFlags.NO_TEXTURE) if eigenvalues[0] < _SINGULAR * eigenvalues[-1] else 0


def _is_sensitive(e: Equations) -> bool:
    """Whether residuals change with the parameters by more than chance: crossed products are near the others."""
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
    """Whether a matrix belongs to a model, to a thousandth of a pixel at any corner."""
    corners = np.array([[y, x, 1.0] for y in (0, shape[0] - 1) for x in (0, shape[1] - 1)])
    nearest = from_parameters(model, parameters(model, matrix / matrix[2, 2], shape), shape)
    return farthest(matrix, nearest, corners) < 1e-3
