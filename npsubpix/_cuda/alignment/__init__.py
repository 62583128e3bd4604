"""Direct alignment of images on the GPU.

Images stay there. An iteration copies its sums to the host, at most some hundred numbers, where the
equations are solved: the host waits for each. So it does once at the beginning, to see what the
images hold, and for each robust loss, to see some thousand residuals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._cuda.launch.devices import Device, blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import THREADS, DeviceArray, Kernel
from npsubpix._cuda.sampling.splines import spline_coefficients
from npsubpix._definitions.alignment.gauss_newton import (
    ROUNDING,
    Options,
    Outcome,
    aligned,
    count_levels,
    nothing_to_align,
)
from npsubpix._definitions.alignment.normal_equations import (
    CROSSED,
    FIXED,
    ONE,
    RESIDUAL,
    SIGNALS,
    Equations,
    combinations,
    equations_of,
    margin_of,
)
from npsubpix._definitions.flags import AlignmentFlags

__all__ = ["align", "phase_correlation"]

#: Pixels of an image that one block surveys.
_PART = 1 << 14

#: Parts of the fixed image whose products are summed up at the same time, at most.
_MOST_PARTS = 1024

#: Rows of a column that one thread walks along.
_ROWS = 32

#: Times that each bad pixel is replaced by the mean of its neighbours.
_FILLINGS = 16

#: Amplitudes below this part of the mean are not raised to 1 by the phase correlation: they are noise.
_WHITEST = 0.1

#: The feature of the kernel for each of the 27 of `_equations`, signals times 1, x and y.
_FEATURES = {
    **{n: n for n in range(9)},
    3 * FIXED: 9,
    3 * ONE: 10,
    3 * RESIDUAL: 11,
    **{3 * CROSSED + n: 12 + n for n in range(9)},
}


@dataclass
class _Survey:
    """What an image holds: how many bad pixels, and of the others the least, the greatest and the mean."""

    bad: int
    low: float
    high: float
    mean: float


def _kernel(name: str, dtype: Any) -> Kernel:
    return Kernel.of("alignment", name, Real=dtype)


def _surveyed(device: Device, images: list[tuple[DeviceArray, DeviceArray | None]]) -> list[_Survey]:
    """Look into images, but for masked pixels. This waits for the GPU."""
    parts = [blocks_for(x.size, _PART) for x, _ in images]
    found = device.empty((sum(parts), 4), np.float64)
    for (x, mask), begin, count in zip(images, (0, *np.cumsum(parts).tolist()), parts, strict=False):
        part = found[begin : begin + count]
        run(device, _kernel("align_survey", x.dtype), count, x, mask, x.size, count, _PART, part)
    seen, surveys = device.get(found), []
    for (x, _), begin, count in zip(images, (0, *np.cumsum(parts).tolist()), parts, strict=False):
        bad, low, high, total = seen[begin : begin + count].T
        good = x.size - int(bad.sum())
        surveys.append(_Survey(int(bad.sum()), float(low.min()), float(high.max()), float(total.sum()) / max(good, 1)))
    return surveys


@dataclass
class _Level:
    """Both images at one scale, on the GPU."""

    fixed: DeviceArray
    fixed_spline: DeviceArray
    moving: DeviceArray
    hidden: DeviceArray | None
    bad: DeviceArray | None
    scale: int
    rounding: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the fixed image."""
        return tuple(self.fixed.shape)

    @property
    def moving_shape(self) -> tuple[int, ...]:
        """Shape of the moving image."""
        return tuple(self.moving.shape)

    def arguments(self, matrix: HostArray, gain: float, bias: float) -> tuple[Any, ...]:
        images = self.fixed, self.fixed_spline, self.moving, self.hidden, self.bad
        return *images, *self.shape, *self.moving_shape, *matrix.ravel().tolist(), float(gain), float(bias)

    def residuals(self, matrix: HostArray, gain: float, bias: float) -> HostArray:
        """Return the residuals of some thousand pixels, those that there are. This waits for the GPU."""
        height, width = self.shape
        step = max(1, int(math.sqrt(height * width / 4096)))
        rows, columns = (-(-(n - 2) // step) for n in self.shape)
        device = device_of(self.fixed)
        out = device.empty((rows * columns,), np.float64)
        given = *self.arguments(matrix, gain, bias), step, rows, columns, out
        run(device, _kernel("align_residuals", self.fixed.dtype), blocks_for(out.size), *given)
        residuals = device.get(out)
        return np.asarray(residuals[np.isfinite(residuals)])

    def equations(
        self, inverse: bool, gain_bias: bool, crossed: bool, basis: HostArray, matrix: HostArray, gain: float,
        bias: float, scale: float, loss: int,
    ) -> Equations:  # fmt: skip
        """Sum up the normal equations of one iteration. This waits for the GPU."""
        perspective = bool(basis[:, 2].any() or matrix[2, :2].any() or matrix[2, 2] != 1)
        crossed = crossed and inverse
        used, across = _features_of(basis, self.shape, gain_bias, perspective, crossed)
        pairs = [(a, b) for k, a in enumerate(used) for b in used[k:]] + [(a, b) for a in used for b in across]
        tiles = -(-math.prod(self.shape) // THREADS)
        each = -(-tiles // _MOST_PARTS)
        parts, sums = -(-tiles // each), len(pairs) + 2
        device, shares = device_of(self.fixed), THREADS // sums
        rows, totals = device.empty((parts * shares, sums), np.float64), device.empty((sums,), np.float64)
        chosen = _bits(used), _bits(across), sums, parts, each
        form = margin_of(self.moving_shape), float(scale), loss, inverse, perspective, crossed
        kernel = _kernel("align_equations", self.fixed.dtype)
        run(device, kernel, parts, *self.arguments(matrix, gain, bias), *form, *chosen, rows)
        run(device, _kernel("align_sum", self.fixed.dtype), sums, rows, parts * shares, sums, totals)
        *products, weight, count = device.get(totals).tolist()
        gram = np.zeros((3 * SIGNALS, 3 * SIGNALS))
        for (a, b), product in zip(pairs, products, strict=True):
            gram[a, b] = gram[b, a] = product
        return equations_of(gram, basis, self.shape, gain_bias, crossed, weight, count)


def _features_of(
    basis: HostArray, shape: tuple[int, ...], gain_bias: bool, perspective: bool, crossed: bool
) -> tuple[list[int], list[int]]:
    """Return the features whose products are wanted, and those of the other image that they are multiplied with."""
    depths = () if perspective else tuple(3 * k + n for k in (2, CROSSED + 2) for n in range(3))
    used, across = (
        [int(n) for n in np.flatnonzero(combinations(basis, shape, gain_bias, other).any(0)) if n not in depths]
        for other in (False, True)
    )
    return used, [n for n in across if n >= 3 * CROSSED] if crossed else []


def _bits(features: list[int]) -> int:
    return sum(1 << _FEATURES[n] for n in features)


def _filled(device: Device, x: DeviceArray, mask: DeviceArray | None) -> tuple[DeviceArray, DeviceArray]:
    """Write over bad pixels what lies between their neighbours; return what is left out, too."""
    (height, width), blocks, dtype = x.shape, blocks_for(x.size), x.dtype
    bad, grown, rows = (device.empty(x.shape, t) for t in (bool, bool, np.int64))
    run(device, _kernel("align_mark", dtype), blocks, x, mask, x.size, bad)
    run(device, _kernel("align_grow", dtype), blocks, bad, height, width, grown)
    parts = -(-height // _ROWS) * width
    run(device, _kernel("align_nearest_rows", dtype), blocks_for(parts), bad, height, width, _ROWS, rows)
    one, other = device.empty(x.shape, dtype), device.empty(x.shape, dtype)
    run(device, _kernel("align_fill", dtype), blocks, x, bad, rows, height, width, one)
    for _ in range(_FILLINGS):
        run(device, _kernel("align_smooth", dtype), blocks, one, bad, height, width, other)
        one, other = other, one
    return one, grown


def _halved(device: Device, x: DeviceArray | None, dtype: Any) -> DeviceArray | None:
    if x is None:
        return None
    out = device.empty((x.shape[0] // 2, x.shape[1] // 2), x.dtype)
    name = "align_halve_marks" if x.dtype == np.bool_ else "align_halve"
    run(device, _kernel(name, dtype), blocks_for(out.size), x, x.shape[1], *out.shape, out)
    return out


def _pyramid(
    device: Device, images: list[DeviceArray], marks: list[DeviceArray | None], levels: int | None, largest: float
) -> list[_Level]:
    """Return images from coarse to fine."""
    dtype, result = images[0].dtype, []
    rounding = float(np.finfo(dtype).eps) * largest
    for k in range(count_levels(min(*images[0].shape, *images[1].shape), levels)):
        fixed, moving = images
        splines = [spline_coefficients(device, x, 3, "mirror", 2) for x in images]
        result.append(_Level(fixed, splines[0], splines[1], marks[0], marks[1], 2**k, rounding))
        if min(*fixed.shape, *moving.shape) < 16:
            break
        images, marks = ([_halved(device, x, dtype) for x in some] for some in (images, marks))
    return result[::-1]


def align(
    fixed: DeviceArray, moving: DeviceArray, mask: DeviceArray | None, *, init: HostArray | str | None, options: Options
) -> Outcome:
    """Find the matrix that takes pixels of the fixed image to positions in the moving one."""
    if isinstance(init, str):
        init = phase_correlation(fixed, moving) if fixed.size and moving.size else None
    matrix = np.eye(3) if init is None else init
    if min(*fixed.shape, *moving.shape) < 4:
        return nothing_to_align(options, matrix, int(AlignmentFlags.NO_OVERLAP))
    device, dtype = device_of(fixed), np.result_type(fixed.dtype, moving.dtype, np.float32)
    images = [device.rows(x, x.shape, dtype) for x in (fixed, moving)]
    surveys = _surveyed(device, list(zip(images, (mask, None), strict=True)))
    if any(seen.bad == x.size for seen, x in zip(surveys, images, strict=True)):
        return nothing_to_align(options, matrix, int(AlignmentFlags.NO_OVERLAP))
    eps = float(np.finfo(dtype).eps)
    if any(seen.high - seen.low <= ROUNDING * eps * max(abs(seen.low), abs(seen.high)) for seen in surveys):
        return nothing_to_align(options, matrix, int(AlignmentFlags.NO_TEXTURE))
    marks: list[DeviceArray | None] = [None, None]
    for k, seen in enumerate(surveys):
        if seen.bad:
            images[k], marks[k] = _filled(device, images[k], mask if k == 0 else None)
    largest = max(abs(surveys[0].low), abs(surveys[0].high))
    return aligned(_pyramid(device, images, marks, options.levels, largest), options, matrix)


def phase_correlation(fixed: DeviceArray, moving: DeviceArray) -> HostArray:
    """Find the translation from the peak of the phase correlation, to about a tenth of a pixel."""
    device = device_of(fixed)
    shape = tuple(max(n, m) for n, m in zip(fixed.shape, moving.shape, strict=True))
    images = [device.rows(x, x.shape, np.result_type(x.dtype, np.float32)) for x in (fixed, moving)]
    spectra = []
    for x, seen in zip(images, _surveyed(device, [(x, None) for x in images]), strict=True):
        windowed = device.empty(shape, np.float64)
        given = x, *x.shape, seen.mean, *shape, windowed
        run(device, _kernel("align_windowed", x.dtype), blocks_for(windowed.size), *given)
        spectra.append(np.fft.rfft2(windowed))  # NumPy's functions call those of the library of an array
    cross = np.conj(spectra[0]) * spectra[1]
    size = np.abs(cross)
    cross = cross / np.maximum(size, np.maximum(_WHITEST * size.mean(), np.finfo(float).tiny))
    surface = np.fft.irfft2(cross, shape)
    peak = np.unravel_index(int(device.get(surface.argmax())), shape)
    lines = device.get(surface[:, peak[1]]), device.get(surface[peak[0]])
    matrix = np.eye(3)
    for axis, (k, n, line) in enumerate(zip(peak, shape, lines, strict=True)):
        before, there, after = (line[(k + d) % n] for d in (-1, 0, 1))
        curvature = before - 2 * there + after
        offset = 0.5 * (before - after) / curvature if curvature < 0 else 0.0
        matrix[axis, 2] = float(k if k <= n // 2 else k - n) + offset
    return matrix
