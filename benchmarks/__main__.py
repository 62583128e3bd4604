"""Run the benchmarks: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import figure, machine, report
from benchmarks.measuring import measure
from benchmarks.registry import REGISTRY, Benchmark, Row, Run

_RATIOS = "Times of the fastest other library beside those of npsubpix"
_SIZES = "Time against the side of the image"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; return 1 if a result differs from that of a peer, or something could not be measured."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "benchmarks", *arguments])
    if options.backend == "cuda":
        return importlib.import_module("benchmarks.cuda.run").main(options, command)
    described = machine.describe(options.threads)
    run = Run(options.quick, options.threads)
    chosen = _choose(options.select)
    rows, points, complete = measure(chosen, run, with_sizes=not options.no_sizes)
    print(report.as_text(rows, described), flush=True)

    pictures = _draw(rows, points, options.figure or options.output.with_suffix(".svg"))
    document = {
        "command": command,
        "quick": run.quick,
        "machine": described,
        "rows": report.as_json(rows),
        "sizes": [point | {"seconds": dataclasses.asdict(point["seconds"])} for point in points],
    }
    report.write(options.output, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    if options.markdown:
        shown = [(title, Path(os.path.relpath(p, options.markdown.parent)).as_posix()) for title, p in pictures]
        report.write(options.markdown, report.as_markdown(rows, described, command, shown))
    different = [row for row in rows if row.differs]
    for row in different:
        print(f"WARNING: {row.benchmark} and {row.peer} do not agree, {row.agrees}", file=sys.stderr)
    return 1 if different or not complete else 0


def _parser() -> argparse.ArgumentParser:
    now = datetime.datetime.now().strftime("%Y-%m-%dT%H%M%S")
    parser = argparse.ArgumentParser("python -m benchmarks", description="npsubpix beside libraries that do the same.")
    parser.add_argument(
        "--backend", choices=("cpu", "cuda"), default="cpu", help="cuda compares a GPU with the CPU, then times it"
    )
    parser.add_argument("--seed", type=int, help="of the input that a GPU is compared on; by default a new one")
    parser.add_argument(
        "--minutes", type=float, help="of a GPU: begin no operation later; the most important are the first"
    )
    parser.add_argument("--resume", action="store_true", help="on a GPU, go on where the run that wrote --output ended")
    parser.add_argument(
        "--quick", action="store_true", help="tiny images, to see that everything runs; targets are not theirs"
    )
    parser.add_argument(
        "--select",
        metavar="SUBSTRING",
        default="",
        help="only benchmarks with this, or one of these between commas",
    )
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="of every library, default 2")
    parser.add_argument(
        "--output", type=Path, metavar="PATH", default=Path(__file__).parent / "results" / f"{now}.json", help="JSON"
    )
    parser.add_argument(
        "--figure",
        type=Path,
        metavar="PATH",
        help="charts, the second with _sizes in its name; default beside JSON",
    )
    parser.add_argument("--markdown", type=Path, metavar="PATH", help="write the table as a page too")
    parser.add_argument("--no-sizes", action="store_true", help="time at one size alone")
    return parser


def _choose(substring: str) -> list[Benchmark]:
    for module in sorted(Path(__file__).parent.glob("bench_*.py")):
        importlib.import_module(f"benchmarks.{module.stem}")
    chosen = [b for b in REGISTRY if any(part.lower() in b.name.lower() for part in substring.split(","))]
    if not chosen:
        names = "\n  ".join(benchmark.name for benchmark in REGISTRY)
        raise SystemExit(f"no benchmark has {substring!r} in its name; there are\n  {names}")
    return chosen


def _draw(rows: Sequence[Row], points: Sequence[dict[str, Any]], path: Path) -> list[tuple[str, Path]]:
    """Draw what there is to draw, and return titles and files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = path.with_stem(f"{path.stem}_sizes")
    drawn = [
        (_RATIOS, path, figure.draw_ratios(rows, path)),
        (_SIZES, sizes, figure.draw_sizes(points, sizes)),
    ]
    return [(title, file) for title, file, done in drawn if done]


if __name__ == "__main__":
    raise SystemExit(main())
