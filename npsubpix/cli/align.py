"""Command ``npsubpix align``: read images, align them to the first, write the results."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npsubpix._definitions.flags import AlignmentFlags
from npsubpix.cli.files import check_overwriting, check_plot_path, display_name, progress_bar
from npsubpix.cli.terminal import Errors, Notes, UsageError, say, say_guesses

if TYPE_CHECKING:
    from npsubpix.alignment import Alignment

__all__ = ["AlignRequest", "align_and_report"]


_SHOWN = ("file", "frame", "dy", "dx", "dy_error", "dx_error", "angle", "scale", "rms", "correlation", "flag_names")

#: Size of the boxes of the background, and least height of peaks in units of the noise, for `--around-peaks`.
_BOX, _HEIGHT = 64, 5.0


@dataclass(frozen=True)
class AlignRequest:
    """Arguments of the command line."""

    fixed: Path
    moving: list[Path]
    outputs: list[Path]
    tables: list[Path]
    plots: list[Path]
    options: dict[str, Any]  # arguments of align; images are paths
    reading: dict[str, Any]  # arguments of open_frames
    quiet: bool
    light: bool


@dataclass
class _Aligned:
    """Frames aligned so far."""

    results: list[Alignment] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    #: The frame that fits worst, of those that were aligned and are not the fixed image itself: its number among the
    #: results, and its pixels.
    worst: tuple[int, Any] | None = None

    def add(self, path: Path, number: int, frame: Any, result: Alignment, fixed: Any) -> None:
        """Add the next frame."""
        fit = math.inf if self.worst is None else self.results[self.worst[0]].correlation
        if result.ok and result.correlation < fit and not np.array_equal(frame, fixed):
            self.worst = len(self.results), np.array(frame)
        self.results.append(result)
        self.files.append(path)
        self.frames.append(number)

    @property
    def failed(self) -> int:
        """Number of frames that could not be aligned."""
        return sum(not result.ok for result in self.results)


def align_and_report(request: AlignRequest, errors: Errors) -> int:
    """Align all frames of the moving images to the fixed one, write and print the results, return how many failed."""
    from npsubpix.io.images import open_frames

    _check(request)
    with open_frames(request.fixed, **request.reading) as stack:
        fixed = next(iter(stack.frames))
    aligned = _Aligned()
    _align_all(request, fixed, aligned, errors)
    if aligned.results:
        _report(request, fixed, aligned, errors)
    return aligned.failed


def _check(request: AlignRequest) -> None:
    from npsubpix._tables import check_place, check_table_path

    try:
        _check_numbers(request.options)
        for table in request.tables:
            check_table_path(table)
        for plot in request.plots:
            check_plot_path(plot)
        for output in request.outputs:
            if output.suffix.lower() not in (".tif", ".tiff"):
                raise ValueError(f"{output}: the name of warped images must end with .tif or .tiff")
            if importlib.util.find_spec("tifffile") is None:
                raise ValueError(f"{output}: TIFF files need tifffile: pip install 'npsubpix[app]'")
            check_place(output)
        maps = [value for value in request.options.values() if isinstance(value, Path)]
        written = [*request.outputs, *request.tables, *request.plots]
        check_overwriting(written, [request.fixed, *request.moving, *maps])
    except ValueError as error:
        raise UsageError(str(error)) from error


def _check_numbers(options: dict[str, Any]) -> None:
    from npsubpix._arrays.options import check_count, check_finite, check_positive

    for name in ("levels", "n_iters", "background"):
        if name in options:
            check_count(options[name], f"--{name.replace('_', '-')}", 1)
    for name in ("tol", "around_peaks"):
        if name in options:
            option = f"--{name.replace('_', '-')}"
            check_positive(check_finite(options[name], option), option)


def _with_masks(options: dict[str, Any]) -> dict[str, Any]:
    """Read the masks of the fixed image and of the moving ones."""
    from npsubpix.io.images import open_frames

    masks: dict[str, Any] = {}
    for name in ("mask", "moving_mask"):
        if name in options:
            with open_frames(options[name]) as stack:
                if stack.count != 1:
                    raise ValueError(f"{stack.path}: has {stack.count} frames; a mask has 1, for all images")
                masks[name] = np.asarray(next(iter(stack.frames))) != 0
    return {**options, **masks}


def _with_peaks(options: dict[str, Any], fixed: Any, path: Path) -> dict[str, Any]:
    """Find the peaks of the fixed image around which images are compared."""
    from npsubpix import find_peaks, local_background

    radius = options.pop("around_peaks", None)
    if radius is None:
        return options
    background = local_background(fixed, options.get("background", _BOX))
    if background.guessed is not None and background.guessed.any():
        say_guesses(display_name(path))
    peaks = find_peaks(fixed, background=background, threshold_abs=_HEIGHT)
    if len(peaks) == 0:
        raise UsageError(f"{path}: has no peaks {_HEIGHT:g} times the noise above the background")
    return {**options, "around": peaks, "radius": radius}


def _align_all(request: AlignRequest, fixed: Any, aligned: _Aligned, errors: Errors) -> None:
    from npsubpix import align
    from npsubpix.io.images import open_frames

    options = _with_peaks(_with_masks(request.options), fixed, request.fixed)
    notes = Notes(request.quiet)
    with progress_bar(len(request.moving), request.quiet) as advance:
        for path in request.moving:
            with errors.survived(), open_frames(path, **request.reading) as stack:
                notes.say(stack)
                for number, frame in enumerate(stack.frames):
                    try:
                        result = align(fixed, frame, **options)
                    except (TypeError, ValueError, MemoryError) as error:
                        raise RuntimeError(f"{path}: {error}") from error
                    aligned.add(path, number, frame, result, fixed)
                    advance(1 / stack.count, f"{path.name} {number + 1}/{stack.count}")


def _report(request: AlignRequest, fixed: Any, aligned: _Aligned, errors: Errors) -> None:
    from npsubpix._tables import table_text, write_table

    columns = _columns(aligned)
    shown = {name: columns[name] for name in _SHOWN}
    shown |= {name: np.round(shown[name], 5) + 0.0 for name in _SHOWN[2:-1]}
    many = len(aligned.results)
    lines = [f"{many} image{'' if many == 1 else 's'} aligned to {display_name(Path(request.fixed.name))}"]
    lines[0] += f"; {aligned.failed} failed, see flags" if aligned.failed else ""
    lines.append(table_text(shown, many))
    poor = any(result.flags & AlignmentFlags.POOR_FIT for result in aligned.results)
    if poor and request.options.get("init") is None:
        lines.append("Where the fit is poor, the shift may be larger than is searched: --far finds larger ones")
    for table in request.tables:
        with errors.survived():
            write_table(table, columns, _metadata(request))
            lines.append(f"Wrote {display_name(table)}")
    for output in request.outputs:
        with errors.survived():
            _write_warped(output, request, fixed.shape, aligned)
            lines.append(f"Wrote {display_name(output)}")
    for plot in request.plots:
        with errors.survived():
            lines.append(_write_plot(plot, fixed, aligned, "light" if request.light else "dark"))
    if not request.quiet:
        say("\n".join(lines))


def _columns(aligned: _Aligned) -> dict[str, Any]:
    """Return one row per frame: displacement of the centre, angle, scale, and the matrix."""
    results = aligned.results
    matrices = np.array([result.matrix for result in results])
    shifts, errors = (np.array([getattr(result, name) for result in results]) for name in ("shift", "shift_std"))
    columns: dict[str, Any] = {
        "file": np.array([display_name(path) for path in aligned.files], dtype=object),
        "frame": np.array(aligned.frames, np.int64),
        "dy": shifts[:, 0],
        "dx": shifts[:, 1],
        "dy_error": errors[:, 0],
        "dx_error": errors[:, 1],
        "angle": np.array([math.degrees(result.angle) for result in results]),
        "scale": np.array([result.scale for result in results]),
    }
    for name in ("rms", "noise", "correlation", "overlap", "n_iters", "gain", "bias"):
        columns[name] = np.array([getattr(result, name) for result in aligned.results])
    columns["ok"] = np.array([result.ok for result in results], bool)
    columns["flags"] = np.array([int(result.flags) for result in aligned.results], np.int32)
    columns["flag_names"] = np.array([result.flag_names() for result in results], dtype=object)
    return columns | {f"m{i}{j}": matrices[:, i, j] for i in range(3) for j in range(3)}


def _metadata(request: AlignRequest) -> dict[str, Any]:
    from npsubpix import __version__

    options = {
        name: display_name(value) if isinstance(value, Path) else value for name, value in request.options.items()
    }
    return {
        "npsubpix_version": __version__,
        "fixed": display_name(request.fixed),
        "matrix": "m00 to m22 take (y, x, 1) of the fixed image to the moving one, in pixels from 0",
        "units": "dy, dx and their errors: pixel, of the centre of the fixed image; angle: degree",
        "options": {**options, **request.reading},
    }


def _write_warped(output: Path, request: AlignRequest, shape: tuple[int, ...], aligned: _Aligned) -> None:
    """Write each moving frame on the pixels of the fixed image, NaN where it has none or could not be aligned."""
    from npsubpix._tables import replacing
    from npsubpix.io._stacks import calibration_of, write_stack

    chosen = {name: request.reading[name] for name in ("axes", "series")}
    calibration = calibration_of(request.fixed, aligned.files, **chosen)
    with replacing(output) as temporary:
        write_stack(temporary, _warped(request, shape, aligned), len(aligned.results), shape, calibration)


def _warped(request: AlignRequest, shape: tuple[int, ...], aligned: _Aligned) -> Iterator[Any]:
    """Read and warp the frames that were aligned, one after the other."""
    from npsubpix import warp
    from npsubpix.io.images import open_frames

    places = list(zip(aligned.files, aligned.frames, aligned.results, strict=True))
    while places:
        path, left = places[0][0], len(places)
        with open_frames(path, **request.reading) as stack:
            for number, frame in enumerate(stack.frames):
                if places[0][:2] == (path, number):
                    result, pixels = places.pop(0)[2], np.asarray(frame, np.float32)
                    if result.ok:
                        yield warp(pixels, result, shape, method="bspline3", cval=math.nan)
                    else:
                        yield np.full(shape, np.nan, np.float32)
                    if not places or places[0][0] != path or places[0][1] <= number:
                        break  # what follows could not be read the first time either
        if len(places) == left:
            raise RuntimeError(f"{path}: has changed since it was aligned")


def _write_plot(plot: Path, fixed: Any, aligned: _Aligned, style: str) -> str:
    """Draw the frame that fits worst, and return a line about it."""
    from npsubpix._tables import replacing
    from npsubpix.plotting import draw_alignment

    if aligned.worst is None:
        return f"Did not write {display_name(plot)}: no frame was aligned, but for the fixed image itself"
    place, frame = aligned.worst
    result, name = aligned.results[place], display_name(Path(aligned.files[place].name))
    dy, dx = result.shift
    title = f"{name}, frame {aligned.frames[place]}: shift ({dy:.3f}, {dx:.3f}), correlation {result.correlation:.3f}"
    figure = draw_alignment(fixed, frame, result, title=title, style=style)
    with replacing(plot) as temporary:
        figure.savefig(temporary, format=plot.suffix[1:].lower())
    return f"Wrote {display_name(plot)}"
