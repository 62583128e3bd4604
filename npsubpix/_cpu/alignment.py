"""Direct alignment of images on the host: Gauss-Newton, from coarse to fine.

Sources: Baker and Matthews, "Lucas-Kanade 20 years on: a unifying framework", International Journal
of Computer Vision 56 (2004), for the forward additive and the inverse compositional algorithm;
Holland and Welsch, "Robust regression using iteratively reweighted least-squares", Communications in
Statistics A 6 (1977), for the weights of Huber and Tukey and their constants; Kuglin and Hines, "The
phase correlation image alignment method" (1975).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

from npsubpix._arrays import HostArray
from npsubpix._cpu._inside import MOST
from npsubpix._cpu._levels import ROUNDING, Level, filled, grown, is_flat, pyramid
from npsubpix._cpu._normal_equations import LOSSES, Equations, margin_of, normal_equations
from npsubpix._cpu._transforms import centred, exponential, farthest, from_parameters, generators, parameters, tangents
from npsubpix._spec import AlignmentFlags

__all__ = ["Options", "Outcome", "align", "is_of_model", "phase_correlation"]

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

#: Amplitudes below this part of the mean are not raised to 1 by the phase correlation: they are noise.
_WHITEST = 0.1


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


class _Aligner:
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
        images = level.fixed, level.fixed_spline, level.moving, level.hidden, level.bad
        scale = self.residual_scale(level, matrix)
        return normal_equations(
            inverse, self.options.gain_bias, crossed, basis, images, 100 * level.fixed.size,
            np.ascontiguousarray(matrix), self.gain, self.bias, scale, LOSSES[self.options.loss],
        )  # fmt: skip

    def residual_scale(self, level: Level, matrix: HostArray) -> float:
        """Width of the loss: a multiple of the deviation of residuals on a grid of some thousand pixels."""
        if self.options.loss == "least_squares":
            return 1.0
        residuals = _residuals(level, matrix, self.gain, self.bias)
        spread = 1.4826 * float(np.median(np.abs(residuals))) if residuals.size else 0.0
        return _WIDTHS[self.options.loss] * spread if spread > 0 else math.inf

    def refine(self, level: Level, last: bool) -> None:
        """Iterate on one level."""
        options = self.options
        shape = level.fixed.shape
        still = centred(generators(options.model), shape)
        matrix = level.to_level(self.matrix)
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
            _, matrix, self.gain, self.bias = best if best[0] < math.inf else (0, level.to_level(self.matrix), 1.0, 0.0)
        self.matrix = level.from_level(matrix)
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
        basis = centred(generators(self.options.model), level.fixed.shape)
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
        margin = margin_of(level.moving.shape)
        most = math.prod(max(n - 1 - 2 * margin, 1) for n in level.fixed.shape)
        return Outcome(
            self.matrix, covariance, rms, min(float(e.pixels) / most, 1.0), self.total_iters,
            self.converged and not problem, self.flags, self.gain, self.bias,
        )  # fmt: skip


def _residuals(level: Level, matrix: HostArray, gain: float, bias: float) -> HostArray:
    from npsubpix._cpu._samples import value_kernels

    h, w = level.fixed.shape
    step = max(1, int(math.sqrt(h * w / 4096)))
    y, x = (a.ravel() for a in np.mgrid[1 : h - 1 : step, 1 : w - 1 : step])
    moved = matrix @ np.stack([y, x, np.ones(y.size)])
    with np.errstate(all="ignore"):
        coords = np.ascontiguousarray(moved[:2] / moved[2])
    values = np.empty((1, 1, y.size), level.moving.dtype)
    value_kernels["bspline3"].run(
        30 * y.size, level.moving[None, None, None], coords[None], (5, 0), np.nan, (0, 0), values
    )
    residuals = values[0, 0] - gain * level.fixed[y, x] - bias
    if level.hidden.size:
        residuals = residuals[~level.hidden[y, x]]
    return np.asarray(residuals[np.isfinite(residuals)])


def _problem(level: Level, basis: HostArray, e: Equations) -> int:
    """Flag of what keeps normal equations from being solved, 0 for nothing."""
    products, count = e.products, e.pixels
    if count < max(_LEAST_PIXELS, 2 * len(e.right)):
        return int(AlignmentFlags.NO_OVERLAP)
    if not (np.isfinite(products).all() and np.isfinite(e.right).all()):
        return int(AlignmentFlags.NONFINITE)
    scale = np.sqrt(np.diag(products))
    height, width = level.fixed.shape
    corners = np.array([[y, x, 1.0] for y in (0, height - 1) for x in (0, width - 1)])
    moves = np.linalg.norm(basis[:, :2] @ corners.T, axis=1).max(-1)  # of a corner, by a unit of each parameter
    moves += np.abs(basis[:, 2] @ corners.T).max(-1) * max(height, width)
    rounding = ROUNDING * float(np.finfo(level.fixed.dtype).eps * np.abs(level.fixed).max())
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


def align(fixed: HostArray, moving: HostArray, matrix: HostArray, mask: HostArray | None, options: Options) -> Outcome:
    """Find the matrix that takes pixels of the fixed image to positions in the moving one."""
    if moving.size >= MOST:
        raise ValueError(f"moving must have less than {MOST} pixels, got {moving.size}")
    dtype = np.result_type(fixed.dtype, moving.dtype, np.float32)
    left_out = [~np.isfinite(fixed), ~np.isfinite(moving)]
    if mask is not None:
        left_out[0] |= mask
    images, marks = [], []
    for x, bad in zip((fixed, moving), left_out, strict=True):
        images.append(filled(x.astype(dtype), bad))
        marks.append(grown(bad) if bad.any() else np.zeros((0, 0), bool))
    aligner = _Aligner(options, matrix)
    nothing = 0
    if min(*fixed.shape, *moving.shape) < 4 or any(bad.all() for bad in left_out):
        nothing = int(AlignmentFlags.NO_OVERLAP)
    elif any(is_flat(x) for x in images):
        nothing = int(AlignmentFlags.NO_TEXTURE)
    if nothing:
        size = len(generators(options.model))
        return Outcome(aligner.matrix, np.full((size, size), np.nan), math.nan, 0.0, 0, False, nothing, 1.0, 0.0)
    levels = pyramid(images[0], images[1], marks[0], marks[1], options.levels)
    for level in levels:
        aligner.refine(level, level is levels[-1])
    return aligner.outcome(levels[-1])


def is_of_model(model: str, matrix: HostArray, shape: tuple[int, ...]) -> bool:
    """Whether a matrix is what its parameters say, to a thousandth of a pixel."""
    corners = np.array([[y, x, 1.0] for y in (0, shape[0] - 1) for x in (0, shape[1] - 1)])
    nearest = from_parameters(model, parameters(model, matrix / matrix[2, 2], shape), shape)
    return farthest(matrix, nearest, corners) < 1e-3


def phase_correlation(fixed: HostArray, moving: HostArray) -> HostArray:
    """Find the translation from the peak of the phase correlation, to about a tenth of a pixel."""
    shape = tuple(max(n, m) for n, m in zip(fixed.shape, moving.shape, strict=True))
    spectra = []
    for x in (fixed, moving):
        x = x.astype(np.float64)
        seen = np.isfinite(x)
        x = np.where(seen, x - (x[seen].mean() if seen.any() else 0.0), 0.0)
        window = np.outer(*(np.hanning(n + 2)[1:-1] for n in x.shape))
        spectra.append(scipy.fft.rfft2(x * window, shape))
    cross = np.conj(spectra[0]) * spectra[1]
    size = np.abs(cross)
    cross /= np.maximum(size, max(_WHITEST * size.mean(), np.finfo(float).tiny))
    surface = scipy.fft.irfft2(cross, shape)
    peak = np.unravel_index(np.argmax(surface), shape)
    shift = []
    for axis, (k, n) in enumerate(zip(peak, shape, strict=True)):
        line = np.moveaxis(surface, axis, -1)[peak[1 - axis]]
        before, there, after = (line[(k + d) % n] for d in (-1, 0, 1))
        curvature = before - 2 * there + after
        offset = 0.5 * (before - after) / curvature if curvature < 0 else 0.0
        shift.append(float(k if k <= n // 2 else k - n) + offset)
    matrix = np.eye(3)
    matrix[:2, 2] = shift
    return matrix
