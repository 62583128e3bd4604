"""Options of ``npsubpix locate``: they stand for the arguments of `find_peaks`, and have its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from npsubpix._definitions.fitting import NEIGHBORS
from npsubpix._definitions.peaks import DUPLICATES, PEAK_MODES, PLATEAUS
from npsubpix._definitions.refinement import REFINEMENTS
from npsubpix._detection import DETECTORS
from npsubpix.background import local_background
from npsubpix.cli.exports import FORMATS
from npsubpix.cli.fits import FIT_MODELS
from npsubpix.cli.options import (
    PER_AXIS,
    Origin,
    as_axis,
    as_border,
    as_counts,
    as_number_or_path,
    as_numbers,
    as_region,
    default,
    one_of,
)
from npsubpix.peaks import find_peaks

Paths = list[Path] | None
Count = int | None
Number = float | None


def _of(argument: str, text: str, **extra: Any) -> Any:
    """Return an option that stands for an argument of `find_peaks`."""
    return typer.Option(help=text, show_default=default(find_peaks, argument), **extra)


def _of_background(argument: str, text: str, **extra: Any) -> Any:
    """Return an option that stands for an argument of `local_background`."""
    return typer.Option(help=text, show_default=default(local_background, argument), **extra)


_NUMBERS = {"parser": as_numbers, "metavar": PER_AXIS}
_COUNTS = {"parser": as_counts, "metavar": PER_AXIS}
_NUMBER_OR_FILE = {"parser": as_number_or_path, "metavar": "N|FILE"}

# --- which pixels are peaks

Size = Annotated[Any, _of("size", "Length of the window in which a peak is the greatest, in pixels.", **_COUNTS)]
MinDistance = Annotated[
    Any, _of("min_distance", "Least distance between two peaks, in pixels; the stronger one stays.", **_NUMBERS)
]
Threshold = Annotated[
    Number, _of("threshold_abs", "Only peaks above this value, or with a background, this many times the noise.")
]
ThresholdRel = Annotated[
    Number, _of("threshold_rel", "Only peaks above this fraction of the greatest value of their frame.")
]
ExcludeBorder = Annotated[
    Any,
    _of(
        "exclude_border",
        "Whether the whole window of a peak must lie inside the image, or its least distance from the border.",
        parser=as_border,
        metavar=f"true|false|{PER_AXIS}",
    ),
]
NumPeaks = Annotated[Count, _of("num_peaks", "At most this many peaks per frame, the strongest.")]
Plateau = Annotated[Any, _of("plateau", "Report of plateaus, such as saturated spots.", **one_of(PLATEAUS))]
Minima = Annotated[bool, typer.Option("--minima", help="Find minima too.")]
Mask = Annotated[
    Path | None,
    _of("mask", "Image of the pixels to ignore: all that are not 0. One frame for all frames, or one for each."),
]

Detect = Annotated[
    Any,
    _of(
        "detect",
        "Seek peaks in the filtered image, and measure them in the image itself; --threshold is then in units of the "
        "noise of the filtered image.",
        **one_of(DETECTORS),
    ),
]
DetectSigma = Annotated[
    Any, _of("detect_sigma", "Standard deviation of the filter of --detect: about that of a spot.", **_NUMBERS)
]

# --- background and noise

Boxes = Annotated[
    Any,
    typer.Option(
        help="Measure background and noise in boxes of this many pixels; thresholds are then above the background.",
        show_default=False,
        **_COUNTS,
    ),
]
BoxMethod = Annotated[
    Any, _of_background("method", "Estimator of the background in a box.", **one_of(("median", "mean")))
]
BoxGrow = Annotated[Any, _of_background("grow", "Pixels around outliers that are excluded too.", **_COUNTS)]
BoxFilter = Annotated[Any, _of_background("filter_size", "Boxes in the window of the median filter.", **_COUNTS)]
Level = Annotated[Any, _of("background", "The background, if it is known, or its image.", **_NUMBER_OR_FILE)]
Sigma = Annotated[
    Any,
    _of(
        "sigma",
        "Noise, if it is known, or its image; --threshold is in units of it, and positions have standard errors.",
        **_NUMBER_OR_FILE,
    ),
]

# --- how they are refined

Refine = Annotated[Any, _of("refine", "How positions are refined.", **one_of(REFINEMENTS))]
Iterations = Annotated[Count, _of("n_iters", "Greatest number of iterations of the refinement.")]
MaxShift = Annotated[Number, _of("max_shift", "Greatest shift from the pixel of a peak, in pixels on any axis.")]
Radius = Annotated[
    Any,
    _of(
        "radius",
        "Radius of the window of --refine centroid, phasor, radial, log_quadratic and fit, in pixels.",
        **_NUMBERS,
    ),
]

Duplicates = Annotated[
    Any, _of("duplicates", "Treatment of peaks that end at the place of a stronger one.", **one_of(DUPLICATES))
]
Mode = Annotated[Any, _of("mode", "wrap: the image is periodic, as a correlation map is.", **one_of(PEAK_MODES))]

# --- fits

FitSpots = Annotated[
    bool, typer.Option("--fit", help="Fit a Gaussian to each peak: position, flux and width, with standard errors.")
]
FitSigma = Annotated[
    Any, typer.Option(help="Width with which fits begin, in pixels; it sets the box.", show_default=False, **_NUMBERS)
]
FitModel = Annotated[
    Any, typer.Option(help="Model of a spot, of one width or two.", show_default=False, **one_of(tuple(FIT_MODELS)))
]
FitCurve = Annotated[
    Path | None,
    typer.Option(help="JSON file of an AstigmaticCurve, its to_dict(): z is fitted.", show_default=False),
]
Psf = Annotated[
    Path | None, typer.Option(help="Image of a measured point spread function, fitted to spots.", show_default=False)
]
Oversampling = Annotated[Any, typer.Option(help="Samples of --psf per pixel.", show_default=False, **_NUMBERS)]
FitBox = Annotated[Any, typer.Option(help="Length of the box of a fit, odd.", show_default=False, **_COUNTS)]
Neighbors = Annotated[
    Any,
    typer.Option(
        help="Fit spots whose boxes overlap together, or each as if there were no others.",
        show_default="ignore",
        **one_of(NEIGHBORS),
    ),
]
Offset = Annotated[Number, typer.Option(help="Counts of the camera without light.", show_default=False)]
ElectronsPerCount = Annotated[
    Number,
    typer.Option(
        help="Electrons per count: positions then have standard errors, and the fluxes of fits are in electrons.",
        show_default=False,
    ),
]
ReadVariance = Annotated[
    Number, typer.Option(help="Variance of a pixel without light, in counts squared.", show_default=False)
]
EMGain = Annotated[Number, typer.Option(help="Gain of an EM camera.", show_default=False)]

# --- how they are read

Frames = Annotated[
    Any,
    typer.Option(
        parser=as_axis,
        metavar="AXIS",
        help="Axis along which images are frames: its name or its number from 0. Without it, T, or the first of three "
        "axes without names.",
        show_default=False,
    ),
]
Roi = Annotated[
    Any,
    typer.Option(
        parser=as_region,
        metavar="Y0:Y1,X0:X1",
        help="Search this part of each frame only: a range of pixels from 0 per axis, such as 100:200,: for rows 100 "
        "to 199. Positions are still those in the whole frame.",
        show_default=False,
    ),
]
Workers = Annotated[
    Count, typer.Option(help="Search in this many processes; the rows are the same.", min=1, show_default=False)
]

# --- what is written

Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on with a run that was stopped, from the frames whose rows are safe beside --output."
    ),
]
Units = Annotated[
    Any,
    typer.Option(
        help="Write positions and their errors in this unit too, in columns such as x_um, with the size of a pixel of "
        "the image, or of --pixel-size.",
        show_default=False,
        **one_of(("um", "nm")),
    ),
]

Output = Annotated[
    Paths,
    typer.Option(
        "--output",
        "-o",
        show_default=False,
        help="Write the table: .csv, .parquet, .h5, .ecsv or .fits; a name without an ending is a Parquet dataset, a "
        "folder, and then the only output. Give it several times to write several files.",
    ),
]
TableFormat = Annotated[
    Any,
    typer.Option(
        "--format",
        show_default="npsubpix",
        help="Columns of the table. picasso (.hdf5 and .yaml) and thunderstorm (.csv) hold the fits of --fit that are "
        "ok, in the units and the origin of these programs.",
        **one_of(FORMATS),
    ),
]
PixelSize = Annotated[
    Any, typer.Option(help="Size of a pixel in nm, for --format and --units.", show_default=False, **_NUMBERS)
]
Napari = Annotated[bool, typer.Option("--napari", help="Name columns so that napari opens a CSV file as points.")]
Comments = Annotated[
    bool, typer.Option("--comments", help="Write the metadata of CSV files in lines with #, not beside them.")
]
Plot = Annotated[
    Paths,
    typer.Option(
        show_default=False, help="Draw the peaks on the image (.png, .pdf, .svg, .jpg): the frame with most peaks."
    ),
]
Moved = Annotated[
    Paths,
    typer.Option(
        "--drift",
        show_default=False,
        help="Measure the drift of the sample from the rows of --output, and write them without it.",
    ),
]
PlotFrame = Annotated[
    Count,
    typer.Option(help="Draw this frame, counted from 0, of the first image that has it.", min=0, show_default=False),
]
YUp = Annotated[
    bool | None,
    typer.Option("--y-up/--y-down", help="Draw rows upwards, as FITS images are drawn, or downwards."),
]
Light = Annotated[bool, typer.Option("--light", help="Draw on white, for print.")]
FirstPixel = Annotated[
    Origin, typer.Option(help="First pixel: its centre is 0, its outer corner is 0, or its centre is 1 (fits).")
]
Show = Annotated[int, typer.Option(help="How many rows to print.", min=0)]
