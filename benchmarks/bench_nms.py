"""Non-maximum suppression."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import npsubpix
from benchmarks import data, peers
from benchmarks.agreement import same
from benchmarks.registry import Contest, Peer, contest

__all__ = ["dilate", "on_tensor"]


def on_tensor(function: str, array: np.ndarray, *args: Any, **options: Any) -> Callable[[], Any] | None:
    """Return a call of a function of ``kornia.geometry.subpix`` on an array; None without kornia."""
    subpix, torch = peers.load("kornia.geometry.subpix"), peers.load("torch")
    if subpix is None or torch is None:
        return None
    run, tensor = getattr(subpix, function), torch.from_numpy(array)
    return lambda: run(tensor, *args, **options)


def dilate(image: np.ndarray, size: int) -> Callable[[], Any] | None:
    """Return a call of OpenCV's dilation, the greatest value of each window; None without OpenCV."""
    cv2 = peers.load("cv2")
    if cv2 is None:
        return None
    window = cv2.getStructuringElement(cv2.MORPH_RECT, (size, size))
    return lambda: cv2.dilate(image, window)


def _mask2d(side: int, size: int, kornia_target: float, dilate_target: float) -> Contest:
    image = data.noise(1, 1, side, side)
    reach = size // 2
    inside = slice(reach, side - reach)

    def dilation_differs(mask: np.ndarray, dilated: np.ndarray) -> str:
        return same(mask[0, 0, inside, inside], (image[0, 0] == dilated)[inside, inside])

    return Contest(
        f"{side}², noise",
        lambda: npsubpix.nms2d(image, (size, size), mask_only=True),
        [
            Peer("kornia", on_tensor("nms2d", image, (size, size), mask_only=True), kornia_target, same),
            Peer("cv2.dilate alone", dilate(image[0, 0], size), dilate_target, dilation_differs, is_library=False),
        ],
    )


@contest("nms2d 3×3, mask", side=2048, sweep_bytes=12)
def nms2d_3x3(side: int) -> Contest:
    return _mask2d(side, 3, kornia_target=15, dilate_target=1)


@contest("nms2d 15×15, mask", side=2048)
def nms2d_15x15(side: int) -> Contest:
    return _mask2d(side, 15, kornia_target=100, dilate_target=1 / 1.2)


@contest("nms3d 3×3×3, mask", side=1024)
def nms3d_3x3x3(side: int) -> Contest:
    volume = data.noise(1, 1, 5, side, side)
    return Contest(
        f"5×{side}², noise",
        lambda: npsubpix.nms3d(volume, (3, 3, 3), mask_only=True),
        [Peer("kornia", on_tensor("nms3d", volume, (3, 3, 3), mask_only=True), 14, same)],
    )


@contest("nms3d_minmax", side=1024)
def nms3d_minmax(side: int) -> Contest:
    volume = data.noise(1, 1, 5, side, side)
    return Contest(
        f"5×{side}², noise",
        lambda: npsubpix.nms3d_minmax(volume),
        [Peer("kornia", on_tensor("nms3d_minmax", volume), 25, same)],
    )
