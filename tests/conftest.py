"""Shared fixtures: random numbers, the data folder, arrays of every library, backends, threads, a stand-in for CuPy."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from npsubpix._arrays import adoption, checks, home, library
from npsubpix._cpu.compiler import jit
from npsubpix._cuda.launch import devices
from npsubpix._dispatch import backends
from tests.cuda_host import fake_cupy
from tests.cuda_host.fake_cupy import FakeArray, FakeCuPyDevice
from tests.cuda_host.on_gpu import CHOSEN


def _has_gpu() -> bool:
    if importlib.util.find_spec("cupy") is None:
        return False
    import cupy

    return bool(cupy.is_available())


#: Tests of files for programs, which are large, and not needed by any other test: `make lane-exhaustive` installs
#: picasso, and `make lane-napari` napari.
_PROGRAMS = {"picasso": "test_io_picasso.py", "napari": "test_io_napari.py"}

collect_ignore = [] if _has_gpu() else ["hardware"]
collect_ignore += [test for program, test in _PROGRAMS.items() if importlib.util.find_spec(program) is None]

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)


#: Parameters that differ from a common one by the width of a number, or the weights of a sampling kernel, alone.
#: Kernels are compiled for each, which takes most of the time of all tests. The comparisons with kornia, and tests that
#: do not name a dtype, run those of float32 without them.
RARE = {"float32", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}
RARE |= {"f4", "i1", "i2", "u2", "i4", "u4", "i8", "u8"}
RARE |= {"bspline2", "bspline4", "bspline5", "catmull_rom", "lanczos3", "smoothstep", "sigmoid", "gaussian"}

#: Fixtures of the GPU's kernels, which g++ compiles for the host.
OF_DEVICE = {"cupy", "cuda_tensors", "host_device", "cuda_on_host"}


def _is_rare(parameter: Any) -> bool:
    return isinstance(parameter, str | type) and getattr(parameter, "__name__", parameter) in RARE


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long and runs in a lane of its own: exhaustive tests, and those of the GPU's kernels.

    Exhaustive are large real images, so that `make test` is the same with and without them; rare parameters; the pages
    of the documentation; and kernels in their parallel form, of which `test_runtime.py` runs those of peaks in
    processes of their own.
    """
    for item in items:
        parameters, ids = (
            ((), "") if not hasattr(item, "callspec") else (item.callspec.params.values(), item.callspec.id)
        )
        file, fixtures = item.path.name, set(getattr(item, "fixturenames", ()))
        rare = any(map(_is_rare, parameters)) or not RARE.isdisjoint(ids.split("-"))
        page = item.path.suffix == ".md" and item.path.parent.name == "docs"
        if page or (rare and file != "test_kornia.py") or fixtures & {"data", "threads"}:
            item.add_marker("exhaustive")
        if file.startswith("test_cuda_") or fixtures & OF_DEVICE or "cuda" in ids.split("-"):
            item.add_marker("device")


@pytest.fixture
def data() -> Callable[[str], Path]:
    """Return the path of a large real image by its name; skip where their folder is absent, fail in CI."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            if os.environ.get("CI") and DATA.exists():
                pytest.fail(f"{path} is missing")
            pytest.skip(f"needs {path}")
        return path

    return find


def _torch_array(x: Any) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(x))


@pytest.fixture(params=["numpy", "torch"])
def wrap(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Make an array of one library from a NumPy array."""
    return np.asarray if request.param == "numpy" else _torch_array


# Backends


@contextlib.contextmanager
def _arrays_on_the_device_of_tests() -> Iterator[None]:
    """Have launchers of CUDA kernels take NumPy's arrays, for a device that g++ compiles for or for a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(devices.DEVICES, np.ndarray, lambda _: CHOSEN())
        yield


@contextlib.contextmanager
def _operations_on_the_device_of_tests() -> Iterator[None]:
    """Run public operations, whatever array they get, with the launchers and kernels of the GPU."""
    with _arrays_on_the_device_of_tests(), pytest.MonkeyPatch.context() as patch:
        patch.setitem(backends._PACKAGES, "host", "npsubpix._cuda")
        backends._load.cache_clear()
        yield
    backends._load.cache_clear()


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def backend(request: pytest.FixtureRequest) -> str:
    """Run a test twice: with the kernels of the CPU, and with those of the GPU.

    The latter are compiled for the host by g++, or run on a GPU with ``NPSUBPIX_CUDA_TESTS=gpu``.
    The scope puts the tests of a file in the order of their backends.
    """
    return request.param


@pytest.fixture(autouse=True)
def _kernels_of_the_backend(request: pytest.FixtureRequest) -> Iterator[None]:
    """Send operations to the GPU's kernels for one test: those that do not ask for a backend run on the CPU."""
    if "backend" not in request.fixturenames or request.getfixturevalue("backend") == "cpu":
        yield
        return
    with _operations_on_the_device_of_tests():
        yield


@pytest.fixture(scope="module")
def host_device() -> Iterator[None]:
    """Make NumPy's arrays those of a device that runs CUDA kernels."""
    with _arrays_on_the_device_of_tests():
        yield


@pytest.fixture(scope="module")
def cuda_on_host() -> Iterator[None]:
    """Run all operations of a file with the launchers and kernels of the GPU."""
    with _operations_on_the_device_of_tests():
        yield


# Threads


@pytest.fixture(scope="module", autouse=True)
def _serial_kernels() -> Iterator[None]:
    """Compile and run kernels in their serial form, whatever the size of an image; `threads` asks for the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit, "_SERIAL_WORK", math.inf)
        yield


def _bits(result: Any) -> list[tuple[Any, ...]]:
    """Dtype, shape and bytes of each array of a result."""
    results = result if isinstance(result, tuple | list) else (result,)
    arrays = [np.asarray(r) for r in results if r is not None]
    return [(a.dtype, a.shape, a.tobytes()) for a in arrays]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], set[str]]:
    """Return a function that makes a call with one thread and with all, asserts that results are the same bits, and
    returns the names of the kernels that ran in parallel."""
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("needs two threads")
    ran: set[str] = set()
    run = jit.Kernel.run

    def noting(kernel: jit.Kernel, work: int, *args: Any) -> Any:
        parallel = kernel.parallel

        def noted(*args: Any) -> Any:
            ran.add(kernel.name)
            return parallel(*args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernel, "parallel", noted)
            return run(kernel, work, *args)

    def same_bits(call: Callable[[], Any]) -> set[str]:
        want = _bits(call())
        assert want
        ran.clear()
        with monkeypatch.context() as patch:
            patch.setattr(jit, "_SERIAL_WORK", 0)
            patch.setattr(jit.Kernel, "run", noting)
            assert _bits(call()) == want
        return set(ran)

    return same_bits


# A stand-in for CuPy


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A CuPy with two GPUs."""
    library.require_cupy.cache_clear()
    module = fake_cupy.make()
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setitem(devices.DEVICES, FakeArray, lambda _: FakeCuPyDevice())
    FakeCuPyDevice.launches.clear()
    yield module
    library.require_cupy.cache_clear()


@pytest.fixture
def cuda_tensors(cupy: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of float32 are on GPU 0, on a stream at 4711; all others on the host."""
    import torch

    def on_gpu(x: Any, kind: str) -> bool:
        return kind == "cupy" or (kind == "torch" and x.dtype == torch.float32)

    for module in (library, home, adoption, checks):
        monkeypatch.setattr(module, "is_on_gpu", on_gpu)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: types.SimpleNamespace(cuda_stream=4711))
