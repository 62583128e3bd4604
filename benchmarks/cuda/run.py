"""Compare with the CPU, time, and write the page."""

from __future__ import annotations

import argparse
import functools
import math
import secrets
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks import machine, report
from benchmarks.cuda import check
from benchmarks.cuda.cases import Case, all_cases, by_importance, functions_on_gpu
from benchmarks.cuda.gpu import Gpu
from benchmarks.cuda.record import Record
from benchmarks.cuda.rivals import COPY_TARGETS, HOST_TARGET, rivals_of
from benchmarks.cuda.rotation import Inputs
from benchmarks.registry import Contest, Peer, Row, Run, Stats, Target, rows_of

__all__ = ["LOST", "contest_of", "main", "measure"]

#: The status of a run after which the GPU answers nothing in the same process: another can resume it.
LOST = 3

_QUICK_SIDE = 64
_SMALL = 32
_COPIED = 2**31  # bytes that the copy reads and writes which is timed by itself

#: Cases whose launches are timed on the host, one of each way to launch.
_LAUNCHED = (
    "nms2d 3×3",
    "iterative_quad_interp3d 6 slices",
    "spatial_soft_argmax2d 256 maps",
    "render_gaussian2d a map a pixel of the side",
    "window_sum 7×7",
    "sample linear, as many points as pixels",
    "correlate 3×3",
)


def main(options: argparse.Namespace, command: str) -> int:
    """Return 1 if a result differs from that of the CPU or of a peer, 2 if there is no GPU, 3 if it is lost."""
    try:
        gpu = Gpu()
    except (ImportError, RuntimeError) as error:
        print(f"nothing is measured: {str(error).partition(chr(10))[0]}", file=sys.stderr)
        return 2
    return measure(gpu, options, command)


def measure(gpu: Any, options: argparse.Namespace, command: str) -> int:
    """Compare and time all that is asked for; after so many minutes, begin nothing."""
    end = time.monotonic() + 60 * options.minutes if options.minutes else math.inf
    described = {**machine.describe(options.threads), "gpu": gpu.describe()}
    seed = secrets.randbits(32) if options.seed is None else options.seed
    record = Record(options, command, described, seed)
    steps = _steps(gpu, options, record)
    names = [name for name in steps if name not in record.begun]
    alive = True
    for number, name in enumerate(names):
        record.left = names[number:]
        if time.monotonic() > end:
            break
        print(name, file=sys.stderr, flush=True)
        record.begin(name, names[number + 1 :])
        try:
            record.rows += steps[name]()
        except Exception as error:
            record.failed[name] = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            print(f"{name} failed: {record.failed[name]}", file=sys.stderr, flush=True)
        alive = gpu.alive()
        record.write()
        if not alive:
            break
        gpu.release()
    record.write()
    print(report.as_text(record.rows, described, record.notes()), flush=True)
    return LOST if not alive else int(record.wrong)


def _steps(gpu: Any, options: argparse.Namespace, record: Record) -> dict[str, Callable[[], Iterable[Row]]]:
    """Return what there is to do by its name, in order: the copy rate first, the host, then the cases.

    With little time, float32 alone is compared, and kornia is compiled only where there is a target.
    """
    chosen, hurried = _choose(options.select), bool(options.minutes)
    if hurried:
        chosen = by_importance(chosen)
    timed = functools.partial(Run, options.quick, options.threads, rounds=3 if hurried else 9)
    dtypes = check.DTYPES[:1] if hurried else check.DTYPES
    steps: dict[str, Callable[[], Iterable[Row]]] = {"device copy": lambda: [_copy_rate(gpu, timed(gpu.measure))]}
    for case in chosen:
        if case.name in _LAUNCHED:
            steps[f"host time a launch, {case.name}"] = functools.partial(_launches, gpu, case, timed(gpu.launch))
    for case in chosen:
        steps[case.name] = functools.partial(_compared, gpu, case, timed(gpu.measure), record, dtypes, hurried)
    return steps


def _choose(substring: str) -> list[Case]:
    on_gpu = functions_on_gpu()
    cases = [case for case in all_cases() if case.function in on_gpu]
    chosen = [case for case in cases if any(part.lower() in case.name.lower() for part in substring.split(","))]
    if not chosen:
        names = "\n  ".join(case.name for case in cases)
        raise SystemExit(f"no case has {substring!r} in its name; there are\n  {names}")
    return chosen


def _copy_rate(gpu: Any, run: Run) -> Row:
    size = 2**20 if run.quick else _COPIED
    seconds = gpu.measure({"copy": gpu.copy_of(size)}, run.pace)["copy"]
    return Row("device copy", f"{size / 2**30:.3g} GiB", "B/s", Stats.of([size / s for s in seconds]))


def _launches(gpu: Any, case: Case, run: Run) -> Iterable[Row]:
    """Time the host alone, for each kernel that it launches."""
    arrays = [gpu.array(a) for a in case.arrays(0, (_SMALL, _SMALL), "float32")]
    call = functools.partial(case.call, *arrays)
    call()
    count = max(gpu.launches_of(call), 1)
    seconds = [s / count for s in gpu.launch({"host": call}, run.pace)["host"]]
    work = f"{_SMALL}², {count} launch{'es' * (count > 1)}"
    yield Row(f"host time a launch, {case.name}", work, "s", Stats.of(seconds), target=Target(HOST_TARGET, False))


def _compared(gpu: Any, case: Case, run: Run, record: Record, dtypes: tuple[str, ...], hurried: bool) -> Iterable[Row]:
    """Compare with the CPU, then time; nothing, if results differ."""
    found = check.verdicts([case], gpu.array, record.seed, dtypes)
    record.compared += found
    different = [v for v in found if v.difference]
    for v in different:
        print(f"{v.case}, {v.dtype}: {v.difference}", file=sys.stderr, flush=True)
    return [] if different else rows_of(case.name, contest_of(case, gpu, run.quick, hurried), run)


def contest_of(case: Case, gpu: Any, quick: bool, hurried: bool = False) -> Contest:
    """Return a case beside a device copy of the same bytes and beside other libraries."""
    side = _QUICK_SIDE if quick else case.side
    arrays = [gpu.array(a) for a in case.arrays(0, (side, side), "float32")]
    results = case.call(*arrays)
    size = sum(a.nbytes for a in (*arrays, *(results if isinstance(results, tuple) else (results,))))
    del results
    inputs = Inputs(arrays, gpu.cache)
    copy = Peer("device copy", gpu.copy_of(size), COPY_TARGETS.get(case.name), bytes=size)
    return Contest(f"{side}²", inputs.turns(case.call), [copy, *rivals_of(case, inputs, hurried)])
