"""Write tables of named columns to files: CSV, Parquet, HDF5 and ECSV, each with units and metadata.

A file appears whole or not at all: it is written under a temporary name and then renamed.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import importlib.util
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._tables.text import aligned, table_text

__all__ = [
    "ORIGINS",
    "OutputError",
    "aligned",
    "arrange",
    "check_place",
    "check_table_path",
    "describe",
    "replacing",
    "table_text",
    "unit_of",
    "write_table",
]

Columns = Mapping[str, npt.NDArray[Any]]

#: Names of the origins of coordinates, and the coordinate of the centre of the first pixel in each.
ORIGINS = {"center": 0.0, "corner": 0.5, "fits": 1.0}

_POSITIONS = ("z", "y", "x")
_CENTROIDS = tuple(f"{axis}_centroid" for axis in _POSITIONS)
_LENGTHS = {
    *_POSITIONS, *_CENTROIDS, "sigma", *(f"sigma_{axis}" for axis in (*_POSITIONS, "major", "minor")), "width", "size",
    "ep",
}  # fmt: skip


class OutputError(ValueError):
    """A file that cannot be written; the message is one line, and names the file and the reason."""


def arrange(
    columns: Columns,
    *,
    origin: str = "center",
    files: Sequence[str] | None = None,
    extra: Columns | None = None,
    napari: bool = False,
    axes: str = "zyx",
) -> dict[str, npt.NDArray[Any]]:
    """Return columns of positions as they are written: in an origin, with further columns after the measured ones.

    Columns of `axes` are positions in pixels: a column z beside positions of two axes is that of a calibration.
    """
    if origin not in ORIGINS:
        raise ValueError(f"origin must be one of {', '.join(map(repr, ORIGINS))}, got {origin!r}")
    extra = {name: np.asarray(column) for name, column in (extra or {}).items()}
    rows = len(next(iter(columns.values())))
    last = "value" if "value" in columns else next(name for name in columns if name.endswith("_index") or name == "ok")
    for name, column in extra.items():
        if name in columns:
            raise ValueError(f"columns must have names of their own, got {name!r}, which the table has")
        if column.shape != (rows,):
            raise ValueError(f"columns must have one value per row, {rows}, got shape {column.shape} for {name!r}")
    table: dict[str, npt.NDArray[Any]] = {} if files is None else {"file": np.array(files, dtype=object)}
    for name, column in columns.items():
        if name == last and name != "value":
            table |= extra
        table[name] = column + ORIGINS[origin] if name in (*axes, *_CENTROIDS) else column
        if name == "value":
            table |= extra
    return _as_points(table, axes) if napari else table


def _as_points(columns: Columns, axes: str) -> dict[str, npt.NDArray[Any]]:
    """Name positions as the CSV files of napari's points do: a frame is their first axis."""
    positions = [name for name in ("frame", *axes) if name in columns]
    points = {f"axis-{k}": columns[name] for k, name in enumerate(positions)}
    others = {name: column for name, column in columns.items() if name not in positions}
    return {"index": np.arange(len(next(iter(columns.values())))), **points, **others}


def describe(axes: str, origin: str = "center") -> dict[str, Any]:
    """Return the metadata that all tables of positions have."""
    from npsubpix import __version__

    return {
        "npsubpix_version": __version__,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "origin": origin,
        "first_pixel_centre": ORIGINS[origin],
        "axes": ", ".join(axes),
        "units": f"pixel ({', '.join(axes)})",
        "indices": "pixels from 0",
    }


def write_table(
    path: str | Path, columns: Columns, metadata: Mapping[str, Any] | None = None, *, comments: bool = False
) -> None:
    """Write columns to a file, in the format of its extension.

    Parameters
    ----------
    path : str or Path
        A ``.csv``, ``.parquet``, ``.h5`` or ``.ecsv`` file. One that exists is replaced, in one step.
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

    Parquet files have the metadata in the schema, HDF5 files as attributes of the dataset ``peaks``, and ECSV files
    in their header. All of them also have the unit of each position.

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
    path = Path(path)
    check_table_path(path)
    metadata = dict(metadata or {})
    if path.suffix.lower() == ".ecsv":
        _check_lines(path, columns)
    if path.suffix.lower() != ".csv":
        with replacing(path) as temporary:
            _WRITERS[path.suffix.lower()](temporary, columns, metadata)
        return
    # The metadata are in place after the table; those of the table before it are gone by then
    beside = sidecar(path)
    with contextlib.ExitStack() as opened:
        if metadata and not comments:
            text = json.dumps(metadata, indent=2, ensure_ascii=False, default=_plain)
            opened.enter_context(replacing(beside)).write_text(text + "\n", encoding="utf-8")
        with replacing(path, before=lambda: beside.unlink(missing_ok=True)) as temporary:
            _WRITERS[".csv"](temporary, columns, metadata if comments else {})


def _check_lines(path: Path, columns: Columns) -> None:
    """Refuse texts of several lines, which a file with a line per row does not hold."""
    for name, column in columns.items():
        if _is_text(column) and any(len(f"{text}.".splitlines()) > 1 for text in set(column.tolist())):
            raise OutputError(f"{path}: a text in the column {name!r} has several lines, which ECSV does not hold")


def sidecar(path: Path) -> Path:
    """Return the name of the file beside a CSV file that holds its metadata."""
    return path.with_name(f"{path.name}.json")


def _plain(value: Any) -> Any:
    """Return a value as one that JSON has: numbers and arrays of NumPy as numbers and lists, anything else as text."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)


def check_table_path(path: Path) -> None:
    """Refuse a path that `write_table` could not write to, before any work is done."""
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise OutputError(f"{path}: unknown format {suffix!r}; the name must end with {', '.join(_WRITERS)}")
    package = _PACKAGES.get(suffix)
    if package is not None and importlib.util.find_spec(package) is None:
        raise OutputError(f"{path}: {suffix} files need {package}: pip install 'npsubpix[app]'")
    check_place(path)
    if suffix == ".csv":
        check_place(sidecar(path))


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
def replacing(path: str | Path, *, before: Callable[[], Any] | None = None) -> Iterator[Path]:
    """Replace a file in one step: at any time, its name refers to the old file or to the new one.

    Parameters
    ----------
    path : str or Path
        The file to write, or a link to it.
    before : callable, optional
        Called without arguments once the temporary file is whole and on the disk, just before it replaces `path`.

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
        if before is not None:
            before()
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


def unit_of(name: str, columns: Iterable[str] = ()) -> str | None:
    """Return the unit of one of some columns: that of positions, widths and their standard errors is the pixel."""
    if name in ("z", "z_std") and "z_std" in columns and "z_index" not in columns:
        return None  # that of a calibration, beside positions of two axes
    return "pixel" if name.removesuffix("_std") in _LENGTHS else None


def _text(value: Any) -> str:
    """Write a piece of metadata on one line."""
    if isinstance(value, str) and value.isprintable():
        return value
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _is_text(column: npt.NDArray[Any]) -> bool:
    return column.dtype.kind in "OU"


def _write_csv(path: Path, columns: Columns, metadata: Mapping[str, Any]) -> None:
    lists = [column.tolist() for column in columns.values()]
    # Quotes keep a file name with the sign of comments from ending its line
    named = metadata and "file" in columns
    marked = any("#" in name for name in set(columns["file"].tolist())) if named else False
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {key}: {_text(value)}\n" for key, value in metadata.items())
        csv.writer(file, lineterminator="\n").writerow(columns)
        rows = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC if marked else csv.QUOTE_MINIMAL)
        rows.writerows(zip(*lists, strict=True))


def _write_parquet(path: Path, columns: Columns, metadata: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    # FITS files hold big-endian numbers, which Arrow does not take
    arrays = [
        pa.array(c.tolist(), pa.string()) if _is_text(c) else pa.array(c.astype(c.dtype.newbyteorder("=")))
        for c in columns.values()
    ]
    fields = [
        pa.field(name, array.type, metadata={"unit": unit} if (unit := unit_of(name, columns)) else None)
        for name, array in zip(columns, arrays, strict=True)
    ]
    schema = pa.schema(fields, metadata={key: _text(value) for key, value in metadata.items()})
    pyarrow.parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), path)


def _write_hdf5(path: Path, columns: Columns, metadata: Mapping[str, Any]) -> None:
    import h5py

    # Names of flags have a length, which every reader of HDF5 knows; those of files may be long, and not of ASCII
    flags = max([1, *map(len, set(columns["flag_names"].tolist()))]) if "flag_names" in columns else 0
    types = {
        name: h5py.string_dtype("ascii", flags)
        if name == "flag_names"
        else h5py.string_dtype()
        if _is_text(column)
        else column.dtype
        for name, column in columns.items()
    }
    length = len(next(iter(columns.values())))
    rows = np.empty(length, np.dtype(list(types.items())))
    for name, column in columns.items():
        rows[name] = column.astype(object) if column.dtype.kind == "U" else column
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("peaks", data=rows)
        for key, value in metadata.items():
            dataset.attrs[key] = value if isinstance(value, (int, float)) else _text(value)
        dataset.attrs["column_units"] = json.dumps({name: unit for name in columns if (unit := unit_of(name, columns))})


def _write_ecsv(path: Path, columns: Columns, metadata: Mapping[str, Any]) -> None:
    import astropy.table

    table = astropy.table.Table(
        {name: column.astype(str) if _is_text(column) else column for name, column in columns.items()}
    )
    for name in columns:
        table[name].unit = unit_of(name, columns)
    table.meta.update(json.loads(json.dumps(metadata, default=_plain)))
    table.write(path, format="ascii.ecsv", overwrite=True)


_WRITERS: dict[str, Callable[[Path, Columns, Mapping[str, Any]], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".h5": _write_hdf5,
    ".ecsv": _write_ecsv,
}

#: Package that a format needs besides NumPy.
_PACKAGES = {".parquet": "pyarrow", ".h5": "h5py", ".ecsv": "astropy"}
