"""Positions on real images against reference catalogues: IRAF, SExtractor, trackpy, picasso, and simulated truth.

Two small sets are in ``tests/data``, and photographs come with scikit-image. The other sets are larger, and lie
beside the project where they are there at all.

The bounds of the larger sets are what docs/accuracy.md and docs/alignment.md say, rounded up; a change that makes
positions worse breaks them.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits

import npsubpix
from benchmarks import accuracy, alignment_accuracy, centroid_accuracy, piv_accuracy, plateau_accuracy

SMALL = Path(__file__).parent / "data"

# Measured when the bounds were set: medians of 0.045, 0.164 and 0.156 pixels, and at most 0.086, 0.208 and 0.238.
# IRAF's two programs differ by up to 0.14 pixels on these stars, and "quadratic" and "parabola" are drawn
# to the middle of the pixel by stars as narrow as these (half width at half maximum 1.6 pixels).
STARS = [("centroid", 0.05, 0.1), ("quadratic", 0.18, 0.22), ("parabola", 0.17, 0.25)]

# RMS error along an axis, measured when the bounds were set: 0.0263, 0.0727 and 0.0756 pixels with high signal,
# 0.145, 0.285 and 0.296 with low signal. Gaussian fits that begin at the true pixel have 0.029 and 0.148 on the
# whole of these movies, and a 3 × 3 quadratic 0.056 and 0.24.
MOLECULES = [
    # movie, method, least matched, bound of the RMS
    ("high_signal", "centroid", 132, 0.029),
    ("high_signal", "quadratic", 132, 0.08),
    ("high_signal", "parabola", 132, 0.083),
    ("low_signal", "centroid", 61, 0.155),
    ("low_signal", "quadratic", 62, 0.31),
    ("low_signal", "parabola", 62, 0.32),
]


@pytest.mark.parametrize(("method", "median", "most"), STARS)
def test_stars_of_two_regions_of_m51(method, median, most):
    """Each of the seven stars is found, in the arms and beside them, where IRAF's starfind has it."""
    rows = accuracy.rows_of(SMALL / "m51" / "starfind.csv")
    offsets = []
    for region in ("disc", "outskirts"):
        listed = accuracy.columns([row for row in rows if row["region"] == region], "y", "x")
        offsets.append(accuracy.stars(fits.getdata(SMALL / "m51" / f"{region}.fits"), listed, method).pixels)
    distances = np.linalg.norm(np.concatenate(offsets), axis=1)
    assert len(distances) == 7
    assert np.median(distances) <= median
    assert distances.max() <= most


@pytest.mark.parametrize(("movie", "method", "matched", "rms"), MOLECULES)
def test_single_molecules(movie, method, matched, rms):
    """Nearly all molecules are found, on average where the simulator drew them, and scattered as little as expected."""
    stack = tifffile.imread(SMALL / "storm_analysis" / f"{movie}.tif")
    truth = accuracy.rows_of(SMALL / "storm_analysis" / f"{movie}_truth.csv")
    offsets = accuracy.molecules(stack, truth, method)
    found = accuracy.summary(offsets)
    assert found["matched"] >= matched
    assert found["rms"] <= rms
    error_of_mean = offsets.pixels.std(0) / np.sqrt(len(offsets.pixels))
    assert (np.abs(offsets.pixels.mean(0)) < 4 * error_of_mean).all()


def test_where_refinement_of_plateaus_is_valid(rng):
    """Fits are right on two equal pixels of an unsaturated spot, and no better than the centre of a wider plateau; the
    centroid is right on both."""
    dim = plateau_accuracy.errors(rng, 2.5, 40.0, "0.01", count=10)["two pixels"]
    assert dim["spots"] > 20
    assert dim["centroid"] < 0.01
    assert max(dim["quadratic"], dim["parabola"]) < 0.08 < 0.12 < dim["centre"]
    for sigma in (1.5, 2.5):
        clipped = plateau_accuracy.errors(rng, sigma, 352.0, "2", count=10)["more pixels"]
        assert clipped["centroid"] < 0.03 < 0.05 < clipped["centre"]
        for method in ("quadratic", "parabola"):
            assert not clipped[method] < clipped["centre"]  # NaN, or worse


def test_where_the_window_of_a_centroid_is_wide_enough(rng):
    """With a pixel more than the plateau on each side, and not with less."""
    found = plateau_accuracy.window_errors(rng, count=4)
    assert found["4 or more"]["rms"] < 0.03
    assert found["2 or 3"]["rms"] < 0.05
    assert found["0 or 1"]["rms"] > 0.06
    assert found["narrower than the plateau"]["rms"] > 0.2


def test_centroids_of_narrow_spots():
    """Their bias is below 0.045 pixels at a standard deviation of half a pixel, and a larger radius halves it."""
    for averaged, bounds in ((False, (0.045, 0.031, 0.022)), (True, (0.018, 0.009, 0.004))):
        for error, bound in zip(centroid_accuracy.errors(0.5, averaged), bounds, strict=True):
            assert error < bound


CASES = [
    # name, method, folder, least matched, bound of the median and of 95 %, in pixels
    ("M51, IRAF starfind", "centroid", "astro_iraf_m51", 7, 0.05, 0.1),
    ("M51, IRAF starfind", "quadratic", "astro_iraf_m51", 7, 0.18, 0.25),
    ("ESO NTT, SExtractor XWIN/YWIN", "centroid", "astro_sextractor_ntt", 46, 0.12, 0.6),
    ("the same, SExtractor's own windows", "centroid", "astro_sextractor_ntt", 48, 1e-3, 0.01),
    ("SDSS, r against i band, one band's error", "quadratic", "astro_sdss_gri", 140, 0.04, 0.25),
    ("SDSS, r against i band, one band's error", "parabola", "astro_sdss_gri", 140, 0.04, 0.25),
    ("SDSS, r against i band, one band's error", "centroid", "astro_sdss_gri", 140, 0.04, 0.16),
    ("beads T76, trackpy 0.4", "centroid", "micro_trackpy_t76", 340, 0.12, 0.36),
    ("beads T76 as recorded, trackpy 0.4", "centroid", "micro_trackpy_t76", 315, 0.16, 0.52),
    ("beads T76 as recorded, trackpy 0.4", "quadratic", "micro_trackpy_t76", 300, 0.58, 1.5),
    ("beads in bulk water as recorded, trackpy 0.7", "centroid", "micro_trackpy_bulkwater", 400, 0.2, 0.85),
    ("beads in bulk water, trackpy 0.7", "centroid", "micro_trackpy_bulkwater", 500, 0.22, 1.1),
    ("single molecules, low signal, truth", "quadratic", "smlm_storm_analysis", 250, 0.36, 0.8),
    ("single molecules, low signal, truth", "centroid", "smlm_storm_analysis", 250, 0.19, 0.36),
    ("single molecules, high signal, truth", "quadratic", "smlm_storm_analysis", 665, 0.085, 0.19),
    ("single molecules, high signal, truth", "centroid", "smlm_storm_analysis", 665, 0.032, 0.065),
    ("DNA-PAINT, picasso's fits", "centroid", "smlm_picasso_origami", 30, 0.006, 0.013),
    ("M51, IRAF starfind", "fit", "astro_iraf_m51", 7, 0.075, 0.12),
    # three stars more than Gauss-Newton steps reached, at 0.3 to 0.7 pixels; the others are where they were, at 0.026
    ("ESO NTT, SExtractor XWIN/YWIN", "fit", "astro_sextractor_ntt", 50, 0.032, 0.6),
    ("SDSS, r against i band, one band's error", "fit", "astro_sdss_gri", 142, 0.027, 0.16),
    ("beads T76, trackpy 0.4", "fit", "micro_trackpy_t76", 335, 0.095, 0.36),
    ("beads in bulk water, trackpy 0.7", "fit", "micro_trackpy_bulkwater", 480, 0.2, 1.05),
    ("single molecules, low signal, truth", "fit", "smlm_storm_analysis", 270, 0.185, 0.38),
    ("ESO NTT, SExtractor XWIN/YWIN", accuracy.OK_ROWS, "astro_sextractor_ntt", 30, 0.022, 0.4),
    ("beads T76, trackpy 0.4", accuracy.OK_ROWS, "micro_trackpy_t76", 60, 0.05, 0.14),
    ("single molecules, low signal, truth", accuracy.OK_ROWS, "smlm_storm_analysis", 269, 0.185, 0.38),
    ("single molecules, low signal, truth", accuracy.LIKELIHOOD, "smlm_storm_analysis", 270, 0.185, 0.37),
    ("single molecules, high signal, truth", "fit", "smlm_storm_analysis", 668, 0.035, 0.07),
    ("single molecules, high signal, truth", accuracy.LIKELIHOOD, "smlm_storm_analysis", 668, 0.031, 0.063),
    ("DNA-PAINT, picasso's fits", "fit", "smlm_picasso_origami", 30, 0.008, 0.019),
    ("DNA-PAINT, picasso's fits", accuracy.LIKELIHOOD, "smlm_picasso_origami", 30, 0.0006, 0.004),
]


@pytest.mark.parametrize(("name", "method", "folder", "matched", "median", "most"), CASES)
def test_catalogues(data, name, method, folder, matched, median, most):
    data(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of FITS headers of 1992
        offsets = accuracy.SETS[name][0](method)
    found = accuracy.summary(offsets)
    assert found["matched"] >= matched
    assert found["median"] <= median
    assert found["95 %"] <= most


@pytest.mark.parametrize(("name", "others"), [
    ("single molecules, low signal, truth", ("quadratic", "centroid", "fit", "trackpy, centre of mass")),
    ("single molecules, high signal, truth", ("quadratic", "centroid", "fit", "trackpy, centre of mass")),
    ("SDSS, r against i band, one band's error", ("quadratic", "parabola", "centroid")),
    ("ESO NTT, SExtractor XWIN/YWIN", ("quadratic", "centroid", "trackpy, centre of mass")),
])  # fmt: skip
def test_fits_are_nearest_to_the_truth(data, name, others):
    """With the calibration of the camera where there is one; among galaxies and blends, by the median."""
    data("README.md")
    compare, methods = accuracy.SETS[name]
    best, key = (accuracy.LIKELIHOOD, "rms") if accuracy.LIKELIHOOD in methods else ("fit", "median")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = accuracy.summary(compare(best))
        for other in others:
            assert found[key] < accuracy.summary(compare(other))[key]


def test_errors_of_simulated_molecules(data):
    """The errors of all molecules are the scatter around the truth, and nearly all are ok."""
    for movie, count in (("test_low_snr", 272), ("test_300x200", 670)):
        stack = tifffile.imread(data(f"smlm_storm_analysis/{movie}.tif"))
        rows = [r for r in accuracy.rows_of(data(f"smlm_storm_analysis/{movie}_truth.csv")) if float(r["nn_px"]) > 8]
        truth, frame = accuracy.columns(rows, "y0", "x0"), accuracy.columns(rows, "frame")[:, 0].astype(int)
        options = {"frame": frame, "frame_axis": 0, "box": 9}
        for camera in (npsubpix.Camera(offset=100), None):
            found = npsubpix.fit_spots(stack, np.rint(truth), camera=camera, **options)
            assert found.ok.sum() > 0.99 * count
            error = ((found.coords - truth) / found.coords_std)[found.ok]
            assert 0.95 < error.std() < 1.1
            assert np.abs(error).max() < 5


@pytest.mark.parametrize(
    ("name", "folder", "least"),
    [("beads T76", "micro_trackpy_t76", 335), ("beads in bulk water", "micro_trackpy_bulkwater", 425)],
)
def test_beads_of_8_bits_are_found(data, name, folder, least):
    """At least a fourth more than without plateaus."""
    data(folder)
    found = accuracy.found_as_recorded(accuracy.RECORDED[name])
    assert found["refine"] >= least
    assert found["refine"] > 1.25 * found["drop"]


@pytest.mark.parametrize("name", ["single molecules, high signal, truth", "single molecules, low signal, truth"])
def test_no_bias(data, name):
    """The mean offset from the truth is within four standard errors of zero, on each axis."""
    data("smlm_storm_analysis")
    offsets = accuracy.SETS[name][0]("centroid").pixels
    assert (np.abs(offsets.mean(0)) < 4 * offsets.std(0) / np.sqrt(len(offsets))).all()


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("camera.png", 0.025),
        ("brick.png", 0.07),
        ("gravel.png", 0.025),
        ("coins.png", 0.01),
        ("hubble_deep_field.jpg", 0.007),
    ],
)
def test_shifts_of_photographs(name, most):
    """Photographs moved by eighths of a pixel: the greatest error, which is of aliasing."""
    assert np.hypot(*alignment_accuracy.photograph_errors(name).T).max() < most


def test_bands_agree_with_their_stars(data):
    """Shifts between bands from pixels: those of the stars, and zero around the circle."""
    data("astro_sdss_gri")
    pairs = [("g", "r"), ("r", "i"), ("i", "g")]
    found = [alignment_accuracy.band_offset(*pair) for pair in pairs]
    stars = [alignment_accuracy.star_offset(*pair) for pair in pairs]
    np.testing.assert_allclose(found, stars, atol=0.02)
    np.testing.assert_allclose(np.sum(found, axis=0), 0, atol=0.005)


def test_beads_that_move_by_themselves(data):
    """The cut of the second frame is found, to the beads' mean motion between frames."""
    data("micro_trackpy_t76")
    case = alignment_accuracy.bead_case()
    result = npsubpix.align(*case[:2], **case.options)
    assert not result.flags
    np.testing.assert_allclose(result.matrix[:2, 2] + alignment_accuracy.CUT, (0, 0.1), atol=0.03)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("case", "rms"), [("vortex", 0.069), ("vortex, few photons", 0.086), ("gradient", 0.038)])
def test_the_flow_between_two_images(case, rms):
    """The table of docs/accuracy.md: correlations are those of OpenCV, OpenPIV has 0.070, 0.087 and 0.041."""
    results = piv_accuracy.measured(case, {"OpenCV": piv_accuracy.by_peaks(piv_accuracy.opencv)})
    ours, theirs = results["correlate, find_peaks"], results["OpenCV"]
    assert ours[0] < rms
    assert ours[2] == 1
    assert theirs[1] < 1e-4
