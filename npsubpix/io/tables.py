"""Write tables of peaks: CSV, Parquet, HDF5 and ECSV, each with units and metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from npsubpix._tables import Columns, OutputError, arrange, replacing, write_table
from npsubpix.results import Fits, Measurements, Peaks

__all__ = ["OutputError", "peak_columns", "replacing", "write_table"]


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
