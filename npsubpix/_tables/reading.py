"""Read tables of named columns from the files that `write_table` writes, and from others like them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._tables import sidecar
from npsubpix._tables.localizations import package

__all__ = ["read_columns"]

_Read = tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]


def read_columns(path: Path) -> _Read:
    """Return columns and metadata; those of a CSV file are text, as they stand in it."""
    if path.is_dir():
        return _read_dataset(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None and not path.suffix:
        raise ValueError(f"{path}: there is no such file or folder")
    if reader is None:
        raise ValueError(f"{path}: unknown format {path.suffix!r}; the name must end with {', '.join(_READERS)}")
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    return reader(path)


def _read_csv(path: Path) -> _Read:
    metadata: dict[str, Any] = {}
    if sidecar(path).is_file():
        metadata = json.loads(sidecar(path).read_text(encoding="utf-8"))
    lines = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        for line in file:
            if line.startswith("#"):
                key, _, value = line[1:].partition(":")
                metadata[key.strip()] = value.strip()
            else:
                lines.append(line)
    rows = list(csv.reader(lines))
    if not rows:
        return {}, metadata
    names, width = rows[0], len(rows[0])
    if any(len(row) != width for row in rows[1:]):
        raise ValueError(f"{path}: rows differ in their number of columns")
    cells = np.array(rows[1:], dtype=str).reshape(-1, width)
    return {name: cells[:, k] for k, name in enumerate(names)}, metadata


def _read_parquet(path: Path) -> _Read:
    table = package("pyarrow.parquet", "reading .parquet files", "table").read_table(path)
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    return {name: table[name].to_numpy() for name in table.column_names}, metadata


def _read_dataset(path: Path) -> _Read:
    """Read a folder of Parquet files; those whose names begin with _ hold the metadata and the state of the run."""
    parquet = package("pyarrow.parquet", "reading .parquet files", "table")
    if not any(path.glob("*.parquet")):
        raise ValueError(f"{path}: is a folder without .parquet files")
    table = parquet.read_table(path)
    common = path / "_common_metadata"
    metadata = (parquet.read_schema(common).metadata if common.is_file() else None) or {}
    described = {key.decode(): value.decode() for key, value in metadata.items()}
    return {name: table[name].to_numpy() for name in table.column_names}, described


def _read_fits(path: Path) -> _Read:
    fits = package("astropy.io.fits", "reading .fits tables", "astro")
    with fits.open(path, memmap=False) as hdus:
        hdu = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)), None)
        if hdu is None:
            raise ValueError(f"{path}: has no table, but {', '.join(type(hdu).__name__ for hdu in hdus)}")
        columns = {name: np.array(hdu.data[name]) for name in hdu.columns.names}
        metadata = json.loads(hdu.header.get("NPSUBPIX", "{}"))
    native = {n: c if c.dtype.kind == "U" else c.astype(c.dtype.newbyteorder("=")) for n, c in columns.items()}
    return {n: c.astype(object) if c.dtype.kind == "U" else c for n, c in native.items()}, metadata


def _read_hdf5(path: Path) -> _Read:
    with package("h5py", "reading .h5 files", "app").File(path) as file:
        if "peaks" not in file:
            raise ValueError(f"{path}: has no dataset peaks, but {', '.join(file) or 'none'}")
        rows = file["peaks"][()]
        return {name: rows[name] for name in rows.dtype.names}, dict(file["peaks"].attrs)


def _read_ecsv(path: Path) -> _Read:
    table = package("astropy.table", "reading .ecsv files", "astro").Table.read(path, format="ascii.ecsv")
    return {name: _unmasked(table[name]) for name in table.colnames}, dict(table.meta)


def _unmasked(column: Any) -> npt.NDArray[Any]:
    """Return empty cells, which astropy masks, as empty text or NaN."""
    if not np.any(getattr(column, "mask", False)):
        return np.asarray(column)
    return np.asarray(column.filled("") if column.dtype.kind in "OU" else column.astype(np.float64).filled(np.nan))


_READERS: dict[str, Callable[[Path], _Read]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".ecsv": _read_ecsv,
    ".fits": _read_fits,
}
