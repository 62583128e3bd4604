"""Functions of windows on the host: compiled into a loop, or called with batches of windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from numba import literal_unroll, prange
from numba.core import types
from numba.np.numpy_support import as_dtype

from npsubpix._arrays import HostArray
from npsubpix._cpu._jit import Kernel, compile_function_of_user, device
from npsubpix._cpu._memory import keep, lend
from npsubpix._cpu._places import folded
from npsubpix._functions import identity_of

__all__ = ["map_batches", "map_windows"]

_TUPLES: Any = getattr(types, "BaseTuple")  # noqa: B009, what Numba's stubs do not list

#: Loops that were compiled, by what the function in them does, how many images it takes, and their dimensions.
_loops: dict[Any, tuple[Any, Kernel]] = {}
_kept: list[Any] = []  # what identities know by address


@device
def _ends(k, step, back, size, n):  # type: ignore[no-untyped-def]
    """Return where window k begins and ends along an axis of n pixels."""
    start = k * step - back
    return max(start, 0), min(start + size, n)


def _lender(count: int) -> Callable[..., Any]:
    """Make the function that lends all images of a tuple."""

    @device
    def one(x):  # type: ignore[no-untyped-def]
        return (lend(x[0]),)

    @device
    def two(x):  # type: ignore[no-untyped-def]
        return lend(x[0]), lend(x[1])

    @device
    def three(x):  # type: ignore[no-untyped-def]
        return lend(x[0]), lend(x[1]), lend(x[2])

    @device
    def four(x):  # type: ignore[no-untyped-def]
        return lend(x[0]), lend(x[1]), lend(x[2]), lend(x[3])

    return (one, two, three, four)[count - 1]


def _cutter(count: int, ndim: int) -> Callable[..., Any]:
    """Make the function that cuts one window out of each image."""

    @device
    def cut2(x, z, y, c):  # type: ignore[no-untyped-def]
        return x[y[0] : y[1], c[0] : c[1]]

    @device
    def cut3(x, z, y, c):  # type: ignore[no-untyped-def]
        return x[z[0] : z[1], y[0] : y[1], c[0] : c[1]]

    cut = cut2 if ndim == 2 else cut3

    @device
    def one(x, z, y, c):  # type: ignore[no-untyped-def]
        return (cut(x[0], z, y, c),)

    @device
    def two(x, z, y, c):  # type: ignore[no-untyped-def]
        return cut(x[0], z, y, c), cut(x[1], z, y, c)

    @device
    def three(x, z, y, c):  # type: ignore[no-untyped-def]
        return cut(x[0], z, y, c), cut(x[1], z, y, c), cut(x[2], z, y, c)

    @device
    def four(x, z, y, c):  # type: ignore[no-untyped-def]
        return cut(x[0], z, y, c), cut(x[1], z, y, c), cut(x[2], z, y, c), cut(x[3], z, y, c)

    return (one, two, three, four)[count - 1]


def _loop(function: Any, count: int, ndim: int, outputs: int) -> Kernel:
    lend_all, cut = _lender(count), _cutter(count, ndim)

    @device
    def write(out, place, values):  # type: ignore[no-untyped-def]
        if outputs == 1:
            out[0, place] = values
        else:
            k = 0
            for value in literal_unroll(values):
                out[k, place] = value
                k += 1  # noqa: SIM113, which Numba cannot unroll

    @device
    def write_one(out, place, values):  # type: ignore[no-untyped-def]
        out[0, place] = values

    put = write_one if outputs == 1 else write

    @device
    def call(out, place, windows):  # type: ignore[no-untyped-def]
        try:
            put(out, place, function(*windows))
        except Exception:
            return False
        return True

    def loop(images, shape, counts, size, back, step, failed, out):  # type: ignore[no-untyped-def]
        depth, height, width = counts
        for line in prange(depth * height):
            lent = lend_all(images)
            z = _ends(line // height, step[0], back[0], size[0], shape[0])
            y = _ends(line % height, step[1], back[1], size[1], shape[1])
            failed[line] = -1
            for k in range(width):
                c = _ends(k, step[2], back[2], size[2], shape[2])
                if not call(out, line * width + k, cut(lent, z, y, c)) and failed[line] < 0:
                    failed[line] = k
        for image in literal_unroll(images):
            keep(image)

    return Kernel(loop, "window_map", cached=False)


def _returned(function: Any, images: Sequence[HostArray]) -> Any:
    """Compile a function for windows of images; return the type of what it returns."""
    windows = tuple(types.Array(numba.from_dtype(x.dtype), x.ndim, "A") for x in images)
    try:
        function.compile(windows)
    except numba.core.errors.NumbaError as error:
        raise TypeError(
            f"func must be a function that Numba can compile, or be called with vectorized=True: {error}"
        ) from None
    return function.overloads[windows].signature.return_type


def _dtype_of(kind: Any, outputs: int) -> np.dtype[Any]:
    """Return the dtype of results; refuse a function that returns another number of values."""
    values = tuple(kind.types) if isinstance(kind, _TUPLES) else (kind,)
    if isinstance(kind, _TUPLES) != (outputs > 1) or len(values) != outputs:
        found = f"{len(values)} values" if isinstance(kind, _TUPLES) else "one value"
        raise ValueError(f"func must return as many values as n_outputs, {outputs}, got {found}")
    if not all(isinstance(v, (types.Integer, types.Float, types.Boolean)) for v in values):
        raise TypeError(f"func must return real numbers, got {', '.join(map(str, values))}")
    return np.result_type(*(as_dtype(v) for v in values))


def _counts(shape: tuple[int, ...], step: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-n // s) for n, s in zip(shape, step, strict=True))


def _padded(x: HostArray, size: tuple[int, ...], step: tuple[int, ...], border: str, cval: float) -> HostArray:
    """Copy an image with what windows reach beyond its ends."""
    for axis, (n, k, s) in enumerate(zip(x.shape, size, step, strict=True)):
        places = folded(np.arange(-(k // 2), (-(-n // s) - 1) * s + k - k // 2), n, border)
        x = np.take(x, np.maximum(places, 0), axis)
        if (places < 0).any():
            np.moveaxis(x, axis, 0)[places < 0] = x.dtype.type(cval)
    return np.ascontiguousarray(x)


def map_windows(
    func: Callable[..., Any], images: Sequence[HostArray], size: tuple[int, ...], border: str, cval: float,
    step: tuple[int, ...], dtype: np.dtype[Any] | None, outputs: int,
) -> HostArray:  # fmt: skip
    """Call a function, compiled, with each window; return results (outputs, *counts)."""
    counts = _counts(images[0].shape, step)
    back = tuple(k // 2 for k in size)
    if border != "shrink":
        images, back = [_padded(x, size, step, border, cval) for x in images], (0,) * len(size)
    compiled = compile_function_of_user(func)
    chosen = _dtype_of(_returned(compiled, images), outputs)
    key = identity_of(func, _kept), len(images), len(size), outputs
    if key not in _loops:
        _loops[key] = compiled, _loop(compiled, len(images), len(size), outputs)
    out = np.empty((outputs, math.prod(counts)), dtype or chosen)
    three = [(fill,) * (3 - len(size)) + tuple(v) for v, fill in
             ((images[0].shape, 1), (counts, 1), (size, 1), (back, 0), (step, 1))]  # fmt: skip
    failed = np.full(math.prod(counts[:-1]), -1)
    _loops[key][1].run(out.size * (20 + 4 * math.prod(size)), tuple(images), *three, failed, out)
    if (failed >= 0).any():
        _raise_again(compiled.py_func, images, counts, size, back, step, failed)
    return out.reshape(outputs, *counts)


def _raise_again(
    function: Callable[..., Any], images: Sequence[HostArray], counts: tuple[int, ...], size: tuple[int, ...],
    back: tuple[int, ...], step: tuple[int, ...], failed: HostArray,
) -> None:  # fmt: skip
    """Call the function, not compiled, with the first window that it raised for."""
    line = int(np.flatnonzero(failed >= 0)[0])
    place = [int(p) for p in np.unravel_index(line, counts[:-1])] + [int(failed[line])]
    starts = [p * s - b for p, s, b in zip(place, step, back, strict=True)]
    window = tuple(slice(max(a, 0), a + k) for a, k in zip(starts, size, strict=True))
    function(*(x[window] for x in images))
    raise RuntimeError(f"func raised an exception for the window at {tuple(place)}, when it was compiled")


def _parts(n: int, size: int, step: int, back: int) -> list[tuple[slice, slice, int]]:
    """Divide windows along an axis by their length: places in the result, pixels, and the length."""
    count = -(-n // step)
    starts = np.arange(count) * step - back
    low, high = np.maximum(starts, 0), np.minimum(starts + size, n)
    parts = []
    for length, same in itertools.groupby(range(count), lambda k: (high[k] - low[k], high[k] - low[k] < size and k)):
        places = list(same)
        first, last = places[0], places[-1]
        parts.append((slice(first, last + 1), slice(int(low[first]), int(high[last])), int(length[0])))
    return parts


def map_batches(
    func: Callable[..., Any], images: Sequence[HostArray], size: tuple[int, ...], border: str, cval: float,
    step: tuple[int, ...], dtype: np.dtype[Any] | None, outputs: int, memory: int,
) -> HostArray:  # fmt: skip
    """Call a function with batches of windows of one shape, (N, *shape); return results (outputs, *counts)."""
    counts = _counts(images[0].shape, step)
    back = tuple(k // 2 for k in size)
    if border != "shrink":
        images, back = [_padded(x, size, step, border, cval) for x in images], (0,) * len(size)
    out: HostArray | None = None
    axes = [
        _parts(n if border == "shrink" else counts[a] * s, k, s, b)
        for a, (n, k, s, b) in enumerate(zip(images[0].shape, size, step, back, strict=True))
    ]
    if border != "shrink":
        axes = [[(slice(0, c), slice(0, x), k)] for c, x, k in zip(counts, images[0].shape, size, strict=True)]
    for part in itertools.product(*axes):
        places, lengths = tuple(p[0] for p in part), tuple(p[2] for p in part)
        views = [
            np.lib.stride_tricks.sliding_window_view(x[tuple(p[1] for p in part)], lengths)[
                tuple(slice(None, None, s) for s in step)
            ]
            for x in images
        ]
        here = views[0].shape[: len(size)]
        each = sum(x.itemsize for x in images) * math.prod(lengths) * math.prod(here[1:])
        rows = max(1, memory // max(each, 1))
        for first in range(0, here[0], rows):
            chunk = [v[first : first + rows] for v in views]
            shape = chunk[0].shape[: len(size)]
            values = func(*(c.reshape(-1, *lengths) for c in chunk))
            results = _checked(values, outputs, math.prod(shape))
            if out is None:
                out = np.empty((outputs, *counts), dtype or np.result_type(*results))
            there = out[tuple([slice(None), *places])]  # noqa: C409, for Python 3.10
            for k, result in enumerate(results):
                there[k, first : first + shape[0]] = result.reshape(shape)
    return np.empty((outputs, *counts), dtype or np.float64) if out is None else out


def _checked(values: Any, outputs: int, count: int) -> list[HostArray]:
    """Require one array of results an output."""
    results = [np.asarray(v) for v in (values if isinstance(values, tuple) else (values,))]
    if len(results) != outputs or any(r.shape != (count,) for r in results):
        shapes = [r.shape for r in results]
        raise ValueError(f"func must return n_outputs = {outputs} arrays of shape ({count},), got shapes {shapes}")
    return results
