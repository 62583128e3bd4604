"""Benchmarks, and the rows that they report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.timing import Pace, interleave, use_threads

__all__ = [
    "REGISTRY",
    "Benchmark",
    "Contest",
    "Peer",
    "Row",
    "Run",
    "Stats",
    "Sweep",
    "Target",
    "contest",
    "measurement",
    "rows_of",
]

#: Units in which less is better; of rates more is.
_COSTS = ("s", "× outputs", "B/pixel")


@dataclass(frozen=True)
class Stats:
    """Order statistics of repeated measurements."""

    least: float
    lower_quartile: float
    median: float
    upper_quartile: float
    most: float
    count: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Stats:
        return cls(*(float(q) for q in np.percentile(samples, (0, 25, 50, 75, 100))), len(samples))

    @property
    def spread(self) -> float | None:
        """Distance of the quartiles, as a fraction of the median; None for a single measurement."""
        return (self.upper_quartile - self.lower_quartile) / self.median if self.count > 1 and self.median else None


@dataclass(frozen=True)
class Target:
    """Target of a row: a ratio, or a figure of npsubpix itself."""

    limit: float
    at_least: bool = True
    of_ratio: bool = False

    def met_by(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Row:
    """One line of the table: a measurement of ours, and of a peer where there is one."""

    benchmark: str
    work: str
    unit: str
    ours: Stats
    peer: str = ""
    theirs: Stats | None = None
    target: Target | None = None
    agrees: str = ""  # "yes", "no: what differs", or "" where nothing is compared
    is_library: bool = True  # see `Peer`

    @property
    def ratio(self) -> float | None:
        """How many times better ours is, in medians."""
        if self.theirs is None or not self.ours.median or not self.theirs.median:
            return None
        better = self.theirs.median / self.ours.median
        return better if self.unit in _COSTS else 1 / better

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if there is none, or nothing to compare with it."""
        if self.target is None:
            return None
        value = self.ratio if self.target.of_ratio else self.ours.median
        return None if value is None else self.target.met_by(value)

    @property
    def differs(self) -> bool:
        return self.agrees.startswith("no")


@dataclass(frozen=True)
class Run:
    """How a run was asked for."""

    quick: bool
    threads: int
    #: Times calls in turn, and returns the seconds of each.
    measure: Callable[[Mapping[str, Callable[[], Any]], Pace], dict[str, list[float]]] = field(default=interleave)
    rounds: int = 9  # visits to each call

    @property
    def pace(self) -> Pace:
        return Pace(rounds=2, visit=0.0, pause=0.001) if self.quick else Pace(self.rounds, visit=0.1, pause=0.01)


@dataclass(frozen=True)
class Benchmark:
    """An entry of the registry."""

    name: str
    module: str
    rows: Callable[[Run], Iterable[Row]]
    sweep: Sweep | None = None


#: All benchmarks, in the order in which their modules were imported.
REGISTRY: list[Benchmark] = []


def measurement(name: str) -> Callable[[Callable[[Run], Iterable[Row]]], Callable[[Run], Iterable[Row]]]:
    """Register a function that measures by itself and yields rows."""

    def register(function: Callable[[Run], Iterable[Row]]) -> Callable[[Run], Iterable[Row]]:
        REGISTRY.append(Benchmark(name, function.__module__, function))
        return function

    return register


@dataclass(frozen=True)
class Peer:
    """The same work by another library."""

    name: str
    call: Callable[[], Any] | None  # None where the library is not installed
    target: float | None = None  # how many times faster ours is meant to be
    differs: Callable[[Any, Any], str] | None = None  # of both results: what differs, "" if nothing
    items: int = 0  # what one call handles, where that is not what one of ours does
    bytes: int = 0  # what one call of either reads and writes: this row has rates in bytes if it is given
    is_library: bool = True  # False of a bound, such as a copy or a part of the work, and of ours in another way


@dataclass(frozen=True)
class Contest:
    """A call of ours beside calls of peers on the same input."""

    work: str
    ours: Callable[[], Any] | None  # None where a library that it needs is not installed
    peers: Sequence[Peer] = ()
    target: Target | None = None  # of ours itself
    items: int = 0  # what one call handles: rates are reported if it is given, else seconds


@dataclass(frozen=True)
class Sweep:
    """A contest over image sizes, a panel of the figure."""

    make: Callable[[int], Contest]
    bytes_per_pixel: int  # what the hungriest of its libraries needs, input included


def contest(
    name: str,
    side: int,
    quick_side: int = 64,
    threads: int | None = None,
    sweep_bytes: int | None = None,
) -> Callable[[Callable[[int], Contest]], Callable[[int], Contest]]:
    """Register a function of the side of an image that makes a contest.

    `threads` overrides the number of threads of the run. With `sweep_bytes`, the bytes a pixel that
    its hungriest library needs, the contest is also timed over image sizes.
    """

    def register(make: Callable[[int], Contest]) -> Callable[[int], Contest]:
        def rows(run: Run) -> Iterable[Row]:
            entered = make(quick_side if run.quick else side)
            use_threads(threads or run.threads)
            return rows_of(name, entered, run)

        swept = Sweep(make, sweep_bytes) if sweep_bytes else None
        REGISTRY.append(Benchmark(name, make.__module__, rows, swept))
        return make

    return register


def _verdict(peer: Peer, ours: Any) -> str:
    """Compare results once, which also warms up the peer."""
    if peer.call is None:
        return ""
    theirs = peer.call()
    if peer.differs is None:
        return ""
    difference = peer.differs(ours, theirs)
    return f"no: {difference}" if difference else "yes"


def rows_of(name: str, entered: Contest, run: Run) -> Iterable[Row]:
    """Compare and time the calls of a contest."""
    if entered.ours is None:
        return
    result = entered.ours()
    verdicts = {peer.name: _verdict(peer, result) for peer in entered.peers}
    del result
    calls = {"npsubpix": entered.ours} | {peer.name: peer.call for peer in entered.peers if peer.call}
    seconds = run.measure(calls, run.pace)
    if entered.target or not entered.peers:
        unit, items = _rate(entered)
        yield Row(name, entered.work, unit, _stats(seconds["npsubpix"], items), target=entered.target)
    for peer in entered.peers:
        unit, items = _rate(entered, peer)
        ours = _stats(seconds["npsubpix"], items)
        theirs = _stats(seconds[peer.name], peer.items or items) if peer.call else None
        target = None if peer.target is None else Target(peer.target, of_ratio=True)
        yield Row(name, entered.work, unit, ours, peer.name, theirs, target, verdicts[peer.name], peer.is_library)


def _rate(entered: Contest, peer: Peer | None = None) -> tuple[str, int]:
    """Return the unit of a row, and what one call of ours handles in it."""
    if peer is not None and peer.bytes:
        return "B/s", peer.bytes
    return ("1/s", entered.items) if entered.items else ("s", 0)


def _stats(seconds: Sequence[float], items: int) -> Stats:
    return Stats.of([items / s for s in seconds] if items else seconds)
