"""Time calls side by side, in one process."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numba

__all__ = ["Pace", "interleave", "use_threads"]

#: A call that takes longer, in seconds, gains nothing from warm caches.
_LONG = 0.25
_MOST_CALLS = 100


@dataclass(frozen=True)
class Pace:
    """How often and how long each call is visited."""

    rounds: int
    visit: float  # seconds of one visit: as many calls as fit, at least one
    pause: float  # seconds before each visit
    limit: float = 20.0  # seconds in all, after which a call is visited no more


def use_threads(count: int) -> None:
    """Give every library that is loaded the same number of threads."""
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(count)


def interleave(calls: Mapping[str, Callable[[], Any]], pace: Pace) -> dict[str, list[float]]:
    """Time calls in turn (A B A B …), each after an untimed one, and return the seconds of each call.

    Threads of a pool spin for some milliseconds after a parallel region. The pause before each visit
    lets them fall asleep, so that they take no core from the next library; an untimed call then wakes
    those of this one and brings its data back into the caches.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    with _no_collection():
        for _ in range(pace.rounds):
            for name, call in calls.items():
                if sum(seconds[name]) > pace.limit:
                    continue
                time.sleep(pace.pause)
                if not seconds[name] or seconds[name][-1] < _LONG:
                    call()
                seconds[name] += _visit(call, pace.visit)
    return seconds


def _visit(call: Callable[[], Any], length: float) -> list[float]:
    """Time calls, the release of their results included, until `length` seconds are over."""
    seconds: list[float] = []
    begin = stop = time.perf_counter()
    while not seconds or (stop - begin < length and len(seconds) < _MOST_CALLS):
        start = time.perf_counter()
        call()
        stop = time.perf_counter()
        seconds.append(stop - start)
    return seconds


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
