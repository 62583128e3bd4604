"""A Parquet dataset: a folder of parts, one per block, which readers of Parquet take for one table."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from npsubpix._tables import OutputError, replacing
from npsubpix._tables.writers import arrow_table
from npsubpix.movies.outputs.base import JournalOutput
from npsubpix.movies.outputs.journal import COMMON, Journal
from npsubpix.movies.outputs.parts import PARQUET

__all__ = ["Dataset", "check_dataset", "is_dataset"]


def is_dataset(path: str | Path) -> bool:
    """Say whether a path names a folder: it has no ending, or a folder is there."""
    return not Path(path).suffix or Path(path).is_dir()


def check_dataset(path: Path) -> None:
    """Refuse a path at which no dataset could be written, before any work is done."""
    if importlib.util.find_spec("pyarrow") is None:
        raise OutputError(f"{path}: a dataset needs pyarrow: pip install 'npsubpix[app]'")
    if path.is_file():
        raise OutputError(f"{path}: is a file; needed is a folder, or a name that ends with .csv, .parquet and so on")
    folder = path if path.is_dir() else Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise OutputError(f"{path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: the folder {folder} is not writable")


class Dataset(JournalOutput):
    """Parts of Parquet. Files that begin with _, which readers pass over, hold the state and the metadata."""

    def __init__(self, path: Path, *, resume: bool, state: Mapping[str, Any]) -> None:
        check_dataset(path)
        super().__init__([path], lambda: Journal(path, path, PARQUET, resume=resume, state=state))
        self.path = path

    def finish(self, metadata: Mapping[str, Any] | None = None, *, complete: bool = True) -> None:
        """Write the metadata."""
        import pyarrow.parquet

        pieces = self._journal.pieces()
        if pieces is not None:
            schema = arrow_table(next(iter(pieces.read())), dict(metadata or {})).schema
            with replacing(self.path / COMMON) as temporary:
                pyarrow.parquet.write_metadata(schema, temporary)
            self._journal.save_state(finished=complete)
        self._close(keep=pieces is not None)
