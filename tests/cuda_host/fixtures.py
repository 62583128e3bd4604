"""Fixtures that send arrays of the host to the kernels of the GPU, compiled for the host."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from npsubpix._cuda.launch import devices
from npsubpix._dispatch import backends
from tests.cuda_host.device import HostDevice
from tests.cuda_host.on_gpu import GpuDevice

#: What runs kernels: g++'s code, or a GPU where there is one and someone asks for it.
CHOSEN = GpuDevice if os.environ.get("NPSUBPIX_CUDA_TESTS") == "gpu" else HostDevice


@pytest.fixture(scope="module")
def host_device() -> Iterator[None]:
    """Make NumPy's arrays those of a device that runs CUDA kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(devices.DEVICES, np.ndarray, lambda _: CHOSEN())
        yield


@pytest.fixture(scope="module")
def cuda_on_host(host_device: None) -> Iterator[None]:
    """Run public operations, whatever array they get, with the launchers and kernels of the GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backends._PACKAGES, "host", "npsubpix._cuda")
        backends._load.cache_clear()
        yield
    backends._load.cache_clear()
