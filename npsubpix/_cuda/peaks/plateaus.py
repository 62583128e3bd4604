"""Plateaus on the GPU: equal pixels are joined to sets, which are examined and decided on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from npsubpix._cuda.launch.arrays import native
from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import Device, blocks_for, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.peaks import CLIPPED

__all__ = ["Plateaus", "mark_plateaus"]

register("plateaus", each("Pixel", ("Int64", "UInt64", *FLOATS)))

#: Codes of plateaus of maxima and of minima, as kernels write them.
_HIGH, _LOW = 5, 6

#: Dtypes that kernels read as they are.
_DTYPES = ("int64", "uint64", "float32", "float64")

#: Rounds of decisions by the whole grid, before one block per image continues with the undecided.
_ROUNDS = 4


#: No index and no distance: the greatest number of 64 bits.
_NONE = np.uint64(2**64 - 1)


class Plateaus(NamedTuple):
    """The sets of equal pixels of a stack, described at their roots."""

    device: Device
    x: DeviceArray
    ends: tuple[int, int] | None  # the least and the greatest value of integers
    stack: tuple[int, ...]
    parents: DeviceArray
    signs: tuple[tuple[DeviceArray, DeviceArray], ...]  # first seeds and states, of maxima and of minima
    ceilings: tuple[DeviceArray, DeviceArray]  # of the highest candidates and of the highest wide plateaus of images

    def _visit(self, name: str, minimum: int, indices: DeviceArray, flags: DeviceArray, *arrays: DeviceArray) -> None:
        """Run a kernel on all pixels, for candidates in memory order and the sets of one sign."""
        images, depth, height, width = self.stack
        count, total = indices.shape[0], images * depth * height * width
        sets = self.parents, *self.signs[minimum], bool(minimum), indices, flags, count
        kernel = Kernel.of("plateaus", f"plateaus_{name}", Pixel=np.float32)
        run(self.device, kernel, blocks_for(total) if count else 0, depth, height, width, total, *sets, *arrays)

    def _sums(self, indices: DeviceArray, flags: DeviceArray) -> tuple[DeviceArray, DeviceArray]:
        count = indices.shape[0]
        sums, bounds = self.device.full((count, 4), 0, np.uint64), self.device.full((count, 6), _NONE, np.uint64)
        for minimum in range(len(self.signs)):
            self._visit("sum", minimum, indices, flags, sums, bounds)
        return sums, bounds

    def _clip(self, name: str, indices: DeviceArray, frames: DeviceArray, flags: DeviceArray, *arguments: Any) -> None:
        """Run a kernel on candidates and the ceilings of images."""
        count = indices.shape[0]
        kernel = Kernel.of("plateaus", f"plateaus_{name}", Pixel=self.x.dtype)
        found = self.x, indices, frames, flags, count
        run(self.device, kernel, blocks_for(count), *found, *self.ceilings, CLIPPED, *arguments)

    def find_ceilings(self, indices: DeviceArray, frames: DeviceArray, flags: DeviceArray) -> None:
        """Find the values at which images are clipped, from all candidates in memory order."""
        self._clip("ceilings", indices, frames, flags, self._sums(indices, flags)[0])

    def described(
        self, indices: DeviceArray, frames: DeviceArray, flags: DeviceArray, axes: int
    ) -> tuple[DeviceArray, DeviceArray]:
        """Return the centres and extents of candidates that are plateaus; NaN and 1 for all others."""
        count = indices.shape[0]
        centres, extents = self.device.empty((count, axes), np.float64), self.device.empty((count, 4), np.int64)
        kernel = Kernel.of("plateaus", "plateaus_describe", Pixel=np.float32)
        arguments = *self._sums(indices, flags), count, axes, *self.stack[1:], centres, extents
        run(self.device, kernel, blocks_for(count), *arguments)
        self._clip("widen", indices, frames, flags, self.ends is not None, *(self.ends or (0, 0)), extents)
        return centres, extents

    def move_to_centres(self, indices: DeviceArray, flags: DeviceArray, codes: DeviceArray) -> None:
        """Have the pixels nearest to the centres stand for the plateaus among candidates in memory order."""
        count = indices.shape[0]
        sums, _ = self._sums(indices, flags)
        shortest, nearest = (self.device.full((count,), _NONE, np.uint64) for _ in range(2))
        kernel = Kernel.of("plateaus", "plateaus_move", Pixel=np.float32)
        for minimum in range(len(self.signs)):
            self._visit("measure", minimum, indices, flags, codes, sums, shortest)
            self._visit("choose", minimum, indices, flags, codes, sums, shortest, nearest)
        for minimum, (firsts, _) in enumerate(self.signs):
            places = indices, flags, count, bool(minimum), (_HIGH, _LOW)[minimum], self.parents, nearest, firsts, codes
            run(self.device, kernel, blocks_for(count), *places)


def mark_plateaus(
    device: Device,
    x: DeviceArray,
    mask: DeviceArray | None,
    stack: tuple[int, ...],
    *,
    window: tuple[int, ...],
    margins: tuple[int, ...],
    thresholds: tuple[Any, ...],
    minima: bool,
    contest: bool,
    codes: DeviceArray,
) -> Plateaus:
    """Write the codes of the first seeds of plateaus in a stack of (images, depth, height, width)."""
    ends = _ends(x.dtype)
    x = native(x, _DTYPES)
    images = x, mask, *stack
    count, blocks = x.size, blocks_for(x.size)
    kernels = {name: Kernel.of("plateaus", f"plateaus_{name}", Pixel=x.dtype) for name in _NAMES}
    parents, pending = device.empty((count,), np.uint64), device.empty((count,), np.uint8)
    run(device, kernels["begin"], blocks, count, parents)
    run(device, kernels["join"], blocks, *images, parents)
    run(device, kernels["flatten"], blocks, count, parents)
    beyond = contest and max(window) > 3
    signs = []
    for code in (_HIGH, _LOW)[: 1 + minima]:  # a set may be a plateau of both: all around it may be masked
        firsts, states = device.empty((count,), np.uint64), device.empty((count,), np.uint8)
        signs.append((firsts, states))
        run(device, kernels["forget"], blocks, count, firsts, states, pending)
        sets = parents, codes, firsts, states, pending
        run(device, kernels["judge"], blocks, *images, *window, *margins, *thresholds, code == _LOW, *sets)
        run(device, kernels["settle"], blocks, count, beyond, code, parents, firsts, states, pending, codes)
        sides = *images, *window, code, parents, firsts, states, pending, codes
        for _ in range(_ROUNDS if beyond else 0):
            open_sets = device.full((stack[0],), 0, np.uint64)
            run(device, kernels["compare"], blocks, *sides)
            run(device, kernels["decide"], blocks, *sides, open_sets)
        if beyond:
            run(device, kernels["contest"], blocks_for(stack[0], each=1), *sides, open_sets)
    tops, wide = (device.full((2 * stack[0],), _NONE, np.uint64) for _ in range(2))
    return Plateaus(device, x, ends, stack, parents, tuple(signs), (tops, wide))


def _ends(dtype: Any) -> tuple[int, int] | None:
    """Return the least and the greatest value of a dtype of integers, as the bits of one of 64 bits."""
    if np.dtype(dtype).kind not in "iu":
        return None
    info = np.iinfo(dtype)
    return int(info.min), (int(info.max) + 2**63) % 2**64 - 2**63


_NAMES = ("begin", "join", "flatten", "forget", "judge", "settle", "compare", "decide", "contest")
