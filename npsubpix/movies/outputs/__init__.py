"""Files in which the rows of a long run are safe block by block, and from which it goes on after it was stopped.

`locate` takes a path and opens it, or any object with the attributes of `Output`, such as that of the command line,
which adds columns. The engine touches nothing else of it:

    with open_output(path, resume=resume, state=state) as output:
        for first, last, columns in blocks_from(output.done):  # in order, without gaps
            output.write(first, last, columns, counts={"guessed": 1})
        output.finish({"options": ...})  # without it, leaving the block calls abort()
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from npsubpix._tables import Columns
from npsubpix.movies.outputs.dataset import Dataset, check_dataset, is_dataset
from npsubpix.movies.outputs.files import TableFiles

__all__ = ["Dataset", "Output", "TableFiles", "check_dataset", "is_dataset", "open_output"]


class Output(Protocol):
    """Rows on their way to files: safe as soon as `write` returns."""

    @property
    def done(self) -> int:
        """Leading frames whose rows are safe already: 0 without resume. Go on with frame number `done`."""

    @property
    def counts(self) -> dict[str, int]:
        """Sums over all blocks, those before a resume included.

        They are ``rows``, ``ok`` (if there is a column ``ok``), and what `write` was told to count.
        """

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the user about rows that a stopped run left."""

    def write(self, first: int, last: int, columns: Columns, counts: Mapping[str, int] | None = None) -> None:
        """Make the rows of frames first <= n < last safe: columns as `to_dict` returns them, with a column frame.

        A block without rows is written too, with empty columns.
        """

    def finish(self, metadata: Mapping[str, Any] | None = None, *, complete: bool = True) -> None:
        """Write the files, and remove what only a resume needs if the rows are complete."""

    def abort(self) -> None:
        """Stop, and keep what is safe for a resume. Does nothing after `finish`."""

    def __enter__(self) -> Any: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_output(path: str | Path, *, resume: bool = False, state: Mapping[str, Any]) -> Output:
    """Open a table to write block by block, in the format of its ending; without an ending, a Parquet dataset.

    `state` is a JSON-able dict of all that decides rows: the source's fingerprint, task, options and version. A resume
    with another state raises `OutputError`, which names the first difference. Without resume, an earlier table is
    replaced: a file in one step, once the new one is whole.
    """
    return (
        Dataset(Path(path), resume=resume, state=state)
        if is_dataset(path)
        else TableFiles([Path(path)], resume=resume, state=state)
    )
