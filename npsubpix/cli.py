"""The command line: ``npsubpix locate`` and ``npsubpix info``."""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import enum
import importlib.metadata
import importlib.util
import io
import logging
import os
import platform
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

try:
    import typer
    import typer.core
except ModuleNotFoundError as missing:
    raise SystemExit(f"npsubpix: the command line needs {missing.name}: pip install 'npsubpix[app]'") from None
import numpy as np

if TYPE_CHECKING:
    from npsubpix._results import Peaks

__all__ = ["app", "main"]


class _Group(typer.core.TyperGroup):
    """The commands; an error in the arguments is one line, as all errors are."""

    def main(self, args: Any = None, **extra: Any) -> Any:  # type: ignore[override]  # it varies with releases
        args = list(sys.argv[1:] if args is None else args) or ["--help"]
        if not extra.pop("standalone_mode", True):
            return super().main(args, standalone_mode=False, **extra)
        try:
            code = super().main(args, standalone_mode=False, **extra)
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            _say_error(f"{error.format_message()} (see npsubpix --help)")
            code = getattr(error, "exit_code", 2)
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    name="npsubpix",
    cls=_Group,
    help="Sub-pixel measurement: find peaks in images and say where they are.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Refine(enum.Enum):
    """Methods of refinement."""

    quadratic = "quadratic"
    parabola = "parabola"
    centroid = "centroid"
    none = "none"


class Plateau(enum.Enum):
    """What to report of plateaus."""

    drop = "drop"
    first = "first"
    centroid = "centroid"


class Origin(enum.Enum):
    """Origins of coordinates."""

    center = "center"
    corner = "corner"
    fits = "fits"


def _show_version(wanted: bool) -> None:
    if wanted:
        from npsubpix import __version__

        typer.echo(f"npsubpix {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Sub-pixel measurement: find peaks in images and say where they are."""


@app.command()
def locate(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE...",
            show_default=False,
            help="TIFF, FITS (also .gz, .bz2), PNG, JPEG or .npy files. Three axes are a stack, read frame by frame.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the table: .csv, .parquet, .h5 or .ecsv.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the peaks on the image (.png, .pdf, .svg, .jpg): the first frame of the first image."),
    ] = None,
    min_distance: Annotated[
        float | None, typer.Option(help="Least distance between two peaks, in pixels; the stronger one stays.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Only peaks above this value.")] = None,
    threshold_rel: Annotated[
        float | None, typer.Option(help="Only peaks above this fraction of the greatest value of their frame.")
    ] = None,
    size: Annotated[int, typer.Option(help="Length of the window in which a peak is the greatest, in pixels.")] = 3,
    num_peaks: Annotated[int | None, typer.Option(help="At most this many peaks a frame, the strongest.")] = None,
    plateau: Annotated[
        Plateau, typer.Option(help="What to report of a plateau, as a saturated spot is.")
    ] = Plateau.drop,
    minima: Annotated[bool, typer.Option("--minima", help="Find minima too.")] = False,
    refine: Annotated[Refine, typer.Option(help="How positions are refined.")] = Refine.quadratic,
    radius: Annotated[float, typer.Option(help="Radius of the window of --refine centroid, in pixels.")] = 3.0,
    channel: Annotated[
        int | None,
        typer.Option(
            help="Channel of a colour image, from 0. Without it, the mean of red, green and blue; alpha is dropped.",
            show_default=False,
        ),
    ] = None,
    volume: Annotated[bool, typer.Option("--volume", help="Three axes are one volume, not a stack of frames.")] = False,
    hdu: Annotated[
        int | None, typer.Option(help="HDU of a FITS file, from 0. Without it, the first image.", show_default=False)
    ] = None,
    origin: Annotated[
        Origin, typer.Option(help="First pixel: its centre is 0, its outer corner is 0, or its centre is 1 (fits).")
    ] = Origin.center,
    show: Annotated[int, typer.Option(help="How many rows to print.", min=0)] = 10,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
) -> None:
    """Find the peaks of images, to a fraction of a pixel."""
    errors = _Errors(debug)
    with errors.last_resort():
        options = {
            "size": size,
            "min_distance": min_distance,
            "threshold_abs": threshold,
            "threshold_rel": threshold_rel,
            "num_peaks": num_peaks,
            "plateau": plateau.value,
            "minima": minima,
            "refine": None if refine is Refine.none else refine.value,
            "radius": radius,
        }
        reading = {"channel": channel, "volume": volume, "hdu": hdu}
        _check(images, output, plot, options)
        found = _Found(with_picture=plot is not None)
        _find_all(images, options, reading, found, errors, quiet)
        if found.tables:
            _report(
                found, images, output, plot, {**options, **reading}, origin.value, 0 if quiet else show, quiet, errors
            )
    raise typer.Exit(1 if errors.messages else 0)


@app.command()
def info() -> None:
    """Print versions, threads, the cache of compiled kernels and the GPU."""
    errors = _Errors(debug=False)
    with errors.last_resort():
        lines = {**_versions(), **_machine()}
        width = max(map(len, lines))
        _say("\n".join(f"{name:<{width}}  {text}" for name, text in lines.items()))


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold what the terminal cannot show
    try:
        app()
    except KeyboardInterrupt:
        _say_error("interrupted")
        sys.exit(130)


def _say(text: str) -> None:
    """Print, and find out now whether that is possible, not when the interpreter exits."""
    try:
        typer.echo(text)
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):  # what is left in the buffer would raise again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _say_error(text: str) -> None:
    typer.echo(f"npsubpix: {' '.join(text.split())}", err=True)


class _Errors:
    """Count errors, and report each on one line."""

    def __init__(self, debug: bool) -> None:
        self.debug = debug
        self.messages: list[str] = []

    def report(self, error: Exception) -> None:
        if self.debug:
            traceback.print_exception(error)
        if isinstance(error, MemoryError):
            message = f"not enough memory: {error}"
        elif isinstance(error, ModuleNotFoundError):
            message = f"{error.name} is missing: pip install 'npsubpix[app]'"
        else:
            message = str(error) or type(error).__name__
        self.messages.append(" ".join(message.split()))
        _say_error(message)

    @contextlib.contextmanager
    def survived(self) -> Iterator[None]:
        """Report an error and go on behind the block: what fails must not lose what succeeds."""
        try:
            yield
        except Exception as error:
            self.report(error)

    @contextlib.contextmanager
    def last_resort(self) -> Iterator[None]:
        """Report an error and exit; keep what libraries warn of and log from the terminal."""
        silence = logging.NullHandler()
        logging.getLogger().addHandler(silence)
        try:
            with warnings.catch_warnings():
                if not self.debug:
                    warnings.simplefilter("ignore")
                yield
        except typer.Exit:
            raise
        except KeyboardInterrupt:
            _say_error("interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # the reader of a pipe has seen enough
            raise typer.Exit(1) from None
        except Exception as error:
            self.report(error)
            raise typer.Exit(2 if isinstance(error, _UsageError) else 1) from None
        finally:
            logging.getLogger().removeHandler(silence)


class _UsageError(ValueError):
    """Options that cannot be carried out."""


def _check(images: list[Path], output: Path | None, plot: Path | None, options: dict[str, Any]) -> None:
    """Refuse before any work what would fail after it."""
    from npsubpix._checks import check_count, check_finite, check_lengths, check_positive
    from npsubpix.io.tables import check_place, check_table_path
    from npsubpix.plotting import PLOT_FORMATS

    try:
        check_count(options["size"], "--size", 1)
        check_positive(check_finite(options["radius"], "--radius"), "--radius")
        if options["num_peaks"] is not None:
            check_count(options["num_peaks"], "--num-peaks")
        if options["min_distance"] is not None:
            check_lengths(options["min_distance"], 2, "--min-distance")
        for name, option in (("threshold_abs", "--threshold"), ("threshold_rel", "--threshold-rel")):
            if options[name] is not None:
                check_finite(options[name], option)
        if output is not None:
            check_table_path(output)
        if plot is not None:
            if plot.suffix.lower() not in PLOT_FORMATS:
                raise ValueError(
                    f"{plot}: unknown format {plot.suffix!r}; the name must end with {', '.join(PLOT_FORMATS)}"
                )
            if importlib.util.find_spec("matplotlib") is None:
                raise ValueError(f"{plot}: pictures need matplotlib: pip install 'npsubpix[app]'")
            check_place(plot)
        for path in images:
            if any(place is not None and place.exists() and _is_same(place, path) for place in (output, plot)):
                raise ValueError(f"{path}: is an image to read, and would be overwritten")
    except ValueError as error:
        raise _UsageError(str(error)) from error


def _is_same(place: Path, path: Path) -> bool:
    try:
        return place.samefile(path)
    except OSError:
        return False


@dataclass
class _Found:
    """What has been found so far: a table a frame, and where it is from."""

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
        self.files.append(_name(path))

    def peaks(self) -> Peaks:
        """Join the tables."""
        from npsubpix._results import Peaks

        coords, values, indices, flags = (
            np.concatenate([getattr(table, name) for table in self.tables])
            for name in ("coords", "values", "indices", "flags")
        )
        return Peaks(coords, values, indices, flags, self.each(self.frames) if self.any_stack else None)

    def each(self, values: list[Any]) -> Any:
        """Repeat a value a table for each of its rows."""
        kind = object if values and isinstance(values[0], str) else np.int64
        return np.repeat(np.array(values, dtype=kind), [len(table) for table in self.tables])


def _name(path: Path) -> str:
    """Return the name of a file as text that every format can hold."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _find_all(
    images: list[Path],
    options: dict[str, Any],
    reading: dict[str, Any],
    found: _Found,
    errors: _Errors,
    quiet: bool,
) -> None:
    from npsubpix import find_peaks
    from npsubpix.io.images import open_frames

    with _progress(len(images), quiet) as advance:
        for path in images:
            with errors.survived(), open_frames(path, **reading) as stack:
                for number, frame in enumerate(stack.frames):
                    try:
                        peaks = find_peaks(frame, **options)
                    except (TypeError, ValueError, MemoryError) as error:
                        raise RuntimeError(f"{path}: {error}") from error
                    found.add(path, number, stack.is_stack, frame, peaks)
                    advance(1 / stack.count, f"{path.name} {number + 1}/{stack.count}")


@contextlib.contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[float, str], None]]:
    """Show a progress bar on standard error, if that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda step, text: progress.update(task, advance=step, description=escape(text))


def _report(
    found: _Found,
    images: list[Path],
    output: Path | None,
    plot: Path | None,
    options: dict[str, Any],
    origin: str,
    show: int,
    quiet: bool,
    errors: _Errors,
) -> None:
    """Write the table and the picture, and print the first rows."""
    from npsubpix.io.tables import peak_columns, table_text, write_table

    peaks = found.peaks()
    columns = peak_columns(peaks, origin=origin, files=found.each(found.files) if len(images) > 1 else None)
    lines = [_summary(len(peaks), found, images)]
    if show and len(peaks):
        lines.append(table_text(columns, show))
    if 0 < show < len(peaks):
        lines.append(f"... {len(peaks) - show} more")
    if output is not None:
        with errors.survived():
            write_table(output, columns, _metadata(images, peaks.ndim, options, origin, errors))
            lines.append(f"Wrote {_name(output)}")
    if plot is not None:
        with errors.survived():
            _write_plot(plot, found, origin)
            lines.append(f"Wrote {_name(plot)}")
    if not quiet:
        _say("\n".join(lines))


def _summary(count: int, found: _Found, images: list[Path]) -> str:
    where = _name(Path(images[0].name)) if len(images) == 1 else f"{len(set(found.files))} of {len(images)} images"
    frames = f", {len(found.tables)} frames" if found.any_stack else ""
    return f"{count} peak{'' if count == 1 else 's'} in {where}{frames}"


def _metadata(images: list[Path], ndim: int, options: dict[str, Any], origin: str, errors: _Errors) -> dict[str, Any]:
    from npsubpix import __version__
    from npsubpix.io.tables import ORIGINS

    axes = "zyx"[-ndim:]
    metadata = {
        "npsubpix_version": __version__,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "origin": origin,
        "first_pixel_centre": ORIGINS[origin],
        "axes": ", ".join(axes),
        "units": f"pixel ({', '.join(axes)})",
        "indices": "pixels from 0",
        "images": [_name(path) for path in images],
        "options": options,
    }
    return {**metadata, "errors": list(errors.messages)} if errors.messages else metadata


def _write_plot(plot: Path, found: _Found, origin: str) -> None:
    from npsubpix.io.tables import ORIGINS, replacing
    from npsubpix.plotting import draw_peaks

    peaks = found.tables[0]
    frame = f", frame {found.frames[0]}" if found.any_stack else ""
    title = f"{len(peaks)} peaks in {_name(Path(Path(found.files[0]).name))}{frame}"
    figure = draw_peaks(found.picture, peaks, title=title, origin=ORIGINS[origin])
    with replacing(plot) as temporary:
        figure.savefig(temporary, format=plot.suffix[1:].lower())


def _versions() -> dict[str, str]:
    """Look up what is installed, without importing it: torch alone takes seconds."""
    from npsubpix import __version__

    versions = {"npsubpix": __version__, "Python": platform.python_version()}
    for name in ("numpy", "numba", "scipy", "torch", "cupy", "cupy-cuda12x", "cupy-cuda13x"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _machine() -> dict[str, str]:
    import numba

    from npsubpix._cpu._cache import cache_directory

    threads = numba.get_num_threads()  # this chooses the layer
    try:
        layer = numba.threading_layer()
    except ValueError:
        layer = f"not chosen yet ({numba.config.THREADING_LAYER})"
    return {
        "threads": str(threads),
        "threading layer": layer,
        "cache": str(cache_directory() or "off"),
        "GPU": ", ".join(_gpus()) or "none found",
    }


def _gpus() -> list[str]:
    """Ask the driver, which is there without any library for GPUs, or is not."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        count = ctypes.c_int()
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return []
        names = [ctypes.create_string_buffer(256) for _ in range(count.value)]
        for device, name in enumerate(names):
            driver.cuDeviceGetName(name, len(name), device)
        return [name.value.decode() for name in names]
    except (OSError, AttributeError):
        return []
