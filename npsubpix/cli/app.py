"""The command line: ``npsubpix locate``, ``blobs``, ``align``, ``drift``, ``simulate``, ``assess``, ``warmup``, etc."""

from __future__ import annotations

import enum
import io
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
    import typer.core
except ModuleNotFoundError as missing:
    raise SystemExit(f"npsubpix: the command line needs {missing.name}: pip install 'npsubpix[app]'") from None

from npsubpix.cli import align_options as align_option
from npsubpix.cli import locate_options as option
from npsubpix.cli.align import AlignRequest, align_and_report
from npsubpix.cli.blobs import blobs
from npsubpix.cli.drift import check_drift, drift, write_moved
from npsubpix.cli.fits import camera_of, check_fit
from npsubpix.cli.info import describe
from npsubpix.cli.locate import Outputs, Request, find_and_report
from npsubpix.cli.options import Debug, Origin, Quiet, given
from npsubpix.cli.reading import Axes, Channel, Hdu, MaxMemory, Series, Volume, reading_options
from npsubpix.cli.simulated import assess, simulate
from npsubpix.cli.terminal import Errors, UsageError, say, say_error
from npsubpix.cli.warm import warmup
from npsubpix.io._source import MAX_MEMORY

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
            help="TIFF, FITS (also .gz, .bz2), OME-Zarr, HDF5 (file.h5::/path), .npy, ND2, CZI, LIF, MRC, PNG, JPEG, "
            "BMP, GIF or WebP files, read in blocks of frames; a folder or a pattern of such files, one per frame; or "
            "the URL of a Zarr store.",
        ),
    ],
    output: option.Output = None,
    plot: option.Plot = None,
    min_distance: option.MinDistance = None,
    threshold: option.Threshold = None,
    threshold_rel: option.ThresholdRel = None,
    background: option.Boxes = None,
    background_method: option.BoxMethod = None,
    background_grow: option.BoxGrow = None,
    background_filter_size: option.BoxFilter = None,
    level: option.Level = None,
    sigma: option.Sigma = None,
    size: option.Size = None,
    exclude_border: option.ExcludeBorder = None,
    num_peaks: option.NumPeaks = None,
    plateau: option.Plateau = None,
    minima: option.Minima = False,
    mask: option.Mask = None,
    detect: option.Detect = None,
    detect_sigma: option.DetectSigma = None,
    refine: option.Refine = None,
    n_iters: option.Iterations = None,
    max_shift: option.MaxShift = None,
    radius: option.Radius = None,
    duplicates: option.Duplicates = None,
    mode: option.Mode = None,
    fit: option.FitSpots = False,
    fit_sigma: option.FitSigma = None,
    fit_box: option.FitBox = None,
    neighbors: option.Neighbors = None,
    fit_model: option.FitModel = None,
    fit_curve: option.FitCurve = None,
    psf: option.Psf = None,
    oversampling: option.Oversampling = None,
    offset: option.Offset = None,
    electrons_per_count: option.ElectronsPerCount = None,
    read_variance: option.ReadVariance = None,
    em_gain: option.EMGain = None,
    channel: Channel = None,
    frames: option.Frames = None,
    volume: Volume = None,
    axes: Axes = None,
    series: Series = None,
    hdu: Hdu = None,
    roi: option.Roi = None,
    workers: option.Workers = None,
    max_memory: MaxMemory = "4GiB",
    resume: option.Resume = False,
    table_format: option.TableFormat = None,
    units: option.Units = None,
    pixel_size: option.PixelSize = None,
    origin: option.FirstPixel = Origin.center,
    napari: option.Napari = False,
    comments: option.Comments = False,
    moved: option.Moved = None,
    plot_frame: option.PlotFrame = None,
    y_up: option.YUp = None,
    light: option.Light = False,
    show: option.Show = 10,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find the peaks of images, to a fraction of a pixel."""
    errors = Errors(debug)
    with errors.last_resort():
        options = given(
            {
                "size": size,
                "min_distance": min_distance,
                "threshold_abs": threshold,
                "threshold_rel": threshold_rel,
                "background": level,
                "sigma": sigma,
                "exclude_border": exclude_border,
                "num_peaks": num_peaks,
                "plateau": plateau,
                "minima": minima,
                "mask": mask,
                "detect": detect,
                "detect_sigma": detect_sigma,
                "refine": refine,
                "n_iters": n_iters,
                "max_shift": max_shift,
                "radius": radius,
                "duplicates": duplicates,
                "mode": mode,
            }
        )
        method, grow, filter_size = background_method, background_grow, background_filter_size
        boxes = given({"size": background, "method": method, "grow": grow, "filter_size": filter_size})
        fits = given(
            {
                "fit_sigma": fit_sigma,
                "fit_box": fit_box,
                "neighbors": neighbors,
                "fit_model": fit_model,
                "fit_curve": fit_curve,
                "psf": psf,
                "oversampling": oversampling,
                "offset": offset,
                "electrons_per_count": electrons_per_count,
                "read_variance": read_variance,
                "em_gain": em_gain,
            }
        )
        if not fit and (camera := camera_of(fits)) is not None:
            options["camera"] = camera
        check_drift(moved, output or [], table_format)
        limit = max(max_memory, MAX_MEMORY)  # of what can only be read at once, as in Python
        reading = reading_options(channel, volume, axes, series, hdu, limit) | {"frames": frames, "whole": False}
        outputs = Outputs(
            output or [],
            plot or [],
            origin.value,
            napari,
            comments,
            plot_frame,
            y_up,
            light,
            show,
            quiet,
            table_format or "npsubpix",
            pixel_size,
            units,
            resume,
        )
        task, checked = "spots" if fit else "peaks", check_fit(fit, fits)
        request = Request(images, options, boxes, reading, outputs, checked, roi, workers, max_memory, task)
        find_and_report(request, errors)
        if moved and output and not errors.messages:
            write_moved(output[0], moved, errors, {}, quiet=quiet)
    raise typer.Exit(1 if errors.messages else 0)


app.command()(blobs)


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
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            show_default=False,
            help="Write the frames, warped to the fixed image: .tif or .zarr.",
        ),
    ] = None,
    table: Annotated[
        list[Path] | None,
        typer.Option(show_default=False, help="Write shifts, matrices and flags: .csv, .parquet, .h5 or .ecsv."),
    ] = None,
    plot: Annotated[
        list[Path] | None,
        typer.Option(
            show_default=False,
            help="Draw the aligned frame that fits worst on the fixed image, before and after (.png, .pdf, .svg).",
        ),
    ] = None,
    light: option.Light = False,
    loss: Annotated[Loss, typer.Option(help="Robust losses count what does not fit less.")] = Loss.least_squares,
    gain_bias: Annotated[
        bool, typer.Option("--gain-bias", help="The brightness differs: find a factor and a constant.")
    ] = False,
    far: Annotated[bool, typer.Option("--far", help="Shifts are large: begin with the phase correlation.")] = False,
    stars: align_option.Stars = False,
    reference: align_option.Reference = "first",
    apply: align_option.Apply = None,
    stack: align_option.Stack = None,
    clip_sigma: align_option.ClipSigma = None,
    y_up: option.YUp = None,
    init: align_option.Init = None,
    method: align_option.Method = None,
    levels: align_option.Levels = None,
    n_iters: align_option.Iterations = None,
    tol: align_option.Tolerance = None,
    mask: align_option.Mask = None,
    moving_mask: align_option.MovingMask = None,
    background: align_option.Background = None,
    around_peaks: align_option.AroundPeaks = None,
    channel: Channel = None,
    axes: Axes = None,
    series: Series = None,
    hdu: Hdu = None,
    max_memory: MaxMemory = "4GiB",
    quiet: Quiet = False,
    debug: Debug = False,
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
            "init": "phase_correlation" if far else "stars" if stars else init,
            **given({"method": method, "levels": levels, "n_iters": n_iters, "tol": tol, "mask": mask}),
            **given({"moving_mask": moving_mask, "background": background, "around_peaks": around_peaks}),
        }
        if far + stars + (init is not None) > 1:
            raise UsageError("--far, --stars and --init exclude each other: each says where to begin")
        if apply is not None and reference != "first":
            raise UsageError("--apply and --reference exclude each other: the table has the transforms")
        reading = reading_options(channel, False, axes, series, hdu, max_memory)  # slices are frames
        request = AlignRequest(
            fixed, moving, output or [], table or [], plot or [], options, reading, quiet, light,
            y_up, reference, apply, stack, clip_sigma,
        )  # fmt: skip
        failed = align_and_report(request, errors)
    raise typer.Exit(1 if errors.messages else 3 if failed else 0)


app.command()(drift)
app.command()(simulate)
app.command()(assess)
app.command()(warmup)


@app.command()
def info() -> None:
    """Print versions, threads, the cache of compiled kernels and the GPU."""
    with Errors(debug=False).last_resort():
        say(describe())


def main() -> None:
    """Run the command line."""
    logging.getLogger().addHandler(logging.NullHandler())  # for what libraries log as the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold what the terminal cannot show
    try:
        app()
    except KeyboardInterrupt:
        say_error("interrupted")
        sys.exit(130)
