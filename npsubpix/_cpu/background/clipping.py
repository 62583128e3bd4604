"""The pixels of a box that belong to its background, and their statistics, from sorted values.

Pixels are clipped about their median. Where many pixels share one value, because a camera clips at it or because
photons are few, their standard deviation is no measure of the noise: it is then measured above the median.
"""

from __future__ import annotations

import math

import numpy as np

from npsubpix._cpu.compiler.jit import device, summing
from npsubpix._definitions.constants import (
    BACKGROUND_CLIP,
    CLIPPED_SHARE,
    DEVIATIONS_PER_MEDIAN,
    FEWEST_ABOVE,
    HALF_SHARE,
    LEAST_PILED,
    ROUNDING_NOISE,
    SPARSE_SHARE,
    SYMMETRIC_RATIO,
)

__all__ = ["clip", "clip_about_median", "step_of"]


@summing
def _sum(values):
    total = 0.0
    for k in range(values.size):
        total += values[k]
    return total


@summing
def _sum_of_squares(values, mean):
    total = 0.0
    for k in range(values.size):
        d = values[k] - mean
        total += d * d
    return total


@device
def _median(values):
    """Return the median of sorted numbers; several equal to it count as if they were spread evenly.

    They are taken to have been rounded, so that each stands for all numbers halfway to the next ones:
    the median of integers is in general not an integer.
    """
    n = values.size
    a, b = values[(n - 1) // 2], values[n // 2]
    first = np.searchsorted(values, a, "left")
    last = np.searchsorted(values, a, "right")
    if a != b or last - first == 1 or first == 0 or last == n:
        return 0.5 * (a + b)
    below, above = 0.5 * (a + values[first - 1]), 0.5 * (a + values[last])
    return below + (above - below) * (0.5 * n - first) / (last - first)


@device
def step_of(values):
    """Return the step between the values that sorted pixels can have, near their median: 1 for whole numbers.

    It is 0 if all pixels are equal.
    """
    n = values.size
    value = values[(n - 1) // 2]
    first, last = np.searchsorted(values, value, "left"), np.searchsorted(values, value, "right")
    step = math.inf
    if first > 0:
        step = np.float64(value) - np.float64(values[first - 1])
    if last < n:
        step = min(step, np.float64(values[last]) - np.float64(value))
    if step == math.inf:
        return 0.0
    whole = math.floor(step) == step and math.floor(value) == value
    return 1.0 if whole else step


@device
def _is_piled(values):
    """Tell whether more pixels have the least value than have the next one, and no few: a clipped distribution."""
    n = values.size
    least = np.searchsorted(values, values[0], "right")
    if least == n or least < 2 or least < LEAST_PILED * n:
        return False
    return least > np.searchsorted(values, values[least], "right") - least


@device
def clip_about_median(values, allowance):
    """Clip sorted numbers about their median until none is clipped; return where those that remain begin and end.

    Return their median, mean and standard deviation too. The upper limit is higher by an allowance.
    """
    begin, end = 0, values.size
    while True:
        kept = values[begin:end]
        median = _median(kept)
        mean = _sum(kept) / kept.size
        deviation = math.sqrt(_sum_of_squares(kept, mean) / kept.size)
        far = BACKGROUND_CLIP * deviation
        i, j = begin, end
        while i < j and median - values[i] > far:
            i += 1
        while j > i and values[j - 1] - median > far + allowance:
            j -= 1
        if i == j or (i == begin and j == end):
            return begin, end, median, mean, deviation
        begin, end = i, j


@device
def _clip_piled(values, step, clipped):
    """Clip sorted numbers that do not spread evenly about their median; return as `clip` does.

    `clipped` tells that the lower side of their distribution is missing, so that its upper side alone has the noise.
    """
    n = values.size
    median = _median(values)
    first, last = np.searchsorted(values, median, "left"), np.searchsorted(values, median, "right")
    both = last == n or (not clipped and SYMMETRIC_RATIO * first >= n - last)
    begin, end = 0, n
    while True:
        if n - last == 0 or (both and first - begin > end - last):
            distance = median - values[first - 1 - (first - begin - 1) // 2]
        else:
            distance = values[last + (end - last - 1) // 2] - median
        far = BACKGROUND_CLIP * max(DEVIATIONS_PER_MEDIAN * distance, step)
        i, j = begin, end
        while j > last and values[j - 1] - median > far:
            j -= 1
        while both and i < first and median - values[i] > far:
            i += 1
        if i == begin and j == end:
            break
        begin, end = i, j
    upper, count = end - last, end - begin
    kept = values[begin:end]
    if both:
        square = _sum_of_squares(kept, median) / count
    elif upper < max(SPARSE_SHARE * count, FEWEST_ABOVE):
        square = 0.0
    else:
        share = max(np.float64(upper), 0.5 * count) if upper >= HALF_SHARE * count else np.float64(upper)
        square = _sum_of_squares(values[last:end], median) / share
    noise = max(math.sqrt(square) / CLIPPED_SHARE, ROUNDING_NOISE * step)
    guessed = not clipped or median == values[0]
    return begin, end, _median(kept), _sum(kept) / count, noise, guessed


@device
def clip(values, step):
    """Clip sorted numbers, which are not all equal if `step` is 0, until none is clipped.

    Return where those that remain begin and end, their median and mean, the noise, and whether this is a guess. `step`
    is that between the values that pixels can have.
    """
    if _is_piled(values):
        return _clip_piled(values, step, True)
    begin, end, median, mean, deviation = clip_about_median(values, 0.0)
    if values[begin] == values[end - 1] and step > 0:
        return _clip_piled(values, step, False)
    return begin, end, median, mean, deviation / CLIPPED_SHARE, False
