"""Kernels in workers, of which several share the processors: each runs the serial form of kernels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numba

from npsubpix._cpu.compiler.jit import _process

__all__ = ["keep_serial", "serial_kernels"]


def keep_serial() -> None:
    """Run the serial form of kernels from now on, in a process that is a worker and nothing else."""
    _process.forked = True


@contextlib.contextmanager
def serial_kernels() -> Iterator[None]:
    """Run kernels that are called from this thread in one thread.

    In a process of which not even one parallel kernel has run, the first takes its parallel form, in one thread.
    """
    if _process.forked or numba.config.NUMBA_NUM_THREADS == 1:
        yield
        return
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)
