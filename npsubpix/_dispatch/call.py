"""Operations as data: what kernels a call needs, what it returns, and what can be differentiated.

One declaration serves the three ways in: NumPy and JAX arrays are adopted and handed to the
kernels, torch tensors go through an operator that torch's autograd and compiler know, and `vjp`
records the call.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from npsubpix._arrays.adoption import give_back
from npsubpix._arrays.library import Array, HostArray, kind_of, working_on
from npsubpix._dispatch.adoption import adopt_all
from npsubpix._dispatch.backends import implementation
from npsubpix._dispatch.operations import Operation

__all__ = ["Record", "call", "tape", "without_gradient"]


@dataclass(frozen=True)
class Record:
    """A call that was made: enough to differentiate it."""

    operation: Operation
    arrays: tuple[Array | None, ...]
    hosts: tuple[HostArray | None, ...]
    options: tuple[Any, ...]
    results: tuple[HostArray, ...]


#: Where `vjp` has calls recorded.
tape: ContextVar[list[Record] | None] = ContextVar("tape", default=None)


def without_gradient(x: Array) -> Array:
    """Return a tensor without its graph, for results that have no gradient; other arrays as they are."""
    return x.detach() if kind_of(x) == "torch" else x


def call(operation: Operation, arrays: tuple[Array | None, ...], options: tuple[Any, ...] = ()) -> tuple[Array, ...]:
    """Run an operation on arrays of one library."""
    first = arrays[0]
    if kind_of(first) == "torch":
        from npsubpix._dispatch import autograd

        return autograd.call(operation, arrays, options)
    function = getattr(implementation(operation.family, first), operation.name)
    with working_on(first):
        hosts = adopt_all(operation, arrays)
        results: tuple[HostArray, ...] = function(*hosts, *options)
    records = tape.get()
    if records is not None:
        records.append(Record(operation, arrays, hosts, options, results))
    if type(first) is np.ndarray and first.dtype.char != "e":  # what give_back would return, and costs more than it
        return results
    return tuple([give_back(result, first) for result in results])
