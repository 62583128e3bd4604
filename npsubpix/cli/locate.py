"""Command ``npsubpix locate``: read images, find peaks, write and print the table."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npsubpix._arrays.library import to_numpy
from npsubpix.cli.files import check_overwriting, check_plot_path, display_name, progress_bar
from npsubpix.cli.terminal import Errors, Notes, UsageError, say

if TYPE_CHECKING:
    from npsubpix.results import Peaks

__all__ = ["Request", "find_and_report"]


@dataclass(frozen=True)
class Request:
    """Arguments of the command line."""

    images: list[Path]
    output: Path | None
    plot: Path | None
    options: dict[str, Any]  # arguments of find_peaks, its background as the size of boxes
    reading: dict[str, Any]  # arguments of open_frames
    origin: str
    show: int  # rows to print
    quiet: bool


def find_and_report(request: Request, errors: Errors) -> None:
    """Find the peaks of all images, then write and print the table."""
    _check(request)
    found = _Found(with_picture=request.plot is not None)
    _find_all(request, found, errors)
    if found.tables:
        _report(request, found, errors)


def _check(request: Request) -> None:
    """Refuse arguments that would fail later, before any work is done."""
    from npsubpix.io.tables import check_table_path

    try:
        _check_numbers(request.options)
        if request.output is not None:
            check_table_path(request.output)
        if request.plot is not None:
            check_plot_path(request.plot)
        check_overwriting([request.output, request.plot], request.images)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _check_numbers(options: dict[str, Any]) -> None:
    from npsubpix._arrays.options import check_count, check_finite, check_lengths, check_positive

    check_count(options["size"], "--size", 1)
    check_positive(check_finite(options["radius"], "--radius"), "--radius")
    if options["background"] is not None:
        check_count(options["background"], "--background", 1)
    if options["num_peaks"] is not None:
        check_count(options["num_peaks"], "--num-peaks")
    if options["min_distance"] is not None:
        check_lengths(options["min_distance"], 2, "--min-distance")
    for name, option in (("threshold_abs", "--threshold"), ("threshold_rel", "--threshold-rel")):
        if options[name] is not None:
            check_finite(options[name], option)


@dataclass
class _Found:
    """Peaks found so far: one table per frame, with its file and number."""

    with_picture: bool
    tables: list[Peaks] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    any_stack: bool = False
    picture: Any = None  # the first frame of the first image

    def add(self, path: Path, number: int, is_stack: bool, image: Any, peaks: Peaks) -> None:
        if self.with_picture and self.picture is None:
            self.picture = np.array(image)
        self.any_stack = self.any_stack or is_stack
        self.tables.append(peaks)
        self.frames.append(number)
        self.files.append(display_name(path))

    def peaks(self) -> Peaks:
        """Join the tables."""
        from npsubpix.results import Peaks

        coords, values, indices, flags = (
            np.concatenate([getattr(table, name) for table in self.tables])
            for name in ("coords", "values", "indices", "flags")
        )
        return Peaks(coords, values, indices, flags, self.each(self.frames) if self.any_stack else None)

    def each(self, values: list[Any]) -> Any:
        """Repeat the value of each table for its rows."""
        dtype = object if values and isinstance(values[0], str) else np.int64
        return np.repeat(np.array(values, dtype=dtype), [len(table) for table in self.tables])


def _find_all(request: Request, found: _Found, errors: Errors) -> None:
    from npsubpix.io.images import open_frames

    notes = Notes(request.quiet)
    with progress_bar(len(request.images), request.quiet) as advance:
        for path in request.images:
            with errors.survived(), open_frames(path, **request.reading) as stack:
                notes.say(stack)
                for number, frame in enumerate(stack.frames):
                    try:
                        peaks = _find(frame, request.options)
                    except (TypeError, ValueError, MemoryError) as error:
                        raise RuntimeError(f"{path}: {error}") from error
                    found.add(stack.file_of(number), number, stack.is_stack, frame, peaks)
                    advance(1 / stack.count, f"{path.name} {number + 1}/{stack.count}")


def _find(frame: Any, options: dict[str, Any]) -> Peaks:
    """Find the peaks of a frame, above its local background if its boxes have a size."""
    from npsubpix import find_peaks, local_background

    size = options["background"]
    return find_peaks(frame, **{**options, "background": None if size is None else local_background(frame, size)})


def _report(request: Request, found: _Found, errors: Errors) -> None:
    """Write the table and the picture, and print the first rows."""
    from npsubpix.io.tables import peak_columns, write_table

    peaks = found.peaks()
    files = found.each(found.files) if len(request.images) > 1 or len(set(found.files)) > 1 else None
    columns = peak_columns(peaks, origin=request.origin, files=files)
    lines = [_summary(peaks, found, request.images)]
    lines += _first_rows(columns, len(peaks), 0 if request.quiet else request.show)
    if request.output is not None:
        with errors.survived():
            write_table(request.output, columns, _metadata(request, peaks.ndim, errors))
            lines.append(f"Wrote {display_name(request.output)}")
    if request.plot is not None:
        with errors.survived():
            _write_plot(request.plot, found, request.origin)
            lines.append(f"Wrote {display_name(request.plot)}")
    if not request.quiet:
        say("\n".join(lines))


def _summary(peaks: Peaks, found: _Found, images: list[Path]) -> str:
    count = len(peaks)
    failed = count - int(to_numpy(peaks.ok).sum())
    failures = f"; {failed} could not be refined, see flags" if failed else ""
    where = (
        display_name(Path(images[0].name)) if len(images) == 1 else f"{len(set(found.files))} of {len(images)} images"
    )
    frames = f", {len(found.tables)} frames" if found.any_stack else ""
    return f"{count} peak{'' if count == 1 else 's'} in {where}{frames}{failures}"


def _first_rows(columns: dict[str, Any], count: int, show: int) -> list[str]:
    from npsubpix.io.tables import table_text

    lines = [table_text(columns, show)] if show and count else []
    return [*lines, f"... {count - show} more"] if 0 < show < count else lines


def _metadata(request: Request, ndim: int, errors: Errors) -> dict[str, Any]:
    from npsubpix import __version__
    from npsubpix.io.tables import ORIGINS

    axes = "zyx"[-ndim:]
    metadata = {
        "npsubpix_version": __version__,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "origin": request.origin,
        "first_pixel_centre": ORIGINS[request.origin],
        "axes": ", ".join(axes),
        "units": f"pixel ({', '.join(axes)})",
        "indices": "pixels from 0",
        "images": [display_name(path) for path in request.images],
        "options": {**request.options, **request.reading},
    }
    return {**metadata, "errors": list(errors.messages)} if errors.messages else metadata


def _write_plot(plot: Path, found: _Found, origin: str) -> None:
    from npsubpix.io.tables import ORIGINS, replacing
    from npsubpix.plotting import draw_peaks

    peaks = found.tables[0]
    frame = f", frame {found.frames[0]}" if found.any_stack else ""
    title = f"{len(peaks)} peaks in {display_name(Path(Path(found.files[0]).name))}{frame}"
    figure = draw_peaks(found.picture, peaks, title=title, origin=ORIGINS[origin])
    with replacing(plot) as temporary:
        figure.savefig(temporary, format=plot.suffix[1:].lower())
