"""Blobs on the GPU: filters, scale spaces, and the search for blobs in them."""

from npsubpix._cuda.blobs.filters import difference_of_gaussians, laplacian_of_gaussian
from npsubpix._cuda.blobs.scale_space import find_blobs, respond_level, smooth_level

__all__ = ["difference_of_gaussians", "find_blobs", "laplacian_of_gaussian", "respond_level", "smooth_level"]
