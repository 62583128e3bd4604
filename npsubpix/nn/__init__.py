"""Operators as modules of torch.

A module takes the options of the class of the same name in `npsubpix`, and checks them likewise. A temperature
that is a parameter of torch is learned; any other tensor becomes a buffer. Importing this imports torch.
"""

from npsubpix.nn.detector import BlobDoG, BlobHessian, ScalePyramid, ScaleSpaceDetector
from npsubpix.nn.subpix import (
    AdaptiveQuadInterp3d,
    ConvQuadInterp3d,
    ConvSoftArgmax2d,
    ConvSoftArgmax3d,
    IterativeQuadInterp3d,
    NonMaximaSuppression2d,
    NonMaximaSuppression3d,
    SpatialSoftArgmax2d,
)

__all__ = [
    "AdaptiveQuadInterp3d",
    "BlobDoG",
    "BlobHessian",
    "ConvQuadInterp3d",
    "ConvSoftArgmax2d",
    "ConvSoftArgmax3d",
    "IterativeQuadInterp3d",
    "NonMaximaSuppression2d",
    "NonMaximaSuppression3d",
    "ScalePyramid",
    "ScaleSpaceDetector",
    "SpatialSoftArgmax2d",
]
