"""Functions that kernels call are linked into them, and into nothing else."""

from __future__ import annotations

import gc

import numba
import numpy as np
import pytest
from numba import prange
from numba.core.errors import NumbaError

from npsubpix._cpu.compiler import jit
from npsubpix._cpu.compiler.internals import is_linking
from npsubpix._cpu.compiler.jit import Kernel, allocates, device

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

    for inner, reason in (
        (parts, "returns arrays"),
        (first, "calls a function that returns arrays"),
        (made, "returning of array"),
    ):

        def run(x):
            inner(x)  # noqa: B023

        with pytest.raises((TypeError, NumbaError), match=reason):
            Kernel(run, f"references_{reason[:4]}", digest=None).run(0, np.zeros(3))
