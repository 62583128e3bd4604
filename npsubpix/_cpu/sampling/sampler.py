"""Images and positions on the host, and the kernels that sample them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.jit import Kernel
from npsubpix._cpu.sampling.splines import bad_pixels, spline_coefficients, spline_coefficients_vjp
from npsubpix._cpu.sampling.tables import table_vjp_kernel
from npsubpix._cpu.sampling.user_weights import functions_of
from npsubpix._cpu.sampling.values import gradient_kernel, value_kernel
from npsubpix._cpu.sampling.values_vjp import vjp_kernel
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.sampling.borders import BORDER_RULES, without_pixels
from npsubpix._definitions.sampling.methods import TABLE_PARTS, TABLE_WEIGHT, USER_WEIGHT, Weighting
from npsubpix._definitions.sampling.splines import prefilter_padding, spline_degree

__all__ = ["HostSampler"]


class _Pixels:
    """Images (B, C, ...) as the kernels of a method take them: padded and filtered if it needs that, with three axes.

    Axes that an image does not have are of one pixel.
    """

    def __init__(self, images: HostArray, axes: int, degree: int, mode: str, cval: float) -> None:
        self.shape, self.axes, self.degree, self.mode = images.shape, axes, degree, mode
        self.padding = prefilter_padding(degree, mode)
        dtype = promoted(images.dtype)
        if self.padding:
            widths = [(0, 0)] * (images.ndim - axes) + [(self.padding, self.padding)] * axes
            fill: dict[str, Any] = {"mode": "edge"} if mode == "nearest" else {"constant_values": cval}
            images = np.pad(images.astype(dtype, copy=False), widths, **fill)
        self.padded = images
        if degree:
            images = spline_coefficients(images, degree, mode, axes, dtype)
        self.size = (1,) * (3 - axes) + images.shape[2:]
        self.array = images.reshape(*images.shape[:2], *self.size)

    def pull_back(self, cotangent: HostArray) -> HostArray:
        """Return the cotangent of the images, from that of the array that kernels got."""
        cotangent = cotangent.reshape(self.padded.shape)
        if self.degree:
            bad = bad_pixels(self.padded)
            cotangent = spline_coefficients_vjp(cotangent, self.degree, self.mode, self.axes, bad)
        for axis in range(2, cotangent.ndim) if self.padding else ():
            lines = np.moveaxis(cotangent, axis, 0)
            inner = lines[self.padding : -self.padding].copy()
            if self.mode == "nearest":
                inner[0] += lines[: self.padding].sum(0)
                inner[-1] += lines[-self.padding :].sum(0)
            cotangent = np.moveaxis(inner, 0, axis)
        return cotangent.reshape(self.shape)


def _table_kernel(name: str, reach: int) -> Kernel:
    return table_vjp_kernel(reach)


def _along(axes: int, factory: Callable[[str, int, int], Kernel]) -> Callable[[str, int], Kernel]:
    return lambda name, reach: factory(name, reach, axes)


def _run(
    factory: Callable[[str, int], Kernel], weighting: Weighting, table: HostArray | None, work: int,
    before: tuple[Any, ...], after: tuple[Any, ...],
) -> Any:  # fmt: skip
    """Run a kernel of a method, whose arguments hold the addresses of functions or samples between others."""
    addresses = 0, 0, 0
    if weighting.name == USER_WEIGHT:
        weight, derivative, numbers = functions_of(weighting)  # the numbers stay for as long as the call
        addresses = weight, derivative, numbers.ctypes.data
    elif table is not None:
        addresses = table.ctypes.data, table.size, 0
    return factory(weighting.name, weighting.reach).run(work, *before, addresses, *after)


class HostSampler:
    """Images (B, C, ...) and positions (B, A, N), with a border extension: the host's `Sampler`.

    Cotangents of the tables of a call are summed as cotangents are pulled back.
    """

    def __init__(
        self, images: HostArray, positions: HostArray, mode: str, cval: float, prefilter: bool,
        tables: Sequence[HostArray | None] = (),
    ) -> None:  # fmt: skip
        self.images, self.mode, self.cval, self.prefilter = images, mode, float(cval), prefilter
        self.positions = positions if positions.dtype.kind == "f" else positions.astype(np.float64)
        self.batch, self.axes, self.count = positions.shape
        self.channels, self.dtype = images.shape[1], promoted(images.dtype)
        self.has_pixels = 0 not in images.shape[2:]
        self._tables = [None if t is None else np.ascontiguousarray(t, self.dtype) for t in tables]
        self._table_cotangents = [None if t is None else np.zeros(t.size) for t in tables]

    def _pixels(self, weighting: Weighting) -> _Pixels:
        degree = spline_degree(weighting.name) if self.prefilter else 0
        return _Pixels(self.images, self.axes, degree, self.mode, self.cval)

    def _coords(self, padding: int) -> HostArray:
        return self.positions + self.positions.dtype.type(padding) if padding else self.positions

    def _work(self, weighting: Weighting, count: int) -> int:
        return int(10 + 2 * weighting.pixels**self.axes) * count

    def _table(self, weighting: Weighting) -> HostArray | None:
        return self._tables[weighting.table] if weighting.name == TABLE_WEIGHT else None

    def table_cotangents(self) -> list[HostArray | None]:
        """Return the cotangents of the tables."""
        return self._table_cotangents

    def sample(self, weighting: Weighting, with_gradient: bool) -> tuple[HostArray, HostArray | None]:
        """Return values (B, C, N) and, if wanted, gradients (B, A, C, N)."""
        if not self.has_pixels:
            shape, (value, slope) = (self.batch, self.channels, self.count), without_pixels(self.mode, self.cval)
            gradients = np.full((self.batch, self.axes, *shape[1:]), slope, self.dtype) if with_gradient else None
            return np.full(shape, value, self.dtype), gradients
        pixels = self._pixels(weighting)
        values = np.empty((self.batch, self.channels, self.count), self.dtype)
        work = self._work(weighting, values.size)
        coords, rules = self._coords(pixels.padding), BORDER_RULES[self.mode]
        before, table = (pixels.array, coords, rules, self.cval), self._table(weighting)
        if not with_gradient:
            _run(_along(self.axes, value_kernel), weighting, table, work, before, (values,))
            return values, None
        gradient = np.empty((self.batch, self.axes, self.channels, self.count), self.dtype)
        _run(_along(self.axes, gradient_kernel), weighting, table, 2 * work, before, (values, gradient))
        return values, gradient

    def pull_back(
        self, weighting: Weighting, values_cotangent: HostArray | None, gradient_cotangent: HostArray | None
    ) -> tuple[HostArray, HostArray]:
        """Return the cotangents of images (B, C, ...) and of positions (B, A, N)."""
        if not self.has_pixels or (values_cotangent is None and gradient_cotangent is None):
            return np.zeros(self.images.shape, self.dtype), np.zeros(self.positions.shape, self.dtype)
        pixels = self._pixels(weighting)
        flat = pixels.array.reshape(self.batch, self.channels, math.prod(pixels.size))
        image_cotangent, coords_cotangent = np.empty(flat.shape, self.dtype), np.empty(self.positions.shape, self.dtype)
        table = self._table(weighting)
        before = flat, pixels.size, self._coords(pixels.padding), BORDER_RULES[self.mode], self.cval
        cotangents = (
            # contiguous, as eight are read at once: torch gives one number that is expanded
            np.empty((0, 0, 0), self.dtype) if values_cotangent is None else np.ascontiguousarray(values_cotangent),
            np.empty((0, 0, 0, 0), self.dtype) if gradient_cotangent is None else gradient_cotangent,
        )
        work = 4 * self._work(weighting, self.channels * self.positions.size)
        unknown = _run(vjp_kernel, weighting, table, work, before, (*cotangents, image_cotangent, coords_cotangent))
        if unknown and gradient_cotangent is None and values_cotangent is not None:
            self._pull_unknown(weighting, pixels, values_cotangent, coords_cotangent)
        if table is not None:
            parts = np.empty((TABLE_PARTS, table.size))
            _run(_table_kernel, weighting, table, work, before, (*cotangents, parts))
            self._table_cotangents[weighting.table] += parts.sum(0)
        return pixels.pull_back(image_cotangent), coords_cotangent

    def _pull_unknown(
        self, weighting: Weighting, pixels: _Pixels, values_cotangent: HostArray, coords_cotangent: HostArray
    ) -> None:
        """Replace cotangents of finite positions that are NaN: a NaN does not count where its factor is 0."""
        unknown = np.isnan(coords_cotangent).any(1) & np.isfinite(self.positions).all(1)
        for b in np.flatnonzero(unknown.any(1)):
            places = np.flatnonzero(unknown[b])
            coords = np.ascontiguousarray(self._coords(pixels.padding)[b : b + 1, :, places])
            values = np.empty((1, self.channels, places.size), self.dtype)
            gradient = np.empty((1, self.axes, self.channels, places.size), self.dtype)
            before = pixels.array[b : b + 1], coords, BORDER_RULES[self.mode], self.cval
            work = 2 * self._work(weighting, values.size)
            factory, table = _along(self.axes, gradient_kernel), self._table(weighting)
            _run(factory, weighting, table, work, before, (values, gradient))
            factors = values_cotangent[b][:, places]
            with np.errstate(invalid="ignore"):  # 0 times infinity
                coords_cotangent[b][:, places] = np.where(factors == 0, 0, factors * gradient[0]).sum(1)

    def is_longer(self, gradient: HostArray, threshold: float) -> HostArray:
        """Return whether the gradient of any channel is longer than a threshold: (B, N)."""
        longer: HostArray = (np.sqrt((gradient.astype(np.float64) ** 2).sum(1)) > threshold).any(1)
        return longer

    def choose(self, condition: HostArray, inside: HostArray | None, outside: HostArray | None) -> HostArray | None:
        """Take (B, ..., N) from one array or the other by a condition (B, N), 0 for one that is None."""
        like = inside if inside is not None else outside
        if like is None:
            return None
        zero = np.zeros((), like.dtype)
        along = condition.reshape(condition.shape[0], *(1,) * (like.ndim - 2), condition.shape[1])
        return np.where(along, zero if inside is None else inside, zero if outside is None else outside)
