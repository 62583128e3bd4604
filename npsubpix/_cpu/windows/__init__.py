"""Kernels over windows: statistics by name, and functions of users."""

from npsubpix._cpu.windows.mapping import map_batches, map_windows
from npsubpix._cpu.windows.reductions import reduce_windows

__all__ = ["map_batches", "map_windows", "reduce_windows"]
