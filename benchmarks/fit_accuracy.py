"""Scatter, biases and standard errors of fits on simulated spots: ``python -m benchmarks.fit_accuracy [count]``.

The bound is that of Cramér and Rao for the box that is used, as a root mean square over the phase of a pixel. Biases
are the greatest of ten phases, along both axes, in units of the bound. Errors of the columns are those of the standard
errors, as the standard deviation of (fit - truth) / error. All are of spots that could be fitted, whether `ok` or not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import erf

import npsubpix
from npsubpix import Camera

__all__ = ["CASES", "Case", "Measured", "bound", "ill_shaped", "measure", "measure_few", "simulate"]

Floats = npt.NDArray[np.float64]

#: Shares of phases of a pixel.
_PHASES = 10

_HOT = (100.0, 1000.0)  # the read variance of a hot pixel, from and to
_QUIET = 2.0  # and that of others


class Case(NamedTuple):
    """A box, and the spots in it."""

    box: int
    photons: float
    sigma: float
    background: float


#: Bounds of the position from 0.003 to 0.2 widths.
CASES = (
    Case(7, 100.0, 0.8, 0.2), Case(7, 100.0, 1.2, 0.2), Case(7, 200.0, 1.0, 0.5), Case(7, 300.0, 0.8, 2.0),
    Case(7, 200.0, 1.2, 10.0), Case(7, 1000.0, 1.2, 10.0), Case(7, 100_000.0, 0.8, 10.0), Case(9, 100.0, 1.2, 2.0),
    Case(9, 200.0, 1.2, 20.0), Case(9, 1000.0, 1.4, 2.0), Case(9, 5000.0, 1.4, 50.0), Case(11, 300.0, 1.6, 2.0),
    Case(11, 1000.0, 1.6, 10.0), Case(11, 10_000.0, 1.6, 100.0), Case(11, 100_000.0, 1.6, 100.0),
)  # fmt: skip


class Measured(NamedTuple):
    """Scatter, biases and errors of standard errors of many fits of a case."""

    count: int  # positions along both axes
    bound: float  # of a position, in pixels
    rms: float  # of positions, in units of the bound
    bias: float  # the greatest at any phase, in units of the bound
    width_bias: float  # as a share of the width
    errors: dict[str, float]  # of position, flux, background and sigma
    ok: float  # share of spots


def _lines(box: int, centres: Floats, sigma: float) -> Floats:
    """Integrate Gaussians over the pixels of an axis."""
    edges = (np.arange(box + 1) - 0.5 - centres[:, None]) / (np.sqrt(2) * sigma)
    return np.diff(erf(edges), axis=1) / 2


def spots(box: int, positions: Floats, photons: Any, sigma: float) -> Floats:
    """Return images of spots without background and noise."""
    y, x = (_lines(box, positions[:, axis], sigma) for axis in range(2))
    return np.multiply(np.reshape(photons, (-1, 1, 1)), y[:, :, None] * x[:, None, :])


def simulate(rng: np.random.Generator, count: int, case: Case) -> tuple[Floats, Floats]:
    """Return positions in the central pixel of boxes, and images without noise."""
    positions = case.box // 2 + rng.uniform(-0.5, 0.5, (count, 2))
    return positions, spots(case.box, positions, case.photons, case.sigma) + case.background


def bound(case: Case, **options: Any) -> float:
    """Return the bound of a position along one axis."""
    phases = [(a, b) for a in (-0.4, -0.2, 0.0, 0.2, 0.4) for b in (-0.4, -0.2, 0.0, 0.2, 0.4)]
    _, photons, sigma, background = case
    found = [
        npsubpix.cramer_rao(photons, sigma, background, box=case.box, shift=p, **options).coords_std for p in phases
    ]
    return float(np.sqrt(np.mean(np.square(found))))


def _scaled(fits: npsubpix.Fits, positions: Floats, case: Case) -> dict[str, Floats]:
    """Return errors in units of the standard errors."""
    return {
        "position": ((fits.coords - positions) / fits.coords_std).ravel(),
        "flux": (fits.flux - case.photons) / fits.flux_std,
        "background": (fits.background - case.background) / fits.background_std,
        "sigma": (fits.sigma - case.sigma) / fits.sigma_std,
    }


def _deviations(scaled: dict[str, Floats]) -> dict[str, float]:
    return {name: float(np.nanstd(column)) for name, column in scaled.items()}


def summarize(fits: npsubpix.Fits, positions: Floats, case: Case, best: float) -> Measured:
    """Compare fits with the truth."""
    ok = float(np.mean(fits.ok))
    fitted = ~np.isnan(fits.coords_std[:, 0])
    fits, positions = fits[fitted], positions[fitted]
    error = (fits.coords - positions).ravel()
    phase = np.floor((positions + 0.5) % 1 * _PHASES).astype(int).ravel()
    biases = np.bincount(phase, error, _PHASES) / np.bincount(phase, minlength=_PHASES).clip(1)
    return Measured(
        error.size, best, float(np.sqrt(np.mean(error**2))) / best, float(np.abs(biases).max()) / best,
        float(fits.sigma.mean()) / case.sigma - 1, _deviations(_scaled(fits, positions, case)), ok,
    )  # fmt: skip


def measure(rng: np.random.Generator, count: int, case: Case, estimator: str = "mle") -> Measured:
    """Fit spots with Poisson noise: with a camera, or by least squares without."""
    positions, means = simulate(rng, count, case)
    camera = Camera() if estimator == "mle" else None
    fits = npsubpix.fit_patches(rng.poisson(means), camera=camera, estimator=estimator)
    return summarize(fits, positions, case, bound(case))


def measure_hot(rng: np.random.Generator, count: int, case: Case) -> Measured:
    """Fit spots with a pixel of great read noise in every box, of which a map tells."""
    phases = [(a, b) for a in (-0.375, -0.125, 0.125, 0.375) for b in (-0.375, -0.125, 0.125, 0.375)]
    positions = np.repeat(case.box // 2 + np.array(phases), -(-count // len(phases)), axis=0)
    variance = np.full((len(positions), case.box, case.box), _QUIET)
    hot = rng.integers(0, case.box, (2, len(positions)))
    variance[np.arange(len(positions)), hot[0], hot[1]] = rng.uniform(*_HOT, len(positions))
    data = rng.poisson(spots(case.box, positions, case.photons, case.sigma) + case.background)
    fits = npsubpix.fit_patches(
        data + rng.normal(size=data.shape) * np.sqrt(variance), camera=Camera(read_variance=variance)
    )
    _, photons, sigma, background = case
    bounds = [
        npsubpix.cramer_rao(
            photons, sigma, background, box=case.box, shift=p, camera=Camera(read_variance=maps)
        ).coords_std
        for p, maps in zip(phases, np.split(variance, len(phases)), strict=True)
    ]
    return summarize(fits, positions, case, float(np.sqrt(np.mean(np.square(bounds)))))


def measure_gain(rng: np.random.Generator, count: int, case: Case) -> Measured:
    """Fit spots behind an EM gain, whose electrons at the output have a gamma distribution."""
    camera = Camera(offset=100, electrons_per_count=5.0, em_gain=300.0)
    positions, means = simulate(rng, count, case)
    counts = rng.gamma(np.maximum(rng.poisson(means), 1e-9), 300.0) / 5 + 100
    fits = npsubpix.fit_patches(counts, camera=camera)
    return summarize(fits, positions, case, bound(case, camera=camera))


def measure_few(rng: np.random.Generator, calls: int, spots_of_call: int, *cases: Case) -> list[dict[str, float]]:
    """Return errors of standard errors of least squares, of calls with few spots of several cases each.

    Boxes of a call are those of the first case.
    """
    found: list[list[dict[str, Floats]]] = [[] for _ in cases]
    for _ in range(calls):
        positions, images = zip(*(simulate(rng, spots_of_call, case) for case in cases), strict=True)
        fits = npsubpix.fit_patches(rng.poisson(np.concatenate(images)))
        for k, (case, own) in enumerate(zip(cases, positions, strict=True)):
            rows_of_case = fits[k * spots_of_call : (k + 1) * spots_of_call]
            found[k].append(_scaled(rows_of_case[rows_of_case.ok], own[rows_of_case.ok], case))
    joined = [{name: np.concatenate([f[name] for f in own]) for name in own[0]} for own in found]
    return [_deviations(scaled) for scaled in joined]


def _neighbour(share: float, distance: float) -> Callable[[np.random.Generator, int, float], tuple[Floats, Floats]]:
    """Make images of spots with a neighbour of a share of their photons, at a distance in widths."""

    def images(rng: np.random.Generator, count: int, photons: float) -> tuple[Floats, Floats]:
        positions = 4 + rng.uniform(-0.5, 0.5, (count, 2))
        angle = rng.uniform(0, 2 * np.pi, count)
        other = positions + distance * 1.2 * np.stack([np.sin(angle), np.cos(angle)], 1)
        return positions, spots(9, positions, photons, 1.2) + spots(9, other, share * photons, 1.2) + 5

    return images


def _one(sigma: float) -> Callable[[np.random.Generator, int, float], tuple[Floats, Floats]]:
    """Make images of spots of a width."""

    def images(rng: np.random.Generator, count: int, photons: float) -> tuple[Floats, Floats]:
        positions = 4 + rng.uniform(-0.5, 0.5, (count, 2))
        return positions, spots(9, positions, photons, sigma) + 5

    return images


def _clipped(rng: np.random.Generator, count: int, photons: float) -> tuple[Floats, Floats]:
    """Make images of spots that are saturated at half of their height."""
    positions, means = _one(1.2)(rng, count, photons)
    return positions, np.minimum(means, 0.5 * means.max())


#: Spots in boxes of 9 pixels, of which fits of one Gaussian are right or wrong.
ILL_SHAPED: dict[str, Callable[[np.random.Generator, int, float], tuple[Floats, Floats]]] = {
    "one spot, σ 1.2": _one(1.2),
    "one spot, σ 0.4": _one(0.4),
    "σ 0.2, narrower than a pixel shows": _one(0.2),
    "σ 9, as wide as the box": _one(9.0),
    "two equal spots, 2.5 σ apart": _neighbour(1.0, 2.5),
    "two equal spots, 1.5 σ apart": _neighbour(1.0, 1.5),
    "two equal spots, 0.7 σ apart": _neighbour(1.0, 0.7),
    "a neighbour of 0.3, 3 σ away": _neighbour(0.3, 3.0),
    "a neighbour of 0.3, 2 σ away": _neighbour(0.3, 2.0),
    "a neighbour of 0.3, 1 σ away": _neighbour(0.3, 1.0),
    "a neighbour of 0.1, 2 σ away": _neighbour(0.1, 2.0),
    "saturated at half of its height": _clipped,
}


def ill_shaped(rng: np.random.Generator, count: int, name: str, photons: float, estimator: str) -> tuple[float, float]:
    """Return the share of fits that are ok, and that of those that are ok and more than six standard errors off."""
    positions, means = ILL_SHAPED[name](rng, count, photons)
    camera = Camera() if estimator == "mle" else None
    fits = npsubpix.fit_patches(rng.poisson(means), camera=camera, estimator=estimator)
    with np.errstate(invalid="ignore"):
        wrong = (np.abs(fits.coords - positions) > 6 * fits.coords_std).any(1)
    return float(fits.ok.mean()), float((fits.ok & wrong).mean())


def rows(count: int) -> Iterator[str]:
    """Yield the lines of the table of scatter and errors."""
    yield "| box | photons | σ | background | estimator | bound / σ | RMS / bound | bias / bound | width bias | error of position | flux | background | width | ok |"  # noqa: E501
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    rng = np.random.default_rng(1)
    for case in CASES:
        for estimator in ("mle", "lsq"):
            yield _row(case, estimator, measure(rng, count, case, estimator))
    case = Case(7, 1000.0, 1.2, 10.0)
    yield _row(case, "mle, a hot pixel in every box", measure_hot(rng, count, case))
    yield _row(case, "mle, EM gain", measure_gain(rng, count, case))


def _row(case: Case, estimator: str, found: Measured) -> str:
    errors = " | ".join(f"{value:.2f}" for value in found.errors.values())
    return (
        f"| {case.box} | {case.photons:,.0f} | {case.sigma} | {case.background:g} | {estimator} "
        f"| {found.bound / case.sigma:.3f} | {found.rms:.3f} | {found.bias:.3f} | {found.width_bias:+.4f} | {errors} "
        f"| {found.ok:.4f} |"
    )


#: Spots that share a call of least squares, whose noise they share.
FEW = {
    "1,000 photons on 10": (Case(7, 1000.0, 1.2, 10.0),),
    "300 and 30,000 photons on 10": (Case(9, 300.0, 1.2, 10.0), Case(9, 30_000.0, 1.2, 10.0)),
    "2,000 photons on 2 and on 200": (Case(9, 2000.0, 1.2, 2.0), Case(9, 2000.0, 1.2, 200.0)),
}


def rows_of_few(count: int) -> Iterator[str]:
    """Yield the lines of the table of calls with few spots."""
    yield "| spots of a call | of each | error of position | flux | background | width |"
    yield "|---|---|---|---|---|---|"
    rng = np.random.default_rng(2)
    for name, cases in FEW.items():
        for few in (1, 3, 10, 100):
            found = measure_few(rng, max(count // few, 1), few, *cases)
            columns = [" and ".join(f"{errors[key]:.2f}" for errors in found) for key in found[0]]
            yield f"| {name} | {few} | {' | '.join(columns)} |"


def rows_of_shapes(count: int) -> Iterator[str]:
    """Yield the lines of the table of spots that are not of the model."""
    yield "| spots | photons | `mle`: ok | ok and 6 errors off | `lsq`: ok | ok and 6 errors off |"
    yield "|---|---|---|---|---|---|"
    rng = np.random.default_rng(3)
    for name in ILL_SHAPED:
        for photons in (500.0, 3000.0, 30_000.0):
            shares = [share for e in ("mle", "lsq") for share in ill_shaped(rng, count, name, photons, e)]
            yield f"| {name} | {photons:,.0f} | {' | '.join(f'{share:.3f}' for share in shares)} |"


def main(count: int) -> None:
    """Print the tables as Markdown."""
    for k, table in enumerate((rows(count), rows_of_few(count // 50), rows_of_shapes(count // 25))):
        sys.stdout.write("\n" * (k > 0))
        sys.stdout.writelines(f"{line}\n" for line in table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
