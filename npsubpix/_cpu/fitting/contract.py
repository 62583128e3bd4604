"""The functions of a model of spots that fits call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["PixelFunctions", "SpotFunctions"]

Device = Callable[..., Any]


class SpotFunctions(NamedTuple):
    """Functions of a model, compiled for kernels.

    Attributes
    ----------
    write : function of (parameters, sigma, constants, box, padded, lines, edges)
        Evaluate the model in a box: write lines, from which the other functions take values and derivatives.
    add_rows : function of (sums, parameters, box, padded, lines, data, spread, likelihood)
        Write the sums of the normal equations of a box, each in four parts.
    means : function of (mean, parameters, box, padded, lines)
        Write the means of the pixels of a box, the background included.
    width : function of (parameters, sigma, constants, axis)
        Return the width of a spot along an axis.
    lines : int
        Number of lines.
    by_pixel : bool
        Whether a line has a number for each pixel of a box, or for each pixel along an axis.
    """

    write: Device
    add_rows: Device
    means: Device
    width: Device
    lines: int
    by_pixel: bool


class PixelFunctions(NamedTuple):
    """Functions of a model that is evaluated pixel by pixel.

    Attributes
    ----------
    prepare : function of (shared, parameters, sigma, constants)
        Write numbers that all pixels share, at most sixteen.
    pixel : function of (slopes, shared, parameters, sigma, constants, d, j, i)
        Return the share of the flux in a pixel, and write its derivatives with respect to the position along each
        axis, ``slopes[:axes]``, and to the parameters of the shape, ``slopes[axes + 1 : axes + 1 + widths]``.
    """

    prepare: Device
    pixel: Device
