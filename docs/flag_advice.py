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
        "NOT_CONVERGED": "a wider `box`, or `sigma` nearer to that of the spots; more `n_iters` seldom help. Where "
        "nothing helps there is no spot",
        "AT_BOUND": "nothing, if only positions and fluxes matter. Backgrounds of 0: check the `offset` of the "
        "camera. β at 100: the default Gaussian fits as well",
        "SINGULAR": 'too few pixels are left by the mask or the border, all are equal, or with `neighbors="fit"` '
        "two rows start at one pixel",
        "PARTIAL_WINDOW": "nothing: pixels outside are left out, and errors are greater for it",
        "MASKED": "nothing, as above",
        "NEGATIVE_FLUX": "there is no spot; dark spots: fit the negated image",
        "LOW_SIGNAL": 'fix what is known: `width="fixed"`, `beta=`, a constant background; give the `camera`; sum '
        "frames; or leave the row out",
        "BLENDED": "if it is the same spot, pass it once: `min_distance` of {func}`npsubpix.find_peaks`. If "
        'there are two, `neighbors="fit"` with `width="fixed"` measures them best; their rows stay '
        "flagged",
        "NONFINITE": "pass a `mask` of these pixels",
        "TOO_FAR": "start nearer, or allow more by `max_shift`; often there is a brighter spot beside it",
        "POOR_FIT": 'look at residuals of bright rows. Neighbours: `neighbors="fit"`, a smaller `box`. Other '
        'shapes: `width="elliptical"` or `"rotated"`, `model="moffat"`, or `psf=` by '
        '{func}`npsubpix.build_psf`. An uneven background: `background="plane"`. Saturated: mask the '
        "clipped pixels, or expose for less time",
        "NEGATIVE_PIXELS": "check `offset`, `electrons_per_count` and `read_variance` of the camera if many rows have "
        "it; do not subtract the background before the fit",
        "OUT_OF_RANGE": "leave the row out, or calibrate a longer range",
    },
    "MeasurementFlags": {
        "PARTIAL_WINDOW": "leave the row out, or fit the spot by {func}`npsubpix.fit_spots`, which needs no whole "
        "aperture",
        "MASKED": "as above; a smaller `radius` may have none",
        "NONFINITE": "pass a `mask` of known bad pixels; check the position",
        "OUTSIDE": "check the order of coordinates, (y, x), and the frame",
        "NO_BACKGROUND": "a wider annulus, or another `background`",
        "NEGATIVE_FLUX": "keep it in means of fluxes; leave it out of positions and shapes",
        "NO_SHAPE": "the flux holds; for positions, {func}`npsubpix.refine_peaks` or {func}`npsubpix.fit_spots`",
        "NOISE_GUESSED": "pass `error` or `camera` if errors matter",
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
