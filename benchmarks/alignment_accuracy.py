"""How well real images are aligned: ``python -m benchmarks.alignment_accuracy [picture.jpg]``.

The images are those of `benchmarks.accuracy`, and photographs of scikit-image. A photograph averaged over squares
of 8 by 8 pixels, the squares moved by a and b pixels, is a photograph moved by a/8 and b/8 of its own pixels, exactly.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import npsubpix
from benchmarks.accuracy import DATA

Image = npt.NDArray[np.float64]
Shift = npt.NDArray[np.float64]

BIN = 8
#: Moves of the squares (y, x) in pixels of the photograph.
MOVES = [(b, a) for b in range(BIN) for a in range(BIN) if a or b]
PHOTOGRAPHS = ("camera.png", "brick.png", "gravel.png", "coins.png", "hubble_deep_field.jpg")


class Case(NamedTuple):
    """Two images, and options to align them."""

    fixed: Image
    moving: Image
    options: dict[str, Any]


def photograph(name: str) -> Image:
    """A photograph, its green channel if it has colours."""
    import imageio.v3 as imageio
    import skimage.data

    image = np.asarray(imageio.imread(Path(skimage.data.__file__).with_name(name)), np.float64)
    return image if image.ndim == 2 else image[..., 1]


def binned(image: Image, down: int, right: int) -> Image:
    """The image averaged over squares, of which the first begins at (down, right)."""
    height, width = ((n - BIN) // BIN * BIN for n in image.shape)
    part = image[down : down + height, right : right + width]
    return np.asarray(part.reshape(height // BIN, BIN, width // BIN, BIN).mean((1, 3)))


def photograph_case(name: str, move: tuple[int, int]) -> Case:
    """A photograph, and the same moved by less than a pixel."""
    image = photograph(name)
    return Case(binned(image, 0, 0), binned(image, *move), {})


def photograph_errors(name: str) -> Shift:
    """Errors (y, x) of the shifts of all moves, in pixels of the images that are aligned."""
    found = [npsubpix.align(*photograph_case(name, move)[:2]).matrix[:2, 2] for move in MOVES]
    return np.asarray(found + np.array(MOVES) / BIN)


def phase_errors(name: str) -> Shift:
    """The same of scikit-image's phase correlation, to a thousandth of a pixel."""
    from skimage.registration import phase_cross_correlation

    found = []
    for move in MOVES:
        fixed, moving, _ = photograph_case(name, move)
        found.append(-phase_cross_correlation(fixed, moving, upsample_factor=1000)[0])
    return np.asarray(found + np.array(MOVES) / BIN)


def band(name: str) -> Image:
    """One band of the Sloan Digital Sky Survey's image of NGC 6976."""
    from astropy.io import fits

    image = fits.getdata(DATA / "astro_sdss_gri" / f"reprojected_sdss_{name}.fits.bz2")
    return np.asarray(image, np.float64)


#: Pixels (y, x) that are cut off the top and left of the moving image, so that there is a shift to find.
CUT = (17, 23)


def cut(image: Image) -> Image:
    """The image without its first rows and columns."""
    return image[CUT[0] :, CUT[1] :].copy()


def band_case(first: str, second: str) -> Case:
    """Two bands, their bright stars compressed, of which the second begins lower and further right."""
    one, two = (np.arcsinh(band(name) / 0.1) for name in (first, second))
    return Case(one, cut(two), {"init": "phase_correlation", "gain_bias": True})


def band_offset(first: str, second: str) -> Shift:
    """The shift between two bands, in pixels, the cut added back."""
    case = band_case(first, second)
    return np.asarray(npsubpix.align(*case[:2], **case.options).matrix[:2, 2] + CUT)


def star_offset(first: str, second: str) -> Shift:
    """The median shift of the stars of two bands, each refined by its centroid."""
    import csv

    with (DATA / "astro_sdss_gri" / "seeds.csv").open(newline="") as file:
        seeds = np.array([[float(row["seed_y"]), float(row["seed_x"])] for row in csv.DictReader(file)])
    one, two = (npsubpix.refine_peaks(band(name), seeds, method="centroid", radius=5) for name in (first, second))
    return np.asarray(np.median((two.coords - one.coords)[one.ok & two.ok], axis=0))


def bead_case() -> Case:
    """Two frames of beads that move by themselves, of which the second begins lower and further right."""
    import imageio.v3 as imageio

    folder = DATA / "micro_trackpy_t76"
    one, two = (255.0 - imageio.imread(folder / f"T76S3F0000{k}.png") for k in (1, 4))
    return Case(one, cut(two), {"init": "phase_correlation", "loss": "tukey"})


def table() -> str:
    """The table as Markdown."""
    lines = ["| images | what | median | 95 % | greatest |", "|---|---|---|---|---|"]
    for name in PHOTOGRAPHS:
        for what, errors in (("`align`", photograph_errors), ("phase correlation", phase_errors)):
            distance = np.hypot(*errors(name).T)
            shown = " | ".join(f"{v:.4f}" for v in (np.median(distance), np.percentile(distance, 95), distance.max()))
            lines.append(f"| {Path(name).stem} | {what} | {shown} |")
    return "\n".join(lines)


def closure() -> str:
    """Shifts of bands as Markdown: from the pixels, from the stars, and around the circle."""
    pairs = [("g", "r"), ("r", "i"), ("i", "g")]
    lines = ["| bands | shift of `align` (y, x) | median shift of the stars |", "|---|---|---|"]
    found, stars = [band_offset(*p) for p in pairs], [star_offset(*p) for p in pairs]
    for pair, a, b in zip(pairs, found, stars, strict=True):
        lines.append(f"| {pair[0]} to {pair[1]} | ({a[0]:.3f}, {a[1]:.3f}) | ({b[0]:.3f}, {b[1]:.3f}) |")
    a, b = np.sum(found, axis=0), np.sum(stars, axis=0)
    lines.append(f"| all three | ({a[0]:.3f}, {a[1]:.3f}) | ({b[0]:.3f}, {b[1]:.3f}) |")
    return "\n".join(lines)


def draw(cases: dict[str, Case], path: Path) -> None:
    """Draw for each case the fixed image, and what differs before and after it is aligned."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.2 * len(cases)), layout="constrained", facecolor="white")
    grid = figure.subplots(len(cases), 3, squeeze=False)
    for axes, (name, case) in zip(grid, cases.items(), strict=True):
        result = npsubpix.align(*case[:2], **case.options)
        before, after = (difference(case, result, matrix) for matrix in (np.eye(3), result.matrix))
        low, high = np.percentile(case.fixed, (1, 99.5))
        limit = np.nanpercentile(np.abs(before), 99.5)
        axes[0].imshow(case.fixed, cmap="gray", vmin=low, vmax=high)
        for ax, what in zip(axes[1:], (before, after), strict=True):
            ax.imshow(what, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        rms = [np.sqrt(np.nanmean(x**2)) for x in (before, after)]
        for ax, title in zip(axes, (name, f"before, RMS {rms[0]:.3g}", f"after, RMS {rms[1]:.3g}"), strict=True):
            ax.set_title(title, fontsize=10)
            ax.set_axis_off()
    figure.savefig(path, dpi=90)


def difference(case: Case, result: npsubpix.Alignment, matrix: npt.NDArray[np.float64]) -> Image:
    """The moving image where the matrix puts it, at the brightness of the fixed one, minus that."""
    warped = npsubpix.warp(case.moving, matrix, case.fixed.shape, method="bspline3", cval=float("nan"))
    return np.asarray((warped - result.bias) / result.gain - case.fixed)


def main() -> None:
    """Print the tables, and draw the picture if a path is given."""
    warnings.simplefilter("ignore")
    if not DATA.exists():
        sys.exit(f"{DATA} is not there: it holds the images")
    print(table(), closure(), sep="\n\n")
    case = bead_case()
    result = npsubpix.align(*case[:2], **case.options)
    shift, error = result.matrix[:2, 2] + CUT, np.sqrt(np.diag(result.covariance))
    print(f"\nbeads: shift ({shift[0]:.3f} ± {error[0]:.3f}, {shift[1]:.3f} ± {error[1]:.3f}), {result.flags!r}")
    if len(sys.argv) > 1:
        cases = {
            "photograph, (3/8, 5/8) px": photograph_case("camera.png", (3, 5)),
            "SDSS, r and i band": band_case("r", "i"),
            "beads, two frames": case,
        }
        draw(cases, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
