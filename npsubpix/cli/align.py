"""Command ``npsubpix align``: read images, align them to the first, write the results."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npsubpix._definitions.flags import AlignmentFlags
from npsubpix.cli.align_outputs import check_output, write_coadded, write_plot, write_warped
from npsubpix.cli.exposures import Exposures, exposures_of
from npsubpix.cli.files import check_overwriting, check_plot_path, display_name, is_among, progress_bar
from npsubpix.cli.shifts import read_shifts
from npsubpix.cli.terminal import Errors, Notes, UsageError, say, say_guesses

if TYPE_CHECKING:
    from npsubpix.alignment import Alignment, Coadd

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
    reading: dict[str, Any]  # arguments of FrameSource
    quiet: bool
    light: bool
    y_up: bool | None = None
    reference: str = "first"
    apply: Path | None = None
    stack: str | None = None
    clip: float | None = None


def align_and_report(request: AlignRequest, errors: Errors) -> int:
    """Align all frames of the moving images to the fixed one, write and print the results, return how many failed."""
    from npsubpix.io._frames import FrameSource

    _check(request)
    with FrameSource(request.fixed, **request.reading) as stack:
        fixed, is_fits = stack.frame(0), stack.file_format == "FITS"
    options = _with_masks(request.options)
    with exposures_of(request.moving, request.reading, errors, Notes(request.quiet)) as exposures:
        if not len(exposures):
            return 0
        if request.apply is not None:
            results = read_shifts(request.apply, len(exposures), fixed.shape)
        else:
            exposures, results = _align_all(request, fixed, exposures, dict(options), errors)
        try:
            if results:
                y_up = is_fits if request.y_up is None else request.y_up
                _report(request, fixed, exposures, results, options.get("moving_mask"), y_up, errors)
        finally:
            exposures.close()
    return sum(not result.ok for result in results)


def _check(request: AlignRequest) -> None:
    from npsubpix._tables import check_table_path

    try:
        _check_numbers(request.options)
        for table in request.tables:
            check_table_path(table)
        for plot in request.plots:
            check_plot_path(plot)
        for output in request.outputs:
            check_output(output, request.stack is not None)
        if request.stack is not None and not request.outputs:
            raise ValueError("--stack needs --output, a .fits file to write the coadded exposures to")
        if request.clip is not None and request.stack != "clip":
            raise ValueError(f"--clip-sigma is of --stack clip, got --stack {request.stack}")
        maps = [value for value in request.options.values() if isinstance(value, Path)]
        maps += [] if request.apply is None else [request.apply]
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
    from npsubpix.io._frames import FrameSource

    masks: dict[str, Any] = {}
    for name in ("mask", "moving_mask"):
        if name in options:
            with FrameSource(options[name]) as stack:
                if stack.count != 1:
                    raise ValueError(f"{stack.path}: has {stack.count} frames; a mask has 1, for all images")
                masks[name] = np.asarray(stack.frame(0)) != 0
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


def _align_all(
    request: AlignRequest, fixed: Any, exposures: Exposures, options: dict[str, Any], errors: Errors
) -> tuple[Exposures, list[Alignment]]:
    """Align the frames, and leave out those that cannot be read, with the rest of their file."""
    from npsubpix.alignment.stacks import Mean, Series

    options = _with_peaks(options, fixed, request.fixed)
    series = Series(fixed, options, chained=request.reference == "previous")
    mean = Mean(fixed) if request.reference == "mean" else None
    passes = 1 if mean is None else 2

    def first(k: int, _: Alignment | None) -> Alignment:
        frame = exposures[k]
        result = series.align(frame)
        if mean is not None:
            mean.add(frame, result)
        return result

    def second(k: int, result: Alignment | None) -> Alignment:
        assert mean is not None
        assert result is not None
        return mean.align(exposures[k], result, options)

    with progress_bar(len(exposures) * passes, request.quiet) as advance:
        results = _of_each(exposures, first, [None] * len(exposures), advance, errors)
        if mean is not None:
            results = _of_each(exposures, second, results, advance, errors)
    bad = {k for k, result in enumerate(results) if result is None}
    return exposures.without(bad), [result for result in results if result is not None]


def _of_each(
    exposures: Exposures,
    aligned: Callable[[int, Alignment | None], Alignment],
    before: list[Alignment | None],
    advance: Callable[[float, str], None],
    errors: Errors,
) -> list[Alignment | None]:
    """Align each frame; None for those that failed before, or cannot be read."""
    results: list[Alignment | None] = []
    broken: set[Path] = set()
    first_pass = all(result is None for result in before)
    for k, place in enumerate(exposures.places):
        results.append(None)
        if place.path in broken or (before[k] is None and not first_pass):
            continue
        with errors.survived():
            try:
                results[-1] = aligned(k, before[k])
            except (TypeError, ValueError, MemoryError) as error:
                broken.add(place.path)
                text = str(error)
                named = text if text.startswith(str(place.path)) else f"{place.path}: {text}"
                raise RuntimeError(named) from error
            except BaseException:
                broken.add(place.path)
                raise
        advance(1, f"{place.path.name} {place.number + 1}")
    return results


def _report(
    request: AlignRequest,
    fixed: Any,
    exposures: Exposures,
    results: list[Alignment],
    moving_mask: Any,
    y_up: bool,
    errors: Errors,
) -> None:
    from npsubpix._tables import table_text, write_table

    columns = _columns(exposures, results)
    shown = {name: columns[name] for name in _SHOWN}
    shown |= {name: np.round(shown[name], 5) + 0.0 for name in _SHOWN[2:-1]}
    many, failed = len(results), sum(not result.ok for result in results)
    lines = [f"{many} image{'' if many == 1 else 's'} aligned to {display_name(Path(request.fixed.name))}"]
    lines[0] += f"; {failed} failed, see flags" if failed else ""
    lines.append(table_text(shown, many))
    poor = any(result.flags & AlignmentFlags.POOR_FIT for result in results)
    if poor and request.options.get("init") is None and request.apply is None:
        lines.append("Where the fit is poor, the shift may be larger than is searched: --far finds larger ones")
    for table in request.tables:
        with errors.survived():
            write_table(table, columns, _metadata(request))
            lines.append(f"Wrote {display_name(table)}")
    if request.stack is not None:
        with errors.survived():
            lines += _write_stack(request, exposures, results, fixed.shape, moving_mask)
    else:
        chosen = {name: request.reading[name] for name in ("axes", "series")}
        for output in request.outputs:
            with errors.survived():
                write_warped(output, request.fixed, exposures, results, fixed.shape, chosen)
                lines.append(f"Wrote {display_name(output)}")
    for plot in request.plots:
        with errors.survived():
            lines.append(write_plot(plot, fixed, exposures, results, y_up, "light" if request.light else "dark"))
    if not request.quiet:
        say("\n".join(lines))


def _write_stack(
    request: AlignRequest, exposures: Exposures, results: list[Alignment], shape: tuple[int, ...], mask: Any
) -> list[str]:
    """Coadd the exposures, and return lines about it."""
    from npsubpix.alignment import coadd

    assert request.stack is not None
    options: dict[str, Any] = {} if request.clip is None else {"sigma": request.clip}
    memory = request.reading["max_memory"]
    height, width = shape
    result: Coadd = coadd(
        exposures, results, method=request.stack, shape=(height, width), mask=mask, max_memory=memory, **options
    )
    used = int(result.used.sum())
    if not used:
        raise RuntimeError(f"{request.outputs[0]}: not written: no exposure was aligned")
    names = [place.path for place in exposures.places]
    write_coadded(request.outputs, result, request.stack, request.fixed, request.reading["hdu"], names)
    least, most = int(result.coverage.min()), int(result.coverage.max())
    text = f"{request.stack} of {used} of {len(names)} exposures, {least} to {most} at a pixel"
    if request.stack == "clip":
        text += f", {int(result.rejected.sum())} values rejected"
    if not is_among(request.fixed, request.moving):
        text += f"; {display_name(Path(request.fixed.name))} itself is not among them"
    return [f"Wrote {display_name(output)}: {text}" for output in request.outputs]


def _columns(exposures: Exposures, results: list[Alignment]) -> dict[str, Any]:
    """Return one row per frame: displacement of the centre, angle, scale, and the matrix."""
    matrices = np.array([result.matrix for result in results])
    shifts, errors = (np.array([getattr(result, name) for result in results]) for name in ("shift", "shift_std"))
    columns: dict[str, Any] = {
        "file": np.array([display_name(place.path) for place in exposures.places], dtype=object),
        "frame": np.array([place.number for place in exposures.places], np.int64),
        "dy": shifts[:, 0],
        "dx": shifts[:, 1],
        "dy_error": errors[:, 0],
        "dx_error": errors[:, 1],
        "angle": np.array([math.degrees(result.angle) for result in results]),
        "scale": np.array([result.scale for result in results]),
    }
    for name in ("rms", "noise", "correlation", "overlap", "n_iters", "gain", "bias"):
        columns[name] = np.array([getattr(result, name) for result in results])
    columns["ok"] = np.array([result.ok for result in results], bool)
    columns["flags"] = np.array([int(result.flags) for result in results], np.int32)
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
        "reference": request.reference,
        **({} if request.apply is None else {"apply": display_name(request.apply)}),
        "options": {**options, **request.reading},
    }
