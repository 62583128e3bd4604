"""How many tasks of threads have failed: Numba loses the exception of any thread but the caller's.

A kernel whose threads run out of memory would return, from the threads that did not, a result that is not whole.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding
from llvmlite import ir

__all__ = ["count_failures", "failures"]

#: The count, which compiled code adds to.
failures = ctypes.c_int64(0)

_SYMBOL = "npsubpix_failures_of_tasks"
llvmlite.binding.add_symbol(_SYMBOL, ctypes.addressof(failures))


def count_failures(module: Any, at: str) -> None:
    """Have a module of LLVM's code count each call of the function named `at`."""
    number, counter = ir.IntType(64), None
    for function in module.functions:
        for block in function.blocks:
            for call in [i for i in block.instructions if isinstance(i, ir.CallInstr)]:
                if getattr(call.callee, "name", "") != at:
                    continue
                if counter is None:
                    counter = ir.GlobalVariable(module, number, _SYMBOL)
                    counter.linkage = "external"
                builder = ir.IRBuilder(block)
                builder.position_before(call)
                builder.atomic_rmw("add", counter, number(1), "monotonic")
