"""Which form of a kernel runs, for those who compile both ahead of time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import npsubpix._cpu.compiler.jit as compiler

__all__ = ["in_threads"]


@contextlib.contextmanager
def in_threads() -> Iterator[None]:
    """Run the parallel forms of kernels, however little work there is, but with one thread or in a forked process."""
    before, compiler._SERIAL_WORK = compiler._SERIAL_WORK, 0
    try:
        yield
    finally:
        compiler._SERIAL_WORK = before
