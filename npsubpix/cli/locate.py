"""Commands ``npsubpix locate`` and ``npsubpix blobs``: find what is in images, write and print the table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npsubpix._definitions.refinement import WITH_RADIUS
from npsubpix.cli.checks import check_numbers
from npsubpix.cli.exports import check_export, check_tables, export
from npsubpix.cli.files import check_overwriting, check_plot_path, display_name, progress_bar
from npsubpix.cli.maps import MAPS, maps_of
from npsubpix.cli.report import report, state_of
from npsubpix.cli.rows import Best, Layout, NoFiles, Rows
from npsubpix.cli.terminal import Errors, Notes, UsageError, say_error

if TYPE_CHECKING:
    from npsubpix.io._frames import FrameSource

__all__ = ["Image", "Outputs", "Request", "Run", "find_and_report"]


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
    unit: str | None = None
    resume: bool = False


@dataclass(frozen=True)
class Request:
    """Arguments of the command line."""

    images: list[Path]
    options: dict[str, Any]  # arguments of find_peaks, or of find_blobs; images are paths
    boxes: dict[str, Any]  # arguments of local_background; empty if it is not wanted
    reading: dict[str, Any]  # arguments of FrameSource
    outputs: Outputs
    fit: dict[str, Any] | None = None  # arguments of fit_spots, if spots are to be fitted
    roi: tuple[slice, ...] | None = None
    workers: int | None = None
    max_memory: int = 2**30  # of `npsubpix.locate`; that of `reading` is for what can only be read at once
    task: str = "peaks"  # of `npsubpix.locate`; "spots" if spots are to be fitted


@dataclass(frozen=True)
class Image:
    """An image of the command, as it was when the command began."""

    path: Path
    first: int  # number of its first frame among those of all images
    count: int
    frame_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_stack: bool
    is_folder: bool
    file_format: str
    sizes: dict[str, Any]  # what the metadata say of it
    lengths: tuple[float, ...] | None  # size of a pixel in the unit that columns are wanted in
    wcs: Any
    fingerprint: dict[str, Any]


@dataclass
class Run:
    """What is found: images that could be opened, their rows, and the frame with most of them."""

    request: Request
    images: list[Image]
    out: Any
    best: Best = field(default_factory=Best)
    searched: set[int] = field(default_factory=set)  # images of which rows were written
    is_complete: bool = True


def find_and_report(request: Request, errors: Errors) -> None:
    """Find the peaks of all images, then write and print the table."""
    _check(request)
    images = _images(request, errors)
    if not images:
        return
    with _output(request, images) as out:
        run = Run(request, images, out)
        for note in (*out.notes, *_resumed(request.outputs, out)):
            say_error(f"note: {note}")
        try:
            _find_all(run, errors)
            report(run, errors)
        except KeyboardInterrupt:
            if not request.outputs.tables or not out.done:
                raise
            frames = "1 frame" if out.done == 1 else f"{out.done} frames"
            raise KeyboardInterrupt(
                f"interrupted; the rows of {frames} are safe, and --resume goes on from them"
            ) from None


def _resumed(outputs: Outputs, out: Any) -> list[str]:
    """Say where a run goes on, or that there is none to go on with."""
    if not outputs.resume or outputs.quiet:
        return []
    if out.done:
        return [f"the rows of {out.done} frames are safe already: goes on from there"]
    return [f"no stopped run of {display_name(outputs.tables[0])} is found to resume: starts anew"]


# --- arguments


def _check(request: Request) -> None:
    """Refuse arguments that would fail later, before any work is done."""
    outputs = request.outputs
    try:
        check_numbers(request.options, request.task)
        _check_background(request)
        _check_needs(request)
        check_export(outputs.table_format, request.fit, outputs.pixel_size, _unused(outputs), outputs.unit)
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
    options = {
        "--napari": outputs.napari,
        "--comments": outputs.comments,
        "--origin": outputs.origin != "center",
        "--units": outputs.unit is not None,
    }
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
    """Refuse options that would have no effect, or exclude each other."""
    outputs = request.outputs
    if "radius" in request.options and request.options.get("refine") not in WITH_RADIUS:
        *methods, last = sorted(WITH_RADIUS)
        raise ValueError(f"--radius needs --refine {', '.join(methods)} or {last}")
    if outputs.plot_frame is not None and not outputs.plots:
        raise ValueError("--plot-frame needs --plot")
    if outputs.resume and not outputs.tables:
        raise ValueError("--resume needs --output: rows are safe where they are written")
    if request.reading.get("frames") is not None and request.reading.get("volume"):
        raise ValueError("--frames and --volume exclude each other: a volume has no axis of frames")


# --- images


def _images(request: Request, errors: Errors) -> list[Image]:
    """Open each image, say how it is read, and return what is needed to know of all before the first is searched."""
    from npsubpix.io._frames import FrameSource
    from npsubpix.io._source import check_size

    notes = Notes(request.outputs.quiet)
    images: list[Image] = []
    first = 0
    for path in request.images:
        with errors.survived(), FrameSource(path, **request.reading) as source, maps_of(source, request):
            if request.outputs.plots:
                thing = "a frame, which --plot draws as a whole,"
                check_size(path, thing, source.frame_shape, source.dtype, request.max_memory)
            image = _described(source, first, request.outputs)
            notes.say(source)
            images.append(image)
            first += source.count
    return images


def _described(source: FrameSource, first: int, outputs: Outputs) -> Image:
    from npsubpix.movies.columns import celestial_of, sizes_of

    axes = "zyx"[-len(source.frame_shape) :]
    sizes = sizes_of(source) | ({"first_pixel": source.first_pixel} if source.first_pixel else {})
    if outputs.unit is not None and outputs.pixel_size is not None:
        sizes["pixel_size"] = {axis: (size, "nm") for axis, size in zip(axes, _each(outputs, axes), strict=True)}
    return Image(
        path=source.path,
        first=first,
        count=source.count,
        frame_shape=source.frame_shape,
        dtype=source.dtype,
        is_stack=source.is_stack,
        is_folder=source.file_per_frame,
        file_format=source.file_format,
        sizes=sizes,
        lengths=_lengths(sizes, axes, outputs.unit, source.path),
        wcs=celestial_of(source),
        fingerprint=source.fingerprint(),
    )


def _each(outputs: Outputs, axes: str) -> tuple[float, ...]:
    """Return --pixel-size along each axis."""
    from npsubpix._arrays.options import check_lengths

    return check_lengths(outputs.pixel_size, len(axes), "--pixel-size")


def _lengths(sizes: dict[str, Any], axes: str, unit: str | None, path: Path) -> tuple[float, ...] | None:
    if unit is None:
        return None
    from npsubpix.movies.columns import lengths_of

    try:
        return lengths_of(sizes.get("pixel_size", {}), axes, unit, str(path))
    except ValueError as error:
        raise ValueError(f"{error}; --pixel-size says it") from error


# --- the search


@contextlib.contextmanager
def _output(request: Request, images: list[Image]) -> Iterator[Any]:
    """Open the files of the table; without any, rows are counted and the first ones kept."""
    from npsubpix._tables import picasso, write_pieces
    from npsubpix.movies.outputs import Dataset, TableFiles, is_dataset

    outputs = request.outputs
    if not outputs.tables:
        yield NoFiles(outputs.show)
        return
    about: Any = {"resume": outputs.resume, "state": state_of(request, images)}
    if outputs.table_format != "npsubpix":
        about |= {"write": lambda path, rows, about: export(path, outputs, request.fit, images, rows, about)}
        about |= {"check": lambda path: check_tables([path], outputs.table_format)}
        about["beside"] = (lambda path: [picasso.beside(path)]) if outputs.table_format == "picasso" else lambda _: []
    elif is_dataset(outputs.tables[0]):
        with Dataset(outputs.tables[0], **about) as dataset:
            yield dataset
        return
    else:
        about["write"] = lambda path, rows, metadata: write_pieces(
            path, _as_points(rows) if outputs.napari else rows, metadata, comments=outputs.comments
        )
    with TableFiles(outputs.tables, **about) as files:
        yield files


def _as_points(rows: Any) -> Any:
    from npsubpix._tables.columns import as_points

    def numbered() -> Iterator[Any]:
        first = 0
        for piece in rows.read():
            yield as_points(piece, "zyx", first)
            first += len(next(iter(piece.values())))

    empty = {name: np.empty(0, dtype) for name, dtype in rows.dtypes.items()}
    dtypes = {name: column.dtype for name, column in as_points(empty, "zyx").items()}
    return type(rows)(dtypes, rows.length, rows.texts, numbered)


def _layout(run: Run) -> Layout:
    images, outputs = run.images, run.request.outputs
    return Layout(
        axes="zyx"[-len(images[0].frame_shape) :],
        origin=outputs.origin,
        with_file=len(run.request.images) > 1 or images[0].is_folder,
        with_frame=any(image.is_stack for image in images),
        with_sky=any(image.wcs is not None for image in images),
        unit=outputs.unit,
        exported=outputs.table_format != "npsubpix",
    )


def _find_all(run: Run, errors: Errors) -> None:
    """Search all images, and go on to the next after one that breaks."""
    from npsubpix.io import OutputError

    layout = _layout(run)
    if run.out.done and run.request.outputs.plots:
        _see_earlier_blocks(run)
    total = sum(image.count for image in run.images)
    with progress_bar(total, run.request.outputs.quiet, "frames") as advance:
        for number, image in enumerate(run.images):
            rows = _rows(run, layout, number)
            advance(rows.done, image.path.name)
            if rows.done == image.count:
                run.searched.add(number)
                continue
            try:
                _find(run, rows, image, advance)
            except OutputError:
                raise
            except Exception as error:
                run.is_complete = False
                own = isinstance(error, ImportError) or str(image.path) in str(error)
                errors.report(error if own else _named(image.path, error))
            if rows.done:
                run.searched.add(number)


def _named(path: Path, error: Exception) -> RuntimeError:
    """Name the image in an error."""
    named = RuntimeError(f"{path}: {error}")
    named.__cause__ = error
    return named


def _rows(run: Run, layout: Layout, number: int) -> Rows:
    image = run.images[number]
    return Rows(run.out, layout, image, run.best, number)


def _see_earlier_blocks(run: Run) -> None:
    """Count the peaks of each frame of a run that is resumed."""
    for first, last, columns in run.out.blocks():
        number = max(k for k, image in enumerate(run.images) if image.first <= first)
        own = run.images[number].first if run.request.outputs.table_format == "npsubpix" else 0
        frame = columns.get("frame", np.zeros(len(columns["ok"]), np.int64))
        run.best.see(number, first - run.images[number].first, np.bincount(frame + own - first, minlength=last - first))


def _find(run: Run, rows: Rows, image: Image, advance: Callable[[float, str], None]) -> None:
    """Search one image."""
    import npsubpix
    from npsubpix.io._frames import FrameSource

    request = run.request
    before: float = rows.done

    def progress(done: float, count: int) -> None:
        nonlocal before
        advance(done - before, f"{image.path.name} {int(done)}/{count}")
        before = done

    with FrameSource(image.path, **request.reading) as source, maps_of(source, request) as maps:
        rows.file_of = source.file_of
        npsubpix.locate(
            source,
            task=request.task,
            frames="t" if source.is_stack else False,
            roi=request.roi,
            output=rows,
            executor=request.workers,
            max_memory=request.max_memory,
            progress=progress,
            **search_options(request, maps),
        )


def search_options(request: Request, maps: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `npsubpix.locate`."""
    options = {name: value for name, value in request.options.items() if name not in MAPS} | maps
    if request.boxes:
        options["background"] = dict(request.boxes)
    return options if request.fit is None else {**options, "fit": request.fit}
