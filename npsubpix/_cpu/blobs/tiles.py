"""Extrema of a frame of which only a tile is in memory at a time, as if all of it were.

Levels are those of the frame where a tile begins at a pixel that all its grids keep, and reaches as far beyond its core
as the passes to the coarsest level do. An extremum belongs to the tile in whose core its pixel lies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.blobs.scale_space import HostOps
from npsubpix._definitions.blob_rows import Extrema
from npsubpix._definitions.blob_search import (
    BlobColumns,
    BlobSearch,
    FrameScale,
    blobs_of,
    extrema_of_image,
    frame_scale,
    in_units,
    nothing_found,
    pixels_of,
    table_of,
)
from npsubpix._definitions.pixel_noise import NoiseStrips, noise_of_strips, noise_strips
from npsubpix._definitions.scale_space import ScalePlan

__all__ = [
    "BlobColumns",
    "BlobSearch",
    "Extrema",
    "FrameScale",
    "blobs_of_frame",
    "coarsest_steps",
    "extrema_in_tile",
    "frame_scale",
    "noise_of_frame",
    "noise_strips",
    "nothing_found",
    "pixels_of",
    "reach_of_levels",
    "table_of",
]  # fmt: skip

_Box = tuple[tuple[int, int], ...]


def coarsest_steps(plan: ScalePlan) -> tuple[int, ...]:
    """Return the pixels of the image between two of the coarsest grid, per axis."""
    return tuple(int(n) for n in np.max([segment.steps for segment in plan.segments], axis=0))


def reach_of_levels(plan: ScalePlan) -> tuple[int, ...]:
    """Return how far pixels are seen from an extremum and its neighbours, per axis."""
    reach = np.zeros(plan.ndim, np.int64)
    grids = plan.grids()
    for level, chains in plan.chains().items():
        beside = 3 * np.array(grids[level])  # of second derivatives, and of a neighbour
        for chain in chains:
            passes = [[len(line) // 2 * h for line, h in zip(lines, steps, strict=True)] for lines, steps in chain]
            reach = np.maximum(reach, np.sum(passes, axis=0, dtype=np.int64) + beside)
    return tuple(reach.tolist())


def extrema_in_tile(
    x: HostArray, box: _Box, core: _Box, shape: tuple[int, ...], search: BlobSearch, scale: FrameScale, noise: float
) -> list[Extrema]:
    """Find the extrema whose pixels lie in a core, in the units of the frame, with its pixels as their places.

    `noise` is the least of the frame, in units of the image.
    """
    ndim = search.plan.ndim
    ops, grids = HostOps(), search.plan.grids()
    images: list[Any] = [ops.scaled(x, scale.offset, 1 / scale.unit).reshape((1,) * (3 - ndim) + x.shape)]
    del x
    begin, (first, last) = np.array(box)[:, 0], np.array(core).T
    found = []
    for part in extrema_of_image(ops, images, in_units(search, scale.unit), noise / scale.unit, scale.greatest):
        steps = np.array(grids[part.level])
        pixels = part.pixels + begin // steps
        own = ((pixels * steps >= first) & (pixels * steps < last)).all(axis=1)
        pixels, grid = pixels[own], -(-np.array(shape) // steps)
        inside = np.asarray(((pixels >= 1) & (pixels <= grid - 2)).all(axis=1))
        if len(pixels):  # float32 holds the neighbours, which are pixels of levels
            found.append(Extrema(part.level, part.sign, pixels, inside, part.cubes[own].astype(np.float32)))
    return found


def noise_of_frame(
    strips: NoiseStrips, pixels: HostArray, gaps: npt.NDArray[np.bool_] | None, scale: FrameScale
) -> float:
    """Return the noise of a frame from the rows of its strips, in units of the image."""
    scaled = HostOps().scaled(pixels, scale.offset, 1 / scale.unit)
    return noise_of_strips(strips, scaled, gaps) * scale.unit


def blobs_of_frame(
    parts: list[Extrema], gaps: HostArray | None, noise: float | npt.NDArray[np.float64], shape: tuple[int, ...],
    search: BlobSearch, scale: FrameScale,
) -> BlobColumns:  # fmt: skip
    """Return the blobs of a frame from the extrema of its tiles."""
    whole = []
    for level, steps in search.plan.grids().items():
        grid = tuple(-(-n // h) for n, h in zip(shape, steps, strict=True))
        for sign in search.signs:
            own = [part for part in parts if part.level == level and part.sign == sign]
            if own:
                pixels, inside, cubes = (np.concatenate(c) for c in zip(*(part[2:] for part in own), strict=True))
                order = np.argsort(np.ravel_multi_index(tuple(pixels.T), grid))
                whole.append(Extrema(level, sign, pixels[order], inside[order], cubes[order].astype(np.float64)))
    return blobs_of(HostOps(), whole, gaps, noise / scale.unit, shape, in_units(search, scale.unit), scale.unit)
