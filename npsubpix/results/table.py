"""Tables of positions: rows, flags, and conversions to the tables of other libraries."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import fields
from enum import IntFlag
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import Array, to_numpy

if TYPE_CHECKING:
    from pathlib import Path

    import astropy.table
    import pandas as pd
    import pyarrow as pa

__all__ = ["AXES", "Table"]

AXES = ("z", "y", "x")
_SHOWN = 10
_UNSHOWN = ("ok", "flags", "flag_names")

T = TypeVar("T", bound="Table")


class Table:
    """Rows of positions with flags, a frozen dataclass whose fields are columns or describe the whole table."""

    coords: Array
    flags: Array
    frame: Array | None
    image_shape: tuple[int, ...] | None

    #: Flags of rows that are not ok, and what the bits of flags mean.
    _NOT_OK: ClassVar[int]
    _FLAGS: ClassVar[type[IntFlag]]
    #: Fields that are no columns: those that a selection of rows keeps, and those that it drops.
    _OF_TABLE: ClassVar[tuple[str, ...]] = ()
    _DROPPED: ClassVar[tuple[str, ...]] = ()
    #: Columns that are converted but not shown.
    _HIDDEN: ClassVar[tuple[str, ...]] = ()

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

    def __iter__(self: T) -> Iterator[T]:
        """Iterate over the rows."""
        return (self[row] for row in range(len(self)))

    @property
    def ndim(self) -> int:
        """Number of dimensions of the image."""
        return int(self.coords.shape[1])

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

    def to_astropy(self) -> astropy.table.QTable:
        """Copy the table to an astropy QTable, with columns named as in `to_dict`; positions and lengths in pixels."""
        import astropy.table
        import astropy.units

        from npsubpix._tables import unit_of

        table = astropy.table.QTable(self.to_structured())
        for name in table.colnames:
            if unit_of(name, table.colnames) == "pixel":
                table[name].unit = astropy.units.pixel
        return astropy.table.QTable(table)

    def to_arrow(self) -> pa.Table:
        """Copy the table to a pyarrow Table, with columns named as in `to_dict`."""
        import pyarrow as pa

        columns = self.to_dict()
        names = pa.array(columns.pop("flag_names").tolist(), pa.string())
        return pa.table({**columns, "flag_names": names})

    def save(
        self,
        path: str | Path,
        *,
        origin: str = "center",
        columns: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the table to a file, as the command line does: CSV, Parquet, HDF5 or ECSV, by its extension.

        Parameters
        ----------
        path : str or Path
            A ``.csv``, ``.parquet``, ``.h5`` or ``.ecsv`` file. One that exists is replaced, in one step.
        origin : {"center", "corner", "fits"}, default "center"
            Origin of the positions: the centre of the first pixel is 0; its outer corner is 0; its centre is 1.
        columns : mapping of str to array of shape (N,), optional
            Further columns, such as backgrounds, which follow those of measurements.
        metadata : mapping of str to str, number, list or dict, optional
            Further metadata, beside the version of npsubpix, the time, the origin and the units. Those of a CSV file
            are written beside it, to a file of the same name with ``.json`` after it, see `npsubpix.io.write_table`.
        """
        from npsubpix._tables import arrange, describe, write_table  # formats, which tables in memory do not need

        table = arrange(self.to_dict(), origin=origin, extra=columns)
        write_table(path, table, describe("zyx"[-self.ndim :], origin) | dict(metadata or {}))

    def __repr__(self) -> str:
        """Show the first rows as a table."""
        frames = "" if self.frame is None else f", {len(np.unique(to_numpy(self.frame)))} frames"
        head = f"{type(self).__name__}: {len(self)} in {self._extent()}{frames}"
        if len(self) == 0:
            return "\n".join([head, *self.left_out()])
        from npsubpix._tables import aligned

        columns = self[:_SHOWN].to_dict()
        hidden = (*_UNSHOWN, *self._HIDDEN)
        names = [name for name in columns if not name.endswith("_index") and name not in hidden]
        cells = {name: [self._cell(name, value) for value in columns[name].tolist()] for name in names}
        lines = [f" {line}" for line in aligned({**cells, "flags": columns["flag_names"].tolist()}, left={"flags"})]
        more = [f" … {len(self) - _SHOWN} more"] if len(self) > _SHOWN else []
        return "\n".join([head, *lines, *more, *self.left_out()])

    def left_out(self) -> list[str]:
        """Return lines about what the table does not hold."""
        return []

    def _cell(self, name: str, value: float) -> str:
        if name == "frame":
            return str(value)
        return f"{value:.2f}" if name in AXES else f"{value:.4g}"

    def _extent(self) -> str:
        """Describe the image; the shape of a volume shows whether a movie was taken for one."""
        if self.ndim != 3 or self.image_shape is None:
            return f"{self.ndim}-D"
        shape = " × ".join(map(str, self.image_shape))
        return f"a volume of {shape}" if self.frame is None else f"volumes of {shape}"
