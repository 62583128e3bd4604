"""Initial transform of an alignment from the stars of both images, at any angle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from npsubpix._arrays.library import Array, HostArray, beside, to_numpy
from npsubpix._definitions.alignment.gauss_newton import Options, Outcome, nothing_to_align
from npsubpix._definitions.alignment.solutions import corners_of
from npsubpix._definitions.alignment.transforms import centred, farthest, generators
from npsubpix._definitions.flags import AlignmentFlags
from npsubpix._detection import detected
from npsubpix.alignment.asterisms import inside, least_squares, match_points
from npsubpix.background import local_background
from npsubpix.peaks import find_peaks

__all__ = ["align_from_stars", "match_stars", "stars_of"]

#: Standard deviations in pixels of the filters with which stars are sought, one after the other until a match is found.
_WIDTHS = (1.5, 3.0, 6.0)

#: Least error of the position of a star, in pixels.
_LEAST_ERROR = 0.03

#: Number of fits to pairs; Huber's tuning constant, in units of the median residual; and the least of these.
_ROUNDS, _TUNING, _LEAST_RESIDUAL = 10, 1.5, 1e-3

#: Distance in pixels at a corner up to which pixels and stars agree.
_NEAR = 2.0

#: Number of matches as good as this one, that chance would give, below which the stars alone will do.
_CERTAIN = 1e-6

#: Least height of a star, in units of the noise of the filtered image, and the greatest number of stars.
_HEIGHT, _MOST = 5.0, 200

#: Least number of stars of an image.
_LEAST = 3

#: Least mean of the neighbours of a pixel, as a share of its own height, for it to be a star and no hot pixel.
_LEAST_NEIGHBOURS = 0.08

#: Least side, in pixels, of an image in which stars are sought.
_LEAST_SIDE = 16


class StarMatch(NamedTuple):
    """Transform on which the stars of two images agree."""

    matrix: HostArray
    covariance: HostArray
    overlap: float
    false_alarms: float


def align_from_stars(
    images: tuple[Array, Array],
    masks: Sequence[Array | None],
    options: Options,
    aligned: Callable[[HostArray, Options], Outcome],
) -> Outcome:
    """Align two images from the transform on which their stars agree, and return that one if the pixels do not.

    `aligned` aligns the pixels from a matrix. They differ from each other where the seeing changes, or the brightness.
    """
    match = match_stars(images, masks, options.model)
    if isinstance(match, AlignmentFlags):
        return nothing_to_align(options, np.eye(3), int(match))
    outcome = aligned(match.matrix, options)
    moved = farthest(outcome.matrix, match.matrix, corners_of(tuple(images[0].shape)))
    if not outcome.flags and moved < _NEAR:
        return outcome
    flags = 0 if match.false_alarms < _CERTAIN else int(AlignmentFlags.POOR_FIT)
    if not moved < _NEAR:
        nothing = nothing_to_align(options, match.matrix, flags)
        outcome = replace(nothing, overlap=match.overlap, n_iters=outcome.n_iters)
    return replace(outcome, matrix=match.matrix, covariance=match.covariance, flags=flags, converged=True)


def match_stars(images: tuple[Array, Array], masks: Sequence[Array | None], model: str) -> StarMatch | AlignmentFlags:
    """Return the transform on which the stars of both images agree, or the flag that says why there is none."""
    shapes = tuple(images[0].shape), tuple(images[1].shape)
    few = True
    for width in _WIDTHS:
        fixed, moving = (stars_of(x, m, width) for x, m in zip(images, masks, strict=True))
        few = few and min(len(fixed), len(moving)) < _LEAST
        match = match_points(fixed[:, :2], moving[:, :2], model, *shapes)
        if match is not None:
            matrix, covariance = _fitted(
                match.matrix, fixed[match.pairs[:, 0]], moving[match.pairs[:, 1]], model, shapes[0]
            )
            overlap = float(inside(matrix, pixels_of(shapes[0]), shapes[1]).mean())
            return StarMatch(matrix, covariance, overlap, match.false_alarms)
    return AlignmentFlags.NO_TEXTURE if few else AlignmentFlags.POOR_FIT


def pixels_of(shape: tuple[int, ...]) -> HostArray:
    """Return the positions of a grid of pixels of an image."""
    lines = [np.linspace(0, n - 1, 33) for n in shape]
    return np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, 2)


def _fitted(
    matrix: HostArray, fixed: HostArray, moving: HostArray, model: str, shape: tuple[int, ...]
) -> tuple[HostArray, HostArray]:
    """Fit the transform to pairs of stars (y, x, error), with Huber's weights, and return it with its covariance."""
    variances = fixed[:, 2] ** 2 + moving[:, 2] ** 2
    weights = 1 / variances
    for _ in range(_ROUNDS):
        residuals = np.hypot(*(moving[:, :2] - fixed[:, :2] @ matrix[:2, :2].T - matrix[:2, 2]).T) / np.sqrt(variances)
        limit = _TUNING * max(float(np.median(residuals)), _LEAST_RESIDUAL)
        weights = np.minimum(1.0, limit / np.maximum(residuals, 1e-12)) / variances
        matrix = least_squares(fixed[:, :2], moving[:, :2], model, weights)
    return matrix, _covariance(matrix, fixed[:, :2], moving[:, :2], weights, model, shape)


def _covariance(
    matrix: HostArray, fixed: HostArray, moving: HostArray, weights: HostArray, model: str, shape: tuple[int, ...]
) -> HostArray:
    """Return the covariance of a small transform before the matrix, from the scatter of pairs, each with its own error.

    The variance of a star is the mean of two: that of a jackknife, of its residual from the transform of the others
    (Bell and McCaffrey 2002), which holds whatever errors are; and that by its brightness, in the scale of all
    residuals. A few bright stars decide most matches: their residuals say little, and are less than their errors.
    """
    points = np.concatenate([fixed, np.ones((len(fixed), 1))], 1)
    basis = centred(generators(model), shape)
    moved = points @ matrix.T
    change = np.einsum("ij,kjl,nl->nik", matrix, basis, points)
    design = change[:, :2] - moved[:, :2, None] * change[:, 2:]
    inverse = np.linalg.pinv(np.einsum("n,nik,nil->kl", weights, design, design))
    own = np.eye(2) - np.einsum("n,nik,kl,njl->nij", weights, design, inverse, design)
    if 2 * len(fixed) <= len(basis) or not np.linalg.eigvalsh(0.5 * (own + own.transpose(0, 2, 1)))[:, 0].min() > 1e-9:
        return np.full((len(basis), len(basis)), np.nan)  # others do not determine the transform
    residuals = moving - moved[:, :2]
    expected = inverse * (weights @ (residuals**2).sum(1) / (residuals.size - len(basis)))
    alone = np.linalg.solve(own, residuals[..., None])[..., 0]
    changes = np.einsum("kl,n,nil,ni->nk", inverse, weights, design, alone)
    return np.asarray(0.5 * (changes.T @ changes + expected))


def stars_of(image: Array, mask: Array | None, width: float) -> HostArray:
    """Return positions (y, x) of the stars of an image, and errors, about, the brightest first, on the host."""
    if min(image.shape) < _LEAST_SIDE:
        return np.zeros((0, 3))
    ignored = _ignored(image, mask)
    if ignored is not None and to_numpy(ignored).all():
        return np.zeros((0, 3))
    filtered = detected(image, "dog", width, mask=ignored, wrap=False, frame_axis=None)
    background = local_background(filtered, mask=ignored)
    peaks = find_peaks(filtered, background=background, threshold_abs=_HEIGHT, num_peaks=_MOST, mask=ignored)
    coords, pixels = to_numpy(peaks.coords), to_numpy(peaks.indices)
    level, noise = (to_numpy(x)[pixels[:, 0], pixels[:, 1]].astype(np.float64) for x in background)
    height = to_numpy(peaks.values).astype(np.float64) - level
    error = _LEAST_ERROR + width * np.maximum(noise, 0) / np.maximum(height, 1e-300)
    good = np.isfinite(coords).all(1) & np.isfinite(error) & _is_wide(to_numpy(image), pixels)
    return np.column_stack([coords, error])[good]


def _ignored(image: Array, mask: Array | None) -> Array | None:
    """Return the mask of an image with the pixels that are not finite."""
    bad = ~np.isfinite(to_numpy(image))
    if mask is not None:
        bad |= to_numpy(mask)
    return beside(bad, image) if bad.any() else None


def _is_wide(image: Any, pixels: HostArray) -> HostArray:
    """Return which peaks are wider than a pixel, as stars are and hot pixels are not."""
    steps = np.arange(-2, 3)
    rows, columns = (
        np.clip(pixels[:, axis, None] + steps, 0, image.shape[axis] - 1).astype(np.int64) for axis in (0, 1)
    )
    patches = image[rows[:, :, None], columns[:, None, :]].astype(np.float64)
    inner = patches[:, 1:4, 1:4].reshape(-1, 9)
    ring = np.concatenate([patches[:, (0, 4)].reshape(-1, 10), patches[:, 1:4, (0, 4)].reshape(-1, 6)], 1)
    with np.errstate(all="ignore"):
        level = np.median(ring, axis=1)
        highest = inner.max(1) - level
        others = (inner.sum(1) - inner.max(1)) / 8 - level
        return np.asarray(~(others < _LEAST_NEIGHBOURS * highest))
