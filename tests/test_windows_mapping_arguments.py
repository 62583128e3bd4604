"""Functions of windows: what is passed to them, what they take from elsewhere, footprints, NumPy's functions, lines."""

from __future__ import annotations

import collections
import functools
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import scipy.ndimage as ndi
import torch

import npsubpix
from npsubpix._cpu.compiler import cache
from npsubpix._cpu.windows import mapping
from npsubpix._definitions.user_functions import CompiledFunctions, digest_of, identity_of
from tests.reference.windows import loop, window_statistic


def brighter(a: Any, least: Any) -> Any:
    return (a > least).sum()


# What is passed


def test_values_are_passed_without_compiling_again(rng):
    x = rng.normal(size=(9, 8))
    npsubpix.window_map(brighter, x, size=3, args=(0.5,))
    compiled = dict(mapping._loops._compiled)
    for least in (0.0, -0.0, -1.5, float("nan"), np.float64(2.0)):
        wanted = loop(lambda a: (a > least).sum(), [x], (3, 3))  # noqa: B023
        np.testing.assert_array_equal(npsubpix.window_map(brighter, x, size=3, args=(least,)), wanted)
    assert mapping._loops._compiled == compiled


def test_numbers_and_arrays_of_all_types_are_passed(rng):
    x, table = rng.normal(size=(6, 7)), rng.normal(size=(3, 3))

    def func(a: Any, k: Any, flag: Any, table: Any, small: Any) -> Any:
        total = 0.0
        if flag:
            total = 100.0
        for i in range(a.shape[0]):
            for j in range(a.shape[1]):
                total += a[i, j] * table[i, j]
        return total + k + small[1]

    small = np.array([1, 2], ">i2")
    for flag in (True, False):
        args: Any = (3, flag, torch.from_numpy(table), small)
        found = npsubpix.window_map(func, x, size=3, args=args)
        wanted = loop(lambda a: (a * table[: a.shape[0], : a.shape[1]]).sum() + 5 + 100 * flag, [x], (3, 3))  # noqa: B023
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    batches = npsubpix.window_map(
        lambda w, k, s: w.sum((1, 2)) + k + len(s), x, size=3, args=(1, "ab"), vectorized=True
    )
    options: Any = {"size": 3, "args": (1, "ab"), "vectorized": True}
    batches = npsubpix.window_map(lambda w, k, text: w.sum((1, 2)) + k + len(text), x, **options)
    np.testing.assert_allclose(batches, npsubpix.window_sum(x, 3) + 3)


@pytest.mark.exhaustive  # which compiles many functions
def test_defaults_of_all_parameters():
    x = np.arange(12.0).reshape(3, 4)

    def func(a: Any, plus: Any = 1.0, /, times: Any = 10.0, *, minus: Any = 0.5, name: Any = None) -> Any:
        return (a[0, 0] + plus) * times - minus + (0 if name is None else 1000)

    np.testing.assert_allclose(npsubpix.window_map(func, x, size=1), (x + 1) * 10 - 0.5)
    np.testing.assert_allclose(npsubpix.window_map(func, x, size=1, args=(2,)), (x + 2) * 10 - 0.5)
    np.testing.assert_allclose(npsubpix.window_map(func, x, size=1, args=(2, 1)), (x + 2) - 0.5)
    func.__defaults__, func.__kwdefaults__ = (3.0, 10.0), {"minus": 0.0, "name": 1}
    np.testing.assert_allclose(npsubpix.window_map(func, x, size=1), (x + 3) * 10 + 1000)
    with pytest.raises(TypeError, match="func must be a function of 1 window and 3 args: too many positional"):
        npsubpix.window_map(func, x, size=1, args=(1, 2, 3))


BAD: list[Any] = [
    (
        np.zeros((4, 5)),
        (),
        TypeError,
        "func must be a function, or the name of one, and comes before the images, got ndarray",
    ),
    (lambda a, b: a.sum() + b, (), TypeError, r"func must be a function of 1 window: missing a required argument: 'b'"),
    (lambda a, *, b: a.sum() + b, (), TypeError, "func must be a function of 1 window: missing a required"),
    (
        lambda a, *more, b=1: a.sum() + b + len(more),
        (),
        TypeError,
        "a function must not have keyword-only parameters behind",
    ),
    (lambda a, b: a.sum() + b, 3, TypeError, r"args must be a tuple, got int: write args=\(value,\)"),
    (brighter, ("mean",), TypeError, r"args\[0\] must be a number or an array of numbers, got str"),
    (brighter, (np.array([1], object),), TypeError, r"args\[0\] must be .* of numbers, got an array of object"),
    (brighter, (np.array(["1"]),), TypeError, r"args\[0\] must be .* of numbers, got an array of <U1"),
    (brighter, (2**63,), ValueError, r"args\[0\] must be an integer of 64 bits"),
    ("mean", (1,), ValueError, "args must be left out for a reduction by name"),
    (functools.partial(brighter, least=1), (), TypeError, "func must be a plain function that Numba can compile"),
]


@pytest.mark.parametrize(("func", "args", "error", "match"), BAD)
def test_misuse_of_arguments(func, args, error, match):
    with pytest.raises(error, match=match):
        npsubpix.window_map(func, np.zeros((4, 5)), size=3, args=args)


# What is taken from elsewhere

Point = collections.namedtuple("Point", ["x", "y"])
Turned = collections.namedtuple("Turned", ["y", "x"])


def closing_over(value: Any) -> Any:
    return lambda a: a[0, 0] + value


@pytest.mark.exhaustive  # which compiles many functions
def test_attributes_of_modules_are_those_of_the_call():
    x, config = np.zeros((2, 3)), types.ModuleType("config")
    config.inner = types.ModuleType("inner")

    def direct(a: Any) -> Any:
        return a[0, 0] + config.inner.shift

    def under_another_name(a: Any) -> Any:
        module = config
        return a[0, 0] + module.inner.shift

    for func in (direct, under_another_name):
        for shift in (1.0, 2.0):
            config.inner.shift = shift
            assert (npsubpix.window_map(func, x, size=1) == shift).all()


@pytest.mark.exhaustive  # which compiles many functions
def test_zeros_of_both_signs_are_two_values():
    x = np.full((2, 3), -0.0)
    for zero in (0.0, -0.0, 0.0):
        found = npsubpix.window_map(closing_over(zero), x, size=1)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(x + zero))


def test_named_tuples_are_told_apart_by_their_names():
    def first_of(point: Any) -> Any:
        return lambda a: a[0, 0] + point.x

    x = np.zeros((2, 3))
    assert (npsubpix.window_map(first_of(Point(1.0, 2.0)), x, size=1) == 1).all()
    assert (npsubpix.window_map(first_of(Turned(1.0, 2.0)), x, size=1) == 2).all()


def of_module(module: Any) -> Any:
    return lambda a: a.sum() + module.pi


def helper(a: Any) -> Any:
    return a.sum() * 2


DIFFERENT: list[Any] = [
    (closing_over(1), closing_over(True)),
    (closing_over(1.0), closing_over(1)),
    (closing_over(1.0), closing_over(np.float32(1))),
    (closing_over(1j), closing_over(complex(-0.0, 1))),
    (closing_over(np.array([1, 2])), closing_over(np.array([[1, 2]]))),
    (closing_over(np.zeros(2, [("a", "i4"), ("b", "i4")])), closing_over(np.zeros(2, [("b", "i4"), ("a", "i4")]))),
    (closing_over((1, (2, 3))), closing_over((1, (2, 4)))),
    (closing_over(np.sum), closing_over(np.max)),
    (numba.njit(helper), numba.njit(fastmath=True)(helper)),
    (types.FunctionType(helper.__code__, {}), types.FunctionType(helper.__code__, {}, argdefs=(1.0,))),
]


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_functions_of_other_values_are_others(first, second):
    assert identity_of(first) == identity_of(first)
    assert identity_of(first) != identity_of(second)


def test_functions_of_the_same_values_are_one():
    """Also where a value is not equal to itself, or another object."""
    for value in (float("nan"), 2.5, "text", (1, None), np.arange(3), np.float32(2), np.dtype("f4"), np.sum):
        assert identity_of(closing_over(value)) == identity_of(closing_over(value))
    config = types.ModuleType("config")
    config.pi = 3.0
    assert identity_of(of_module(np)) == identity_of(of_module(np)) != identity_of(of_module(config))


def test_names_of_attributes_of_windows_are_no_names_from_elsewhere():
    """A list of that name around the function does not have it compiled anew each time."""
    global shape
    shape = [3, 3]
    assert identity_of(lambda a: a.shape[0]) is not None
    assert identity_of(lambda a: a[shape[0]]) is None


def test_a_function_of_what_may_change_unseen_is_compiled_anew():
    compiled: CompiledFunctions[int] = CompiledFunctions()
    count = iter(range(9))
    results = [compiled.get(closing_over(value), "f8", count.__next__) for value in (1, [1], [1], 1)]
    assert results == [0, 1, 2, 0]


# What is kept on the disk

MAKE = """
import math
import numpy as np
def make(k, floor=np.arange(3)):
    return lambda a: math.exp(a) + k + np.sqrt(floor[1]) if k in {1.5, "b", None, (2, 3.0)} else -0.0
"""


def test_digests_are_those_of_code_and_values():
    """In any process: a loop of another function that is taken from the disk would give its results in silence."""
    made: dict[str, Any] = {}
    exec(compile(MAKE, "<made>", "exec", dont_inherit=True), made)
    digest = digest_of(made["make"](1.5))
    assert digest is not None
    assert len({digest, *(digest_of(made["make"](k)) for k in (1, 1.0, True, -0.0, 0.0, "1", None, (1.5,)))}) == 9
    code = f"{MAKE}\nfrom npsubpix._definitions.user_functions import digest_of\nprint(digest_of(make(1.5)))"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == digest
    assert digest_of(np.exp) == digest_of(np.exp) != digest_of(np.sin)
    for value in ([1], helper, numba.njit(helper), types.SimpleNamespace(), object()):
        assert digest_of(closing_over(value)) is None


@pytest.mark.exhaustive  # which compiles two loops
def test_compiled_functions_are_kept_on_the_disk(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "cache_directory", lambda: tmp_path)
    x = rng.normal(size=(9, 8))

    def from_the_disk(func: Any, **options: Any) -> int:
        """Call a function as a new process does; return how many loops came from the disk."""
        monkeypatch.setattr(mapping, "_loops", CompiledFunctions())
        np.testing.assert_array_equal(npsubpix.window_map(func, x, size=3, **options), loop(func, [x], (3, 3)))
        ((_, kernel),) = mapping._loops._compiled.values()
        return sum(kernel.serial.stats.cache_hits.values())

    def above(least: float) -> Any:
        return lambda a: (a > least).sum()

    assert [from_the_disk(above(least)) for least in (0.5, 0.5, -0.5, 0.5)] == [0, 1, 0, 1]


# NumPy's functions, lines and footprints


@pytest.mark.exhaustive  # each is compiled
def test_functions_of_numpy(rng):
    x = rng.normal(size=(9, 8))
    x[2, 3] = np.nan
    np.testing.assert_allclose(npsubpix.window_map(np.nanmedian, x, size=3), loop(np.nanmedian, [x], (3, 3)))
    found = npsubpix.window_map(np.nanpercentile, x, size=3, args=(30,))
    np.testing.assert_allclose(found, loop(lambda a: np.nanpercentile(a, 30), [x], (3, 3)))
    with pytest.raises(TypeError, match=r"(?s)one of NumPy's that Numba implements; .*vectorized=True"):
        npsubpix.window_map(np.gradient, x, size=3)


@pytest.mark.parametrize("border", ["shrink", "reflect", "constant"])
@pytest.mark.parametrize("size", [1, 4, 200])
def test_lines(rng, border, size):
    """Windows of images of one axis, of constant size and others, of any layout in memory."""
    x = rng.normal(size=300)
    options: dict[str, Any] = {"size": size, "border": border, "stride": 7}
    for line in (x, x[::-3]):
        wanted = loop(lambda a: a.max() - a[0], [line], (size,), border, 0.0, 7)
        np.testing.assert_array_equal(npsubpix.window_map(lambda a: a.max() - a[0], line, **options), wanted)
        found = npsubpix.window_map(lambda a: a.max(1) - a[:, 0], line, vectorized=True, **options)
        np.testing.assert_array_equal(found, wanted)


FOOTPRINTS = {
    1: np.array([1, 0, 1, 1], bool),
    2: np.array([[0, 1, 0], [1, 0, 1]], bool),
    3: np.array([[[0, 1], [1, 0], [1, 1]]], bool),
}


@pytest.mark.parametrize("border", ["shrink", "mirror", "constant"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_footprints(rng, border, axes):
    """A function gets the pixels that count, in their order, and may get none."""
    x, footprint = rng.normal(size=(5, 6, 7)[:axes]), FOOTPRINTS[axes]
    options: dict[str, Any] = {"footprint": footprint, "border": border, "cval": 0.5, "stride": 2}

    def func(a: Any) -> Any:
        return 10.0 * a[0] - a[-1] if a.size > 0 else -7.0

    def of_batch(a: Any) -> Any:
        return 10.0 * a[:, 0] - a[:, -1] if a.shape[1] else np.full(len(a), -7.0)

    wanted = np.zeros([-(-n // 2) for n in x.shape])
    for place in np.ndindex(*wanted.shape):
        pixels = [
            window_statistic(x, "sum", footprint=one, border=border, cval=0.5, stride=2)[place]
            for one in _each_pixel(footprint)
            if border != "shrink" or _is_inside(x.shape, one, place)
        ]
        wanted[place] = 10 * pixels[0] - pixels[-1] if pixels else -7.0
    np.testing.assert_allclose(npsubpix.window_map(func, x, **options), wanted, rtol=1e-12)
    for memory in (1, "1 MB"):
        found = npsubpix.window_map(of_batch, x, vectorized=True, max_memory=memory, **options)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def _each_pixel(footprint: Any) -> list[Any]:
    ones = []
    for place in np.argwhere(footprint):
        one = np.zeros(footprint.shape, bool)
        one[tuple(place)] = True
        ones.append(one)
    return ones


def _is_inside(shape: Any, one: Any, place: Any) -> bool:
    offset = np.argwhere(one)[0]
    at = [2 * p - k // 2 + o for p, k, o in zip(place, one.shape, offset, strict=True)]
    return all(0 <= a < n for a, n in zip(at, shape, strict=True))


@pytest.mark.exhaustive  # which compiles many functions
def test_footprints_of_several_images_and_functions_of_numpy(rng):
    a, b = rng.normal(size=(6, 7)), rng.integers(0, 9, (6, 7)).astype(np.uint8)
    cross = ndi.generate_binary_structure(2, 1)
    found = npsubpix.window_map(lambda u, v, k: (u * v).sum() + k, a, b, footprint=cross, border="reflect", args=(1,))
    np.testing.assert_allclose(found, npsubpix.window_sum(a * b, footprint=cross, border="reflect") + 1)
    found = npsubpix.window_map(np.nanmedian, a, footprint=cross, border="reflect")
    np.testing.assert_array_equal(found, ndi.generic_filter(a, np.median, footprint=cross))


def test_an_exception_of_a_window_with_a_footprint():
    def func(a: Any, most: Any) -> Any:
        if a.size < most:
            raise ValueError("few pixels")
        return a.sum()

    with pytest.raises(ValueError, match="few pixels"):
        npsubpix.window_map(func, np.zeros((5, 6)), footprint=np.ones((3, 3), bool), args=(5,))
    assert npsubpix.window_map(func, np.zeros((5, 6)), footprint=np.ones((3, 3), bool), args=(4,)).shape == (5, 6)


def test_misuse_of_footprints():
    x = np.zeros((4, 5))
    with pytest.raises(ValueError, match="footprint must have a pixel that counts"):
        npsubpix.window_map(brighter, x, footprint=np.zeros((3, 3), bool), args=(1,))
    with pytest.raises(ValueError, match="footprint must have 2 dimensions"):
        npsubpix.window_map(brighter, x, footprint=np.ones(3, bool), args=(1,))
    with pytest.raises(ValueError, match="size must be left to the footprint"):
        npsubpix.window_map(brighter, x, footprint=np.ones((3, 3), bool), size=5, args=(1,))
    with pytest.raises(ValueError, match="weights and q are for reductions by name"):
        npsubpix.window_map(brighter, x, weights=np.ones((3, 3)), args=(1,))
