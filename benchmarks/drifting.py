"""Localizations of molecules on a sample that drifts, for tests and benchmarks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import npsubpix

__all__ = ["Movie", "beads", "molecules", "peaks_table", "smooth_motion"]


class Movie(NamedTuple):
    """Positions in the order of frames, the frame of each, and the true drift of all frames."""

    points: npt.NDArray[np.float64]
    frame: npt.NDArray[np.int64]
    drift: npt.NDArray[np.float64]

    def errors(self, drift: npsubpix.Drift) -> npt.NDArray[np.float64]:
        """Found less true drift of all frames, from the mean over rows, as the found one."""
        return drift.shift - (self.drift[drift.frame] - self.drift[self.frame].mean(axis=0))


def smooth_motion(n_frames: int, amplitude: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Make a random walk along one axis, as smooth as thermal drift: a line and four waves."""
    time = np.linspace(0, 1, n_frames)
    waves = sum(rng.normal() / k * np.sin(np.pi * k * time + rng.uniform(0, 2 * np.pi)) for k in range(1, 5))
    return np.asarray(amplitude * (waves + rng.normal() * time))


def molecules(
    rng: np.random.Generator, *, n_segments: int = 10, per_segment: int = 600, size: float = 64, sites: int = 300,
    std: float = 0.1, n_frames: int = 2000, amplitude: float = 1.0, depth: tuple[float, float, float] | None = None,
) -> Movie:  # fmt: skip
    """Make localizations of sites that are seen again and again; depth is the extent, error and drift along z."""
    count = n_segments * per_segment
    ndim = 2 if depth is None else 3
    places = rng.uniform(0, size, (sites, ndim))
    errors, amplitudes = np.full(ndim, std), np.full(ndim, amplitude)
    if depth is not None:
        places[:, 0] *= depth[0] / size
        errors[0], amplitudes[0] = depth[1:]
    frame = np.sort(rng.integers(0, n_frames, count))
    drift = np.column_stack([smooth_motion(n_frames, a, rng) for a in amplitudes])
    return Movie(places[rng.integers(0, sites, count)] + drift[frame] + errors * rng.normal(size=(count, ndim)), frame,
                 drift)  # fmt: skip


def beads(rng: np.random.Generator, count: int, *, n_frames: int = 200, std: float = 0.05, lost: float = 0.1) -> Movie:
    """Make beads far apart that are sometimes missed, among molecules that are not seen again, in no order."""
    drift = np.column_stack([smooth_motion(n_frames, 1.0, rng) for _ in range(2)])
    places = np.column_stack([20.0 * np.arange(count), rng.uniform(20, 100, count)])
    frame, which = np.repeat(np.arange(n_frames), count), np.tile(np.arange(count), n_frames)
    seen = rng.random(len(frame)) >= lost
    points = (places[which] + drift[frame] + rng.normal(0, std, (len(frame), 2)))[seen]
    others = rng.uniform(-10, 20 * count, (n_frames, 2))
    points, frame = np.concatenate([points, others]), np.concatenate([frame[seen], np.arange(n_frames)])
    order = rng.permutation(len(points))
    return Movie(points[order], frame[order], drift)


def peaks_table(points: npt.NDArray[np.float64], frame: npt.NDArray[np.int64], std: float) -> npsubpix.Peaks:
    """Make a table with standard errors."""
    count = len(points)
    indices, flags = np.rint(np.nan_to_num(points)).astype(np.int64), np.zeros(count, np.int32)
    return npsubpix.Peaks(points, np.ones(count), indices, flags, frame, coords_std=np.full(points.shape, std))
