"""Direct alignment of images on the GPU.

Images stay on the device. Each iteration copies its sums to the host, a few hundred numbers at most, where the
equations are solved: the host waits for each. It also waits once at the beginning, to survey the images, twice at the
end, for the noise and the covariance, near the identity once more for a fixed pattern, and at each iteration with a
robust loss function, for a few thousand residuals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import Device, blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import THREADS, DeviceArray, Kernel
from npsubpix._cuda.sampling.splines import spline_coefficients
from npsubpix._definitions.alignment import phase_correlation as definition
from npsubpix._definitions.alignment.fixed_pattern import SHARPNESS, with_border
from npsubpix._definitions.alignment.gauss_newton import Options, Outcome, residual_step
from npsubpix._definitions.alignment.images import FILLINGS, Survey, Unit, align_images
from npsubpix._definitions.alignment.normal_equations import (
    CROSSED,
    FIXED,
    ONE,
    PROJECTED,
    RESIDUAL,
    SIGNALS,
    Comparison,
    Equations,
    Likeness,
    combinations,
    equations_of,
    has_perspective,
    margin_of,
)
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.shapes import Shape

__all__ = ["align", "phase_correlation"]

register("alignment", each("Real", FLOATS))

#: Pixels of an image that one block surveys.
_PART = 1 << 14

#: Parts of the fixed image whose products are summed up at the same time, at most.
_MOST_PARTS = 1024

#: Rows of a column that one thread walks along.
_ROWS = 32

#: The feature of the kernel for each of the 27 features of the definition: signals times 1, x and y.
_FEATURES = {
    **{n: n for n in range(9)},
    3 * FIXED: 9,
    3 * ONE: 10,
    3 * RESIDUAL: 11,
    **{3 * CROSSED + n: 12 + n for n in range(9)},
}


def _kernel(name: str, dtype: Any) -> Kernel:
    return Kernel.of("alignment", name, Real=dtype)


class _Sums(NamedTuple):
    """Number of the bad pixels of an image; and of the good ones the number, the extremes and the mean."""

    bad: int
    good: int
    low: float
    high: float
    mean: float


def _sums_of(device: Device, images: Sequence[tuple[DeviceArray, DeviceArray | None]]) -> list[_Sums]:
    """Survey images with their masks. This waits for the GPU."""
    parts = [blocks_for(x.size, _PART) for x, _ in images]
    by_parts = device.empty((sum(parts), 4), np.float64)
    begins = (0, *np.cumsum(parts).tolist())
    for (x, mask), begin, count in zip(images, begins, parts, strict=False):
        part = by_parts[begin : begin + count]
        run(device, _kernel("align_survey", x.dtype), count, x, mask, x.size, count, _PART, part)
    on_host, sums = device.get(by_parts), []
    for (x, _), begin, count in zip(images, begins, parts, strict=False):
        bad, low, high, total = on_host[begin : begin + count].T
        good = x.size - int(bad.sum())
        mean = float(total.sum()) / max(good, 1)
        sums.append(_Sums(x.size - good, good, float(low.min()), float(high.max()), mean))
    return sums


@dataclass
class _Level:
    """Both images at one level of their pyramids, as pixels, as coefficients of splines, and with their masks."""

    fixed: DeviceArray
    moving: DeviceArray
    fixed_spline: DeviceArray
    moving_spline: DeviceArray
    fixed_mask: DeviceArray | None  # True for pixels to ignore
    moving_mask: DeviceArray | None
    scale: int
    rounding: float

    @classmethod
    def of(
        cls, fixed: DeviceArray, moving: DeviceArray, fixed_mask: DeviceArray | None,
        moving_mask: DeviceArray | None, scale: int, rounding: float,
    ) -> _Level:  # fmt: skip
        """Return a level of two images."""
        of_fixed, of_moving = (spline_coefficients(device_of(x), x, 3, "mirror", 2) for x in (fixed, moving))
        return cls(fixed, moving, of_fixed, of_moving, fixed_mask, moving_mask, scale, rounding)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the fixed image."""
        return tuple(self.fixed.shape)

    @property
    def moving_shape(self) -> tuple[int, ...]:
        """Shape of the moving image."""
        return tuple(self.moving.shape)

    def likeness(self, matrix: HostArray, fixed_mean: float, moving_mean: float) -> Likeness:
        """Return the likeness of the pixels compared, of these means. This waits for the GPU."""
        device, parts = device_of(self.fixed), blocks_for(self.fixed.size, _PART)
        sums = device.empty((parts, 5), np.float64)
        means = float(fixed_mean), float(moving_mean)
        options = self.moving, *means, margin_of(self.moving_shape), parts, _PART
        kernel = _kernel("align_likeness", self.fixed.dtype)
        run(device, kernel, parts, *self.arguments(matrix, 1.0, 0.0), *options, sums)
        return Likeness.of(device.get(sums).sum(0))

    def halved(self) -> _Level:
        """Return the next coarser level."""
        dtype = self.fixed.dtype
        fixed, moving = (_halved(x, dtype) for x in (self.fixed, self.moving))
        masks = [_halved(x, dtype) for x in (self.fixed_mask, self.moving_mask)]
        return _Level.of(fixed, moving, masks[0], masks[1], 2 * self.scale, self.rounding)

    def arguments(self, matrix: HostArray, gain: float, bias: float) -> tuple[Any, ...]:
        images = self.fixed, self.fixed_spline, self.moving_spline, self.fixed_mask, self.moving_mask
        return *images, *self.shape, *self.moving_shape, *matrix.ravel().tolist(), float(gain), float(bias)

    def residuals(self, matrix: HostArray, gain: float, bias: float) -> HostArray:
        """Return the finite residuals of every `residual_step`-th pixel along both axes. This waits for the GPU."""
        step = residual_step(self.shape)
        rows, columns = (-(-(n - 2) // step) for n in self.shape)
        device = device_of(self.fixed)
        out = device.empty((rows * columns,), np.float64)
        kernel = _kernel("align_residuals", self.fixed.dtype)
        run(device, kernel, blocks_for(out.size), *self.arguments(matrix, gain, bias), step, rows, columns, out)
        residuals = device.get(out)
        return np.asarray(residuals[np.isfinite(residuals)])

    def equations(self, basis: HostArray, comparison: Comparison) -> Equations:
        """Sum up the normal equations of one iteration. This waits for the GPU."""
        matrix, overlap, gain, bias, loss, use, scale, inverse, brightness, crossed, _ = comparison
        perspective = has_perspective(basis, matrix)
        used, across = _features_of(basis, self.shape, brightness, perspective, crossed)
        pairs = [(a, b) for k, a in enumerate(used) for b in used[k:]] + [(a, b) for a in used for b in across]
        tiles = -(-math.prod(self.shape) // THREADS)
        each = -(-tiles // _MOST_PARTS)
        parts, sums = -(-tiles // each), len(pairs) + 2
        device, shares = device_of(self.fixed), THREADS // sums
        rows, totals = device.empty((parts * shares, sums), np.float64), device.empty((sums,), np.float64)
        work = _bits(used), _bits(across), sums, parts, each
        chosen = *overlap.ravel().tolist(), margin_of(self.moving_shape)
        options = *chosen, float(scale), loss, use, inverse, perspective, crossed
        kernel = _kernel("align_equations", self.fixed.dtype)
        run(device, kernel, parts, *self.arguments(matrix, gain, bias), *options, *work, rows)
        run(device, _kernel("align_sum", self.fixed.dtype), sums, rows, parts * shares, sums, totals)
        *products, weight, count = device.get(totals).tolist()
        gram = np.zeros((3 * SIGNALS, 3 * SIGNALS))
        for (a, b), product in zip(pairs, products, strict=True):
            gram[a, b] = gram[b, a] = product
        return equations_of(gram, basis, self.shape, brightness, crossed, weight, count)


def _features_of(
    basis: HostArray, shape: tuple[int, ...], brightness: bool, perspective: bool, crossed: bool
) -> tuple[list[int], list[int]]:
    """Return the features whose products are summed, and those of the other image that these are multiplied with."""
    unused = () if perspective else tuple(3 * k + n for k in (PROJECTED, CROSSED + PROJECTED) for n in range(3))
    used, across = (
        [int(n) for n in np.flatnonzero(combinations(basis, shape, brightness, other).any(0)) if n not in unused]
        for other in (False, True)
    )
    return used, [n for n in across if n >= 3 * CROSSED] if crossed else []


def _bits(features: list[int]) -> int:
    return sum(1 << _FEATURES[n] for n in features)


def _filled(device: Device, x: DeviceArray, mask: DeviceArray | None) -> tuple[DeviceArray, DeviceArray]:
    """Overwrite bad pixels by values between those of their neighbours; return the mask of pixels to ignore too."""
    (height, width), blocks, dtype = x.shape, blocks_for(x.size), x.dtype
    bad, grown, rows = (device.empty(x.shape, t) for t in (bool, bool, np.int64))
    run(device, _kernel("align_bad_pixels", dtype), blocks, x, mask, x.size, bad)
    run(device, _kernel("align_grow", dtype), blocks, bad, height, width, grown)
    parts = -(-height // _ROWS) * width
    run(device, _kernel("align_nearest_rows", dtype), blocks_for(parts), bad, height, width, _ROWS, rows)
    before, after = device.empty(x.shape, dtype), device.empty(x.shape, dtype)
    run(device, _kernel("align_fill", dtype), blocks, x, bad, rows, height, width, before)
    for _ in range(FILLINGS):
        run(device, _kernel("align_smooth", dtype), blocks, before, bad, height, width, after)
        before, after = after, before
    return before, grown


def _halved(x: DeviceArray | None, dtype: Any) -> DeviceArray | None:
    """Return the means of two by two pixels, or mask those of which any is masked."""
    if x is None:
        return None
    device = device_of(x)
    out = device.empty((x.shape[0] // 2, x.shape[1] // 2), x.dtype)
    name = "align_halve_mask" if x.dtype == np.bool_ else "align_halve"
    run(device, _kernel(name, dtype), blocks_for(out.size), x, x.shape[1], *out.shape, out)
    return out


def align(
    fixed: DeviceArray, moving: DeviceArray, mask: DeviceArray | None, moving_mask: DeviceArray | None, *,
    init: HostArray | str | None, options: Options,
) -> Outcome:  # fmt: skip
    """Find the matrix that takes pixels of the fixed image to positions in the moving one."""
    return align_images(_Images(fixed, moving, mask, moving_mask), init, options)


class _Images:
    """Both images."""

    def __init__(
        self, fixed: DeviceArray, moving: DeviceArray, mask: DeviceArray | None, moving_mask: DeviceArray | None
    ) -> None:
        self._originals, self._original_masks = (fixed, moving), (mask, moving_mask)
        self._images, self._masks = [fixed, moving], [mask, moving_mask]
        self.shapes = tuple(fixed.shape), tuple(moving.shape)
        self.dtype: np.dtype[Any] = promoted(fixed.dtype, moving.dtype)

    def without_fixed_pattern(self) -> _Images | None:
        """Return the images with the pixels of a fixed pattern masked in both, None if there is none.

        This waits for the GPU.
        """
        device = device_of(self._images[0])
        fixed, moving = (device.rows(x, x.shape, self.dtype) for x in self._originals)
        pattern = device.empty(self.shapes[0], bool)
        kernel = _kernel("align_fixed_pattern", self.dtype)
        run(device, kernel, blocks_for(pattern.size), fixed, moving, *self.shapes[0], SHARPNESS, pattern)
        if not device.get(pattern.any()):
            return None
        pattern = with_border(pattern)
        return _Images(fixed, moving, *(pattern if mask is None else mask | pattern for mask in self._original_masks))

    def phase_correlation(self) -> HostArray:
        """Return the matrix of the translation at the maximum of the phase correlation."""
        return phase_correlation(*self._images, *self._masks)

    def surveys(self) -> tuple[Survey, Survey]:
        """Survey both images, and keep what is bad of them. This waits for the GPU."""
        device = device_of(self._images[0])
        self._images = [device.rows(x, x.shape, self.dtype) for x in self._images]
        sums = _sums_of(device, list(zip(self._images, self._masks, strict=True)))
        self._have_bad_pixels = [each.bad > 0 for each in sums]
        fixed, moving = (Survey(each.good, each.low, each.high, each.mean) for each in sums)
        return fixed, moving

    def whole(self, units: tuple[Unit, Unit], rounding: float) -> _Level:
        """Return the level of full resolution, with bad pixels filled."""
        device = device_of(self._images[0])
        for k, unit in enumerate(units):
            x, out = self._images[k], device.empty(self.shapes[k], self.dtype)
            kernel = _kernel("align_in_unit", self.dtype)
            run(device, kernel, blocks_for(x.size), x, x.size, unit.factor, unit.pedestal, out)
            self._images[k] = out
            if self._have_bad_pixels[k]:
                self._images[k], self._masks[k] = _filled(device, self._images[k], self._masks[k])
            else:
                self._masks[k] = None
        return _Level.of(self._images[0], self._images[1], self._masks[0], self._masks[1], 1, rounding)


class _Surveyed(NamedTuple):
    """An image, the mask of pixels to ignore, and the mean of the others."""

    pixels: DeviceArray
    mask: DeviceArray | None
    mean: float


def phase_correlation(
    fixed: DeviceArray, moving: DeviceArray, mask: DeviceArray | None = None, moving_mask: DeviceArray | None = None
) -> HostArray:
    """Find the translation from the maximum of the phase correlation, to about a tenth of a pixel."""
    device = device_of(fixed)
    masked = [(device.rows(x, x.shape, promoted(x.dtype)), m) for x, m in ((fixed, mask), (moving, moving_mask))]
    first, second = (_Surveyed(*x, each.mean) for x, each in zip(masked, _sums_of(device, masked), strict=True))
    shapes = tuple(fixed.shape), tuple(moving.shape)
    # NumPy's functions call those of the library of an array
    return definition.phase_correlation(first, second, shapes, _centred, np.fft, device.get)


def _centred(image: _Surveyed, windows: Sequence[HostArray], shape: Shape) -> DeviceArray:
    device = device_of(image.pixels)
    rows, columns = (device.put(window) for window in windows)
    out = device.empty(shape, np.float64)
    kernel, own = _kernel("align_centred", image.pixels.dtype), tuple(image.pixels.shape)
    run(device, kernel, blocks_for(out.size), image.pixels, image.mask, rows, columns, *own, image.mean, *shape, out)
    return out
