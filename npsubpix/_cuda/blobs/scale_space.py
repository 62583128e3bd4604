"""Scale spaces on the GPU: levels stay there, and extrema with their neighbours, which are few, go to the host.

The host waits for the GPU three times per level: for the number of extrema in each part of the image, for their
places, and for their neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._cuda.blobs.filters import sum_of_terms
from npsubpix._cuda.launch.catalogue import each, register
from npsubpix._cuda.launch.devices import Device, blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.blob_search import BlobSearch, find_in_stack
from npsubpix._definitions.scale_space import FIRST, LAPLACIAN

__all__ = ["DeviceOps", "find_blobs", "respond_level", "smooth_level"]

register("blobs", each("Pixel", ("float",)))

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Pixels that one thread searches, one after the other.
_PART = 128


class DeviceOps:
    """Arrays of a GPU, and what a search for blobs does with them."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def _run(self, name: str, work: int, *arguments: Any) -> None:
        run(self.device, Kernel.of("blobs", name, Pixel=np.float32), blocks_for(work), *arguments)

    def smooth(self, x: DeviceArray, lines: tuple[tuple[float, ...], ...]) -> DeviceArray:
        """Correlate an image with the product of lines of weights."""
        return sum_of_terms(x, [(np.ones(1),) * (3 - len(lines)) + tuple(map(np.array, lines))], "reflect", 0.0)

    def shrink(self, x: DeviceArray, factors: tuple[int, ...]) -> DeviceArray:
        """Keep the pixels whose places are multiples of factors."""
        d, h, w = (1,) * (3 - len(factors)) + tuple(factors)
        kept = x[::d, ::h, ::w]
        return self.device.rows(kept, kept.shape, x.dtype)

    def subtract(self, x: DeviceArray, y: DeviceArray) -> DeviceArray:
        """Return the difference of two images, in the memory of the first."""
        x -= y
        return x

    def respond(self, x: DeviceArray, method: str, factors: tuple[float, ...]) -> DeviceArray:
        """Return the Laplacian, or the determinant of the Hessian, in units of the width, positive at bright blobs."""
        out = self.device.empty(x.shape, np.float32)
        three = (0.0,) * (3 - len(factors)) + tuple(float(f) for f in factors)
        weights = self.device.put(np.array([*LAPLACIAN, *FIRST]))
        name = "blob_laplacian" if method == "log" else "blob_hessian"
        self._run(name, x.size, x, *x.shape, *three, weights, out)
        return out

    def extrema(self, levels: list[DeviceArray], low: float, sign: int) -> Integers:
        """Return the places of pixels of the middle level that exceed `low` and all neighbours, times a sign."""
        x = levels[1]
        parts = -(-x.size // _PART)
        arguments = (*levels, *x.shape, float(sign), float(np.float32(low)), _PART)
        counts = self.device.empty((parts,), np.int64)
        self._run("blob_extrema", parts, *arguments, None, None, counts)
        ends = np.cumsum(self.device.get(counts))
        total = int(ends[-1]) if parts else 0
        if total == 0:
            return np.empty(0, np.int64)
        places = self.device.empty((total,), np.int64)
        starts = self.device.put(np.concatenate([[0], ends[:-1]]).astype(np.int64))
        self._run("blob_extrema", parts, *arguments, starts, places, None)
        return np.asarray(self.device.get(places), np.int64)

    def gather(self, levels: list[DeviceArray], places: Integers) -> Floats:
        """Return the neighbours of places, of shape (N, 3, 3, 3, 3), those beyond the image as they are at its end."""
        out = self.device.empty((places.size, 3, 3, 3, 3), np.float32)
        self._run(
            "blob_neighbours", out.size, *levels, *levels[0].shape, self.device.put(places), places.size, out
        )  # fmt: skip
        return np.asarray(self.device.get(out), np.float64)

    def rows(self, x: DeviceArray, numbers: Integers) -> npt.NDArray[Any]:
        """Return rows of an image, by their numbers, of any shape, in the image of shape (D * H, W)."""
        found = x.reshape(-1, x.shape[2])[self.device.put(numbers.reshape(-1))]
        return np.asarray(self.device.get(found)).reshape(*numbers.shape, x.shape[2])

    def values(self, x: DeviceArray, places: Integers) -> Floats:
        """Return pixels by their places in memory."""
        return np.asarray(self.device.get(x.reshape(-1)[self.device.put(places)]), np.float64)

    def range_of(self, x: DeviceArray) -> tuple[float, float]:
        """Return the least and the greatest pixel."""
        return float(x.min()), float(x.max())

    def scaled(self, x: DeviceArray, offset: float, factor: float) -> DeviceArray:
        """Subtract an offset and multiply by a factor, to float32."""
        if x.dtype == np.float32:
            return (x - np.float32(offset)) * np.float32(factor)
        return ((x.astype(np.float64) - offset) * factor).astype(np.float32)

    def gaps_of(self, x: DeviceArray, mask: DeviceArray | None) -> DeviceArray | None:
        """Return where pixels are masked or not finite; None if none are."""
        gaps = mask
        if x.dtype.kind == "f":
            missing = ~(x - x == 0)
            gaps = missing if mask is None else missing | mask
        return gaps if gaps is not None and bool(gaps.any()) else None

    def near_gaps(self, gaps: DeviceArray, pixels: Integers, reach: Integers) -> tuple[Any, Any]:
        """Return which pixels are gaps, and which have one within reach."""
        count, axes = pixels.shape
        shape = (1,) * (3 - axes) + tuple(gaps.shape)
        wide = [
            self.device.put(np.concatenate([np.zeros((count, 3 - axes), np.int64), x], axis=1)) for x in (pixels, reach)
        ]
        codes = self.device.empty((count,), np.uint8)
        self._run("blob_gaps", count, self.device.rows(gaps, gaps.shape, bool), *shape, *wide, count, codes)
        found = self.device.get(codes)
        return (found & 1) > 0, (found & 2) > 0

    def put(self, x: Any, dtype: Any) -> DeviceArray:
        """Copy an array of the host."""
        return self.device.put(np.ascontiguousarray(x, dtype))


def find_blobs(
    image: DeviceArray,
    filled: DeviceArray | None,
    mask: DeviceArray | None,
    noise: DeviceArray | None,
    *,
    search: BlobSearch,
) -> tuple[DeviceArray | None, ...]:
    """Find the blobs of a stack of images."""
    return find_in_stack(DeviceOps(device_of(image)), image, filled, mask, noise, search)


def smooth_level(image: DeviceArray, *, lines: tuple[tuple[float, ...], ...]) -> tuple[DeviceArray]:
    """Correlate an image with the product of lines of weights."""
    x = _three_axes(image)
    return (DeviceOps(device_of(image)).smooth(x, lines).reshape(image.shape),)


def respond_level(image: DeviceArray, *, method: str, factors: tuple[float, ...]) -> tuple[DeviceArray]:
    """Return the Laplacian, or the determinant of the Hessian, in units of the width."""
    return (DeviceOps(device_of(image)).respond(_three_axes(image), method, factors).reshape(image.shape),)


def _three_axes(image: DeviceArray) -> DeviceArray:
    return device_of(image).rows(image, image.shape, np.float32).reshape((1,) * (3 - image.ndim) + image.shape)
