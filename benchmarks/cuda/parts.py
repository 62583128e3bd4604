"""The parts of a session on a GPU: which processes each runs, and its share of the time."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["FILES", "Part", "parts_of"]

#: All files that a session writes.
FILES = (
    "session.log", "compiling.log", "tests.log", "tests.jsonl", "sanitizer.log", "benchmarks.log", "benchmarks.json",
    "benchmarks_cuda.md",
)  # fmt: skip

TESTS = Path(__file__).parents[2] / "tests"

#: Fixtures of tests that launch kernels.
_LAUNCHES = re.compile(r"\b(backend|host_device|cuda_on_host)\b")

#: Tests of kernels that no GPU runs: of compilers, and of the tools themselves.
_ELSEWHERE = {"test_cuda_compile.py", "test_cuda_memory.py", "test_benchmarks_cuda.py", "test_benchmarks_session.py"}


@dataclass(frozen=True)
class Part:
    """Processes that run one after the other, each with an equal share of what is left of the part's time.

    In a command, ``{minutes}`` stands for the time that it has.
    """

    name: str
    until: float  # share of the whole time at whose end it is over
    log: str  # name of the file with what it prints
    commands: Sequence[Sequence[str]]
    environment: Mapping[str, str] = field(repr=False)
    missing: str = ""  # why it cannot run
    least: float = 10.0  # seconds without which it does not begin
    shown: bool = False  # whether what it prints is shown
    resumable: bool = False  # whether a process that lost the GPU is followed by one that goes on
    beside: bool = False  # whether all other parts run meanwhile


def parts_of(options: argparse.Namespace, environment: Mapping[str, str]) -> list[Part]:
    """Return the parts in order: what decides whether anything can be believed, then what is measured."""
    python, output = sys.executable, options.output
    shared = {
        "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", "NPSUBPIX_CUDA_TESTS": "gpu", **environment,
        "JAX_PLATFORMS": "cpu",  # jax takes most of the memory of a GPU for itself
    }  # fmt: skip
    tested = {
        **shared, "NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "2",
        "NPSUBPIX_TESTS_RECORD": str((output / "tests.jsonl").absolute()),
    }  # fmt: skip
    watched = {**shared, "NPSUBPIX_CUDA_POOL": "off", "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    tool = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    checked = [
        [str(tool), "--tool", check, "--error-exitcode", "1", python, "-m", "tests.cuda_host.memory", "--few"]
        for check in ("memcheck", "racecheck")
    ]
    written = [str((output / name).absolute()) for name in ("benchmarks.json", "benchmarks_cuda.md")]
    timed = [
        *(python, "-m", "benchmarks", "--backend", "cuda", "--minutes", "{minutes}", "--resume", "--output"),
        *(written[0], "--markdown", written[1], "--select", options.select, *(["--quick"] * options.quick)),
    ]
    compiled = [python, "-m", "benchmarks.cuda.compiling", str(options.workers)]
    return [
        Part("machine", 0.08, "session.log", [[python, "-m", "benchmarks.cuda.gpu"]], shared, shown=True),
        Part("compiling", 1.0, "compiling.log", [compiled], shared, beside=True),
        Part("tests", 0.45, "tests.log", [_pytest(options)], tested),
        Part("compute-sanitizer", 0.55, "sanitizer.log", checked, watched, "" if tool else "it is not installed"),
        Part("benchmarks", 1.0, "benchmarks.log", [timed], shared, resumable=True),
    ]


def _pytest(options: argparse.Namespace) -> list[str]:
    """Run tests in order of importance, whatever versions warn of, in several processes where that is possible."""
    spread = importlib.util.find_spec("xdist") and options.workers > 1
    return [
        *(sys.executable, "-m", "pytest", "-q", "-ra", "-o", "addopts=", "-W", "default", "-p", "no:cacheprovider"),
        *("-p", "tests.cuda_host.in_turn", *(["-n", str(options.workers), "--dist", "loadgroup"] if spread else [])),
        *(["-k", options.keyword] if options.keyword else []),
        *(str(TESTS / "hardware"), *map(str, files_of_kernels())),
    ]


def files_of_kernels() -> list[Path]:
    """Return the files with tests that launch kernels: the others need not be imported."""
    return [
        path
        for path in sorted(TESTS.glob("test_*.py"))
        if path.name not in _ELSEWHERE and _LAUNCHES.search(path.read_text(encoding="utf-8"))
    ]
