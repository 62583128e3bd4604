"""Blob filters against SciPy."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

import npsubpix
from benchmarks import data
from benchmarks.agreement import close
from benchmarks.registry import Contest, Peer, contest


@contest("difference_of_gaussians", side=1024)
def difference_of_gaussians(side: int) -> Contest:
    image = data.noise(side, side)

    def theirs() -> np.ndarray:
        return ndimage.gaussian_filter(image, 2) - ndimage.gaussian_filter(image, 3.2)

    return Contest(
        f"{side}², widths 2 and 3.2",
        lambda: npsubpix.difference_of_gaussians(image, 2),
        [Peer("ndimage.gaussian_filter, twice", theirs, None, close(1e-4))],
    )
