"""Correlation by its definition, one sum over a window per pixel, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.reference.windows import source


def correlate(
    x: Any, kernel: Any, mode: str = "same", border: str = "reflect", cval: float = 0.0, **options: Any
) -> Any:
    """Sum the products of a kernel and each window.

    A pixel that does not count is the mean of the others, weighted by the magnitudes of their weights.
    """
    x, kernel = np.asarray(x, float), np.asarray(kernel, float)
    axes = x.ndim
    stride, dilation = options.get("stride", (1,) * axes), options.get("dilation", (1,) * axes)
    origin, omit = options.get("origin", (0,) * axes), options.get("omit", False)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel.shape, strict=True)]
    if mode == "same":
        first = [-d * (k // 2 + o) for d, k, o in zip(dilation, kernel.shape, origin, strict=True)]
        extent = list(x.shape)
    elif mode == "valid":
        first, extent = [0] * axes, [max(n - r, 0) for n, r in zip(x.shape, reach, strict=True)]
    else:
        first, extent = [-r for r in reach], [n + r for n, r in zip(x.shape, reach, strict=True)]
    out = np.zeros([-(-n // s) for n, s in zip(extent, stride, strict=True)])
    for place in np.ndindex(*out.shape):
        total = weighted = weight = 0.0
        missing = []
        for tap in np.ndindex(*kernel.shape):
            at = [
                source(f + p * s + t * d, n, border)
                for f, p, s, t, d, n in zip(first, place, stride, tap, dilation, x.shape, strict=True)
            ]
            value = cval if None in at else x[tuple(at)]
            if (border == "shrink" and None in at) or (omit and np.isnan(value)):
                missing.append(tap)
                continue
            total += kernel[tap] * value
            weighted += abs(kernel[tap]) * value
            weight += abs(kernel[tap])
        if border == "shrink" or omit:
            mean = weighted / weight if weight else np.nan
            total += mean * sum(kernel[tap] for tap in missing) if missing or not weight else 0.0
        out[place] = total
    return out
