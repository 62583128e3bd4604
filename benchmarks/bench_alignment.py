"""Alignment of images against OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

import npsubpix
from benchmarks import data, peers
from benchmarks.registry import Contest, Peer, contest

#: From the fixed image to the moving one: two pixels, a little turn, scale and shear.
_MATRIX = np.array([[1.003, 0.004, 1.4], [-0.003, 0.998, -1.4], [0, 0, 1.0]])


def corner_error(matrix: np.ndarray, side: int) -> float:
    """Greatest distance of a corner from where it belongs, in pixels."""
    corners = np.array([[y, x] for y in (0, side - 1) for x in (0, side - 1)], float)
    found, true = (npsubpix.transform_points(m, corners) for m in (matrix, _centred(side)))
    return float(np.hypot(*(found - true).T).max())


def _centred(side: int) -> np.ndarray:
    to = np.eye(3)
    to[:2, 2] = (side - 1) / 2
    return to @ _MATRIX @ np.linalg.inv(to)


def _pair(side: int) -> tuple[np.ndarray, np.ndarray]:
    """A texture whose values between pixels are taken from a spline of degree 5."""
    texture = ndimage.gaussian_filter(data.noise(side + 64, side + 64).astype(float), 2.0) * 100
    coefficients = ndimage.spline_filter(texture, 5)
    pixels = np.stack(np.mgrid[:side, :side], -1).astype(float)

    def seen(matrix: np.ndarray) -> np.ndarray:
        points = np.moveaxis(npsubpix.transform_points(matrix, pixels), -1, 0) + 32
        return ndimage.map_coordinates(coefficients, points, order=5, prefilter=False).astype(np.float32)

    return seen(np.eye(3)), seen(np.linalg.inv(_centred(side)))


@contest("align affine", side=1024, quick_side=128)
def affine(side: int) -> Contest:
    cv2 = peers.load("cv2")
    fixed, moving = _pair(side)
    theirs = None
    if cv2 is not None:

        def theirs() -> np.ndarray:
            start = np.eye(2, 3, dtype=np.float32)
            _, found = cv2.findTransformECC(fixed, moving, start, cv2.MOTION_AFFINE)
            swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
            return swap @ np.vstack([found, [0, 0, 1]]) @ swap

    def differs(ours: Any, other: np.ndarray) -> str:
        errors = corner_error(ours.matrix, side), corner_error(other, side)
        return "" if errors[0] <= errors[1] else f"error {errors[0]:.2g} px, theirs {errors[1]:.2g} px"

    return Contest(
        f"{side}², texture, 2 px",
        lambda: npsubpix.align(fixed, moving, model="affine"),
        [Peer("cv2.findTransformECC", theirs, 5, differs)],
    )
