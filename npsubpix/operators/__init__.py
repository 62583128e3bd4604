"""Operators as plain callables: classes that take options once and arrays many times.

Options are those of the functions of the same name in lower case, where there is one, and are checked when an operator
is made: an option of the wrong type raises TypeError, one out of range ValueError.
"""

from npsubpix.operators.detector import ScaleSpaceDetector
from npsubpix.operators.pyramid import ScalePyramid
from npsubpix.operators.responses import BlobDoG, BlobHessian
from npsubpix.operators.subpix import (
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
