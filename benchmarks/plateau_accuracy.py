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
    starts = npsubpix.find_peaks(image, min_distance=_STEP // 2, threshold_abs=30, refine=None)
    plateaus = [_plateau(image, *place) for place in starts.indices.tolist()]
    pixels, centre = np.array([len(p) for p in plateaus]), np.array([p.mean(0) for p in plateaus])
    distance = np.abs(starts.coords[:, None] - truth).max(2)
    own, isolated = truth[distance.argmin(1)], distance.min(1) < 6
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


def _plateau(image: npt.NDArray[Any], y: int, x: int) -> npt.NDArray[Any]:
    """Return the connected pixels that share the value of one."""
    from scipy.ndimage import label

    top, left = max(y - 12, 0), max(x - 12, 0)
    sets, _ = label(image[top : y + 13, left : x + 13] == image[y, x], np.ones((3, 3)))
    return np.argwhere(sets == sets[y - top, x - left]) + np.array([top, left])


def _rms(offsets: npt.NDArray[Any]) -> float:
    return float(np.sqrt((offsets**2).mean())) if len(offsets) else float("nan")


#: Pixels by which the window of a centroid is wider than a plateau, in all: the least and the most of each row.
WIDER = {"narrower than the plateau": (-99, -1), "0 or 1": (0, 1), "2 or 3": (2, 3), "4 or more": (4, 99)}


def window_errors(rng: np.random.Generator, count: int = 10) -> dict[str, dict[str, float]]:
    """Return errors of centroids on clipped spots of many sizes, by how much wider the window is than the plateau."""
    wider, accepted, offsets = [], [], []
    for sigma in (1.5, 2.5, 3.5):
        for height in (352.0, 940.0):
            image, truth = spots(rng, sigma, height, "2", count)
            starts = npsubpix.find_peaks(image, min_distance=_STEP // 2, threshold_abs=200, refine=None).indices
            lengths = np.array([np.ptp(_plateau(image, *place), axis=0).max() + 1 for place in starts.tolist()])
            own = truth[np.abs(starts[:, None] - truth).max(2).argmin(1)]
            for radius in range(2, 10):
                found = npsubpix.refine_peaks(image, starts, method="centroid", radius=radius)
                wider.append(2 * radius + 1 - lengths)
                accepted.append(np.asarray(found.ok))
                offsets.append(found.coords - own)
    by, ok, error = np.concatenate(wider), np.concatenate(accepted), np.concatenate(offsets)
    table = {}
    for name, (least, most) in WIDER.items():
        rows = (by >= least) & (by <= most)
        table[name] = {"spots": float(rows.sum()), "share": float(ok[rows].mean()), "rms": _rms(error[rows & ok])}
    return table


CASES = [
    *(("dim, height 40, no noise", s, 40.0, "0.01") for s in (1.0, 1.5, 2.5)),
    *(("dim, height 40, photon noise", s, 40.0, "photons") for s in (1.0, 1.5, 2.5)),
    *(("clipped at 2/3 of the height, noise 2", s, 352.0, "2") for s in (1.0, 1.5, 2.5)),
    *(("clipped at a quarter of the height, noise 2", s, 940.0, "2") for s in (1.0, 1.5, 2.5)),
]


def main() -> None:
    """Print the tables as Markdown."""
    print("| spots | σ | plateau | number | its centre | quadratic | parabola | centroid |")
    print("|---|---|---|---|---|---|---|---|")
    rng = np.random.default_rng(20260101)
    for name, sigma, height, noise in CASES:
        for group, found in errors(rng, sigma, height, noise).items():
            cells = [f"{found[k]:.3f}" if found[k] == found[k] else "–" for k in ("centre", *METHODS)]
            print(f"| {name} | {sigma} | {group} | {found['spots']:.0f} | {' | '.join(cells)} |")
    print("\n| window wider than the plateau by | number | the centroid converges | its error |")
    print("|---|---|---|---|")
    for name, found in window_errors(rng).items():
        print(f"| {name} | {found['spots']:.0f} | {100 * found['share']:.0f} % | {found['rms']:.3f} |")


if __name__ == "__main__":
    main()
