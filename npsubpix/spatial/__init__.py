"""Expectations and moments of whole maps, in array order and as kornia has them."""

from npsubpix.spatial.kornia import spatial_expectation2d, spatial_soft_argmax2d, spatial_softmax2d
from npsubpix.spatial.maps import (
    SpatialMoments,
    spatial_expectation,
    spatial_moments,
    spatial_soft_argmax,
    spatial_softmax,
)

__all__ = [
    "SpatialMoments",
    "spatial_expectation",
    "spatial_expectation2d",
    "spatial_moments",
    "spatial_soft_argmax",
    "spatial_soft_argmax2d",
    "spatial_softmax",
    "spatial_softmax2d",
]
