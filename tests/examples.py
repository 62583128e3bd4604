"""The examples of the table of operations, as calls of one array of shape (1, 2, 4, 7, 8)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import npsubpix
from npsubpix._dispatch.operation import Example
from npsubpix._dispatch.operations import OPERATIONS

__all__ = ["BESIDES", "EXAMPLES", "arrays_of", "bound", "called_with"]


def _call(example: Example) -> Callable[[Any], Any]:
    def call(x: Any) -> Any:
        result = example(npsubpix, x)
        if isinstance(result, npsubpix.Measurements):
            return result.coords, result.flux, result.width, result.ecc
        if isinstance(result, npsubpix.Blobs):
            return result.coords, result.sigma, result.amplitude
        if isinstance(result, npsubpix.Fits):
            return result.coords, result.flux, result.flux_std
        return (result.coords, result.values) if isinstance(result, npsubpix.Peaks) else result

    return call


#: Calls of the public functions by their names; of a table they return columns of floats.
EXAMPLES = {name: _call(example) for operation in OPERATIONS.values() for name, example in operation.functions.items()}

#: Public functions of arrays that run no operation of the table, with an example.
BESIDES: dict[str, Example] = {
    "affine_grid": lambda npsubpix, x: npsubpix.affine_grid(x[0, :1, 0, :2, :3], (1, 1, 3, 4)),
    "assess": lambda npsubpix, x: npsubpix.assess(x[0, 0, 0, :, :2], x[0, 0, 1, :, :2], 1.0),
    "build_psf": lambda npsubpix, x: npsubpix.build_psf(x[0, 0, 0], x[0, 0, 1, :, :2], oversampling=1),
    "choose_conv_method": lambda npsubpix, x: npsubpix.choose_conv_method(x[0, 0, 0]),
    "cramer_rao": lambda npsubpix, x: npsubpix.cramer_rao(x[0, 0, 0] ** 2 + 100, 1.3, 2.0),
    "drift_of": lambda npsubpix, x: npsubpix.drift_of(x[0, 0, 0, :, :2], frame=list(range(7)), method="tracks"),
    "estimate_camera": lambda npsubpix, x: npsubpix.estimate_camera(x[0, 0] * (1 + abs(x[0, 0, :1]))),
    "refine_corners": lambda npsubpix, x: npsubpix.refine_corners(x[0, 0, 1], [[3, 2], [2.2, 5]], sigma=0),
    "fit_astigmatic_curve": lambda npsubpix, x: npsubpix.fit_astigmatic_curve(
        x[0, 0], x[0, 0, :, 0, 0], x[0, 0, 0, :, :2], box=5
    ),
    "sample_vjp": lambda npsubpix, x: npsubpix.sample_vjp(x[0, 0, 0, 0], x[0, 0, 0], x[0, 0, 1, :2], method="linear"),
    "simulate_spots": lambda npsubpix, x: npsubpix.simulate_spots((5, 6), x[0, 0, 0, :, :2], flux=9, sigma=1, rng=0),
    "transform_points": lambda npsubpix, x: npsubpix.transform_points([[1, 0, 0], [0, 1, 2]], x[0, 0, 0, :, :2]),
}


def arrays_of(name: str) -> list[str]:
    """Names of the arguments of a public function that are arrays, by what its signature says."""
    parameters = inspect.signature(getattr(npsubpix, name)).parameters.values()
    are = (p.name for p in parameters if any(word in str(p.annotation) for word in ("Array", "Transform")))
    return [argument for argument in are if argument != "out"]


class _Bound(Exception):
    """The arguments of a call that an example would make."""


class _Binding:
    """The package as an example sees it, which stops at the call of one function."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        function = getattr(npsubpix, name)
        if name != self._name:
            return function

        def bind(*args: Any, **kwargs: Any) -> None:
            raise _Bound(inspect.signature(function).bind(*args, **kwargs))

        return bind


def bound(name: str, x: Any) -> inspect.BoundArguments:
    """Return the arguments with which the example of a public function calls it."""
    examples = {n: e for operation in OPERATIONS.values() for n, e in operation.functions.items()} | BESIDES
    try:
        examples[name](_Binding(name), x)
    except _Bound as call:
        arguments: inspect.BoundArguments = call.args[0]
        return arguments
    raise AssertionError(f"the example of {name} does not call it")


def called_with(name: str, x: Any, **changes: Any) -> Any:
    """Call a public function as its example does, but for some arguments."""
    arguments = bound(name, x)
    arguments.arguments |= changes
    result = getattr(npsubpix, name)(*arguments.args, **arguments.kwargs)
    return next(result) if isinstance(result, Iterator) else result
