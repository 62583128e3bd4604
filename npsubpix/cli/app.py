"""The command line: ``npsubpix locate``, ``npsubpix align`` and ``npsubpix info``."""

from __future__ import annotations

import enum
import io
import sys
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
    import typer.core
except ModuleNotFoundError as missing:
    raise SystemExit(f"npsubpix: the command line needs {missing.name}: pip install 'npsubpix[app]'") from None

from npsubpix.cli.align import AlignRequest, align_and_report
from npsubpix.cli.info import describe
from npsubpix.cli.locate import Request, find_and_report
from npsubpix.cli.terminal import Errors, say, say_error

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
            say_error(f"{error.format_message()} (see npsubpix --help)")
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
    """Reports of plateaus."""

    drop = "drop"
    first = "first"
    centroid = "centroid"


class Origin(enum.Enum):
    """Origins of coordinates."""

    center = "center"
    corner = "corner"
    fits = "fits"


class Model(enum.Enum):
    """Families of transforms."""

    translation = "translation"
    euclidean = "euclidean"
    similarity = "similarity"
    affine = "affine"
    homography = "homography"


class Loss(enum.Enum):
    """Loss functions."""

    least_squares = "least_squares"
    huber = "huber"
    tukey = "tukey"


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
    threshold: Annotated[
        float | None, typer.Option(help="Only peaks above this value, or with --background, this many times the noise.")
    ] = None,
    threshold_rel: Annotated[
        float | None, typer.Option(help="Only peaks above this fraction of the greatest value of their frame.")
    ] = None,
    background: Annotated[
        int | None,
        typer.Option(
            help="Measure background and noise in boxes of this many pixels; thresholds are then above the background.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[int, typer.Option(help="Length of the window in which a peak is the greatest, in pixels.")] = 3,
    num_peaks: Annotated[int | None, typer.Option(help="At most this many peaks per frame, the strongest.")] = None,
    plateau: Annotated[Plateau, typer.Option(help="Report of plateaus, such as saturated spots.")] = Plateau.drop,
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
    errors = Errors(debug)
    with errors.last_resort():
        options = {
            "size": size,
            "min_distance": min_distance,
            "threshold_abs": threshold,
            "threshold_rel": threshold_rel,
            "background": background,
            "num_peaks": num_peaks,
            "plateau": plateau.value,
            "minima": minima,
            "refine": None if refine is Refine.none else refine.value,
            "radius": radius,
        }
        reading = {"channel": channel, "volume": volume, "hdu": hdu}
        find_and_report(Request(images, output, plot, options, reading, origin.value, show, quiet), errors)
    raise typer.Exit(1 if errors.messages else 0)


@app.command()
def align(
    fixed: Annotated[
        Path, typer.Argument(metavar="FIXED", show_default=False, help="Image to align to: its first frame.")
    ],
    moving: Annotated[
        list[Path], typer.Argument(metavar="MOVING...", show_default=False, help="Images to align, frame by frame.")
    ],
    model: Annotated[Model, typer.Option(help="Family of transforms.")] = Model.translation,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the frames, warped to the fixed image: .tif.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="Write shifts, matrices and flags: .csv, .parquet, .h5 or .ecsv.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw the aligned frame that fits worst on the fixed image, before and after (.png, .pdf, .svg, .jpg)."
        ),
    ] = None,
    loss: Annotated[Loss, typer.Option(help="Robust losses count what does not fit less.")] = Loss.least_squares,
    gain_bias: Annotated[
        bool, typer.Option("--gain-bias", help="The brightness differs: find a factor and a constant.")
    ] = False,
    far: Annotated[bool, typer.Option("--far", help="Shifts are large: begin with the phase correlation.")] = False,
    background: Annotated[
        int | None,
        typer.Option(help="Subtract the background of each image, in boxes of this many pixels.", show_default=False),
    ] = None,
    around_peaks: Annotated[
        float | None,
        typer.Option(
            help="Compare only pixels within this radius of the peaks of the fixed image, for few spots.",
            show_default=False,
        ),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option(
            help="Channel of a colour image, from 0. Without it, the mean of red, green and blue; alpha is dropped.",
            show_default=False,
        ),
    ] = None,
    hdu: Annotated[
        int | None, typer.Option(help="HDU of a FITS file, from 0. Without it, the first image.", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
) -> None:
    """Find the transforms that put images on another, to a fraction of a pixel.

    The exit status is 3 if an image could not be aligned.
    """
    errors = Errors(debug)
    with errors.last_resort():
        options = {
            "model": model.value,
            "loss": loss.value,
            "gain_bias": gain_bias,
            "init": "phase_correlation" if far else None,
            "background": background,
        }
        reading = {"channel": channel, "hdu": hdu}
        request = AlignRequest(fixed, moving, output, table, plot, options, reading, quiet, around_peaks)
        failed = align_and_report(request, errors)
    raise typer.Exit(1 if errors.messages else 3 if failed else 0)


@app.command()
def info() -> None:
    """Print versions, threads, the cache of compiled kernels and the GPU."""
    with Errors(debug=False).last_resort():
        say(describe())


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold what the terminal cannot show
    try:
        app()
    except KeyboardInterrupt:
        say_error("interrupted")
        sys.exit(130)
