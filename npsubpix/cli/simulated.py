"""Commands ``npsubpix simulate`` and ``npsubpix assess``: their arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from npsubpix.cli import locate_options as option
from npsubpix.cli.assess import AssessRequest, assess_and_report
from npsubpix.cli.options import PER_AXIS, Debug, Origin, Quiet, as_counts, as_numbers, as_numbers_or_path, given
from npsubpix.cli.simulate import SimulateRequest, simulate_and_report
from npsubpix.cli.terminal import Errors

__all__ = ["assess", "simulate"]


def simulate(
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", show_default=False, help="Image or movie to write: .tif or .npy.")
    ],
    truth: Annotated[
        list[Path] | None,
        typer.Option(show_default=False, help="Write the true positions: .csv, .parquet, .h5 or .ecsv."),
    ] = None,
    shape: Annotated[Any, typer.Option(help="Shape of a frame in pixels.", parser=as_counts, metavar=PER_AXIS)] = "256",
    frames: Annotated[int, typer.Option(help="Number of frames.")] = 1,
    spots: Annotated[int, typer.Option(help="Number of spots per frame.")] = 100,
    flux: Annotated[float, typer.Option(help="Mean number of photons of a spot.")] = 1000.0,
    sigma: Annotated[
        Any, typer.Option(help="Standard deviation of a spot in pixels.", parser=as_numbers, metavar=PER_AXIS)
    ] = "1.3",
    background: Annotated[float, typer.Option(help="Mean number of photons of the background per pixel.")] = 10.0,
    margin: Annotated[float, typer.Option(help="Least distance of a spot from the border, in pixels.")] = 0.0,
    drift: Annotated[
        Any,
        typer.Option(
            help="Drift of the sample in pixels per frame, or a table of the drift of each frame with columns frame, "
            "y and x: frames then show the same spots.",
            parser=as_numbers_or_path,
            metavar=f"{PER_AXIS}|TABLE",
            show_default=False,
        ),
    ] = None,
    sites: Annotated[
        int | None,
        typer.Option(
            help="Number of molecules, of which each frame shows --spots: these are seen again and again.",
            show_default=False,
        ),
    ] = None,
    offset: Annotated[float | None, typer.Option(help="Counts of the camera without light.")] = None,
    electrons_per_count: Annotated[float | None, typer.Option(help="Electrons per count of the camera.")] = None,
    read_variance: Annotated[
        float | None, typer.Option(help="Variance of a pixel of the camera without light, in counts squared.")
    ] = None,
    em_gain: Annotated[float | None, typer.Option(help="EM gain of the camera.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers: the same gives the same image.", min=0)] = 0,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Simulate images of Gaussian spots at random positions, with the noise of photons."""
    errors = Errors(debug)
    with errors.last_resort():
        camera = given(
            {
                "offset": offset,
                "electrons_per_count": electrons_per_count,
                "read_variance": read_variance,
                "em_gain": em_gain,
            }
        )
        request = SimulateRequest(
            output, truth or [], shape, frames, spots, flux, sigma, background, margin, drift, sites, camera, seed,
            quiet,
        )  # fmt: skip
        simulate_and_report(request, errors)
    raise typer.Exit(1 if errors.messages else 0)


def assess(
    found: Annotated[
        Path,
        typer.Argument(
            metavar="FOUND",
            show_default=False,
            help="Table of found positions: .csv, .parquet, .h5 or .ecsv, or a file of picasso or ThunderSTORM.",
        ),
    ],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", show_default=False, help="Table of true positions.")],
    radius: Annotated[
        Any, typer.Option(help="Greatest distance of a match in pixels.", parser=as_numbers, metavar=PER_AXIS)
    ] = "1",
    pixel_size: Annotated[
        Any,
        typer.Option(
            help="Size of a pixel in nm, for the efficiency, and for files of ThunderSTORM.",
            parser=as_numbers,
            metavar=PER_AXIS,
            show_default=False,
        ),
    ] = None,
    every_row: Annotated[
        bool, typer.Option("--every-row", help="Count the rows of FOUND that are not ok too.")
    ] = False,
    found_origin: Annotated[
        Origin | None,
        typer.Option(help="Origin of FOUND. Without it, that of its metadata, or center.", show_default=False),
    ] = None,
    truth_origin: Annotated[
        Origin | None,
        typer.Option(help="Origin of TRUTH. Without it, that of its metadata, or center.", show_default=False),
    ] = None,
    output: Annotated[
        list[Path] | None, typer.Option("--output", "-o", show_default=False, help="Write the numbers: .json.")
    ] = None,
    plot: Annotated[
        list[Path] | None,
        typer.Option(show_default=False, help="Draw errors, bias and their distribution (.png, .pdf, .svg)."),
    ] = None,
    light: option.Light = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare found positions with true ones: recall, precision, errors and bias."""
    errors = Errors(debug)
    with errors.last_resort():
        first, second = (None if origin is None else origin.value for origin in (found_origin, truth_origin))
        request = AssessRequest(
            found, truth, radius, pixel_size, every_row, first, second, output or [], plot or [], light, quiet
        )
        assess_and_report(request, errors)
    raise typer.Exit(1 if errors.messages else 0)
