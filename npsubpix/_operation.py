"""Operations as data: what kernels a call needs, what it returns, and what can be differentiated.

One declaration serves the three ways in: NumPy and JAX arrays are adopted and handed to the
kernels, torch tensors go through an operator that torch's autograd and compiler know, and `vjp`
records the call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from npsubpix._arrays import Array, HostArray, adopt, adopt_mask, give_back, is_on_gpu, kind_of, place_of, working_on
from npsubpix._dispatch import implementation
from npsubpix._shapes import Shape

__all__ = ["Argument", "Operation", "Record", "Result", "call", "tape", "without_gradient"]


@dataclass(frozen=True)
class Argument:
    """An array that an operation takes."""

    name: str
    optional: bool = False
    boolean: bool = False
    differentiable: bool = True


@dataclass(frozen=True)
class Result:
    """An array that kernels return.

    `dtype` is ``"float"`` for the dtype of a floating first argument, else for its promotion with
    float32; ``"same"`` for the dtype of the first argument; or ``"bool"`` or ``"float64"``.
    """

    name: str
    dtype: str = "float"
    saved: bool = False  # for the vector-Jacobian product


@dataclass(frozen=True)
class Operation:
    """A function of a module of kernels.

    The function ``name`` takes the arrays, None for an absent one, and the options, and returns a
    tuple of arrays. If any argument is differentiable, ``name_vjp`` takes the cotangents of the
    results, None for an absent one; the arrays; the saved results; and the options; and returns
    the cotangents of the differentiable arguments, None for an absent one.
    """

    name: str
    family: str
    arguments: tuple[Argument, ...]
    results: tuple[Result, ...]
    shapes: Callable[[Sequence[Shape | None], Sequence[Any]], tuple[Shape, ...]]
    options: tuple[str, ...] = ()  # type and name of each, as torch writes it: "int[] kernel_size"

    @property
    def differentiable(self) -> tuple[int, ...]:
        """Positions of the differentiable arguments."""
        return tuple(k for k, a in enumerate(self.arguments) if a.differentiable)


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
        from npsubpix import _torch

        return _torch.call(operation, arrays, options)
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


def adopt_all(operation: Operation, arrays: Sequence[Array | None]) -> tuple[HostArray | None, ...]:
    """Adopt the arrays of a call, all of one device; beside one on a GPU, a number may be on the host."""
    hosts: list[HostArray | None] = []
    first = arrays[0]
    on_gpu = is_on_gpu(first, kind_of(first))
    for argument, array in zip(operation.arguments, arrays, strict=True):
        if array is None:
            hosts.append(None)
        elif type(array) is float:
            hosts.append(np.array(array))
        elif hosts and (on_gpu or is_on_gpu(array, kind_of(array))) and not _is_beside(array, first):
            raise TypeError(
                f"{argument.name} is on {place_of(array)} and {operation.arguments[0].name} on {place_of(first)}: "
                "both must be on one device"
            )
        elif argument.boolean:
            hosts.append(adopt_mask(array))
        else:
            hosts.append(adopt(array, argument.name))
    return tuple(hosts)


def _is_beside(array: Array, first: Array) -> bool:
    place = place_of(array)
    return place == place_of(first) or (array.ndim == 0 and place == "the host")
