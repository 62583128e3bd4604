"""Writers of each format: they take a table piece by piece, and write it under a temporary name."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._tables.columns import Columns, unit_of
from npsubpix._tables.files import new_hdf5
from npsubpix._tables.pieces import Pieces

__all__ = ["PACKAGES", "WRITERS", "arrow_table", "as_text", "plain"]

Metadata = Mapping[str, Any]


def plain(value: Any) -> Any:
    """Return a value as one that JSON has: numbers and arrays of NumPy as numbers and lists, anything else as text."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)


def as_text(value: Any) -> str:
    """Write a piece of metadata on one line."""
    if isinstance(value, str) and value.isprintable():
        return value
    return json.dumps(value, ensure_ascii=False, default=plain)


def _write_csv(path: Path, pieces: Pieces, metadata: Metadata) -> None:
    # Quotes keep a file name with the sign of comments from ending its line
    marked = bool(metadata) and any("#" in name for name in pieces.texts.get("file", ()))
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {key}: {as_text(value)}\n" for key, value in metadata.items())
        csv.writer(file, lineterminator="\n").writerow(pieces.dtypes)
        for piece in pieces:
            rows = zip(*[_cells(column, marked, len(piece) == 1) for column in piece.values()], strict=True)
            file.write("".join([f"{','.join(row)}\n" for row in rows]))


def _cells(column: npt.NDArray[Any], marked: bool, alone: bool) -> list[str]:
    """Return the cells of a column as text: the module csv, which takes row by row, needs twice the time."""
    values = column.tolist()
    if column.dtype.kind == "f":
        return list(map(str, values))
    distinct = set(values)
    if column.dtype.kind in "iub":
        texts = {value: str(value) for value in distinct}
    elif all(type(value) is str for value in distinct):
        texts = {value: _quoted(value, marked, alone) for value in distinct}
    else:
        return [_quoted(value, marked, alone) for value in values]
    return [texts[value] for value in values]


def _quoted(value: Any, marked: bool, alone: bool) -> str:
    """Return a cell in quotes if it needs them; an empty one does if it is alone in its row."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if marked else csv.QUOTE_MINIMAL)
    rows.writerow([value] if alone else [value, 0])
    return text.getvalue().removesuffix("\n" if alone else ",0\n")


def arrow_table(columns: Columns, metadata: Metadata) -> Any:
    """Return columns as a table of Arrow, with units of columns and metadata in its schema."""
    import pyarrow as pa

    # FITS files hold big-endian numbers, which Arrow does not take
    arrays = [
        pa.array(c.tolist(), pa.string()) if c.dtype.kind in "OU" else pa.array(c.astype(c.dtype.newbyteorder("=")))
        for c in columns.values()
    ]
    fields = [
        pa.field(name, array.type, metadata={"unit": unit} if (unit := unit_of(name, columns)) else None)
        for name, array in zip(columns, arrays, strict=True)
    ]
    schema = pa.schema(fields, metadata={key: as_text(value) for key, value in metadata.items()})
    return pa.Table.from_arrays(arrays, schema=schema)


def _write_parquet(path: Path, pieces: Pieces, metadata: Metadata) -> None:
    import pyarrow.parquet

    tables = (arrow_table(piece, metadata) for piece in pieces)
    first = next(tables)
    with pyarrow.parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _write_hdf5(path: Path, pieces: Pieces, metadata: Metadata) -> None:
    import h5py

    # Names of flags have a length, which every reader of HDF5 knows; those of files may be long, and not of ASCII
    flags = max([1, *map(len, pieces.texts.get("flag_names", ()))])
    types = {
        name: h5py.string_dtype("ascii", flags)
        if name == "flag_names"
        else h5py.string_dtype()
        if name in pieces.texts
        else dtype
        for name, dtype in pieces.dtypes.items()
    }
    record = np.dtype(list(types.items()))
    with new_hdf5(path) as file:
        dataset = file.create_dataset("peaks", (pieces.length,), record)
        first = 0
        for piece in pieces:
            rows = np.empty(len(next(iter(piece.values()))), record)
            for name, column in piece.items():
                rows[name] = column.astype(object) if column.dtype.kind == "U" else column
            dataset[first : first + len(rows)] = rows
            first += len(rows)
        for key, value in metadata.items():
            dataset.attrs[key] = value if isinstance(value, (int, float)) else as_text(value)
        units = {name: unit for name in types if (unit := unit_of(name, types))}
        dataset.attrs["column_units"] = json.dumps(units)


def _write_ecsv(path: Path, pieces: Pieces, metadata: Metadata) -> None:
    import astropy.table

    with path.open("w", encoding="utf-8", newline="") as file:
        for number, piece in enumerate(pieces):
            table = astropy.table.Table(
                {name: column.astype(str) if name in pieces.texts else column for name, column in piece.items()}
            )
            for name in piece:
                table[name].unit = unit_of(name, piece)
            if number == 0:
                table.meta.update(json.loads(json.dumps(metadata, default=plain)))
            text = io.StringIO()
            table.write(text, format="ascii.ecsv")
            text.seek(0)
            if number:  # the rows alone: neither lines of the header, nor that of names
                while text.readline().startswith("#"):
                    pass
            while part := text.read(2**20):
                file.write(part)


def _write_fits(path: Path, pieces: Pieces, metadata: Metadata) -> None:
    from astropy.io import fits

    widths = {
        name: max([1, *(len(_ascii(text)) for text in texts)]) if texts else 1 for name, texts in pieces.texts.items()
    }
    types = {name: f"S{widths[name]}" if name in widths else dtype for name, dtype in pieces.dtypes.items()}
    hdu = fits.BinTableHDU(np.empty(0, list(types.items())), name="PEAKS")
    hdu.header["NAXIS2"] = pieces.length
    for number, name in enumerate(types, start=1):
        if unit := unit_of(name, types):
            hdu.header.set(f"TUNIT{number}", unit, after=f"TFORM{number}")
    hdu.header["NPSUBPIX"] = json.dumps(metadata, default=plain)
    record = np.dtype([(name, _fits_type(np.dtype(dtype))) for name, dtype in types.items()])
    with path.open("wb") as file:
        for header in (fits.PrimaryHDU().header, hdu.header):
            file.write(header.tostring().encode("ascii"))
        for piece in pieces:
            rows = np.zeros(len(next(iter(piece.values()))), record)
            for name, column in piece.items():
                if name in widths:
                    rows[name] = [_ascii(text) for text in column.tolist()]
                else:
                    rows[name] = np.where(column, b"T", b"F") if column.dtype.kind == "b" else column
            file.write(rows.tobytes())
        file.write(bytes(-pieces.length * record.itemsize % 2880))


def _fits_type(dtype: np.dtype[Any]) -> Any:
    """Return the dtype of a column in the file, which is big-endian; T and F are true and false."""
    return "S1" if dtype.kind == "b" else dtype.newbyteorder(">")


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace")


WRITERS: dict[str, Callable[[Path, Pieces, Metadata], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".h5": _write_hdf5,
    ".ecsv": _write_ecsv,
    ".fits": _write_fits,
}

PACKAGES = {".parquet": "pyarrow", ".h5": "h5py", ".ecsv": "astropy", ".fits": "astropy"}
