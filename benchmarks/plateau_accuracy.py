"""How well peaks are refined whose greatest pixels are equal: ``python -m benchmarks.plateau_accuracy``.

Simulated Gaussian spots on a grid, in images of 8 bits: dim ones, whose brightest pixels are equal by chance, and ones
that are brighter than 255 and are clipped. Errors are root mean squares along an axis, in pixels, from the pixel of the
plateau that is nearest to its centre, whether or not `find_peaks` accepts them; a dash where all are rejected by the
fit itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import npsubpix

METHODS = ("quadratic", "parabola", "centroid")

#: Names of plateaus by their number of pixels.
GROUPS = {"one pixel": (1, 1), "two pixels": (2, 2), "more pixels": (3, 10**9)}

_STEP = 32


def spots(rng: np.random.Generator, sigma: float, height: float, noise: str, count: int = 30) -> tuple[Any, Any]:
    """Return an image of 8 bits of count x count spots, and their positions."""
    truth = np.stack(np.mgrid[:count, :count], -1).reshape(-1, 2) * _STEP + _STEP // 2
    truth = truth + rng.uniform(-0.5, 0.5, truth.shape)
    side = count * _STEP
    along = [np.exp(-((np.arange(side) - p[:, None]) ** 2) / (2 * sigma**2)) for p in truth.T]
    image = 20 + height * np.einsum("ni,nj->ij", *along, optimize=True)
    image = rng.poisson(image) if noise == "photons" else image + rng.normal(0, float(noise), image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), truth


def errors(
    rng: np.random.Generator, sigma: float, height: float, noise: str, count: int = 30
) -> dict[str, dict[str, float]]:
    """Return root mean square errors by the size of the plateau: of its centre, and of each method."""
    image, truth = spots(rng, sigma, height, noise, count)
    peaks = npsubpix.find_peaks(image, min_distance=_STEP // 2, threshold_abs=30, plateau="centroid", refine=None)
    starts = npsubpix.find_peaks(image, min_distance=_STEP // 2, threshold_abs=30, refine=None)
    pixels = np.array([_equal_pixels(image, *place) for place in starts.indices.tolist()])
    distance = np.abs(starts.coords[:, None] - truth).max(2)
    own, isolated = truth[distance.argmin(1)], distance.min(1) < 6
    centres = {tuple(p): c for p, c in zip(np.rint(peaks.coords).astype(int).tolist(), peaks.coords, strict=True)}
    centre = np.array([centres.get(tuple(p), (np.nan, np.nan)) for p in np.rint(starts.coords).astype(int).tolist()])
    table: dict[str, dict[str, float]] = {}
    refined = {m: npsubpix.refine_peaks(image, starts.indices, method=m, radius=max(3, 3 * sigma)) for m in METHODS}
    for name, (least, most) in GROUPS.items():
        rows = isolated & (pixels >= least) & (pixels <= most)
        if not rows.any():
            continue
        table[name] = {"spots": float(rows.sum()), "centre": _rms((centre - own)[rows])}
        for method, found in refined.items():
            table[name][method] = _rms((found.coords - own)[rows & np.asarray(found.ok)])
    return table


def _equal_pixels(image: npt.NDArray[Any], y: int, x: int) -> int:
    """Return the number of connected pixels that share the value of one."""
    from scipy.ndimage import label

    near = image[max(y - 12, 0) : y + 13, max(x - 12, 0) : x + 13]
    sets, _ = label(near == image[y, x], np.ones((3, 3)))
    return int((sets == sets[min(y, 12), min(x, 12)]).sum())


def _rms(offsets: npt.NDArray[Any]) -> float:
    return float(np.sqrt(np.nanmean(offsets**2))) if len(offsets) else float("nan")


CASES = [
    *(("dim, height 40, no noise", s, 40.0, "0.01") for s in (1.0, 1.5, 2.5)),
    *(("dim, height 40, photon noise", s, 40.0, "photons") for s in (1.0, 1.5, 2.5)),
    *(("clipped at 2/3 of the height, noise 2", s, 352.0, "2") for s in (1.0, 1.5, 2.5)),
    *(("clipped at a quarter of the height, noise 2", s, 940.0, "2") for s in (1.0, 1.5, 2.5)),
]


def main() -> None:
    """Print the table as Markdown."""
    print("| spots | σ | plateau | number | its centre | quadratic | parabola | centroid |")
    print("|---|---|---|---|---|---|---|---|")
    rng = np.random.default_rng(20260101)
    for name, sigma, height, noise in CASES:
        for group, found in errors(rng, sigma, height, noise).items():
            cells = [f"{found[k]:.3f}" if found[k] == found[k] else "–" for k in ("centre", *METHODS)]
            print(f"| {name} | {sigma} | {group} | {found['spots']:.0f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
