"""What a session on a GPU has found: tests, targets, and what there was no time for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["summary_of"]

_MOST = 30  # lines of a list


def summary_of(output: Path, left: Sequence[str], failed: Sequence[str]) -> str:
    """Summarise the files of a folder; `left` and `failed` name parts."""
    tests, measured = _tests(output / "tests.jsonl"), _measured(output / "benchmarks.json")
    rows = [row for row in measured["rows"] if row["target"]]
    wrong = [v for v in measured["compared"] if v["difference"]]
    wrong += [{"case": r["benchmark"], "difference": f"{r['peer']}: {r['agrees']}"} for r in measured["rows"]
              if r["agrees"].startswith("no")]  # fmt: skip
    unread = Counter(t["test"].partition("::")[0] for t in tests if t["outcome"] == "no time")
    late = [
        *left,
        *(f"{count} tests of {file}" for file, count in unread.items()),
        *([f"{measured['running']}, which was begun"] if measured["running"] else []),
        *measured["left"],
    ]
    return "\n".join(
        [
            "tests: "
            + (", ".join(f"{n} {what}" for what, n in Counter(t["outcome"] for t in tests).items()) or "none"),
            *_list("failed tests", [f"{t['test']}: {t['why']}" for t in tests if t["outcome"] == "failed"]),
            f"compared with the CPU: {len(measured['compared'])} calls",
            *_list("results that differ", [f"{v['case']}: {v['difference']}" for v in wrong]),
            *_list("benchmarks that failed", [f"{name}: {why}" for name, why in measured["failed"].items()]),
            *_list("parts that failed", failed),
            *_list("targets", [_target(row) for row in rows]),
            *_list("no time for", late),
        ]
    )


def _tests(path: Path) -> list[dict[str, Any]]:
    """Read whole lines: a process that was ended may have left part of one."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def _measured(path: Path) -> dict[str, Any]:
    empty: dict[str, Any] = {"rows": [], "compared": [], "failed": {}, "left": [], "running": ""}
    return empty | (json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})


def _list(head: str, lines: Sequence[str]) -> list[str]:
    shown = [f"  {line}" for line in lines[:_MOST]]
    more = [f"  and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return [f"{head}: {len(lines)}", *shown, *more] if lines else []


def _target(row: dict[str, Any]) -> str:
    """Say what was measured, what is wanted, and whether that is met."""
    target, met = row["target"], {True: "met", False: "missed", None: "not measured"}[row["met"]]
    if target["of_ratio"]:
        got, limit = (f"{v:.3g}× {row['peer']}" if v else "nothing" for v in (row["ratio"], target["limit"]))
    else:
        got, limit = (f"{v * 1e6:.3g} µs" for v in (row["ours"]["median"], target["limit"]))
    return f"{met}: {row['benchmark']}: {got}, wanted {'≥' if target['at_least'] else '≤'} {limit}"
