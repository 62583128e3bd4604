"""Command ``npsubpix blobs``: find blobs of any size in images, write and print the table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from npsubpix._definitions.scale_space import SCALE_METHODS
from npsubpix.blobs import find_blobs
from npsubpix.cli import locate_options as option
from npsubpix.cli.locate import Outputs, Request, find_and_report
from npsubpix.cli.options import (
    PER_AXIS,
    Debug,
    Origin,
    Quiet,
    as_border,
    as_number_or_none,
    as_number_or_path,
    as_numbers,
    default,
    given,
    one_of,
)
from npsubpix.cli.reading import Axes, Channel, Hdu, MaxMemory, Series, Volume, reading_options
from npsubpix.cli.terminal import Errors
from npsubpix.io._source import MAX_MEMORY

__all__ = ["blobs"]


def _of(argument: str, text: str, *names: str, **extra: Any) -> Any:
    """Return an option that stands for an argument of `find_blobs`, by other names than its own if there are any."""
    return typer.Option(*names, help=text, show_default=default(find_blobs, argument), **extra)


_NUMBERS = {"parser": as_numbers, "metavar": PER_AXIS}
_DARK = {"false": False, "true": True, "both": "both"}


def blobs(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", show_default=False, help="Images, as of npsubpix locate."),
    ],
    min_sigma: Annotated[
        Any,
        typer.Option(
            help="Least standard deviation of a blob, in pixels: the radius of a disc or a ball divided by √2.",
            show_default=False,
            **_NUMBERS,
        ),
    ],
    max_sigma: Annotated[Any, typer.Option(help="Greatest one.", show_default=False, **_NUMBERS)],
    output: option.Output = None,
    plot: Annotated[
        list[Path] | None,
        typer.Option(
            show_default=False,
            help="Draw circles of the blobs' radii on the image (.png, .pdf, .svg, .jpg): the frame with most blobs.",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        _of(
            "threshold_abs",
            "Only blobs of at least this amplitude, in units of the image.",
            "--threshold",
            "--threshold-abs",
        ),
    ] = None,
    threshold_rel: Annotated[
        float | None, _of("threshold_rel", "Only blobs of at least this fraction of the greatest amplitude.")
    ] = None,
    threshold_snr: Annotated[
        float | None,
        typer.Option(
            help="Only blobs whose response is this many times its noise.",
            show_default="5, if there is no other threshold",
        ),
    ] = None,
    noise: Annotated[
        Any,
        typer.Option(
            parser=as_number_or_path,
            metavar="N|FILE",
            help="Noise of a pixel, or its image. Without it, it is measured.",
            show_default=False,
        ),
    ] = None,
    dark: Annotated[
        Any, typer.Option(help="Find dark blobs in place of bright ones, or both.", **one_of(tuple(_DARK)))
    ] = "false",
    method: Annotated[
        Any,
        _of("method", "Laplacian, difference of Gaussians, or determinant of the Hessian.", **one_of(SCALE_METHODS)),
    ] = None,
    scales_per_octave: Annotated[int | None, _of("scales_per_octave", "Filters per factor of two in size.")] = None,
    edge_ratio: Annotated[
        Any,
        _of(
            "edge_ratio",
            "Greatest ratio of the curvatures of a blob: ridges have more. none keeps them.",
            parser=as_number_or_none,
            metavar="N|none",
        ),
    ] = None,
    overlap: Annotated[
        float | None, _of("overlap", "Greatest shared fraction of the smaller of two blobs; the stronger one stays.")
    ] = None,
    spacing: Annotated[
        Any, _of("spacing", "Size of a pixel along each axis, in the unit of sizes of blobs.", **_NUMBERS)
    ] = None,
    num_blobs: Annotated[int | None, _of("num_blobs", "At most this many blobs per frame, the strongest.")] = None,
    exclude_border: Annotated[
        Any,
        _of(
            "exclude_border",
            "Leave out blobs that reach beyond the border, or that are closer to it than this many pixels.",
            parser=as_border,
            metavar=f"true|false|{PER_AXIS}",
        ),
    ] = None,
    mask: option.Mask = None,
    refine: Annotated[
        Any, _of("refine", "How positions and sizes are refined: fit fits a Gaussian.", **one_of(("quadratic", "fit")))
    ] = None,
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
    units: option.Units = None,
    pixel_size: option.PixelSize = None,
    origin: option.FirstPixel = Origin.center,
    napari: option.Napari = False,
    comments: option.Comments = False,
    plot_frame: option.PlotFrame = None,
    y_up: option.YUp = None,
    light: option.Light = False,
    show: option.Show = 10,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find blobs of any size in images: their position, size and amplitude."""
    errors = Errors(debug)
    with errors.last_resort():
        options = given(
            {
                "min_sigma": min_sigma,
                "max_sigma": max_sigma,
                "scales_per_octave": scales_per_octave,
                "method": method,
                "threshold_abs": threshold,
                "threshold_rel": threshold_rel,
                "threshold_snr": threshold_snr,
                "noise": noise,
                "edge_ratio": edge_ratio,
                "overlap": overlap,
                "spacing": spacing,
                "num_blobs": num_blobs,
                "exclude_border": exclude_border,
                "mask": mask,
                "refine": refine,
            }
        )
        options["dark"] = _DARK[dark]
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
            pixel_size=pixel_size,
            unit=units,
            resume=resume,
        )
        find_and_report(
            Request(
                images,
                options,
                {},
                reading,
                outputs,
                roi=roi,
                workers=workers,
                max_memory=max_memory,
                task="blobs",
            ),
            errors,
        )
    raise typer.Exit(1 if errors.messages else 0)
