"""Write tables of peaks: CSV, Parquet, HDF5 and ECSV, each with units and metadata.

A file appears whole or not at all: it is written under a temporary name and then renamed.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix.results import Peaks

__all__ = [
    "ORIGINS",
    "OutputError",
    "check_place",
    "check_table_path",
    "peak_columns",
    "replacing",
    "table_text",
    "write_table",
]

Columns = Mapping[str, npt.NDArray[Any]]

#: Names of the origins of coordinates, and the coordinate of the centre of the first pixel in each.
ORIGINS = {"center": 0.0, "corner": 0.5, "fits": 1.0}

_POSITIONS = ("z", "y", "x")


class OutputError(ValueError):
    """A file that cannot be written; the message is one line, and names the file and the reason."""


def peak_columns(
    peaks: Peaks, *, origin: str = "center", files: Sequence[str] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Return peaks as columns, positions in a chosen origin.

    Parameters
    ----------
    peaks : Peaks
        The peaks.
    origin : {"center", "corner", "fits"}, default "center"
        The centre of the first pixel is 0; its outer corner is 0; its centre is 1.
    files : sequence of str, optional
        The file of each peak, for a column ``file``.

    Returns
    -------
    dict of str to array
        The columns of `Peaks.to_structured`, ``file`` before them and ``flag_names`` after them.
        The columns of indices count pixels from 0, whatever the origin.

    See Also
    --------
    write_table : Write columns to a file.

    Examples
    --------
    >>> import npsubpix
    >>> from npsubpix.io import peak_columns
    >>> peaks = npsubpix.refine_peaks([[0, 0, 0], [0, 9, 0], [0, 0, 0]], [[1, 1]])
    >>> peak_columns(peaks, origin="fits")["x"]
    array([2.])
    """
    if origin not in ORIGINS:
        raise ValueError(f"origin must be one of {', '.join(map(repr, ORIGINS))}, got {origin!r}")
    columns = peaks.to_dict()
    for axis in _POSITIONS[-peaks.ndim :]:
        columns[axis] = columns[axis] + ORIGINS[origin]
    # Few combinations of flags occur: name each once
    _, first, which = np.unique(columns["flags"], return_index=True, return_inverse=True)
    columns["flag_names"] = np.array(peaks[first].flag_names(), dtype=object)[which]
    return columns if files is None else {"file": np.array(files, dtype=object), **columns}


def write_table(path: str | Path, columns: Columns, metadata: Mapping[str, Any]) -> None:
    """Write columns to a file, in the format of its extension.

    Parameters
    ----------
    path : str or Path
        A ``.csv``, ``.parquet``, ``.h5`` or ``.ecsv`` file. One that exists is replaced, in one step.
    columns : mapping of str to array
        The columns, as `peak_columns` returns them.
    metadata : mapping of str to str, number, list or dict
        Further information. Lists and dicts are written as JSON, except in ECSV.

    Raises
    ------
    OutputError
        If the name, the folder or the disk does not allow it.

    See Also
    --------
    peak_columns : Peaks as columns.

    Notes
    -----
    CSV files have the metadata in lines that begin with ``#``; ``pandas.read_csv(path, comment="#")`` skips
    them. Parquet files have them in the metadata of the schema, HDF5 files as attributes of the dataset
    ``peaks``. Parquet, HDF5 and ECSV files also have the unit of each position.

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
    # units: pixel
    y,x
    1.5,2.25
    """
    path = Path(path)
    check_table_path(path)
    with replacing(path) as temporary:
        _WRITERS[path.suffix.lower()](temporary, columns, metadata)


def table_text(columns: Columns, rows: int) -> str:
    """Return the first rows as text in aligned columns, without the columns of indices."""
    names = [name for name in columns if not name.endswith("_index") and name != "flags"]
    cells = [
        ["flags" if name == "flag_names" else name, *(_cell(name, value) for value in columns[name][:rows])]
        for name in names
    ]
    widths = [max(map(len, column)) for column in cells]
    texts = {"file", "flag_names"}
    aligned = [
        [cell.ljust(width) if name in texts else cell.rjust(width) for cell in column]
        for name, column, width in zip(names, cells, widths, strict=True)
    ]
    return "\n".join("  ".join(row).rstrip() for row in zip(*aligned, strict=True))


def _cell(name: str, value: Any) -> str:
    return f"{value:.3f}" if name in _POSITIONS else f"{value:.6g}" if name == "value" else str(value)


def check_table_path(path: Path) -> None:
    """Refuse a path that `write_table` could not write to, before any work is done."""
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise OutputError(f"{path}: unknown format {suffix!r}; the name must end with {', '.join(_WRITERS)}")
    package = _PACKAGES.get(suffix)
    if package is not None and importlib.util.find_spec(package) is None:
        raise OutputError(f"{path}: {suffix} files need {package}: pip install 'npsubpix[app]'")
    check_place(path)


def check_place(path: Path) -> None:
    """Refuse a path that `replacing` could not write to."""
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise OutputError(f"{path}: there is no folder {folder}")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; needed is the name of a file")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: the folder {folder} is not writable")


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Replace a file in one step: at any time, its name refers to the old file or to the new one.

    Parameters
    ----------
    path : str or Path
        The file to write, or a link to it.

    Yields
    ------
    Path
        An empty temporary file in the same folder. It replaces `path` when the block ends, and is removed
        if the block raises.

    Raises
    ------
    OutputError
        If the operating system does not allow it.

    See Also
    --------
    write_table : Write columns to a file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from npsubpix.io import replacing
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "notes.txt"
    ...     with replacing(path) as temporary:
    ...         _ = temporary.write_text("done")
    ...     print(path.read_text())
    done
    """
    final = Path(os.path.realpath(path))
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.stem[:100]}-", suffix=final.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())  # without it a power cut can leave the new name on an empty file
        temporary.chmod(_mode(final))
        temporary.replace(final)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            reason = error.strerror or " ".join(str(error).split())
            raise OutputError(f"{path}: cannot be written: {reason}") from error
        raise


def _mode(path: Path) -> int:
    """Return the permissions of the file that is replaced, or those of a new one."""
    with contextlib.suppress(OSError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _unit(name: str) -> str | None:
    return "pixel" if name in _POSITIONS else None


def _text(value: Any) -> str:
    """Write a piece of metadata on one line."""
    if isinstance(value, str) and value.isprintable():
        return value
    return json.dumps(value, ensure_ascii=False)


def _write_csv(path: Path, columns: Columns, metadata: Mapping[str, Any]) -> None:
    lists = [column.tolist() for column in columns.values()]
    # Quotes keep a file name with the sign of comments from ending its line
    marked = any("#" in name for name in set(columns["file"].tolist())) if "file" in columns else False
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {key}: {_text(value)}\n" for key, value in metadata.items())
        csv.writer(file, lineterminator="\n").writerow(columns)
        rows = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if marked else csv.QUOTE_MINIMAL)
        rows.writerows(zip(*lists, strict=True))


def _write_parquet(path: Path, columns: Columns, metadata: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    arrays = [pa.array(c.tolist(), pa.string()) if c.dtype.kind == "O" else pa.array(c) for c in columns.values()]
    fields = [
        pa.field(name, array.type, metadata={"unit": unit} if (unit := _unit(name)) else None)
        for name, array in zip(columns, arrays, strict=True)
    ]
    schema = pa.schema(fields, metadata={key: _text(value) for key, value in metadata.items()})
    pyarrow.parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), path)


def _write_hdf5(path: Path, columns: Columns, metadata: Mapping[str, Any]) -> None:
    import h5py

    names = [name for name in columns if name != "flag_names"]  # PeakFlags names the bits of flags
    types = [h5py.string_dtype() if columns[name].dtype.kind == "O" else columns[name].dtype for name in names]
    length = len(next(iter(columns.values())))
    rows = np.empty(length, np.dtype(list(zip(names, types, strict=True))))
    for name in names:
        rows[name] = columns[name]
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("peaks", data=rows)
        for key, value in metadata.items():
            dataset.attrs[key] = value if isinstance(value, (int, float)) else _text(value)
        dataset.attrs["column_units"] = json.dumps({name: _unit(name) for name in names if _unit(name)})


def _write_ecsv(path: Path, columns: Columns, metadata: Mapping[str, Any]) -> None:
    import astropy.table

    table = astropy.table.Table(
        {name: column.astype(str) if column.dtype.kind == "O" else column for name, column in columns.items()}
    )
    for name in columns:
        table[name].unit = _unit(name)
    table.meta.update(metadata)
    table.write(path, format="ascii.ecsv", overwrite=True)


_WRITERS: dict[str, Callable[[Path, Columns, Mapping[str, Any]], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".h5": _write_hdf5,
    ".ecsv": _write_ecsv,
}

#: Package that a format needs besides NumPy.
_PACKAGES = {".parquet": "pyarrow", ".h5": "h5py", ".ecsv": "astropy"}
