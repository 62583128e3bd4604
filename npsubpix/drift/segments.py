"""Drift by redundant cross-correlation of segments, and then of all localizations."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix.drift.correlation import Pairs, drift_of_pairs, lateral_pairs
from npsubpix.drift.depth import axial_pairs
from npsubpix.drift.localizations import Localizations
from npsubpix.drift.pairs import Fit, Spline, fit_spline
from npsubpix.drift.support import is_supported
from npsubpix.results.drift import Drift, DriftFlags

__all__ = ["correlated_drift", "default_segments"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Localizations per segment by default, the most segments, and the least localizations of a segment.
_PER_SEGMENT, _MOST_SEGMENTS, _LEAST = 600, 200, 20

#: Localizations per coefficient below which no finer spline is tried.
_PER_COEFFICIENT = 100

#: Parts of each segment that must repeat the others.
_PARTS = 4

#: Memory of the spectra of all segments, in pixels.
_PIXELS = 6e7

#: Largest residual of a pair of segments: in pixels of the rendered images, and along z in widths.
_TOLERANCE = 1.5

#: Frames at which splines are compared.
_COMPARED = 1000


def default_segments(loc: Localizations) -> int:
    """Return the number of segments that have enough localizations."""
    count = min(_MOST_SEGMENTS, len(loc.frame) // _PER_SEGMENT)
    return max(count, min(4, len(loc.frame) // (2 * _LEAST)), 2)


class _Segments(NamedTuple):
    """Segments of equal numbers of localizations: the one of each row, and the mean frame of each."""

    of_row: Ints
    centre: Floats

    @property
    def number(self) -> int:
        return len(self.centre)


def _segments(frame: Ints, count: int) -> _Segments:
    """Divide at the borders of frames; frames are sorted."""
    _, rows, sizes = np.unique(frame, return_inverse=True, return_counts=True)
    middle = np.cumsum(sizes) - sizes / 2
    of_frame = np.unique(np.floor(middle * count / len(frame)).astype(np.int64), return_inverse=True)[1]
    of_row = of_frame[rows]
    return _Segments(of_row, np.bincount(of_row, frame) / np.bincount(of_row))


def correlated_drift(loc: Localizations, *, n_segments: int, widths: Floats, max_shift: float, reference: str) -> Drift:
    """Return the drift along all axes of localizations."""
    frames = np.arange(loc.first, loc.last + 1)
    parts = _segments(loc.frame, n_segments) if len(loc.frame) else _Segments(np.empty(0, np.int64), np.empty(0))
    if parts.number < 2 or len(loc.frame) < _LEAST * parts.number:
        need = f"{len(loc.frame)} localizations are too few: two segments of {_LEAST} are needed"
        return _nothing(loc, frames, parts.number, need)
    extent = np.maximum(np.ptp(loc.points[:, -2:], axis=0), 1.0)
    pitch = max(2 * float(widths[-2:].max()), math.sqrt(float(np.prod(extent)) * parts.number / _PIXELS))
    pairs = lateral_pairs(loc.points[:, -2:], parts.of_row, parts.number, pitch, max_shift)
    drift, found, n_bad = drift_of_pairs(pairs, parts.number, _TOLERANCE * pitch)
    where = f"{n_bad} of {len(pairs.first)} pairs of segments were left out"
    if found.any() and len(loc.axes) == 3:
        drift, found, n_bad = _with_depth(loc, parts, widths, pairs, drift, found)
        where += f", along z {n_bad}"
    if not found.any():
        return _nothing(loc, frames, parts.number, "no two segments of the movie are alike: " + where)
    rows = found[parts.of_row]
    start = _interpolated(loc.frame[rows], parts.centre[found], drift[found])
    scales = [np.maximum(widths, [*widths[:-2], w, w]) for w in _between(pitch, float(widths[-2:].min()))]
    fit, spline, misfit = _fitted(loc.points[rows], loc.frame[rows], start, scales, int(found.sum()), frames)
    rows, lost, fit, spline = _without_strangers(loc, rows, frames, scales[-1], fit, spline, parts.number)
    if not rows.any():
        return _nothing(loc, frames, parts.number, "localizations do not repeat those of other frames")
    shift, std = _evaluated(fit, spline, frames, loc.frame[rows], reference)
    lost |= ~found[_part_of(frames, loc.frame, parts.of_row)]
    flags = _gaps(loc.frame[rows], frames, parts) | np.where(misfit, DriftFlags.MISFIT, 0)
    flags |= np.where(lost, DriftFlags.NOT_FOUND, 0)
    flags |= np.where((std > widths).any(axis=1) | ~np.isfinite(std).all(axis=1), DriftFlags.NOT_FOUND, 0)
    flags |= 0 if fit.converged else DriftFlags.NOT_CONVERGED
    lost = (flags & DriftFlags.NOT_FOUND) != 0
    flags[lost] = DriftFlags.NOT_FOUND
    shift[lost] = std[lost] = np.nan
    notes = (where,) if n_bad or not found.all() else ()
    return Drift(
        frames, shift, std, flags.astype(np.int32), loc.axes, "rcc", fit.n_used, loc.n_rows, parts.number, notes
    )


def _nothing(loc: Localizations, frames: Ints, count: int, note: str) -> Drift:
    """Return a drift that was not found, and why."""
    unknown = np.full((len(frames), len(loc.axes)), np.nan)
    flags = np.full(len(frames), int(DriftFlags.NOT_FOUND), np.int32)
    return Drift(frames, unknown, unknown.copy(), flags, loc.axes, "rcc", 0, loc.n_rows, count, (note,))


def _between(first: float, last: float) -> list[float]:
    """Return widths from the first to the last, each at least a third of the one before."""
    steps = max(1, math.ceil(math.log(max(first / last, 1.0)) / math.log(3.0)))
    return list(np.geomspace(max(first, last), last, steps + 1))


def _interpolated(frame: Ints, centre: Floats, drift: Floats) -> Floats:
    return np.column_stack([np.interp(frame, centre, column) for column in drift.T])


def _with_depth(
    loc: Localizations, parts: _Segments, widths: Floats, lateral: Pairs, drift: Floats, found: npt.NDArray[np.bool_]
) -> tuple[Floats, npt.NDArray[np.bool_], int]:
    """Add the drift along z, once that along y and x is known."""
    rows = found[parts.of_row]
    points, frame = loc.points[rows], loc.frame[rows]
    start = _interpolated(frame, parts.centre[found], drift[found])
    pitch = 2 * float(widths[1:].max())
    spline = Spline(frame, int(found.sum()))
    fit = fit_spline(points[:, 1:], frame, start, [np.full(2, pitch), widths[1:]], spline)
    flat = np.column_stack([points[:, 0], points[:, 1:] - spline.basis(frame) @ fit.coefficients])
    pairs = axial_pairs(flat, frame, parts.of_row[rows], widths, lateral, float(np.ptp(points[:, 0])) / 2)
    depth, also, n_bad = drift_of_pairs(pairs, parts.number, 2 * _TOLERANCE * widths[0])
    return np.column_stack([depth, drift]), found & also, n_bad


def _fitted(
    points: Floats, frame: Ints, start: Floats, scales: list[Floats], count: int, frames: Ints
) -> tuple[Fit, Spline, npt.NDArray[np.bool_]]:
    """Fit splines with twice the coefficients as long as they differ by more than noise.

    Twice the coefficients are worth it if the mean squared difference of both drifts is greater than that of noise,
    the difference of their variances, by a standard deviation. Returned too are the frames between knots where the last
    two differ by far.
    """
    spline = Spline(frame, count)
    fit = fit_spline(points, frame, start, scales, spline)
    seen = np.unique(frames[np.linspace(0, len(frames) - 1, min(len(frames), _COMPARED)).astype(np.int64)])
    while True:
        finer = Spline(frame, 2 * len(fit.coefficients))
        is_last = 2 * len(fit.coefficients) * _PER_COEFFICIENT > len(frame)
        more = len(finer.knots) - len(spline.knots)
        second = fit_spline(points, frame, spline.basis(frame) @ fit.coefficients, scales[-1:], finer)
        (one, noise), (two, noise_two) = (_centred(f, s, seen) for f, s in ((fit, spline), (second, finer)))
        squared, expected = (two - one) ** 2, np.maximum(noise_two - noise, 0.0)
        ratio = float((squared / np.maximum(expected.mean(axis=0), 1e-300)).mean())
        error = math.sqrt(2 / max(1, more * points.shape[1]))
        usable = second.converged and np.isfinite(noise_two).all()
        if not usable or more < 1 or ratio <= 1 + error:
            return fit, spline, np.zeros(len(frames), bool)
        if is_last:
            differ = (squared > 9 * np.maximum(expected, noise)).any(axis=1) & (ratio > 1 + 3 * error)
            return fit, spline, _near(frames, seen[differ], spline.knots)
        fit, spline = second, finer


def _near(frames: Ints, bad: Ints, knots: Floats) -> npt.NDArray[np.bool_]:
    """Return whether frames are in an interval between knots that has bad frames, or within its length of it."""
    edges = np.unique(knots)
    intervals = np.unique(np.searchsorted(edges, bad) - 1)
    near = np.zeros(len(frames), bool)
    for low, high in zip(edges[intervals], edges[intervals + 1], strict=True):
        near |= np.abs(frames - (low + high) / 2) <= 1.5 * (high - low)
    return near


def _centred(fit: Fit, spline: Spline, frames: Ints) -> tuple[Floats, Floats]:
    """Return the drift less its mean over frames, and its variance."""
    basis = spline.basis(frames).toarray()
    basis -= basis.mean(axis=0)
    return basis @ fit.coefficients, _variances(basis, fit)


def _variances(basis: Floats, fit: Fit) -> Floats:
    return np.column_stack([np.einsum("tc,cd,td->t", basis, cov, basis, optimize=True) for cov in fit.covariance])


def _evaluated(fit: Fit, spline: Spline, frames: Ints, used: Ints, reference: str) -> tuple[Floats, Floats]:
    """Return the drift and its standard errors in all frames, from the first frame or from the mean over rows."""
    if reference == "first":
        origin = spline.basis(used[:1]).toarray()[0]
    else:
        origin = np.asarray(spline.basis(used).sum(axis=0)).ravel() / len(used)
    inside = np.clip(frames, used[0], used[-1])
    shift, std = np.empty((len(frames), fit.coefficients.shape[1])), np.empty((len(frames), fit.coefficients.shape[1]))
    for begin in range(0, len(frames), 10_000):
        part = slice(begin, begin + 10_000)
        basis = spline.basis(inside[part]).toarray() - origin
        shift[part] = basis @ fit.coefficients
        std[part] = np.sqrt(np.maximum(_variances(basis, fit), 0.0))
    return shift, std


def _without_strangers(
    loc: Localizations, rows: npt.NDArray[np.bool_], frames: Ints, widths: Floats, fit: Fit, spline: Spline, count: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], Fit, Spline]:
    """Leave out parts of segments that do not repeat the others; return the frames of these, and the fit without."""
    points, frame = loc.points[rows], loc.frame[rows]
    drift = spline.basis(frame) @ fit.coefficients
    part = _segments(frame, max(2, min(_PARTS * count, len(frame) // _LEAST))).of_row
    supported = is_supported((points - drift) / widths, part)
    if supported.all():
        return rows, np.zeros(len(frames), bool), fit, spline
    kept = supported[part]
    rows = rows.copy()
    rows[rows] = kept
    if kept.any():
        spline = Spline(frame[kept], len(fit.coefficients))
        fit = fit_spline(points[kept], frame[kept], drift[kept], [widths], spline)
    return rows, ~supported[_part_of(frames, frame, part)], fit, spline


def _part_of(frames: Ints, frame: Ints, part: Ints) -> Ints:
    """Return the part of the movie that each frame is in, from the parts of localizations."""
    last = frame[np.append(np.flatnonzero(np.diff(part)), len(part) - 1)]
    return np.minimum(np.searchsorted(last, frames), len(last) - 1)


def _gaps(used: Ints, frames: Ints, parts: _Segments) -> npt.NDArray[np.int32]:
    """Flag frames far from all localizations."""
    used = np.unique(used)
    after = np.clip(np.searchsorted(used, frames), 0, len(used) - 1)
    before = np.clip(np.searchsorted(used, frames, side="right") - 1, 0, len(used) - 1)
    gap = np.where(frames > used[-1], frames - used[-1], np.where(frames < used[0], used[0] - frames, 0))
    gap = np.maximum(gap, used[after] - used[before])
    return np.asarray(np.where(gap > np.median(np.diff(parts.centre)), int(DriftFlags.INTERPOLATED), 0), np.int32)
