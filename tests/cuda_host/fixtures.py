"""Fixtures that send arrays of the host to the kernels of the GPU, compiled for the host."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from npsubpix import _dispatch
from npsubpix._cuda import _launch
from tests.cuda_host.device import HostDevice


@pytest.fixture(scope="module")
def host_device() -> Iterator[None]:
    """Make NumPy's arrays those of a device that runs CUDA kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_launch.DEVICES, np.ndarray, lambda _: HostDevice())
        yield


@pytest.fixture(scope="module")
def cuda_on_host(host_device: None) -> Iterator[None]:
    """Run public operations, whatever array they get, with the launchers and kernels of the GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_dispatch._PACKAGES, "host", "npsubpix._cuda")
        _dispatch._load.cache_clear()
        yield
    _dispatch._load.cache_clear()
