"""Gaussians: one a map, and many in one image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import npsubpix
from benchmarks import peers
from benchmarks.agreement import close
from benchmarks.registry import Contest, Peer, contest

_SPOT_STD = 1.3
_REACH = 6  # pixels on both sides of a spot that the loop draws


def _maps(mean: np.ndarray, std: np.ndarray, side: int, work: str, target: float | None) -> Contest:
    size = side, side
    return Contest(
        work,
        lambda: npsubpix.render_gaussian2d(mean, std, size),
        [
            Peer("kornia", _kornia(mean, std, size), target, close(1e-6)),
            _fill(mean, side),
        ],
    )


def _kornia(mean: np.ndarray, std: np.ndarray, size: tuple[int, int]) -> Callable[[], Any] | None:
    subpix, torch = peers.load("kornia.geometry.subpix"), peers.load("torch")
    if subpix is None or torch is None:
        return None
    tensors = torch.from_numpy(mean), torch.from_numpy(std)
    return lambda: subpix.render_gaussian2d(*tensors, size)


def _fill(mean: np.ndarray, side: int) -> Peer:
    """Allocate and fill an array of the size of the output, by NumPy on one thread."""

    def fill() -> None:
        np.full((*mean.shape[:-1], side, side), 1, np.float32)

    return Peer("fill of the output", fill, is_library=False)


@contest("render_gaussian2d, many maps", side=64, quick_side=16)
def render_many(side: int) -> Contest:
    rng = np.random.default_rng(0)
    mean = rng.uniform(-1, 1, (544, 2)).astype(np.float32)
    std = rng.uniform(0.05, 0.25, (544, 2)).astype(np.float32)
    return _maps(mean, std, side, f"544 maps of {side}²", target=2)


@contest("render_gaussian2d, one map", side=2048)
def render_one(side: int) -> Contest:
    mean, std = np.array([0.3, -0.2], np.float32), np.array([0.2, 0.1], np.float32)
    return _maps(mean, std, side, f"{side}²", target=None)


def _loop(coords: np.ndarray, amplitudes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Add a patch for each spot, one after the other."""
    image = np.zeros(shape)
    window = np.arange(-_REACH, _REACH + 1)
    for position, amplitude in zip(coords, amplitudes, strict=True):
        row, column = (int(c) for c in np.rint(position))
        y, x = np.exp(-((np.rint(position)[:, None] + window - position[:, None]) ** 2) / (2 * _SPOT_STD**2))
        patch = amplitude * y[:, None] * x
        image[row - _REACH : row + _REACH + 1, column - _REACH : column + _REACH + 1] += patch
    return image


@contest("render_spots", side=1024, quick_side=64)
def render_spots(side: int) -> Contest:
    rng = np.random.default_rng(0)
    count = 10_000 * side**2 // 1024**2
    coords = rng.uniform(2 * _REACH, side - 2 * _REACH, (count, 2))
    amplitudes = rng.uniform(50, 100, count)
    return Contest(
        f"{count:,} spots, {side}²",
        lambda: npsubpix.render_spots(
            coords, (side, side), std=_SPOT_STD, amplitude=amplitudes, normalization="peak", truncate=_REACH / _SPOT_STD
        ),
        # The box of the loop is centred on a pixel, ours on the spot: they differ where little is left of it.
        [Peer("NumPy loop over patches", lambda: _loop(coords, amplitudes, (side, side)), differs=close(0.02))],
        items=count,
    )
