"""Shared fixtures: random numbers, the data folder, arrays of every library."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def _has_gpu() -> bool:
    if importlib.util.find_spec("cupy") is None:
        return False
    import cupy

    return bool(cupy.is_available())


collect_ignore = [] if _has_gpu() else ["hardware"]

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)


@pytest.fixture
def data() -> Callable[[str], Path]:
    """Return the path in the folder of large real images; skip where the folder is absent, fail in CI."""

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


def same_library(result: Any, source: Any) -> None:
    """Assert that a result is an array of the library and on the device of its source."""
    assert type(result) is type(source)
    if hasattr(source, "device"):
        assert result.device == source.device
