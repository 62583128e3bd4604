"""Weights that are functions of the distance of a pixel, divided by their sum, for any number of pixels.

A method of reach k weights the k pixels before a position and the k pixels after it, at distances from 0 to k.
Functions take the distance; the whole pixels in it, which tell the stretch between two pixels that it lies in; and
whether it grows with the position. This matters where a derivative jumps: derivatives are those towards the next pixel,
and at the end of the last stretch those towards the previous one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from npsubpix._cpu.compiler.jit import device, inlined, inlined_fused
from npsubpix._cpu.sampling.weights import TAPS, Taps, before
from npsubpix._definitions.sampling.methods import GAUSSIAN_WIDTH, SIGMOID_STEEPNESS, TABLE_WEIGHT, USER_WEIGHT

__all__ = ["element", "raw_weights", "segment_of", "taps_of", "total_of"]


@dataclass(frozen=True)
class _Weight:
    """A function of the distance and its first two derivatives, computed in float64 or in the precision of samples."""

    orders: tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]
    in_double: bool = True


# Functions that have a name: of the distance divided by the reach

_LEAST_SIGMOID = 1 / (1 + math.exp(SIGMOID_STEEPNESS / 2))
_LEAST_GAUSSIAN = math.exp(-0.5 / GAUSSIAN_WIDTH**2)


@device
def _linear(u):
    return 1.0 - u, -1.0, 0.0


@device
def _smoothstep(u):
    return 1.0 - u * u * (3.0 - 2.0 * u), -6.0 * u * (1.0 - u), 12.0 * u - 6.0


@device
def _sigmoid(u):
    value = 1 / (1 + math.exp(SIGMOID_STEEPNESS * (u - 0.5)))
    slope = -SIGMOID_STEEPNESS * value * (1 - value)
    return value - _LEAST_SIGMOID, slope, -SIGMOID_STEEPNESS * slope * (1 - 2 * value)


@device
def _gaussian(u):
    v = u / GAUSSIAN_WIDTH
    value = math.exp(-0.5 * v * v)
    return value - _LEAST_GAUSSIAN, -v / GAUSSIAN_WIDTH * value, (v * v - 1) / GAUSSIAN_WIDTH**2 * value


_NAMED = {"linear": _linear, "smoothstep": _smoothstep, "sigmoid": _sigmoid, "gaussian": _gaussian}


def _stretched(jet: Callable[..., Any], reach: int) -> _Weight:
    """Stretch a function, which returns its derivatives too, from the distances up to 1 to those up to the reach."""
    width = float(reach)

    def order(n: int) -> Callable[..., Any]:
        scale = width**n

        @device
        def derivative(distance, whole, grows, F, addresses):
            return jet(distance / width)[n] / scale

        return derivative

    return _Weight((order(0), order(1), order(2)))


# Functions of users


@intrinsic  # type: ignore[untyped-decorator]
def _call(typing_context: Any, address: Any, distance: Any, values: Any) -> Any:
    """Call the C function of a number, and of further ones at an address, that is at an address.

    It is pure, so that it is called once where its result is used twice.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        double = ir.DoubleType()
        function = ir.FunctionType(double, [double, double.as_pointer()])
        pointers = builder.inttoptr(args[0], function.as_pointer()), builder.inttoptr(args[2], double.as_pointer())
        return builder.call(pointers[0], [args[1], pointers[1]], attrs=("readonly", "nounwind"))

    return types.float64(types.int64, types.float64, types.int64), generate


_STEP = 1e-4  # of differences: truncation errors are of the order of its square, rounding errors of its inverse


@device
def _user_value(distance, whole, grows, F, addresses):
    return _call(addresses[0], distance, addresses[2])


@device
def _inside(distance, whole):
    """Return the nearest distance whose neighbours at a step are in the same stretch between pixels."""
    return min(max(distance, whole + _STEP), whole + 1 - _STEP)


@device
def _second_difference(middle, addresses):
    after, there = _call(addresses[0], middle + _STEP, addresses[2]), _call(addresses[0], middle, addresses[2])
    return (after - 2 * there + _call(addresses[0], middle - _STEP, addresses[2])) / (_STEP * _STEP)


@device
def _user_slope(distance, whole, grows, F, addresses):
    """Return the derivative that the user wrote, or a difference."""
    if addresses[1] != 0:
        return _call(addresses[1], distance, addresses[2])
    middle = _inside(distance, whole)
    after, ahead = _call(addresses[0], middle + _STEP, addresses[2]), _call(addresses[0], middle - _STEP, addresses[2])
    slope = (after - ahead) / (2 * _STEP)
    return slope if distance == middle else slope + (distance - middle) * _second_difference(middle, addresses)


@device
def _user_curvature(distance, whole, grows, F, addresses):
    middle = _inside(distance, whole)
    if addresses[1] == 0:
        return _second_difference(middle, addresses)
    after, ahead = _call(addresses[1], middle + _STEP, addresses[2]), _call(addresses[1], middle - _STEP, addresses[2])
    return (after - ahead) / (2 * _STEP)


# Samples of a function at equal distances


@intrinsic  # type: ignore[untyped-decorator]
def element(typing_context: Any, address: Any, index: Any, dtype: Any) -> Any:
    """Return an element of the array at an address."""
    real = dtype.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = builder.inttoptr(args[0], context.get_value_type(real).as_pointer())
        return builder.load(builder.gep(first, [args[1]]))

    return real(types.int64, types.int64, dtype), generate


@functools.cache
def segment_of(reach: int) -> Callable[..., Any]:
    """Make the function that finds the two samples around a distance."""

    @inlined
    def segment(distance, grows, F, addresses):
        """Return the index of the first, the distance from it, and the derivative of that: in units of the spacing."""
        scale = F(addresses[1] - 1) / F(reach)
        place = distance * scale
        first = np.int64(place)
        if not grows and F(first) == place:
            first -= 1
        first = min(max(first, 0), addresses[1] - 2)
        return first, place - F(first), scale

    return segment


def _interpolated(reach: int) -> _Weight:
    """Make the function that interpolates linearly between the samples of a table."""
    segment = segment_of(reach)

    @inlined_fused
    def value(distance, whole, grows, F, addresses):
        k, f, _ = segment(distance, grows, F, addresses)
        return (F(1) - f) * element(addresses[0], k, F) + f * element(addresses[0], k + 1, F)

    @inlined_fused
    def slope(distance, whole, grows, F, addresses):
        k, _, scale = segment(distance, grows, F, addresses)
        return scale * (element(addresses[0], k + 1, F) - element(addresses[0], k, F))

    @device
    def curvature(distance, whole, grows, F, addresses):
        return F(0)

    return _Weight((value, slope, curvature), in_double=False)


def _weight_of(name: str, reach: int) -> _Weight:
    if name == TABLE_WEIGHT:
        return _interpolated(reach)
    if name == USER_WEIGHT:
        return _Weight((_user_value, _user_slope, _user_curvature))
    return _stretched(_NAMED[name], reach)


# Weights of all pixels


def _each(part: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Make the function that returns a tuple of ``part(k, p, F)`` for each k below a count."""
    last = np.int64(count - 1)

    @inlined
    def alone(p, F):
        return (part(last, p, F),)

    if count == 1:
        return alone
    others = _each(part, count - 1)

    @inlined
    def together(p, F):
        return others(p, F) + (part(last, p, F),)  # noqa: RUF005, which Numba compiles by way of a list

    return together


@functools.cache
def total_of(count: int) -> Callable[..., Any]:
    """Make the function that sums a tuple."""

    @inlined
    def total(u):
        s = u[0]
        for k in range(1, count):
            s += u[k]
        return s

    return total


@functools.cache
def raw_weights(name: str, reach: int, order: int) -> Callable[..., Any]:
    """Make the function of a tuple (t, addresses) that returns weights before division, or derivatives of them.

    These are derivatives with respect to the position.
    """
    function = _weight_of(name, reach).orders[order]
    sign = -1.0 if order == 1 else 1.0

    @inlined
    def weight_of(k, p, F):
        whole = reach - 1 - k
        if whole >= 0:
            return F(function(F(whole) + p[0], whole, p[0] < 1, F, p[1]))
        return F(sign) * F(function(F(-whole) - p[0], -whole - 1, p[0] >= 1, F, p[1]))

    return _each(weight_of, 2 * reach)


@inlined_fused
def _divided(k, p, F):
    u, s = p
    return F(u[k] / s)


@inlined_fused
def _slope_divided(k, p, F):
    """Differentiate a weight that is divided by the sum of weights, 1 / r, which has a derivative too."""
    u, r, du, ds = p
    return F((du[k] - u[k] * r * ds) * r)


@inlined_fused
def _curvature_divided(k, p, F):
    u, r, du, ds, ddu, dds = p
    f = u[k] * r
    return F((ddu[k] - 2 * ((du[k] - f * ds) * r) * ds - f * dds) * r)


@functools.cache
def taps_of(name: str, reach: int) -> Taps:
    """Return the weights of a method."""
    if name in TAPS and reach == 1:
        return TAPS[name]
    count, in_double = 2 * reach, _weight_of(name, reach).in_double
    raw = tuple(raw_weights(name, reach, order) for order in range(3))
    total = total_of(count)
    parts = _each(_divided, count), _each(_slope_divided, count), _each(_curvature_divided, count)

    def in_precision(order: int) -> Callable[..., Any]:
        derivatives = raw[order]

        @inlined
        def double(t, F, addresses):
            return derivatives((np.float64(t), addresses), np.float64)

        @inlined
        def own(t, F, addresses):
            return derivatives((F(t), addresses), F)

        return double if in_double else own

    @inlined
    def inverse_in_double(u, F):
        return 1.0 / total(u)

    @inlined
    def inverse_in_own(u, F):
        return F(1) / total(u)

    inverse = inverse_in_double if in_double else inverse_in_own
    raw0, raw1, raw2 = in_precision(0), in_precision(1), in_precision(2)
    divide, divide_slopes, divide_curvatures = parts
    piece = inlined if reach == 1 else device  # a few weights take less time than a call for them

    @piece
    def weights(t, F, addresses):
        u = raw0(t, F, addresses)
        return divide((u, total(u)), F)

    @piece
    def slopes(t, F, addresses):
        u, du = raw0(t, F, addresses), raw1(t, F, addresses)
        return divide_slopes((u, inverse(u, F), du, total(du)), F)

    @device
    def curvatures(t, F, addresses):
        u, du, ddu = raw0(t, F, addresses), raw1(t, F, addresses), raw2(t, F, addresses)
        return divide_curvatures((u, inverse(u, F), du, total(du), ddu, total(ddu)), F)

    return Taps(count, before, weights, slopes, curvatures)
