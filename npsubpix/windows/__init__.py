"""Sliding-window statistics, and arbitrary functions of windows."""

from npsubpix.windows.mapping import window_map
from npsubpix.windows.moments import window_centroid, window_mean, window_std, window_sum, window_var
from npsubpix.windows.order import window_max, window_median, window_min, window_percentile, window_range

__all__ = [
    "window_centroid",
    "window_map",
    "window_max",
    "window_mean",
    "window_median",
    "window_min",
    "window_percentile",
    "window_range",
    "window_std",
    "window_sum",
    "window_var",
]
