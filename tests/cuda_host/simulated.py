"""Functions of windows in numba's simulator of GPUs: `NUMBA_ENABLE_CUDASIM=1 python -m tests.cuda_host.simulated`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from numba.np.numpy_support import as_dtype

import npsubpix
from npsubpix._arrays.home import home_of
from npsubpix._cuda.launch import devices
from npsubpix._cuda.windows import mapping, numba_loops
from npsubpix._dispatch import backends
from tests.cuda_host.device import HostDevice
from tests.reference.windows import loop


def type_of_result(function: Any, windows: tuple[Any, ...]) -> Any:
    """What the simulator does not tell: the type of the result for some windows."""
    return numba.typeof(function(*map(_example, windows)))


def _example(kind: Any) -> Any:
    is_array = isinstance(kind, numba.types.Array)
    return np.ones((2,) * kind.ndim, as_dtype(kind.dtype)) if is_array else as_dtype(kind).type(1)


def spread(a: Any) -> Any:
    return a.max() - 0.5 * a.min() + a.size


def check(func: Any, images: list[np.ndarray], size: tuple[int, ...], border: str, stride: int) -> None:
    options: dict[str, Any] = {"size": size, "border": border, "cval": 0.25, "stride": stride}
    found = npsubpix.window_map(func, *images, **options)
    np.testing.assert_allclose(found, loop(func, images, size, border, 0.25, stride), rtol=1e-12)


def brighter(a: Any, least: Any, *, plus: Any = 0.5) -> Any:
    """Count without functions of arrays, which numba.cuda does not know."""
    count = plus
    for v in a.flat:
        if v > least:
            count += 1
    return count


def check_arguments(image: np.ndarray, line: np.ndarray, volume: np.ndarray) -> None:
    """Values are passed, defaults are those of the call, and windows are lines or pixels of a footprint."""
    for x in (line, image, volume):
        ones = np.ones((2, 3, 2)[: x.ndim], bool)
        for least in (0.0, 0.25):
            wanted = loop(lambda a: (a > least).sum() + 0.5, [x], ones.shape)  # noqa: B023
            for options in ({"size": ones.shape}, {"footprint": ones}):
                found = npsubpix.window_map(brighter, x, args=(least,), **options)
                np.testing.assert_allclose(found, wanted, rtol=1e-12)
    kernels = len(mapping._kernels._compiled)
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    for least in (0.0, 0.5):
        found = npsubpix.window_map(
            lambda a, b, c, d, k: a.sum() + b.max() * c.min() + d.size + k[1],
            image, image + 1, image - 2, image * 2, footprint=cross, border="nearest", args=(np.array([7.0, least]),),
        )  # fmt: skip
        sums = (npsubpix.window_map(n, x, footprint=cross, border="nearest") for n, x in
                (("sum", image), ("max", image + 1), ("min", image - 2)))  # fmt: skip
        total, most, low = sums
        np.testing.assert_allclose(found, total + most * low + 5 + least, rtol=1e-12)
    assert len(mapping._kernels._compiled) == kernels + 1
    with pytest.raises(TypeError, match="func must have numbers for args and defaults on a GPU, got 'x'"):
        npsubpix.window_map(lambda a, name="x": a.sum() + len(name), image, size=3)


def main() -> None:
    rng = np.random.default_rng(20260101)
    image, volume = rng.normal(size=(6, 7)), rng.normal(size=(3, 4, 5))
    functions = (
        spread,
        lambda a, b: a.max() - b.sum(),
        lambda a, b, c: a.max() - b.sum() * c.min(),
        lambda a, b, c, d: a.max() - b.sum() * c.min() + d.size,
    )
    for count, func in enumerate(functions, 1):
        check(func, [image, image + 1, image - 2, image * 2][:count], (3, 2), "shrink", count)
        check(func, [volume, volume + 1, volume - 2, volume * 2][:count], (2, 3, 4), "shrink", 2)
    for border in ("reflect", "mirror", "nearest", "wrap", "constant"):
        check(spread, [image], (3, 9), border, 1)
    low, mean, above = npsubpix.window_map(
        lambda a: (a.min(), a.sum() / a.size, a.size > 4), image, size=3, n_outputs=3
    )
    np.testing.assert_array_equal(low, npsubpix.window_map("min", image, size=3))
    np.testing.assert_allclose(mean, npsubpix.window_map("mean", image, size=3), rtol=1e-12)
    assert above.sum() == above.size - 4
    assert npsubpix.window_map(lambda a: a[0, 0], image.astype(np.uint8), size=1).dtype == np.uint8
    compiled = numba.njit(lambda a: a.max())
    np.testing.assert_array_equal(npsubpix.window_map(compiled, image, size=3), npsubpix.window_max(image, 3))
    with pytest.raises(
        TypeError, match=r"(?s)name of a reduction, or a plain .* vectorized=True, .* moved to the host"
    ):
        npsubpix.window_map(lambda a: open(a), image, size=3)  # noqa: SIM115, PTH123
    with pytest.raises(ValueError, match="as many values as n_outputs, 2, got one value"):
        npsubpix.window_map(spread, image, size=3, n_outputs=2)
    check_arguments(image, rng.normal(size=12), volume)
    assert backends.implementation("windows", home_of(image)).map_windows is mapping.map_windows


if __name__ == "__main__":
    numba_loops.type_of_result = type_of_result
    devices.DEVICES[np.ndarray] = lambda _: HostDevice()
    backends._PACKAGES["host"] = "npsubpix._cuda"
    main()
