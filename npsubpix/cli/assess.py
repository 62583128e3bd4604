"""Command ``npsubpix assess``: compare a table of found positions with one of true ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npsubpix.cli.files import check_overwriting, check_plot_path, display_name
from npsubpix.cli.terminal import Errors, UsageError, say, say_error

__all__ = ["AssessRequest", "assess_and_report"]


@dataclass(frozen=True)
class AssessRequest:
    """Arguments of the command line."""

    found: Path
    truth: Path
    radius: Any
    pixel_size: Any
    every_row: bool
    found_origin: str | None
    truth_origin: str | None
    outputs: list[Path]
    plots: list[Path]
    light: bool
    quiet: bool


def assess_and_report(request: AssessRequest, errors: Errors) -> None:
    """Compare both tables, write and print the numbers."""
    from npsubpix import assess
    from npsubpix._tables import replacing
    from npsubpix.cli.positions import read_positions

    _check(request)
    size = request.pixel_size
    only_ok = not request.every_row
    found = read_positions(request.found, origin=request.found_origin, only_ok=only_ok, pixel_size=size)
    truth = read_positions(request.truth, origin=request.truth_origin, pixel_size=size)
    for note in filter(None, (found.note, truth.note)):
        say_error(note)
    result = assess(
        found.coords,
        truth.coords,
        request.radius,
        frame=found.frame,
        truth_frame=truth.frame,
        coords_std=found.coords_std,
        pixel_size=request.pixel_size,
    )
    lines = [repr(result)]
    if found.n_rejected:
        lines.append(f" {found.n_rejected} rows of {display_name(request.found)} that are not ok are left out")
    numbers = {"found": display_name(request.found), "truth": display_name(request.truth), **result.to_dict()}
    numbers["n_not_ok"] = found.n_rejected
    for output in request.outputs:
        with errors.survived(), replacing(output) as temporary:
            temporary.write_text(json.dumps(_without_nan(numbers), indent=2) + "\n", encoding="utf-8")
            lines.append(f"Wrote {display_name(output)}")
    for plot in request.plots:
        with errors.survived():
            _write_plot(plot, result, request)
            lines.append(f"Wrote {display_name(plot)}")
    if not request.quiet:
        say("\n".join(lines))


def _check(request: AssessRequest) -> None:
    """Refuse arguments that would fail later, before any work is done."""
    from npsubpix._arrays.options import check_lengths
    from npsubpix._tables import check_place

    def length(value: Any) -> int:
        return len(value) if isinstance(value, tuple) else 2

    try:
        check_lengths(request.radius, length(request.radius), "--radius")
        if request.pixel_size is not None:
            check_lengths(request.pixel_size, length(request.pixel_size), "--pixel-size")
        for output in request.outputs:
            if output.suffix.lower() != ".json":
                raise ValueError(f"{output}: the name of a file of numbers must end with .json")
            check_place(output)
        for plot in request.plots:
            check_plot_path(plot)
        check_overwriting([*request.outputs, *request.plots], [request.found, request.truth])
    except ValueError as error:
        raise UsageError(str(error)) from error


def _without_nan(value: Any) -> Any:
    """Return numbers as JSON has them: None for what is not a number."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def _write_plot(path: Path, result: Any, request: AssessRequest) -> None:
    from npsubpix._tables import replacing
    from npsubpix.plotting import plot_assessment

    style = "light" if request.light else "dark"
    figure = plot_assessment(result, title=display_name(Path(request.found.name)), style=style)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower())
