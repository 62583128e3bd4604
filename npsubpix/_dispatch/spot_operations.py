"""The part of the table of operations about spots in stacks: find, refine, fit and measure them, and backgrounds."""

from __future__ import annotations

from npsubpix._definitions.photometry import COLUMNS as PHOTOMETRY_COLUMNS
from npsubpix._dispatch.operation import Argument, Operation, Result

__all__ = ["SPOT_OPERATIONS"]

_STACK = Argument("image", layout="stack")
_MASK = Argument("mask", optional=True, boolean=True, layout="mask")

#: Columns of a table of peaks.
_PEAKS = (
    Result("coords", "float64"),
    Result("values", "float64"),
    Result("indices", "int64"),
    Result("flags", "int32"),
    Result("frame", "int64"),
    Result("coords_std", "float64"),
)

#: Noise of pixels: a standard deviation, or the calibration of a camera.
_NOISE = (
    Argument("error", optional=True, layout="pixels"),
    Argument("offset", optional=True, layout="pixels"),
    Argument("electrons_per_count", optional=True, layout="pixels"),
    Argument("read_variance", optional=True, layout="pixels"),
)
_EM_GAIN = Argument("em_gain", optional=True, layout="pixels")
_PSF = Argument("psf", optional=True)
#: Those that come from a `Camera`.
_OF_CAMERA = frozenset({"offset", "electrons_per_count", "read_variance"})

SPOT_OPERATIONS = (
    Operation(
        "find_peaks",
        family="peaks",
        arguments=(
            _STACK,
            Argument("searched", optional=True, layout="stack"),
            _MASK,
            Argument("background", optional=True, layout="pixels"),
            Argument("sigma", optional=True, layout="pixels"),
            *_NOISE,
            _PSF,
        ),
        results=(*_PEAKS, Result("border", "float64")),
        options=("search", "refinement"),
        internal=frozenset({"search", "refinement", "searched", "psf", *_OF_CAMERA}),
        functions={
            "find_peaks": lambda npsubpix, x: npsubpix.find_peaks(
                x[0, 0], plateau="centroid", frame_axis=0, min_distance=2
            ),
        },
    ),
    Operation(
        "refine_peaks",
        family="refinement",
        arguments=(_STACK, Argument("coords"), Argument("frame", optional=True), _MASK, *_NOISE, _PSF),
        results=_PEAKS,
        options=("refinement",),
        internal=frozenset({"refinement", "psf", *_OF_CAMERA}),
        functions={
            "refine_peaks": lambda npsubpix, x: npsubpix.refine_peaks(
                x[0, 0, 1], [[3, 2], [2.2, 5]], method="centroid"
            ),
        },
    ),
    Operation(
        "fit_spots",
        family="fitting",
        arguments=(
            _STACK,
            Argument("coords"),
            Argument("frame", optional=True),
            _MASK,
            *_NOISE,
            _EM_GAIN,
            _PSF,
        ),
        results=(
            Result("coords", "float64"),
            Result("coords_std", "float64"),
            Result("flux", "float64"),
            Result("flux_std", "float64"),
            Result("background", "float64"),
            Result("background_std", "float64"),
            Result("sigma", "float64"),
            Result("sigma_std", "float64"),
            Result("chi2", "float64"),
            Result("log_likelihood", "float64"),
            Result("covariance", "float64"),
            Result("angle", "float64"),
            Result("angle_std", "float64"),
            Result("beta", "float64"),
            Result("beta_std", "float64"),
            Result("z", "float64"),
            Result("z_std", "float64"),
            Result("n_iters", "int32"),
            Result("indices", "int64"),
            Result("flags", "int32"),
            Result("frame", "int64"),
        ),
        options=("fit",),
        internal=frozenset({"fit", "em_gain", *_OF_CAMERA}),
        called="{fit.function}",
        functions={
            "fit_spots": lambda npsubpix, x: npsubpix.fit_spots(
                x[0, 0], [[3, 2], [2.2, 5]], frame=[0, 2], frame_axis=0
            ),
            "fit_patches": lambda npsubpix, x: npsubpix.fit_patches(x[0, 0]),
        },
    ),
    Operation(
        "measure_spots",
        family="photometry",
        arguments=(
            _STACK,
            Argument("coords"),
            Argument("frame", optional=True),
            _MASK,
            Argument("background", optional=True, layout="pixels"),
            *_NOISE,
            _EM_GAIN,
        ),
        results=(
            Result("coords", "float64"),
            *(Result(name, "float64") for name in PHOTOMETRY_COLUMNS),
            Result("flags", "int32"),
            Result("frame", "int64"),
        ),
        options=("radius", "annulus", "method", "excess", "own_noise"),
        internal=frozenset({"em_gain", "excess", "own_noise", *_OF_CAMERA}),
        functions={
            "measure_spots": lambda npsubpix, x: npsubpix.measure_spots(x[0, 0, 1], [[3, 2], [2.2, 5]], 1.5),
        },
    ),
    Operation(
        "local_background",
        family="background",
        arguments=(_STACK, _MASK),
        results=(
            Result("level", layout="stack"),
            Result("noise", layout="stack"),
            Result("guessed", "bool", layout="stack"),
        ),
        options=("size", "method", "grow", "filter_size"),
        functions={
            "local_background": lambda npsubpix, x: npsubpix.local_background(x[0, 0], (4, 4), frame_axis=0),
        },
    ),
    Operation(
        "find_blobs",
        family="blobs",
        arguments=(
            _STACK,
            Argument("filled", optional=True, layout="stack"),
            _MASK,
            Argument("noise", optional=True, layout="pixels"),
        ),
        results=(
            Result("coords", "float64"),
            Result("sigma", "float64"),
            Result("amplitude", "float64"),
            Result("snr", "float64"),
            Result("value", "float64"),
            Result("flags", "int32"),
            Result("frame", "int64"),
            Result("coords_std", "float64"),
            Result("sigma_std", "float64"),
            Result("amplitude_std", "float64"),
        ),
        options=("search",),
        internal=frozenset({"search", "filled"}),
        functions={
            "find_blobs": lambda npsubpix, x: npsubpix.find_blobs(x[0, 0], 1, 2, threshold_abs=0.1, frame_axis=0),
        },
    ),
    Operation(
        "smooth_level",
        family="blobs",
        arguments=(Argument("image"),),
        results=(Result("smoothed", "float32"),),
        options=("lines",),
        internal=frozenset({"lines"}),
        functions={
            "scale_space": lambda npsubpix, x: next(
                (level.response for level in npsubpix.scale_space(x[0, 0, 0], 1, 2)), x[0, 0, 0]
            ),
        },
    ),
    Operation(
        "respond_level",
        family="blobs",
        arguments=(Argument("image"),),
        results=(Result("response", "float32"),),
        options=("method", "factors"),
        internal=frozenset({"factors"}),
        called="scale_space",
    ),
)
