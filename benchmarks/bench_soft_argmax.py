"""Soft-argmax of windows: forward, and forward with backward in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import npsubpix
from benchmarks import data, peers
from benchmarks.agreement import close
from benchmarks.bench_nms import on_tensor
from benchmarks.registry import Contest, Peer, contest

__all__ = ["gradient_of"]

#: Both compute in float32: coordinates up to 1023 are 6e-5 apart, and values up to 4000 2e-4.
_AGREE = close(1e-3)


def gradient_of(run: Callable[..., Any], array: np.ndarray, *args: Any, **options: Any) -> Callable[[], Any] | None:
    """Return a call of an operator on a tensor and of backward() on what it gives; it returns the gradient."""
    torch = peers.load("torch")
    if torch is None or run is None:
        return None
    tensor = torch.from_numpy(array).requires_grad_()
    seeds: list[Any] = []

    def call() -> Any:
        results = run(tensor, *args, **options)
        results = results if isinstance(results, tuple) else (results,)
        if not seeds:
            seeds.extend(torch.linspace(-1, 1, r.numel()).reshape(r.shape) for r in results)
        return torch.autograd.grad(results, tensor, seeds)[0]

    return call


def _kornia(function: str) -> Any:
    subpix = peers.load("kornia.geometry.subpix")
    return None if subpix is None else getattr(subpix, function)


def _contest(function: str, image: np.ndarray, size: tuple[int, ...], work: str, target: float) -> Contest:
    run = getattr(npsubpix, function)
    options = {"padding": tuple(k // 2 for k in size), "normalized_coordinates": False, "output_value": True}
    return Contest(
        work,
        lambda: run(image, size, **options),
        [Peer("kornia", on_tensor(function, image, size, **options), target, _AGREE)],
    )


@contest("conv_soft_argmax2d 3×3, with value", side=1024, sweep_bytes=200)
def conv_soft_argmax2d_3x3(side: int) -> Contest:
    return _contest("conv_soft_argmax2d", data.noise(1, 1, side, side), (3, 3), f"{side}², noise", 20)


@contest("conv_soft_argmax2d 5×5, with value", side=1024)
def conv_soft_argmax2d_5x5(side: int) -> Contest:
    return _contest("conv_soft_argmax2d", data.noise(1, 1, side, side), (5, 5), f"{side}², noise", 30)


@contest("conv_soft_argmax2d 3×3, camera counts", side=1024)
def conv_soft_argmax2d_counts(side: int) -> Contest:
    """Windows that cannot share exponentials: their pixels differ by many temperatures."""
    counts = np.round(data.noise(1, 1, side, side) * 300 + 2000)
    return _contest("conv_soft_argmax2d", counts, (3, 3), f"{side}², 0 to 4000", 1)


@contest("conv_soft_argmax3d 3×3×3, with value", side=512)
def conv_soft_argmax3d(side: int) -> Contest:
    return _contest("conv_soft_argmax3d", data.noise(1, 1, 5, side, side), (3, 3, 3), f"5×{side}², noise", 40)


@contest("conv_soft_argmax2d 3×3, with backward", side=512)
def conv_soft_argmax2d_backward(side: int) -> Contest:
    image = data.noise(1, 1, side, side)
    options = {"normalized_coordinates": False, "output_value": True}
    return Contest(
        f"{side}², noise",
        gradient_of(npsubpix.conv_soft_argmax2d, image, **options),
        [Peer("kornia", gradient_of(_kornia("conv_soft_argmax2d"), image, **options), 4, close(1e-4))],
    )
