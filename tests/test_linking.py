"""Functions that kernels call are linked into them, and into nothing else."""

from __future__ import annotations

import gc
import importlib
import pkgutil

import numba
import numpy as np
import pytest
from numba import prange
from numba.core import event
from numba.core.compiler import run_frontend
from numba.core.errors import NumbaError
from numba.core.postproc import PostProcessor

import npsubpix._cpu
from npsubpix._cpu.compiler import jit
from npsubpix._cpu.compiler.internals import INSTRUCTIONS, is_linking, missing
from npsubpix._cpu.compiler.jit import Kernel, allocates, device
from npsubpix._cpu.compiler.loops import outline_loops
from npsubpix._cpu.fitting.coupling import coupling_kernel
from npsubpix._cpu.fitting.solver import fit_kernel
from npsubpix._cpu.fitting.sweeps import sweep_kernel
from npsubpix._cpu.sampling import tables, values, values_vjp
from npsubpix._cpu.windows import small_percentiles
from npsubpix._definitions.spot_models import Model

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
    """Each does half of the work; nothing tells the others, nor the caller, that there is a part without results."""
    monkeypatch.setattr(jit, "_SERIAL_WORK", 1)
    x = np.ones(50)
    _KERNEL.run(1 << 40, x, np.empty(50))
    x[place] = -1.0
    with pytest.raises(MemoryError):
        _KERNEL.run(1 << 40, x, np.empty(50))
    x[place], out = 1.0, np.empty(50)
    _KERNEL.run(1 << 40, x, out)
    assert (out == 1).all()


def _ranges(first, last, out, unused):
    for k in prange(first, last):
        if k % 3 == 0:
            continue
        total = 0.0
        for j in prange(k):
            total += j
        out[k] += total
    for k in prange(unused):
        out[k] = -1


@pytest.mark.parametrize(("first", "last"), [(0, 20), (0, 1), (5, 17), (3, 3), (9, 4)])
def test_loops_over_threads_cover_their_range(monkeypatch, first, last):
    """Once each, of few numbers and of none too; afterwards there are as many threads as before."""
    monkeypatch.setattr(jit, "_SERIAL_WORK", 1)
    out, want = np.zeros(20), np.zeros(20)
    threads = numba.get_num_threads()
    Kernel(_ranges, "ranges", digest=None).run(1 << 40, first, last, out, 0)
    for k in range(first, last):
        want[k] = 0 if k % 3 == 0 else k * (k - 1) / 2
    np.testing.assert_array_equal(out, want)
    assert numba.get_num_threads() == threads


@pytest.mark.skipif(not is_linking(), reason="Numba's own loops add over threads, in an order that depends on them")
def test_variables_of_loops_over_threads_are_not_read_after_them(monkeypatch):
    monkeypatch.setattr(jit, "_SERIAL_WORK", 1)

    def last(x, out):
        total = 0.0
        for k in prange(x.size):
            total += x[k]
        out[0] = total

    with pytest.raises(NotImplementedError, match="total"):
        Kernel(last, "last", digest=None).run(1 << 40, np.ones(3), np.empty(1))


#: One kernel of each function that makes them for the options of a call.
MADE_BY_CALLS = [
    (values.value_kernel, ("linear", 1, 2)),
    (values.gradient_kernel, ("linear", 1, 2)),
    (values_vjp.vjp_kernel, ("linear", 1)),
    (tables.table_vjp_kernel, (1,)),
    (small_percentiles.small_percentiles, ((1, 3, 3), 0.5)),
    *[(make, (Model(2, "free", False),)) for make in (fit_kernel, sweep_kernel, coupling_kernel)],
]


@pytest.mark.skipif(not is_linking(), reason="Numba's own loops may be of other forms")
def test_every_kernel_has_loops_that_can_be_compiled_apart():
    """A kernel that cannot be would fail in its first call with enough work for threads; most tests run serial ones."""
    for module in pkgutil.walk_packages(npsubpix._cpu.__path__, "npsubpix._cpu."):
        importlib.import_module(module.name)
    made = [make(*args) for make, args in MADE_BY_CALLS]
    assert all(type(found) is Kernel for found in made)
    kernels = [found for found in gc.get_objects() if type(found) is Kernel and found.name != "last"]
    with_loops = 0
    for kernel in kernels:
        function = run_frontend(kernel.parallel.py_func)
        PostProcessor(function).run()
        with_loops += outline_loops(function, print)
    assert with_loops > 100


def test_errors_of_inner_functions_arrive():
    with pytest.raises(ValueError, match="no root of") as error:
        _KERNEL.run(0, np.array([4.0, -2.5]), np.empty(2))
    assert error.value.args == ("no root of", -2.5)


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
