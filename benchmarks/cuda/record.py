"""What a run has measured so far, written after every step: a run that is ended early keeps it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks import report
from benchmarks.cuda import check
from benchmarks.registry import Row

__all__ = ["Record"]

_NOTES = """\
Medians of calls in one process, timed by GPU events, with ours and the peers' in turn; ± is half the interquartile
range. Several copies of the input are used in turn, so that none is in the cache. Results are float32. A ratio above 1
means that ours is better by that factor.

GB/s are the bytes of every input and every result over the time; a device copy reads and writes as many, so that the
ratio is the share of its rate. Host times are those until a call on a small image returns, over the number of kernels
that it launches.
""".splitlines()


class Record:
    """Rows, comparisons with the CPU, and the names of what was begun, failed and is left."""

    def __init__(self, options: argparse.Namespace, command: str, machine: dict[str, Any], seed: int) -> None:
        self.options, self.command, self.machine, self.seed = options, command, machine, seed
        self.rows: list[Row] = []
        self.compared: list[check.Verdict] = []
        self.begun: list[str] = []
        self.failed: dict[str, str] = {}
        self.left: list[str] = []
        if options.resume and options.output.exists():
            self._read(json.loads(options.output.read_text(encoding="utf-8")))

    def _read(self, document: dict[str, Any]) -> None:
        """Take over an earlier run: its last step, if it was not ended, ended that run."""
        self.seed, self.begun, self.failed = document["seed"], document["begun"], document["failed"]
        self.rows = report.from_json(document["rows"])
        self.compared = [check.Verdict(**v) for v in document["compared"]]
        if document["running"]:
            self.failed[document["running"]] = "the process ended"

    def begin(self, name: str, left: Sequence[str]) -> None:
        """Note a step before it runs, and those after it."""
        self.begun.append(name)
        self.left = list(left)
        self.write(running=name)

    @property
    def wrong(self) -> bool:
        """Whether a result differs from that of the CPU or of a peer, or a step failed."""
        return bool(self.failed) or any(v.difference for v in self.compared) or any(row.differs for row in self.rows)

    def notes(self) -> list[str]:
        """Return what stands below the table."""
        return [
            *check.as_markdown(self.compared, self.seed), "",
            *_names("Failed", (f"{name}: {why}" for name, why in self.failed.items())),
            *_names("No time for", self.left), *_NOTES,
        ]  # fmt: skip

    def write(self, running: str = "") -> None:
        document = {
            "command": self.command, "quick": self.options.quick, "machine": self.machine, "seed": self.seed,
            "begun": self.begun, "running": running, "failed": self.failed, "left": self.left,
            "compared": [dataclasses.asdict(v) for v in self.compared], "rows": report.as_json(self.rows),
        }  # fmt: skip
        report.write(self.options.output, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        if self.options.markdown:
            page = report.as_markdown(
                self.rows, self.machine, self.command, title="Benchmarks on a GPU", notes=self.notes()
            )
            report.write(self.options.markdown, page)


def _names(head: str, names: Iterable[str]) -> list[str]:
    lines = [f"- {name}" for name in names]
    return [f"{head}:", "", *lines, ""] if lines else []
