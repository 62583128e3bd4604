"""Charts: how ours compares with the fastest peer, and time against the size of the image."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import available_memory
from benchmarks.registry import Benchmark, Row, Run, Stats, Sweep
from benchmarks.report import short
from benchmarks.timing import Pace, interleave, use_threads

__all__ = ["draw_ratios", "draw_sizes", "fastest_peers", "sweep"]

_SIDES = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
_PACE = Pace(rounds=3, visit=0.05, pause=0.01, limit=3.0)
_COLUMNS = 3
_AHEAD, _BEHIND = "#0072b2", "#d55e00"  # by Okabe and Ito
#: Seconds of a call after which a library is not tried on larger images: the time of peak_local_max
#: grows faster than the number of peaks, to minutes at the last size.
_SLOW = 3.0


def sweep(benchmark: Benchmark, run: Run) -> Iterable[dict[str, Any]]:
    """Yield a point for every library and every side that fits into memory, until a library becomes too slow."""
    if benchmark.sweep is None:
        return
    slow: set[str] = set()
    for side in _SIDES[:2] if run.quick else _SIDES:
        if benchmark.sweep.bytes_per_pixel * side**2 > 0.8 * available_memory():
            return
        for library, seconds in _time(benchmark.sweep, side, run, slow).items():
            if seconds.median > _SLOW:
                slow.add(library)
            yield {"benchmark": benchmark.name, "library": library, "side": side, "seconds": seconds}


def _time(swept: Sweep, side: int, run: Run, without: set[str]) -> dict[str, Stats]:
    entered = swept.make(side)
    calls = {"npsubpix": entered.ours} | {
        peer.name: peer.call for peer in entered.peers if peer.call and peer.name not in without
    }
    use_threads(run.threads)
    return {name: Stats.of(times) for name, times in interleave(calls, run.pace if run.quick else _PACE).items()}


def fastest_peers(rows: Sequence[Row]) -> list[Row]:
    """Return the row of the fastest other library of each benchmark, from the least ratio to the greatest."""
    fastest: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.is_library and row.ratio is not None and row.unit in ("s", "1/s"):
            key = row.benchmark, row.work
            if key not in fastest or row.ratio < (fastest[key].ratio or 0):
                fastest[key] = row
    return sorted(fastest.values(), key=lambda row: row.ratio or 0)


def draw_ratios(rows: Sequence[Row], path: Path) -> bool:
    """Draw a bar a benchmark, in two columns; return whether there is anything to draw, and matplotlib to do it."""
    compared = fastest_peers(rows)
    half = math.ceil(len(compared) / 2)
    with _style():
        if not compared or not (figure := _new_figure(14, 1.2 + 0.19 * half)):
            return False
        for column, part in enumerate(filter(None, (compared[half:], compared[:half]))):
            _bars(figure.add_subplot(1, 2, column + 1), part)
        figure.suptitle("How many times faster than the fastest other library (below 1: slower)")
        figure.savefig(path, dpi=100)
    return True


def _bars(axes: Any, rows: Sequence[Row]) -> None:
    ratios = [row.ratio or 1 for row in rows]
    colours = [_AHEAD if ratio >= 1 else _BEHIND for ratio in ratios]
    axes.barh(range(len(rows)), [ratio - 1 for ratio in ratios], left=1, color=colours)
    for k, (row, ratio) in enumerate(zip(rows, ratios, strict=True)):
        axes.annotate(
            f"{short(ratio)} × {row.peer}",
            (max(ratio, 1), k),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    axes.set_xscale("log")
    axes.minorticks_off()
    least, most = min(0.8, 0.8 * ratios[0]), max(2.0, ratios[-1])
    axes.set_xlim(least, most * most / least)  # the half without bars is for the names of peers
    axes.xaxis.set_major_formatter("{x:,.10g}")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), [row.benchmark for row in rows], fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)


def draw_sizes(points: Sequence[dict[str, Any]], path: Path) -> bool:
    """Draw a panel a benchmark; return whether there is anything to draw, and matplotlib to do it."""
    names = list(dict.fromkeys(point["benchmark"] for point in points))
    rows = math.ceil(len(names) / _COLUMNS)
    with _style():
        if not names or not (figure := _new_figure(4 * min(len(names), _COLUMNS), 3.2 * rows)):
            return False
        for k, name in enumerate(names):
            axes = figure.add_subplot(rows, min(len(names), _COLUMNS), k + 1)
            _panel(axes, name, [point for point in points if point["benchmark"] == name])
        figure.savefig(path, dpi=100)
    return True


def _style() -> contextlib.AbstractContextManager[Any]:
    """Draw as matplotlib does by itself: libraries that are measured set styles of their own."""
    try:
        from matplotlib import style
    except ImportError:
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[Any] = style.context("default")
    return context


def _new_figure(width: float, height: float) -> Any:
    """Return a figure, in inches, or None where there is no matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    return Figure(figsize=(width, height), layout="constrained")


def _panel(axes: Any, name: str, points: Sequence[dict[str, Any]]) -> None:
    for library in dict.fromkeys(point["library"] for point in points):
        line = [point for point in points if point["library"] == library]
        ours = {"color": "black", "linewidth": 2} if library == "npsubpix" else {}
        sides = [point["side"] for point in line]
        axes.plot(sides, [1e3 * point["seconds"].median for point in line], marker=".", label=library, **ours)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set(title=name, xlabel="side of the image in pixels", ylabel="time in ms")
    axes.set_xticks([point["side"] for point in points], [str(point["side"]) for point in points], rotation=45)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
