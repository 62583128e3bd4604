"""Rows of ``npsubpix locate`` on their way from `npsubpix.locate` to files: columns are added, and rows counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from npsubpix.cli.files import display_name

if TYPE_CHECKING:
    from npsubpix.cli.locate import Image
    from npsubpix.movies.outputs import Output
    from npsubpix.results import Peaks

__all__ = ["Best", "Layout", "NoFiles", "Rows", "joined", "peak_layout"]

Columns = dict[str, npt.NDArray[Any]]

_HEIGHTS = ("background", "noise", "significance")
_FIT_SHAPES = ("sigma", "angle", "beta")


@dataclass(frozen=True)
class Layout:
    """Columns of the table of all images."""

    axes: str
    origin: str
    with_file: bool
    with_frame: bool
    with_sky: bool
    unit: str | None
    exported: bool  # all columns of fits are kept as they are, for files of other programs


@dataclass
class Best:
    """The frame with most peaks so far: their number, the image and the number of the frame in it."""

    count: int = -1
    image: int = 0
    number: int = 0

    def see(self, image: int, first: int, counts: npt.NDArray[np.int64]) -> None:
        """Take note of the peaks in frames from the first on."""
        if len(counts) and counts.max() > self.count:
            at = int(counts.argmax())
            self.count, self.image, self.number = int(counts[at]), image, first + at


@dataclass
class NoFiles:
    """Rows that no file is asked for: the first ones are kept, and all are counted."""

    show: int
    done: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    _head: list[Columns] = field(default_factory=list)

    def write(self, first: int, last: int, columns: Mapping[str, Any], counts: Mapping[str, int] | None = None) -> None:
        """Count rows."""
        self.done = last if first == self.done else self.done
        rows = {"rows": len(columns["ok"]), "ok": int(np.count_nonzero(columns["ok"]))}
        for name, count in {**rows, **(counts or {})}.items():
            self.counts[name] = self.counts.get(name, 0) + count
        self._head.append({name: column[: self.show].copy() for name, column in columns.items()})
        if self.counts["rows"] > self.show or len(self._head) > 1:
            self._head = [joined(self._head, self.show)]

    def head(self, rows: int) -> Columns | None:
        """Return the first rows."""
        return joined(self._head, rows) if self._head else None

    def finish(self, metadata: Mapping[str, Any] | None = None, *, complete: bool = True) -> None:
        """There is nothing to write."""

    def abort(self) -> None:
        """There is nothing to keep."""

    def __enter__(self) -> NoFiles:
        """Return the output."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


def joined(parts: list[Columns], rows: int | None = None) -> Columns:
    """Join tables, or their first rows."""
    return {name: np.concatenate([part[name] for part in parts])[:rows] for name in parts[0]}


class Rows:
    """Rows of one image: an output for `npsubpix.locate`, which hands them on to that of the command."""

    def __init__(self, out: Output, layout: Layout, image: Image, best: Best, number: int) -> None:
        self._out, self._layout, self._image, self._best, self._number = out, layout, image, best, number
        self.file_of: Callable[[int], Path] = lambda _: image.path
        self.notes: tuple[str, ...] = ()

    @property
    def done(self) -> int:
        """Frames of this image whose rows are safe."""
        return min(max(self._out.done - self._image.first, 0), self._image.count)

    @property
    def counts(self) -> dict[str, int]:
        """Sums over all images."""
        return self._out.counts

    def write(self, first: int, last: int, columns: Mapping[str, Any], counts: Mapping[str, int] | None = None) -> None:
        """Hand the rows of frames on."""
        counted = {**(counts or {}), "frames": last - first}
        if "noise_guessed" in columns:
            counted["guessed_rows"] = int(np.count_nonzero(columns["noise_guessed"]))
        frame = np.asarray(columns["frame"]) if "frame" in columns else np.zeros(len(columns["ok"]), np.int64)
        self._best.see(self._number, first, np.bincount(frame - first, minlength=last - first))
        arranged = self._exported(columns, frame) if self._layout.exported else self._arranged(columns, frame)
        own = self._image.first
        self._out.write(own + first, own + last, arranged, counted)

    def _exported(self, columns: Mapping[str, Any], frame: npt.NDArray[np.int64]) -> Columns:
        return {**columns, "frame": frame + self._image.first}

    def _arranged(self, columns: Mapping[str, Any], frame: npt.NDArray[np.int64]) -> Columns:
        """Return columns in the order and the origin in which they are written."""
        from npsubpix._tables import arrange
        from npsubpix.movies.columns import inserted, length_columns, sky_columns

        layout = self._layout
        table, extra = peak_layout(columns)
        files = None
        if layout.with_file:
            numbers = frame.tolist()
            names = {number: display_name(self.file_of(number)) for number in set(numbers)}
            files = [names[number] for number in numbers]
        if layout.with_frame:
            table = {"frame": frame, **table}
        arranged = arrange(table, origin=layout.origin, files=files, extra=extra, axes=layout.axes)
        further: Columns = {}
        if layout.unit is not None and self._image.lengths is not None:
            further |= length_columns(arranged, layout.axes, self._image.lengths, layout.unit)
        if layout.with_sky:
            further |= sky_columns(self._image.wcs, table)
        return inserted(arranged, layout.axes[-1], further)

    def finish(self, metadata: Mapping[str, Any] | None = None, *, complete: bool = True) -> None:
        """Leave the end to the command: other images may follow."""

    def abort(self) -> None:
        """Leave the end to the command."""

    def __enter__(self) -> Rows:
        """Return the output."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


def peak_layout(columns: Mapping[str, Any]) -> tuple[Columns, Columns]:
    """Return the columns of peaks, and those of heights and fits, which follow their values."""
    columns = dict(columns)
    if "flux" in columns:
        return _fit_layout(columns)
    extra = {name: columns.pop(name) for name in (*_HEIGHTS, "noise_guessed") if name in columns}
    return {name: column for name, column in columns.items() if name != "frame"}, extra


def _fit_layout(columns: Columns) -> tuple[Columns, Columns]:
    """Return the columns of fits as those of peaks at the positions of fits, which are ok if the fits are."""
    table = {**_peaks_at_fits(columns).to_dict(), "ok": columns["ok"]}
    heights = {name: columns[at] for name in _HEIGHTS if (at := _height(name)) in columns}
    shapes = [n for n in columns if n.startswith(_FIT_SHAPES) or (n.startswith("z") and n not in table)]
    extra = heights | {name: columns[name] for name in ("flux", "flux_std")}
    extra |= {f"fit_{name}": columns[name] for name in ("background", "background_std", *shapes)}
    extra |= {"chi2": columns["chi2"], "fit_flags": columns["flag_names"]}
    if "noise_guessed" in columns:
        extra["noise_guessed"] = columns["noise_guessed"]
    return table, extra


def _peaks_at_fits(columns: Mapping[str, Any]) -> Peaks:
    """Return the peaks that were fitted, at the positions of the fits."""
    from npsubpix.results import Peaks

    axes = [axis for axis in "zyx" if f"{axis}_index" in columns]
    coords, errors, indices = (
        np.column_stack([columns[axis + end] for axis in axes]) for end in ("", "_std", "_index")
    )
    return Peaks(coords, columns["value"], indices, columns["peak_flags"], coords_std=errors)


def _height(name: str) -> str:
    """Return the name of a column of heights beside those of fits."""
    return "peak_background" if name == "background" else name
