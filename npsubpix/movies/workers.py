"""Blocks of frames on their way through workers: few at once, and their rows back in order."""

from __future__ import annotations

import collections
import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from typing import Any, Protocol, TypeVar

import numpy as np

from npsubpix._dispatch.tiles import keep_serial, serial_kernels

__all__ = ["Runner", "runner_of"]

J = TypeVar("J")
R = TypeVar("R")


class Runner(Protocol):
    """Runs a function on jobs, and yields each job with its result, in order."""

    #: Blocks that are worked on at once, and those whose pixels are in memory here.
    workers: int
    at_once: int
    #: Whether workers are other processes of this machine.
    shares_memory: bool

    def run(self, function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[tuple[J, R]]:
        """Yield each job and its result, in order."""
        ...


class _Here:
    """The process of the caller, whose kernels use all threads."""

    workers, at_once, shares_memory = 1, 1, False

    def run(self, function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[tuple[J, R]]:
        """Run one job after the other."""
        return ((job, function(job)) for job in jobs)


class _Elsewhere:
    """An executor, with two jobs per worker on their way, so that none waits."""

    def __init__(
        self, make: Callable[[], contextlib.AbstractContextManager[Executor]], workers: int, shares_memory: bool = False
    ) -> None:
        self._make = make
        self.workers, self.at_once, self.shares_memory = workers, 2 * workers, shares_memory

    def run(self, function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[tuple[J, R]]:
        """Run jobs in workers, and yield their results in order."""
        waiting: collections.deque[tuple[J, Future[R]]] = collections.deque()
        with self._make() as executor:
            try:
                for job in jobs:
                    waiting.append((job, _submitted(executor, function, job)))
                    if len(waiting) >= self.at_once:
                        yield _result(*waiting.popleft())
                while waiting:
                    yield _result(*waiting.popleft())
            finally:
                for _, future in waiting:
                    future.cancel()


def _submitted(executor: Executor, function: Callable[[J], R], job: J) -> Future[R]:
    """Hand a job over; an executor that was shut down, or lost a worker, takes none."""
    try:
        return executor.submit(_in_worker, function, job)
    except RuntimeError as error:
        if not isinstance(error, BrokenExecutor) and "shutdown" not in str(error):
            raise
        raise RuntimeError(f"executor was shut down, or lost a worker, and does not take {job}: {error}") from error


def _result(job: J, future: Future[R]) -> tuple[J, R]:
    try:
        return job, future.result()
    except BrokenExecutor as error:
        raise RuntimeError(
            f"a worker process ended while {job} was on its way: it was killed, had no memory, or could not start, as "
            "in a script without if __name__ == '__main__'"
        ) from error
    except Exception as error:
        if type(error).__name__ == "KilledWorker":  # of dask, which is not imported
            raise RuntimeError(f"the workers of dask ended, one after the other, while {job} was on its way") from error
        raise


def _in_worker(function: Callable[[J], R], job: J) -> R:
    """Run a job with serial kernels, so that workers do not fight for processors."""
    with serial_kernels():
        return function(job)


def runner_of(executor: Any) -> Runner:
    """Require None, a number of processes, an executor of concurrent.futures, or a client of dask."""
    if executor is None:
        return _Here()
    if isinstance(executor, (int, np.integer)) and not isinstance(executor, bool):
        count = int(executor)
        if count < 1:
            raise ValueError(f"executor must be at least 1 process, got {count}")
        return _Elsewhere(lambda: _processes(count), count, shares_memory=True)
    if hasattr(executor, "get_executor") and hasattr(executor, "ncores"):
        threads = max(1, sum(executor.ncores().values()))
        return _Elsewhere(lambda: contextlib.nullcontext(executor.get_executor(pure=False)), threads)
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(
            "executor must be None, a number of processes, an executor of concurrent.futures or a client of dask, "
            f"got {executor!r}"
        )
    workers = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
    return _Elsewhere(lambda: contextlib.nullcontext(executor), workers, isinstance(executor, ProcessPoolExecutor))


def _begin() -> None:
    """Begin a worker process, which has serial kernels, and ends with its parent."""
    keep_serial()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process once its parent was killed: the pipes between workers would keep it waiting for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes; end them, without waiting for what is no longer wanted."""
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
