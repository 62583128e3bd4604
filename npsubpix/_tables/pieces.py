"""Tables in pieces: a writer holds a few thousand rows at once, however long the table is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from npsubpix._tables.columns import Columns

__all__ = ["ROWS", "Pieces", "is_text"]

#: Rows that a writer takes at once. They decide where row groups of Parquet end, so that files do not tell from what
#: blocks they were written.
ROWS = 2**16


@dataclass(frozen=True)
class Pieces:
    """Columns of `length` rows: their dtypes (object for text), all texts in them, and their pieces, in order."""

    dtypes: dict[str, np.dtype[Any]]
    length: int
    texts: dict[str, set[str]]
    read: Callable[[], Iterable[Columns]]

    @classmethod
    def of(cls, columns: Columns) -> Pieces:
        """Return a table in memory as one piece."""
        texts = {name: set(column.tolist()) for name, column in columns.items() if is_text(column.dtype)}
        dtypes = {name: np.dtype(object) if name in texts else column.dtype for name, column in columns.items()}
        return cls(dtypes, len(next(iter(columns.values()))), texts, lambda: [columns])

    def __iter__(self) -> Iterator[Columns]:
        """Iterate over pieces of `ROWS` rows, the last shorter; at least one, which may be empty."""
        waiting: list[Columns] = []
        count = 0
        for piece in self.read():
            waiting.append(piece)
            count += len(next(iter(piece.values())))
            if count < ROWS:
                continue
            joined = _joined(waiting)
            whole = count - count % ROWS
            for first in range(0, whole, ROWS):
                yield {name: column[first : first + ROWS] for name, column in joined.items()}
            waiting, count = [{name: column[whole:] for name, column in joined.items()}], count - whole
        if count or not self.length:
            yield _joined(waiting)


def _joined(pieces: list[Columns]) -> Columns:
    return pieces[0] if len(pieces) == 1 else {n: np.concatenate([piece[n] for piece in pieces]) for n in pieces[0]}


def is_text(dtype: np.dtype[Any]) -> bool:
    """Say whether a column holds text."""
    return dtype.kind in "OU"
