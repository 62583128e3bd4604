"""Small images, where the overhead of a call counts."""

from __future__ import annotations

import numpy as np

import npsubpix
from benchmarks import data, peers
from benchmarks.agreement import close, same, same_pixels
from benchmarks.bench_nms import dilate, on_tensor
from benchmarks.registry import Contest, Peer, Target, contest

_SIDE = 64
_FRAMES = 20


@contest("small call: nms2d 3×3, mask", side=_SIDE, quick_side=_SIDE)
def nms2d(side: int) -> Contest:
    image = data.noise(1, 1, side, side)
    return Contest(
        f"{side}², noise",
        lambda: npsubpix.nms2d(image, (3, 3), mask_only=True),
        [
            Peer("kornia", on_tensor("nms2d", image, (3, 3), mask_only=True), differs=same),
            Peer("cv2.dilate alone", dilate(image[0, 0], 3), is_library=False),
        ],
        Target(20e-6, at_least=False),
    )


@contest("small call: find_peaks", side=_SIDE, quick_side=_SIDE)
def find_peaks(side: int) -> Contest:
    image = data.few_spots(side)
    feature = peers.load("skimage.feature")
    return Contest(
        f"{side}², smooth, 5 spots, threshold_abs",
        lambda: npsubpix.find_peaks(image, threshold_abs=data.SPOT_THRESHOLD),
        [
            Peer(
                "skimage peak_local_max",
                feature and (lambda: feature.peak_local_max(image, threshold_abs=data.SPOT_THRESHOLD)),
                differs=lambda peaks, pixels: same_pixels(peaks.indices, pixels),
            )
        ],
        Target(60e-6, at_least=False),
    )


@contest("small calls: find_peaks of frames", side=256, quick_side=_SIDE)
def frames(side: int) -> Contest:
    """A loop over frames beside one call: how much each call costs, and where cores are busy, waiting for threads."""
    stack = np.stack([data.few_spots(side)] * _FRAMES)
    options = {"threshold_abs": data.SPOT_THRESHOLD}
    return Contest(
        f"{_FRAMES} × {side}², smooth, 5 spots, threshold_abs",
        lambda: [npsubpix.find_peaks(frame, **options) for frame in stack],
        [
            Peer(
                "one call on the stack",
                lambda: npsubpix.find_peaks(stack, **options, frame_axis=0),
                target=0.5,
                differs=lambda loop, one: same_pixels(np.concatenate([peaks.indices for peaks in loop]), one.indices),
                is_library=False,
            )
        ],
        items=_FRAMES,
    )


@contest("small call: spatial_soft_argmax2d", side=32, quick_side=32)
def spatial_soft_argmax2d(side: int) -> Contest:
    image = data.noise(1, 1, side, side)
    return Contest(
        f"1×1×{side}², noise",
        lambda: npsubpix.spatial_soft_argmax2d(image),
        [Peer("kornia", on_tensor("spatial_soft_argmax2d", image), differs=close(1e-5))],
        Target(15e-6, at_least=False),
    )
