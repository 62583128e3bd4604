"""What ``locate`` and ``blobs`` say of their run: the state for a resume, the metadata, the summary, the pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from npsubpix.cli.files import display_name
from npsubpix.cli.hints import hints_for_no_blobs, hints_for_no_peaks
from npsubpix.cli.maps import maps_of
from npsubpix.cli.terminal import Errors, say, say_guesses

if TYPE_CHECKING:
    from npsubpix.cli.locate import Image, Request, Run

__all__ = ["report", "state_of"]


def state_of(request: Request, images: list[Image]) -> dict[str, Any]:
    """Return all that decides rows, for a resume: images as they are now, and options."""
    import npsubpix

    outputs = request.outputs
    return {
        "version": npsubpix.__version__,
        "images": [image.fingerprint for image in images],
        "task": request.task,
        "options": {**_defaults(request), **{name: _stated(value) for name, value in request.options.items()}},
        "background": _stated(request.boxes),
        "fit": _stated(request.fit),
        "roi": None if request.roi is None else [[part.start, part.stop] for part in request.roi],
        "format": outputs.table_format,
        "origin": outputs.origin,
        "units": outputs.unit,
        "pixel_size": outputs.pixel_size,
    }


def _stated(value: Any) -> Any:
    """Describe an option so that another value has another description."""
    if isinstance(value, dict):
        return {name: _stated(each) for name, each in value.items()}
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "sha256": hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}
    if isinstance(value, Path):
        from npsubpix.io._fingerprints import state_of as state_of_file

        return {**state_of_file(value), "path": display_name(value)}
    return value if value is None or isinstance(value, (bool, int, float, str, tuple)) else repr(value)


def _defaults(request: Request) -> dict[str, Any]:
    """Return the options of `find_peaks` or `find_blobs` that can be chosen here, with their defaults."""
    from npsubpix import find_blobs, find_peaks

    arguments = inspect.signature(find_blobs if request.task == "blobs" else find_peaks).parameters.values()
    return {p.name: p.default for p in arguments if p.default is not p.empty and p.name != "frame_axis"}


def report(run: Run, errors: Errors) -> None:
    """Write the table and the pictures, and print the summary and the first rows."""
    outputs, out = run.request.outputs, run.out
    if not out.counts.get("frames"):
        return
    head = out.head(outputs.show if not outputs.quiet else 0)
    lines = [_summary(run), *_left_out(run)]
    if guessed := out.counts.get("guessed"):
        around = f"around {out.counts.get('guessed_rows', 0)} of {out.counts['rows']} peaks"
        say_guesses(f"{guessed} of {out.counts['frames']} frames, {around}")
    if not out.counts["rows"] and not outputs.quiet and _is_in_memory(run, min(run.searched)):
        with errors.survived():
            lines += _hints(run)
    if outputs.table_format == "npsubpix" and head is not None and not outputs.quiet:
        lines += _first_rows(head, out.counts["rows"], outputs.show)
    with errors.survived():
        out.finish(_metadata(run, errors), complete=run.is_complete)
        lines += [f"Wrote {display_name(table)}" for table in outputs.tables]
    if outputs.plots:
        with errors.survived():
            _write_plots(run, errors, lines)
    if not outputs.quiet:
        say("\n".join(lines))


def _summary(run: Run) -> str:
    counts, images = run.out.counts, run.request.images
    count, failed = counts["rows"], counts["rows"] - counts.get("ok", 0)
    failures = f"; {failed} not ok, see {'flags' if run.request.fit is None else 'fit_flags'}" if failed else ""
    where = display_name(Path(images[0].name)) if len(images) == 1 else f"{len(run.searched)} of {len(images)} images"
    frames = f", {counts['frames']} frames" if any(image.is_stack for image in run.images) else ""
    return f"{_counted(run, count)} in {where}{frames}{failures}"


def _counted(run: Run, count: int) -> str:
    """Return a number of peaks or blobs."""
    noun = "blob" if run.request.task == "blobs" else "peak"
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _left_out(run: Run) -> list[str]:
    """Say in how many frames the border holds a higher peak than those of the table."""
    count = run.out.counts.get("border", 0)
    is_stack = any(image.is_stack for image in run.images)
    where = f" of {count} of {run.out.counts['frames']} frames" if is_stack else ""
    return [f"A higher peak at the border{where} is left out; --exclude-border false finds it"] if count else []


def _first_rows(columns: dict[str, npt.NDArray[Any]], count: int, show: int) -> list[str]:
    from npsubpix._tables import table_text

    lines = [table_text(columns, show)] if show and count else []
    return [*lines, f"... {count - show} more"] if 0 < show < count else lines


def _is_in_memory(run: Run, number: int) -> bool:
    """Whether a frame of an image may be read as a whole."""
    image = run.images[number]
    return math.prod(image.frame_shape) * image.dtype.itemsize <= run.request.max_memory


def _hints(run: Run) -> list[str]:
    """Return lines on options that would find peaks in the first frame of the first image."""
    from npsubpix.cli.locate import search_options
    from npsubpix.movies.tasks import sought, task_of

    with _frame(run, min(run.searched), 0) as (image, maps):
        options = search_options(run.request, maps)
        options.pop("fit", None)
        part = image if run.request.roi is None else image[run.request.roi]
        if run.request.task == "blobs":
            return hints_for_no_blobs(part, options)
        task = dataclasses.replace(task_of("peaks", {**_defaults(run.request), **options}), with_heights=True)
        _, options, _ = sought(task, part, None)
    return hints_for_no_peaks(part, options)


@contextlib.contextmanager
def _frame(run: Run, number: int, frame: int) -> Iterator[tuple[npt.NDArray[Any], dict[str, Any]]]:
    """Read a frame of an image, and the maps of it."""
    from npsubpix.io._frames import FrameSource

    request = run.request
    with FrameSource(run.images[number].path, **request.reading) as source, maps_of(source, request) as maps:
        whole = tuple(slice(0, n) for n in source.frame_shape)
        image = source.read((slice(frame, frame + 1), *whole))[0] if source.is_stack else source.read(whole)
        yield np.array(image), {name: _of_frame(value, frame, image.ndim) for name, value in maps.items()}


def _of_frame(value: Any, frame: int, ndim: int) -> Any:
    """Read the map of a frame, or the one of all of them; return a number as it is."""
    from npsubpix.movies.maps import StoredMap

    if not isinstance(value, StoredMap):
        return value
    return value[()] if value.ndim == ndim else value[slice(frame, frame + 1)][0]


def _metadata(run: Run, errors: Errors) -> dict[str, Any]:
    """Return what a table says of itself: among it all options, those that were not given too."""
    from npsubpix._tables import describe

    request, images = run.request, run.images
    options = {**_defaults(request), **request.options}
    if request.boxes:
        options["background"] = request.boxes["size"]
        options |= {f"background_{name}": value for name, value in request.boxes.items() if name != "size"}
    options = {name: display_name(value) if isinstance(value, Path) else value for name, value in options.items()}
    if request.fit is not None:
        options["fit"] = {name: _described(value) for name, value in request.fit.items()}
    if request.roi is not None:
        options["roi"] = [[part.start, part.stop] for part in request.roi]
    if request.outputs.unit is not None:
        options["units"] = request.outputs.unit
    reading = {name: value for name, value in request.reading.items() if name != "whole"}
    sizes = images[0].sizes if all(image.sizes == images[0].sizes for image in images) else None
    metadata = {
        **describe("zyx"[-len(images[0].frame_shape) :], request.outputs.origin),
        "images": [display_name(path) for path in request.images],
        "options": {**options, **reading, "max_memory": request.max_memory},
        **(sizes or {"sizes": [image.sizes for image in images]}),
    }
    if any(image.wcs is not None for image in images):
        metadata["ra_dec"] = "ICRS, in degrees"
    return {**metadata, "errors": list(errors.messages)} if errors.messages else metadata


def _described(value: Any) -> str:
    return f"array of shape {value.shape}" if isinstance(value, np.ndarray) else str(value)


# --- pictures


def _write_plots(run: Run, errors: Errors, lines: list[str]) -> None:
    """Draw the frame with most peaks, or the one that was asked for."""
    outputs, best = run.request.outputs, run.best
    number, frame = best.image, best.number
    if outputs.plot_frame is not None:
        having = [k for k in sorted(run.searched) if outputs.plot_frame < run.images[k].count]
        if not having:
            raise ValueError(
                f"{outputs.plots[0]}: not drawn, there is no frame {outputs.plot_frame}; frames are counted from 0"
            )
        number, frame = having[0], outputs.plot_frame
    image, spots = _spots_of(run, number, frame)
    for plot in outputs.plots:
        with errors.survived():
            _write_plot(plot, run, image, spots, number, frame)
            lines.append(f"Wrote {display_name(plot)}")


def _spots_of(run: Run, number: int, frame: int) -> tuple[npt.NDArray[Any], Any]:
    """Read a frame and search it once more."""
    import npsubpix
    from npsubpix.cli.locate import search_options

    request = run.request
    with _frame(run, number, frame) as (image, maps):
        options: dict[str, Any] = {"roi": request.roi, "max_memory": request.max_memory}
        found = npsubpix.locate(image, task=request.task, frames=False, **options, **search_options(request, maps))
        return image, found


def _write_plot(plot: Path, run: Run, image: npt.NDArray[Any], spots: Any, number: int, frame: int) -> None:
    from npsubpix._tables import ORIGINS, replacing
    from npsubpix.plotting import draw_peaks

    outputs, source = run.request.outputs, run.images[number]
    which = f", frame {frame} of 0 to {source.count - 1}" if source.is_stack else ""
    figure = draw_peaks(
        image,
        spots,
        title=f"{_counted(run, len(spots))} in {display_name(Path(source.path.name))}{which}",
        origin=ORIGINS[outputs.origin],
        y_up=source.file_format == "FITS" if outputs.y_up is None else outputs.y_up,
        style="light" if outputs.light else "dark",
    )
    with replacing(plot) as temporary:
        figure.savefig(temporary, format=plot.suffix[1:].lower())
