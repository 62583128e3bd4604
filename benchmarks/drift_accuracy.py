"""How well drift is measured: ``python -m benchmarks.drift_accuracy [--picasso]``.

Simulated movies of molecules that are seen again and again, on a sample that drifts by a few pixels. Errors are those
of the drift of all frames, from its mean, as a table is moved as a whole without harm. With ``--picasso``, picasso's
RCC measures the same tables, in segments of the same number of frames; it needs ``picassosr``.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import npsubpix
from benchmarks.drifting import Movie, beads, molecules, peaks_table

__all__ = ["CASES", "Result", "main", "measured"]

Floats = npt.NDArray[np.float64]

#: Movies of a case, each with a seed of its own.
N_MOVIES = 12

#: Names, and options of `molecules`: all have 600 localizations per segment.
CASES: dict[str, dict[str, Any]] = {
    "300 sites in 64², 0.1 px": {},
    "3,000 sites in 128², 0.1 px": {"sites": 3000, "size": 128, "n_segments": 20},
    "10,000 sites in 128², 0.1 px": {"sites": 10000, "size": 128, "n_segments": 20},
    "800 sites in 64², 0.25 px": {"sites": 800, "std": 0.25},
    "the first, three times the drift": {"amplitude": 3.0},
}


class Result(NamedTuple):
    """Root mean square error, errors in units of standard errors, share of frames that are ok, and seconds."""

    rms: float
    over_std: float
    ok: float
    seconds: float


def measured(find: Callable[[Movie], tuple[Floats, Floats | None]], movies: list[Movie]) -> Result:
    """Compare the drift of movies with the true one: `find` returns that of frames, NaN if unknown, and errors."""
    errors, scores, known, seconds = [], [], [], []
    for movie in movies:
        begin = time.perf_counter()
        shift, std = find(movie)
        seconds.append(time.perf_counter() - begin)
        good = np.isfinite(shift).all(axis=1)
        wrong = (shift - movie.drift)[good]
        errors.append(wrong - wrong.mean(axis=0))
        known.append(good)
        if std is not None:
            scores.append(errors[-1] / std[good])
    spread = float(np.sqrt((np.concatenate(scores) ** 2).mean())) if scores else np.nan
    return Result(
        float(np.sqrt((np.concatenate(errors) ** 2).mean())), spread, float(np.concatenate(known).mean()),
        float(np.median(seconds)),
    )  # fmt: skip


def ours(movie: Movie, std: float, **options: Any) -> tuple[Floats, Floats]:
    """Drift of all frames of a movie, by npsubpix; NaN where it is not ok."""
    drift = npsubpix.drift_of(peaks_table(movie.points, movie.frame, std), **options)
    shift, errors = np.full(movie.drift.shape, np.nan), np.full(movie.drift.shape, np.nan)
    shift[drift.frame[drift.ok]], errors[drift.frame[drift.ok]] = drift.shift[drift.ok], drift.shift_std[drift.ok]
    return shift, errors


def picasso(movie: Movie, std: float, n_segments: int) -> tuple[Floats, None]:
    """Drift of all frames of a movie, by the RCC of picasso."""
    import pandas as pd
    from picasso import postprocess

    low = movie.points.min(axis=0) - 2
    y, x = (movie.points - low).T
    size = int(np.ceil(np.ptp(movie.points, axis=0).max())) + 5
    n_frames = len(movie.drift)
    locs = pd.DataFrame({"frame": movie.frame, "x": x, "y": y, "lpx": std, "lpy": std, "photons": 1000.0})
    info = [{"Frames": n_frames, "Height": size, "Width": size, "Pixelsize": 130.0}]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        drift, _ = postprocess.undrift(locs, info, n_frames // n_segments, display=False)
    return np.column_stack([drift["y"], drift["x"]]), None


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.drift_accuracy", description=__doc__.partition("\n")[0])
    parser.add_argument("--picasso", action="store_true", help="measure picasso's RCC too")
    parser.add_argument("--movies", type=int, default=N_MOVIES, help="movies of each case")
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    print("| movies | method | rms error, px | std(error / standard error) | frames ok | s |")
    print("|---|---|---|---|---|---|")
    for name, case in CASES.items():
        movies = [molecules(np.random.default_rng(seed), **case) for seed in range(options.movies)]
        std, count = case.get("std", 0.1), case.get("n_segments", 10)
        _row(name, "npsubpix", measured(lambda movie, std=std: ours(movie, std), movies))
        if options.picasso:
            _row(name, "picasso RCC", measured(lambda movie, std=std, n=count: picasso(movie, std, n), movies))
    for count in (1, 3, 10):
        movies = [beads(np.random.default_rng(seed), count) for seed in range(options.movies)]
        result = measured(lambda movie: ours(movie, 0.05, method="tracks"), movies)
        _row(f"{count} bead{'s' if count > 1 else ''}, 0.05 px", "npsubpix, tracks", result)


def _row(name: str, method: str, result: Result) -> None:
    spread = "" if np.isnan(result.over_std) else f"{result.over_std:.2f}"
    print(f"| {name} | {method} | {result.rms:.4f} | {spread} | {result.ok:.1%} | {result.seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
