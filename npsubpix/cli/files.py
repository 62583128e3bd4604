"""Files that commands write, and how long it takes."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

__all__ = ["check_overwriting", "check_plot_path", "display_name", "is_among", "progress_bar"]


def check_plot_path(plot: Path) -> None:
    """Refuse a place or a format that a picture cannot be written in."""
    from npsubpix._tables import check_place
    from npsubpix.plotting import PLOT_FORMATS

    if plot.suffix.lower() not in PLOT_FORMATS:
        raise ValueError(f"{plot}: unknown format {plot.suffix!r}; the name must end with {', '.join(PLOT_FORMATS)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError(f"{plot}: pictures need matplotlib: pip install 'npsubpix[app]'")
    check_place(plot)


def check_overwriting(outputs: Sequence[Path | None], images: Sequence[Path]) -> None:
    """Refuse to write where an image is read from."""
    for place in outputs:
        if place is not None and place.is_file() and is_among(place, images):
            raise ValueError(f"{place}: is an image to read, and would be overwritten")


def is_among(file: Path, images: Sequence[Path]) -> bool:
    """Say whether a file is read where images are: as one of them, in a folder, by a pattern, or before ``::``."""
    from npsubpix.io._formats import files_named, is_image

    paths = itertools.chain.from_iterable(map(files_named, images))
    return any(_is_same(file, path) or (_is_same(file.parent, path) and is_image(file)) for path in paths)


def _is_same(place: Path, path: Path) -> bool:
    try:
        return place.samefile(path)
    except OSError:
        return False


def display_name(path: Path) -> str:
    """Return the name of a file as text that every format can hold."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def progress_bar(total: int, quiet: bool, unit: str = "") -> Iterator[Callable[[float, str], None]]:
    """Show a progress bar on standard error, if that is a terminal: with the rate in units, and the time left."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    rate = [TextColumn("{task.fields[rate]}")] if unit else []
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), *rate, TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total, rate="")

        def advance(step: float, text: str) -> None:
            progress.update(task, advance=step, description=escape(text))
            speed = progress.tasks[0].speed
            if unit and speed is not None:
                progress.update(task, rate=f"{speed:,.0f} {unit}/s" if speed >= 10 else f"{speed:.2g} {unit}/s")

        yield advance
