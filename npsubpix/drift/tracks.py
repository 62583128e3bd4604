"""Drift from beads: localizations that stay are linked from frame to frame, and their mean motion is the drift."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npsubpix.drift.localizations import Localizations
from npsubpix.results.drift import Drift, DriftFlags

__all__ = ["drift_of_tracks", "link"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Residuals above this many standard deviations are left out; iterations that find them and the noise of each bead.
_LARGEST_RESIDUAL, _N_ITERS = 4.5, 8

#: Least number of beads that have a noise each; fewer share one.
_BEADS_OF_THEIR_OWN = 5


def drift_of_tracks(loc: Localizations, *, radius: float, memory: int, min_presence: float, reference: str) -> Drift:
    """Return the drift along all axes of localizations."""
    frames = np.arange(loc.first, loc.last + 1)
    track = link(loc.points[:, -2:], loc.frame, radius, memory)
    sizes = np.bincount(track) if len(track) else np.zeros(1, np.int64)
    kept = np.flatnonzero(sizes >= max(2.0, min_presence * len(frames)))
    if not len(kept):
        unknown = np.full((len(frames), len(loc.axes)), np.nan)
        note = f"no bead is in {min_presence:g} of the {len(frames)} frames: the longest track has {sizes.max()}"
        flags = np.full(len(frames), int(DriftFlags.NOT_FOUND), np.int32)
        return Drift(frames, unknown, unknown.copy(), flags, loc.axes, "tracks", 0, loc.n_rows, 0, (note,))
    rows = np.isin(track, kept)
    bead, step = np.searchsorted(kept, track[rows]), loc.frame[rows] - loc.first
    shift, std = np.full((len(frames), len(loc.axes)), np.nan), np.full((len(frames), len(loc.axes)), np.nan)
    known = np.zeros(len(frames), bool)
    for axis in range(len(loc.axes)):
        noise = None if loc.std is None else loc.std[rows, axis]
        shift[:, axis], std[:, axis], known = _mean_motion(
            loc.points[rows, axis], noise, bead, step, len(frames), reference
        )
    flags = np.where(known, 0, int(DriftFlags.INTERPOLATED))
    outside = (np.arange(len(frames)) < np.flatnonzero(known)[0]) | (np.arange(len(frames)) > np.flatnonzero(known)[-1])
    flags[outside] = int(DriftFlags.NOT_FOUND)
    shift[outside] = std[outside] = np.nan
    notes = ("of one bead, standard errors are those of the table",) if len(kept) == 1 and loc.std is not None else ()
    if len(kept) == 1 and loc.std is None:
        notes = ("standard errors are not known: there is one bead, and the table has no errors",)
    return Drift(
        frames, shift, std, flags.astype(np.int32), loc.axes, "tracks", int(rows.sum()), loc.n_rows, len(kept), notes
    )


def link(points: Floats, frame: Ints, radius: float, memory: int) -> Ints:
    """Return the track of each localization: nearest neighbours of each other within a radius are linked.

    Frames are sorted. A track that was not continued in as many frames as `memory` and one more has ended.
    """
    from scipy.spatial import cKDTree

    track = np.full(len(points), -1, np.int64)
    starts = np.append(np.flatnonzero(np.diff(frame, prepend=frame[:1] - 1)), len(frame))
    last = np.empty(0, np.int64)  # the row at which each open track ends
    count = 0
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        last = last[frame[last] >= frame[begin] - memory - 1]
        here = np.arange(begin, end)
        if len(last):
            old, new = cKDTree(points[last]), cKDTree(points[begin:end])
            distance, nearest = new.query(points[last], distance_upper_bound=radius)
            back = old.query(points[begin:end])[1]
            mutual = np.flatnonzero(distance <= radius)
            mutual = mutual[back[nearest[mutual]] == mutual]
            track[begin + nearest[mutual]] = track[last[mutual]]
            last = np.delete(last, mutual)
        free = here[track[begin:end] < 0]
        track[free] = count + np.arange(len(free))
        count += len(free)
        last = np.concatenate([last, here])
    return track


def _mean_motion(
    x: Floats, noise: Floats | None, bead: Ints, step: Ints, n_frames: int, reference: str
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Return the motion that all beads share, its standard errors, and the frames in which it is known."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = int(bead.max()) + 1
    graph = coo_array((np.ones(len(x)), (bead, n + step)), (n + n_frames, n + n_frames))
    group = connected_components(graph, directed=False)[1][n + step]
    good = group == np.bincount(group).argmax()
    base = np.ones(len(x)) if noise is None else np.where(np.isfinite(noise) & (noise > 0), noise, np.nan) ** 2
    good &= np.isfinite(base)
    factor = np.ones(n)
    start = good.copy()
    for k in range(_N_ITERS):
        weights = np.where(good, 1 / (base * factor[bead]), 0.0)
        solution = _Solution(x, weights, bead, step, n, n_frames)
        residual = (x - solution.place[bead] - solution.motion[step]) / np.sqrt(base)
        factor, scale = _factors(residual, weights, solution, good, bead, robust=k < 2)
        good = start & (np.abs(residual) <= _LARGEST_RESIDUAL * scale[bead])
    known = solution.total > 0
    every = np.flatnonzero(known)
    origin = every[:1] if reference == "first" else every
    motion, variance = solution.motion - solution.motion[origin].mean(), solution.variances(origin)
    frames = np.arange(n_frames)
    shift = np.interp(frames, every, motion[every])
    std = np.interp(frames, every, np.sqrt(variance[every]))
    if n == 1 and noise is None:
        std = np.full(n_frames, np.nan)
    return shift, std, known


def _factors(
    residual: Floats, weights: Floats, solution: _Solution, good: npt.NDArray[np.bool_], bead: Ints, *, robust: bool
) -> tuple[Floats, Floats]:
    """Return the variance of each bead in units of the one that is known, and its root for outliers."""
    n = len(solution.place)
    if n == 1:
        return np.ones(1), np.full(1, np.inf)
    if robust:
        scale = np.array([_median_scale(residual[good & (bead == k)]) for k in range(n)])
        scale = np.maximum(scale, max(float(np.median(scale)), 1e-12) * 1e-3)
        return scale**2, scale
    free = good * (1 - weights / np.maximum(solution.total[solution.step], 1e-300))
    squares, degrees = np.bincount(bead, good * residual**2, n), np.bincount(bead, free, n)
    common = squares.sum() / max(degrees.sum() - n + 1, 1e-300)
    each = squares / np.maximum(degrees, 1e-300) if n >= _BEADS_OF_THEIR_OWN else np.full(n, common)
    each = np.maximum(each, 1e-6 * max(common, 1e-300))
    return each, np.sqrt(each)


def _median_scale(residual: Floats) -> float:
    return 1.4826 * float(np.median(np.abs(residual))) if len(residual) else 1.0


class _Solution:
    """Least squares positions of beads and motion of frames: x = place + motion."""

    def __init__(self, x: Floats, weights: Floats, bead: Ints, step: Ints, n: int, n_frames: int) -> None:
        from scipy.sparse import csr_array

        self.step = step
        self.total = np.bincount(step, weights, n_frames)
        table = csr_array((weights, (step, bead)), shape=(n_frames, n))
        inverse = np.divide(1.0, self.total, out=np.zeros(n_frames), where=self.total > 0)
        self.share = table.multiply(inverse[:, None]).tocsr()
        of_bead = np.bincount(bead, weights, n)
        matrix = np.diag(of_bead) - (table.T @ self.share).toarray()
        mean = inverse * np.bincount(step, weights * x, n_frames)
        right = np.bincount(bead, weights * x, n) - table.T @ mean
        pinned = matrix + of_bead.mean() / n * np.ones((n, n))  # places have a mean of 0: the motion has the rest
        self.covariance = np.linalg.pinv(pinned) - np.ones((n, n)) / (of_bead.mean() * n)
        self.place = np.linalg.lstsq(pinned, right, rcond=None)[0]
        self.motion = np.where(self.total > 0, mean - self.share @ self.place, 0.0)
        self.inverse = inverse

    def variances(self, origin: Ints) -> Floats:
        """Return the variances of the motion from its mean over the frames of the origin."""
        dense = self.share.toarray() - np.asarray(self.share[origin].mean(axis=0)).ravel()
        own = self.inverse.copy()
        if len(origin) == 1:
            own += self.inverse[origin[0]]
            own[origin[0]] = dense[origin[0]] = 0.0
        else:
            own += self.inverse[origin].sum() / len(origin) ** 2 - 2 * self.inverse / len(origin)
        own += np.einsum("tk,kl,tl->t", dense, self.covariance, dense, optimize=True)
        return np.asarray(np.maximum(own, 0.0))
