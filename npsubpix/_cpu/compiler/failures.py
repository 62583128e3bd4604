"""How many tasks of threads have failed: a kernel whose threads run out of memory returns a result that is not whole.

It would never free its arrays if it raised, as no compiled function does.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding
from llvmlite import ir

__all__ = ["count_failure", "failures"]

#: The count, which compiled code adds to.
failures = ctypes.c_int64(0)

_SYMBOL = "npsubpix_failures_of_tasks"
llvmlite.binding.add_symbol(_SYMBOL, ctypes.addressof(failures))


def count_failure(builder: Any) -> None:
    """Add one to the count, in compiled code."""
    number = ir.IntType(64)
    counter = builder.module.globals.get(_SYMBOL)
    if counter is None:
        counter = ir.GlobalVariable(builder.module, number, _SYMBOL)
        counter.linkage = "external"
    builder.atomic_rmw("add", counter, number(1), "monotonic")
