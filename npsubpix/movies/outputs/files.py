"""Single files: rows are safe in a folder beside the first of them, from which all are written at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from npsubpix._tables import OutputError, Pieces, check_table_path, write_pieces
from npsubpix.movies.outputs.base import JournalOutput
from npsubpix.movies.outputs.journal import Journal
from npsubpix.movies.outputs.parts import ARRAYS

__all__ = ["TableFiles"]


class TableFiles(JournalOutput):
    """Files that are written whole, each in one step, once all rows are there.

    Until then the rows are in the folder ``NAME.parts`` beside the first file.

    Parameters
    ----------
    paths : sequence of Path
        Files that are to hold the same rows.
    resume : bool
        Go on from the rows in the folder.
    state : mapping
        All that decides rows.
    check : callable
        Raises `OutputError` for a path that cannot be written.
    write : callable
        Writes a file: takes its path, the rows, and the metadata.
    beside : callable
        Returns the files that are written beside a path, which no other run may write either.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        resume: bool,
        state: Mapping[str, Any],
        check: Callable[[Path], None] = check_table_path,
        write: Callable[[Path, Pieces, Mapping[str, Any]], None] = write_pieces,
        beside: Callable[[Path], Sequence[Path]] = lambda _: (),
    ) -> None:
        for path in paths:
            check(path)
        self.paths, self._write = list(paths), write
        folder = _folder(paths[0])
        safe = f" in {folder}, and a resume goes on from them"
        super().__init__(
            _all_files(paths, beside), lambda: Journal(folder, paths[0], ARRAYS, resume=resume, state=state, safe=safe)
        )

    def finish(self, metadata: Mapping[str, Any] | None = None, *, complete: bool = True) -> None:
        """Write all files; if one cannot be written, the others are, and the rows stay where they are safe."""
        pieces = self._journal.pieces()
        errors = [] if pieces is None else [e for path in self.paths if (e := self._failure(path, pieces, metadata))]
        self._close(keep=self.done > 0 and (bool(errors) or not complete))
        if errors:
            raise OutputError(f"{errors[0]}{self._journal.kept()}") from errors[0]

    def _failure(self, path: Path, pieces: Pieces, metadata: Mapping[str, Any] | None) -> OutputError | None:
        """Write a file, and return the error if there is one."""
        try:
            self._write(path, pieces, metadata or {})
        except OutputError as error:
            return error
        return None


def _all_files(paths: Sequence[Path], beside: Callable[[Path], Sequence[Path]]) -> list[Path]:
    """Return the paths and the files beside them; refuse two paths that would be one file, or share one."""
    written: dict[str, Path] = {}
    files = []
    for path in paths:
        for file in (path, *beside(path)):
            other = written.setdefault(os.path.realpath(file), path)
            if other is not path or file in files:
                what = "is given twice" if other == path else f"writes {file}, as {other} does"
                raise OutputError(f"{path}: {what}; needed is another name")
            files.append(file)
    return files


def _folder(path: Path) -> Path:
    """Return the folder in which the rows of a file are until it is written."""
    final = Path(os.path.realpath(path))
    return final.with_name(f"{final.name}.parts")
