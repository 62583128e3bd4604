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
from npsubpix.cli.options import PER_AXIS, as_numbers, given, one_of
from npsubpix.cli.terminal import Errors, UsageError, say, say_error

__all__ = ["check_drift", "drift", "write_moved"]

Columns = dict[str, npt.NDArray[Any]]

_AXES = ("z", "y", "x")

#: Columns that would have to move too, and do not.
_IN_UNITS = (*(f"{axis}_{unit}" for axis in _AXES for unit in ("um", "nm")), "ra", "dec")


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
            metavar="TABLE", show_default=False, help="Localizations with frames: .csv, .parquet, .h5 or .ecsv."
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
    drop: Annotated[bool, typer.Option("--drop", help="Leave out rows of frames whose drift is not known.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
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
        known = write_moved(table, output or [], errors, options, tables=drift_table or [], drop=drop, quiet=quiet)
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


def write_moved(
    table: Path, outputs: Sequence[Path], errors: Errors, options: dict[str, Any], *, tables: Sequence[Path] = (),
    drop: bool = False, quiet: bool = False,
) -> bool:  # fmt: skip
    """Write the rows of a table without drift, and the drift; return whether it is known in all frames."""
    from npsubpix import drift_of
    from npsubpix._tables import write_table
    from npsubpix.io import read_table

    read = _Table(table, *read_table(table))
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
    units = [name for name in _IN_UNITS if name in columns]
    if units:
        raise ValueError(f"{path}: has {', '.join(units)}, which would not move with y and x: write it without --units")
    if not len(columns["frame"]):
        raise ValueError(f"{path}: has no rows")
    points = np.column_stack([columns[axis].astype(np.float64) for axis in axes])
    if "ok" in columns:
        points[~columns["ok"].astype(bool)] = np.nan
    std = None
    if all(f"{axis}_std" in columns for axis in axes):
        std = np.column_stack([columns[f"{axis}_std"].astype(np.float64) for axis in axes])
    return points, columns["frame"], std


def _moved(table: _Table, drift: Any, drop: bool) -> tuple[Columns, int]:
    """Return the columns without drift, and how many rows were left out of them."""
    frame = table.columns["frame"].astype(np.int64)
    known = drift.ok[frame - drift.frame[0]]
    if not known.all() and not drop:
        raise ValueError(
            f"{table.path}: the drift of the frames of {(~known).sum()} of {len(known)} rows is not known, nothing is "
            "written: --drop leaves them out"
        )
    columns = {name: column[known] for name, column in table.columns.items()}
    place = frame[known] - int(drift.frame[0])
    for k, axis in enumerate(drift.axes):
        columns[axis] = columns[axis] - drift.shift[place, k]
        if f"{axis}_std" in columns:
            columns[f"{axis}_std"] = np.hypot(columns[f"{axis}_std"], drift.shift_std[place, k])
    return columns, int((~known).sum())
