"""Write and read tables of peaks: CSV, Parquet, HDF5, ECSV and FITS, each with units and metadata."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._tables import Columns, OutputError, arrange, replacing, write_table
from npsubpix._tables.reading import read_columns
from npsubpix.results import Fits, Measurements, Peaks

__all__ = ["OutputError", "peak_columns", "read_table", "replacing", "write_table"]


def peak_columns(
    peaks: Peaks | Fits | Measurements,
    *,
    origin: str = "center",
    files: Sequence[str] | None = None,
    columns: Columns | None = None,
    napari: bool = False,
) -> dict[str, npt.NDArray[Any]]:
    """Return peaks as columns, positions in a chosen origin.

    Parameters
    ----------
    peaks : Peaks, Fits or Measurements
        The table.
    origin : {"center", "corner", "fits"}, default "center"
        The centre of the first pixel is 0; its outer corner is 0; its centre is 1.
    files : sequence of str, optional
        The file of each peak, for a column ``file``.
    columns : mapping of str to array of shape (N,), optional
        Further columns, which follow ``value``.
    napari : bool, default False
        Name the columns of frames and positions ``axis-0``, ``axis-1`` and so on, after a column ``index``: napari
        opens a CSV file with these names as a layer of points. It counts from the centre of the first pixel.

    Returns
    -------
    dict of str to array
        The columns of `Peaks.to_dict`, and ``file`` before them. The columns of indices count pixels from 0,
        whatever the origin.

    See Also
    --------
    write_table : Write columns to a file.
    npsubpix.Peaks.save : Both in one step.

    Examples
    --------
    >>> import npsubpix
    >>> from npsubpix.io import peak_columns
    >>> peaks = npsubpix.refine_peaks([[0, 0, 0], [0, 9, 0], [0, 0, 0]], [[1, 1]])
    >>> peak_columns(peaks, origin="fits")["x"]
    array([2.])
    """
    axes = "zyx"[-peaks.ndim :]
    return arrange(peaks.to_dict(), origin=origin, files=files, extra=columns, napari=napari, axes=axes)


def read_table(path: str | Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Read the columns of a table, as `write_table`, the `save` of tables and the command line write it.

    Parameters
    ----------
    path : str or Path
        A ``.csv``, ``.parquet``, ``.h5``, ``.ecsv`` or ``.fits`` file, or a folder of ``.parquet`` files, as
        `npsubpix.locate` writes it.

    Returns
    -------
    columns : dict of str to array of shape (N,)
        The columns in the order of the file. Those of a CSV file are integers, numbers or booleans if all of their
        cells are, an empty cell being NaN, and else text.
    metadata : dict
        The metadata, of a CSV file those beside it. ``first_pixel_centre`` is the coordinate of the centre of the
        first pixel: subtract it for positions as functions take them.

    Raises
    ------
    ModuleNotFoundError
        If the package that reads the format is not installed.
    ValueError
        If there is no such file, its format is unknown, or its rows differ in length.

    See Also
    --------
    write_table : Write columns to a file.
    read_picasso : Read a file of picasso.
    read_thunderstorm : Read a file of ThunderSTORM.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import npsubpix
    >>> from npsubpix.io import read_table
    >>> peaks = npsubpix.refine_peaks([[0, 0, 0], [0, 9, 0], [0, 0, 0]], [[1, 1]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     peaks.save(Path(folder) / "peaks.csv", origin="corner")
    ...     columns, metadata = read_table(Path(folder) / "peaks.csv")
    >>> columns["y"], columns["ok"], metadata["first_pixel_centre"]
    (array([1.5]), array([ True]), 0.5)
    """
    path = Path(path)
    columns, metadata = read_columns(path)
    return {name: _typed(column) for name, column in columns.items()}, metadata


def _typed(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return text as what all of its cells are; other columns as they are, and bytes as text."""
    if column.dtype.kind in "SO":
        return np.array([cell.decode() if isinstance(cell, bytes) else cell for cell in column.tolist()], dtype=object)
    if column.dtype.kind != "U":
        return column
    if len(column) and np.isin(column, ("True", "False")).all():
        return np.asarray(column == "True")
    for dtype in (np.int64, np.float64):
        with contextlib.suppress(ValueError, OverflowError):
            return np.asarray(np.where(column == "", "nan", column).astype(dtype))
    return column.astype(object)
