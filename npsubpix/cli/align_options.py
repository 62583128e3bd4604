"""Options of ``npsubpix align``: they stand for the arguments of `align`, and have its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from npsubpix.alignment import align
from npsubpix.cli.options import as_matrix, default, one_of


def _of(argument: str, text: str, **extra: Any) -> Any:
    """Return an option that stands for an argument of `align`."""
    return typer.Option(help=text, show_default=default(align, argument), **extra)


Method = Annotated[
    Any,
    _of(
        "method",
        "Algorithm: by the gradient of the fixed image, or of the moving one.",
        **one_of(("inverse_compositional", "forward_additive")),
    ),
]
Levels = Annotated[int | None, _of("levels", "Number of levels of the pyramid. Without it, as the size allows.")]
Iterations = Annotated[int | None, _of("n_iters", "Greatest number of iterations per level.")]
Tolerance = Annotated[float | None, _of("tol", "Iterations end when they move no corner by more pixels.")]
Mask = Annotated[Path | None, _of("mask", "Image of the pixels of the fixed image to ignore: all that are not 0.")]
MovingMask = Annotated[
    Path | None, _of("moving_mask", "Image of the pixels of the moving images to ignore: all that are not 0.")
]
Background = Annotated[
    int | None, _of("background", "Subtract the background of each image, measured in boxes of this many pixels.")
]
AroundPeaks = Annotated[
    float | None,
    _of("around", "Compare only pixels within this radius of the peaks of the fixed image, for few spots."),
]
Init = Annotated[
    Any,
    _of(
        "init",
        "Where to begin: a shift in pixels, or the entries of a matrix, row by row.",
        parser=as_matrix,
        metavar="DY,DX",
    ),
]
Stars = Annotated[
    bool, typer.Option("--stars", help="Begin with the transform on which the stars agree, at any angle.")
]
Reference = Annotated[
    Any,
    typer.Option(
        help="Align each frame to the fixed image, to the previous frame, or to the mean of the others.",
        **one_of(("first", "previous", "mean")),
    ),
]
Apply = Annotated[
    Path | None,
    typer.Option(
        show_default=False,
        metavar="TABLE",
        help="Apply the transforms of a table that --table wrote, for another file or channel, or of a drift.",
    ),
]
Stack = Annotated[
    Any,
    typer.Option(
        show_default=False,
        help="Coadd the aligned exposures, with the header of the fixed image: --output is then a .fits file.",
        **one_of(("mean", "median", "clip")),
    ),
]
ClipSigma = Annotated[
    float | None,
    typer.Option(show_default="4", min=0.0, help="Standard deviations from the median at which --stack clip rejects."),
]
