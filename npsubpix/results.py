"""Results of operations: tables of peaks, backgrounds of images, and alignments."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import Array, to_numpy
from npsubpix._definitions.flags import NOT_OK, AlignmentFlags, PeakFlags

if TYPE_CHECKING:
    from pathlib import Path

    import astropy.table
    import pandas as pd
    import pyarrow as pa

__all__ = ["Alignment", "Background", "Peaks"]

_AXES = ("z", "y", "x")
_SHOWN = 10
_UNSHOWN = ("ok", "flags", "flag_names")


class _LevelAndNoise(NamedTuple):
    level: Array
    noise: Array


class Background(_LevelAndNoise):
    """The background of an image around each of its pixels: a named tuple of level and noise.

    Parameters
    ----------
    level, noise, guessed : arrays of the shape of the image
        The attributes.

    Attributes
    ----------
    level : array of the shape of the image
        The background: values of the image without spots, in its unit.
    noise : array of the shape of the image
        Standard deviation of the noise around the background, in the unit of the image.
    guessed : array of bool of the shape of the image, or None
        True where the noise is a guess, since the pixels do not determine it; see `local_background`. Not an item of
        the tuple.

    See Also
    --------
    local_background : Measure background and noise.
    find_peaks : Find peaks above a background.

    Notes
    -----
    Subtract ``level`` from an image; NumPy's arithmetic refuses the pair.
    """

    guessed: Array | None = None

    def __new__(cls, level: Array, noise: Array, guessed: Array | None = None) -> Background:
        """Make a pair that also knows where its noise is a guess."""
        pair = super().__new__(cls, level, noise)
        pair.guessed = guessed
        return pair


Background.__array_ufunc__ = None  # type: ignore[attr-defined] # or an image less the pair would be two images


@dataclass(frozen=True, eq=False, repr=False)
class Peaks:
    """Peaks of an image: positions, values and flags, one row per peak.

    The arrays are of the library and on the device of the image. Indexing with a slice, or with an
    array of booleans or integers, selects rows and returns Peaks.

    Attributes
    ----------
    coords : array of shape (N, ndim), float64
        Positions in pixels in array order, (y, x) or (z, y, x). The centre of the first pixel is 0.
    values : array of shape (N,), float64
        Value of the peak: that of the fitted surface for methods that fit one, else that of its
        pixel. NaN for a position outside the image.
    indices : array of shape (N, ndim), int64
        Pixel at which refinement started; -1 for a position that was not finite.
    flags : array of shape (N,), int32
        Bits of `PeakFlags`; 0 for a peak refined around its own pixel.
    frame : array of shape (N,), int64, or None
        Index of the image in its stack; None without a stack.
    image_shape : tuple of ints or None
        Shape of the image, or of one frame of a stack; None if it is not known.
    border : array of one value per frame, float64, or None
        Value of the highest peak in the border of a frame, where `find_peaks` looks for no peaks, if it is
        higher than all peaks of the frame and exceeds `threshold_abs`, else NaN. With a background, heights
        above it are compared, in units of the noise. None where there is no such border, or rows were selected.

    See Also
    --------
    find_peaks : Find and refine peaks.
    PeakFlags : The meaning of the flags.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> y, x = np.mgrid[:9, :12]
    >>> image = np.exp(-((y - 3.2) ** 2 + (x - 7.9) ** 2) / 4)
    >>> peaks = npsubpix.find_peaks(image)
    >>> peaks
    Peaks: 1 in 2-D
        y     x   value  flags
     3.18  7.91  0.9962  -
    >>> len(peaks[peaks.ok])
    1
    """

    coords: Array
    values: Array
    indices: Array
    flags: Array
    frame: Array | None = None
    image_shape: tuple[int, ...] | None = None
    border: Array | None = None

    def __len__(self) -> int:
        """Return the number of peaks."""
        return int(self.coords.shape[0])

    def __getitem__(self, rows: Any) -> Peaks:
        """Select rows; one integer, also as the array without dimensions of torch's argmax, selects a table of one."""
        if hasattr(rows, "__index__") and np.ndim(rows) == 0 and "bool" not in str(getattr(rows, "dtype", type(rows))):
            rows = operator.index(rows)
            if not -len(self) <= rows < len(self):
                raise IndexError(f"row {rows} of {len(self)} peaks")
            rows = slice(rows, rows + 1 or None)
        columns: list[Any] = [None if column is None else column[rows] for column in self._columns()]
        coords, values, indices, flags, frame = columns
        if flags.ndim != 1 or tuple(coords.shape) != (*flags.shape, self.ndim):
            raise IndexError(f"rows are selected by an integer, a slice, or an array of one dimension, got {rows!r}")
        return Peaks(coords, values, indices, flags, frame, image_shape=self.image_shape)

    def __iter__(self) -> Iterator[Peaks]:
        """Iterate over the rows."""
        return (self[row] for row in range(len(self)))

    def _columns(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self) if field.name not in ("border", "image_shape")]

    @property
    def ndim(self) -> int:
        """Number of dimensions of the image."""
        return int(self.coords.shape[1])

    @property
    def ok(self) -> Array:
        """True for the rows that refinement accepted, and that are no duplicates, in the library of the table."""
        return (self.flags & int(NOT_OK)) == 0

    def flag_names(self) -> list[str]:
        """Return the names of the flags of each row, joined by ``|``; ``"-"`` where there are none."""
        # Few combinations of flags occur: each is named once
        flags, which = np.unique(to_numpy(self.flags), return_inverse=True)
        names = [_names(combination) for combination in flags.tolist()]
        return [names[k] for k in which.tolist()]

    def to_structured(self) -> npt.NDArray[np.void]:
        """Copy the peaks to a NumPy structured array.

        Returns
        -------
        structured array of shape (N,)
            Fields ``frame`` (in stacks), ``z`` (in volumes), ``y``, ``x``, ``value``,
            ``z_index`` (in volumes), ``y_index``, ``x_index``, ``ok``, ``flags``, ``flag_names``.
        """
        columns = self.to_dict()
        columns["flag_names"] = columns["flag_names"].astype(str)
        table = np.empty(len(self), [(name, column.dtype) for name, column in columns.items()])
        for name, column in columns.items():
            table[name] = column
        return table

    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copy the peaks to a dictionary of NumPy arrays, one per column, named as in `to_structured`.

        ``ok`` is `Peaks.ok`, and ``flag_names`` are those of `Peaks.flag_names`, an array of Python's strings.
        """
        axes = _AXES[-self.ndim :]
        coords, indices = to_numpy(self.coords), to_numpy(self.indices)
        columns = {} if self.frame is None else {"frame": to_numpy(self.frame)}
        columns |= {axis: coords[:, k] for k, axis in enumerate(axes)}
        columns["value"] = to_numpy(self.values)
        columns |= {f"{axis}_index": indices[:, k] for k, axis in enumerate(axes)}
        columns |= {"ok": to_numpy(self.ok), "flags": to_numpy(self.flags)}
        return columns | {"flag_names": np.array(self.flag_names(), dtype=object)}

    def to_pandas(self) -> pd.DataFrame:
        """Copy the peaks to a pandas DataFrame, with columns named as in `to_structured`.

        pandas has an attribute ``flags`` of its own: select rows by ``df[df.ok]``, or by ``df[df["flags"] == 0]``.
        """
        import pandas as pd

        return pd.DataFrame(self.to_dict())

    def to_astropy(self) -> astropy.table.QTable:
        """Copy the peaks to an astropy QTable, with columns named as in `to_structured`, positions in pixels."""
        import astropy.table
        import astropy.units

        table = astropy.table.QTable(self.to_structured())
        for axis in _AXES[-self.ndim :]:
            table[axis].unit = astropy.units.pixel
        return astropy.table.QTable(table)

    def to_arrow(self) -> pa.Table:
        """Copy the peaks to a pyarrow Table, with columns named as in `to_structured`."""
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
        """Write the peaks to a file, as the command line does: CSV, Parquet, HDF5 or ECSV, by its extension.

        Parameters
        ----------
        path : str or Path
            A ``.csv``, ``.parquet``, ``.h5`` or ``.ecsv`` file. One that exists is replaced, in one step.
        origin : {"center", "corner", "fits"}, default "center"
            Origin of the positions: the centre of the first pixel is 0; its outer corner is 0; its centre is 1.
        columns : mapping of str to array of shape (N,), optional
            Further columns, such as backgrounds, which follow ``value``.
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
        head = f"Peaks: {len(self)} in {self._extent()}{frames}"
        if len(self) == 0:
            return "\n".join([head, *self.left_out()])
        from npsubpix._tables import aligned

        columns = self[:_SHOWN].to_dict()
        names = [name for name in columns if not name.endswith("_index") and name not in _UNSHOWN]
        cells = {name: [_cell(name, value) for value in columns[name].tolist()] for name in names}
        lines = [f" {line}" for line in aligned({**cells, "flags": columns["flag_names"].tolist()}, left={"flags"})]
        more = [f" … {len(self) - _SHOWN} more"] if len(self) > _SHOWN else []
        return "\n".join([head, *lines, *more, *self.left_out()])

    def left_out(self) -> list[str]:
        """Return a line that says where the border holds a peak higher than all others of its frame, if it does."""
        if self.border is None:
            return []
        border = to_numpy(self.border)
        higher = border[~np.isnan(border)]
        if not higher.size:
            return []
        where = "" if self.frame is None else f" of {higher.size} frames"
        return [f" exclude_border leaves out a higher peak at the border{where}: {higher.max():.4g}"]

    def _extent(self) -> str:
        """Describe the image; the shape of a volume shows whether a movie was taken for one."""
        if self.ndim != 3 or self.image_shape is None:
            return f"{self.ndim}-D"
        shape = " × ".join(map(str, self.image_shape))
        return f"a volume of {shape}" if self.frame is None else f"volumes of {shape}"


def _cell(name: str, value: float) -> str:
    if name == "frame":
        return str(value)
    return f"{value:.2f}" if name in _AXES else f"{value:.4g}"


def _names(flags: int) -> str:
    return "|".join(flag.name or "" for flag in PeakFlags if flags & flag) or "-"


class Alignment(NamedTuple):
    """A transform that maps one image to another, and the quality of the match.

    Attributes
    ----------
    matrix : array of shape (3, 3), float64
        Maps points (y, x, 1) of the fixed image to those of the moving one, in pixels, as for `warp`
        and `transform_points`.
    covariance : array of shape (P, P), float64
        Covariance of the parameters of the model: for "translation" the shift (y, x) in pixels; for
        "euclidean" the angle in radians and the shift; for "similarity" the change of scale, the
        angle and the shift; for "affine" and "homography" the changes of the entries of the matrix,
        row by row. The parameters describe a small transform about the centre of the fixed image that
        is applied before the matrix. NaN if it cannot be estimated.
    rms : float
        Root mean square of the residuals, weighted by the loss, in the units of the images. If noise hides the texture
        of single pixels, it is that of means of pixels, and so are `noise` and `correlation`.
    overlap : float
        Number of pixels compared, as a fraction of those of the fixed image without its border.
    n_iters : int
        Number of iterations at all levels.
    converged : bool
        Whether the last iteration moved no corner by more than `tol`, or by far less than the standard error.
    flags : AlignmentFlags
        Reasons not to rely on the alignment; 0 if there are none.
    gain, bias : float
        Brightness of the moving image relative to the fixed one: gain times the fixed image, plus bias.
    centre : tuple of two floats
        Centre (y, x) of the fixed image, to which `shift`, `angle`, `scale` and the parameters of the
        covariance refer.
    correlation : float
        Goodness of fit: zero-mean normalised correlation of both images where they overlap, weighted by the
        loss, from -1 to 1. 1 for images that differ by gain and bias alone; noise makes it smaller.
    noise : float
        Root mean square of residuals of images that differ by noise alone. A greater ``rms`` has other reasons.
    """

    matrix: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]
    rms: float
    overlap: float
    n_iters: int
    converged: bool
    flags: AlignmentFlags
    gain: float = 1.0
    bias: float = 0.0
    centre: tuple[float, float] = (0.0, 0.0)
    correlation: float = math.nan
    noise: float = math.nan

    @property
    def ok(self) -> bool:
        """True if there are no flags: the images look alike where they overlap, and iterations converged."""
        return not self.flags

    def flag_names(self) -> str:
        """Return the names of the flags, joined by ``|``; ``"-"`` if there are none."""
        return "|".join(str(flag.name) for flag in AlignmentFlags if flag in self.flags) or "-"

    @property
    def shift(self) -> npt.NDArray[np.float64]:
        """Displacement (y, x) of the centre of the fixed image, in pixels."""
        moved = self.matrix @ (*self.centre, 1.0)
        return np.asarray(moved[:2] / moved[2] - self.centre)

    @property
    def shift_std(self) -> npt.NDArray[np.float64]:
        """Standard deviation of the shift (y, x), in pixels."""
        count = len(self.covariance)
        places = [2, 5] if count > 4 else [count - 2, count - 1]
        inner = self._linear @ self.covariance[np.ix_(places, places)] @ self._linear.T
        return np.sqrt(np.diag(inner))

    @property
    def angle(self) -> float:
        """Angle of rotation of the content, in radians, from the y axis to the x axis."""
        m = self._linear
        return math.atan2(m[1, 0] - m[0, 1], m[0, 0] + m[1, 1])

    @property
    def scale(self) -> float:
        """Factor of magnification of the content: the square root of that of areas."""
        return math.sqrt(abs(float(np.linalg.det(self._linear))))

    @property
    def _linear(self) -> npt.NDArray[np.float64]:
        """Derivative of the transform at the centre."""
        moved = self.matrix @ (*self.centre, 1.0)
        point = moved[:2] / moved[2]
        return np.asarray((self.matrix[:2, :2] - np.outer(point, self.matrix[2, :2])) / moved[2])

    def __repr__(self) -> str:
        shifts = ", ".join(f"{v:.4f} ± {e:.2g}" for v, e in zip(self.shift, self.shift_std, strict=True))
        found = f"shift=({shifts})"
        if len(self.covariance) > 2:
            found += f", angle={self.angle:.6g}, scale={self.scale:.6g}"
        return (
            f"Alignment({found}, rms={self.rms:.4g}, noise={self.noise:.4g}, correlation={self.correlation:.4g}, "
            f"overlap={self.overlap:.3f}, n_iters={self.n_iters}, "
            f"converged={self.converged}, flags={self.flag_names()})"
        )
