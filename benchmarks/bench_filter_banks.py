"""Filter banks against torch."""

from __future__ import annotations

from typing import Any

import numpy as np

import npsubpix
from benchmarks import peers
from benchmarks.agreement import close
from benchmarks.registry import Contest, Peer, contest


@contest("conv2d 5×5", side=28)
def conv2d(side: int) -> Contest:
    torch = peers.load("torch")
    rng = np.random.default_rng(5)
    images = rng.standard_normal((100, 3, side, side)).astype(np.float32)
    filters = rng.standard_normal((32, 3, 5, 5)).astype(np.float32)
    by_torch = None
    if torch is not None:
        tensors = torch.from_numpy(images), torch.from_numpy(filters)

        def by_torch() -> Any:
            return torch.nn.functional.conv2d(*tensors).numpy()

    return Contest(
        f"100 images of {side}² × 3, 32 filters",
        lambda: npsubpix.conv2d(images, filters),
        [Peer("torch conv2d", by_torch, None, close(1e-3))],
    )
