"""The area that a disc and a pixel have in common.

It is the integral over x of the height of the disc in the pixel, between edges of the pixel and points where the circle
crosses others of them. The integral from 0 to each of these points is computed once for all pixels that have the edge:
`write_rows` and `write_columns` prepare it for the pixels along an axis, and `disc_share` takes one row and one column.
"""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device, inlined

__all__ = ["COLUMN", "ROW", "disc_share", "write_columns", "write_rows"]

#: Numbers for each row: distances from the centre of the disc of its nearer and farther edge, and, if it lies on both
#: sides of the centre, of the edge on the other side (then the nearer is 0), else 0; half of the chord at each of the
#: three, and integrals up to there.
ROW = 9

#: Numbers for each column: the same distances, and integrals up to these.
COLUMN = 6


@device
def _under_arc(x, radius):
    """Integrate the upper half of a circle about 0, from 0 to x."""
    square = radius * radius
    return 0.5 * (x * math.sqrt(max(square - x * x, 0.0)) + square * math.asin(min(x / radius, 1.0)))


@inlined
def _write_edges(out, n, offset):
    """Write the distances of the edges of a pixel, of which the offset of the centre is known."""
    far = abs(offset) + 0.5
    near = abs(offset) - 0.5
    out[n, 0], out[n, 1], out[n, 2] = max(near, 0.0), far, max(-near, 0.0)


@inlined
def _same_edge(out, n, distance):
    """Return which edge of the pixel before has this distance, or -1."""
    for e in range(3):
        if n > 0 and out[n - 1, e] == distance:
            return e
    return -1


@inlined
def write_rows(out, first, centre, radius):
    """Prepare the rows of pixels from the first on."""
    for n in range(len(out)):
        _write_edges(out, n, first + n - centre)
        for e in range(3):
            y = out[n, e]
            same = _same_edge(out, n, y)
            if same >= 0:
                out[n, 3 + e], out[n, 6 + e] = out[n - 1, 3 + same], out[n - 1, 6 + same]
            else:
                half = math.sqrt(max(radius * radius - y * y, 0.0))
                out[n, 3 + e], out[n, 6 + e] = half, _under_arc(half, radius) if half > 0.0 else 0.0


@inlined
def write_columns(out, first, centre, radius):
    """Prepare the columns of pixels from the first on."""
    for n in range(len(out)):
        _write_edges(out, n, first + n - centre)
        for e in range(3):
            x = out[n, e]
            same = _same_edge(out, n, x)
            if same >= 0:
                out[n, 3 + e] = out[n - 1, 3 + same]
            else:
                out[n, 3 + e] = _under_arc(x, radius) if 0.0 < x < radius else 0.0


@inlined
def _share_of_quadrant(rows, m, low, high, columns, n, left, right, radius):
    """Return the area of the disc between two edges of a row and two of a column, in one quadrant."""
    square = radius * radius
    bottom, top, near, far = rows[m, low], rows[m, high], columns[n, left], columns[n, right]
    if near * near + bottom * bottom >= square:
        return 0.0
    if far * far + top * top <= square:
        return (far - near) * (top - bottom)
    end, under_end = rows[m, 3 + low], rows[m, 6 + low]  # where the circle leaves the rectangle
    if far < end:
        end, under_end = far, columns[n, 3 + right]
    full, under_full = rows[m, 3 + high], rows[m, 6 + high]  # up to which the whole height is inside
    if full < near:
        full, under_full = near, columns[n, 3 + left]
    if end < full:
        full, under_full = end, under_end
    return (full - near) * (top - bottom) + (under_end - under_full - bottom * (end - full))


@inlined
def _share_of_cut(rows, m, columns, n, radius):
    """Return the area of the disc in a pixel that the circle may cut."""
    # A pixel across an axis of the disc has parts on both sides
    area = _share_of_quadrant(rows, m, 0, 1, columns, n, 0, 1, radius)
    if rows[m, 2] > 0.0:
        area += _share_of_quadrant(rows, m, 0, 2, columns, n, 0, 1, radius)
    if columns[n, 2] > 0.0:
        area += _share_of_quadrant(rows, m, 0, 1, columns, n, 0, 2, radius)
    if rows[m, 2] > 0.0 and columns[n, 2] > 0.0:
        area += _share_of_quadrant(rows, m, 0, 2, columns, n, 0, 2, radius)
    return area


@inlined
def disc_share(rows, m, columns, n, radius):
    """Return the area of the disc in the pixel of a row and a column: the share of the pixel in it."""
    if rows[m, 1] * rows[m, 1] + columns[n, 1] * columns[n, 1] <= radius * radius:
        return 1.0
    if rows[m, 0] * rows[m, 0] + columns[n, 0] * columns[n, 0] >= radius * radius:
        return 0.0
    return _share_of_cut(rows, m, columns, n, radius)
