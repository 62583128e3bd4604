"""Scatter, biases and standard errors of fits on simulated spots: ``python -m benchmarks.fit_accuracy``.

The bound is that of Cramér and Rao for the box that is used, as a root mean square over the phase of a pixel. Biases
are the greatest of ten phases along x, in units of the bound; errors of the columns are those of the standard errors,
as the standard deviation of (fit - truth) / error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

import npsubpix

Floats = npt.NDArray[np.float64]

#: Box, photons, width in pixels, background per pixel.
CASES = (
    (7, 100.0, 1.2, 0.2), (7, 300.0, 0.8, 2.0), (7, 1000.0, 1.2, 10.0), (9, 1000.0, 1.4, 2.0), (9, 5000.0, 1.4, 50.0),
    (11, 1000.0, 1.6, 10.0), (11, 10_000.0, 1.6, 100.0), (11, 100_000.0, 1.6, 100.0),
)  # fmt: skip

_PHASES = 10


def simulate(
    rng: np.random.Generator, count: int, box: int, photons: float, sigma: float, background: float
) -> tuple[Floats, Floats]:
    """Return positions in the central pixel of boxes, and images without noise."""
    positions = box // 2 + rng.uniform(-0.5, 0.5, (count, 2))
    spots = npsubpix.render_spots
    images = [spots(p[None], (box, box), std=sigma, amplitude=photons, integrate=True) for p in positions]
    return positions, np.stack(images) + background


def bound(box: int, photons: float, sigma: float, background: float, estimator: str = "mle") -> float:
    """Return the bound of a position along one axis."""
    phases = [(a, b) for a in (-0.4, -0.2, 0.0, 0.2, 0.4) for b in (-0.4, -0.2, 0.0, 0.2, 0.4)]
    found = [
        npsubpix.cramer_rao(photons, sigma, background, box=box, shift=phase, estimator=estimator).coords_std
        for phase in phases
    ]
    return float(np.sqrt(np.mean(np.square(found))))


def rows(count: int) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| box | photons | σ | background | estimator | bound / σ | RMS / bound | bias / bound | width bias | error of x | flux | background | width | ok |"  # noqa: E501
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    rng = np.random.default_rng(1)
    for box, photons, sigma, background in CASES:
        positions, means = simulate(rng, count, box, photons, sigma, background)
        images = rng.poisson(means)
        best = bound(box, photons, sigma, background)
        for estimator, camera in (("mle", npsubpix.Camera()), ("lsq", None)):
            fits = npsubpix.fit_patches(images, camera=camera, estimator=estimator)
            kept = fits[fits.ok]
            error = (kept.coords - positions[fits.ok])[:, 1]
            phase = np.floor((positions[fits.ok, 1] + 0.5) % 1 * _PHASES)
            bias = max(abs(error[phase == k].mean()) for k in range(_PHASES))
            scaled = [
                error / kept.coords_std[:, 1], (kept.flux - photons) / kept.flux_std,
                (kept.background - background) / kept.background_std, (kept.sigma - sigma) / kept.sigma_std,
            ]  # fmt: skip
            errors = " | ".join(f"{np.nanstd(column):.2f}" for column in scaled)
            yield (
                f"| {box} | {photons:,.0f} | {sigma} | {background:g} | {estimator} | {best / sigma:.3f} "
                f"| {np.sqrt(np.mean(error**2)) / best:.3f} | {bias / best:.3f} | {kept.sigma.mean() / sigma - 1:+.4f} "
                f"| {errors} | {fits.ok.mean():.4f} |"
            )


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
