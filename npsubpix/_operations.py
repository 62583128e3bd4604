"""The table of operations."""

from __future__ import annotations

from npsubpix import _shapes as shapes
from npsubpix._operation import Argument, Operation, Result

__all__ = ["OPERATIONS"]

_TABLE = (
    Operation(
        "nms",
        family="nms",
        arguments=(Argument("input"),),
        results=(Result("values", "same"),),
        shapes=shapes.same,
        options=("int[] kernel_size",),
    ),
    Operation(
        "nms_mask",
        family="nms",
        arguments=(Argument("input", differentiable=False),),
        results=(Result("mask", "bool"),),
        shapes=shapes.same,
        options=("int[] kernel_size",),
    ),
    Operation(
        "nms3d_minmax",
        family="nms",
        arguments=(Argument("input", differentiable=False),),
        results=(Result("maxima", "bool"), Result("minima", "bool")),
        shapes=shapes.twice,
    ),
)

OPERATIONS = {operation.name: operation for operation in _TABLE}
