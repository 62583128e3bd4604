"""Kernels that are compiled ahead of their first calls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import npsubpix


def run(folder: Path, *command: str) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder), "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_steps_are_reported_and_each_function_is_called_once():
    calls, steps = [], []

    def own():
        calls.append(npsubpix.nms2d(np.zeros((1, 1, 8, 9), np.float32), (3, 3)))

    npsubpix.warmup(own, progress=lambda *step: steps.append(step))
    assert len(calls) == 2  # in both forms
    assert steps == [(0, 1, "own"), (1, 1, "")]


@pytest.mark.parametrize(
    ("what", "options", "error", "match"),
    [
        (("sampled",), {}, ValueError, "warmup must be one of .*'sampling'"),
        ((3,), {}, TypeError, "warmup takes names and callables, got 3"),
        (("nms",), {"dtypes": ["float16"]}, ValueError, "dtypes must be one of"),
    ],
)
def test_misuse(what, options, error, match):
    with pytest.raises(error, match=match):
        npsubpix.warmup(*what, **options)


def kernels_in(folder: Path) -> dict[str, int]:
    """Return the kernels in a cache, and when they were written."""
    entries = (folder / "npsubpix").glob("*.npsubpix")
    return {path.name: path.stat().st_mtime_ns for path in entries}


@pytest.mark.exhaustive  # which compiles a family anew
def test_nothing_is_compiled_after_the_command(tmp_path):
    """Both forms of the kernels of a family and of its gradients are in the cache, which later calls do not change."""
    run(tmp_path, "-m", "npsubpix", "warmup", "gaussian", "--quiet")
    kernels = kernels_in(tmp_path)
    assert {name.rpartition("-")[0].rpartition("_")[2] for name in kernels} == {"serial", "parallel"}
    run(tmp_path, "-m", "npsubpix", "warmup", "render_gaussian", "--quiet")
    calls = """
import npsubpix, torch
mean = torch.ones(1, 40, 2, requires_grad=True)
npsubpix.render_gaussian(mean, 1.5, (200, 300)).sum().backward()
"""
    run(tmp_path, "-c", calls)
    assert kernels_in(tmp_path) == kernels


@pytest.mark.exhaustive  # which compiles a family anew
def test_peaks_of_images_of_any_size_are_compiled_before(tmp_path):
    """Large images take kernels that small ones, such as those of `warmup`, do not."""
    run(tmp_path, "-m", "npsubpix", "warmup", "find_peaks", "--quiet")
    kernels = kernels_in(tmp_path)
    call = "npsubpix.find_peaks(np.random.default_rng(0).normal(size=(1000, 1000)).astype('f4'), threshold_abs=3)"
    run(tmp_path, "-c", f"import npsubpix, numpy as np\n{call}")
    assert kernels_in(tmp_path) == kernels


def test_the_command_says_where_kernels_are(tmp_path):
    assert run(tmp_path, "-m", "npsubpix", "warmup", "render_spots") == f"compiled kernels are in {tmp_path}/npsubpix\n"


def test_the_command_compiles_nothing_that_could_not_be_kept(tmp_path):
    """As while a container is built, whose calls would compile all again."""
    blocked = tmp_path / "blocked"
    blocked.write_text("not a directory")
    with pytest.raises(subprocess.CalledProcessError) as failure:
        run(blocked, "-m", "npsubpix", "warmup")
    assert failure.value.stderr == "npsubpix: no compiled kernel could be kept: npsubpix info tells about the cache\n"
    assert "off: no folder can be written" in run(blocked, "-m", "npsubpix", "info")
