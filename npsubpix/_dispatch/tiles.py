"""Operations on tiles of a frame that is larger than memory: those of the host, as tiles are read from files to it.

What `locate` calls of kernels, and nothing else does. Arrays are of the host, and belong to the library.
"""

from __future__ import annotations

from npsubpix._cpu.background.tiles import Boxes, MeshOfFrame, boxes_of, measure, mesh_of
from npsubpix._cpu.compiler.workers import keep_serial, serial_kernels
from npsubpix._cpu.peaks import Rows, before_merging, refined, selected, settled
from npsubpix._cpu.peaks.extrema import Candidates, last_below
from npsubpix._cpu.peaks.heights import bound_of_values
from npsubpix._cpu.peaks.tiles import Box, Part, Tile, candidates_of_frame, find_in_tile, halo_of

__all__ = [
    "Box",
    "Boxes",
    "Candidates",
    "MeshOfFrame",
    "Part",
    "Rows",
    "Tile",
    "before_merging",
    "bound_of_values",
    "boxes_of",
    "candidates_of_frame",
    "find_in_tile",
    "halo_of",
    "keep_serial",
    "last_below",
    "measure",
    "mesh_of",
    "refined",
    "selected",
    "serial_kernels",
    "settled",
]
