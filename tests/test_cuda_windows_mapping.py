"""Functions of windows on the GPU: batches, and loops of numba.cuda in its simulator."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import npsubpix
import npsubpix._cuda.windows
from npsubpix._arrays.home import home_of
from npsubpix._cuda.windows import mapping
from npsubpix._dispatch import backends
from tests.reference.windows import loop
from tests.test_windows_mapping import spread, spread_of_batch

pytestmark = pytest.mark.usefixtures("cuda_on_host")


def test_the_launchers_of_the_gpu_are_what_runs():
    assert backends.implementation("windows", home_of(np.zeros(1))).map_windows is mapping.map_windows


@pytest.mark.parametrize(("shape", "size"), [((9, 7), (2, 5)), ((4, 5), (7, 8)), ((5, 6, 7), (3, 2, 1))])
@pytest.mark.parametrize("border", ["shrink", "reflect", "mirror", "nearest", "wrap", "constant"])
def test_batches(rng, shape, size, border):
    """Of whatever memory, batches are the windows of the loop."""
    x = rng.normal(size=shape)
    for stride, memory in ((1, "1 B"), (2, "1.5kB"), (1, "256 MB")):
        options: dict[str, Any] = {"size": size, "border": border, "cval": 0.25, "stride": stride}
        found = npsubpix.window_map(spread_of_batch, x, vectorized=True, max_memory=memory, **options)
        np.testing.assert_allclose(found, loop(spread, [x], size, border, 0.25, stride), rtol=1e-13)


def test_results_of_batches(rng):
    """Several, of dtypes that differ from batch to batch, of torch."""
    x = np.arange(8).reshape(2, 4)
    halved = npsubpix.window_map(
        lambda a: a[:, 0, 0] if a[0, 0, 0] < 4 else a[:, 0, 0] / 2, x, size=1, vectorized=True, max_memory=1
    )
    np.testing.assert_array_equal(halved, [[0, 1, 2, 3], [2, 2.5, 3, 3.5]])
    source = torch.from_numpy(rng.normal(size=(6, 7)))
    both = (lambda a, b: (a.max((1, 2)), b.min((1, 2))), source, -source)
    high, low = npsubpix.window_map(*both, size=3, n_outputs=2, vectorized=True)
    assert isinstance(high, torch.Tensor)
    np.testing.assert_array_equal(high, -low)
    np.testing.assert_array_equal(high, npsubpix.window_max(source, 3))


def test_arguments_footprints_and_lines_of_batches(rng):
    x, line = rng.normal(size=(6, 7)), rng.normal(size=20)
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
    for border in ("shrink", "reflect"):
        options: dict[str, Any] = {"border": border, "vectorized": True, "args": (2.0,), "max_memory": 500}
        found = npsubpix.window_map(lambda w, k: k * w.sum(1), x, footprint=cross, **options)
        np.testing.assert_allclose(found, 2 * npsubpix.window_sum(x, footprint=cross, border=border), rtol=1e-12)
        found = npsubpix.window_map(lambda w, k: k * w.sum(1), line, size=5, **options)
        np.testing.assert_allclose(found, 2 * npsubpix.window_sum(line, 5, border=border), rtol=1e-12)


def test_steps_beyond_any_image(rng):
    """One window, from the first pixel on, as on the CPU."""
    x = rng.normal(size=(5, 4))
    for border in ("shrink", "wrap"):
        options: dict[str, Any] = {"size": 3, "border": border, "stride": 2**62}
        found = npsubpix.window_map(spread_of_batch, x, vectorized=True, **options)
        np.testing.assert_allclose(found, loop(spread, [x], (3, 3), border, 0.0, 5), rtol=1e-13)


def test_wrong_results_of_batches():
    x = np.zeros((4, 5))
    with pytest.raises(ValueError, match=r"n_outputs = 2 arrays of shape \(1,\), got shapes \[\(1,\)\]"):
        npsubpix.window_map(lambda a: a[:, 0, 0], x, size=3, n_outputs=2, vectorized=True)
    with pytest.raises(ValueError, match=r"n_outputs = 1 arrays of shape \(1,\), got shapes \[\(1, 2, 2\)\]"):
        npsubpix.window_map(lambda a: a, x, size=3, vectorized=True)
    with pytest.raises(TypeError, match="func must return arrays of ndarray, as it is given, got list"):
        npsubpix.window_map(lambda _: [0.0], x, size=3, vectorized=True)


def test_without_numba_cuda(monkeypatch):
    """What runs on the GPU, and how else the function can be called."""
    monkeypatch.delattr(npsubpix._cuda.windows, "numba_loops", raising=False)
    monkeypatch.setitem(sys.modules, "npsubpix._cuda.windows.numba_loops", None)
    with pytest.raises(TypeError, match=r"name of a reduction, .* GPU without numba\.cuda.* vectorized=True, or move"):
        npsubpix.window_map(spread, np.zeros((4, 5)), size=3)
    assert npsubpix.window_map("max", np.zeros((4, 5)), size=3).shape == (4, 5)


def test_loops_of_numba_cuda():
    """In the simulator, which has to be chosen before Numba is imported."""
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    command = [sys.executable, "-m", "tests.cuda_host.simulated"]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-4000:]
