"""How exact centroids of narrow spots are, and how many converge: ``python -m benchmarks.centroid_accuracy``.

Simulated Gaussian spots without noise, all over their pixels, and the movie of beads in bulk water of
`benchmarks.accuracy`, which is read from the folder beside the project if it is there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import npsubpix
from benchmarks import accuracy

RADII = (3.0, 4.0, 6.0)

_STEP = 24


def errors(sigma: float, averaged: bool, radii: tuple[float, ...] = RADII, count: int = 15) -> list[float]:
    """Return root mean square errors along an axis, in pixels, of spots sampled at pixels or averaged over them."""
    steps = (np.arange(count) + 0.5) / count - 0.5
    truth = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    truth = truth + np.stack(np.mgrid[:count, :count], -1).reshape(-1, 2) * _STEP + _STEP // 2
    spots = npsubpix.render_spots(truth, (count * _STEP,) * 2, std=sigma, integrate=averaged)
    found = [npsubpix.refine_peaks(spots, np.rint(truth), method="centroid", radius=r) for r in radii]
    return [float(np.sqrt(((peaks.coords - truth) ** 2).mean())) for peaks in found]


def movie() -> npt.NDArray[np.uint8]:
    """Return the frames of beads in bulk water, inverted."""
    import imageio.v3 as imageio

    folder = accuracy.DATA / "micro_trackpy_bulkwater"
    return np.stack([255 - imageio.imread(path)[..., 1] for path in sorted(folder.glob("*.png"))])


def beads(frames: npt.NDArray[np.uint8], n_iters: int | None) -> dict[str, int]:
    """Return how many beads are found in a movie, and how many keep their pixel, as iterations did not converge."""
    options: dict[str, Any] = {
        "background": npsubpix.local_background(frames, 32, frame_axis=0),
        "threshold_abs": 3,
        "min_distance": 6,
        "refine": "centroid",
        "radius": 5,
        "n_iters": n_iters,
        "frame_axis": 0,
    }
    peaks = npsubpix.find_peaks(frames, **options)
    limit = (peaks.flags & int(npsubpix.PeakFlags.NOT_CONVERGED)) != 0
    return {"rows": len(peaks), "limit": int(limit.sum())}


def main() -> None:
    """Print the tables as Markdown."""
    print("| σ | pixels | " + " | ".join(f"radius {radius:g}" for radius in RADII) + " |")
    print("|---|---|" + "---|" * len(RADII))
    for sigma in (0.5, 0.6, 0.8, 1.0):
        for averaged in (False, True):
            cells = " | ".join(f"{rms:.4f}" for rms in errors(sigma, averaged))
            print(f"| {sigma} | {'averages' if averaged else 'samples'} | {cells} |")
    if not (accuracy.DATA / "micro_trackpy_bulkwater").exists():
        return
    frames = movie()
    print("\n| `n_iters` | beads in the movie | not converged |")
    print("|---|---|---|")
    for n_iters in (5, 20, None):
        found = beads(frames, n_iters)
        print(f"| {n_iters or 'default, 30'} | {found['rows']} | {found['limit']} |")


if __name__ == "__main__":
    main()
