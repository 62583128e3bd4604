"""Correlation by its definition, one sum over a window per pixel, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.reference.windows import source


def _known(pixel: int | None) -> int:
    return -1 if pixel is None else pixel


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
    taps, weights = np.indices(kernel.shape).reshape(axes, -1), kernel.ravel()
    sources = [
        np.array([[_known(source(f + p * s + t * d, n, border)) for t in range(k)] for p in range(m)]).reshape(m, k)
        for f, s, d, n, k, m in zip(first, stride, dilation, x.shape, kernel.shape, out.shape, strict=True)
    ]
    for place in np.ndindex(*out.shape):
        known = np.array([axis[p][t] for axis, p, t in zip(sources, place, taps, strict=True)])
        beyond = (known < 0).any(0)
        values = np.where(beyond, cval, x[tuple(np.where(beyond, 0, known))])
        missing = (beyond & (border == "shrink")) | (np.isnan(values) & bool(omit))
        seen, magnitudes = ~missing, np.abs(weights)
        out[place] = weights[seen] @ values[seen]
        if border == "shrink" or omit:
            weight = magnitudes[seen].sum()
            mean = magnitudes[seen] @ values[seen] / weight if weight else np.nan
            out[place] += mean * weights[missing].sum() if missing.any() or not weight else 0.0
    return out
