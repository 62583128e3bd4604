"""What Numba's arrays cannot say: prefetch a pixel, and lend an array to functions without counting references.

A function that is called with an array counts one reference up and down again, atomically. For a
function of a few pixels that takes longer than its work.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["keep", "lend", "prefetch"]


@intrinsic  # type: ignore[untyped-decorator]
def lend(typing_context: Any, array: Any) -> Any:
    """Return an array whose references are not counted. `keep` the one it is lent from until its last use."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lent = context.make_array(signature.return_type)(context, builder, args[0])
        lent.meminfo = ir.Constant(lent.meminfo.type, None)
        lent.parent = ir.Constant(lent.parent.type, None)
        return lent._getvalue()

    return array(array), generate


@intrinsic  # type: ignore[untyped-decorator]
def keep(typing_context: Any, array: Any) -> Any:
    """Do nothing with an array, which it therefore still has to be there for."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_dummy_value()

    return types.void(array), generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Bring the cache line of an element of a contiguous array, which need not exist, close to the core."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        address = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        builder.call(function, [address, number(0), number(3), number(1)])  # to read, in all caches, data
        return context.get_dummy_value()

    return types.void(array, index), generate
