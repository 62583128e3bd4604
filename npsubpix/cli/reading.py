"""Options of all commands that read images."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from npsubpix.cli.options import as_memory

__all__ = ["Axes", "Channel", "Hdu", "MaxMemory", "Series", "Volume", "reading_options"]

Channel = Annotated[
    int | None,
    typer.Option(
        help="Channel of a colour image, from 0. Without it, the mean of red, green and blue; alpha is dropped.",
        show_default=False,
    ),
]
Volume = Annotated[
    bool | None,
    typer.Option(
        "--volume/--no-volume",
        help="The last axis without a name is z; or slices are frames. Without it, axes are taken by their names.",
        show_default=False,
    ),
]
Axes = Annotated[
    str | None,
    typer.Option(
        help="Names of the axes of the file in place of its own, such as TZYX: T are frames, Z slices, C channels, "
        "S red, green and blue.",
        show_default=False,
    ),
]
Series = Annotated[
    int | None, typer.Option(help="Series of a TIFF file, from 0. Without it, the first.", show_default=False)
]
Hdu = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER|NAME",
        help="HDU of a FITS file, from 0, or its name, such as SCI or SCI,2. Without it, the first image.",
        show_default=False,
    ),
]
MaxMemory = Annotated[
    Any,
    typer.Option(
        parser=as_memory,
        metavar="SIZE",
        help="Memory for the pixels at work and what is made of them, such as 500MB or 2GiB, a number in GiB, or inf.",
    ),
]


def reading_options(
    channel: int | None, volume: bool | None, axes: str | None, series: int | None, hdu: str | None, max_memory: int
) -> dict[str, Any]:
    """Return the arguments of `FrameSource`."""
    return {
        "channel": channel,
        "volume": volume,
        "axes": axes,
        "series": series,
        "hdu": int(hdu) if hdu is not None and hdu.isdecimal() else hdu,
        "max_memory": max_memory,
    }
