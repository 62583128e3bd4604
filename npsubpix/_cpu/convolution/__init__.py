"""Convolution on the host."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.convolution.bytes import correlate_bytes, taps_of
from npsubpix._cpu.convolution.gradients import by_kernel
from npsubpix._cpu.convolution.lines import BAND, correlate_lines
from npsubpix._cpu.convolution.products import correlate_products
from npsubpix._cpu.convolution.rows import correlate_rows
from npsubpix._definitions.borders import extended, folded
from npsubpix._definitions.convolution import (
    PRODUCT,
    dtype_of_weighted_sums,
    is_as_exact_by_fft,
    product_tolerance,
    windows_along,
)
from npsubpix._definitions.dtypes import Rounding, converted, promoted, rounding_to
from npsubpix._definitions.shapes import three_axes

__all__ = ["choose_conv_method", "correlate", "correlate_terms", "correlate_vjp"]

#: Products per pixel above which an FFT, in float64, is cheaper than sums, as measured on 2048 x 2048 pixels.
_FFT_FROM = 1500


#: Columns that see those of the image alone, from which on they are worth a path of their own.
_INSIDE = 64


@dataclass(frozen=True)
class _Plan:
    """Where windows lie: along each of three axes, the pixel that each place within reach copies."""

    places: tuple[HostArray, ...]
    shape: tuple[int, ...]  # of the result
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    @functools.cached_property
    def planes(self) -> HostArray:
        """The plane of the image for each plane of the result and each plane of the kernel."""
        reach = self.places[0].size - (self.shape[0] - 1) * self.stride[0]
        first = np.arange(self.shape[0]) * self.stride[0]
        return np.asarray(self.places[0][first[:, None] + np.arange(0, reach, self.dilation[0])])

    @functools.cached_property
    def inner(self) -> tuple[int, int, int]:
        """Columns that are copied as they are: the first, the one after the last, and the pixel of the first."""
        columns = self.places[2]
        steps = np.flatnonzero(np.diff(columns) != 1)
        edges = np.concatenate([[0], steps + 1, [columns.size]])
        k = int(np.argmax(np.diff(edges)))
        begin, end = int(edges[k]), int(edges[k + 1])
        if columns[begin] < 0:  # -1, 0, 1, ...: the first has no pixel
            begin += 1
        return begin, max(end, begin), int(columns[begin]) if begin < end else 0


@functools.lru_cache(maxsize=64)
def _plan(
    shape: tuple[int, ...],
    sizes: tuple[int, ...],
    mode: str,
    border: str,
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    origin: tuple[int, ...],
) -> _Plan:
    """Place windows along three axes; options may be those of the last axes only."""
    stride, dilation, origin = three_axes(stride, 1), three_axes(dilation, 1), three_axes(origin, 0)
    places, counts = [], []
    for n, k, s, d, o in zip(shape, sizes, stride, dilation, origin, strict=True):
        first, count = windows_along(n, k, mode, s, d, o)
        reached = (count - 1) * s + d * (k - 1) + 1 if count else 0
        counts.append(count)
        places.append(folded(first + np.arange(reached), n, border))
    return _Plan(tuple(places), tuple(counts), stride, dilation)


def _factors(kernel: HostArray) -> tuple[HostArray, HostArray] | None:
    """Return the factors (KD, KH, 1) and (KW,) of a kernel (KD, KH, KW) of rank one; None for any other.

    They are the line and the plane of other axes through the largest weight. These are exact where a singular value
    decomposition is not: halves that will be rounded stay halves.
    """
    flat = kernel.reshape(-1, kernel.shape[2]).astype(np.float64)
    if min(flat.shape) == 1 or not np.isfinite(flat).all() or not flat.any():
        return None
    row, column = np.unravel_index(np.argmax(np.abs(flat)), flat.shape)
    across, along = flat[:, column] / flat[row, column], flat[row]
    tolerance = product_tolerance(kernel.dtype) * float(np.abs(flat).max())
    if np.abs(np.outer(across, along) - flat).max() > tolerance:
        return None
    return across.reshape(*kernel.shape[:2], 1), along


def choose_conv_method(kernel: HostArray, *, stride: tuple[int, ...]) -> str:
    """Return the cheapest method of correlation with a kernel of 1 to 3 axes: direct, separable or fft."""
    full: HostArray = kernel.reshape(three_axes(kernel.shape, 1))
    lines = math.prod(kernel.shape[:-1])
    if full.size > lines + full.size // lines and _factors(full) is not None:
        return "separable"
    return "fft" if full.size >= _FFT_FROM and set(stride) == {1} else "direct"


def _by_fft(x: HostArray, kernel: HostArray, plan: _Plan, fill: float) -> HostArray:
    from scipy.signal import oaconvolve

    padded = extended(x, plan.places, fill)
    spread = np.zeros([(k - 1) * d + 1 for k, d in zip(kernel.shape, plan.dilation, strict=True)], kernel.dtype)
    gaps = [slice(None, None, d) for d in plan.dilation]
    spread[gaps[0], gaps[1], gaps[2]] = kernel
    whole = oaconvolve(padded, spread[None, ::-1, ::-1, ::-1], "valid", axes=(1, 2, 3))
    steps = tuple(slice(None, None, s) for s in plan.stride)
    kept: HostArray = np.asarray(whole)[:, steps[0], steps[1], steps[2]]
    return kept


def _run(
    x: HostArray, kernel: HostArray, plan: _Plan, cval: float, left_out: bool, omit: bool, method: str,
    dtype: np.dtype[Any],
) -> HostArray:  # fmt: skip
    """Correlate images (B, D, H, W) with a kernel (KD, KH, KW)."""
    total = float(np.abs(kernel).sum()) * max(1.0, abs(cval) / 255)  # a fill value counts as a pixel
    whole = not left_out and float(cval).is_integer() and bool((kernel == np.rint(kernel)).all())
    compute = dtype_of_weighted_sums(x.dtype, total, whole, dtype)
    kernel = kernel.astype(compute)
    out = np.empty((x.shape[0], *plan.shape), dtype)
    if out.size == 0:
        return out
    free = method != "separable"
    if method in ("auto", PRODUCT):
        method = choose_conv_method(kernel, stride=plan.stride)
        fill = cval if any((places < 0).any() for places in plan.places) else None
        if method == "fft" and (left_out or omit or not is_as_exact_by_fft(x, kernel, fill, dtype)):
            method = "direct"
    if method == "fft":
        with np.errstate(all="ignore"):  # infinite spectra, and sums beyond the dtype
            return converted(_fft(x.astype(np.float64), kernel.astype(np.float64), plan, cval, left_out, omit), dtype)
    if free and x.dtype.itemsize == 1 and dtype.kind in "iu" and plan.stride[1:] == (1, 1) and not (left_out or omit):
        taps = taps_of(x, kernel, cval, method)
        if taps is not None:
            correlate_bytes(x, taps, kernel.shape[1], plan, cval, out)
            return out
    along, mixed = np.empty((0, 0), compute), bool(kernel.min() < 0 < kernel.max())
    if method == "separable" and (not kernel.any() or kernel.size in (kernel.shape[2], kernel.size // kernel.shape[2])):
        method = "direct"  # a line, which is a product already, or nothing
    if method == "separable":
        factors = _factors(kernel)
        if factors is None:
            raise ValueError("kernel must be of rank one for the separable method")
        kernel, line = (np.ascontiguousarray(f.astype(compute)) for f in factors)
        along = np.tile(line, (len(kernel), 1))
    if not (left_out or omit) and plan.stride[1:] == (1, 1) and x.dtype == compute == dtype:
        inside, edges = _inside(plan, along.shape[1] if along.size else kernel.shape[2])
        if edges.size:
            places = (plan.planes, plan.places[1], inside, edges, plan.dilation)
            if along.size:
                correlate_products.run(out.size * (kernel.size + along.size + 2), x, along, kernel, *places, cval, out)
            else:
                weights = np.ascontiguousarray(kernel)
                correlate_rows.run(out.size * (kernel.size + 2), x, weights, *places, cval, out)
            return out
    correlate_lines.run(
        out.size * (kernel.size + along.size + 4), x, along, np.ascontiguousarray(kernel), plan.planes,
        *plan.places[1:], plan.inner, plan.stride, plan.dilation, cval, left_out, omit, mixed,
        *_limits(dtype, compute), out,
    )  # fmt: skip
    return out


def _inside(plan: _Plan, columns: int) -> tuple[tuple[int, int, int], HostArray]:
    """Return which columns of the result see those of the image alone, see `correlate_rows`, and what others cover.

    There are none where they are not worth their while.
    """
    begin, end, source = plan.inner
    reach = plan.dilation[2] * (columns - 1)
    if end - reach - begin < _INSIDE:
        return (0, 0, 0), np.empty(0, np.intp)
    places = plan.places[2]
    return (begin, end - reach, source), np.concatenate([places[: begin + reach], places[end - reach :]])


def _limits(dtype: np.dtype[Any], compute: np.dtype[Any]) -> tuple[Rounding, HostArray]:
    """Return how sums are rounded to a dtype, and its greatest integer if no float of the sums is that."""
    rounding = rounding_to(dtype, compute)
    greatest = [np.iinfo(dtype).max] if rounding.integer else []
    return rounding, np.array(greatest if greatest and rounding.high < greatest[0] else [], dtype)


def correlate_terms(
    x: HostArray, terms: list[tuple[HostArray, ...]], border: str, cval: float, dtype: np.dtype[Any]
) -> HostArray:
    """Sum the correlations of an image with products of a kernel for each of its axes, in one pass over it.

    Each term counts as planes of a kernel, which are applied to the same planes of the image as those of the others.
    """
    full = [tuple(np.ones(1) for _ in range(3 - x.ndim)) + term for term in terms]
    sizes = tuple(len(line) for line in full[0])
    images = x.reshape((1,) * (4 - x.ndim) + x.shape)
    if x.size == 0:
        return np.empty(x.shape, dtype)
    plan = _plan(images.shape[1:], sizes, "same", border, (1, 1, 1), (1, 1, 1), (0, 0, 0))
    compute = dtype_of_weighted_sums(x.dtype, 1.0)
    weights = np.concatenate([np.multiply.outer(deep, down)[..., None] for deep, down, _ in full]).astype(compute)
    along = np.concatenate([np.tile(line, (sizes[0], 1)) for _, _, line in full]).astype(compute)
    planes = np.ascontiguousarray(np.tile(plan.planes, (1, len(full))))
    out = np.empty(images.shape, dtype)
    correlate_lines.run(
        out.size * (weights.size + along.size + 4), images, along, weights, planes, *plan.places[1:], plan.inner,
        plan.stride, plan.dilation, cval, False, False, False, *_limits(dtype, compute), out,
    )  # fmt: skip
    return out.reshape(x.shape)


def _fft(x: HostArray, kernel: HostArray, plan: _Plan, cval: float, left_out: bool, omit: bool) -> HostArray:
    if not (left_out or omit):
        return _by_fft(x, kernel, plan, cval)
    known = ~np.isnan(x) if omit else np.ones(x.shape, bool)
    fill, absolute = 0.0 if left_out else cval, np.abs(kernel)
    pixels, counted = np.where(known, x, 0).astype(x.dtype), known.astype(x.dtype)
    sums, means = (_by_fft(pixels, weights, plan, fill) for weights in (kernel, absolute))
    parts = _by_fft(counted, absolute, plan, 0.0 if left_out else 1.0)
    gaps = _by_fft(1 - counted, kernel, plan, 1.0 if left_out else 0.0)
    return np.asarray(np.where(parts > 1e-6 * absolute.sum(), sums + gaps * (means / parts), np.nan))


def _channels_first(x: HostArray, channel_axis: int | None) -> HostArray:
    """View an image as (B, D, H, W), with channels first."""
    first = x[None] if channel_axis is None else np.ascontiguousarray(np.moveaxis(x, channel_axis, 0))
    return first.reshape(len(first), *three_axes(first.shape[1:], 1))


def _channels_back(x: HostArray, shape: tuple[int, ...], channel_axis: int | None) -> HostArray:
    """View images (B, D, H, W), each of a shape without the axes that are missing to three, as the image was."""
    if channel_axis is None:
        return x.reshape(shape)
    return np.ascontiguousarray(np.moveaxis(x.reshape(len(x), *shape), 0, channel_axis))


def _weights(kernel: HostArray, flip: bool) -> HostArray:
    """View a kernel as the weights (KD, KH, KW) of a correlation."""
    weights = kernel.reshape(three_axes(kernel.shape, 1))
    return weights[::-1, ::-1, ::-1] if flip else weights


def correlate(
    image: HostArray, kernel: HostArray, *, flip: bool, mode: str, border: str, cval: float, stride: tuple[int, ...],
    dilation: tuple[int, ...], origin: tuple[int, ...], channel_axis: int | None, omit: bool, method: str, dtype: str,
) -> tuple[HostArray]:  # fmt: skip
    """Correlate an image with a kernel, or with the flipped kernel."""
    images, weights = _channels_first(image, channel_axis), _weights(kernel, flip)
    plan = _plan(images.shape[1:], weights.shape, mode, border, stride, dilation, origin)
    out_dtype = np.dtype(dtype) if dtype else image.dtype
    out = _run(images, weights, plan, cval, border == "shrink", omit, method, out_dtype)
    return (_channels_back(out, plan.shape[3 - kernel.ndim :], channel_axis),)


def correlate_vjp(
    cotangents: tuple[HostArray | None], arrays: tuple[HostArray, HostArray], saved: tuple[()], *, flip: bool,
    mode: str, border: str, cval: float, stride: tuple[int, ...], dilation: tuple[int, ...], origin: tuple[int, ...],
    channel_axis: int | None, omit: bool, method: str, dtype: str,
) -> tuple[HostArray, HostArray]:  # fmt: skip
    """Return the gradients with respect to the image and to the kernel."""
    (cotangent,), (x, kernel) = cotangents, arrays
    compute = promoted(x.dtype)
    if cotangent is None or cotangent.size == 0:
        return np.zeros(x.shape, compute), np.zeros(kernel.shape, promoted(kernel.dtype))
    images, weights = _channels_first(x, channel_axis), _weights(kernel, flip)
    plan = _plan(images.shape[1:], weights.shape, mode, border, stride, dilation, origin)
    grad = _channels_first(cotangent, channel_axis).astype(compute, copy=False)
    weights = weights.astype(compute)
    left_out = border == "shrink"
    known = np.isfinite(images) if omit else np.ones(images.shape, bool)
    padded = extended(images.astype(compute), plan.places, 0.0 if left_out else cval)
    if not (left_out or omit):
        by_image = _back_to_image(grad, weights, plan, images.shape)
        by_kernels = _kernel_gradient(padded, grad, weights.shape, plan)
    else:
        seen = extended(known.astype(compute), plan.places, 0.0 if left_out else 1.0)
        padded = np.where(seen > 0, padded, 0)
        by_image, by_kernels = _by_remaining(grad, padded, seen, weights, plan, images.shape)
    by_image[~known] = 0
    own = tuple(n for k, n in enumerate(x.shape) if k != channel_axis)
    of_kernel = _weights(by_kernels, flip).reshape(kernel.shape).astype(promoted(kernel.dtype))
    return _channels_back(by_image, own, channel_axis), of_kernel


def _by_remaining(
    grad: HostArray, padded: HostArray, seen: HostArray, weights: HostArray, plan: _Plan, shape: tuple[int, ...]
) -> tuple[HostArray, HostArray]:
    """Return the gradients where pixels do not count.

    A window is the sum of weights times pixels plus G M / P, where G is the sum of the weights of the pixels that do
    not count, P that of the magnitudes of other weights, and M that of these magnitudes times pixels.
    """
    whole = _plan(seen.shape[1:], weights.shape, "valid", "constant", plan.stride, plan.dilation, (0, 0, 0))
    dtype, absolute = grad.dtype, np.abs(weights)

    def windows(pixels: HostArray, kernel: HostArray) -> HostArray:
        return _run(pixels, kernel, whole, 0.0, False, False, "direct", dtype)

    parts, gaps, means = windows(seen, absolute), windows(1 - seen, weights), windows(padded, absolute)
    with np.errstate(all="ignore"):
        means = np.where(parts > 0, means / parts, 0).astype(dtype)
        shares = np.where(parts > 0, grad * gaps / parts, 0).astype(dtype)
        grad = np.where(parts > 0, grad, 0).astype(dtype)
    by_image = _back_to_image(grad, weights, plan, shape) + _back_to_image(shares, absolute, plan, shape)

    def of_kernel(pixels: HostArray, by_windows: HostArray) -> HostArray:
        return _kernel_gradient(pixels, by_windows, weights.shape, plan)

    by_magnitudes = of_kernel(padded, shares) - of_kernel(seen, shares * means)
    return by_image, of_kernel(padded, grad) + of_kernel(1 - seen, grad * means) + np.sign(weights) * by_magnitudes


def _kernel_gradient(padded: HostArray, grad: HostArray, shape: tuple[int, ...], plan: _Plan) -> HostArray:
    partial = np.zeros((-(-math.prod(grad.shape[:3]) // BAND), *shape))
    work = grad.size * math.prod(shape)
    by_kernel.run(work, padded, np.ascontiguousarray(grad), plan.stride, plan.dilation, partial)
    return np.asarray(partial.sum(0))


def _back_to_image(grad: HostArray, weights: HostArray, plan: _Plan, shape: tuple[int, ...]) -> HostArray:
    """Return the gradient with respect to the image, summed over the copies of each pixel."""
    spread = np.zeros(
        (len(grad), *((n - 1) * s + 1 for n, s in zip(grad.shape[1:], plan.stride, strict=True))), grad.dtype
    )
    steps = tuple(slice(None, None, s) for s in plan.stride)
    spread[:, steps[0], steps[1], steps[2]] = grad
    flipped = np.ascontiguousarray(weights[::-1, ::-1, ::-1])
    whole = _plan(spread.shape[1:], flipped.shape, "full", "constant", (1, 1, 1), plan.dilation, (0, 0, 0))
    back = _run(spread, flipped, whole, 0.0, False, False, "auto", grad.dtype)
    for axis, places in enumerate(plan.places, start=1):
        lines = np.moveaxis(back, axis, 0)
        folded = np.zeros((shape[axis], *lines.shape[1:]), back.dtype)
        np.add.at(folded, places[places >= 0], lines[places >= 0])
        back = np.moveaxis(folded, 0, axis)
    return np.ascontiguousarray(back)
