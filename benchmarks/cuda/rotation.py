"""Inputs that take turns, so that none is found in the cache of the GPU."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Inputs", "copies_for"]

#: Bytes that pass between two visits to the same input, in sizes of the cache.
_CACHES = 4


def copies_for(size: int, cache: int) -> int:
    """Return how many inputs of a size in bytes have to take turns; one, if it is larger than any cache."""
    return 1 if size >= _CACHES * cache else -(-_CACHES * cache // max(size, 1)) + 1


class Inputs:
    """Copies of the input of a case."""

    def __init__(self, arrays: Sequence[Any], cache: int) -> None:
        count = copies_for(sum(a.nbytes for a in arrays), cache)
        self.sets = [tuple(arrays), *(tuple(a.copy() for a in arrays) for _ in range(count - 1))]

    def turns(self, call: Callable[..., Any], adopt: Callable[..., tuple[Any, ...]] | None = None) -> Callable[[], Any]:
        """Return a call on the next input each time; `adopt` makes of each, once, what the call takes."""
        endless = itertools.cycle([adopt(*s) for s in self.sets] if adopt else self.sets)
        return lambda: call(*next(endless))
