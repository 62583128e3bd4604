"""Loops over tasks that run in threads or without, compiled once for both.

Numba compiles a loop over `prange` to code that always runs in threads, in passes of its own: the same loop without
threads has to be compiled as well. Here a task is a function, and a kernel is the call of it for each task, by the
calling thread or by Numba's threading layer, whose address the kernel is handed.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["run_tasks"]

_NUMBER, _BYTES = ir.IntType(64), ir.IntType(8).as_pointer()
_NUMBERS = _NUMBER.as_pointer()

#: What a thread calls: addresses, of which the first begins at the number of a share of the tasks; the number of
#: shares; how far the addresses are from those of the next share; and what the tasks use.
_TASKS = ir.FunctionType(ir.VoidType(), [_BYTES.as_pointer(), _NUMBERS, _NUMBERS, _BYTES])

#: The function of threading layers that calls it: its own four arguments, the numbers of further axes and of addresses,
#: and the number of threads.
_LAUNCH = ir.FunctionType(ir.VoidType(), [_BYTES] * 5 + [_NUMBER] * 3)


@intrinsic  # type: ignore[untyped-decorator]
def run_tasks(typing_context: Any, task: Any, launch: Any, threads: Any, count: Any, arguments: Any) -> Any:
    """Call a compiled function with the number of each task and the arguments; return how many of the tasks failed.

    `launch` is the address of the threading layer's function, 0 to run without threads.
    """
    own = task.get_call_type(typing_context, (types.intp, *arguments.types), {})

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _, layer, threads, count, arguments = values
        failed = cgutils.alloca_once_value(builder, _NUMBER(0))
        shares = builder.select(builder.icmp_signed("<", count, threads), count, threads)
        parts = [failed, count, shares, arguments]
        shared = cgutils.alloca_once_value(builder, cgutils.make_anonymous_struct(builder, parts))
        compiled = task.dispatcher.overloads[tuple(own.args)]
        context.active_code_library.add_linking_library(compiled.library)
        tasks = _tasks_of(context, builder, compiled.fndesc, own, shared.type)
        first = cgutils.alloca_once_value(builder, ir.Constant(_BYTES, None))
        sizes, steps = (cgutils.alloca_once_value(builder, number) for number in (shares, _NUMBER(1)))
        shared = builder.bitcast(shared, _BYTES)
        with builder.if_else(builder.icmp_signed("==", layer, _NUMBER(0))) as (alone, together):
            with alone:
                builder.call(tasks, [first, sizes, steps, shared])
            with together:
                addresses = [builder.bitcast(a, _BYTES) for a in (tasks, first, sizes, steps)]
                launched = builder.inttoptr(layer, _LAUNCH.as_pointer())
                builder.call(launched, [*addresses, shared, _NUMBER(0), _NUMBER(1), threads])
        return builder.load(failed)

    return types.int64(task, types.int64, types.int64, types.int64, arguments), generate


def _tasks_of(context: Any, caller: Any, descriptor: Any, signature: Any, shared: Any) -> Any:
    """Make the function that a thread calls."""
    function = ir.Function(caller.module, _TASKS, f"{caller.function.name}.tasks")
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    firsts, sizes, _, data = function.args
    parts = cgutils.unpack_tuple(builder, builder.load(builder.bitcast(data, shared)), 4)
    failed, count, shares, arguments = parts
    share = builder.ptrtoint(builder.load(firsts), _NUMBER)
    after = builder.add(share, builder.load(sizes))
    shares = builder.select(builder.icmp_signed("<", shares, _NUMBER(1)), _NUMBER(1), shares)
    begin, end = (builder.sdiv(builder.mul(count, k), shares) for k in (share, after))
    kinds = zip(signature.args[1:], cgutils.unpack_tuple(builder, arguments), strict=True)
    lent = [_lent(context, builder, kind, value) for kind, value in kinds]
    called = context.declare_function(caller.module, descriptor)
    with cgutils.for_range_slice(builder, begin, end, _NUMBER(1)) as (number, _):
        values = [number, *lent]
        status, _ = context.call_conv.call_function(builder, called, signature.return_type, signature.args, values)
        with builder.if_then(status.is_error, likely=False):
            builder.atomic_rmw("add", failed, _NUMBER(1), "monotonic")
    builder.ret_void()
    return function


def _lent(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Return an argument as it is, or an array whose references are not counted: the kernel keeps it.

    Threads would wait for each other to count, which took half of the time of linear interpolation.
    """
    if not isinstance(kind, types.Array):
        return value
    lent = context.make_array(kind)(context, builder, value)
    lent.meminfo, lent.parent = (ir.Constant(part.type, None) for part in (lent.meminfo, lent.parent))
    return lent._getvalue()
