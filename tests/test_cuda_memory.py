"""Kernels for the GPU touch no memory but that of their arrays, and count on nothing undefined."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -g"


def run(*args: str) -> subprocess.CompletedProcess[str]:
    """Run kernels, compiled with the sanitizers of g++, in a process that has their libraries from the start."""
    libraries = [
        subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = {
        **os.environ,
        "NPSUBPIX_HOST_CUDA_FLAGS": SANITIZERS,
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python leaves to the system what it has at its end
    }
    command = [sys.executable, "-m", "tests.cuda_host.memory", *args]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.exhaustive
def test_every_kernel_is_clean():
    process = run()
    assert process.returncode == 0, process.stderr[-4000:]


def test_suppression_is_clean():
    """A sample of what the lane runs, in which the sanitizers find nothing."""
    process = run("--sample")
    assert process.returncode == 0, process.stderr[-4000:]


def test_a_read_beyond_an_array_is_noticed():
    """The sanitizers are really there."""
    process = run("--spoil")
    assert process.returncode != 0
    assert "heap-buffer-overflow" in process.stderr
    assert "nms_keep" in process.stderr
