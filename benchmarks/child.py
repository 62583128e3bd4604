"""Run a piece of a benchmark in a fresh process; it prints one line of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["run_code", "run_module"]

_ROOT = Path(__file__).parent.parent


def run_module(module: str, *args: str, threads: int) -> Any:
    return _run(["-m", module, *args], threads)


def run_code(code: str, *args: str, threads: int, cache: str | None = None) -> Any:
    return _run(["-c", code, *args], threads, cache)


def _run(command: list[str], threads: int, cache: str | None = None) -> Any:
    count = str(threads)
    environment = os.environ | {"NUMBA_NUM_THREADS": count, "OMP_NUM_THREADS": count}
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = cache
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])
