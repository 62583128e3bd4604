"""Convolution against OpenCV, SciPy and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

import npsubpix
from benchmarks import data, peers
from benchmarks.agreement import close
from benchmarks.registry import Contest, Peer, contest


def _weights(side: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((side, side)).astype(np.float32)


def _correlation(side: int, size: int, least: float) -> Contest:
    cv2, torch = peers.load("cv2"), peers.load("torch")
    image, kernel = data.noise(side, side), _weights(size)
    by_cv2 = None if cv2 is None else lambda: cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT)
    by_torch = None
    if torch is not None:
        margin = size // 2
        tensor = torch.from_numpy(np.pad(image, margin, "symmetric"))[None, None]
        weights = torch.from_numpy(kernel)[None, None]

        def by_torch() -> Any:
            return torch.nn.functional.conv2d(tensor, weights)[0, 0].numpy()

    return Contest(
        f"{side}², {size}×{size}",
        lambda: npsubpix.correlate(image, kernel),
        [
            Peer("cv2.filter2D", by_cv2, least, close(1e-4)),
            Peer("ndimage.correlate", lambda: ndimage.correlate(image, kernel), 30, close(1e-4)),
            Peer("torch conv2d, padded before", by_torch, 25, close(1e-4)),
        ],
    )


@contest("correlate 7×7", side=2048, sweep_bytes=20)
def correlate_7(side: int) -> Contest:
    return _correlation(side, 7, 1.3)


@contest("correlate 3×3", side=2048)
def correlate_3(side: int) -> Contest:
    contest_ = _correlation(side, 3, 1)
    return Contest(contest_.work, contest_.ours, contest_.peers[:1])


@contest("convolve_separable 7 + 7", side=2048)
def separable(side: int) -> Contest:
    cv2 = peers.load("cv2")
    image = data.noise(side, side)
    line = np.exp(-(np.arange(-3, 4) ** 2) / 4).astype(np.float32)
    theirs = None if cv2 is None else lambda: cv2.sepFilter2D(image, -1, line, line, borderType=cv2.BORDER_REFLECT)
    return Contest(
        f"{side}²",
        lambda: npsubpix.convolve_separable(image, (line, line)),
        [Peer("cv2.sepFilter2D", theirs, 1, close(1e-4))],
    )


@contest("correlate 3×3, uint8", side=2048)
def correlate_bytes(side: int) -> Contest:
    cv2 = peers.load("cv2")
    image = np.random.default_rng(4).integers(0, 256, (side, side), np.uint8)
    kernel = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], np.float32)
    theirs = None if cv2 is None else lambda: cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT)
    return Contest(f"{side}²", lambda: npsubpix.correlate(image, kernel), [Peer("cv2.filter2D", theirs, 1, close(0))])
