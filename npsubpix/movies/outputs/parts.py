"""Parts of a table: one file per block, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npsubpix._tables import Columns
from npsubpix._tables.pieces import is_text
from npsubpix._tables.writers import arrow_table

__all__ = ["ARRAYS", "PARQUET", "Format", "write_part"]

_COLUMN, _CODES, _TEXTS, _COUNTS = "column ", "codes of ", "texts of ", "counts"


class Format(NamedTuple):
    """How parts are written and read, and what is known of one without reading its rows."""

    suffix: str
    write: Callable[[Path, Columns, Mapping[str, int]], None]
    read: Callable[[Path], Columns]
    counts: Callable[[Path], dict[str, int]]  # raises if the part is damaged
    texts: Callable[[Path], dict[str, set[str]]]


def write_part(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file under a temporary name, and move it into place.

    Nothing waits for the disk: a part that a power cut leaves damaged is found by the resume.
    """
    temporary = path.with_name(f"_{path.name}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _write_arrays(path: Path, columns: Columns, counts: Mapping[str, int]) -> None:
    """Write arrays of NumPy, each text once and its number in each row."""
    arrays: dict[str, Any] = {}
    for name, column in columns.items():
        if not is_text(column.dtype):
            arrays[_COLUMN + name] = column
            continue
        cells = column.tolist()
        numbers = {text: number for number, text in enumerate(dict.fromkeys(cells))}
        arrays[_CODES + name] = np.array([numbers[cell] for cell in cells], np.int32)
        arrays[_TEXTS + name] = np.array([text.encode() for text in numbers], "S")
    arrays[_COUNTS] = np.array(json.dumps(dict(counts)).encode())
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _read_arrays(path: Path) -> Columns:
    with np.load(path, allow_pickle=False) as arrays:
        columns: dict[str, Any] = {}
        for name in arrays.files:
            if name.startswith(_CODES):
                column = name.removeprefix(_CODES)
                texts = np.array([text.decode() for text in arrays[_TEXTS + column].tolist()], object)
                columns[column] = texts[arrays[name]]
            elif name.startswith(_COLUMN):
                columns[name.removeprefix(_COLUMN)] = arrays[name]
    return columns


def _counts_of_arrays(path: Path) -> dict[str, int]:
    with zipfile.ZipFile(path) as file:
        if (damaged := file.testzip()) is not None:
            raise ValueError(f"{path}: {damaged} is damaged")
    with np.load(path, allow_pickle=False) as arrays:
        counts: dict[str, int] = json.loads(arrays[_COUNTS].item())
    return counts


def _texts_of_arrays(path: Path) -> dict[str, set[str]]:
    with np.load(path, allow_pickle=False) as arrays:
        return {
            name.removeprefix(_TEXTS): {text.decode() for text in arrays[name].tolist()}
            for name in arrays.files
            if name.startswith(_TEXTS)
        }


def _write_parquet(path: Path, columns: Columns, counts: Mapping[str, int]) -> None:
    import pyarrow.parquet

    table = arrow_table(columns, {"npsubpix_counts": dict(counts)})
    pyarrow.parquet.write_table(table, path, write_page_checksum=True)


def _read_parquet(path: Path) -> Columns:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def _counts_of_parquet(path: Path) -> dict[str, int]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path, page_checksum_verification=True)  # all of it: any page may be damaged
    counts: dict[str, int] = json.loads(table.schema.metadata[b"npsubpix_counts"])
    return counts


def _texts_of_parquet(path: Path) -> dict[str, set[str]]:
    return {name: set(column.tolist()) for name, column in _read_parquet(path).items() if is_text(column.dtype)}


#: Parts of files that are written at the end, which need no package beside NumPy.
ARRAYS = Format(".npz", _write_arrays, _read_arrays, _counts_of_arrays, _texts_of_arrays)

#: Parts of a dataset.
PARQUET = Format(".parquet", _write_parquet, _read_parquet, _counts_of_parquet, _texts_of_parquet)
