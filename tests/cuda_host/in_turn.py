"""A plugin of pytest for tests on a GPU with little time: ``python -m pytest -p tests.cuda_host.in_turn``.

Tests that run nothing on a GPU, and exhaustive ones, are left out. Those of the hardware come first; then a few tests
of each file run before more of any, those of the most important families first, so that a run that is ended early has
seen each; fits come last. ``NPSUBPIX_TESTS_END`` is the time, in seconds since 1970, after which no test is begun.
``NPSUBPIX_TESTS_RECORD`` is a file that gets a line of JSON for each test as soon as it is over.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

__all__ = ["NO_TIME"]

#: The outcome of a test that was not begun.
NO_TIME = "no time"

_END = float(os.environ.get("NPSUBPIX_TESTS_END", math.inf))
_RECORD = os.environ.get("NPSUBPIX_TESTS_RECORD")

#: Tests of a file that run one after the other, in one process: they share kernels, which take long to compile.
_TOGETHER = 12

_FAMILIES = (
    "nms", "quad_interp", "spatial", "soft_argmax", "gaussian", "windows", "sampling", "convolution", "peaks",
    "refinement", "filter_banks", "blobs", "background", "photometry", "fitting", "alignment",
)  # fmt: skip

#: Tests of the hardware that have a time of their own.
_ELSEWHERE = {"test_benchmarks"}

#: Fixtures of a CuPy that is not real: these tests run nothing on a GPU.
_STAND_INS = {"cupy", "cuda_tensors"}


def _rank(stem: str) -> tuple[int, bool]:
    """Order files by their families, and what is special to GPUs before what both backends share."""
    name = stem.removeprefix("test_").removeprefix("cuda_")
    family = next((n for n, family in enumerate(_FAMILIES) if name.startswith(family)), len(_FAMILIES))
    return family, not stem.startswith("test_cuda_")


def _is_long(item: pytest.Item) -> bool:
    """Whether a test waits for kernels that take a minute to compile: those of fits, which come last."""
    return "fit" in f"{item.path.stem} {item.name}"


def _is_wanted(item: pytest.Item) -> bool:
    """Whether a test runs something on a GPU, in less than minutes."""
    if item.path.parent.name == "hardware":
        return item.name not in _ELSEWHERE
    stands_in = not _STAND_INS.isdisjoint(getattr(item, "fixturenames", ()))
    markers = {marker.name for marker in item.iter_markers()}
    return "device" in markers and "exhaustive" not in markers and not stands_in


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put tests in order, by rounds of a few of each file; xdist gives what belongs together to one process."""
    seen: Counter[Path] = Counter()
    keys: dict[pytest.Item, tuple[Any, ...]] = {}
    for item in filter(_is_wanted, items):
        number = seen[item.path] // _TOGETHER
        seen[item.path] += 1
        first = item.path.parent.name == "hardware"
        keys[item] = _is_long(item), 0 if first else 1 + number, *_rank(item.path.stem), item.path.name, number
        if config.pluginmanager.has_plugin("xdist"):
            item.add_marker(pytest.mark.xdist_group(f"{item.path.stem}-{_is_long(item)}-{number}"))
    config.hook.pytest_deselected(items=[item for item in items if item not in keys])
    items[:] = sorted(keys, key=keys.__getitem__)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.time() > _END:
        pytest.skip(NO_TIME)


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write the outcome of a test; after a failure that took the GPU from this process, end it."""
    working = "PYTEST_XDIST_WORKER" in os.environ
    if not working and _RECORD and (report.when == "call" or report.outcome != "passed"):
        with Path(_RECORD).open("a", encoding="utf-8") as file:
            file.write(json.dumps(_line(report)) + "\n")
    if report.failed and _lost():
        if working:  # xdist starts another in its place
            os._exit(1)
        pytest.exit("the GPU answers no more in this process", returncode=1)


def _line(report: pytest.TestReport) -> dict[str, Any]:
    skipped = isinstance(report.longrepr, tuple)
    why = report.longrepr[2] if skipped else report.longreprtext.rpartition("\n")[2] if report.failed else ""
    outcome = NO_TIME if skipped and NO_TIME in why else report.outcome
    test = report.nodeid.rpartition("@")[0] or report.nodeid
    return {"test": test, "outcome": outcome, "seconds": round(report.duration, 3), "why": str(why)}


def _lost() -> bool:
    """Whether the GPU no longer answers; an access out of bounds ends all work of its process."""
    cupy = sys.modules.get("cupy")
    try:
        if cupy is not None:
            cupy.cuda.runtime.deviceSynchronize()
    except Exception:
        return True
    return False
