"""Operations on tiles of a frame that is larger than memory: those of the host, as tiles are read from files to it.

What `locate` calls of kernels, and nothing else does. Arrays are of the host, and belong to the library.
"""

from __future__ import annotations

from npsubpix._cpu.background.tiles import Boxes, MeshOfFrame, boxes_of, measure, mesh_of
from npsubpix._cpu.blobs.tiles import (
    BlobColumns,
    BlobSearch,
    Extrema,
    FrameScale,
    blobs_of_frame,
    coarsest_steps,
    extrema_in_tile,
    frame_scale,
    noise_of_frame,
    noise_strips,
    nothing_found,
    pixels_of,
    reach_of_levels,
    table_of,
)
from npsubpix._cpu.compiler.workers import keep_serial, serial_kernels
from npsubpix._cpu.peaks import Rows, before_merging, refined, selected, settled
from npsubpix._cpu.peaks.extrema import Candidates, last_below
from npsubpix._cpu.peaks.heights import bound_of_values
from npsubpix._cpu.peaks.tiles import Box, Part, Tile, candidates_of_frame, find_in_tile, halo_of

__all__ = [
    "BlobColumns",
    "BlobSearch",
    "Box",
    "Boxes",
    "Candidates",
    "Extrema",
    "FrameScale",
    "MeshOfFrame",
    "Part",
    "Rows",
    "Tile",
    "before_merging",
    "blobs_of_frame",
    "bound_of_values",
    "boxes_of",
    "candidates_of_frame",
    "coarsest_steps",
    "extrema_in_tile",
    "find_in_tile",
    "frame_scale",
    "halo_of",
    "keep_serial",
    "last_below",
    "measure",
    "mesh_of",
    "noise_of_frame",
    "noise_strips",
    "nothing_found",
    "pixels_of",
    "reach_of_levels",
    "refined",
    "selected",
    "serial_kernels",
    "settled",
    "table_of",
]
