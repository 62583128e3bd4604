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
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.polynomial import Polynomial
from numpy.polynomial.polynomial import polyder

from npsubpix._cpu.compiler.jit import device, fused
from npsubpix._definitions.sampling.methods import (
    BICUBIC_SLOPE,
    CATMULL_ROM_SLOPE,
    GAUSSIAN_WIDTH,
    SIGMOID_STEEPNESS,
    USER_WEIGHT,
)

__all__ = ["TAPS", "Taps", "left_of"]

# Not literals, for each of which Numba would compile the functions that take them.
_K0, _K1, _K2, _K3, _K4, _K5 = map(np.int64, range(6))


def left_of(count: int) -> int:
    """Return how many of the pixels of a method are before the base."""
    return (count - 1) // 2


@dataclass(frozen=True)
class Taps:
    """Weights of the pixels along an axis by one method.

    ``weights(t, F, addresses)`` returns a tuple of weights in the precision of F, ``slopes`` one of
    their derivatives, and ``curvatures`` one of their second derivatives. Tuples stay in registers.
    """

    count: int
    base: Callable[..., Any]
    weights: Callable[..., Any]
    slopes: Callable[..., Any]
    curvatures: Callable[..., Any]


@device
def _before(c):
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
def _lanczos3(t, addresses):
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


def _two_pixels(weigh: Callable[..., Any]) -> Callable[..., Any]:
    """Make the function that weighs the pixels before and after by their distances."""

    @device
    def both(t, addresses):
        a = weigh(t, addresses)
        f, df, ddf = weigh(1.0 - t, addresses)
        b = (f, -df, ddf)
        s = _sum(a, b)
        return _normalized(a, s), _normalized(b, s)

    return both


def _computed(count: int, together: Callable[..., Any]) -> Taps:
    """Make taps from a function that returns all weights of a position with their derivatives."""

    def part(order: int) -> Callable[..., Any]:
        @device
        def two(t, F, addresses):
            a, b = together(np.float64(t), addresses)
            return F(a[order]), F(b[order])

        @device
        def six(t, F, addresses):
            a, b, c, d, e, f = together(np.float64(t), addresses)
            return F(a[order]), F(b[order]), F(c[order]), F(d[order]), F(e[order]), F(f[order])

        return two if count == 2 else six

    return Taps(count, _before, part(0), part(1), part(2))


_LEAST_SIGMOID = 1 / (1 + math.exp(SIGMOID_STEEPNESS / 2))
_LEAST_GAUSSIAN = math.exp(-0.5 / GAUSSIAN_WIDTH**2)


@device
def _sigmoid(distance, addresses):
    value = 1 / (1 + math.exp(SIGMOID_STEEPNESS * (distance - 0.5)))
    slope = -SIGMOID_STEEPNESS * value * (1 - value)
    return value - _LEAST_SIGMOID, slope, -SIGMOID_STEEPNESS * slope * (1 - 2 * value)


@device
def _gaussian(distance, addresses):
    u = distance / GAUSSIAN_WIDTH
    value = math.exp(-0.5 * u * u)
    return value - _LEAST_GAUSSIAN, -u / GAUSSIAN_WIDTH * value, (u * u - 1) / GAUSSIAN_WIDTH**2 * value


@intrinsic  # type: ignore[untyped-decorator]
def _call(typing_context: Any, address: Any, argument: Any) -> Any:
    """Call the C function of one number at an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = ir.FunctionType(ir.DoubleType(), [ir.DoubleType()])
        return builder.call(builder.inttoptr(args[0], function.as_pointer()), [args[1]])

    return types.float64(types.int64, types.float64), generate


_STEP = 1e-4  # of differences: truncation errors are of the order of its square, rounding errors of its inverse


@device
def _user_weight(distance, addresses):
    """Weight by the function at an address, with differences of it, or of its derivative if that has an address too."""
    value = _call(addresses[0], distance)
    middle = min(max(distance, _STEP), 1.0 - _STEP)
    if addresses[1] != 0:
        slope = _call(addresses[1], distance)
        curvature = (_call(addresses[1], middle + _STEP) - _call(addresses[1], middle - _STEP)) / (2 * _STEP)
        return value, slope, curvature
    before, there, after = (
        _call(addresses[0], middle - _STEP),
        _call(addresses[0], middle),
        _call(addresses[0], middle + _STEP),
    )
    curvature = (after - 2 * there + before) / (_STEP * _STEP)
    return value, (after - before) / (2 * _STEP) + (distance - middle) * curvature, curvature


_PIXEL = [Polynomial([1.0])]

TAPS = {
    "nearest": _polynomials(_nearest_up, _PIXEL),
    "nearest_down": _polynomials(_nearest_down, _PIXEL),
    "nearest_even": _polynomials(_nearest_even, _PIXEL),
    "linear": _polynomials(_before, _bspline_pieces(1)),
    "smoothstep": _polynomials(_before, _SMOOTHSTEP),
    "sigmoid": _computed(2, _two_pixels(_sigmoid)),
    "gaussian": _computed(2, _two_pixels(_gaussian)),
    USER_WEIGHT: _computed(2, _two_pixels(_user_weight)),
    "bspline2": _polynomials(_nearest_up, _bspline_pieces(2)),
    "bspline3": _polynomials(_before, _bspline_pieces(3)),
    "catmull_rom": _polynomials(_before, _cubic_pieces(CATMULL_ROM_SLOPE)),
    "bicubic": _polynomials(_before, _cubic_pieces(BICUBIC_SLOPE)),
    "bspline4": _polynomials(_nearest_up, _bspline_pieces(4)),
    "bspline5": _polynomials(_before, _bspline_pieces(5)),
    "lanczos3": _computed(6, _lanczos3),
}
