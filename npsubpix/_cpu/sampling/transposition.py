"""Transposition of blocks of pixels in registers.

Compilers write transposed pixels one by one.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from npsubpix._cpu.compiler.intrinsics import converted

__all__ = ["LANES", "transpose_block"]

#: Rows and columns of a block, a power of two: as many float32 as a cache line holds.
LANES = 16


@intrinsic  # type: ignore[untyped-decorator]
def transpose_block(
    typing_context: Any, out: Any, row: Any, column: Any, x: Any, first: Any, begin: Any, factor: Any
) -> Any:
    """Set out[row + a, column + b] to x[first + b, begin + a] times a factor of the dtype of `out`, for a block.

    Rows of both arrays are contiguous.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(context.get_data_type(out.dtype), LANES)
        scale = _repeated(builder, args[6], vector)
        lines = []
        for k in range(LANES):
            pixels = builder.load(_address(context, builder, x, args[3:6], k), align=1)
            lines.append(builder.fmul(converted(builder, x.dtype, pixels, vector), scale))
        for k, line in enumerate(_transposed(builder, lines)):
            builder.store(line, _address(context, builder, out, args[:3], k), align=1)
        return context.get_dummy_value()

    return types.void(out, row, column, x, first, begin, factor), generate


def _repeated(builder: Any, number: Any, vector: Any) -> Any:
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))


def _address(context: Any, builder: Any, array: Any, place: Any, k: int) -> Any:
    """Return the address of the pixels of a block in its row k, for an array with the first row and column."""
    value, row, column = place
    whole = context.make_array(array)(context, builder, value)
    number = row.type
    stride = cgutils.unpack_tuple(builder, whole.strides)[0]
    offset = builder.mul(builder.add(row, number(k)), stride)
    start = builder.gep(builder.bitcast(whole.data, ir.IntType(8).as_pointer()), [offset])
    pixel = builder.gep(builder.bitcast(start, whole.data.type), [column])
    return builder.bitcast(pixel, ir.VectorType(context.get_data_type(array.dtype), LANES).as_pointer())


def _transposed(builder: Any, lines: list[Any]) -> list[Any]:
    """Transpose by exchanging, for each bit of an index, the halves of pairs of lines that differ in it."""
    bit = 1
    while bit < LANES:
        low = [k if not k & bit else LANES + k - bit for k in range(LANES)]
        high = [k + bit if not k & bit else LANES + k for k in range(LANES)]
        masks = [ir.Constant(ir.VectorType(ir.IntType(32), LANES), places) for places in (low, high)]
        pairs = [(lines[k & ~bit], lines[k | bit]) for k in range(LANES)]
        lines = [builder.shuffle_vector(*pairs[k], masks[bool(k & bit)]) for k in range(LANES)]
        bit *= 2
    return lines
