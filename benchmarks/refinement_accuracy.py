"""Bias, noise and speed of the methods of refinement: ``python -m benchmarks.refinement_accuracy``.

An argument ``--speed`` prints times instead, on one thread, in units of that of ``"quadratic"``: run it on a machine
that does nothing else. Simulated spots are Gaussians averaged over pixels. The bound is that of Cramér and Rao for a
fit of position, flux, width and background in the box of six widths. The errors on real images are those of
`benchmarks.accuracy`, which needs the image sets beside the project.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

import npsubpix
from benchmarks import accuracy
from benchmarks.fit_accuracy import bound, simulate
from benchmarks.timing import use_threads

Floats = npt.NDArray[np.float64]

METHODS = (
    "quadratic", "parabola", "least_squares", "log_quadratic", "centroid", "phasor", "radial", "fit",
)  # fmt: skip

#: Width in pixels, photons, background per pixel.
CASES = ((0.8, 1000.0, 2.0), (1.0, 1000.0, 2.0), (1.3, 300.0, 0.2), (1.3, 1000.0, 20.0), (1.6, 10_000.0, 100.0))

_SIDE = 25  # of images of one spot


def refined(images: Floats, truth: Floats, method: str, sigma: float) -> npsubpix.Peaks:
    """Refine the spots of images, one per image, from the pixel nearest to each."""
    window = {} if method == "least_squares" else {"radius": max(3.0, 3 * sigma)}
    frames = np.arange(len(images))
    return npsubpix.refine_peaks(images, np.rint(truth), method=method, frame=frames, frame_axis=0, **window)


def rms(peaks: npsubpix.Peaks, truth: Floats) -> float:
    """Return the root mean square error along an axis, of positions that were refined."""
    return float(np.sqrt(np.mean((peaks.coords - truth)[accuracy.is_measured(peaks)] ** 2)))


def share(peaks: npsubpix.Peaks) -> float:
    """Return the share of positions that were refined."""
    return float(accuracy.is_measured(peaks).mean())


def bias(method: str, sigma: float, count: int = 15) -> float:
    """Return the error without noise, as the root mean square over the phase of a pixel."""
    steps = (np.arange(count) + 0.5) / count - 0.5
    truth = _SIDE // 2 + np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    shape = (_SIDE, _SIDE)
    images = [npsubpix.render_spots(t[None], shape, std=sigma, amplitude=1000, integrate=True) for t in truth]
    return rms(refined(np.stack(images) + 10, truth, method, sigma), truth)


def scatter(sigma: float, photons: float, background: float, count: int) -> dict[str, tuple[float, float]]:
    """Return the error in units of the bound, and the share of spots that are refined, of each method."""
    rng = np.random.default_rng(1)
    truth, means = simulate(rng, count, _SIDE, photons, sigma, background)
    images = rng.poisson(means).astype(np.float64)
    best = bound(2 * int(np.ceil(max(3.0, 3 * sigma))) + 1, photons, sigma, background)
    tables = {method: refined(images, truth, method, sigma) for method in METHODS}
    return {method: (rms(peaks, truth) / best, share(peaks)) for method, peaks in tables.items()}


def rings(count: int) -> dict[str, tuple[float, float]]:
    """Return the errors in pixels, and the shares that are refined, of rings of radius 4 as beads out of focus are."""
    rng = np.random.default_rng(2)
    truth = _SIDE // 2 + rng.uniform(-0.5, 0.5, (count, 2))
    y, x = np.indices((_SIDE, _SIDE))
    distance = np.hypot(y - truth[:, 0, None, None], x - truth[:, 1, None, None])
    images = rng.poisson(10 + 100 * np.exp(-0.5 * ((distance - 4) / 1.2) ** 2)).astype(np.float64)
    tables = {method: refined(images, truth, method, 8 / 3) for method in METHODS}
    return {method: (rms(peaks, truth), share(peaks)) for method, peaks in tables.items()}


def spot_rows(count: int) -> Iterator[str]:
    """Yield the lines of the table of simulated spots."""
    heads = [f"σ {s:g}, {p:,.0f} photons, b {b:g}" for s, p, b in CASES]
    yield f"| method | bias, σ 0.7 | bias, σ 1.0 | bias, σ 1.5 | {' | '.join(heads)} | rings, px |"
    yield "|---" * (5 + len(CASES)) + "|"
    found = [scatter(*case, count) for case in CASES]
    of_rings = rings(count)
    for method in METHODS:
        biases = " | ".join(f"{bias(method, sigma):.4f}" for sigma in (0.7, 1.0, 1.5))
        errors = " | ".join(_cell(*errors[method]) for errors in found)
        yield f"| `{method}` | {biases} | {errors} | {_cell(*of_rings[method], 3)} |"


def _cell(error: float, share: float, digits: int = 2) -> str:
    return f"{error:.{digits}f}" + (f" ({share:.0%})" if share < 0.995 else "")


def real_rows() -> Iterator[str]:
    """Yield the lines of the table of real images."""
    yield f"| set | {' | '.join(f'`{m}`' for m in METHODS)} |"
    yield "|---" * (1 + len(METHODS)) + "|"
    for name, (compare, methods) in accuracy.SETS.items():
        if len(methods) > 1:
            found = [compare(method) for method in METHODS]
            cells = [f"{np.sqrt(np.mean(f.pixels**2)):.3f} ({len(f.pixels)})" for f in found]
            yield f"| {name} | {' | '.join(cells)} |"


def times(repeats: int = 9) -> dict[str, float]:
    """Return the least time of each method on one thread, in units of that of ``"quadratic"``, in boxes of 7 x 7."""
    use_threads(1)
    rng = np.random.default_rng(0)
    pixels = np.stack(np.mgrid[10:2030:14, 10:2030:14], -1).reshape(-1, 2).astype(np.float64)
    truth = pixels + rng.uniform(-0.5, 0.5, pixels.shape)
    image = npsubpix.render_spots(truth, (2048, 2048), std=1.0, amplitude=1000, integrate=True)
    image = rng.poisson(image + 20).astype(np.float32)
    calls: dict[str, Any] = {}
    for method in (*METHODS, "saddle"):
        window = {} if method in ("least_squares", "saddle") else {"radius": 3}
        calls[method] = lambda m=method, w=window: npsubpix.refine_peaks(image, pixels, method=m, **w)
        calls[method]()  # which compiles it
    best = dict.fromkeys(calls, np.inf)
    for _ in range(repeats):
        for method, call in calls.items():
            start = time.perf_counter()
            call()
            best[method] = min(best[method], time.perf_counter() - start)
    for method in ("quadratic", "phasor"):
        print(f"{method}: {len(pixels) / best[method] / 1e6:.2f} M/s")
    return {method: t / best["quadratic"] for method, t in best.items()}


def main(arguments: list[str]) -> None:
    """Print the tables as Markdown."""
    if "--speed" in arguments:
        print("| method | time |\n|---|---|")
        for method, ratio in times().items():
            print(f"| `{method}` | {ratio:.2g} |")
        return
    for line in spot_rows(int(arguments[0]) if arguments else 4000):
        print(line, flush=True)
    if accuracy.DATA.exists():
        warnings.simplefilter("ignore")  # of FITS headers of 1992
        print()
        for line in real_rows():
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
