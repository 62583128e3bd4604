"""Functions that kernels call are linked into them, and into nothing else."""

from __future__ import annotations

import gc

import numba
import numpy as np
import pytest
from numba import prange
from numba.core import event
from numba.core.errors import NumbaError

from npsubpix._cpu.compiler import jit
from npsubpix._cpu.compiler.internals import INSTRUCTIONS, is_linking, missing
from npsubpix._cpu.compiler.jit import Kernel, TaskKernel, allocates, device

pytestmark = pytest.mark.core


@device
@allocates  # the exception that it raises holds a number
def _root(v):
    if v < 0:
        raise ValueError("no root of", v)
    return np.sqrt(v)


def _roots(x, out):
    parts = np.zeros((x.size, 2), np.float64)
    for k in prange(x.size):
        parts[k, 0] = _root(x[k])
    for k in prange(x.size):
        out[k] = parts[k].sum()


_KERNEL = Kernel(_roots, "roots", digest=None)


@pytest.mark.parametrize("work", [0, 1 << 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_forms_hold_all_that_they_call(monkeypatch, work, dtype):
    monkeypatch.setattr(jit, "_SERIAL_WORK", 1)
    out = np.empty(50)
    _KERNEL.run(work, np.arange(50, dtype=dtype) ** 2, out)
    np.testing.assert_allclose(out, np.arange(50))


@pytest.mark.skipif(not is_linking(), reason="nothing counts what fails in threads of kernels that are not linked")
@pytest.mark.parametrize("place", [0, 49])
def test_no_thread_fails_unseen(monkeypatch, place):
    """Numba keeps the exception of the calling thread only, which does half of the work, and makes another of it."""
    monkeypatch.setattr(jit, "_SERIAL_WORK", 1)
    x = np.ones(50)
    _KERNEL.run(1 << 40, x, np.empty(50))
    x[place] = -1.0
    with pytest.raises((MemoryError, SystemError)):
        _KERNEL.run(1 << 40, x, np.empty(50))
    x[place], out = 1.0, np.empty(50)
    _KERNEL.run(1 << 40, x, out)
    assert (out == 1).all()


def test_errors_of_inner_functions_arrive():
    with pytest.raises(ValueError, match="no root of") as error:
        _KERNEL.run(0, np.array([4.0, -2.5]), np.empty(2))
    assert error.value.args == ("no root of", -2.5)


def _root_of_task(task, x, out):
    parts = np.zeros(2, np.float64)
    parts[0] = _root(x[task])
    out[task] = parts.sum()


_TASKS = TaskKernel(_root_of_task, "roots_of_tasks")


@pytest.mark.parametrize("work", [0, 1 << 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("place", [0, 49])
def test_tasks_run_once_in_both_forms_and_none_fails_unseen(monkeypatch, work, dtype, place):
    monkeypatch.setattr(jit, "_SERIAL_WORK", 1)
    x, out = np.arange(50, dtype=dtype) ** 2, np.full(50, -1.0)
    _TASKS.run(work, 0, x, out)
    assert (out == -1).all()
    _TASKS.run(work, 50, x, out)
    np.testing.assert_allclose(out, np.arange(50))
    x[place] = -1
    with pytest.raises(MemoryError, match="no memory for a task of roots_of_tasks"):
        _TASKS.run(work, 50, x, out)
    x[place] = 4
    _TASKS.run(work, 50, x, out)
    assert out[place] == 2


def test_both_forms_of_tasks_are_compiled_once(monkeypatch):
    """Compiling takes most of a first call."""
    monkeypatch.setattr(jit, "_SERIAL_WORK", 1)
    kernel = TaskKernel(_root_of_task, "roots_of_tasks")
    for work in (0, 1 << 40):
        kernel.run(work, 3, np.ones(3), np.empty(3))
    assert len(kernel.loop.signatures) == 1


def test_inner_functions_raise_if_called_from_python():
    _KERNEL.run(0, np.ones(2), np.empty(2))
    with pytest.raises(KeyError, match="only kernels call _root"):
        _root(1.0)


def test_functions_that_kernels_had_compiled_are_there_for_others():
    _KERNEL.run(0, np.ones(2), np.empty(2))

    @numba.njit
    def of_a_user(n):
        return np.zeros((n, 2), np.float64).sum() + _root(np.float64(n))

    assert of_a_user(4) == 2
    with pytest.raises(ValueError, match="negative dimensions"):
        of_a_user(-1)


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_as_before(enabled):
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        Kernel(_roots, "roots", digest=None).run(0, np.ones(2), np.empty(2))
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


@pytest.mark.skipif(not is_linking(), reason="references are checked where functions are linked")
def test_functions_that_do_not_count_references_neither_make_nor_return_arrays():
    """A caller that counts would free what was never counted, and one that does not would never free it."""

    @device
    def parts(x):
        return x[1:], 0

    @device
    @allocates
    def counted_part(x):
        return x[1:]

    @device
    def first(x):
        return counted_part(x)[0]

    @device
    def made(x):
        return np.zeros(x.size)[0]

    @device
    def made_of_type(x):
        return np.zeros(x.size, np.float32)[0]

    for inner, reason in (
        (parts, "returns arrays"),
        (first, "calls a function that returns arrays"),
        (made, "returning of array"),
        (made_of_type, "returning of array"),
    ):

        def run(x):
            inner(x)  # noqa: B023

        with pytest.raises((TypeError, NumbaError), match=reason):
            Kernel(run, f"references_{inner.py_func.__qualname__[-4:]}", digest=None).run(0, np.zeros(3))


def _choices(x, out):
    for k in prange(len(x)):
        for j, value in enumerate(_chosen(x, k)):
            out[k, j] = value


@device
def _chosen(x, k):
    a, b, n = x[k, 0], x[k, 1], int(x[k, 2])
    return min(a, b), max(a, b), min(a, b, x[k, 2]), max(a, 0, b), 1.0 * min(n, 3), 1.0 * max(k, n), 1.0 * int(n > 1)


_CHOICES = Kernel(_choices, "choices", digest=None)


@pytest.mark.parametrize("work", [0, 1 << 40])
def test_builtins_are_those_of_python(monkeypatch, work):
    """Also where they depend on the order of arguments: with NaN, zeros of both signs, and integers among floats."""
    monkeypatch.setattr(jit, "_SERIAL_WORK", 1)
    values = [np.nan, -0.0, 0.0, 2.5, -7.9, np.inf, -np.inf]
    x = np.array([(a, b, c) for a in values for b in values for c in (2.9, -2.9)])
    out = np.empty((len(x), 7))
    _CHOICES.run(work, x, out)
    want = [
        (min(a, b), max(a, b), min(a, b, c), max(a, 0, b), min(int(c), 3), max(k, int(c)), int(int(c) > 1))
        for k, (a, b, c) in enumerate(x.tolist())
    ]
    np.testing.assert_array_equal(out, want)
    np.testing.assert_array_equal(np.signbit(out), np.signbit(np.array(want, float)))


@device
@allocates
def _scratch(x, n):
    a, b = np.zeros((n, 2), np.int64), np.empty(n, x.dtype)
    c, d = np.zeros(n, x.dtype.type), np.empty((2, 0, n), np.bool_)
    b[:] = c
    a[0, 1] = 3
    return a.sum() + b.sum() + d.size + a.shape[1] * c.strides[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_that_inner_functions_make(dtype):
    def strides(x, out):
        out[0] = _scratch(x, len(x))

    out = np.empty(1)
    for _ in range(3):  # memory that was used before
        Kernel(strides, "scratch", digest=None).run(0, np.full(50, 7, dtype), out)
        assert out[0] == 3 + 2 * dtype().itemsize


@device
def _long(x, out):
    for k in range(len(x)):
        v = x[k]
        out[k] = np.sqrt(v) * np.exp(-v) + (np.sin(v) if v > 1 else np.cos(v)) + v**3 - (v % 0.7) * np.arctan2(v, 2.0)


@device
def _through(x, out):
    _long(x, out)
    out[0] = x[0]


def test_large_functions_are_left_out_of_functions_that_call_them(monkeypatch):
    """They would be optimized again in each; kernels, and functions of others, are linked with them all the same."""
    if is_linking():
        monkeypatch.setattr("npsubpix._cpu.compiler.linking._LARGE", 10)
    v, want, found = np.linspace(0, 3, 40), np.empty(40), np.empty(40)
    _long.py_func(v, want)
    want[0] = v[0]
    Kernel(lambda x, out: _through(x, out), "through", digest=None).run(0, v, found)
    np.testing.assert_allclose(found, want, rtol=1e-14)
    if is_linking():
        library = next(iter(_through.overloads.values())).library
        assert [left.name for left in library.left_out] == ["_long"]
        assert all("_long" not in function.name for function in library.get_defined_functions())

    @numba.njit
    def of_a_user(x, out):
        _through(x, out)

    found[:] = 0
    of_a_user(v, found)
    np.testing.assert_allclose(found, want, rtol=1e-14)


@pytest.mark.skipif(not is_linking() or bool(missing(INSTRUCTIONS)), reason="plain numba.njit compiles more")
def test_few_functions_are_compiled_for_a_kernel():
    """One for each that it calls: none for builtins, which Numba compiles for each combination of types and flags."""
    compiled = []
    chosen = device(_chosen.py_func)

    def choose(x, out):
        for k in range(len(x)):
            out[k] = chosen(x, k)[0] + max(k, 3)

    class Listener(event.Listener):
        def on_start(self, started):
            compiled.append(started.data["dispatcher"].py_func.__qualname__)

        def on_end(self, ended):
            pass

    with event.install_listener("numba:compile", Listener()):
        Kernel(choose, "choose", digest=None).run(0, np.ones((2, 3)), np.empty(2))
    assert compiled == ["choose_serial", "_chosen"]
