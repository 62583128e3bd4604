"""How well a flow is measured by correlation of windows: ``python -m benchmarks.piv_accuracy [--openpiv]``.

Simulated pairs of images of particles, with photon noise. Each window of the first image is sought in a larger one of
the second, by `correlate(mode="valid")` and `find_peaks`. OpenCV's scores of the same windows are refined by
`find_peaks` as well, and with ``--openpiv`` OpenPIV measures the same windows; it needs ``openpiv``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import numpy.typing as npt

import npsubpix

__all__ = ["CASES", "main", "measured"]

Floats = npt.NDArray[np.float64]

SIDE, WINDOW, REACH, STEP = 256, 32, 8, 16
#: Seeds of a case, each a pair of images with 196 windows.
SEEDS = range(5)


def vortex(points: Floats) -> Floats:
    """Displacement (y, x) of a vortex around the middle of the image."""
    away = points - (SIDE - 1) / 2
    turned = np.stack([away[:, 1], -away[:, 0]], axis=1)
    return 0.06 * turned * np.exp(-(away**2).sum(axis=1) / 8000)[:, None]


def shift(points: Floats) -> Floats:
    """Displacement (y, x) that grows along x from 0 to 2 pixels, so that all fractions of a pixel occur."""
    return np.stack([points[:, 1], -points[:, 1]], axis=1) * (2 / SIDE)


#: Names, displacements, particles per image, and photons per particle.
CASES: dict[str, tuple[Callable[[Floats], Floats], int, float]] = {
    "vortex": (vortex, 9000, 800.0),
    "vortex, few photons": (vortex, 9000, 100.0),
    "vortex, few particles": (vortex, 3000, 800.0),
    "gradient": (shift, 9000, 800.0),
}


def pair(case: str, seed: int) -> tuple[Floats, Floats]:
    """Return two images; half of the motion is before the middle of the time between them."""
    move, count, photons = CASES[case]
    rng = np.random.default_rng(seed)
    particles = rng.uniform(-10, SIDE + 10, (count * (SIDE + 20) ** 2 // SIDE**2, 2))
    places = [particles + half * move(particles) for half in (-0.5, 0.5)]
    images = [npsubpix.render_spots(p, (SIDE, SIDE), std=1.1, amplitude=photons, integrate=True) for p in places]
    first, second = (rng.poisson(image + 10).astype(np.float64) for image in images)
    return first, second


def windows(first: Floats, second: Floats) -> Iterator[tuple[tuple[float, float], Floats, Floats]]:
    """Yield the centre of each window, the window, and the region in which it is sought."""
    starts = range(REACH, SIDE - WINDOW - REACH + 1, STEP)
    for y in starts:
        for x in starts:
            middle = (WINDOW - 1) / 2
            region = second[y - REACH : y + WINDOW + REACH, x - REACH : x + WINDOW + REACH]
            yield (y + middle, x + middle), first[y : y + WINDOW, x : x + WINDOW], region


def places() -> Floats:
    """Return the centres of all windows."""
    empty = np.zeros((SIDE, SIDE))
    return np.array([centre for centre, *_ in windows(empty, empty)])


def by_peaks(score: Callable[[Floats, Floats], Floats]) -> Callable[[Floats, Floats], Floats]:
    """Return a function that refines the greatest score of each window by `find_peaks`."""

    def find(first: Floats, second: Floats) -> Floats:
        flow = []
        for _, patch, region in windows(first, second):
            peak = npsubpix.find_peaks(score(region, patch), num_peaks=1, refine="log_quadratic")
            flow.append(peak.coords[0] - REACH if len(peak) and peak.ok[0] else (np.nan, np.nan))
        return np.array(flow)

    return find


def correlation(region: Floats, patch: Floats) -> Floats:
    """Correlate a window without its mean with each place of a region."""
    scores: Floats = npsubpix.correlate(region, patch - patch.mean(), mode="valid")
    return scores


def opencv(region: Floats, patch: Floats) -> Floats:
    """Return the same scores by OpenCV, in float32."""
    scores = cv2.matchTemplate(region.astype(np.float32), patch.astype(np.float32), cv2.TM_CCOEFF)
    return np.asarray(scores, dtype=np.float64)


def openpiv(first: Floats, second: Floats) -> Floats:
    """Measure the same windows by OpenPIV, with its Gaussian fit along each axis."""
    from openpiv.pyprocess import extended_search_area_piv

    region = WINDOW + 2 * REACH
    right, down, _ = extended_search_area_piv(
        first, second, WINDOW, region - STEP, 1.0, region, correlation_method="linear", sig2noise_method=None
    )
    return np.stack([np.asarray(down).ravel(), np.asarray(right).ravel()], axis=1)


def measured(case: str, others: dict[str, Callable[[Floats, Floats], Floats]]) -> dict[str, tuple[float, float, float]]:
    """Return for each method its RMS error, the RMS of its difference from the first one, and the share of windows.

    Windows in which a method is off by more than a pixel, or has no answer, are left out of all but the share.
    """
    methods = {"correlate, find_peaks": by_peaks(correlation), **others}
    truth = CASES[case][0](places())
    flows = {name: [find(*pair(case, seed)) for seed in SEEDS] for name, find in methods.items()}
    results, first = {}, np.array(flows["correlate, find_peaks"])
    for name, flow in flows.items():
        wrong, apart = np.array(flow) - truth, np.array(flow) - first
        good = (np.abs(wrong) < 1).all(axis=-1)
        both = good & (np.abs(first - truth) < 1).all(axis=-1)
        rms = [float(np.sqrt(np.mean(part**2))) for part in (wrong[good], apart[both])]
        results[name] = (rms[0], rms[1], float(good.mean()))
    return results


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--openpiv", action="store_true", help="measure with OpenPIV too")
    options = parser.parse_args(arguments)
    others = {"cv2.matchTemplate, find_peaks": by_peaks(opencv)}
    if options.openpiv:
        others["OpenPIV"] = openpiv
    print("| images | method | RMS error, px | RMS difference, px | windows |\n|---|---|---|---|---|")
    for case in CASES:
        for name, (error, apart, share) in measured(case, others).items():
            print(f"| {case} | {name} | {error:.3f} | {apart:.4f} | {share:.1%} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
