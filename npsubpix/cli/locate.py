"""Command ``npsubpix locate``: read images, find peaks, write and print the table."""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from npsubpix._arrays.library import to_numpy
from npsubpix._definitions.flags import PeakFlags
from npsubpix._definitions.peaks import with_defaults
from npsubpix._definitions.refinement import WITH_RADIUS
from npsubpix.cli.checks import check_numbers
from npsubpix.cli.exports import check_export, check_tables, export
from npsubpix.cli.files import check_overwriting, check_plot_path, display_name, progress_bar
from npsubpix.cli.filters import filtered
from npsubpix.cli.fits import fitted
from npsubpix.cli.hints import hints_for_no_peaks
from npsubpix.cli.terminal import Errors, Notes, UsageError, say, say_guesses

if TYPE_CHECKING:
    from npsubpix.io.images import Frames
    from npsubpix.results import Fits, Peaks

__all__ = ["Outputs", "Request", "find_and_report"]

_MAPS = ("mask", "background", "sigma")  # arguments of find_peaks that may be images


@dataclass(frozen=True)
class Outputs:
    """Files to write, and the rows to print."""

    tables: list[Path]
    plots: list[Path]
    origin: str
    napari: bool
    comments: bool
    plot_frame: int | None
    y_up: bool | None
    light: bool
    show: int
    quiet: bool
    table_format: str = "npsubpix"
    pixel_size: Any = None


@dataclass(frozen=True)
class Request:
    """Arguments of the command line."""

    images: list[Path]
    options: dict[str, Any]  # arguments of find_peaks; images are paths
    boxes: dict[str, Any]  # arguments of local_background; empty if it is not wanted
    reading: dict[str, Any]  # arguments of open_frames
    outputs: Outputs
    fit: dict[str, Any] | None = None  # arguments of fit_spots, if spots are to be fitted


def find_and_report(request: Request, errors: Errors) -> None:
    """Find the peaks of all images, then write and print the table."""
    _check(request)
    found = _Found(request.outputs)
    _find_all(request, found, errors)
    if found.tables:
        _report(request, found, errors)


def _check(request: Request) -> None:
    """Refuse arguments that would fail later, before any work is done."""
    outputs = request.outputs
    try:
        check_numbers(request.options)
        _check_background(request)
        _check_needs(request)
        check_export(outputs.table_format, request.fit, outputs.pixel_size, _unused(outputs))
        check_tables(outputs.tables, outputs.table_format)
        for plot in outputs.plots:
            check_plot_path(plot)
        if outputs.napari and outputs.origin != "center":
            raise ValueError("--napari needs --origin center: napari counts from the centre of the first pixel")
        maps = [value for value in request.options.values() if isinstance(value, Path)]
        check_overwriting([*outputs.tables, *outputs.plots], [*request.images, *maps])
    except ValueError as error:
        raise UsageError(str(error)) from error


def _unused(outputs: Outputs) -> list[str]:
    """Return options that only tables of npsubpix have."""
    options = {"--napari": outputs.napari, "--comments": outputs.comments, "--origin": outputs.origin != "center"}
    return [name for name, is_there in options.items() if is_there]


def _check_background(request: Request) -> None:
    from npsubpix._arrays.options import check_per_axis

    size = request.boxes.get("size")
    if size is not None:
        check_per_axis(size, len(size) if isinstance(size, tuple) else 2, "--background", 1)
        if "background" in request.options:
            raise ValueError("--background and --level exclude each other: a background is measured, or known")
    elif request.boxes:
        raise ValueError(f"--background-{next(iter(request.boxes)).replace('_', '-')} needs --background")


def _check_needs(request: Request) -> None:
    """Refuse options that would have no effect."""
    if "radius" in request.options and request.options.get("refine") not in WITH_RADIUS:
        *methods, last = sorted(WITH_RADIUS)
        raise ValueError(f"--radius needs --refine {', '.join(methods)} or {last}")
    if request.outputs.plot_frame is not None and not request.outputs.plots:
        raise ValueError("--plot-frame needs --plot")


class _Search(NamedTuple):
    """Peaks of a frame, the arguments of `find_peaks` that found them, and further columns.

    And whether the noise is a guess somewhere in the frame.
    """

    peaks: Peaks
    options: dict[str, Any]
    columns: dict[str, Any]
    is_guess: bool
    fits: Fits | None


@dataclass
class _Picture:
    """A frame to draw, and its peaks."""

    image: Any
    peaks: Peaks
    title: str
    y_up: bool


@dataclass
class _Found:
    """Peaks found so far: one table per frame, with its file and number."""

    outputs: Outputs
    tables: list[Peaks] = field(default_factory=list)
    extra: list[dict[str, Any]] = field(default_factory=list)  # further columns of each table
    fits: list[Fits] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    any_stack: bool = False
    guesses: int = 0  # frames whose noise is a guess
    picture: _Picture | None = None
    empty: tuple[Any, dict[str, Any]] | None = None  # the first frame and its search, while there are no peaks

    def add(self, stack: Frames, number: int, image: Any, search: _Search) -> None:
        peaks = search.peaks
        if not self.tables and len(peaks) == 0:
            self.empty = np.array(image), search.options
        elif len(peaks):
            self.empty = None
        self.any_stack = self.any_stack or stack.is_stack
        self.guesses += search.is_guess
        self.tables.append(peaks)
        self.extra.append(search.columns)
        self.fits += [] if search.fits is None else [search.fits]
        self.frames.append(number)
        self.files.append(display_name(stack.file_of(number)))
        if self.outputs.plots and self._is_better_picture(number, len(peaks)):
            frame = f", frame {number} of 0 to {stack.count - 1}" if stack.is_stack else ""
            title = f"{len(peaks)} peaks in {display_name(Path(stack.path.name))}{frame}"
            self.picture = _Picture(np.array(image), peaks, title, stack.file_format == "FITS")

    def _is_better_picture(self, number: int, count: int) -> bool:
        wanted = self.outputs.plot_frame
        if wanted is not None:
            return self.picture is None and number == wanted
        return self.picture is None or count > len(self.picture.peaks)

    def peaks(self) -> Peaks:
        """Join the tables."""
        from npsubpix.results import Peaks

        names = ["coords", "values", "indices", "flags"]
        if self.tables[0].coords_std is not None:
            names.append("coords_std")
        columns: dict[str, Any] = {n: np.concatenate([getattr(table, n) for table in self.tables]) for n in names}
        return Peaks(**columns, frame=self.each(self.frames) if self.any_stack else None)

    def each(self, values: list[Any]) -> Any:
        """Repeat the value of each table for its rows."""
        dtype = object if values and isinstance(values[0], str) else np.int64
        return np.repeat(np.array(values, dtype=dtype), [len(table) for table in self.tables])

    def columns(self) -> dict[str, Any]:
        """Join the further columns."""
        return {name: np.concatenate([extra[name] for extra in self.extra]) for name in self.extra[0]}


def _find_all(request: Request, found: _Found, errors: Errors) -> None:
    from npsubpix.io.images import open_frames

    notes = Notes(request.outputs.quiet)
    with progress_bar(len(request.images), request.outputs.quiet) as advance:
        for path in request.images:
            with errors.survived(), open_frames(path, **request.reading) as stack, _maps_of(stack, request) as maps:
                notes.say(stack)
                for number, frame in enumerate(stack.frames):
                    beside = {name: next(frames) for name, frames in maps.items()}
                    try:
                        search = _find(frame, request, beside)
                    except (TypeError, ValueError, MemoryError) as error:
                        raise RuntimeError(f"{path}: {error}") from error
                    found.add(stack, number, frame, search)
                    advance(1 / stack.count, f"{path.name} {number + 1}/{stack.count}")


@contextlib.contextmanager
def _maps_of(image: Frames, request: Request) -> Iterator[dict[str, Iterator[Any]]]:
    """Open the mask, the background and the noise of an image: one frame for all of its frames, or one for each."""
    from npsubpix.io.images import open_frames

    with contextlib.ExitStack() as opened:
        maps = {}
        for name in _MAPS:
            path = request.options.get(name)
            if not isinstance(path, Path):
                continue
            stack = opened.enter_context(
                open_frames(path, volume=len(image.shape) == 3, max_memory=request.reading["max_memory"])
            )
            if stack.count not in (1, image.count):
                needed = "1" if image.count == 1 else f"1 or {image.count}"
                raise ValueError(f"{path}: has {stack.count} frames; needed are {needed}, as in {image.path}")
            frames = stack.frames
            maps[name] = frames if stack.count > 1 else itertools.repeat(np.array(next(frames)))
        yield maps


def _find(frame: Any, request: Request, maps: dict[str, Any]) -> _Search:
    """Find the peaks of a frame, and their background, noise and significance where these are known or measured."""
    from npsubpix import find_peaks, local_background

    options = {**request.options, **maps}
    if "mask" in maps:
        options["mask"] = np.asarray(maps["mask"]) != 0
    searched = filtered(frame, options)
    guessed = None
    if request.boxes or (searched is not frame and options.get("background") is None and options.get("sigma") is None):
        measured = local_background(searched, **request.boxes, mask=options.get("mask"))
        guessed = None if "sigma" in options else measured.guessed
        options |= {"background": measured.level, "sigma": options.get("sigma", measured.noise)}
    peaks = find_peaks(frame, **options)
    columns = _heights(searched, peaks, options.get("background"), options.get("sigma"))
    fits = None
    if request.fit is not None:
        peaks, measured_columns, fits = fitted(frame, peaks, request.fit, options.get("mask"))
        columns |= measured_columns
    if guessed is not None:
        columns["noise_guessed"] = guessed[tuple(to_numpy(peaks.indices).T)]
    return _Search(peaks, options, columns, guessed is not None and bool(guessed.any()), fits)


def _heights(frame: Any, peaks: Peaks, background: Any, sigma: Any) -> dict[str, Any]:
    """Return the columns of background, noise and significance: the height by which peaks are ranked."""
    background, sigma = with_defaults(background, sigma)
    if background is None:
        return {}
    at = tuple(to_numpy(peaks.indices).T)
    value, level, noise = (np.broadcast_to(x, frame.shape)[at].astype(np.float64) for x in (frame, background, sigma))
    height = np.where(to_numpy(peaks.flags) & int(PeakFlags.MINIMUM), level - value, value - level)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"background": level, "noise": noise, "significance": height / noise}


def _report(request: Request, found: _Found, errors: Errors) -> None:
    """Write the table and the picture, and print the first rows."""
    from npsubpix._tables import write_table
    from npsubpix.io.tables import peak_columns

    outputs = request.outputs
    peaks, extra = found.peaks(), found.columns()
    files = found.each(found.files) if len(request.images) > 1 or len(set(found.files)) > 1 else None
    columns = peak_columns(peaks, origin=outputs.origin, files=files, columns=extra)
    lines = [_summary(peaks, found, request.images), *_left_out(found)]
    if found.guesses:
        peaks_there = int(np.sum(extra["noise_guessed"]))
        say_guesses(f"{found.guesses} of {len(found.tables)} frames, around {peaks_there} of {len(peaks)} peaks")
    if found.empty is not None and not outputs.quiet:
        image, options = found.empty
        lines += hints_for_no_peaks(image, {**_defaults(), **options})
    lines += _first_rows(columns, len(peaks), 0 if outputs.quiet else outputs.show)
    if outputs.napari:
        columns = peak_columns(peaks, files=files, columns=extra, napari=True)
    metadata = _metadata(request, peaks.ndim, errors)
    for table in outputs.tables:
        with errors.survived():
            if outputs.table_format == "npsubpix":
                write_table(table, columns, metadata, comments=outputs.comments)
                lines.append(f"Wrote {display_name(table)}")
            else:
                lines += export(table, outputs.table_format, found.fits, outputs.pixel_size, metadata)
    for plot in outputs.plots:
        with errors.survived():
            _write_plot(plot, found)
            lines.append(f"Wrote {display_name(plot)}")
    if not outputs.quiet:
        say("\n".join(lines))


def _summary(peaks: Peaks, found: _Found, images: list[Path]) -> str:
    count = len(peaks)
    failed = count - int(to_numpy(peaks.ok).sum())
    failures = f"; {failed} not ok, see flags" if failed else ""
    where = (
        display_name(Path(images[0].name)) if len(images) == 1 else f"{len(set(found.files))} of {len(images)} images"
    )
    frames = f", {len(found.tables)} frames" if found.any_stack else ""
    return f"{count} peak{'' if count == 1 else 's'} in {where}{frames}{failures}"


def _left_out(found: _Found) -> list[str]:
    """Say in how many frames the border holds a higher peak than those of the table."""
    count = sum(bool(table.left_out()) for table in found.tables)
    where = f" of {count} of {len(found.tables)} frames" if found.any_stack else ""
    return [f"A higher peak at the border{where} is left out; --exclude-border false finds it"] if count else []


def _first_rows(columns: dict[str, Any], count: int, show: int) -> list[str]:
    from npsubpix._tables import table_text

    lines = [table_text(columns, show)] if show and count else []
    return [*lines, f"... {count - show} more"] if 0 < show < count else lines


def _metadata(request: Request, ndim: int, errors: Errors) -> dict[str, Any]:
    """Return what a table says of itself: among it all options, those that were not given too."""
    from npsubpix._tables import describe

    options = {**_defaults(), **request.options}
    if request.boxes:
        options["background"] = request.boxes["size"]
        options |= {f"background_{name}": value for name, value in request.boxes.items() if name != "size"}
    options = {name: display_name(value) if isinstance(value, Path) else value for name, value in options.items()}
    metadata = {
        **describe("zyx"[-ndim:], request.outputs.origin),
        "images": [display_name(path) for path in request.images],
        "options": {**options, **request.reading, **_fit_options(request)},
    }
    return {**metadata, "errors": list(errors.messages)} if errors.messages else metadata


def _fit_options(request: Request) -> dict[str, Any]:
    return {} if request.fit is None else {"fit": {name: _described(value) for name, value in request.fit.items()}}


def _described(value: Any) -> str:
    return f"array of shape {value.shape}" if isinstance(value, np.ndarray) else str(value)


def _defaults() -> dict[str, Any]:
    """Return the options of `find_peaks` that can be chosen here, with their defaults."""
    from npsubpix import find_peaks

    arguments = inspect.signature(find_peaks).parameters.values()
    return {p.name: p.default for p in arguments if p.default is not p.empty and p.name != "frame_axis"}


def _write_plot(plot: Path, found: _Found) -> None:
    from npsubpix._tables import ORIGINS, replacing
    from npsubpix.plotting import draw_peaks

    picture, outputs = found.picture, found.outputs
    if picture is None:
        raise ValueError(f"{plot}: not drawn, there is no frame {outputs.plot_frame}; frames are counted from 0")
    figure = draw_peaks(
        picture.image,
        picture.peaks,
        title=picture.title,
        origin=ORIGINS[outputs.origin],
        y_up=picture.y_up if outputs.y_up is None else outputs.y_up,
        style="light" if outputs.light else "dark",
    )
    with replacing(plot) as temporary:
        figure.savefig(temporary, format=plot.suffix[1:].lower())
