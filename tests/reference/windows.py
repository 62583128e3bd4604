"""Statistics and functions of windows, pixel by pixel, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np


def source(i: int, n: int, border: str) -> int | None:
    """The pixel that pixel i of an endless axis is a copy of, one step at a time."""
    if border in ("constant", "shrink"):
        return i if 0 <= i < n else None
    if n == 1:
        return 0
    while not 0 <= i < n:
        if border == "nearest":
            i = min(max(i, 0), n - 1)
        elif border == "wrap":
            i += n if i < 0 else -n
        elif border == "reflect":
            i = -1 - i if i < 0 else 2 * n - 1 - i
        else:
            i = -i if i < 0 else 2 * n - 2 - i
    return i


def sources_of_axes(shape: Any, size: Any, border: str, stride: int) -> list[np.ndarray]:
    """For each axis, the pixels that those of each window are copies of; -1 where there is none."""
    found = []
    for n, k in zip(shape, size, strict=True):
        rows = [[source(p * stride - k // 2 + t, n, border) for t in range(k)] for p in range(-(-n // stride))]
        found.append(np.array([[-1 if s is None else s for s in row] for row in rows]).reshape(-1, k))
    return found


def statistic(name: str, values: Any, weights: Any, places: Any, q: float) -> Any:
    """One statistic of the pixels of a window."""
    total = (weights * values).sum()
    if name == "sum":
        return total
    if values.size == 0:
        return np.nan
    if name == "centroid":
        return (weights * values) @ places / total if total else np.nan
    if name in ("median", "percentile"):
        return np.percentile(values, 50 if name == "median" else q)
    if name in ("min", "max", "range"):
        return {"min": np.min, "max": np.max, "range": np.ptp}[name](values)
    mean = total / weights.sum()
    if name == "mean":
        return mean
    variance = (weights * (values - mean) ** 2).sum() / weights.sum()
    return variance if name == "var" else np.sqrt(variance)


def window_statistic(
    x: Any, name: str, size: Any = None, *, footprint: Any = None, weights: Any = None, border: str = "shrink",
    cval: float = 0.0, stride: int = 1, q: float = 50.0, mask: Any = None, nan_policy: str = "propagate",
) -> Any:  # fmt: skip
    """A statistic of the pixels of the window around each pixel that count."""
    skipped = np.zeros(x.shape, bool) if mask is None else mask
    if nan_policy == "omit":
        skipped = skipped | np.isnan(x)
    shape = size if size is not None else (weights if footprint is None else footprint).shape
    form = np.ones(shape, bool) if footprint is None else footprint
    factors = np.ones(shape) if weights is None else weights
    counts = [-(-n // stride) for n in x.shape]
    out = np.zeros([x.ndim, *counts] if name == "centroid" else counts)
    taps = np.argwhere(form & (factors != 0))
    sources = sources_of_axes(x.shape, shape, border, stride)
    for place in np.ndindex(*counts):
        known = np.array([axis[p][t] for axis, p, t in zip(sources, place, taps.T, strict=True)])
        beyond = (known < 0).any(0)
        of_image = tuple(np.where(beyond, 0, known))
        counted = beyond | ~skipped[of_image]
        if border == "shrink" or (nan_policy == "omit" and np.isnan(cval)):
            counted &= ~beyond
        values = np.where(beyond, cval, x[of_image].astype(float))[counted]
        at = taps[counted] + [p * stride - k // 2 for p, k in zip(place, shape, strict=True)]
        out[(..., *place)] = statistic(name, values, factors[tuple(taps[counted].T)], at.astype(float), q)
    return out


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
