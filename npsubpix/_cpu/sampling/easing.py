"""Tables of weights of two pixels per axis: linear interpolation at other distances.

Two weights whose sum is 1 are those of linear interpolation at the distance e that equals the second of them, so that
all pixels inside an image are read by its kernels. Distances from 0 to 1, and those from the next pixel, lie between
samples of a table at the same places: of n samples, the k-th interval from the first is also the k-th from the last.
With the raw weights r and q of both pixels and their sum s, e = q / s, de/dr = -e / s and de/dq = (1 - e) / s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npsubpix._cpu.compiler.jit import device, fused, inlined, inlined_fused
from npsubpix._cpu.sampling.distance_weights import element, segment_of, taps_of
from npsubpix._cpu.sampling.weights import TAPS, Taps
from npsubpix._definitions.sampling.methods import TABLE_WEIGHT

__all__ = ["ease_for_table", "easing_of", "inside_taps", "interval_of", "is_eased"]


def is_eased(name: str, reach: int) -> bool:
    """Return whether a method weights pixels inside an image as linear interpolation at other distances."""
    return name == TABLE_WEIGHT and reach == 1


def inside_taps(name: str, reach: int) -> Taps:
    """Return the weights of a method for pixels inside an image, once distances are eased."""
    return TAPS["linear"] if is_eased(name, reach) else taps_of(name, reach)


_segment = segment_of(1)


@inlined
def interval_of(t, F, addresses):
    """Return the interval between samples in which a distance lies, the distance from its beginning, and intervals.

    They are of equal length, and that distance is in units of it.
    """
    return _segment(t, True, F, addresses)


@inlined_fused
def _raw_weights(k, f, F, addresses):
    """Return the raw weights of both pixels, and their differences over an interval."""
    samples, end = addresses[0], addresses[1] - 1 - k
    a, b = element(samples, k, F), element(samples, k + 1, F)
    c, d = element(samples, end, F), element(samples, end - 1, F)
    return (F(1) - f) * a + f * b, (F(1) - f) * c + f * d, b - a, d - c


@fused
def _ease_line(t, size, addresses):
    F = t.dtype.type
    for m in range(size):
        k, f, _ = interval_of(t[m], F, addresses)
        r, q, _, _ = _raw_weights(k, f, F, addresses)
        t[m] = q / (r + q)


@fused
def _ease_line_with_slopes(t, slopes, size, addresses):
    F = t.dtype.type
    for m in range(size):
        k, f, scale = interval_of(t[m], F, addresses)
        r, q, dr, dq = _raw_weights(k, f, F, addresses)
        inverse = F(1) / (r + q)
        e = q * inverse
        t[m] = e
        slopes[m] = scale * (dq - e * (dr + dq)) * inverse


@fused
def ease_for_table(t, eased, inverses, size, addresses):
    """Write eased distances along an axis, and the inverse sums of raw weights."""
    F = t.dtype.type
    for m in range(size):
        k, f, _ = interval_of(t[m], F, addresses)
        r, q, _, _ = _raw_weights(k, f, F, addresses)
        inverses[m] = F(1) / (r + q)
        eased[m] = q * inverses[m]


@device
def _ease(t, axes, size, addresses):
    for a in range(3 - axes, 3):
        _ease_line(t[a], size, addresses)


@device
def _ease_with_slopes(t, slopes, axes, size, addresses):
    for a in range(3 - axes, 3):
        _ease_line_with_slopes(t[a], slopes[a], size, addresses)


@device
def _scale(gradient, slopes):
    for m in range(gradient.size):
        gradient[m] *= slopes[m]


@device
def _keep(t, axes, size, addresses):
    pass


@device
def _keep_with_slopes(t, slopes, axes, size, addresses):
    pass


@device
def _keep_gradient(gradient, slopes):
    pass


def easing_of(name: str, reach: int) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Return what eases distances along all axes, what also writes their slopes, and what applies these to gradients.

    They do nothing for methods that are not eased.
    """
    if is_eased(name, reach):
        return _ease, _ease_with_slopes, _scale
    return _keep, _keep_with_slopes, _keep_gradient
