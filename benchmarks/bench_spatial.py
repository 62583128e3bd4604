"""Softmax and soft-argmax of whole maps: forward, and forward with backward in torch."""

from __future__ import annotations

import numpy as np

import npsubpix
from benchmarks import data, peers
from benchmarks.agreement import close
from benchmarks.bench_nms import on_tensor
from benchmarks.bench_soft_argmax import gradient_of
from benchmarks.registry import Contest, Peer, contest


def _maps(batch: int, side: int) -> np.ndarray:
    return data.noise(batch, 17, side, side)


def _soft_argmax(batch: int, side: int, target: float) -> Contest:
    maps = _maps(batch, side)
    return Contest(
        f"{batch}×17×{side}², noise",
        lambda: npsubpix.spatial_soft_argmax2d(maps),
        [Peer("kornia", on_tensor("spatial_soft_argmax2d", maps), target, close(1e-5))],
    )


@contest("spatial_soft_argmax2d", side=256)
def spatial_soft_argmax2d(side: int) -> Contest:
    return _soft_argmax(8, side, 9)


@contest("spatial_soft_argmax2d, small maps", side=64)
def spatial_soft_argmax2d_small(side: int) -> Contest:
    return _soft_argmax(32, side, 4)


def _softmax(batch: int, side: int, target: float | None) -> Contest:
    maps = _maps(batch, side)
    return Contest(
        f"{batch}×17×{side}², noise",
        lambda: npsubpix.spatial_softmax2d(maps),
        [Peer("kornia", on_tensor("spatial_softmax2d", maps), target, close(1e-6))],
    )


@contest("spatial_softmax2d", side=256)
def spatial_softmax2d(side: int) -> Contest:
    return _softmax(8, side, None)


@contest("spatial_softmax2d, small maps", side=64)
def spatial_softmax2d_small(side: int) -> Contest:
    return _softmax(32, side, 1.5)


@contest("spatial_moments", side=256)
def spatial_moments(side: int) -> Contest:
    maps = _maps(8, side)
    return Contest(f"8×17×{side}², noise", lambda: npsubpix.spatial_moments(maps))


def _backward(batch: int, side: int) -> Contest:
    maps = _maps(batch, side)
    subpix = peers.load("kornia.geometry.subpix")
    theirs = gradient_of(subpix and subpix.spatial_soft_argmax2d, maps)
    return Contest(
        f"{batch}×17×{side}², noise",
        gradient_of(npsubpix.spatial_soft_argmax2d, maps),
        [Peer("kornia", theirs, 4, close(1e-6))],
    )


@contest("spatial_soft_argmax2d, with backward", side=256)
def spatial_soft_argmax2d_backward(side: int) -> Contest:
    return _backward(8, side)


@contest("spatial_soft_argmax2d, small maps, with backward", side=64)
def spatial_soft_argmax2d_small_backward(side: int) -> Contest:
    return _backward(32, side)
