"""Functions of windows, called pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.reference.reductions import source


def loop(func: Any, images: Any, size: Any, border: str = "shrink", cval: float = 0.0, stride: int = 1) -> Any:
    """Call a function with each window, pixel by pixel."""
    shape = images[0].shape
    out = np.zeros([-(-n // stride) for n in shape])
    for place in np.ndindex(*out.shape):
        axes = [
            [source(p * stride - k // 2 + t, n, border) for t in range(k)]
            for p, k, n in zip(place, size, shape, strict=True)
        ]
        windows = []
        for x in images:
            if border == "shrink":
                window = x[np.ix_(*([i for i in axis if i is not None] for axis in axes))]
            else:
                window = np.full(size, cval)
                for tap in np.ndindex(*size):
                    at = [axis[t] for axis, t in zip(axes, tap, strict=True)]
                    if None not in at:
                        window[tap] = x[tuple(at)]
            windows.append(window)
        out[place] = func(*windows)
    return out
