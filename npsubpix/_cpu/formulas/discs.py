"""The area that a disc and a pixel have in common."""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device

__all__ = ["disc_share"]


@device
def _under_arc(x, radius):
    """Integrate the upper half of a circle about 0, from 0 to x."""
    square = radius * radius
    return 0.5 * (x * math.sqrt(max(square - x * x, 0.0)) + square * math.asin(min(x / radius, 1.0)))


@device
def _share_of_quadrant(bottom, top, left, right, radius):
    """Return the area of a disc about 0 in a rectangle that lies in its first quadrant."""
    square = radius * radius
    if left * left + bottom * bottom >= square:
        return 0.0
    if right * right + top * top <= square:
        return (right - left) * (top - bottom)
    end = min(right, math.sqrt(square - bottom * bottom))  # where the circle leaves the rectangle
    full = min(max(math.sqrt(max(square - top * top, 0.0)), left), end)  # up to which the whole height is inside
    arc = _under_arc(end, radius) - _under_arc(full, radius) - bottom * (end - full)
    return (full - left) * (top - bottom) + arc


@device
def disc_share(y, x, radius):
    """Return the area of the disc about 0 in the pixel whose centre is (y, x): the share of the pixel in it."""
    far_y, far_x = abs(y) + 0.5, abs(x) + 0.5
    if far_y * far_y + far_x * far_x <= radius * radius:
        return 1.0
    near_y, near_x = abs(y) - 0.5, abs(x) - 0.5
    if max(near_y, 0.0) ** 2 + max(near_x, 0.0) ** 2 >= radius * radius:
        return 0.0
    # A pixel across an axis of the disc has parts on both sides
    area = _share_of_quadrant(max(near_y, 0.0), far_y, max(near_x, 0.0), far_x, radius)
    if near_y < 0.0:
        area += _share_of_quadrant(0.0, -near_y, max(near_x, 0.0), far_x, radius)
    if near_x < 0.0:
        area += _share_of_quadrant(max(near_y, 0.0), far_y, 0.0, -near_x, radius)
    if near_y < 0.0 and near_x < 0.0:
        area += _share_of_quadrant(0.0, -near_y, 0.0, -near_x, radius)
    return area
