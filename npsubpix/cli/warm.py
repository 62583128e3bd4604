"""Command ``npsubpix warmup``."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import typer

from npsubpix.cli.files import progress_bar
from npsubpix.cli.options import Debug, Quiet
from npsubpix.cli.terminal import Errors, say

__all__ = ["warmup"]


class Dtype(enum.Enum):
    """Dtypes of images."""

    uint8 = "uint8"
    uint16 = "uint16"
    int16 = "int16"
    int32 = "int32"
    float32 = "float32"
    float64 = "float64"


def warmup(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME...]", help="Families or functions, such as sampling or find_peaks; by default all."
        ),
    ] = None,
    dtype: Annotated[
        list[Dtype] | None, typer.Option(help="Dtype of images; may be repeated. [default: float32]")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compile kernels ahead of their first calls, and keep them in the cache: for containers and clusters."""
    with Errors(debug).last_resort():
        from npsubpix.cli.info import folder_of_kernels
        from npsubpix.warming import warmup as compile_all

        folder = folder_of_kernels()
        if folder is None:
            raise OSError("no compiled kernel could be kept: npsubpix info tells about the cache")

        with progress_bar(1, quiet) as advance:
            done = 0.0

            def show(step: int, steps: int, name: str) -> None:
                nonlocal done
                share = step / max(steps, 1)
                advance(share - done, name)
                done = share

            options: dict[str, Any] = {"dtypes": [d.value for d in dtype]} if dtype else {}
            compile_all(*(what or ()), progress=show, **options)
        if not quiet:
            say(f"compiled kernels are in {folder}")
