"""Drift of a sample during a movie."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag, unique
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

__all__ = ["Drift", "DriftFlags"]

Floats = npt.NDArray[np.float64]


@unique
class DriftFlags(IntFlag):
    """Flags of a frame: why its drift is not to be relied on. A frame with any flag is not `ok`."""

    #: The drift of the frame could not be found: its localizations do not repeat those of other frames, or too few
    #: beads are in it. It is NaN.
    NOT_FOUND = 1
    #: There are no localizations, or no beads, near the frame: its drift is interpolated between its neighbours, and
    #: the standard error does not cover what happened meanwhile.
    INTERPOLATED = 2
    #: The iterations ended before they converged.
    NOT_CONVERGED = 4
    #: The sample moved otherwise than the drift within a segment, as by a jump: take more segments.
    MISFIT = 8


@dataclass(frozen=True, eq=False, repr=False)
class Drift:
    """Drift of a sample: how far it has moved in each frame, with standard errors.

    Attributes
    ----------
    frame : array of shape (T,), int64
        Numbers of the frames, from the first to the last one that has localizations, without gaps.
    shift : array of shape (T, ndim), float64
        Displacement of the sample along each of `axes`, in pixels, from its mean place or that in the first frame.
        Subtract it from positions. A z beside positions of two axes is in the unit of a calibration. NaN where it was
        not found.
    shift_std : array of shape (T, ndim), float64
        Standard errors of the displacement. NaN where they are not known.
    flags : array of shape (T,), int32
        Bits of `DriftFlags`.
    axes : tuple of str
        Names of the axes, ("y", "x") or ("z", "y", "x").
    method : str
        "rcc" or "tracks".
    n_used, n_rows : int
        Number of localizations that the drift was measured from, and number of rows of the table.
    n_segments : int
        Number of segments of the movie; of tracks, number of beads.
    notes : tuple of str
        Remarks: what was left out, and why the drift was not found.

    See Also
    --------
    drift_of : Measure the drift of a table.
    apply_drift : Subtract it.
    DriftFlags : The meaning of the flags.
    """

    frame: npt.NDArray[np.int64]
    shift: Floats
    shift_std: Floats
    flags: npt.NDArray[np.int32]
    axes: tuple[str, ...]
    method: str
    n_used: int
    n_rows: int
    n_segments: int
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.frame)

    @property
    def ok(self) -> npt.NDArray[np.bool_]:
        """True for the frames without flags."""
        return np.asarray(self.flags == 0)

    def flag_names(self) -> list[str]:
        """Return the names of the flags of each frame, joined by ``|``; ``"-"`` where there are none."""
        names = {
            flags: "|".join(str(flag.name) for flag in DriftFlags if flags & flag) or "-"
            for flags in set(self.flags.tolist())
        }
        return [names[flags] for flags in self.flags.tolist()]

    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copy the drift to a dictionary of NumPy arrays, one per column.

        The columns are ``frame``, the shift along each axis, ``y`` and ``x``, with ``z`` before them if it is known,
        their standard errors ``y_std`` and so on, ``ok``, ``flags`` and ``flag_names``.
        """
        columns: dict[str, npt.NDArray[Any]] = {"frame": self.frame.copy()}
        columns |= {axis: self.shift[:, k].copy() for k, axis in enumerate(self.axes)}
        columns |= {f"{axis}_std": self.shift_std[:, k].copy() for k, axis in enumerate(self.axes)}
        return columns | {
            "ok": self.ok,
            "flags": self.flags.copy(),
            "flag_names": np.array(self.flag_names(), dtype=object),
        }

    def to_pandas(self) -> pd.DataFrame:
        """Copy the drift to a pandas DataFrame, with columns named as in `to_dict`."""
        import pandas as pd

        return pd.DataFrame(self.to_dict())

    def save(self, path: str | Path, *, metadata: Mapping[str, Any] | None = None) -> None:
        """Write the drift to a file: CSV, Parquet, HDF5 or ECSV, by its extension.

        Parameters
        ----------
        path : str or Path
            A ``.csv``, ``.parquet``, ``.h5`` or ``.ecsv`` file. One that exists is replaced, in one step.
        metadata : mapping of str to str, number, list or dict, optional
            Further metadata, beside those of the drift, the version of npsubpix and the time.

        Raises
        ------
        OutputError
            If the name, the folder or the disk does not allow it.
        """
        from npsubpix._tables import describe, write_table

        described = describe("".join(axis for axis in self.axes))
        own = {
            "method": self.method, "n_used": self.n_used, "n_rows": self.n_rows, "n_segments": self.n_segments,
            "notes": list(self.notes),
        }  # fmt: skip
        write_table(path, self.to_dict(), described | {"drift": own} | dict(metadata or {}))

    def __repr__(self) -> str:
        """Show the greatest drift, its error, and how many frames have flags."""
        found = int(self.ok.sum())
        what = "segments" if self.method == "rcc" else "beads"
        head = f"Drift of {len(self)} frames by {self.method}, {self.n_segments} {what}, {self.n_used} localizations"
        lines = [head]
        if found:
            for k, axis in enumerate(self.axes):
                shift, error = self.shift[self.ok, k], self.shift_std[self.ok, k]
                typical = f"{np.median(error[np.isfinite(error)]):.2g}" if np.isfinite(error).any() else "unknown"
                lines.append(f" {axis}: from {shift.min():.3f} to {shift.max():.3f}, standard error {typical}")
        if found < len(self):
            flags, counts = np.unique(self.flags[~self.ok], return_counts=True)
            names = ["|".join(str(f.name) for f in DriftFlags if f & flag) for flag in flags.tolist()]
            listed = ", ".join(f"{count} {name}" for name, count in zip(names, counts.tolist(), strict=True))
            lines.append(f" {len(self) - found} frames are not ok: {listed}")
        return "\n".join([*lines, *(f" {note}" for note in self.notes)])
