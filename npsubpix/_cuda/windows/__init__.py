"""Kernels over windows on a GPU: statistics by name, and functions of users."""

from npsubpix._cuda.windows.mapping import map_batches, map_windows
from npsubpix._cuda.windows.reductions import reduce_windows

__all__ = ["map_batches", "map_windows", "reduce_windows"]
