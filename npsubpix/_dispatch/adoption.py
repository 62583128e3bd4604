"""The arrays of one call: adopted together, and the results given back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from npsubpix._arrays.home import Home
from npsubpix._arrays.library import Array, HostArray
from npsubpix._arrays.stacks import pixels_of, stack_of, stacked_mask, unstacked
from npsubpix._dispatch.operation import Argument, Operation

__all__ = ["adopt_all", "give_back_all"]


def adopt_all(
    operation: Operation, home: Home, arrays: Sequence[Array | None], frame_axis: int | None = None
) -> tuple[HostArray | None, ...]:
    """Adopt the arrays of a call, all of one device; beside arrays on a GPU, a number may be on the host."""
    arguments = _arguments(operation, len(arrays))
    assert len(arguments) == len(arrays)
    adopted: list[HostArray | None] = [None] * len(arrays)
    for place, array in enumerate(arrays):
        if array is None:
            continue
        argument = arguments[place]
        if place:
            _require_beside(operation, home, argument, array, place)
        if argument.layout == "array":
            adopted[place] = home.adopt_mask(array) if argument.boolean else home.adopt(array, argument.name)
        elif argument.layout == "stack":
            adopted[place] = stack_of(home, array, frame_axis)
        elif argument.layout == "mask":
            adopted[place] = stacked_mask(home, array, _first(adopted), frame_axis)
        else:
            adopted[place] = pixels_of(home, array, argument.name, _first(adopted), frame_axis)
    return tuple(adopted)


def _require_beside(operation: Operation, home: Home, argument: Argument, array: Array, place: int) -> None:
    """Require an array to be on the device of the first; a number may be on the host."""
    name, own = argument.name, operation.arguments[0].name
    if argument.repeated:
        name, own = f"{name}[{place}]", f"{own}[0]"
    home.require_beside(array, name, own, on_host=argument.on_host or getattr(array, "ndim", 0) == 0)


def _arguments(operation: Operation, count: int) -> tuple[Argument, ...]:
    arguments = operation.arguments
    return arguments + arguments[-1:] * (count - len(arguments)) if arguments[-1].repeated else arguments


def _first(adopted: list[HostArray | None]) -> HostArray:
    assert adopted[0] is not None
    return adopted[0]


def give_back_all(operation: Operation, home: Home, results: Any, frame_axis: int | None = None) -> Any:
    """Give the results of a call back in the library of its first array; a record is returned as it is."""
    if operation.results is None:
        return results
    if operation.results[0].layout == "stack":
        results = tuple([unstacked(result, frame_axis) for result in results])
    if home.takes_results_as_they_are:
        return results
    return tuple([None if result is None else home.give_back(result) for result in results])
