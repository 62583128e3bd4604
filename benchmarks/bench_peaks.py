"""Peak finding against scikit-image and kornia."""

from __future__ import annotations

from typing import Any

import numpy as np

import npsubpix
from benchmarks import data, peers
from benchmarks.agreement import close, same_pixels
from benchmarks.bench_nms import on_tensor
from benchmarks.registry import Contest, Peer, contest


@contest("find_peaks 2-D, min_distance=2", side=1024, quick_side=128, sweep_bytes=40)
def find_peaks_2d(side: int) -> Contest:
    image = data.spots(side)
    options = {"min_distance": 2, "threshold_abs": data.SPOT_THRESHOLD, "exclude_border": 2}
    feature = peers.load("skimage.feature")
    return Contest(
        f"{side}², {round(5000 * (side / 1024) ** 2):,} spots",
        lambda: npsubpix.find_peaks(image, **options),
        [
            Peer(
                "skimage peak_local_max",
                feature and (lambda: feature.peak_local_max(image, **options)),
                20,
                lambda peaks, pixels: same_pixels(peaks.indices, pixels),
            )
        ],
    )


@contest("find_peaks 3-D", side=1024)
def find_peaks_3d(side: int) -> Contest:
    volume = data.smooth_volume(side)

    def differs(peaks: npsubpix.Peaks, dense: tuple[Any, Any]) -> str:
        peaks = peaks[peaks.ok]  # kornia does not limit how far a peak moves in all
        d, i, j = peaks.indices.T
        scale, x, y = np.asarray(dense[0])[0, 0, :, d, i, j].T
        return close(1e-3, share=0.995)(peaks.coords, np.stack((scale, y, x), axis=1))

    return Contest(
        f"5×{side}², smooth",
        lambda: npsubpix.find_peaks(volume),
        [Peer("kornia iterative_quad_interp3d", on_tensor("iterative_quad_interp3d", volume[None, None]), 20, differs)],
    )
