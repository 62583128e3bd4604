"""Peaks that refinement moved to the place of a stronger one, on the GPU."""

from __future__ import annotations

import numpy as np

from npsubpix._cuda.launch.devices import Device, blocks_for, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel

__all__ = ["flag_duplicates", "sorted_rows", "unique_rows"]

_ALL = 2**62  # more rows than there are


def _run(device: Device, name: str, count: int, *arguments: object) -> None:
    kernel = Kernel.of("candidates", f"candidates_{name}", Real=np.float64)
    run(device, kernel, blocks_for(count), *arguments)


def sorted_rows(device: Device, groups: DeviceArray, majors: DeviceArray, minors: DeviceArray) -> DeviceArray:
    """Return the order of rows by ascending groups and descending keys; equal ones in their order."""
    count = groups.shape[0]
    rows, length = None, 1
    while rows is None or length < count:
        merged = device.empty((count,), np.int64)
        _run(device, "merge", count, groups, majors, minors, count, length, rows, merged)
        rows, length = merged, 2 * length
    return rows


def flag_duplicates(
    device: Device, coords: DeviceArray, flags: DeviceArray, frames: DeviceArray, shape: tuple[int, ...], wrap: bool
) -> None:
    """Flag the peaks whose place a stronger one of the image has too; maxima and minima do not interact.

    Rows are image by image, the strongest first. Only rows that were refined count. In a periodic image distances
    are those to the nearest repetition.
    """
    count, axes = coords.shape
    depth, height, width = (1, *shape)[-3:]
    lines, columns = device.empty((count,), np.int64), device.empty((count,), np.uint64)
    _run(device, "lines", count, coords, flags, frames, count, axes, depth, height, lines, columns)
    rows = sorted_rows(device, lines, columns, device.full((count,), 0, np.uint64))
    _run(device, "duplicates", count, rows, lines, frames, coords, count, axes, depth, height, width, wrap, flags)


def unique_rows(
    device: Device, flags: DeviceArray, frames: DeviceArray, counts: DeviceArray, num_peaks: int | None
) -> DeviceArray:
    """Return the rows that are no duplicates, at most `num_peaks` per image. Waits for the GPU."""
    count, images = flags.shape[0], counts.shape[0]
    kept, totals = device.empty((count,), np.int64), device.empty((images,), np.int64)
    _run(device, "unique", count, flags, count, kept)
    sums, ends = kept.cumsum(), counts.cumsum()
    _run(device, "totals", images, sums, ends, images, _ALL if num_peaks is None else num_peaks, totals)
    kept_ends = totals.cumsum()
    rows = device.empty((int(kept_ends[-1:].tolist()[0]),), np.int64)  # the wait
    _run(device, "keep", count, kept, sums, frames, ends, kept_ends, count, rows)
    return rows
