"""Folds of windows on the GPU: the box of pixels of a block, and the passes in which long windows are joined."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npsubpix._cuda.launch.catalogue import TILE_BYTES
from npsubpix._cuda.launch.devices import Device, blocks_for, run
from npsubpix._cuda.launch.kernels import THREADS, DeviceArray, Kernel

__all__ = ["Along", "Windows", "fold"]

#: Bytes of a part of a window, by the kernels that fold it; 0 for those of the pixels.
_PART_BYTES = {"sums": 0, "extrema": 0, "squares": 32, "moments": 32}

#: Bytes that come from memory at once, of parts side by side.
_SECTOR = 32

#: Pixels that a row of a box costs beside its own: what comes from memory with them.
_ROW = 8

#: Times as much as its results that a pass may load, where there is another way.
_LOADED = 3.0


@dataclass(frozen=True)
class Along:
    """Windows along an axis: pixels; length, start, stride and number of windows."""

    size: int
    window: int = 1
    first: int = 0
    stride: int = 1
    count: int = 1

    @classmethod
    def whole(cls, size: int) -> Along:
        """Take each place of an axis as a window."""
        return cls(size, count=size)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The arguments of kernels."""
        return self.size, self.window, self.first, self.stride, self.count


@dataclass(frozen=True)
class Windows:
    """Where the windows of an image of three axes lie."""

    axes: tuple[Along, Along, Along]
    border: int
    left_out: bool

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of windows along each axis."""
        return tuple(a.count for a in self.axes)

    @property
    def numbers(self) -> tuple[Any, ...]:
        """The arguments of kernels."""
        return *(n for a in self.axes for n in a.numbers), self.border, self.left_out


@functools.lru_cache(maxsize=256)
def _tiles(axes: tuple[Along, Along, Along], room: int) -> tuple[float, tuple[int, ...], tuple[int, ...]]:
    """Choose the box of a block: its cost per result, the places that are loaded, and the results.

    The cost counts loaded pixels, a little extra per row of them, and the block itself. It is infinite if a window
    does not fit.
    """
    choices = [sorted({min(a.count, 2**k) for k in range(13)}) for a in axes]
    best: tuple[float, tuple[int, ...], tuple[int, ...]] = (math.inf, (), ())
    for made in itertools.product(*choices):
        loaded = tuple((m - 1) * a.stride + a.window for m, a in zip(made, axes, strict=True))
        if math.prod(loaded) <= room:
            cost = (loaded[0] * loaded[1] * (loaded[2] + _ROW) + THREADS) / math.prod(made)
            best = min(best, (cost, loaded, made))
    return best


class _Folder:
    """A fold of the windows of an image: its kernels, and their arguments besides windows."""

    def __init__(
        self, device: Device, name: str, real: np.dtype[Any], image: Windows, skipped: DeviceArray | None, fill: Any,
        option: bool,
    ) -> None:  # fmt: skip
        self.device, self.name, self.real, self.skipped = device, name, real, skipped
        self.file = "reductions" if name in ("sums", "extrema") else "moments"
        self.words = _PART_BYTES[name] // 8
        self.bytes = _PART_BYTES[name] or real.itemsize
        self.room = TILE_BYTES // self.bytes
        self.common = (*image.numbers, fill, option)

    def kernel(self, name: str) -> Kernel:
        """Return a kernel of this fold."""
        return Kernel.of(self.file, f"{name}_{self.name}", Real=self.real)

    def parts(self, count: int) -> DeviceArray:
        """Make memory for parts of windows."""
        return (
            self.device.empty((count, self.words), np.float64) if self.words else self.device.empty((count,), self.real)
        )

    def run(
        self, x: DeviceArray | None, parts: DeviceArray | None, windows: Windows, seen: tuple[int, ...],
        axes: tuple[int, ...], unit: int, out: DeviceArray | None,
    ) -> DeviceArray:  # fmt: skip
        """Fold pixels or parts; into `out`, or into parts that are returned."""
        _, loaded, made = _tiles(windows.axes, self.room)
        blocks = math.prod(-(-c // m) for c, m in zip(windows.counts, made, strict=True))
        result = self.parts(math.prod(windows.counts)) if out is None else None
        run(
            self.device, self.kernel("fold"), blocks_for(blocks, each=1), x, self.skipped, parts, *windows.numbers,
            *loaded, *made, *seen, *axes, unit, *self.common, result, out,
        )  # fmt: skip
        return out if out is not None else result

    def join(
        self, parts: DeviceArray, remainder: DeviceArray | None, shape: tuple[int, ...], axis: int, span: int,
        out: DeviceArray | None,
    ) -> DeviceArray:  # fmt: skip
        """Join windows with their remainders; shape is outer axes, places, stride, windows and inner axes."""
        outer, _, _, count, inner = shape
        result = self.parts(outer * count * inner) if out is None else None
        blocks = blocks_for(outer * count * inner)
        run(self.device, self.kernel("join"), blocks, parts, remainder, *shape, axis, span, *self.common, result, out)
        return out if out is not None else result


def _as_box(outer: int, along: Along, inner: int) -> tuple[Along, Along, Along]:
    """Return the axes of a pass along one axis, with others before and after it."""
    if inner == 1:
        return Along.whole(1), Along.whole(outer), along
    return Along.whole(outer), along, Along.whole(inner)


def fold(
    device: Device, name: str, x: DeviceArray, image: Windows, skipped: DeviceArray | None, fill: Any, option: bool,
    out: DeviceArray,
) -> None:  # fmt: skip
    """Fold the windows of an image of three axes to sums, extrema, squares or moments, with `fill` as padding.

    Skipped pixels do not count; but means are divided by the numbers of all pixels.
    """
    folder = _Folder(device, name, x.dtype, image, skipped, fill, option)
    source: tuple[DeviceArray | None, DeviceArray | None] = x, None
    if _is_short(image.axes, folder.room):
        folder.run(*source, image, (1, 1, 1), (0, 1, 2), 1, out)
        return
    folded = [k for k in (2, 1, 0) if image.axes[k] != Along.whole(image.axes[k].size)] or [2]
    for k in folded:
        source = None, _fold_one(folder, source, image, k, out if k == folded[-1] else None)


def _is_short(axes: tuple[Along, Along, Along], room: int) -> bool:
    """Whether all axes are folded in one pass: by one block, or by boxes that load few more places than results."""
    cost, loaded, made = _tiles(axes, room)
    if cost == math.inf:
        return False
    most = _LOADED * math.prod(m * a.stride for m, a in zip(made, axes, strict=True))
    return made == tuple(a.count for a in axes) or math.prod(loaded) <= most


def _fold_one(
    folder: _Folder, source: tuple[DeviceArray | None, DeviceArray | None], image: Windows, axis: int,
    out: DeviceArray | None,
) -> DeviceArray:  # fmt: skip
    """Fold along one axis of an image whose later axes are folded."""
    outer = math.prod(a.size for a in image.axes[:axis])
    inner = math.prod(a.count for a in image.axes[axis + 1 :])
    seen = tuple(a.window if k > axis else 1 for k, a in enumerate(image.axes))
    ends = image.border, image.left_out
    return _fold_axis(folder, source, image.axes[axis], (outer, inner), ends, seen, axis, 1, out)


def _fold_axis(
    folder: _Folder, source: tuple[DeviceArray | None, DeviceArray | None], along: Along, beside: tuple[int, int],
    ends: tuple[int, bool], seen: tuple[int, ...], axis: int, unit: int, out: DeviceArray | None,
) -> DeviceArray:  # fmt: skip
    """Fold along one axis, with axes before and after it; windows that are too long are folded in parts."""
    outer, inner = beside
    most = folder.room // (4 * max(1, min(inner, _SECTOR // folder.bytes)))
    if along.window <= most:
        axes = (0, axis, 0) if inner > 1 else (0, 0, axis)
        windows = Windows(_as_box(outer, along, inner), *ends)
        return folder.run(*source, windows, seen, axes, unit, out)
    fewest = -(-along.window // most)
    count = next((m for m in range(fewest, 2 * fewest) if along.window % m == 0), fewest)
    length = along.window // count
    remainder = along.window - count * length
    # Parts at all places that windows begin at, and as many more as the others of a window, in whole lengths
    reach = (along.count - 1) * along.stride + 1
    lines = -(-reach // length) + count - 1
    every = replace(along, window=length, stride=1, count=lines * length)
    parts = _fold_axis(folder, source, every, beside, ends, seen, axis, unit, None)
    joined = Along(lines, count, 0, 1, lines - count + 1)
    made, around = (None, parts), (outer, length * inner)
    longer = _fold_axis(folder, made, joined, around, (0, True), seen, axis, unit * length, None)
    places = joined.count * length
    more = None
    if remainder:
        last = replace(along, window=remainder, first=along.first + count * length)
        more = _fold_axis(folder, source, last, beside, ends, seen, axis, unit, None)
    shape = outer, places, along.stride, along.count, inner
    return folder.join(longer, more, shape, axis, count * length * unit, out)
