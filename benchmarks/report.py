"""The table of rows as text, as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.registry import Row, Stats, Target

__all__ = ["as_json", "as_markdown", "as_text", "from_json", "short", "write"]

_DASH = "–"
_HEAD = ("benchmark", "work", "ours", "best", "±", "peer", "theirs", "best", "±", "ratio", "target", "met", "agrees")
_NOTE = (
    "Medians of calls in one process, with ours and the peers' in turn, and another process for each group of rows; "
    "± is half the interquartile range. "
    "A ratio above 1 means that ours is better by that factor."
)
_FIGURE_NOTE = (
    "Bars: of all other libraries of a benchmark, the fastest. "
    "A line ends before the size that would not fit into memory, or that would take a library too long."
)


def as_text(rows: Sequence[Row], machine: dict[str, Any], notes: Sequence[str] = (_NOTE,)) -> str:
    cells = [_HEAD, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*(f"{name}: {value}" for name, value in _machine(machine)), "", *lines, "", *notes])


def as_markdown(
    rows: Sequence[Row],
    machine: dict[str, Any],
    command: str,
    figures: Sequence[tuple[str, str]] = (),
    title: str = "Benchmarks",
    notes: Sequence[str] = (_NOTE,),
) -> str:
    """Return a page with figures, the table and notes; `figures` are titles and paths of pictures beside it."""
    table = [_HEAD, ("---",) * len(_HEAD), *map(_cells, rows)]
    return "\n".join(
        [
            f"# {title}",
            "",
            f"Made by `{command}`.",
            "",
            *(f"- {name}: {value}" for name, value in _machine(machine)),
            "",
            *(line for shown, file in figures for line in (f"![{shown}]({file})", "")),
            *([_FIGURE_NOTE, ""] if figures else []),
            *(f"| {' | '.join(row)} |" for row in table),
            "",
            *notes,
            "",
        ]
    )


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(row) | {"ratio": row.ratio, "met": row.met} for row in rows]


def from_json(rows: Sequence[dict[str, Any]]) -> list[Row]:
    """Return the rows that `as_json` was given."""

    def stats(made: dict[str, Any] | None) -> Stats | None:
        return Stats(**made) if made else None

    read = []
    for row in rows:
        known = {name: value for name, value in row.items() if name not in ("ratio", "met")}
        target = Target(**row["target"]) if row["target"] else None
        read.append(Row(**known | {"ours": stats(row["ours"]), "theirs": stats(row["theirs"]), "target": target}))
    return read


def write(path: Path, text: str) -> None:
    """Write a file at once: a process that ends meanwhile leaves what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f"{path.name}.part")
    made.write_text(text, encoding="utf-8")
    made.replace(path)


def _machine(machine: dict[str, Any]) -> list[tuple[str, str]]:
    versions = {"python": machine["python"]} | machine["versions"]
    return [
        ("date", machine["date"]),
        *([("GPU", machine["gpu"])] if "gpu" in machine else []),
        ("CPU", f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads used"),
        ("memory", f"{machine['memory_gib']} GiB"),
        ("OS", machine["os"]),
        ("load before", f"{machine['load_before']}"),
        ("versions", ", ".join(f"{name} {version or _DASH}" for name, version in versions.items())),
    ]


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.benchmark,
        row.work,
        *_measured(row.ours, row.unit),
        row.peer,
        *(_measured(row.theirs, row.unit) if row.theirs else (_DASH if row.peer else "", "", "")),
        _ratio(row.ratio) if row.ratio else _DASH if row.peer else "",
        _target(row.target, row.unit),
        {True: "yes", False: "no", None: ""}[row.met],
        row.agrees,
    )


def _measured(stats: Stats, unit: str) -> tuple[str, str, str]:
    """Write the median, the best and the spread; a single measurement is its own best."""
    if stats.count == 1:
        return _amount(stats.median, unit), "", ""
    best = stats.most if unit in ("1/s", "B/s") else stats.least
    return _amount(stats.median, unit), _amount(best, unit), f"{50 * (stats.spread or 0):.0f} %"


def _amount(value: float, unit: str) -> str:
    return _FORMATS[unit](value)


def _seconds(value: float) -> str:
    scale, unit = next((s, u) for s, u in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")) if value >= s or u == "µs")
    return f"{short(value / scale)} {unit}"


def _ratio(value: float) -> str:
    return f"{short(value)}×"


def short(value: float) -> str:
    """Write a number with three digits, or all of those before the point."""
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


_FORMATS: dict[str, Callable[[float], str]] = {
    "s": _seconds,
    "1/s": lambda value: f"{short(value / 1e6)} M/s" if value >= 1e5 else f"{short(value / 1e3)} k/s",
    "B/s": lambda value: f"{short(value / 1e9)} GB/s",
    "× outputs": lambda value: f"{value:.3f}× outputs",
    "B/pixel": lambda value: f"{value:.2f} B/pixel",
}


def _target(target: Target | None, unit: str) -> str:
    if target is None:
        return ""
    limit = _ratio(target.limit) if target.of_ratio else _amount(target.limit, unit)
    return f"{'≥' if target.at_least else '≤'} {limit}"
