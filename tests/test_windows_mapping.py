"""Functions of windows: the loop that they stand for, borders, batches, closures, bad functions."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
import scipy.ndimage as ndi
import torch

import npsubpix
from tests.reference.windows import loop


def spread(a: Any) -> Any:
    return a.max() - 0.5 * a.min() + a.size


def spread_of_batch(a: Any) -> Any:
    axes = tuple(range(1, a.ndim))
    return a.max(axes) - 0.5 * a.min(axes) + np.prod(a.shape[1:])


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((11, 14), (3, 3)),
        ((9, 7), (2, 5)),
        ((4, 5), (7, 8)),
        pytest.param((5, 6, 7), (3, 2, 1), marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.parametrize("border", ["shrink", "reflect", "mirror", "nearest", "wrap", "constant"])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_loop(rng, shape, size, border, stride):
    """Compiled or with batches, of any size, windows are those of the loop."""
    x = rng.normal(size=shape)
    options: dict[str, Any] = {"size": size, "border": border, "cval": 0.25, "stride": stride}
    wanted = loop(spread, [x], size, border, 0.25, stride)
    np.testing.assert_allclose(npsubpix.window_map(spread, x, **options), wanted, rtol=1e-13)
    for memory in ("1 B", "1.5kB", "256 MB"):
        found = npsubpix.window_map(spread_of_batch, x, vectorized=True, max_memory=memory, **options)
        np.testing.assert_allclose(found, wanted, rtol=1e-13)


@pytest.mark.exhaustive  # which compiles five functions
def test_windows_of_several_images_and_several_results(rng):
    images = [rng.normal(size=(12, 13)).astype(t) for t in ("f8", "f4", ">f4", "f8")]
    functions = (
        lambda a: a.sum(),
        lambda a, b: a.sum() + 2 * b.sum(),
        lambda a, b, c: a.sum() + 2 * b.sum() + 3 * c.sum(),
        lambda a, b, c, d: a.sum() + 2 * b.sum() + 3 * c.sum() + 4 * d.sum(),
    )
    wanted = 0.0
    for k, func in enumerate(functions):
        found = npsubpix.window_map(func, *images[: k + 1], size=3, border="constant")
        wanted = wanted + (k + 1) * 9 * ndi.uniform_filter(images[k].astype(float), 3, mode="constant")
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    low, mean, count_of = npsubpix.window_map(lambda a: (a.min(), a.mean(), a.size), images[1], size=3, n_outputs=3)
    np.testing.assert_array_equal(low, ndi.minimum_filter(images[1], 3))
    assert (mean >= low).all()
    assert count_of[0, 0] == 4


@pytest.mark.exhaustive  # which compiles many functions
def test_closures_are_told_apart(rng):
    """Functions of one text that close over other values, or arrays, are other functions."""
    x = rng.normal(size=(8, 9))

    def times(factor):
        return lambda a: factor * a[0, 0]

    def times_second(weights):
        return lambda a: a[0, 0] * weights[1]

    for factor in (2.0, 3.0, 2.0):
        np.testing.assert_allclose(npsubpix.window_map(times(factor), x, size=1), factor * x)
    for weights in (np.array([1.0, 2.0]), np.array([3.0, 4.0])):
        np.testing.assert_allclose(npsubpix.window_map(times_second(weights), x, size=1), weights[1] * x)


@pytest.mark.exhaustive  # which compiles for each
def test_dtypes(rng):
    x = rng.integers(0, 255, (9, 10), np.uint8)
    assert npsubpix.window_map(lambda a: a.max(), x, size=3).dtype == np.uint8
    assert npsubpix.window_map(lambda a: a.mean(), x, size=3).dtype == np.float64
    assert npsubpix.window_map(lambda a: a.max() > 100, x, size=3).dtype == bool
    assert npsubpix.window_map(lambda a: a.mean(), x, size=3, dtype=np.float32).dtype == np.float32
    tensor = npsubpix.window_map(lambda a: a.max(), torch.from_numpy(x.astype(np.float32)), size=3)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor, ndi.maximum_filter(x, 3))
    x.flags.writeable = False
    turned = x[::-1].T
    np.testing.assert_array_equal(npsubpix.window_map(lambda a: a.max(), turned, size=3), ndi.maximum_filter(turned, 3))


@pytest.mark.parametrize("vectorized", [False, True])
def test_a_function_that_raises(vectorized):
    """The exception of the function comes through, with its own message."""

    def func(a):
        if a.max() > 40:
            raise ValueError("forty")
        return a.sum() if a.ndim == 2 else a.sum(2).sum(1)

    with pytest.raises(ValueError, match="forty"):
        npsubpix.window_map(func, np.arange(64.0).reshape(8, 8), size=3, vectorized=vectorized)


def normalized_correlation(a: Any, b: Any) -> Any:
    p, q = a - a.mean(), b - b.mean()
    return (p * q).sum() / np.sqrt((p * p).sum() * (q * q).sum())


FUNCTIONS: list[Any] = [
    lambda a, b: (a**2 - b**2).sum(),
    lambda a, b: np.median(a) - np.sort(b.ravel())[1],
    lambda a, b: a.min() + b.max() + a.argmax() - b.argmin(),
    lambda a, b: (a - b[0]).std() if a.shape[0] > 1 else np.sum(a[0] > b[0]),
    normalized_correlation,
]


@pytest.mark.parametrize(
    ("func", "size"),
    [
        (FUNCTIONS[0], (3, 4)),
        (FUNCTIONS[3], (3, 4)),
        *(pytest.param(f, (3, 4), marks=pytest.mark.exhaustive) for f in FUNCTIONS if f not in FUNCTIONS[::3]),
        pytest.param(normalized_correlation, (11, 13), marks=pytest.mark.exhaustive),
    ],
)
def test_what_numba_makes_of_expressions_is_what_numpy_does(rng, func, size):
    """Sums of expressions are one loop, of a known length where windows are small; results are NumPy's, for NaN too."""
    a, b = rng.normal(size=(2, 16, 18))
    np.testing.assert_allclose(npsubpix.window_map(func, a, b, size=size), loop(func, [a, b], size), rtol=1e-9)
    if "median" not in func.__code__.co_names:  # which Numba has its own mind about
        a[4, 5] = b[9, 9] = b[3, 5] = np.nan
        np.testing.assert_allclose(npsubpix.window_map(func, a, b, size=size), loop(func, [a, b], size), rtol=1e-9)


def test_a_function_that_numba_compiled_before(rng):
    x = rng.normal(size=(9, 8))
    compiled = numba.njit(lambda a: a.sum())
    np.testing.assert_allclose(npsubpix.window_map(compiled, x, size=3), loop(lambda a: a.sum(), [x], (3, 3)))


SCALE = 1.0


def test_values_from_around_a_function_are_those_of_the_call(rng):
    global SCALE
    x, table = rng.normal(size=(5, 6)), np.array([1.0, 2.0])

    def by_table(a: Any) -> Any:
        return a[0, 0] * table[0]

    def by_inner(a: Any) -> Any:
        total = 0.0
        for v in [SCALE * z for z in a.flat]:
            total += v
        return total

    for factor in (1.0, 100.0):
        table[0] = SCALE = factor
        np.testing.assert_allclose(npsubpix.window_map(by_table, x, size=1), factor * x)
        np.testing.assert_allclose(npsubpix.window_map(by_inner, x, size=1), factor * x)


def test_an_index_beyond_a_window_raises():
    """Windows at the border are smaller, which functions forget."""
    with pytest.raises(IndexError):
        npsubpix.window_map(lambda a: a[2, 2], np.arange(20.0).reshape(4, 5), size=3)


@pytest.mark.parametrize("vectorized", [False, True])
def test_results_of_another_dtype_are_rounded_and_kept_within_its_range(vectorized):
    x = np.array([[100.0, 180.0, 200.0, -5.0]])
    func = (lambda a: a[:, 0, 0] * 1.5) if vectorized else (lambda a: a[0, 0] * 1.5)
    found = npsubpix.window_map(func, x, size=1, dtype=np.uint8, vectorized=vectorized)
    np.testing.assert_array_equal(found, [[150, 255, 255, 0]])


def test_batches_that_return_other_dtypes_are_promoted():
    x = np.arange(8).reshape(2, 4)

    def func(a: Any) -> Any:
        return a[:, 0, 0] if a[0, 0, 0] < 4 else a[:, 0, 0] / 2

    np.testing.assert_array_equal(
        npsubpix.window_map(func, x, size=1, vectorized=True, max_memory=1), [[0, 1, 2, 3], [2, 2.5, 3, 3.5]]
    )


def test_division_by_zero_is_that_of_numpy():
    found = npsubpix.window_map(lambda a: (a[0, 0] - 1.0) / (a.max() - a.min()), np.ones((2, 3)), size=1)
    assert np.isnan(found).all()


def test_cval_is_rounded_among_integers():
    x = np.array([[1, 2]], np.int8)
    found = npsubpix.window_map(lambda a: a.max(), x, size=3, border="constant", cval=300)
    assert (found == 127).all()


IMAGE = np.zeros((5, 6))


def writes(a: Any) -> Any:
    a[0, 0] = 1
    return a.sum()


BAD: list[Any] = [
    ((3, IMAGE), {}, TypeError, "func must be a function"),
    ((lambda a: open(a), IMAGE), {}, TypeError, r"(?s)vectorized=True.*Untyped global name 'open'"),  # noqa: SIM115, PTH123
    ((max, IMAGE), {}, TypeError, "func must return real numbers"),
    ((np.add, IMAGE), {}, TypeError, "func must be a plain function"),
    ((lambda a: a.sum(), IMAGE), {"dtype": complex}, TypeError, "dtype must be that of integers or floats"),
    ((writes, IMAGE), {}, TypeError, "(?s)Cannot modify readonly array"),
    ((lambda a: (a.sum(), 1), IMAGE), {}, ValueError, "as many values as n_outputs, 1, got a tuple of 2"),
    ((lambda a: a.sum(), IMAGE), {"n_outputs": 2}, ValueError, "as many values as n_outputs, 2, got one value"),
    ((lambda a: a, IMAGE), {}, TypeError, "func must return real numbers"),
    ((lambda a: a.sum(), IMAGE), {"vectorized": True}, ValueError, r"arrays of shape \(\d+,\), got shapes \[\(\)\]"),
    ((lambda a: a.sum(),), {}, TypeError, "images must be one to four arrays, got 0"),
    ((lambda a, b: a.sum() + b.sum(), IMAGE, IMAGE.T), {}, ValueError, "images must have one shape"),
    ((lambda a: a.sum(), np.zeros((2, 2, 2, 2))), {}, ValueError, "images must have one shape"),
    ((lambda a: a.sum(), IMAGE), {"size": 0}, ValueError, "size must be at least 1"),
    ((lambda a: a.sum(), IMAGE), {"size": (3, 3, 3)}, ValueError, "size must be one integer or 2 of them"),
    ((lambda a: a.sum(), IMAGE), {"border": "zero"}, ValueError, "border must be one of"),
    ((lambda a: a.sum(), IMAGE), {"max_memory": "much"}, ValueError, "max_memory must be a number of bytes"),
]


@pytest.mark.parametrize(("arguments", "options", "error", "match"), BAD)
def test_misuse(arguments, options, error, match):
    with pytest.raises(error, match=match):
        npsubpix.window_map(*arguments, **{"size": 3, **options})
