"""What is wrong or unusual about arrays on a GPU: memory, dtypes, places, emptiness."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import numpy as np
import pytest
import torch

import npsubpix
from npsubpix._arrays import adoption, checks, home, library
from tests.cuda_host import fake_cupy, on_gpu
from tests.cuda_host.fake_cupy import FakeArray, FakeCuPyDevice, FakeDevice, FakeStreams, gpu_array
from tests.examples import EXAMPLES


class OutOfMemoryError(MemoryError):
    """What CuPy raises."""


class Full:
    """A memory that has room for some arrays, and knows which of them are left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room, self.made = 10**6, []
        allocate = FakeCuPyDevice.empty

        def empty(device: FakeCuPyDevice, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            if len(self.made) == self.room:
                raise OutOfMemoryError("Out of memory allocating 17 bytes (allocated so far: 4 bytes)")
            array = allocate(device, shape, dtype)
            self.made.append(weakref.ref(array))
            return array

        monkeypatch.setattr(FakeCuPyDevice, "empty", empty)

    def left(self) -> int:
        kept = sum(array() is not None for array in self.made)
        if kept:  # in a circle of references, maybe
            gc.collect()
            kept = sum(array() is not None for array in self.made)
        return kept


def outcome(call: Any) -> Any:
    """Return what a call returns, by shapes and dtypes, or what it raises."""
    try:
        results = call()
    except (ValueError, TypeError, IndexError) as error:
        return type(error), str(error)
    return [(tuple(r.shape), str(r.dtype)) for r in (results if isinstance(results, tuple) else (results,))]


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("name", EXAMPLES)
def test_out_of_memory(rng, monkeypatch, name):
    """At the first array that does not fit, or the last: CuPy's error, nothing is kept, and the next call works."""
    x = gpu_array(rng.integers(0, 12, (1, 2, 4, 7, 8)).astype(float))
    memory = Full(monkeypatch)
    want = EXAMPLES[name](x)
    count = len(memory.made)
    want = [np.array(r) for r in (want if isinstance(want, tuple) else (want,))]
    for room in {0, count - 1}:
        memory.made.clear()
        memory.room = room
        with pytest.raises(MemoryError, match="Out of memory allocating 17 bytes"):
            EXAMPLES[name](x)
        assert memory.left() == 0
        assert not FakeDevice.current
    memory.room = 10**6
    again = EXAMPLES[name](x)
    for result, wanted in zip(again if isinstance(again, tuple) else (again,), want, strict=True):
        np.testing.assert_array_equal(result, wanted)


@pytest.mark.usefixtures("cuda_tensors")
def test_out_of_memory_of_tensors(rng, monkeypatch):
    """Also on a stream of torch, which is left."""
    tensor = torch.from_numpy(rng.standard_normal((2, 1, 9, 8))).float()
    memory = Full(monkeypatch)
    memory.room = 0
    with pytest.raises(MemoryError, match="Out of memory"):
        npsubpix.nms2d(tensor, (3, 3))
    assert not FakeStreams.current
    assert not FakeDevice.current
    memory.room = 1
    assert npsubpix.nms2d(tensor, (3, 3)).shape == tensor.shape


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("name", EXAMPLES)
def test_empty_arrays(name):
    """Of no images, no channels or no pixels: what the CPU gives, or says."""
    for shape in ((0, 2, 4, 7, 8), (1, 0, 4, 7, 8), (1, 2, 4, 7, 0), (1, 2, 4, 0, 8)):
        x = np.zeros(shape)
        found = outcome(lambda x=x: EXAMPLES[name](gpu_array(x)))
        assert found == outcome(lambda x=x: EXAMPLES[name](x)), shape


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("name", EXAMPLES)
def test_layouts(rng, name):
    """Fortran order, and negative strides along every axis."""
    x = rng.integers(0, 12, (1, 2, 4, 7, 8)).astype(float)
    want = EXAMPLES[name](gpu_array(x))
    back = (slice(None, None, -1),) * 5
    for source in (gpu_array(x).copy(order="F"), gpu_array(x[back])[back]):
        results = EXAMPLES[name](source)
        for result, wanted in zip(*(r if isinstance(r, tuple) else (r,) for r in (results, want)), strict=True):
            np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize("dtype", ["complex64", "float8_e4m3fn", "bool"])
def test_dtypes_of_tensors_that_kernels_lack(cupy, monkeypatch, dtype):
    for module in (library, home, adoption, checks):
        monkeypatch.setattr(module, "is_on_gpu", lambda _x, kind: kind in ("torch", "cupy"))
    stream = type("Stream", (), {"cuda_stream": 1})
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    tensor = torch.zeros((1, 1, 5, 5)).to(getattr(torch, dtype))
    with pytest.raises(TypeError, match=f"input must hold integers or floats of up to 64 bits, got dtype .*{dtype}"):
        npsubpix.conv_soft_argmax2d(tensor)
    assert not FakeStreams.current


@pytest.mark.usefixtures("cupy")
def test_kernels_of_filters_are_where_the_image_is(rng):
    """Lists are of no device; arrays elsewhere are an error that names both places."""
    image = rng.standard_normal((12, 13))
    lines = [0.25, 0.5, 0.25], [1.0, 0.0, -1.0]
    found = npsubpix.convolve_separable(gpu_array(image, 1), lines)
    assert type(found) is FakeArray
    assert found.device.id == 1
    np.testing.assert_allclose(found, npsubpix.convolve_separable(image, lines), atol=1e-14)
    found = npsubpix.correlate(gpu_array(image), [[1, 2, 1]])
    np.testing.assert_allclose(found, npsubpix.correlate(image, [[1, 2, 1]]), atol=1e-14)
    for kernel, place in ((np.ones((3, 3)), "the host"), (gpu_array(np.ones((3, 3)), 1), "GPU 1")):
        with pytest.raises(TypeError, match=f"kernel is on {place} and image on GPU 0: both must be on one device"):
            npsubpix.correlate(gpu_array(image), kernel)
    with pytest.raises(TypeError, match="weight is on the host and input on GPU 0"):
        npsubpix.conv2d(gpu_array(image[None]), np.ones((1, 1, 3, 3)))


@pytest.mark.usefixtures("cupy")
def test_numbers_on_the_gpu_have_no_axis(rng):
    """Where CuPy makes arrays of C order, it gives them one."""
    image = rng.standard_normal((2, 1, 9, 8))
    _, pullback = npsubpix.vjp(npsubpix.spatial_soft_argmax2d, gpu_array(image), gpu_array(0.5))
    grads = pullback(gpu_array(np.ones((2, 1, 2))))
    want = npsubpix.vjp(npsubpix.spatial_soft_argmax2d, image, 0.5)[1](np.ones((2, 1, 2)))
    assert grads["temperature"].shape == ()
    np.testing.assert_allclose(grads["temperature"], want["temperature"], rtol=1e-10)
    found = npsubpix.find_peaks(gpu_array(image[0, 0]), background=gpu_array(0.25), sigma=gpu_array(2), threshold_abs=0)
    wanted = npsubpix.find_peaks(image[0, 0], background=0.25, sigma=2, threshold_abs=0)
    assert len(wanted)
    np.testing.assert_allclose(found.coords, wanted.coords, rtol=1e-12)


@pytest.mark.usefixtures("cuda_tensors")
@pytest.mark.parametrize("count", [0, -1])
def test_no_gpu_is_said_in_one_line(monkeypatch, count):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy.make(count))
    with pytest.raises(RuntimeError) as caught:
        npsubpix.conv2d(torch.zeros((1, 1, 5, 5)), torch.ones((1, 1, 3, 3)))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("CuPy finds no GPU that it can use: ")


@pytest.mark.parametrize(("asked", "allocators"), [("off", [None]), ("", [])])
def test_arrays_apart_for_a_sanitizer(monkeypatch, asked, allocators):
    """In a pool, an array would end where another begins."""
    module, seen = fake_cupy.make(), []
    module.cuda.set_allocator = seen.append
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setenv("NPSUBPIX_CUDA_POOL", asked)
    on_gpu.choose_allocator.cache_clear()
    on_gpu.choose_allocator()
    on_gpu.choose_allocator()
    on_gpu.choose_allocator.cache_clear()
    assert seen == allocators
