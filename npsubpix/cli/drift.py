"""Command ``npsubpix drift``: measure the drift of a table of localizations, and write the table without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from npsubpix.cli.files import display_name
from npsubpix.cli.options import PER_AXIS, Debug, Quiet, as_numbers, given, one_of
from npsubpix.cli.terminal import Errors, UsageError, say, say_error

__all__ = ["check_drift", "drift", "write_moved"]

Columns = dict[str, npt.NDArray[Any]]

_AXES = ("z", "y", "x")

#: Units of the columns of lengths beside those in pixels, such as ``x_um`` and ``x_um_std``.
_UNITS = ("um", "nm")


@dataclass(frozen=True)
class _Table:
    """Columns of a file, and what is said of them."""

    path: Path
    columns: Columns
    metadata: dict[str, Any]


def drift(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            show_default=False,
            help="Localizations with frames: .csv, .parquet, .h5, .ecsv, .fits, a dataset, or a file of picasso or "
            "ThunderSTORM.",
        ),
    ],
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", show_default=False, help="Write the rows without drift: .csv, .parquet, .h5 or .ecsv."
        ),
    ] = None,
    drift_table: Annotated[
        list[Path] | None, typer.Option("--table", show_default=False, help="Write the drift of each frame.")
    ] = None,
    method: Annotated[
        Any, typer.Option(help="Molecules seen again, or beads that stay.", **one_of(("rcc", "tracks")))
    ] = "rcc",
    reference: Annotated[Any, typer.Option(help="Where drift is measured from.", **one_of(("mean", "first")))] = "mean",
    axes: Annotated[
        Any, typer.Option(help="Axes; all of the table by default.", show_default=False, **one_of(("yx", "zyx")))
    ] = None,
    segments: Annotated[
        int | None, typer.Option(help="Number of segments; one per 600 rows by default.", show_default=False)
    ] = None,
    width: Annotated[
        Any,
        typer.Option(
            help="Width by which rows are compared; twice the standard errors by default.",
            parser=as_numbers,
            metavar=PER_AXIS,
            show_default=False,
        ),
    ] = None,
    max_shift: Annotated[
        float | None, typer.Option(help="Largest drift between segments in pixels.", show_default=False)
    ] = None,
    radius: Annotated[
        float | None, typer.Option(help="Greatest step of a bead between frames in pixels.", show_default=False)
    ] = None,
    memory: Annotated[
        int | None, typer.Option(help="Frames in which a bead may be missing.", show_default=False)
    ] = None,
    min_presence: Annotated[
        float | None, typer.Option(help="Least share of the frames in which a bead is.", show_default=False)
    ] = None,
    pixel_size: Annotated[
        Any,
        typer.Option(
            help="Size of a pixel in nm of a file of ThunderSTORM that does not say it.",
            parser=as_numbers,
            metavar=PER_AXIS,
            show_default=False,
        ),
    ] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Leave out rows of frames whose drift is not known.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure the drift of a sample from a table of localizations, and subtract it.

    The exit status is 3 if the drift of frames is not known.
    """
    errors = Errors(debug)
    with errors.last_resort():
        options = {"method": method, "reference": reference, **given({"axes": axes, "n_segments": segments})}
        options |= given({"width": width, "max_shift": max_shift, "radius": radius, "memory": memory})
        options |= given({"min_presence": min_presence})
        for path in [*(output or []), *(drift_table or [])]:
            _check_moved(path, table)
        read = _read(table, pixel_size)
        known = _write(read, output or [], errors, options, tables=drift_table or [], drop=drop, quiet=quiet)
    raise typer.Exit(1 if errors.messages else 0 if known else 3)


def check_drift(moved: Sequence[Path] | None, outputs: Sequence[Path], table_format: str | None) -> None:
    """Refuse ``--drift`` of ``npsubpix locate`` where there is no table to read back."""
    if not moved:
        return
    if not outputs or table_format not in (None, "npsubpix"):
        raise UsageError("--drift needs --output, a table of npsubpix from which the drift is measured")
    for path in moved:
        _check_moved(path, outputs[0])


def _check_moved(path: Path, table: Path) -> None:
    """Refuse a file that cannot be written, or that is the table itself."""
    from npsubpix._tables import check_table_path

    try:
        check_table_path(path)
        if path.resolve() == table.resolve():
            raise ValueError(f"{path}: is the table to read, and would be overwritten")
    except ValueError as error:
        raise UsageError(str(error)) from error


def write_moved(table: Path, outputs: Sequence[Path], errors: Errors, options: dict[str, Any], *, quiet: bool) -> bool:
    """Write the rows of a table of npsubpix without drift; return whether it is known in all frames."""
    from npsubpix.io import read_table

    return _write(_Table(table, *read_table(table)), outputs, errors, options, quiet=quiet)


def _read(path: Path, pixel_size: Any) -> _Table:
    """Read a table of npsubpix, or the localizations of another program as one."""
    from npsubpix._tables import describe
    from npsubpix.cli.positions import program_of, read_fits
    from npsubpix.io import read_table

    program = program_of(path)
    if pixel_size is not None and program != "thunderstorm":
        raise UsageError("--pixel-size is for files of ThunderSTORM: positions of others are in pixels")
    if program is None:
        return _Table(path, *read_table(path))
    fits = read_fits(path, program, None, pixel_size)
    columns = {
        n: c for n, c in fits.to_dict().items() if c.dtype.kind != "f" or not np.isnan(c).all()
    }  # as in the file
    if fits.z is not None:  # not in pixels, as the drift is
        columns = {{"z": "z_nm", "z_std": "z_nm_std"}.get(name, name): column for name, column in columns.items()}
    return _Table(path, columns, describe("zyx"[-fits.ndim :]))


def _write(
    read: _Table, outputs: Sequence[Path], errors: Errors, options: dict[str, Any], *, tables: Sequence[Path] = (),
    drop: bool = False, quiet: bool = False,
) -> bool:  # fmt: skip
    """Write the rows of a table without drift, and the drift; return whether it is known in all frames."""
    from npsubpix import drift_of
    from npsubpix._tables import write_table

    table = read.path
    rows, frame, std = _localizations(read)
    found = drift_of(rows, frame=frame, coords_std=std, **options)
    lines = [repr(found)]
    about = {"table": display_name(table), "options": {k: str(v) for k, v in options.items()}}
    for path in tables:
        with errors.survived():
            found.save(path, metadata=about)
            lines.append(f"Wrote {display_name(path)}")
    if outputs:
        with errors.survived():
            moved, left_out = _moved(read, found, drop)
            if left_out:
                say_error(f"{table}: note: {left_out} rows are left out, the drift of their frames is not known")
            metadata = {**read.metadata, "drift": {**about, "rows_left_out": left_out}}
            for path in outputs:
                write_table(path, moved, metadata)
                lines.append(f"Wrote {display_name(path)}")
    if not quiet:
        say("\n".join(lines))
    return bool(found.ok.all())


def _localizations(table: _Table) -> tuple[Any, Any, Any]:
    """Return the positions of rows, NaN where these are not ok, their frames and standard errors."""
    columns, path = table.columns, table.path
    axes = [axis for axis in _AXES if axis in columns]
    if axes[-2:] != ["y", "x"] or "frame" not in columns:
        raise ValueError(f"{path}: needs columns frame, y and x, has {', '.join(columns) or 'none'}")
    if "ra" in columns or "dec" in columns:
        raise ValueError(f"{path}: has ra and dec, places on the sky, which would not move with y and x")
    if not len(columns["frame"]):
        raise ValueError(f"{path}: has no rows")
    _check_frames(table)
    points = np.column_stack([columns[axis].astype(np.float64) for axis in axes])
    if "ok" in columns:
        points[~columns["ok"].astype(bool)] = np.nan
    std = None
    if all(f"{axis}_std" in columns for axis in axes):
        std = np.column_stack([columns[f"{axis}_std"].astype(np.float64) for axis in axes])
    return points, columns["frame"], std


def _check_frames(table: _Table) -> None:
    """Refuse rows of several movies, whose frames have the same numbers."""
    if "file" not in table.columns:
        return
    frame, file = table.columns["frame"], np.unique(table.columns["file"].astype(str), return_inverse=True)[1]
    order = np.lexsort([file, frame])
    frame, file = frame[order], file[order]
    twice = (frame[1:] == frame[:-1]) & (file[1:] != file[:-1])
    if twice.any():
        raise ValueError(
            f"{table.path}: frame {frame[1:][twice][0]} is there of several images, whose drift is not the same: write "
            "a table of each"
        )


def _moved(table: _Table, drift: Any, drop: bool) -> tuple[Columns, int]:
    """Return the columns without drift, and how many rows were left out of them."""
    frame = table.columns["frame"].astype(np.int64)
    known = drift.ok[frame - drift.frame[0]]
    if not known.all() and not drop:
        raise ValueError(
            f"{table.path}: the drift of the frames of {(~known).sum()} of {len(known)} rows is not known, so that "
            "rows without drift are not written: --drop leaves these out"
        )
    lengths = _lengths(table)
    columns = {name: column[known] for name, column in table.columns.items()}
    place = frame[known] - int(drift.frame[0])
    for k, axis in enumerate(drift.axes):
        columns[axis] = columns[axis] - drift.shift[place, k]
        if f"{axis}_std" in columns:
            columns[f"{axis}_std"] = np.hypot(columns[f"{axis}_std"], drift.shift_std[place, k])
    for name, (axis, length) in lengths.items():
        columns[name] = columns[axis] * length
    return columns, int((~known).sum())


def _lengths(table: _Table) -> dict[str, tuple[str, float]]:
    """Return the columns that are others in pixels times the size of a pixel: the name of that column, and the size."""
    columns, lengths = table.columns, {}
    for axis in _AXES:
        for name in (f"{axis}_{unit}" for unit in _UNITS):
            if axis not in columns or name not in columns:
                continue
            pixels, values = columns[axis].astype(np.float64), columns[name].astype(np.float64)
            k = int(np.argmax(np.where(np.isfinite(pixels), np.abs(pixels), -1)))
            size = float(values[k] / pixels[k]) if pixels[k] else np.nan
            if not np.allclose(values, pixels * size, rtol=1e-6, equal_nan=True):
                raise ValueError(f"{table.path}: {name} is not {axis} times the size of a pixel: cannot move with it")
            lengths[name] = axis, size
            if f"{name}_std" in columns and f"{axis}_std" in columns:
                lengths[f"{name}_std"] = f"{axis}_std", size
    return lengths
