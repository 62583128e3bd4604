"""The one way down: `call` runs an operation of the table on arrays of one library.

One declaration serves the three ways in: NumPy and JAX arrays are adopted and handed to the
kernels, torch tensors go through an operator that torch's autograd and compiler know, and `vjp`
records the call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npsubpix._arrays.home import Home, home_of
from npsubpix._arrays.library import Array, HostArray, as_array, is_array
from npsubpix._definitions.dtypes import promoted
from npsubpix._dispatch.adoption import adopt_all, give_back_all
from npsubpix._dispatch.backends import function_of
from npsubpix._dispatch.operation import Operation, out_of_memory
from npsubpix._dispatch.operations import OPERATIONS
from npsubpix._dispatch.tape import tape

__all__ = ["Record", "call", "call_vjp"]


@dataclass(frozen=True)
class Record:
    """A call that was made: enough to differentiate it."""

    operation: Operation
    arrays: tuple[Array | None, ...]
    adopted: tuple[HostArray | None, ...]
    options: Mapping[str, Any]
    results: tuple[HostArray, ...]

    def pull_back(self, cotangents: Sequence[Array | None], shapes: Sequence[tuple[int, ...]]) -> dict[str, Array]:
        """Return the cotangents of the differentiable arrays by name, from those of the first results."""
        dtypes = [promoted(result.dtype) for result in self.results]
        saved = tuple(r for r, spec in zip(self.results, self.operation.results or (), strict=True) if spec.saved)
        return _pull_back(self, cotangents, shapes, dtypes, saved)


def call(name: str, *arrays: Array | None, frame_axis: int | None = None, **options: Any) -> Any:
    """Run an operation on arrays of one library, None for an absent one; return a tuple of arrays, or a record."""
    operation = OPERATIONS[name]
    first = arrays[0]
    home = home_of(first)
    if home.library == "torch" and operation.shapes is not None:
        from npsubpix._dispatch import autograd

        return autograd.call(operation, arrays, options)
    function = function_of(operation, home)
    try:
        with home.working():
            adopted = adopt_all(operation, home, arrays, frame_axis)
            results = function(*adopted, **options)
            if (watching := tape.get()) is not None:
                watching.records.append(Record(operation, arrays, adopted, options, results))
            return give_back_all(operation, home, results, frame_axis)
    except MemoryError as error:
        raise out_of_memory(operation, options, error, home.on_gpu) from None


def call_vjp(
    name: str, cotangents: Sequence[Array | None], arrays: Sequence[Array | None], options: Mapping[str, Any]
) -> tuple[Array, ...]:
    """Return the cotangents of the differentiable arrays of an operation that saves none of its results."""
    operation, home = OPERATIONS[name], home_of(arrays[0])
    if "torch" in {home_of(x).library for x in (*arrays, *cotangents) if x is not None}:
        raise TypeError(
            f"{name}_vjp takes NumPy, CuPy and JAX arrays; call {name} on tensors, and backward() on the result"
        )
    with home.working():
        adopted = adopt_all(operation, home, arrays)
    record = Record(operation, tuple(arrays), adopted, options, ())
    shapes = operation.shapes_of([None if x is None else tuple(x.shape) for x in arrays], options)
    assert adopted[0] is not None
    dtypes = [promoted(adopted[0].dtype)] * len(shapes)
    return tuple(_pull_back(record, cotangents, shapes, dtypes, ()).values())


def _pull_back(
    record: Record, cotangents: Sequence[Array | None], shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any],
    saved: tuple[HostArray, ...],
) -> dict[str, Array]:  # fmt: skip
    operation, home = record.operation, home_of(record.adopted[0])
    with home.working():
        adopted = [
            None if c is None else _cotangent(home, c, shape, dtype)
            for c, shape, dtype in zip(cotangents, shapes, dtypes, strict=False)
        ]
        hidden = [None] * (len(operation.results or ()) - len(adopted))
        function = function_of(operation, home, "_vjp")
        try:
            grads = function((*adopted, *hidden), record.adopted, saved, **record.options)
        except MemoryError as error:
            raise out_of_memory(operation, record.options, error, home.on_gpu) from None
    answers = {}
    for place, grad in zip(operation.differentiable, grads, strict=True):
        array = record.arrays[place]
        if array is not None and grad is not None:
            answers[operation.arguments[place].name] = home_of(array).give_back(grad)
    return answers


def _cotangent(home: Home, cotangent: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> HostArray:
    values = as_array(cotangent, "a gradient")
    if tuple(values.shape) != tuple(shape):
        raise ValueError(f"a gradient must have the shape of its result, {tuple(shape)}, got {tuple(values.shape)}")
    home.require_beside(cotangent, "a gradient", "its result")
    return home.adopt(values if is_array(cotangent) else cotangent, "the gradient").astype(dtype, copy=False)
