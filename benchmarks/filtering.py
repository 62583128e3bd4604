"""The table of docs/filtering.md: times of filters of NumPy, SciPy, OpenCV and this library; run on a quiet machine.

``python -m benchmarks.filtering`` prints it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage, signal

import npsubpix
from benchmarks import data, peers

SIDE = 1024
ROUNDS = 7


def _weights(size: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((size, size)).astype(np.float32)


def _rows() -> list[tuple[str, dict[str, Callable[[], Any] | None]]]:
    image = data.noise(SIDE, SIDE)
    cv2 = peers.load("cv2")
    rows = []
    for size in (3, 7, 15, 31):
        kernel = _weights(size)
        rows.append(
            (
                f"any {size} × {size} weights",
                {
                    "npsubpix": lambda k=kernel: npsubpix.correlate(image, k),
                    "scipy.ndimage": lambda k=kernel: ndimage.correlate(image, k),
                    "scipy.signal.oaconvolve": lambda k=kernel: signal.oaconvolve(image, k, "same"),
                    "OpenCV": lambda k=kernel: cv2.filter2D(image, -1, k),
                },
            )
        )
    gauss = np.exp(-(np.arange(-12, 13) ** 2) / 18.0).astype(np.float32)
    gauss /= gauss.sum()
    rows += [
        (
            "Gaussian, 25 + 25 weights",
            {
                "npsubpix": lambda: npsubpix.convolve_separable(image, (gauss, gauss)),
                "scipy.ndimage": lambda: ndimage.gaussian_filter(image, 3, radius=12),
                "scipy.signal.oaconvolve": lambda: signal.oaconvolve(image, np.outer(gauss, gauss), "same"),
                "OpenCV": lambda: cv2.sepFilter2D(image, -1, gauss, gauss),
            },
        ),
        (
            "mean of 31 × 31",
            {
                "npsubpix": lambda: npsubpix.window_mean(image, 31),
                "scipy.ndimage": lambda: ndimage.uniform_filter(image, 31),
                "OpenCV": lambda: cv2.blur(image, (31, 31)),
            },
        ),
        (
            "maximum of 31 × 31",
            {
                "npsubpix": lambda: npsubpix.window_max(image, 31),
                "scipy.ndimage": lambda: ndimage.maximum_filter(image, 31),
                "OpenCV": lambda: cv2.dilate(image, np.ones((31, 31), np.uint8)),
            },
        ),
        (
            "median of 5 × 5",
            {
                "npsubpix": lambda: npsubpix.window_median(image, 5),
                "scipy.ndimage": lambda: ndimage.median_filter(image, 5),
                "OpenCV": lambda: cv2.medianBlur(image, 5),
            },
        ),
        (
            "median of 15 × 15",
            {
                "npsubpix": lambda: npsubpix.window_median(image, 15),
                "scipy.ndimage": lambda: ndimage.median_filter(image, 15),
            },
        ),
        (
            "a function of 3 × 3, `u.max() * u.mean()`",
            {
                "npsubpix": lambda: npsubpix.window_map(_function, image, size=3),
                "scipy.ndimage": lambda: ndimage.generic_filter(image, _function, 3),
            },
        ),
    ]
    return rows


def _function(window: Any) -> Any:
    return window.max() * window.mean()


def _time(call: Callable[[], Any]) -> float:
    call()
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
        if sum(times) > 10:
            break
    return statistics.median(times)


def main() -> None:
    names = ("npsubpix", "scipy.ndimage", "scipy.signal.oaconvolve", "OpenCV")
    print(f"| {SIDE} × {SIDE} pixels of float32, milliseconds | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for work, calls in _rows():
        cells = []
        for name in names:
            call = calls.get(name)
            cells.append("" if call is None else f"{1e3 * _time(call):.3g}")
        print(f"| {work} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
