"""Non-maximum suppression by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from npsubpix._arrays.home import home_of
from npsubpix._cpu import nms as cpu
from npsubpix._cuda import nms
from npsubpix._cuda.launch import devices
from npsubpix._dispatch import backends
from tests.reference import nms as reference

pytestmark = pytest.mark.usefixtures("cuda_on_host")


def test_the_kernels_of_the_gpu_are_what_runs():
    """All tests of this file would pass if they tested the CPU."""
    assert backends.implementation("nms", home_of(np.zeros(1))) is nms


@pytest.mark.parametrize("dtype", ["int8", "uint64", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 3, 33, 70), (2, 1, 5, 17, 9)])
def test_the_same_as_on_the_cpu(rng, dtype, shape):
    """Half precision as it is, with ties: bit for bit, values of zero with their sign."""
    x = rng.integers(0, 60, shape).astype(dtype)
    if x.dtype.kind == "f":
        x.ravel()[rng.integers(0, x.size, 60)] = np.resize([np.nan, np.inf, -np.inf, -0.0, 0.0], 60)
    on_cpu = x.astype(np.float32) if dtype == "float16" else x
    axes = len(shape) - 2
    for size in ((3,) * axes, (5, 2, 4)[:axes], (1,) * axes):
        (mask,), (values,) = nms.nms_mask(x, kernel_size=size), nms.nms(x, kernel_size=size)
        np.testing.assert_array_equal(mask, cpu.nms_mask(on_cpu, kernel_size=size)[0])
        assert values.dtype == x.dtype
        np.testing.assert_array_equal(values.view(np.uint8), np.where(mask, x, x.dtype.type(0)).view(np.uint8))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_subnormal_numbers_are_compared(dtype):
    """CuPy has kernels take subnormal floats for zero; as integers they still differ."""
    x = np.zeros((1, 1, 3, 5), dtype)
    x[0, 0, 1, 1], x[0, 0, 1, 2] = np.finfo(dtype).smallest_subnormal, 3 * np.finfo(dtype).smallest_subnormal
    x[0, 0, 0, 0] = -0.0
    np.testing.assert_array_equal(nms.nms_mask(x, kernel_size=(3, 3))[0], reference.masks(x, (3, 3)))
    assert nms.nms_mask(x, kernel_size=(3, 3))[0].sum() == 1


@pytest.mark.parametrize("size", [(3, 3, 3), (3, 5, 3), (2, 2, 2)])
def test_a_grid_smaller_than_the_work(rng, size, monkeypatch):
    """Threads stride over what a grid of the greatest size leaves, as for more than 2**31 blocks."""
    x = rng.integers(0, 99, (2, 1, 4, 40, 70)).astype(np.float32)
    whole = nms.nms_mask(x, kernel_size=size)[0], *nms.nms3d_minmax(x)
    monkeypatch.setattr(devices, "MOST_BLOCKS", 2)
    for mask, wanted in zip((nms.nms_mask(x, kernel_size=size)[0], *nms.nms3d_minmax(x)), whole, strict=True):
        np.testing.assert_array_equal(mask, wanted)
    np.testing.assert_array_equal(whole[0], cpu.nms_mask(x, kernel_size=size)[0])
