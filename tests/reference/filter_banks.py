"""Banks of filters by their definition: one sum of products per value, in float64."""

from __future__ import annotations

import itertools

import numpy as np


def conv2d(
    images: np.ndarray,
    filters: np.ndarray,
    bias: np.ndarray | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> np.ndarray:
    """Correlate images (N, C, H, W), zero outside, with filters (O, C / groups, KH, KW)."""
    count, _, *size = images.shape
    outputs, taken, *window = filters.shape
    places = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(size, padding, dilation, window, stride, strict=True)
    ]
    out = np.zeros((count, outputs, *places))
    for image, output, y, x in itertools.product(range(count), range(outputs), *map(range, places)):
        first = output // (outputs // groups) * taken
        total = 0.0 if bias is None else float(bias[output])
        for c, a, b in itertools.product(range(taken), *map(range, window)):
            i, j = y * stride[0] - padding[0] + a * dilation[0], x * stride[1] - padding[1] + b * dilation[1]
            if 0 <= i < size[0] and 0 <= j < size[1]:
                total += float(filters[output, c, a, b]) * float(images[image, first + c, i, j])
        out[image, output, y, x] = total
    return out
