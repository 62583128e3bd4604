"""Phase correlation: the translation between two images, from the phases of their spectra.

Source: Kuglin and Hines, "The phase correlation image alignment method", Proceedings of the International
Conference on Cybernetics and Society (1975).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npsubpix._definitions.dtypes import HostArray

__all__ = ["hann_window", "phase_correlation"]

#: Amplitudes below this share of the mean amplitude are noise, and are not raised to 1.
_LEAST_AMPLITUDE = 0.1


def hann_window(size: int) -> HostArray:
    """Return the weights of a Hann window along an axis, without the zeros at its ends."""
    return np.hanning(size + 2)[1:-1]


def phase_correlation(
    fixed: Any,
    moving: Any,
    windowed: Callable[[Any, tuple[int, int]], Any],
    fft: Any,
    to_host: Callable[[Any], HostArray],
) -> HostArray:
    """Return the matrix of the translation at the maximum of the phase correlation, to about a tenth of a pixel.

    `windowed` subtracts the mean of the finite pixels of an image, multiplies it by `hann_window` along each axis,
    and pads it with zeros to a shape; pixels that are not finite become 0. `fft` has `rfft2` and `irfft2` for the
    arrays that it returns.
    """
    height, width = (max(n, m) for n, m in zip(fixed.shape, moving.shape, strict=True))
    shape = height, width
    cross = np.conj(fft.rfft2(windowed(fixed, shape))) * fft.rfft2(windowed(moving, shape))
    amplitude = np.abs(cross)
    cross /= np.maximum(amplitude, np.maximum(_LEAST_AMPLITUDE * amplitude.mean(), np.finfo(float).tiny))
    correlation = fft.irfft2(cross, shape)
    row, column = np.unravel_index(int(to_host(correlation.argmax())), shape)
    matrix = np.eye(3)
    matrix[0, 2] = _shift_at(to_host(correlation[:, column]), int(row))
    matrix[1, 2] = _shift_at(to_host(correlation[row]), int(column))
    return matrix


def _shift_at(line: HostArray, peak: int) -> float:
    """Return the vertex of the parabola through the maximum of a periodic line and its two neighbours."""
    before, centre, after = (line[(peak + d) % line.size] for d in (-1, 0, 1))
    curvature = before - 2 * centre + after
    offset = 0.5 * (before - after) / curvature if curvature < 0 else 0.0
    return float(peak if peak <= line.size // 2 else peak - line.size) + float(offset)
