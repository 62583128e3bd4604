"""Tables of positions: rows, flags, and conversions to the tables of other libraries."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import Array, to_numpy
from npsubpix.results.display import AXES, Displayed
from npsubpix.results.joining import joined_columns

if TYPE_CHECKING:
    from pathlib import Path

    import astropy.table
    import pandas as pd
    import pyarrow as pa

__all__ = ["AXES", "Table"]

T = TypeVar("T", bound="Table")


class Table(Displayed):
    """Rows of positions with flags, a frozen dataclass whose fields are columns or describe the whole table."""

    #: Flags of rows that are not ok.
    _NOT_OK: ClassVar[int]
    #: Fields that are no columns: those that a selection of rows keeps, and those that it drops.
    _OF_TABLE: ClassVar[tuple[str, ...]] = ()
    _DROPPED: ClassVar[tuple[str, ...]] = ()
    #: Columns in the unit of the image, or of what a camera made of it.
    _BRIGHTNESS: ClassVar[tuple[str, ...]] = ()

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.coords.shape[0])

    def __getitem__(self: T, rows: Any) -> T:
        """Select rows; one integer, also as the array without dimensions of torch's argmax, selects a table of one."""
        is_row = getattr(rows, "ndim", 0) == 0 and hasattr(rows, "__index__")
        if is_row and "bool" not in str(getattr(rows, "dtype", type(rows))):
            rows = operator.index(rows)
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows} of {len(self)} {type(self).__name__.lower()}")
            rows = slice(rows, rows + 1 or None)
        names = [field.name for field in fields(self) if field.name not in self._DROPPED]  # type: ignore[arg-type]
        values = {name: getattr(self, name) for name in names}
        for name, column in values.items():
            if column is not None and name not in self._OF_TABLE:
                values[name] = column[rows]
                if values[name].ndim != column.ndim or values[name].shape[1:] != column.shape[1:]:
                    raise IndexError(
                        f"rows are selected by an integer, a slice, or an array of one dimension, got {rows!r}"
                    )
        return type(self)(**values)

    @classmethod
    def concatenate(cls: type[T], tables: Iterable[T], *, frame: Iterable[int] | None = None) -> T:
        """Join tables, row after row.

        Parameters
        ----------
        tables : iterable of tables
            Tables of this class, at least one, with the same columns, in arrays of one library.
        frame : iterable of int, optional
            The frame of each table, for tables of single images of a movie.

        Returns
        -------
        table of this class
            All rows. Its ``image_shape`` is that of the tables if they share it, else None.

        Raises
        ------
        TypeError
            If an item is no table of this class.
        ValueError
            If there is no table, columns differ, units differ, or ``frame`` does not have an item per table.
        """
        return cls(**joined_columns(cls, list(tables), frame))

    def __iter__(self: T) -> Iterator[T]:
        """Iterate over the rows."""
        return (self[row] for row in range(len(self)))

    @property
    def ok(self) -> Array:
        """True for the rows whose flags give no reason not to rely on them, in the library of the table."""
        return (self.flags & self._NOT_OK) == 0

    def flag_names(self) -> list[str]:
        """Return the names of the flags of each row, joined by ``|``; ``"-"`` where there are none."""
        # Few combinations of flags occur: each is named once
        flags, which = np.unique(to_numpy(self.flags), return_inverse=True)
        names = [self._names(combination) for combination in flags.tolist()]
        return [names[k] for k in which.tolist()]

    def _names(self, flags: int) -> str:
        return "|".join(flag.name or "" for flag in self._FLAGS if flags & flag) or "-"

    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copy the table to a dictionary of NumPy arrays, one per column; the last three are those of flags."""
        raise NotImplementedError

    def _flag_columns(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "ok": to_numpy(self.ok),
            "flags": to_numpy(self.flags),
            "flag_names": np.array(self.flag_names(), dtype=object),
        }

    def to_structured(self) -> npt.NDArray[np.void]:
        """Copy the table to a NumPy structured array.

        Returns
        -------
        structured array of shape (N,)
            Fields named as the columns of `to_dict`.
        """
        columns = self.to_dict()
        columns["flag_names"] = columns["flag_names"].astype(str)
        table = np.empty(len(self), [(name, column.dtype) for name, column in columns.items()])
        for name, column in columns.items():
            table[name] = column
        return table

    def to_pandas(self) -> pd.DataFrame:
        """Copy the table to a pandas DataFrame, with columns named as in `to_dict`.

        pandas has an attribute ``flags`` of its own: select rows by ``df[df.ok]``, or by ``df[df["flags"] == 0]``.
        """
        import pandas as pd

        return pd.DataFrame(self.to_dict())

    def to_astropy(self, *, image_unit: Any = None) -> astropy.table.QTable:
        """Copy the table to an astropy QTable, with units, and columns named as in `to_dict`.

        Parameters
        ----------
        image_unit : astropy unit or str, optional
            Unit of the image, such as "adu", for brightnesses that were not measured with a camera. Without it, these
            have no unit.

        Returns
        -------
        astropy.table.QTable
            Positions, widths and their errors in pixels, angles in radians, and brightnesses in electrons if the
            table says so. Its ``meta`` has the origin.

        Raises
        ------
        ValueError
            If there is an `image_unit` although brightnesses are in electrons.
        """
        import astropy.table
        import astropy.units

        if image_unit is not None and self._flux_unit() is not None:
            raise ValueError(f"image_unit must be None: with a camera, brightnesses are in {self._flux_unit()}s")
        table = astropy.table.QTable(self.to_structured())
        for name in table.colnames:
            unit = self._unit_of(name, image_unit)
            if unit is not None:
                table[name].unit = astropy.units.Unit(unit)
        from npsubpix._tables import describe

        table.meta.update(describe("zyx"[-self.ndim :]))
        return astropy.table.QTable(table)

    def _unit_of(self, name: str, image_unit: Any) -> Any:
        """Return the unit of a column, as astropy names it."""
        from npsubpix._tables import unit_of

        if name in self._BRIGHTNESS:
            return self._flux_unit() or image_unit
        if name in ("z", "z_std") and self.ndim == 2:
            return None  # that of a calibration
        return {"angle": "rad", "angle_std": "rad", "area": "pix2"}.get(name, unit_of(name))

    def _flux_unit(self) -> str | None:
        """Return the unit of brightnesses, or None for that of the image."""
        unit: str | None = getattr(self, "flux_unit", None)
        return unit

    def to_arrow(self) -> pa.Table:
        """Copy the table to a pyarrow Table, with columns named as in `to_dict`."""
        import pyarrow as pa

        columns = self.to_dict()
        names = pa.array(columns.pop("flag_names").tolist(), pa.string())
        return pa.table({**columns, "flag_names": names})

    def to_trackpy(self, *, ok_only: bool = True) -> pd.DataFrame:
        """Copy the table to a pandas DataFrame with the columns of trackpy, which ``trackpy.link`` takes.

        Parameters
        ----------
        ok_only : bool, default True
            Leave out rows that are not `ok`, as there is no column of flags. A warning says how many.

        Returns
        -------
        pandas.DataFrame
            ``y`` and ``x`` (``z`` before them in volumes) in pixels from the centre of the first pixel, as in trackpy,
            and ``frame``, 0 without a stack. Between them stand the columns of trackpy that the table knows. Of
            `Measurements`: ``mass``, ``size``, ``ecc``, ``signal``, ``raw_mass`` and ``ep``. Of `Fits`: the flux as
            ``mass``, ``ep``, the root mean square of the standard errors along the axes, and in 2-D those of the
            Gaussian: ``size``, its radius of gyration, ``ecc`` if it has a width per axis, and ``signal``, its
            height. Of `Peaks`: the value as ``signal``, and ``ep`` if there are standard errors.

        Raises
        ------
        ModuleNotFoundError
            If pandas is not installed.

        Warns
        -----
        UserWarning
            If rows are left out.
        """
        from npsubpix._tables.localizations import package

        pd = package("pandas", "to_trackpy", "table")
        table, _ = self._kept(ok_only, "trackpy's tables")
        coords = to_numpy(table.coords)
        frame = np.zeros(len(table), np.int64) if table.frame is None else to_numpy(table.frame)
        positions = {axis: coords[:, k] for k, axis in enumerate(AXES[-self.ndim :])}
        return pd.DataFrame({**positions, **table._trackpy_columns(), "frame": frame})

    def _trackpy_columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the columns of trackpy besides positions and frames."""
        raise NotImplementedError

    def to_napari(
        self, *, pixel_size: float | tuple[float, ...] | None = None, unit: str | None = None, ok_only: bool = False
    ) -> dict[str, Any]:
        """Copy the table to the arguments of napari's layer of points: ``viewer.add_points(**table.to_napari())``.

        Parameters
        ----------
        pixel_size : float or tuple of floats, optional
            Size of a pixel, or one per axis, for the scale of the layer.
        unit : str, optional
            Unit of `pixel_size`, such as "um", as napari 0.6 or later knows it.
        ok_only : bool, default False
            Leave out rows that are not `ok`, with a warning. All rows have a feature ``ok``.

        Returns
        -------
        dict
            ``data``, an array of shape (N, D) of the positions, after the frame in stacks, from the centre of the
            first pixel, as in napari; ``features``, a pandas DataFrame of the other columns; and with `pixel_size`
            the ``scale``, which is 1 along frames, and with `unit` the ``units``, "pixel" along frames.

        Raises
        ------
        ModuleNotFoundError
            If pandas is not installed.
        ValueError
            If a size is not positive, or there is a `unit` without.

        Warns
        -----
        UserWarning
            If rows are left out.
        """
        from npsubpix._arrays.options import check_lengths
        from npsubpix._tables.localizations import package

        pd = package("pandas", "to_napari", "table")
        table, _ = self._kept(ok_only, "the layer of points")
        columns = table.to_dict()
        axes = [name for name in ("frame", *AXES[-self.ndim :]) if name in columns]
        data = np.column_stack([columns.pop(name).astype(np.float64) for name in axes])
        layer: dict[str, Any] = {"data": data, "features": pd.DataFrame(columns)}
        if pixel_size is None:
            if unit is not None:
                raise ValueError(f"unit is that of pixel_size, which must be given with it, got {unit!r}")
            return layer
        before = len(axes) - self.ndim
        layer["scale"] = (1.0,) * before + check_lengths(pixel_size, self.ndim, "pixel_size")
        return layer if unit is None else {**layer, "units": ("pixel",) * before + (unit,) * self.ndim}

    def _kept(self: T, ok_only: bool, where: str) -> tuple[T, int]:
        """Return the rows for a table without flags, and the number of those left out, which a warning says."""
        ok = to_numpy(self.ok)
        left_out = int((~ok).sum()) if ok_only else 0
        if not left_out:
            return self, 0
        warnings.warn(
            f"{left_out} of {len(self)} rows are not ok and left out of {where}: select rows by table[table.ok], or "
            "write all by ok_only=False",
            stacklevel=3,
        )
        return self[self.ok], left_out

    def save(
        self,
        path: str | Path,
        *,
        origin: str = "center",
        columns: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        napari: bool = False,
    ) -> None:
        """Write the table to a file, as the command line does: CSV, Parquet, HDF5, ECSV or FITS, by its extension.

        Parameters
        ----------
        path : str or Path
            A ``.csv``, ``.parquet``, ``.h5``, ``.ecsv`` or ``.fits`` file. One that exists is replaced, in one step.
        origin : {"center", "corner", "fits"}, default "center"
            Origin of the positions: the centre of the first pixel is 0; its outer corner is 0; its centre is 1.
        columns : mapping of str to array of shape (N,), optional
            Further columns, such as backgrounds, which follow those of measurements.
        metadata : mapping of str to str, number, list or dict, optional
            Further metadata, beside the version of npsubpix, the time, the origin and the units. Those of a CSV file
            are written beside it, to a file of the same name with ``.json`` after it, see `npsubpix.io.write_table`.
        napari : bool, default False
            Name the columns of frames and positions ``axis-0``, ``axis-1`` and so on, after a column ``index``:
            napari opens a CSV file with these names as a layer of points. It counts from the centre of the first
            pixel.

        Raises
        ------
        OutputError
            If the name, the folder or the disk does not allow it.
        ValueError
            If columns do not fit the table, or `napari` has another origin than "center".
        """
        from npsubpix._tables import arrange, describe, write_table  # formats, which tables in memory do not need

        if napari and origin != "center":
            raise ValueError(f"origin must be 'center' for napari, got {origin!r}")
        axes = "zyx"[-self.ndim :]
        table = arrange(self.to_dict(), origin=origin, extra=columns, napari=napari, axes=axes)
        unit = {} if self._flux_unit() is None else {"flux_unit": self._flux_unit()}
        write_table(path, table, describe(axes, origin) | unit | dict(metadata or {}))
