"""Weights of the pixels around a position, and their first and second derivatives.

A method weights `count` pixels per axis, the first of them `left` pixels before the base pixel, by
functions of the distance t of the position from the base pixel. For an odd number of pixels the base
is the nearest pixel, and t is from -1/2 to 1/2; for an even number it is the pixel before, and t is
from 0 to 1.

Sources: Unser, "Splines: a perfect fit for signal and image processing", IEEE Signal Processing
Magazine 16 (1999), for B-splines; Keys, "Cubic convolution interpolation for digital image
processing", IEEE TASSP 29 (1981), for cubic convolution, with a = -1/2 (Catmull-Rom) and, as OpenCV
and torch have it, a = -3/4; Duchon, "Lanczos filtering in one and two dimensions", Journal of
Applied Meteorology 18 (1979), here divided by the sum of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial
from numpy.polynomial.polynomial import polyder

from npsubpix._cpu.compiler.jit import device, fused
from npsubpix._definitions.sampling.methods import BICUBIC_SLOPE, CATMULL_ROM_SLOPE

__all__ = ["TAPS", "Taps", "before", "left_of"]

# Not literals, for each of which Numba would compile the functions that take them.
_K0, _K1, _K2, _K3, _K4, _K5 = map(np.int64, range(6))


def left_of(count: int) -> int:
    """Return how many of the pixels of a method are before the base."""
    return (count - 1) // 2


@dataclass(frozen=True)
class Taps:
    """Weights of the pixels along an axis by one method.

    ``addresses`` are those of functions and numbers that are not compiled into the kernels; most methods have none.
    ``weights(t, F, addresses)`` returns a tuple of weights in the precision of F, ``slopes`` one of
    their derivatives, and ``curvatures`` one of their second derivatives. Tuples stay in registers.
    """

    count: int
    base: Callable[..., Any]
    weights: Callable[..., Any]
    slopes: Callable[..., Any]
    curvatures: Callable[..., Any]


@device
def before(c):
    return np.floor(c)


@device
def _nearest_up(c):
    return np.floor(c + 0.5)


@device
def _nearest_down(c):
    return np.ceil(c - 0.5)


@device
def _nearest_even(c):
    return np.rint(c)


def _as_tuple(weight_of: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Make the function that returns a tuple of ``weight_of(k, t, F)`` for each k below count."""

    @fused
    def one_pixel(t, F, addresses):
        return (weight_of(_K0, t, F),)

    @fused
    def two(t, F, addresses):
        return weight_of(_K0, t, F), weight_of(_K1, t, F)

    @fused
    def three(t, F, addresses):
        return weight_of(_K0, t, F), weight_of(_K1, t, F), weight_of(_K2, t, F)

    @fused
    def four(t, F, addresses):
        return weight_of(_K0, t, F), weight_of(_K1, t, F), weight_of(_K2, t, F), weight_of(_K3, t, F)

    @fused
    def five(t, F, addresses):
        return (
            weight_of(_K0, t, F),
            weight_of(_K1, t, F),
            weight_of(_K2, t, F),
            weight_of(_K3, t, F),
            weight_of(_K4, t, F),
        )

    @fused
    def six(t, F, addresses):
        return (
            weight_of(_K0, t, F),
            weight_of(_K1, t, F),
            weight_of(_K2, t, F),
            weight_of(_K3, t, F),
            weight_of(_K4, t, F),
            weight_of(_K5, t, F),
        )

    return (one_pixel, two, three, four, five, six)[count - 1]


def _polynomial(pieces: list[Polynomial]) -> Callable[..., Any]:
    """Make the function that returns polynomials in t."""
    terms = max(len(piece.coef) for piece in pieces)
    table = np.array([[*piece.coef, *(0.0,) * (terms - len(piece.coef))] for piece in pieces], float)

    @fused
    def weight_of(k, t, F):
        total = F(table[k, terms - 1])
        for power in range(terms - 2, -1, -1):
            total = total * t + F(table[k, power])
        return total

    return _as_tuple(weight_of, len(pieces))


def _polynomials(base: Callable[..., Any], pieces: list[Polynomial]) -> Taps:
    orders = (_polynomial([Polynomial(polyder(piece.coef, k)) for piece in pieces]) for k in range(3))
    return Taps(len(pieces), base, *orders)


@device
def _linear_weights(t, F, addresses):
    return F(1) - t, t


@device
def _linear_slopes(t, F, addresses):
    return F(-1), F(1)


@device
def _linear_curvatures(t, F, addresses):
    return F(0), F(0)


def _bspline_pieces(degree: int) -> list[Polynomial]:
    """Pieces of the centred B-spline, as polynomials of the distance t of the position from the base pixel.

    Their coefficients are fractions, so that each is rounded once, in the table of `_polynomial`.
    """
    count = degree + 1
    middle = Fraction(1, 2) if count % 2 == 0 else Fraction(0)  # of the range of t
    pieces = []
    for k in range(count):
        offset = (count - 1) // 2 - k  # of the pixel, to be added to t
        total = Polynomial([Fraction(0)])
        for j in range(count + 1):
            start = offset + Fraction(count, 2) - j
            if start + middle > 0:
                sign = Fraction((-1) ** j * math.comb(count, j), math.factorial(degree))
                total = total + Polynomial([sign]) * Polynomial([start, Fraction(1)]) ** degree
        pieces.append(total)
    return pieces


def _cubic_pieces(a: float) -> list[Polynomial]:
    """Pieces of the cubic convolution kernel."""
    near, far = Polynomial([1, 0, -(a + 3), a + 2]), Polynomial([-4 * a, 8 * a, -5 * a, a])
    t = Polynomial([0.0, 1.0])
    return [far(1 + t), near(t), near(1 - t), far(2 - t)]


_SMOOTHSTEP = [Polynomial([1, 0, -3, 2]), Polynomial([0, 0, 3, -2])]


_TURNS = np.array([[math.cos(k * math.pi / 3), math.sin(k * math.pi / 3)] for k in range(2, -4, -1)])
_D2, _D4, _D6 = -5 * math.pi**2 / 27, 14 * math.pi**4 / 1215, -17 * math.pi**6 / 45927


@fused
def _sinc_product(k, t, sine, cosine, slow, slow_cosine):
    """Return sinc(u) sinc(u / 3) for u = t + 2 - k, its derivative and its second derivative."""
    u = t + (2 - k)
    v = u * u
    if v < 1e-4:  # series: the quotient would lose digits
        return (
            1 + v * (_D2 + v * (_D4 + v * _D6)),
            u * (2 * _D2 + v * (4 * _D4 + v * 6 * _D6)),
            2 * _D2 + v * (12 * _D4 + v * 30 * _D6),
        )
    sign = 3 / math.pi**2 if k % 2 == 0 else -3 / math.pi**2
    p, dp = sign * sine, sign * math.pi * cosine
    q = slow * _TURNS[k, 0] + slow_cosine * _TURNS[k, 1]
    dq = (slow_cosine * _TURNS[k, 0] - slow * _TURNS[k, 1]) * (math.pi / 3)
    f = p * q / v
    df = (dp * q + p * dq - 2 * f * u) / v
    return f, df, (2 * dp * dq - 10 * math.pi**2 / 9 * p * q - 4 * df * u - 2 * f) / v


@fused
def _normalized(raw, s):
    """Divide a weight and its derivatives by the sum of weights, which has derivatives too."""
    f = raw[0] / s[0]
    df = (raw[1] - f * s[1]) / s[0]
    return f, df, (raw[2] - 2 * df * s[1] - f * s[2]) / s[0]


@fused
def _sum(a, b):
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


@fused
def _lanczos3(t):
    sine, cosine = math.sin(math.pi * t), math.cos(math.pi * t)
    slow, slow_cosine = math.sin(math.pi * t / 3), math.cos(math.pi * t / 3)
    a = _sinc_product(_K0, t, sine, cosine, slow, slow_cosine)
    b = _sinc_product(_K1, t, sine, cosine, slow, slow_cosine)
    c = _sinc_product(_K2, t, sine, cosine, slow, slow_cosine)
    d = _sinc_product(_K3, t, sine, cosine, slow, slow_cosine)
    e = _sinc_product(_K4, t, sine, cosine, slow, slow_cosine)
    f = _sinc_product(_K5, t, sine, cosine, slow, slow_cosine)
    s = _sum(_sum(_sum(a, b), _sum(c, d)), _sum(e, f))
    return (
        _normalized(a, s),
        _normalized(b, s),
        _normalized(c, s),
        _normalized(d, s),
        _normalized(e, s),
        _normalized(f, s),
    )


def _computed_together(together: Callable[..., Any]) -> Taps:
    """Make taps from a function that returns all six weights of a position with their derivatives."""

    def part(order: int) -> Callable[..., Any]:
        @device
        def six(t, F, addresses):
            a, b, c, d, e, f = together(np.float64(t))
            return F(a[order]), F(b[order]), F(c[order]), F(d[order]), F(e[order]), F(f[order])

        return six

    return Taps(6, before, part(0), part(1), part(2))


_PIXEL = [Polynomial([1.0])]

#: Taps of the methods whose weights are compiled into the kernels and that have no reach; `taps_of` has all.
TAPS = {
    "nearest": _polynomials(_nearest_up, _PIXEL),
    "nearest_down": _polynomials(_nearest_down, _PIXEL),
    "nearest_even": _polynomials(_nearest_even, _PIXEL),
    "linear": Taps(2, before, _linear_weights, _linear_slopes, _linear_curvatures),  # less than polynomials compute
    "smoothstep": _polynomials(before, _SMOOTHSTEP),
    "bspline2": _polynomials(_nearest_up, _bspline_pieces(2)),
    "bspline3": _polynomials(before, _bspline_pieces(3)),
    "catmull_rom": _polynomials(before, _cubic_pieces(CATMULL_ROM_SLOPE)),
    "bicubic": _polynomials(before, _cubic_pieces(BICUBIC_SLOPE)),
    "bspline4": _polynomials(_nearest_up, _bspline_pieces(4)),
    "bspline5": _polynomials(before, _bspline_pieces(5)),
    "lanczos3": _computed_together(_lanczos3),
}
