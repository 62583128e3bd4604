"""Standard errors of refined positions beside their scatter: ``python -m benchmarks.refinement_errors [photons ...]``.

Spots lie at 36 phases of a pixel, of which each has its own mean error, the bias of the method, that is left out of the
scatter. Ratios are standard deviations of (error - bias) / standard error along both axes: 1 for a perfect error bar.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import npsubpix
from npsubpix import Camera, Peaks

__all__ = ["METHODS", "Measured", "measure"]

#: Methods, and their options for spots of a width of 1.3 pixels.
METHODS: dict[str, dict[str, Any]] = {
    "quadratic": {},
    "parabola": {},
    "least_squares": {},
    "log_quadratic": {"radius": 4.0},
    "centroid": {"radius": 4.0},
    "phasor": {"radius": 4.0},
    "radial": {"radius": 4.0},
    "fit": {"radius": 4.0},
}

_PHASES, _SIDE, _SIGMA, _BACKGROUND = 6, 19, 1.3, 5.0


class Measured(NamedTuple):
    """Scatter and standard errors of positions."""

    kept: float  # share of spots that were found and refined
    std: float  # root mean square of standard errors, in pixels
    scatter: float  # standard deviation of errors without biases, in pixels
    ratio: float  # standard deviation of errors without biases in units of their standard errors


def measure(method: str, flux: float, *, count: int = 5000, photons: bool = True, find: bool = False) -> Measured:
    """Refine spots whose pixels are known, or are found; in noise of photons, or of a standard deviation of 1."""
    rng = np.random.default_rng(1)
    rows = math.isqrt(count - 1) + 1
    places = (np.arange(_PHASES) + 0.5) / _PHASES - 0.5
    phases = np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 2)
    which = np.arange(count) % len(phases)
    truth = np.stack(np.divmod(np.arange(count), rows), axis=-1) * _SIDE + _SIDE // 2 + phases[which]
    shape = (rows * _SIDE,) * 2
    light = _BACKGROUND + npsubpix.render_spots(truth, shape, std=_SIGMA, amplitude=flux, integrate=True)
    image = 100 + rng.poisson(light) if photons else light + rng.normal(0, 1, shape)
    noise: dict[str, Any] = {"camera": Camera(offset=100)} if photons else {"error": 1.0}
    peaks: Peaks
    if find:
        peaks = npsubpix.find_peaks(image, min_distance=6, num_peaks=count, refine=method, **noise, **METHODS[method])
    else:
        peaks = npsubpix.refine_peaks(image, np.rint(truth), method=method, **noise, **METHODS[method])
    result = npsubpix.assess(peaks[peaks.ok], truth, 1.5)
    errors, own, stds = result.errors.copy(), which[result.truth_rows], result.errors_std
    assert stds is not None
    for phase in range(len(phases)):
        errors[own == phase] -= errors[own == phase].mean(axis=0)
    ratio = float((errors / stds).std())
    return Measured(len(errors) / count, float((stds**2).mean() ** 0.5), float(errors.std()), ratio)


def _lines(fluxes: tuple[float, ...]) -> Iterator[str]:
    yield "| method | " + " | ".join(f"{flux:,.0f} photons | ratio" for flux in fluxes) + " |"
    yield "|---|" + "---|---|" * len(fluxes)
    for method in METHODS:
        found = [measure(method, flux) for flux in fluxes]
        yield f"| `{method}` | " + " | ".join(f"{m.std:.3f} | {m.ratio:.2f}" for m in found) + " |"


if __name__ == "__main__":
    for line in _lines(tuple(map(float, sys.argv[1:])) or (1000.0, 10_000.0, 100_000.0)):
        print(line, flush=True)
