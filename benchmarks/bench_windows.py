"""Statistics and functions of windows, against OpenCV, SciPy, NumPy and loops of Python."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage, signal

import npsubpix
from benchmarks import data, peers
from benchmarks.agreement import close
from benchmarks.registry import Contest, Peer, contest


def _sum(side: int, size: int) -> Contest:
    cv2 = peers.load("cv2")
    image = data.noise(side, side)
    by_cv2 = None if cv2 is None else lambda: cv2.boxFilter(image, -1, (size, size), normalize=False)
    return Contest(
        f"{side}², {size}×{size}",
        lambda: npsubpix.window_sum(image, size, border="mirror"),
        [Peer("cv2.boxFilter", by_cv2, 1, close(1e-3))],
    )


@contest("window_sum 3×3", side=2048)
def sum_3(side: int) -> Contest:
    return _sum(side, 3)


@contest("window_sum 31×31", side=2048)
def sum_31(side: int) -> Contest:
    return _sum(side, 31)


@contest("window_var 31×31", side=2048)
def variance(side: int) -> Contest:
    cv2 = peers.load("cv2")
    image = data.noise(side, side)

    def by_cv2() -> Any:
        mean = cv2.boxFilter(image, cv2.CV_64F, (31, 31))
        return cv2.sqrBoxFilter(image, cv2.CV_64F, (31, 31)) - mean * mean

    return Contest(
        f"{side}², float32",
        lambda: npsubpix.window_var(image, 31, border="mirror"),
        [Peer("cv2: mean square less squared mean, float64", None if cv2 is None else by_cv2, None, close(1e-4))],
    )


@contest("window_max 31×31", side=2048)
def maximum(side: int) -> Contest:
    cv2 = peers.load("cv2")
    image = data.noise(side, side)
    kernel = np.ones((31, 31), np.uint8)
    return Contest(
        f"{side}²",
        lambda: npsubpix.window_max(image, 31),
        [Peer("cv2.dilate", None if cv2 is None else lambda: cv2.dilate(image, kernel), 1 / 1.2, close(0))],
    )


@contest("window_median 5×5, uint8", side=2048)
def median_of_bytes(side: int) -> Contest:
    cv2 = peers.load("cv2")
    image = np.random.default_rng(4).integers(0, 256, (side, side), np.uint8)
    theirs = None if cv2 is None else lambda: cv2.medianBlur(image, 5)
    return Contest(
        f"{side}²",
        lambda: npsubpix.window_median(image, 5, border="nearest"),
        [Peer("cv2.medianBlur", theirs, 1, close(0))],
    )


@contest("window_median 5×5", side=2048)
def median(side: int) -> Contest:
    cv2 = peers.load("cv2")
    image = data.noise(side, side)
    return Contest(
        f"{side}², float32",
        lambda: npsubpix.window_median(image, 5, border="nearest"),
        [
            Peer("ndimage.median_filter", lambda: ndimage.median_filter(image, 5, mode="nearest"), 20, close(0)),
            Peer("cv2.medianBlur", None if cv2 is None else lambda: cv2.medianBlur(image, 5), None, close(0)),
        ],
    )


@contest("window_median 15×15", side=512)
def large_median(side: int) -> Contest:
    image = data.noise(side, side)
    return Contest(
        f"{side}², float32",
        lambda: npsubpix.window_median(image, 15, border="nearest"),
        [Peer("ndimage.median_filter", lambda: ndimage.median_filter(image, 15, mode="nearest"), None, close(0))],
    )


@contest("window_map, two images", side=2048, quick_side=64)
def two_images(side: int) -> Contest:
    a, b = data.noise(side, side), data.noise(side, side)[::-1].copy()

    def difference(u: Any, v: Any) -> Any:
        return (u**2 - v**2).sum()

    return Contest(
        f"{side}², 3×3",
        lambda: npsubpix.window_map(difference, a, b, size=3, border="constant"),
        [
            Peer(
                "sliding_window_view and sum",
                lambda: np.lib.stride_tricks.sliding_window_view(np.pad(a**2 - b**2, 1), (3, 3)).sum((2, 3)),
                5,
                close(1e-3),
            ),
            Peer("convolve2d", lambda: signal.convolve2d(a**2 - b**2, np.ones((3, 3)), "same"), 3, close(1e-3)),
        ],
    )


@contest("window_map and a loop of Python", side=256, quick_side=32)
def loop(side: int) -> Contest:
    a, b = data.noise(side, side), data.noise(side, side)[::-1].copy()

    def difference(u: Any, v: Any) -> Any:
        return (u**2 - v**2).sum()

    def by_loop() -> np.ndarray:
        out = np.zeros(a.shape, np.float32)
        for i, j in np.ndindex(*a.shape):
            rows, columns = slice(max(i - 1, 0), i + 2), slice(max(j - 1, 0), j + 2)
            out[i, j] = difference(a[rows, columns], b[rows, columns])
        return out

    return Contest(
        f"{side}², 3×3",
        lambda: npsubpix.window_map(difference, a, b, size=3),
        [Peer("loop over pixels", by_loop, 300, close(1e-4))],
    )
