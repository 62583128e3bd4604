"""How close positions are to reference catalogues, on real images: ``python -m benchmarks.accuracy``.

The images are not part of the project: the folder ``../shared/data`` beside it holds them, with
their sources. A set is one function that returns the offsets of positions from a catalogue.
"""

from __future__ import annotations

import csv
import dataclasses
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.spatial import KDTree

import npsubpix
from benchmarks.centring import PEERS
from npsubpix import PeakFlags

DATA = Path(__file__).parents[2] / "shared" / "data"

Points = npt.NDArray[np.float64]


class Offsets(NamedTuple):
    """Offsets (y, x) in pixels of matched positions, and how many the catalogue has."""

    pixels: Points
    listed: int


def match(found: Points, listed: Points, within: float) -> Points:
    """Offsets of the nearest found position of each listed one, where it is close enough."""
    distance, nearest = KDTree(found).query(listed)
    close = distance < within
    return found[nearest[close]] - listed[close]


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file, comment lines left out."""
    with path.open(newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def columns(rows: list[dict[str, str]], *names: str) -> Points:
    """Columns of a table as an array of one row an entry."""
    return np.array([[float(row[name]) for name in names] for row in rows])


def window(method: str, radius: float) -> dict[str, Any]:
    """Return the radius of the window, for a method that has one."""
    return {} if method == "least_squares" else {"radius": radius}


def is_measured(peaks: npsubpix.Peaks, method: str = "") -> npt.NDArray[np.bool_]:
    """Whether rows were refined; of `OK_ROWS` whether their fits are ok, which other methods cannot say."""
    doubts = PeakFlags.POOR_FIT | PeakFlags.LOW_SIGNAL | PeakFlags.BLENDED | PeakFlags.OUT_OF_RANGE
    told = peaks if method == OK_ROWS else dataclasses.replace(peaks, flags=peaks.flags & ~int(doubts))
    return np.asarray(told.ok)


def refinement(method: str) -> str:
    """Return the method of `find_peaks` of a row of the tables."""
    return "fit" if method == OK_ROWS else method


class Found(NamedTuple):
    """Positions, and the frame of each."""

    coords: Points
    frame: npt.NDArray[np.int64] | None


def locate(
    image: npt.NDArray[Any], method: str, radius: int, camera: npsubpix.Camera | None = None, **options: Any
) -> Found:
    """Find peaks, and refine them by a method of `find_peaks`, by likelihood or by another library."""
    if method != LIKELIHOOD and method not in PEERS:
        peaks = npsubpix.find_peaks(
            image, refine=refinement(method), n_iters=ITERATIONS.get(method, 50), **window(method, radius), **options
        )
        peaks = peaks[is_measured(peaks, method)]
        return Found(peaks.coords, peaks.frame)
    peaks = npsubpix.find_peaks(image, refine=None, **options)
    axis = options.get("frame_axis")
    if method == LIKELIHOOD:
        fits = npsubpix.fit_spots(image, peaks, camera=camera, box=2 * radius + 1, frame_axis=axis)
        fits = fits[fits.ok]
        return Found(fits.coords, fits.frame)
    offset = 0.0 if camera is None else camera.offset
    frames = (
        [(image, peaks.indices)]
        if axis is None
        else [(f, peaks.indices[peaks.frame == k]) for k, f in enumerate(image)]
    )
    found = [PEERS[method](np.asarray(f, np.float64) - offset, pixels, radius) for f, pixels in frames]
    number = None if axis is None else np.repeat(np.arange(len(frames)), [len(f) for f in found])
    joined = np.concatenate(found)
    kept = np.isfinite(joined).all(1)
    return Found(joined[kept], None if number is None else number[kept])


def stars(image: npt.NDArray[Any], listed: Points, method: str) -> Offsets:
    """Stars of M51 in an image of it or of one of its regions."""
    found = locate(image, method, 6, min_distance=5, threshold_abs=200)
    return Offsets(match(found.coords, listed, 1.5), len(listed))


def m51_starfind(method: str) -> Offsets:
    """Stars of M51, and IRAF starfind's table; its knots of the galaxy and its star at the edge left out."""
    from astropy.io import fits

    image = fits.getdata(DATA / "astro_iraf_m51" / "dev_pix.fits")
    rows = rows_of(DATA / "astro_iraf_m51" / "starfind_expected.csv")
    return stars(image, columns(rows, "y0", "x0")[[1, 2, 4, 6, 7, 8, 9]], method)


def ntt_sextractor(method: str) -> Offsets:
    """Galaxies and stars of an ESO field, and SExtractor's windowed positions (XWIN, YWIN) without flags."""
    from astropy.io import fits

    folder = DATA / "astro_sextractor_ntt"
    image = fits.getdata(folder / "image.fits") - fits.getdata(folder / "back.fits")
    noise = float(np.median(fits.getdata(folder / "rms.fits")))
    catalogue = sextractor_catalogue(folder / "image.cat")
    found = locate(image, method, 6, size=5, min_distance=4, threshold_abs=3 * noise)
    return Offsets(match(found.coords, catalogue[:, :2], 2.0), len(catalogue))


def sextractor_catalogue(path: Path) -> Points:
    """Columns y, x (from 0) and half-light radius of the unflagged rows of a SExtractor catalogue."""
    lines = path.read_text().splitlines()
    names: dict[str, int] = {}
    for line in lines:
        if line.startswith("#"):
            _, number, name, *_ = line.split()
            names[name] = int(number) - 1
    table = np.array([[float(v) for v in line.split()] for line in lines if line and not line.startswith("#")])
    clean = table[table[:, names["FLAGS"]] == 0]
    y, x, radius = (
        clean[:, names["YWIN_IMAGE"]] - 1,
        clean[:, names["XWIN_IMAGE"]] - 1,
        clean[:, names["FLUX_RADIUS"] + 1],
    )
    return np.stack([y, x, radius], axis=1)


def ntt_same_window(method: str) -> Offsets:
    """The same, each object with the window that SExtractor used: standard deviation 2 R50 / 2.35.

    Objects whose window is narrower than a pixel are left out, as there are no such windows here.
    """
    from astropy.io import fits

    folder = DATA / "astro_sextractor_ntt"
    image = fits.getdata(folder / "image.fits") - fits.getdata(folder / "back.fits")
    catalogue = sextractor_catalogue(folder / "image.cat")
    offsets = []
    catalogue = catalogue[2 * catalogue[:, 2] / 2.35 >= 1]  # SExtractor measured no half-light radius of one
    for y, x, half_light in catalogue:
        radius = 3 * 2 * half_light / 2.35
        peak = npsubpix.refine_peaks(image, [[y, x]], method=method, n_iters=50, max_shift=3, **window(method, radius))
        if peak.ok[0]:
            offsets.append(peak.coords[0] - (y, x))
    return Offsets(np.array(offsets), len(catalogue))


def sdss_bands(method: str) -> Offsets:
    """Stars of one field in the r and i bands: the same position twice, median offset removed."""
    from astropy.io import fits

    folder = DATA / "astro_sdss_gri"
    seeds = columns(rows_of(folder / "seeds.csv"), "seed_y", "seed_x")
    bands = [fits.getdata(folder / f"reprojected_sdss_{band}.fits.bz2") for band in "ri"]
    r, i = (
        npsubpix.refine_peaks(band, seeds, method=refinement(method), radius=5, n_iters=ITERATIONS.get(method))
        for band in bands
    )
    both = is_measured(r, method) & is_measured(i, method)
    offsets = (r.coords - i.coords)[both]
    return Offsets((offsets - np.median(offsets, axis=0)) / np.sqrt(2), len(seeds))


def bandpass(image: Points, wide: int) -> Points:
    """Smooth an image of dark beads, and subtract its surroundings, as trackpy does before it looks for them."""
    light = 255.0 - image
    return np.maximum(gaussian_filter(light, 1) - uniform_filter(light, wide), 0)


def trackpy_t76(method: str) -> Offsets:
    """Dark beads, and trackpy 0.4's frozen positions: bandpass, centre of mass in a disc of 9 pixels."""
    import imageio.v3 as imageio

    folder = DATA / "micro_trackpy_t76"
    image = bandpass(imageio.imread(folder / "T76S3F00001.png"), 9)
    listed = np.load(folder / "reproducibility_v0.4.npz")["arr_3"][:, :2]
    found = locate(image, method, 4, min_distance=5)
    return Offsets(match(found.coords, listed, 2.0), len(listed))


class Recorded(NamedTuple):
    """A frame of dark beads as it was recorded, with 8 bits, inverted; its catalogue, and the size of its beads."""

    image: npt.NDArray[np.uint8]
    listed: Points
    apart: float
    radius: float

    def peaks(self, method: str, plateau: str = "refine") -> npsubpix.Peaks:
        """Find the beads above three times the noise of the local background."""
        return npsubpix.find_peaks(
            self.image,
            min_distance=self.apart,
            background=npsubpix.local_background(self.image, 32),
            threshold_abs=3,
            plateau=plateau,
            refine=refinement(method),
            **window(method, self.radius),
        )


def recorded_t76() -> Recorded:
    """Beads of trackpy's frame T76, and its frozen positions."""
    import imageio.v3 as imageio

    folder = DATA / "micro_trackpy_t76"
    image = 255 - imageio.imread(folder / "T76S3F00001.png")
    return Recorded(image, np.load(folder / "reproducibility_v0.4.npz")["arr_3"][:, :2], 5, 4)


def recorded_bulkwater() -> Recorded:
    """Beads in bulk water, in and out of focus, and trackpy 0.7's positions."""
    import imageio.v3 as imageio

    folder = DATA / "micro_trackpy_bulkwater"
    image = 255 - imageio.imread(folder / "bulk_water_000.png")[..., 1]
    return Recorded(image, columns(rows_of(folder / "trackpy_0.7_frame0_d11_invert.csv"), "y", "x"), 6, 5)


def as_recorded(frame: Callable[[], Recorded]) -> Callable[[str], Offsets]:
    """Positions in a frame of 8 bits as it was recorded, in which the brightest pixels of many beads are equal."""

    def compare(method: str) -> Offsets:
        beads = frame()
        peaks = beads.peaks(method)
        return Offsets(match(peaks.coords[is_measured(peaks, method)], beads.listed, 2.0), len(beads.listed))

    compare.__doc__ = as_recorded.__doc__
    return compare


def found_as_recorded(frame: Callable[[], Recorded]) -> dict[str, int]:
    """Return how many beads of a catalogue are found, accepted by the refinement or not, by the choice of `plateau`."""
    beads = frame()
    found = {p: len(match(beads.peaks("centroid", p).coords, beads.listed, 2.0)) for p in ("drop", "refine")}
    return {"listed": len(beads.listed), **found}


def trackpy_bulkwater(method: str) -> Offsets:
    """Beads in and out of focus, and trackpy 0.7's positions: bandpass, centre of mass in a disc of 11 pixels."""
    import imageio.v3 as imageio

    folder = DATA / "micro_trackpy_bulkwater"
    image = bandpass(imageio.imread(folder / "bulk_water_000.png")[..., 1], 11)
    listed = columns(rows_of(folder / "trackpy_0.7_frame0_d11_invert.csv"), "y", "x")
    found = locate(image, method, 5, min_distance=6)
    return Offsets(match(found.coords, listed, 2.0), len(listed))


def molecules(stack: npt.NDArray[Any], truth: list[dict[str, str]], method: str) -> Offsets:
    """Single molecules of a movie and their true positions, those 8 pixels from any other."""
    isolated = [row for row in truth if float(row["nn_px"]) > 8]
    peaks = locate(stack, method, 4, npsubpix.Camera(offset=100), size=5, frame_axis=0)
    offsets = []
    for frame in range(len(stack)):
        listed = columns([row for row in isolated if int(float(row["frame"])) == frame], "y0", "x0")
        offsets.append(match(peaks.coords[peaks.frame == frame], listed, 2.0))
    return Offsets(np.concatenate(offsets), len(isolated))


def storm(name: str) -> Callable[[str], Offsets]:
    """Simulated single-molecule frames with their true positions, those 8 pixels from any other."""

    def compare(method: str) -> Offsets:
        import tifffile

        folder = DATA / "smlm_storm_analysis"
        return molecules(tifffile.imread(folder / f"{name}.tif"), rows_of(folder / f"{name}_truth.csv"), method)

    compare.__doc__ = storm.__doc__
    return compare


def picasso(method: str) -> Offsets:
    """Simulated DNA-PAINT frames, and picasso's maximum-likelihood fits of them."""
    import tifffile

    folder = DATA / "smlm_picasso_origami"
    stack = tifffile.imread(folder / "testdata.tif")
    rows = rows_of(folder / "picasso_mle_locs.csv")
    frames = columns(rows, "frame")[:, 0].astype(int)
    listed = columns(rows, "y", "x")
    peaks = locate(stack, method, 3, npsubpix.Camera(), size=5, frame_axis=0)
    offsets = [match(peaks.coords[peaks.frame == f], listed[frames == f], 1.5) for f in np.unique(frames)]
    return Offsets(np.concatenate(offsets), len(rows))


#: Fits, of which those rows are left out that are not `ok`.
OK_ROWS = "fit, rows that are ok"

METHODS = ("quadratic", "parabola", "centroid", "fit", OK_ROWS)

#: Greatest numbers of iterations; of other methods 50.
ITERATIONS = {"quadratic": 20, "parabola": 20, "centroid": 20, "least_squares": 20, "log_quadratic": 20}

#: The fit by likelihood, where the camera is known.
LIKELIHOOD = "fit, with the camera"

IMAGES = ("sep, windowed", "trackpy, centre of mass", "photutils, Gaussian")
CAMERAS = (LIKELIHOOD, "sep, windowed", "trackpy, centre of mass", "picasso, likelihood")

SETS: dict[str, tuple[Callable[[str], Offsets], tuple[str, ...]]] = {
    "M51, IRAF starfind": (m51_starfind, (*METHODS, *IMAGES)),
    "ESO NTT, SExtractor XWIN/YWIN": (ntt_sextractor, (*METHODS, *IMAGES)),
    "the same, SExtractor's own windows": (ntt_same_window, ("centroid",)),
    "SDSS, r against i band, one band's error": (sdss_bands, METHODS),
    "beads T76, trackpy 0.4": (trackpy_t76, (*METHODS, "sep, windowed")),
    "beads T76 as recorded, trackpy 0.4": (as_recorded(recorded_t76), METHODS),
    "beads in bulk water, trackpy 0.7": (trackpy_bulkwater, (*METHODS, "sep, windowed")),
    "beads in bulk water as recorded, trackpy 0.7": (as_recorded(recorded_bulkwater), METHODS),
    "single molecules, low signal, truth": (storm("test_low_snr"), (*METHODS, *CAMERAS, "photutils, Gaussian")),
    "single molecules, high signal, truth": (storm("test_300x200"), (*METHODS, *CAMERAS)),
    "DNA-PAINT, picasso's fits": (picasso, (*METHODS, *CAMERAS)),
}


RECORDED = {"beads T76": recorded_t76, "beads in bulk water": recorded_bulkwater}


def summary(offsets: Offsets) -> dict[str, float]:
    """Distances in pixels: median and 95 %, and the root mean square per axis."""
    distance = np.linalg.norm(offsets.pixels, axis=1)
    return {
        "matched": len(distance),
        "listed": offsets.listed,
        "median": float(np.median(distance)),
        "95 %": float(np.percentile(distance, 95)),
        "rms": float(np.sqrt((offsets.pixels**2).mean())),
    }


def _is_installed(peer: str) -> bool:
    """Whether a library is there, by having it measure a spot."""
    spot = npsubpix.render_spots([[10, 10]], (21, 21), std=1.5, amplitude=1000)
    return PEERS[peer](spot, np.array([[10, 10]]), 4) is not None


def main() -> None:
    """Print the tables as Markdown."""
    warnings.simplefilter("ignore")  # of FITS headers of 1992
    if not DATA.exists():
        sys.exit(f"{DATA} is not there: it holds the images and catalogues")
    print("| set | method | matched | median | 95 % | RMS per axis |")
    print("|---|---|---|---|---|---|")
    for name, (compare, methods) in SETS.items():
        for method in methods:
            if method in PEERS and not _is_installed(method):
                continue
            s = summary(compare(method))
            matched = f"{s['matched']} of {s['listed']}"
            print(f"| {name} | {method} | {matched} | {s['median']:.4f} | {s['95 %']:.4f} | {s['rms']:.4f} |")
    print('\n| frame of 8 bits | beads of the catalogue | found, `plateau="drop"` | found, `plateau="refine"` |')
    print("|---|---|---|---|")
    for name, frame in RECORDED.items():
        found = found_as_recorded(frame)
        print(f"| {name} | {found['listed']} | {found['drop']} | {found['refine']} |")


if __name__ == "__main__":
    main()
