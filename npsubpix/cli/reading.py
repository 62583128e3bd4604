"""Options of all commands that read images."""

from __future__ import annotations

from typing import Annotated, Any

import typer

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
MaxMemory = Annotated[float, typer.Option(metavar="GIB", help="Memory that a frame may take, in GiB.", min=0.0)]


def reading_options(
    channel: int | None, volume: bool | None, axes: str | None, series: int | None, hdu: str | None, max_memory: float
) -> dict[str, Any]:
    """Return the arguments of `open_frames`."""
    return {
        "channel": channel,
        "volume": volume,
        "axes": axes,
        "series": series,
        "hdu": int(hdu) if hdu is not None and hdu.isdecimal() else hdu,
        "max_memory": int(min(max_memory, 2.0**30) * 2**30),  # infinity stands for more than there is
    }
