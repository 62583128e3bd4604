"""A device of NumPy's arrays that runs each kernel on a GPU: the tests of the host device, on hardware.

`NPSUBPIX_CUDA_TESTS=gpu python -m pytest tests -k cuda` chooses it.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from npsubpix._cuda.launch.kernels import Kernel
from tests.cuda_host.device import HostDevice


@functools.cache
def choose_allocator() -> None:
    """With ``NPSUBPIX_CUDA_POOL=off``, give each array memory of its own: a sanitizer sees nothing inside of a pool."""
    import cupy

    if os.environ.get("NPSUBPIX_CUDA_POOL") == "off":
        cupy.cuda.set_allocator(None)


class GpuDevice(HostDevice):
    """Arrays are copied to the GPU for each launch, and back after it."""

    def launch(self, kernel: Kernel, blocks: int, threads: int, args: tuple[Any, ...]) -> None:
        import cupy

        from npsubpix._cuda.launch.cupy_device import CuPyDevice

        choose_allocator()
        arrays = [(a, cupy.asarray(a)) for a in args if isinstance(a, np.ndarray)]
        copies = iter(copy for _, copy in arrays)
        there = tuple(next(copies) if isinstance(a, np.ndarray) else a for a in args)
        CuPyDevice().launch(kernel, blocks, threads, there)
        for array, copy in arrays:
            if array.flags.writeable:
                np.copyto(array, cupy.asnumpy(copy))


#: What runs kernels in tests: g++'s code, or a GPU where there is one and someone asks for it.
CHOSEN = GpuDevice if os.environ.get("NPSUBPIX_CUDA_TESTS") == "gpu" else HostDevice
