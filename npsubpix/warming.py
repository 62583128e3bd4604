"""Compilation ahead of the first calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from npsubpix._arrays.options import check_choice
from npsubpix._dispatch.backends import in_threads
from npsubpix._dispatch.operation import Example
from npsubpix._dispatch.operations import OPERATIONS
from npsubpix.gradients import vjp

__all__ = ["warmup"]

_SHAPE = 1, 2, 4, 7, 8  # of the array that examples take

_DTYPES = "uint8", "uint16", "int16", "int32", "float32", "float64"


def warmup(
    *what: str | Callable[[], Any],
    dtypes: Sequence[str] = ("float32",),
    progress: Callable[[int, int, str], None] | None = None,
) -> None:
    """Compile kernels of the host ahead of their first calls, and keep them in the cache on the disk.

    Parameters
    ----------
    *what : str or callable
        Names of families of functions, such as "sampling", or of functions, such as "find_peaks"; by default, all
        functions. A callable without arguments is called, and what it calls is compiled: with its methods, its
        options and its arrays, of which small ones are enough.
    dtypes : sequence of str, default ("float32",)
        Dtypes of images for the functions that are named: "uint8", "uint16", "int16", "int32", "float32", "float64".
    progress : callable, optional
        Called before each step with the number of steps that are done, the number of all, and the name of the next one;
        and once at the end.

    Raises
    ------
    TypeError
        If an argument is neither a name nor a callable.
    ValueError
        If a name is unknown.

    See Also
    --------
    vjp : Vector-Jacobian products, whose kernels are compiled too.

    Notes
    -----
    A function that is named is called with a small array in default methods and options, with threads and without; so
    are the gradients of functions that have any. Other methods and options may have kernels of their own: pass a
    callable to compile them. Kernels are compiled for the processor, and with the versions of Numba, Python and this
    package that run; those that are in the cache are not compiled again. Nothing is kept where ``npsubpix info`` says
    that the cache is off. Nothing is compiled for GPUs.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> image = np.zeros((32, 32), np.float32)
    >>> npsubpix.warmup(lambda: npsubpix.nms2d(image[None, None], (3, 3)))
    """
    import npsubpix

    for dtype in dtypes:
        check_choice(dtype, "dtypes", _DTYPES)
    steps = [(name, call) for name, call in _steps(npsubpix, what or tuple(_families()), tuple(dtypes))]
    for done, (name, call) in enumerate(steps):
        if progress is not None:
            progress(done, len(steps), name)
        call()
        with in_threads():
            call()
    if progress is not None:
        progress(len(steps), len(steps), "")


def _families() -> dict[str, list[str]]:
    """Return the public functions of each family."""
    families: dict[str, list[str]] = {}
    for operation in OPERATIONS.values():
        families.setdefault(operation.family, []).extend(operation.functions)
    return {family: functions for family, functions in families.items() if functions}


def _steps(
    npsubpix: Any, what: Sequence[str | Callable[[], Any]], dtypes: tuple[str, ...]
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the names and calls of all steps, each function once."""
    families, seen = _families(), set()
    operations = {name: operation for operation in OPERATIONS.values() for name in operation.functions}
    for entry in what:
        if not isinstance(entry, str):
            if not callable(entry):
                raise TypeError(f"warmup takes names and callables, got {entry!r}")
            yield getattr(entry, "__name__", "call"), entry
            continue
        if entry not in operations:
            check_choice(entry, "warmup", (*families, *operations))
        for name in (entry,) if entry in operations else families[entry]:
            if name in seen:
                continue
            seen.add(name)
            example, differentiable = operations[name].functions[name], bool(operations[name].differentiable)
            for dtype in dtypes:
                yield f"{name}, {dtype}", _call_of(npsubpix, example, differentiable, dtype)


def _call_of(npsubpix: Any, example: Example, differentiable: bool, dtype: str) -> Callable[[], Any]:
    x = np.random.default_rng(0).uniform(0, 100, _SHAPE).astype(dtype)

    def call() -> None:
        if not differentiable:
            example(npsubpix, x)
            return
        results, pull_back = vjp(example, npsubpix, x)
        pull_back(*results) if isinstance(results, tuple) else pull_back(results)

    return call
