"""Time against the size of the image, for ours and the peers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import available_memory
from benchmarks.registry import Benchmark, Run, Stats, Sweep
from benchmarks.timing import Pace, interleave, use_threads

__all__ = ["draw", "sweep"]

_SIDES = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
_PACE = Pace(rounds=3, visit=0.05, pause=0.01, limit=3.0)
_COLUMNS = 3
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


def draw(points: Sequence[dict[str, Any]], path: Path) -> bool:
    """Draw a panel a benchmark; return whether matplotlib is there to do it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    names = list(dict.fromkeys(point["benchmark"] for point in points))
    rows = math.ceil(len(names) / _COLUMNS)
    figure = Figure(figsize=(4 * min(len(names), _COLUMNS), 3.2 * rows), layout="constrained")
    for k, name in enumerate(names):
        axes = figure.add_subplot(rows, min(len(names), _COLUMNS), k + 1)
        _panel(axes, name, [point for point in points if point["benchmark"] == name])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return True


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
