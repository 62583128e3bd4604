"""Blobs: filters that enhance them, scale spaces, and the search for blobs of any size."""

from npsubpix.blobs.filters import difference_of_gaussians, laplacian_of_gaussian
from npsubpix.blobs.finding import find_blobs
from npsubpix.blobs.levels import ScaleLevel, scale_space

__all__ = ["ScaleLevel", "difference_of_gaussians", "find_blobs", "laplacian_of_gaussian", "scale_space"]
