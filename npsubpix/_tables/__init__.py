"""Write tables of named columns to files: CSV, Parquet, HDF5, ECSV and FITS, each with units and metadata.

A file appears whole or not at all: it is written under a temporary name and then renamed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from npsubpix._tables.columns import ORIGINS, Columns, arrange, describe, unit_of
from npsubpix._tables.files import OutputError, check_place, replacing, sidecar
from npsubpix._tables.pieces import Pieces
from npsubpix._tables.text import aligned, table_text
from npsubpix._tables.writers import PACKAGES, WRITERS, plain

__all__ = [
    "ORIGINS",
    "Columns",
    "OutputError",
    "Pieces",
    "aligned",
    "arrange",
    "check_place",
    "check_table_path",
    "describe",
    "plain",
    "replacing",
    "sidecar",
    "table_text",
    "unit_of",
    "write_pieces",
    "write_table",
]


def write_table(
    path: str | Path, columns: Columns, metadata: Mapping[str, Any] | None = None, *, comments: bool = False
) -> None:
    """Write columns to a file, in the format of its extension.

    Parameters
    ----------
    path : str or Path
        A ``.csv``, ``.parquet``, ``.h5``, ``.ecsv`` or ``.fits`` file. One that exists is replaced, in one step.
    columns : mapping of str to array
        The columns, as `peak_columns` returns them.
    metadata : mapping of str to str, number, list or dict, optional
        Further information. Lists and dicts are written as JSON, except in ECSV, which is YAML.
    comments : bool, default False
        Write the metadata of a CSV file at its head, in lines that begin with ``#``, and not beside it.

    Raises
    ------
    OutputError
        If the name, the folder or the disk does not allow it.

    See Also
    --------
    peak_columns : Peaks as columns.
    npsubpix.Peaks.save : Write a table of peaks.

    Notes
    -----
    A CSV file holds the names of the columns and the rows, and nothing else. Its metadata are written beside it, to
    a file of the same name with ``.json`` after it. That file never describes another table: the old one is
    removed before the table is replaced, and the new one appears after it.

    Parquet files have the metadata in the schema, HDF5 files as attributes of the dataset ``peaks``, ECSV files in
    their header, and FITS files as JSON in the keyword ``NPSUBPIX`` of the table, the extension ``PEAKS``. All of
    them also have the unit of each position.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from npsubpix.io import write_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "peaks.csv"
    ...     write_table(path, {"y": np.array([1.5]), "x": np.array([2.25])}, {"units": "pixel"})
    ...     print(path.read_text())
    ...     print((Path(folder) / "peaks.csv.json").read_text())
    y,x
    1.5,2.25
    <BLANKLINE>
    {
      "units": "pixel"
    }
    <BLANKLINE>
    """
    write_pieces(Path(path), Pieces.of(columns), metadata, comments=comments)


def write_pieces(
    path: Path, pieces: Pieces, metadata: Mapping[str, Any] | None = None, *, comments: bool = False
) -> None:
    """Write a table of any length to a file, as `write_table` does."""
    check_table_path(path)
    metadata = dict(metadata or {})
    write = WRITERS[path.suffix.lower()]
    if path.suffix.lower() == ".ecsv":
        _check_lines(path, pieces)
    if path.suffix.lower() != ".csv":
        with replacing(path) as temporary:
            write(temporary, pieces, metadata)
        return
    # The metadata are in place after the table; those of the table before it are gone by then
    beside = sidecar(path)
    with contextlib.ExitStack() as opened:
        if metadata and not comments:
            text = json.dumps(metadata, indent=2, ensure_ascii=False, default=plain)
            opened.enter_context(replacing(beside)).write_text(text + "\n", encoding="utf-8")
        with replacing(path, before=lambda: beside.unlink(missing_ok=True)) as temporary:
            write(temporary, pieces, metadata if comments else {})


def _check_lines(path: Path, pieces: Pieces) -> None:
    """Refuse texts of several lines, which a file with a line per row does not hold."""
    for name, texts in pieces.texts.items():
        if any(len(f"{text}.".splitlines()) > 1 for text in texts):
            raise OutputError(f"{path}: a text in the column {name!r} has several lines, which ECSV does not hold")


def check_table_path(path: Path) -> None:
    """Refuse a path that `write_table` could not write to, before any work is done."""
    suffix = path.suffix.lower()
    if suffix not in WRITERS:
        raise OutputError(f"{path}: unknown format {suffix!r}; the name must end with {', '.join(WRITERS)}")
    package = PACKAGES.get(suffix)
    if package is not None and importlib.util.find_spec(package) is None:
        raise OutputError(f"{path}: {suffix} files need {package}: pip install 'npsubpix[app]'")
    check_place(path)
    if suffix == ".csv":
        check_place(sidecar(path))
