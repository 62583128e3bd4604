"""The threads of this process: the layer of Numba that runs them, how they wait for work, and what a fork leaves.

Threads of OpenMP spin for milliseconds after each loop, so that the next one finds them awake. Where other processes
use the cores too, that time is taken from those that have work, the calling thread among them: a loop of 25 us then
takes 10 ms. OpenMP reads how threads wait from the environment when it is loaded, and not again. The layer is therefore
loaded here, before its first use, with threads that wait asleep, unless the user has decided how they wait.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Iterator

import numba

__all__ = ["process"]

#: Variables that decide how threads wait: OpenMP's own, and those of GNU and LLVM.
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")

#: Modules of Numba's threading layers.
_LAYERS = {
    "omp": "numba.np.ufunc.omppool",
    "tbb": "numba.np.ufunc.tbbpool",
    "workqueue": "numba.np.ufunc.workqueue",
}


class _Process:
    """State of the threads of this process; a forked child starts anew."""

    def __init__(self) -> None:
        self.forked = False
        self.lock = threading.RLock()
        self._thread_safe: bool | None = None
        self.launch = 0  # address of the layer's function that has threads share a loop

    def after_fork(self) -> None:
        self.forked = True
        self.lock = threading.RLock()

    def load(self) -> bool:
        """Load the threading layer; return whether it can be called from several Python threads at once."""
        if self._thread_safe is None:
            with self.lock, _waiting_asleep():
                numba.get_num_threads()
                layer = numba.threading_layer()
                self._thread_safe = layer in ("omp", "tbb")
                self.launch = importlib.import_module(_LAYERS[layer]).parallel_for
        return self._thread_safe


@contextlib.contextmanager
def _waiting_asleep() -> Iterator[None]:
    """Have OpenMP, if it is loaded meanwhile, let threads wait asleep; leave the environment as it was."""
    if any(name in os.environ for name in _WAITING):
        yield
        return
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    try:
        yield
    finally:
        os.environ.pop("OMP_WAIT_POLICY", None)


process = _Process()
os.register_at_fork(after_in_child=process.after_fork)
