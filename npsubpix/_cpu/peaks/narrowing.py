"""Extrema of small windows: those of three pixels, found in vector code, of which few have to be looked at again."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.intrinsics import keep, lend, trailing_zeros
from npsubpix._cpu.compiler.jit import device, kernel
from npsubpix._definitions.nms import clipped_reach

__all__ = ["are_narrowed", "narrow"]

# Bits of the code of a pixel: strict extrema, and those with which plateaus may begin.
_MAXIMUM, _MINIMUM, _SEED = np.uint8(1), np.uint8(2), np.uint8(4)
_STRICT_BYTES = np.uint64(3 * 0x0101010101010101)

_WORDS = 2048  # a unit of parallel work

#: Pixels of a window up to which comparing one after the other is faster than a search in all windows, even where
#: every ninth pixel is an extremum of three: most of these have a greater one close by.
_MOST_PIXELS = 125


@device
def _code_in_window(x, d, i, j, window, code):
    """Return the code of a pixel in its window: a strict extremum, a seed that equals another pixel, or 0.

    Whether such a seed is a plateau is left to the search for these.
    """
    depth, height, width = x.shape
    front, back, top, bottom, left, right = window
    v = x[d, i, j]
    sign = code & np.uint8(3)
    for a in range(max(d - front, 0), min(d + back + 1, depth)):
        for b in range(max(i - top, 0), min(i + bottom + 1, height)):
            for c in range(max(j - left, 0), min(j + right + 1, width)):
                u = x[a, b, c]
                wins = (v > u) if sign == _MAXIMUM else (v < u)
                if not wins and not (a == d and b == i and c == j):
                    return (code & ~sign) | ((sign << np.uint8(2)) if u == v else np.uint8(0))
    return code


@kernel("narrow_extrema")
def _narrow_kernel(x, window, words, codes):
    """Give each strict extremum of three pixels the code that it has in its window."""
    depth, height, width = x.shape[1:]
    for unit in prange((words.size + _WORDS - 1) // _WORDS):
        stack = lend(x)
        for k in range(unit * _WORDS, min(unit * _WORDS + _WORDS, words.size)):
            strict = words[k] & _STRICT_BYTES
            while strict != 0:
                byte = trailing_zeros(strict) >> np.uint64(3)
                strict &= ~(np.uint64(3) << (np.uint64(8) * byte))
                p = 8 * k + np.int64(byte)
                row = p // width
                plane = row // height
                image = stack[plane // depth]
                codes[p] = _code_in_window(image, plane % depth, row % height, p % width, window, codes[p])
        keep(x)


def are_narrowed(size: tuple[int, ...], margins: tuple[int, ...]) -> bool:
    """Whether the extrema of windows are sought among those of three pixels: of small windows, away from the border."""
    return min(size) >= 3 and 3 ** len(size) < math.prod(size) <= _MOST_PIXELS and min(margins) >= 1


def narrow(x: HostArray, size: tuple[int, ...], padded: npt.NDArray[np.uint8]) -> None:
    """Turn the codes of extrema of three pixels of a stack of images into those of wider windows.

    There is one code per pixel, and more to a multiple of eight, which are 0.
    """
    volume = x.reshape(len(x), *(1, *x.shape[1:])[-3:])
    window = clipped_reach((1, *size)[-3:], volume.shape[1:])
    _narrow_kernel.run(8 * x.size, volume, window, padded.view(np.uint64), padded)
