"""Tables of all flags: their meaning, from the package, and what to do about each."""

from __future__ import annotations

import re
from enum import IntFlag
from pathlib import Path

import npsubpix

FLAGS = (
    npsubpix.PeakFlags,
    npsubpix.FitFlags,
    npsubpix.MeasurementFlags,
    npsubpix.AlignmentFlags,
    npsubpix.DriftFlags,
)

NOTHING = "nothing: the row is valid"

ADVICE: dict[str, dict[str, str]] = {
    "PeakFlags": {
        "MOVED": NOTHING,
        "PLATEAU": 'nothing if no other flag is set; for saturated spots choose `refine="centroid"`',
        "MINIMUM": NOTHING,
        "SADDLE": 'raise the threshold, or take `refine="centroid"`; of blobs, lower `edge_ratio`',
        "SINGULAR": 'choose `refine="centroid"` for wide plateaus; else raise the threshold, as there is no peak',
        "NOT_CONVERGED": "raise `n_iters`, smooth by `detect`, or leave the row out",
        "AT_BORDER": 'choose a smaller `radius`; for blobs `refine="fit"`',
        "TOO_FAR": "raise `max_shift`, or start nearer: another peak may be meant",
        "NONFINITE": 'replace NaN, or pass `mask`; with `refine="fit"` a masked pixel is left out',
        "MASKED": "choose a smaller `radius`, or leave the row out",
        "DUPLICATE": 'leave the row out, as `ok` does; `duplicates="merge"` drops it',
        "FIXED_Z": "do not use z; acquire slices beyond the spot",
        "FIXED_Y": "do not use y, or crop the image less",
        "FIXED_X": "do not use x, or crop the image less",
        "EXTREMUM": "start nearer to the corner, or raise `sigma` of `refine_corners`",
        "POOR_FIT": "look at it: two spots, a saturated one, or another shape; see `POOR_FIT` of fits",
        "LOW_SIGNAL": "raise the threshold, or use a fixed width",
        "BLENDED": 'pass a spot once, by `min_distance`; fit neighbours together: `fit={"neighbors": "fit"}`',
        "OUT_OF_RANGE": "leave the row out, or calibrate a larger range of z",
    },
    "FitFlags": {
        "NOT_CONVERGED": 'raise the threshold, or fix the width: `width="fixed"`',
        "AT_BOUND": NOTHING + ", but for the parameter without an error",
        "SINGULAR": "choose a larger `box`, or remove duplicates from the positions",
        "PARTIAL_WINDOW": NOTHING + ", with a larger error",
        "MASKED": NOTHING + ", with a larger error",
        "NEGATIVE_FLUX": "raise the threshold: there is no spot",
        "LOW_SIGNAL": 'use `width="fixed"`, which needs less light, or take the error as a lower bound',
        "BLENDED": 'pass a spot once, by `min_distance`; or pass `neighbors="fit"` and `width="fixed"`',
        "NONFINITE": "pass a `mask` of bad pixels",
        "TOO_FAR": "raise `max_shift`, or start nearer",
        "POOR_FIT": 'try `neighbors="fit"`, `width="elliptical"`, `background="plane"`, `model="moffat"` or '
        "`psf=build_psf(...)`; saturated spots cannot be fitted",
        "NEGATIVE_PIXELS": "check `offset` and `read_variance` of the camera; subtract no background from the image",
        "OUT_OF_RANGE": "leave the row out, or calibrate a larger range of z",
    },
    "MeasurementFlags": {
        "PARTIAL_WINDOW": "choose a smaller `radius`, or leave the row out",
        "MASKED": "choose a smaller `radius`, or fit: `fit_spots` leaves masked pixels out",
        "NONFINITE": "pass a `mask`, or fit",
        "OUTSIDE": "check the order of coordinates, (y, x), and the frames",
        "NO_BACKGROUND": "choose a wider `annulus`, or pass `background`",
        "NEGATIVE_FLUX": "keep it in means of fluxes, and do not use centroid and shape",
        "NO_SHAPE": "do not use centroid and shape; choose another `radius`",
        "NOISE_GUESSED": "choose a wider `annulus`, or pass `background` with its noise",
        "NO_ERROR": "pass `error` or `camera`",
    },
    "AlignmentFlags": {
        "NOT_CONVERGED": "raise `n_iters`, or choose a simpler `model`",
        "NO_OVERLAP": 'pass `init="phase_correlation"` or `init="stars"`: the start was too far away',
        "NO_TEXTURE": "choose a simpler `model`, or align a part with more structure",
        "NONFINITE": "pass masks of bad pixels: `mask`, `moving_mask`",
        "DIVERGED": "start nearer by `init`, or choose a simpler `model`",
        "POOR_FIT": 'check that both show one scene; try `init="phase_correlation"` and `gain_bias=True`',
        "NEGATIVE_GAIN": "invert one of the images",
        "FIXED_PATTERN": "mask hot pixels in both images, or subtract a dark frame",
    },
    "DriftFlags": {
        "NOT_FOUND": "choose fewer and longer segments by `n_segments`, or a larger `max_shift` or `radius`",
        "INTERPOLATED": 'pass `missing="interpolate"` to `apply_drift`, if the sample was at rest meanwhile',
        "NOT_CONVERGED": "choose another `width`",
        "MISFIT": "acquire more localizations per frame, or beads; take more segments",
    },
}


def meanings(flags: type[IntFlag]) -> dict[str, str]:
    """The comments of the members of a class of flags."""
    from sphinx.pycode import ModuleAnalyzer  # tests of the advice do without Sphinx

    comments = ModuleAnalyzer.for_module(flags.__module__).find_attr_docs()
    texts = {name: " ".join(lines) for (owner, name), lines in comments.items() if owner == flags.__name__}
    return {name: re.sub(r"``?", "`", text).strip() for name, text in texts.items()}


def write_tables(folder: Path) -> None:
    """Write a table per class of flags, which a page includes."""
    for flags in FLAGS:
        explained, advice = meanings(flags), ADVICE[flags.__name__]
        rows = [f"| `{flag.name}` | {int(flag)} | {explained[flag.name]} | {advice[flag.name]} |" for flag in flags]
        table = "\n".join(["| flag | bit | meaning | what to do |", "|---|---|---|---|", *rows])
        (folder / f"flags_{flags.__name__}.md").write_text(table + "\n", encoding="utf-8")
