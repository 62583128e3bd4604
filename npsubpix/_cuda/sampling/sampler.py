"""Images and positions on the GPU, and the kernels that sample them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from npsubpix._cuda.launch.arrays import of_dtype
from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.definitions import SAMPLING_METHODS
from npsubpix._cuda.launch.devices import blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._cuda.sampling.splines import padded, spline_coefficients, spline_coefficients_vjp, unpadded
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.sampling.borders import BORDER_RULES, without_pixels
from npsubpix._definitions.sampling.layout import grid_scaling
from npsubpix._definitions.sampling.methods import TABLE_PARTS, TABLE_WEIGHT, USER_WEIGHT, Weighting
from npsubpix._definitions.sampling.splines import prefilter_padding, spline_degree

__all__ = ["DeviceSampler", "Positions"]

register("sampling", each("Real", FLOATS))
register("tables", each("Real", FLOATS))

#: Kernels for windows of few pixels, and of weights that are functions of the distance; those for any window do
#: everything else.
_SPECIAL = frozenset(
    f"sample_{name}_{window}"
    for window, names in (
        ("linear2", ("values", "gradients", "pulls", "spread")),
        ("linear3", ("values", "gradients", "pulls", "spread")),
        ("cubic2", ("values", "gradients", "pulls")),
        ("wide", ("values", "gradients", "second_pulls", "spread")),
    )
    for name in names
)

#: Parts of an array whose largest magnitudes are sought in parallel.
_PARTS = 1024

#: Most bits that a single sample takes of each of the two integers of a sum of image cotangents.
_MOST_BITS = 40


def _window_name(weighting: Weighting, axes: int) -> str:
    """Name the kernels for the window of a method."""
    if weighting.name == TABLE_WEIGHT or weighting.reach > 1:
        return "wide"
    if weighting.name == "linear" and axes > 1:
        return f"linear{axes}"
    return "cubic2" if weighting.pixels == 4 and axes == 2 else "any"


class Positions:
    """Positions as they are in memory: (B, A, N) in pixels, or a grid (B, N, A) of normalized (x, y, z).

    A grid comes with the shape of its images, and whether the centres of their corners are at -1 and 1.
    """

    def __init__(self, coords: DeviceArray, grid_shape: tuple[int, ...] = (), align_corners: bool = False) -> None:
        floats = coords if coords.dtype.kind == "f" else coords.astype(np.float64)
        self.coords = device_of(coords).rows(floats, floats.shape, promoted(floats.dtype))
        self.batch = coords.shape[0]
        self.is_grid = bool(grid_shape)
        self.axes, self.count = (coords.shape[2], coords.shape[1]) if self.is_grid else coords.shape[1:]
        self.steps = (self.axes, 1) if self.is_grid else (1, self.count)
        self.factors, self.offsets = (1.0,) * self.axes, (0.0,) * self.axes
        if self.is_grid:
            self.factors, self.offsets = grid_scaling(grid_shape, align_corners)

    def arguments(self, padding: int) -> tuple[Any, ...]:
        """Return the arguments of kernels, for images with this padding."""
        single = self.coords.dtype == np.float32
        missing = 3 - self.axes
        offsets = tuple(offset + padding for offset in self.offsets)
        return (
            self.coords if single else None, None if single else self.coords, self.count, *self.steps, self.is_grid,
            *(0.0,) * missing, *self.factors, *(0.0,) * missing, *offsets,
        )  # fmt: skip


class _Launcher:
    """Images as the kernels of a method take them, padded and filtered if it needs that, and launches of kernels."""

    def __init__(self, sampler: DeviceSampler, weighting: Weighting) -> None:
        if weighting.name == USER_WEIGHT:
            raise TypeError(
                "a weight that is a Python function runs on the host only: give WeightedNearest the name of a weight, "
                "or a table of its values, or move the arrays to the host"
            )
        self.device, self.real, self.positions = sampler.device, sampler.real, sampler.positions
        self.shape, self.axes, self.mode = sampler.images.shape, self.positions.axes, sampler.mode
        self.pixels_per_axis, self.table = weighting.pixels, sampler.table_of(weighting)
        self.window = _window_name(weighting, self.axes)
        self.degree = spline_degree(weighting.name) if sampler.prefilter else 0
        self.padding = prefilter_padding(self.degree, self.mode)
        images = self.device.rows(sampler.images, self.shape, self.real)
        if self.padding:
            images = padded(self.device, images, self.axes, self.padding, self.mode == "grid-constant", sampler.cval)
        self.padded = images
        if self.degree:
            images = spline_coefficients(self.device, images, self.degree, self.mode, self.axes)
        geometry = *images.shape[:2], self.axes, *(1,) * (3 - self.axes), *images.shape[2:]
        samples = 0 if self.table is None else self.table.size
        method = SAMPLING_METHODS[weighting.name], self.table, samples, weighting.reach, *BORDER_RULES[self.mode]
        self.arguments = images, *geometry, *self.positions.arguments(self.padding), *method, sampler.cval

    def kernel(self, name: str) -> Kernel:
        return Kernel.of("sampling", name, Real=self.real)

    def has_special(self, name: str) -> bool:
        return f"sample_{name}_{self.window}" in _SPECIAL

    def run(self, name: str, *args: Any) -> None:
        """Launch a kernel with a thread for each position."""
        blocks = blocks_for(self.positions.batch * self.positions.count)
        kernel = self.kernel(f"sample_{name}_{self.window if self.has_special(name) else 'any'}")
        run(self.device, kernel, blocks, *self.arguments, *args)

    def empty(self, *leading: int) -> DeviceArray:
        """Make an array with an element for each position."""
        return self.device.empty((*leading, self.positions.count), self.real)

    def image_cotangent(
        self, values_cotangent: DeviceArray | None, gradient_cotangent: DeviceArray | None
    ) -> DeviceArray:
        """Return the cotangent of images: sums of integers, which do not depend on the order of threads."""
        count = math.prod(self.padded.shape)
        device = self.device
        most = max(self.positions.count * self.pixels_per_axis**self.axes, 1)  # terms of the sum for a single pixel
        bits = min(_MOST_BITS, 62 - most.bit_length())
        unit = device.empty((1,), np.float64)
        largest = device.full((2, _PARTS), 0.0, np.float64)
        if self.window == "wide":
            run(
                device, self.kernel("sample_largest_terms_wide"), _PARTS, *self.arguments, values_cotangent,
                gradient_cotangent, _PARTS, largest[0],
            )  # fmt: skip
        for k, cotangent in enumerate((values_cotangent, gradient_cotangent)):
            if cotangent is not None and self.window != "wide":
                parts = min(_PARTS, blocks_for(cotangent.size))
                run(device, self.kernel("sample_largest"), parts, cotangent, cotangent.size, parts, largest[k])
        run(device, self.kernel("sample_unit"), 1, largest, 2 * _PARTS, bits, unit)
        sums, nonfinite = device.full((count, 2), 0, np.uint64), device.full((count,), 0, np.uint32)
        self.run("spread", values_cotangent, gradient_cotangent, unit, bits, sums, nonfinite)
        cotangent = device.empty(self.padded.shape, self.real)
        run(
            device, self.kernel("sample_collect"), blocks_for(count), sums, nonfinite, unit, bits, count, cotangent
        )  # fmt: skip
        if self.degree:
            cotangent = spline_coefficients_vjp(device, cotangent, self.padded, self.degree, self.mode, self.axes)
        if self.padding:
            constant = self.mode == "grid-constant"
            cotangent = unpadded(device, cotangent, self.shape, self.axes, self.padding, constant)
        return cotangent

    def table_cotangent(
        self, values_cotangent: DeviceArray | None, gradient_cotangent: DeviceArray | None
    ) -> DeviceArray:
        """Return the cotangent of the table, in float64."""
        assert self.table is not None
        samples, sums = self.table.size, self.device.empty((TABLE_PARTS, self.table.size), np.float64)
        kernel = Kernel.of("tables", "sample_table_pulls", Real=self.real)
        cotangents = values_cotangent, gradient_cotangent
        run(self.device, kernel, TABLE_PARTS, *self.arguments, *cotangents, TABLE_PARTS, sums)
        out = self.device.empty((samples,), np.float64)
        kernel = Kernel.of("tables", "sample_table_sums", Real=self.real)
        run(self.device, kernel, blocks_for(samples), sums, TABLE_PARTS, samples, out)
        return out


class DeviceSampler:
    """Images (B, C, ...) and positions, with a border extension: the GPU's `Sampler`.

    Cotangents of positions have the layout of these in memory. Those of the tables of a call are summed as cotangents
    are pulled back.
    """

    def __init__(
        self, images: DeviceArray, positions: Positions, mode: str, cval: float, prefilter: bool,
        tables: Sequence[DeviceArray | None] = (),
    ) -> None:  # fmt: skip
        self.images, self.positions, self.device = images, positions, device_of(images)
        self.mode, self.cval, self.prefilter = mode, float(cval), prefilter
        self.real = promoted(images.dtype)
        self.has_pixels = 0 not in images.shape[2:]
        self._tables = [None if t is None else self.device.rows(t, t.shape, self.real) for t in tables]
        self._table_cotangents = [None if t is None else self.device.full(t.shape, 0.0, np.float64) for t in tables]

    def table_of(self, weighting: Weighting) -> DeviceArray | None:
        """Return the table of a method, if it has one."""
        return self._tables[weighting.table] if weighting.name == TABLE_WEIGHT else None

    def table_cotangents(self) -> list[DeviceArray | None]:
        """Return the cotangents of the tables."""
        return self._table_cotangents

    def sample(self, weighting: Weighting, with_gradient: bool) -> tuple[DeviceArray, DeviceArray | None]:
        """Return values (B, C, N) and, if wanted, gradients (B, A, C, N)."""
        batch, channels = self.images.shape[:2]
        if not self.has_pixels:
            shape, (value, slope) = (channels, self.positions.count), without_pixels(self.mode, self.cval)
            gradients = self.device.full((batch, self.positions.axes, *shape), slope, self.real)
            return self.device.full((batch, *shape), value, self.real), gradients if with_gradient else None
        launcher = _Launcher(self, weighting)
        values = launcher.empty(batch, channels)
        if not with_gradient:
            launcher.run("values", values)
            return values, None
        gradient = launcher.empty(batch, self.positions.axes, channels)
        launcher.run("gradients", values, gradient)
        return values, gradient

    def pull_back(
        self, weighting: Weighting, values_cotangent: DeviceArray | None, gradient_cotangent: DeviceArray | None
    ) -> tuple[DeviceArray, DeviceArray]:
        """Return the cotangents of images (B, C, ...) and of positions."""
        coords = self.positions.coords
        if not self.has_pixels or (values_cotangent is None and gradient_cotangent is None):
            return self.device.full(self.images.shape, 0, self.real), self.device.full(coords.shape, 0, self.real)
        launcher = _Launcher(self, weighting)
        values_cotangent = of_dtype(self.device, values_cotangent, self.real)
        gradient_cotangent = of_dtype(self.device, gradient_cotangent, self.real)
        coords_cotangent = self.device.empty(coords.shape, self.real)
        if gradient_cotangent is None and launcher.has_special("pulls"):
            launcher.run("pulls", values_cotangent, coords_cotangent)
        else:
            launcher.run("second_pulls", values_cotangent, gradient_cotangent, coords_cotangent)
        if launcher.table is not None:
            self._table_cotangents[weighting.table] += launcher.table_cotangent(values_cotangent, gradient_cotangent)
        return launcher.image_cotangent(values_cotangent, gradient_cotangent), coords_cotangent

    def is_longer(self, gradient: DeviceArray, threshold: float) -> DeviceArray:
        """Return whether the gradient of any channel is longer than a threshold: (B, N)."""
        batch, axes, channels, count = gradient.shape
        longer = self.device.empty((batch, count), bool)
        kernel = Kernel.of("sampling", "sample_steep", Real=gradient.dtype)
        blocks = blocks_for(longer.size)
        run(self.device, kernel, blocks, gradient, batch, axes, channels, count, float(threshold), longer)
        return longer

    def choose(
        self, condition: DeviceArray, inside: DeviceArray | None, outside: DeviceArray | None
    ) -> DeviceArray | None:
        """Take (B, ..., N) from one array or the other by a condition (B, N), 0 for one that is None."""
        like = inside if inside is not None else outside
        if like is None:
            return None
        out = self.device.empty(like.shape, like.dtype)
        rows = math.prod(like.shape[1:-1])
        kernel = Kernel.of("sampling", "sample_choose", Real=like.dtype)
        geometry = like.shape[0], rows, like.shape[-1]
        run(self.device, kernel, blocks_for(like.size), condition, inside, outside, *geometry, out)
        return out
