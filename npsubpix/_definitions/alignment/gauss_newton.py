"""Direct alignment of images, wherever they are: Gauss-Newton iterations, from coarse to fine levels.

A `Level` samples and sums pixels on the device of the images. Everything here works with few numbers, on the host.

Source: Baker and Matthews, "Lucas-Kanade 20 years on: a unifying framework", International Journal
of Computer Vision 56 (2004), for the forward additive and the inverse compositional algorithm; Bates and Watts, "A
relative offset orthogonality convergence criterion for nonlinear least squares", Technometrics 23 (1981), for the
distance from the solution in standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from npsubpix._definitions.alignment.fit import (
    areas_of,
    attainable_correlation,
    brightness_of,
    covariance_of,
    interpolation_error,
    is_explained,
    is_linear,
    is_poor,
    matched_brightness,
    share_of_noise,
)
from npsubpix._definitions.alignment.losses import LOSSES, SCORES, SENSITIVITY, STEP, TUNING_CONSTANTS
from npsubpix._definitions.alignment.normal_equations import Comparison, Equations, Likeness, margin_of
from npsubpix._definitions.alignment.solutions import corners_of, is_sensitive, problem_of, relative_offset, solve
from npsubpix._definitions.alignment.transforms import (
    centred,
    exponential,
    farthest,
    from_level,
    from_parameters,
    generators,
    parameter_units,
    parameters,
    shifts_of,
    tangents,
    to_level,
)
from npsubpix._definitions.dtypes import HostArray
from npsubpix._definitions.flags import AlignmentFlags

__all__ = [
    "Level",
    "Options",
    "Outcome",
    "aligned",
    "is_of_model",
    "nothing_to_align",
    "residual_step",
]

#: Standard deviation of Gaussian noise, in units of its median absolute value.
_DEVIATION_OF_MEDIAN = 1.4826

#: Least side of a level, in pixels, of which noise hides the gradients, so that it is halved.
_LEAST_HALVED = 32

#: Number of pixels, about, from which the residual scale is estimated.
_SAMPLED_PIXELS = 4096

#: Update, in pixels of a level, at which a coarse level is left for the next.
_COARSE_TOLERANCE = 0.02

#: Update, in pixels, below which crossed products replace the others, and the gain is that of least squares.
_NEAR = 0.5

#: Update, in pixels, below which the pixels compared stay the same, so that none enters and leaves in turn.
_FREEZING = 0.1

#: Update, in pixels, below which the residual scale stays the same.
_SETTLED = 0.01

#: Distance from the solution, in standard errors of the parameters, at which iterations may end: of no consequence.
_SETTLED_OFFSET = 0.1


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
    correlation: float = math.nan
    noise: float = math.nan
    attainable: float = math.nan  # correlation of images of one scene with this noise
    pixels: float = 0.0  # number of pixels compared
    noisy: bool = False  # whether noise hides how residuals change with the parameters, on this level
    likeness: Likeness | None = None


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

    def likeness(self, matrix: HostArray, fixed_mean: float, moving_mean: float) -> Likeness:
        """Return the likeness of the pixels compared, of these means."""

    def halved(self) -> Level:
        """Return the next coarser level."""


def residual_step(shape: tuple[int, ...]) -> int:
    """Return the step of the grid of pixels from which the residual scale is estimated."""
    return max(1, int(math.sqrt(math.prod(shape) / _SAMPLED_PIXELS)))


class Aligner:
    """State of an alignment: the matrix between whole images, gain and bias."""

    def __init__(self, options: Options, matrix: HostArray, likeness: Likeness | None = None) -> None:
        self.options = options
        self.matrix = matrix / matrix[2, 2]
        self.gain, self.bias = 1.0, 0.0
        self.likeness = likeness  # of the whole images, if these were aligned before
        self.flags = 0
        self.total_iters = 0
        self.converged = False
        self.overlap: HostArray | None = None  # matrix that chose the pixels compared last
        self.scale = 1.0  # the residual scale of the last iteration
        #: Equations, gain and bias of the end, if the last iteration had what is needed.
        self.last: tuple[Equations, float, float] | None = None

    def equations(
        self, level: Level, matrix: HostArray, basis: HostArray, inverse: bool, crossed: bool = False,
        use: int = STEP, loss: str | None = None,
    ) -> Equations:  # fmt: skip
        """Sum up the normal equations at a matrix, with the brightness of both images if they are crossed."""
        overlap = matrix if self.overlap is None else self.overlap
        comparison = Comparison(
            np.ascontiguousarray(matrix), np.ascontiguousarray(overlap), self.gain, self.bias,
            LOSSES[loss or self.options.loss], use, self.scale, inverse, self.options.gain_bias or crossed, crossed,
            self.options.gain_bias,
        )  # fmt: skip
        return level.equations(basis, comparison)

    def unknowns(self, e: Equations, basis: HostArray) -> Equations:
        """Return the equations of the parameters that are estimated, of those with the brightness of both images."""
        return e if self.options.gain_bias else e.of_first(len(basis))

    def residual_scale(self, level: Level, matrix: HostArray) -> float:
        """Return the residual at which the loss function begins to down-weight, infinity where none differs from 0."""
        if self.options.loss == "least_squares":
            return 1.0
        residuals = level.residuals(matrix, self.gain, self.bias)
        spread = _DEVIATION_OF_MEDIAN * float(np.median(np.abs(residuals))) if residuals.size else 0.0
        return TUNING_CONSTANTS[self.options.loss] * spread if spread > 0 else math.inf

    def match_brightness(self, level: Level) -> None:
        """Begin with the gain and the bias that give both images one mean and one standard deviation."""
        matrix = to_level(self.matrix, level.scale)
        basis = centred(generators(self.options.model), level.shape)
        e = self.equations(level, matrix, basis, True, loss="least_squares")
        if not problem_of(level.shape, level.rounding, basis, e):
            self.gain, self.bias = matched_brightness(brightness_of(e, self.gain, self.bias))

    def refine(self, level: Level, last: bool) -> None:
        """Iterate on one level."""
        options, shape = self.options, level.shape
        fixed_basis = centred(generators(options.model), shape)
        matrix = to_level(self.matrix, level.scale)
        best = start = (math.inf, matrix, self.gain, self.bias)
        tolerance = options.tol / level.scale if last else max(options.tol, _COARSE_TOLERANCE)
        problem, converged, change, offset = 0, False, math.inf, math.inf
        # Steps by other products below which those by the crossed products are tried, and the longest of the latter.
        trying, limit = _NEAR if last and options.inverse else 0.0, _NEAR
        self.overlap = None
        for _ in range(options.n_iters):
            basis = fixed_basis if options.inverse else tangents(options.model, matrix, shape)
            if change > _SETTLED:
                self.scale = self.residual_scale(level, matrix)
            whole = self.equations(level, matrix, basis, options.inverse, change < trying)
            e = self.unknowns(whole, basis)
            problem = problem_of(shape, level.rounding, basis, e)
            if problem:
                break
            here = (e.squares / e.weight if e.weight > 0 else math.inf, matrix, self.gain, self.bias)
            best = min(best, here, key=lambda state: state[0])
            self.total_iters += 1
            near = last and change < _NEAR
            step, moved, change = self.step(matrix, e, e.products, fixed_basis, shape, near)
            offset = relative_offset(e, step) if near else math.inf
            if e.crossed is not None and is_sensitive(e):
                other = self.step(matrix, e, e.crossed, fixed_basis, shape, near)
                if other[2] < limit:
                    step, moved, change = other
                    limit = 0.5 * change  # of steps that come nearer, each is much shorter than the one before
                else:
                    trying, limit = 0.5 * change, _NEAR  # once the solution is nearer
            if options.gain_bias and near:
                self.gain, self.bias = self.gain + step[-2], self.bias + step[-1]
            elif options.gain_bias:
                self.gain, self.bias = matched_brightness(brightness_of(e, self.gain, self.bias))
            matrix = moved
            if not np.isfinite(matrix).all() or change > 2 * max(shape):
                problem = int(AlignmentFlags.DIVERGED)
                break
            if change < tolerance and (near or not (last and options.gain_bias)):
                converged = True
                if e.crossed is not None:
                    self.last = whole, *here[2:]
                break
            self.choose_overlap(matrix, change)
        converged = converged or (not problem and offset < _SETTLED_OFFSET)
        if problem:
            _, matrix, self.gain, self.bias = best if best[0] < math.inf else start
            self.overlap = None
        self.matrix = from_level(matrix, level.scale)
        if last:
            self.converged = converged
            self.flags |= problem | (0 if converged or problem else int(AlignmentFlags.NOT_CONVERGED))

    def choose_overlap(self, matrix: HostArray, change: float) -> None:
        """Freeze the pixels compared once steps are short, and choose them anew when steps are long again."""
        if change < _FREEZING:
            self.overlap = matrix if self.overlap is None else self.overlap
        elif change >= _NEAR:
            self.overlap = None

    def step(
        self, matrix: HostArray, e: Equations, products: HostArray, basis: HostArray, shape: tuple[int, ...], near: bool
    ) -> tuple[HostArray, HostArray, float]:
        """Return a step, the matrix after it, and how far it moved a corner.

        Far from the solution the gain is the ratio of the standard deviations, since that of least squares is too
        small by the correlation of the images, and a step of the inverse method is too long by as much.
        """
        step = -solve(products, e.right)
        if self.options.gain_bias and self.options.inverse and not near:
            step[: len(basis)] *= self.gain / matched_brightness(brightness_of(e, self.gain, self.bias))[0]
        moved = self.moved(matrix, step[: len(basis)], basis, shape)
        return step, moved, farthest(matrix, moved, corners_of(shape))

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
        """Evaluate the result on the finest level, with parameters about the centre of the fixed image."""
        basis, matrix = centred(generators(self.options.model), level.shape), to_level(self.matrix, level.scale)
        if self.last is None:
            self.last = self.equations(level, matrix, basis, True, True), self.gain, self.bias
        whole = self.last[0]
        e = self.unknowns(whole, basis)
        size, shifts = len(basis), shifts_of(len(basis))
        covariance = np.full((size, size), np.nan)
        problem = problem_of(level.shape, level.rounding, basis, e)
        self.flags |= problem
        rms = math.sqrt(e.squares / e.weight) if e.pixels > 0 and e.weight > 0 else math.nan
        correlation, noise, attainable, noisy = math.nan, math.nan, math.nan, False
        if not problem:
            brightness = brightness_of(*self.last)
            overlap = matrix if self.overlap is None else self.overlap
            likeness = level.likeness(overlap, brightness.fixed_mean, brightness.moving_mean)
            self.likeness = likeness = likeness.on_level(self.likeness, level.scale)
            share = share_of_noise(matrix, level.shape)
            correlation, noise = brightness.correlation, math.sqrt(likeness.noise_of_residuals(self.gain, share))
            attainable = attainable_correlation(brightness, likeness, share)
            areas = areas_of(e, brightness, self.gain, shifts)
            if is_poor(brightness, likeness, self.gain, share, e.pixels, rms, areas):
                self.flags |= int(AlignmentFlags.POOR_FIT)
            if self.options.gain_bias and self.gain <= 0:
                self.flags |= int(AlignmentFlags.NEGATIVE_GAIN)
            noisy = not is_sensitive(e)
            if not noisy:
                equations = self.weighed(level, matrix, basis, whole, rms)
                sensitivity, scores = (self.unknowns(x, basis) for x in equations)
                of_all = covariance_of(sensitivity, scores, self.scale, likeness, share, self.gain)
                covariance = of_all[:size, :size]
                error = interpolation_error(matrix, level.shape, brightness, whole, self.last[1], shifts)
                covariance[np.ix_(shifts, shifts)] += np.outer(error, error)
                noisy = not is_linear(np.sqrt(np.diag(covariance)[shifts]), areas)
                units = parameter_units(self.options.model, level.scale)
                covariance *= np.outer(units, units)
            self.flags |= int(AlignmentFlags.NO_TEXTURE) if noisy else 0
        margin = margin_of(level.moving_shape)
        most = math.prod(max(n - 1 - 2 * margin, 1) for n in level.shape)
        return Outcome(
            self.matrix, covariance, rms, min(float(e.pixels) / most, 1.0), self.total_iters,
            self.converged and not problem, self.flags, self.gain, self.bias, correlation, noise,
            attainable, e.pixels, noisy, self.likeness,
        )  # fmt: skip

    def weighed(
        self, level: Level, matrix: HostArray, basis: HostArray, whole: Equations, rms: float
    ) -> tuple[Equations, Equations]:
        """Return the equations with the derivative of the loss function for weights, and with its square."""
        least_squares = self.options.loss == "least_squares"
        if not least_squares and math.isfinite(self.scale):
            sensitivity = self.equations(level, matrix, basis, True, True, SENSITIVITY)
            return sensitivity, whole.scores or self.equations(level, matrix, basis, True, True, SCORES)
        if least_squares and whole.scores is not None:
            return whole, whole.scores
        self.scale = rms if rms > 0 else 1.0
        return whole, self.equations(level, matrix, basis, True, True, SCORES, "least_squares")


def nothing_to_align(options: Options, matrix: HostArray, flag: int) -> Outcome:
    """Return the outcome of images that cannot be aligned, with the flag of the reason."""
    size = len(generators(options.model))
    nan = np.full((size, size), np.nan)
    return Outcome(matrix / matrix[2, 2], nan, math.nan, 0.0, 0, False, flag, 1.0, 0.0)


def aligned(levels: Sequence[Level], options: Options, matrix: HostArray) -> Outcome:
    """Align images over levels from coarse to fine.

    Where noise, and nothing else, hides the gradients of the finest level, but not those of a coarser one, that is the
    last.
    """
    outcome = best = _over(levels, options, matrix, None)
    while outcome.noisy and is_explained(outcome.rms, outcome.noise):
        if len(levels) > 1:
            levels = levels[:-1]
        elif options.levels is None and min(*levels[0].shape, *levels[0].moving_shape) >= _LEAST_HALVED:
            levels = [levels[0].halved()]
        else:
            break
        outcome = _over(levels, options, matrix, best.likeness)
        if not outcome.flags and is_explained(outcome.rms, outcome.noise):
            return outcome
    return best


def _over(levels: Sequence[Level], options: Options, matrix: HostArray, likeness: Likeness | None) -> Outcome:
    aligner = Aligner(options, matrix, likeness)
    if options.gain_bias:
        aligner.match_brightness(levels[0])
    for level in levels:
        aligner.refine(level, level is levels[-1])
    return aligner.outcome(levels[-1])


def is_of_model(model: str, matrix: HostArray, shape: tuple[int, ...]) -> bool:
    """Whether a matrix belongs to a model, to a thousandth of a pixel at any corner."""
    nearest = from_parameters(model, parameters(model, matrix / matrix[2, 2], shape), shape)
    return farthest(matrix, nearest, corners_of(shape)) < 1e-3
