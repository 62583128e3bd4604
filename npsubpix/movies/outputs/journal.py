"""A folder of parts, of which any number of leading frames is safe, and the state of the run that wrote them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._tables import Columns, OutputError, Pieces, plain
from npsubpix._tables.pieces import is_text
from npsubpix.movies.outputs.parts import Format, write_part

__all__ = ["COMMON", "Journal"]

_STATE = "_state.json"
COMMON = "_common_metadata"  # of a dataset


class Journal:
    """Parts of one output in a folder.

    `done` is the number of leading frames whose rows are safe, `counts` are sums over them, and `notes` says what was
    left of an earlier run. Parts that are not kept are removed when the first new one is written: a run that fails
    before it has found anything takes nothing away.
    """

    def __init__(
        self, folder: Path, output: Path, parts: Format, *, resume: bool, state: Mapping[str, Any], safe: str = ""
    ) -> None:
        self.folder, self.output, self.parts = folder, output, parts
        self.notes: tuple[str, ...] = ()
        self.counts: dict[str, int] = {}
        self._safe = safe
        self._left: tuple[Path, ...] = ()  # of an earlier run
        self._is_clear = False
        self._columns: dict[str, np.dtype[Any]] | None = None
        self._state = json.loads(json.dumps(state, default=plain))
        try:
            folder.mkdir(exist_ok=True)
            self._begin(resume)
        except OSError as error:
            raise OutputError(f"{output}: cannot be written: {error.strerror or error}") from error

    def _begin(self, resume: bool) -> None:
        """Read the state of an earlier run, and keep or remove its parts."""
        earlier = self._earlier()
        parts = self._files()
        kept: list[Path] = []
        if earlier is not None and resume and parts:
            if difference := _difference(earlier, self._state):
                raise OutputError(
                    f"{self.output}: cannot be resumed: {difference}; without resume, the run starts anew"
                )
            kept = self._whole(parts)
        left = [path for path in parts if path not in kept]
        if left:
            # Without resume these were asked to be replaced; with it, they follow a gap or are damaged
            last = _frames(left[-1])[1]
            self.notes = (
                (f"blocks up to frame {last} that were damaged, or followed a gap, are measured again",)
                if resume
                else (f"{last} frames of an earlier run are replaced",)
            )
        self._left = tuple(left)
        self.done = _frames(kept[-1])[1] if kept else 0
        if kept:
            self._columns = _dtypes(self.parts.read(kept[0]))
        if not left:
            self._clear()

    def _clear(self) -> None:
        """Remove what is not kept of an earlier run, and write the state of this one."""
        for path in (*self._left, self.folder / COMMON, *self.folder.glob("_part-*.tmp")):
            path.unlink(missing_ok=True)
        self._left = ()
        self.save_state(finished=False)
        self._is_clear = True

    def _earlier(self) -> dict[str, Any] | None:
        """Return the state of the run before this one, or None; refuse a folder of other files."""
        path = self.folder / _STATE
        if not path.is_file():
            others = [p.name for p in self.folder.iterdir() if not p.name.startswith("_")]
            if others:
                raise OutputError(f"{self.output}: is a folder with files of others, such as {min(others)}")
            return None
        with contextlib.suppress(ValueError, KeyError, TypeError):
            state: dict[str, Any] = json.loads(path.read_text("utf-8"))["state"]
            return state
        return {}

    def save_state(self, *, finished: bool) -> None:
        """Write the state of this run."""
        text = json.dumps({"state": self._state, "finished": finished}, indent=1)
        write_part(self.folder / _STATE, lambda temporary: _write_text(temporary, text))

    def _files(self) -> list[Path]:
        found = sorted(path for path in self.folder.glob(f"part-*{self.parts.suffix}") if _NAME.match(path.name))
        return [path for path in found if path not in self._left]

    def _whole(self, paths: list[Path]) -> list[Path]:
        """Return the leading parts that follow one another and can be read, and sum their counts."""
        whole: list[Path] = []
        end = 0
        for path in paths:
            first, last = _frames(path)
            if first != end:
                break
            try:
                counts = self.parts.counts(path)
            except Exception:  # readers raise anything for a damaged file
                break
            self._add(counts)
            whole.append(path)
            end = last
        return whole

    def _add(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def write(self, first: int, last: int, columns: Columns, counts: Mapping[str, int] | None = None) -> None:
        """Write the part of frames first <= n < last."""
        columns = self._checked({name: np.asarray(column) for name, column in columns.items()})
        sums = {"rows": len(next(iter(columns.values())))}
        if "ok" in columns:
            sums["ok"] = int(np.count_nonzero(columns["ok"]))
        sums |= {name: int(count) for name, count in (counts or {}).items()}
        path = self.folder / f"part-{first:010d}-{last:010d}{self.parts.suffix}"
        try:
            if not self._is_clear:
                self._clear()
            self._adapt(columns)
            write_part(path, lambda temporary: self.parts.write(temporary, columns, sums))
        except OSError as error:
            reason = error.strerror or " ".join(str(error).split())
            raise OutputError(f"{self.output}: cannot be written: {reason}{self.kept()}") from error
        self._add(sums)
        if first == self.done:
            self.done = last

    def _checked(self, columns: Columns) -> Columns:
        """Require the columns of the first part with rows; without rows, columns may have any dtype."""
        dtypes, known = _dtypes(columns), self._columns
        for name, column in columns.items():
            if column.ndim != 1:
                raise ValueError(
                    f"{self.output}: columns must have one value per row, got {name} of shape {column.shape}"
                )
        if known is None or dtypes == known or (dtypes.keys() == known.keys() and not self.counts.get("rows", 0)):
            return columns
        if dtypes.keys() == known.keys() and not len(next(iter(columns.values()))):
            return {name: np.empty(0, dtype) for name, dtype in known.items()}
        names = sorted(name for name in {*dtypes, *known} if dtypes.get(name) != known.get(name))
        raise ValueError(
            f"{self.output}: columns of one table must be the same in all frames; {', '.join(names)} differs between "
            "them"
        )

    def _adapt(self, columns: Columns) -> None:
        """Have parts without rows, all that there are so far, have the dtypes of the first that has rows."""
        dtypes = _dtypes(columns)
        if self._columns is not None and self._columns != dtypes:
            empty = {name: np.empty(0, dtype) for name, dtype in dtypes.items()}
            for path in self._files():
                counts = self.parts.counts(path)
                write_part(path, lambda temporary, counts=counts: self.parts.write(temporary, empty, counts))  # type: ignore[misc]
        self._columns = dtypes

    def kept(self) -> str:
        """Say what is safe, as the end of an error."""
        frames = "1 frame" if self.done == 1 else f"{self.done} frames"
        return f"; the rows of {frames} are safe{self._safe}" if self.done else ""

    def blocks(self) -> Iterator[tuple[int, int, Columns]]:
        """Read all parts, each with its first frame and that after its last."""
        return ((*_frames(path), self.parts.read(path)) for path in self._files())

    def head(self, rows: int) -> Columns | None:
        """Return the first rows, or None if there is no part."""
        parts: list[Columns] = []
        count = 0
        for _, _, columns in self.blocks():
            parts.append(columns)
            count += len(next(iter(columns.values())))
            if count >= rows:
                break
        if not parts:
            return None
        return {name: np.concatenate([part[name] for part in parts])[:rows] for name in parts[0]}

    def pieces(self) -> Pieces | None:
        """Return all rows, piece by piece; None if no part was written."""
        paths = self._files()
        if self._columns is None or not paths:
            return None
        names = [name for name, dtype in self._columns.items() if is_text(dtype)]
        texts: dict[str, set[str]] = {name: set() for name in names}
        for path in paths if names else ():
            for name, found in self.parts.texts(path).items():
                texts[name] |= found
        return Pieces(self._columns, self.counts.get("rows", 0), texts, lambda: map(self.parts.read, paths))

    def remove(self) -> None:
        """Remove the parts and the state, and the folder if it holds nothing else; what is of an earlier run stays."""
        is_own = self._is_clear or self.done > 0
        with contextlib.suppress(OSError):
            for path in (*self._files(), *((*self._left, self.folder / _STATE) if is_own else ())):
                path.unlink(missing_ok=True)
            self.folder.rmdir()


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


_NAME = re.compile(r"part-(\d+)-(\d+)\.")


def _frames(path: Path) -> tuple[int, int]:
    """Return the first frame of a part, and the one after its last."""
    match = _NAME.match(path.name)
    assert match is not None
    return int(match[1]), int(match[2])


def _dtypes(columns: Columns) -> dict[str, np.dtype[Any]]:
    """Return the dtypes of columns, object for text, in native order."""
    return {n: np.dtype(object) if is_text(c.dtype) else c.dtype.newbyteorder("=") for n, c in columns.items()}


def _difference(earlier: Any, now: Any, name: str = "") -> str:
    """Name the first difference of two states; empty if there is none."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        for key in [*now, *(key for key in earlier if key not in now)]:
            path = f"{name}.{key}" if name else str(key)
            if key not in earlier:
                return f"{path} is {_shown(now[key])}, and was not there"
            if key not in now:
                return f"{path} was {_shown(earlier[key])}, and is not there"
            if difference := _difference(earlier[key], now[key], path):
                return difference
        return ""
    if isinstance(earlier, list) and isinstance(now, list) and len(earlier) == len(now):
        pairs = enumerate(zip(earlier, now, strict=True))
        return next((text for k, (a, b) in pairs if (text := _difference(a, b, f"{name}[{k}]"))), "")
    return "" if _is_same(earlier, now) else f"{name} is {_shown(now)}, and was {_shown(earlier)}"


def _is_same(earlier: Any, now: Any) -> bool:
    """Return whether two values of JSON mean the same: 30 and 30.0 do, 1 and true do not, NaN and NaN do."""
    if any(isinstance(value, bool) for value in (earlier, now)):
        return earlier is now
    return bool(earlier == now) or json.dumps(earlier) == json.dumps(now)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
