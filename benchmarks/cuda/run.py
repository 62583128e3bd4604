"""Compare with the CPU, time, and write the page."""

from __future__ import annotations

import argparse
import dataclasses
import json
import secrets
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import npsubpix
from benchmarks import machine, report
from benchmarks.cuda import check
from benchmarks.cuda.cases import Case, all_cases, functions_on_gpu
from benchmarks.cuda.gpu import Gpu
from benchmarks.cuda.rivals import COPY_TARGETS, HOST_TARGET, rivals_of
from benchmarks.cuda.rotation import Inputs
from benchmarks.registry import Contest, Peer, Row, Run, Target, rows_of

__all__ = ["contest_of", "main", "measure"]

_QUICK_SIDE = 64
_SMALL = 32

_NOTES = """\
Medians of calls in one process, timed by GPU events, with ours and the peers' in turn; ± is half the interquartile
range. Several copies of the input are used in turn, so that none is in the cache. Results are float32. A ratio above 1
means that ours is better by that factor.

GB/s are the bytes of every input and every result over the time; a device copy reads and writes as many, so that the
ratio is the share of its rate.
""".splitlines()


def main(options: argparse.Namespace, command: str) -> int:
    """Return 1 if a result differs from that of the CPU or of a peer, 2 if there is no GPU."""
    try:
        gpu = Gpu()
    except (ImportError, RuntimeError) as error:
        print(f"nothing is measured: {str(error).partition(chr(10))[0]}", file=sys.stderr)
        return 2
    return measure(gpu, options, command)


def measure(gpu: Any, options: argparse.Namespace, command: str) -> int:
    """Compare and time all that is asked for."""
    seed = secrets.randbits(32) if options.seed is None else options.seed
    chosen = _choose(options.select)
    described = {**machine.describe(options.threads), "gpu": gpu.describe()}
    found = check.verdicts(chosen, gpu.array, seed)
    print("\n".join(check.as_markdown(found, seed)), file=sys.stderr, flush=True)
    wrong = {v.case for v in found if v.difference}
    rows = _time(gpu, [case for case in chosen if case.name not in wrong], options.quick, options.threads)
    notes = [*check.as_markdown(found, seed), "", *_NOTES]
    print(report.as_text(rows, described, notes), flush=True)
    document = {
        "command": command,
        "quick": options.quick,
        "machine": described,
        "seed": seed,
        "compared": [dataclasses.asdict(v) for v in found],
        "rows": report.as_json(rows),
    }
    report.write(options.output, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    if options.markdown:
        page = report.as_markdown(rows, described, command, title="Benchmarks on a GPU", notes=notes)
        report.write(options.markdown, page)
    return 1 if wrong or any(row.differs for row in rows) else 0


def _choose(substring: str) -> list[Case]:
    on_gpu = functions_on_gpu()
    cases = [case for case in all_cases() if case.function in on_gpu]
    chosen = [case for case in cases if any(part.lower() in case.name.lower() for part in substring.split(","))]
    if not chosen:
        names = "\n  ".join(case.name for case in cases)
        raise SystemExit(f"no case has {substring!r} in its name; there are\n  {names}")
    return chosen


def _time(gpu: Any, cases: Sequence[Case], quick: bool, threads: int) -> list[Row]:
    rows: list[Row] = []
    for case in cases:
        print(case.name, file=sys.stderr, flush=True)
        rows += rows_of(case.name, contest_of(case, gpu, quick), Run(quick, threads, gpu.measure))
        gpu.release()
    return [*rows, *_launches(gpu, cases, Run(quick, threads, gpu.launch))]


def contest_of(case: Case, gpu: Any, quick: bool) -> Contest:
    """Return a case beside a device copy of the same bytes and beside other libraries."""
    side = _QUICK_SIDE if quick else case.side
    arrays = [gpu.array(a) for a in case.arrays(0, (side, side), "float32")]
    results = case.call(*arrays)
    size = sum(a.nbytes for a in (*arrays, *(results if isinstance(results, tuple) else (results,))))
    del results
    inputs = Inputs(arrays, gpu.cache)
    copy = Peer("device copy", gpu.copy_of(size), COPY_TARGETS.get(case.name), bytes=size)
    return Contest(f"{side}²", inputs.turns(case.call), [copy, *rivals_of(case, inputs)])


def _launches(gpu: Any, cases: Sequence[Case], run: Run) -> Iterable[Row]:
    """Time the host alone, where an operation of one kernel is among the cases."""
    if not any(case.function == "nms2d" for case in cases):
        return []
    small = gpu.array(next(c for c in cases if c.function == "nms2d").arrays(0, (_SMALL, _SMALL), "float32")[0])
    target = Target(HOST_TARGET, at_least=False)
    entered = Contest(f"{_SMALL}², until the call returns", lambda: npsubpix.nms2d(small, (3, 3)), target=target)
    return rows_of("one launch, host", entered, run)
