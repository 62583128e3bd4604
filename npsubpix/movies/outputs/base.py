"""What all outputs share: parts in a folder, and the end of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from npsubpix._tables import Columns
from npsubpix.movies.outputs.journal import Journal
from npsubpix.movies.outputs.locks import Lock

__all__ = ["JournalOutput"]

T = TypeVar("T", bound="JournalOutput")


class JournalOutput:
    """Rows in the parts of a journal, until `finish` or `abort`; no other run may write the files in the meantime."""

    def __init__(self, paths: Sequence[Path], journal: Callable[[], Journal]) -> None:
        self._locks: list[Lock] = []
        self._open = True
        try:
            for path in paths:
                self._locks.append(Lock(path))
            self._journal = journal()
        except BaseException:
            self._release()
            raise

    @property
    def done(self) -> int:
        """Leading frames whose rows are safe."""
        return self._journal.done

    @property
    def counts(self) -> dict[str, int]:
        """Sums over all blocks."""
        return self._journal.counts

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines about rows that a stopped run left."""
        return self._journal.notes

    def write(self, first: int, last: int, columns: Columns, counts: Mapping[str, int] | None = None) -> None:
        """Make the rows of frames first <= n < last safe."""
        self._journal.write(first, last, columns, counts)

    def head(self, rows: int) -> Columns | None:
        """Return the first rows; None if there is no part."""
        return self._journal.head(rows)

    def blocks(self) -> Iterator[tuple[int, int, Columns]]:
        """Read all blocks, each with its first frame and that after its last."""
        return self._journal.blocks()

    def finish(self, metadata: Mapping[str, Any] | None = None, *, complete: bool = True) -> None:
        """Write the files, and remove what only a resume needs if the rows are complete."""
        raise NotImplementedError

    def abort(self) -> None:
        """Stop, and keep what is safe; what holds no rows is removed."""
        self._close(keep=self._journal.done > 0)

    def _close(self, keep: bool) -> None:
        if self._open:
            self._open = False
            if not keep:
                self._journal.remove()
            self._release()

    def _release(self) -> None:
        for lock in self._locks:
            lock.release()
        self._locks = []

    def __enter__(self: T) -> T:
        """Return the output."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what is safe, unless the output is finished."""
        self.abort()
