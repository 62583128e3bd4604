"""Filter banks on the GPU: products of matrices that never exist in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._cuda.launch.arrays import of_dtype
from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.shapes import filtered_by_bank

__all__ = ["conv2d", "conv2d_vjp"]

register("filter_banks", each("Real", FLOATS))

#: Entries of a product, along each side, that a block computes: as in filter_banks.cu.
_SIDE = 64

#: Windows that are summed to one partial gradient of a weight, and the largest number of partial gradients.
_PART, _MOST_SUMS = 2048, 1 << 24


class _Bank:
    """Images and filters as the arguments of kernels."""

    def __init__(
        self, x: DeviceArray, weight: DeviceArray, stride: tuple[int, ...], padding: tuple[int, ...],
        dilation: tuple[int, ...], groups: int,
    ) -> None:  # fmt: skip
        self.device = device_of(x)
        self.real = promoted(np.result_type(x.dtype, weight.dtype))
        self.x = self.device.rows(x, x.shape, self.real)
        self.filters = self.device.rows(weight, weight.shape, self.real)
        (self.shape,) = filtered_by_bank((x.shape, weight.shape), stride=stride, padding=padding, dilation=dilation)
        self.groups, self.own, self.taken = groups, weight.shape[0] // groups, weight.shape[1]
        self.geometry = (
            *x.shape, len(weight), groups, *weight.shape[2:], *self.shape[2:], padding[0], padding[2], *stride,
            *dilation,
        )  # fmt: skip

    @property
    def windows(self) -> int:
        """Windows of all images."""
        return self.shape[0] * self.shape[2] * self.shape[3]

    def multiply(self, name: str, rows: int, columns: int, *args: Any, parts: int = 1) -> None:
        """Launch a kernel for products of a number of rows and columns, one for each group and part."""
        tiles = parts * self.groups * -(-rows // _SIDE) * -(-columns // _SIDE)
        run(self.device, Kernel.of("filter_banks", name, Real=self.real), blocks_for(tiles, each=1), *args)


def conv2d(
    input: DeviceArray, weight: DeviceArray, bias: DeviceArray | None, *, stride: tuple[int, ...],
    padding: tuple[int, ...], dilation: tuple[int, ...], groups: int,
) -> tuple[DeviceArray]:  # fmt: skip
    """Correlate images (N, C, H, W) with filters (O, C / groups, KH, KW)."""
    bank = _Bank(input, weight, stride, padding, dilation, groups)
    out = bank.device.empty(bank.shape, bank.real)
    offsets = of_dtype(bank.device, bias, bank.real)
    bank.multiply("bank_filter", bank.own, bank.windows, bank.x, bank.filters, offsets, *bank.geometry, out)
    return (out.astype(promoted(input.dtype), copy=False),)


def conv2d_vjp(
    cotangents: tuple[DeviceArray | None], arrays: tuple[DeviceArray, DeviceArray, DeviceArray | None],
    saved: tuple[()], *, stride: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...], groups: int,
) -> tuple[DeviceArray, DeviceArray, DeviceArray | None]:  # fmt: skip
    """Return the gradients with respect to the images, the filters and the bias."""
    (cotangent,), (x, weight, bias) = cotangents, arrays
    bank = _Bank(x, weight, stride, padding, dilation, groups)
    device, real = bank.device, bank.real
    if cotangent is None or bank.windows == 0:
        no_gradient = None if bias is None else device.full(bias.shape, 0, real)
        return device.full(x.shape, 0, real), device.full(weight.shape, 0, real), no_gradient
    by_result = device.rows(cotangent, bank.shape, real)
    by_image = device.empty(x.shape, real)
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    bank.multiply("bank_by_image", bank.taken, pixels, by_result, bank.filters, *bank.geometry, by_image)
    parts = min(-(-bank.windows // _PART), max(_MOST_SUMS // bank.filters.size, 1))
    sums = device.empty((parts, *weight.shape), np.float64)
    size = bank.filters[0].size
    part = parts, -(-bank.windows // parts)
    bank.multiply("bank_by_filters", bank.own, size, bank.x, by_result, *bank.geometry, *part, sums, parts=parts)
    by_bias = None if bias is None else by_result.sum((0, 2, 3), dtype=np.float64).astype(real, copy=False)
    return by_image, sums.sum(0).astype(real, copy=False), by_bias
