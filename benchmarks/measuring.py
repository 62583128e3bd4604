"""Measure benchmarks, those of each module in a process of its own."""

from __future__ import annotations

import importlib
import itertools
import pickle
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import figure
from benchmarks.registry import REGISTRY, Benchmark, Row, Run

__all__ = ["measure"]


def measure(chosen: Sequence[Benchmark], run: Run, *, with_sizes: bool) -> tuple[list[Row], list[dict[str, Any]], bool]:
    """Return the rows of benchmarks, their points over sizes, and whether all could be measured.

    A small call takes twice as long in a process in which all the other libraries have run. A quick run measures in
    its own process, where everything is imported once.
    """
    rows, points, complete = [], [], True
    for module, group in itertools.groupby(chosen, key=lambda benchmark: benchmark.module):
        task = module, {benchmark.name for benchmark in group}, run, with_sizes
        try:
            part = _measure_some(*task) if run.quick else _in_own_process(*task)
        except Exception:  # a failure, or the end of the process, costs the rows of its module
            traceback.print_exc()
            complete = False
            continue
        rows += part[0]
        points += part[1]
    return rows, points, complete


def _in_own_process(*task: Any) -> Any:
    """Measure in a process that ends as any script does: those of a pool wait for processes that benchmarks started."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task"
        path.write_bytes(pickle.dumps(task))
        subprocess.run([sys.executable, "-m", "benchmarks.measuring", str(path)], check=True)
        return pickle.loads(path.read_bytes())


def _measure_some(module: str, names: set[str], run: Run, with_sizes: bool) -> tuple[list[Row], list[dict[str, Any]]]:
    importlib.import_module(module)
    benchmarks = [benchmark for benchmark in REGISTRY if benchmark.module == module and benchmark.name in names]
    rows = list(_said(benchmarks, "", lambda benchmark: benchmark.rows(run)))
    swept = [benchmark for benchmark in benchmarks if benchmark.sweep and with_sizes]
    return rows, list(_said(swept, ", over sizes", lambda benchmark: figure.sweep(benchmark, run)))


def _said(benchmarks: Iterable[Benchmark], what: str, measured: Callable[[Benchmark], Iterable[Any]]) -> Iterable[Any]:
    for benchmark in benchmarks:
        print(f"{benchmark.name}{what}", file=sys.stderr, flush=True)
        yield from measured(benchmark)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_bytes(pickle.dumps(_measure_some(*pickle.loads(file.read_bytes()))))
