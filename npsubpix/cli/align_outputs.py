"""Images that ``npsubpix align`` writes: warped frames, and their sum."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npsubpix.cli.files import display_name

if TYPE_CHECKING:
    from npsubpix.alignment import Alignment, Coadd
    from npsubpix.cli.exposures import Exposures

__all__ = ["check_output", "write_coadded", "write_plot", "write_warped"]

_TIFF, _ZARR, _FITS = (".tif", ".tiff"), (".zarr",), (".fits", ".fit", ".fts")


def check_output(output: Path, stacked: bool) -> None:
    """Refuse a place or a format that images cannot be written in."""
    from npsubpix._tables import check_place

    suffix = output.suffix.lower()
    if stacked and suffix not in _FITS:
        raise ValueError(f"{output}: the name of coadded exposures must end with {', '.join(_FITS)}")
    if not stacked and suffix in _FITS:
        raise ValueError(f"{output}: FITS files hold coadded exposures: add --stack mean, median or clip")
    if not stacked and suffix not in (*_TIFF, *_ZARR):
        raise ValueError(f"{output}: the name of warped images must end with {', '.join((*_TIFF, *_ZARR))}")
    needed, extra = {_TIFF: ("tifffile", "app"), _ZARR: ("zarr", "app"), _FITS: ("astropy", "astro")}[
        next(names for names in (_TIFF, _ZARR, _FITS) if suffix in names)
    ]
    if importlib.util.find_spec(needed) is None:
        raise ValueError(f"{output}: such files need {needed}: pip install 'npsubpix[{extra}]'")
    if suffix in _ZARR and output.exists():
        raise ValueError(f"{output}: exists, and a store is not replaced: remove it, or choose another name")
    check_place(output)


def write_warped(
    output: Path, fixed: Path, exposures: Exposures, results: Sequence[Alignment], shape: tuple[int, ...], chosen: Any
) -> None:
    """Write each frame on the pixels of the fixed image, NaN where it has none or could not be aligned."""
    from npsubpix._tables import replacing
    from npsubpix.io._ome_zarr import write_ome_zarr
    from npsubpix.io._stacks import calibration_of, write_stack

    calibration = calibration_of(fixed, [place.path for place in exposures.places], **chosen)
    warped = _warped(exposures, results, shape)
    if output.suffix.lower() in _ZARR:
        write_ome_zarr(output, warped, len(results), shape, calibration)
        return
    with replacing(output) as temporary:
        write_stack(temporary, warped, len(results), shape, calibration)


def _warped(exposures: Exposures, results: Sequence[Alignment], shape: tuple[int, ...]) -> Iterator[Any]:
    """Read and warp the frames, one after the other."""
    from npsubpix import warp

    for k, result in enumerate(results):
        if result.ok:
            pixels = np.asarray(exposures[k], np.float32)
            yield warp(pixels, result, shape, method="bspline3", cval=math.nan)
        else:
            yield np.full(shape, np.nan, np.float32)


def write_coadded(
    outputs: Sequence[Path], coadded: Coadd, method: str, reference: Path, hdu: int | str | None, names: Sequence[Path]
) -> None:
    """Write the sum of exposures, with the header of the reference."""
    from npsubpix._tables import replacing
    from npsubpix.io._fits_images import write_coadd

    for output in outputs:
        with replacing(output) as temporary:
            write_coadd(temporary, coadded, method, reference, hdu, [display_name(Path(name.name)) for name in names])


def write_plot(
    plot: Path, fixed: Any, exposures: Exposures, results: Sequence[Alignment], y_up: bool, style: str
) -> str:
    """Draw the frame that fits worst, and return a line about it."""
    from npsubpix._tables import replacing
    from npsubpix.plotting import draw_alignment

    fits = [(result.correlation, k) for k, result in enumerate(results) if result.ok]
    for _, place in sorted(fits, key=lambda fit: (math.isnan(fit[0]), *fit)):
        frame = exposures[place]
        if not np.array_equal(frame, fixed):
            break
    else:
        return f"Did not write {display_name(plot)}: no frame was aligned, but for the fixed image itself"
    result, name = results[place], display_name(Path(exposures.places[place].path.name))
    dy, dx = result.shift
    title = f"{name}, frame {exposures.places[place].number}: shift ({dy:.3f}, {dx:.3f})"
    title += f", correlation {result.correlation:.3f}" if math.isfinite(result.correlation) else ""
    figure = draw_alignment(fixed, frame, result, title=title, style=style, y_up=y_up)
    with replacing(plot) as temporary:
        figure.savefig(temporary, format=plot.suffix[1:].lower())
    return f"Wrote {display_name(plot)}"
