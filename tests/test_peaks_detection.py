"""Peaks that are sought in a filtered image, and measured in the image itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage as ndi

import npsubpix
from tests.assertions import assert_library, on_host

#: Simulated frames of single molecules, and their positions.
MOLECULES = Path(__file__).parent / "data" / "storm_analysis"

TRUTH = np.array([[12.3, 20.6], [30.8, 33.1], [48.2, 14.9], [20.4, 45.2]])


@pytest.fixture
def faint() -> np.ndarray:
    """Spots of few photons, of which single pixels are no higher than those of noise."""
    return npsubpix.simulate_spots((60, 60), TRUTH, flux=160, sigma=1.3, background=3.0, rng=2)


def filtered(image: np.ndarray, detect: str) -> np.ndarray:
    if detect == "gaussian":
        return ndi.gaussian_filter(image, 1.3)
    if detect == "dog":
        return npsubpix.difference_of_gaussians(image, 1.3)
    return -npsubpix.laplacian_of_gaussian(image, 1.3)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("detect", ["gaussian", "dog", "log"])
def test_faint_spots_are_found_and_noise_is_not(faint, wrap, detect):
    """Thresholds are in units of the noise of the filtered image; values and positions are those of the image."""
    image = wrap(faint)
    found = npsubpix.find_peaks(image, detect=detect, detect_sigma=1.3, threshold_abs=5, refine="centroid")
    result = npsubpix.assess(found, TRUTH, 1.0)
    assert (result.n_matched, len(found)) == (4, 4)
    assert_library(found.coords, image)
    again = npsubpix.refine_peaks(faint, on_host(found.indices), method="centroid")
    np.testing.assert_allclose(on_host(found.coords), again.coords, atol=1e-9)
    np.testing.assert_array_equal(on_host(found.values), again.values)
    raw = npsubpix.find_peaks(faint, threshold_abs=3, background=3.0, sigma=3**0.5, refine="centroid")
    assert len(raw) > 8  # what the pixels alone show


def test_molecules_of_a_published_simulation():
    """At a threshold of six times the noise, the pixels alone show 63 of 95 molecules; no filter invents one."""
    image = pytest.importorskip("tifffile").imread(MOLECULES / "low_signal.tif").squeeze()
    truth = np.loadtxt(MOLECULES / "low_signal_truth.csv", delimiter=",", skiprows=1)[:, 1:3]
    options = {"threshold_abs": 6, "refine": "centroid"}
    raw = npsubpix.find_peaks(image, background=npsubpix.local_background(image), **options)
    assert npsubpix.assess(raw, truth, 1.5).n_matched == 63
    for detect, count in (("gaussian", 90), ("dog", 88), ("log", 84)):
        found = npsubpix.find_peaks(image, detect=detect, detect_sigma=1.0, **options)
        assert (npsubpix.assess(found, truth, 1.5).n_matched, len(found)) == (count, count)


@pytest.mark.usefixtures("backend")
def test_the_image_of_the_caller_a_function_and_a_name_are_one(faint):
    options = {"threshold_abs": 4, "refine": "centroid"}
    for detect in ("gaussian", "dog", "log"):
        named = npsubpix.find_peaks(faint, detect=detect, detect_sigma=1.3, **options)
        array = npsubpix.find_peaks(faint, detect=filtered(faint, detect), **options)
        function = npsubpix.find_peaks(faint, detect=lambda x, name=detect: filtered(x, name), **options)
        for other in (array, function):
            np.testing.assert_allclose(named.coords, other.coords, atol=1e-9)
            np.testing.assert_array_equal(named.indices, other.indices)
    background = npsubpix.local_background(filtered(faint, "dog"))
    given = npsubpix.find_peaks(faint, detect="dog", detect_sigma=1.3, background=background, **options)
    np.testing.assert_array_equal(
        given.indices, npsubpix.find_peaks(faint, detect="dog", detect_sigma=1.3, **options).indices
    )


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("detect", ["gaussian", "dog", lambda frame: ndi.gaussian_filter(np.asarray(frame), 1.3)])
def test_frames_are_searched_each_for_itself(faint, detect, axis):
    sigma = 1.3 if isinstance(detect, str) else None
    movie = np.stack([faint, np.full(faint.shape, 3.0), faint[::-1]])
    options = {"detect": detect, "detect_sigma": sigma, "threshold_abs": 5, "refine": "centroid"}
    found = npsubpix.find_peaks(np.moveaxis(movie, 0, axis), frame_axis=axis, **options)
    assert found.frame.tolist() == [0] * 4 + [2] * 4
    alone = npsubpix.find_peaks(faint, **options)
    np.testing.assert_allclose(found.coords[:4], alone.coords, atol=1e-9)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("of_frame", [False, True])
def test_masked_pixels_and_nan_make_no_spots_around_them(faint, of_frame):
    """The filter would spread a hot pixel beyond its mask, and NaN over its whole window."""
    image, mask = faint.copy(), np.zeros(faint.shape, bool)
    image[40, 45], mask[40, 45], image[10, 40], image[33, 36] = 5000, True, np.nan, np.inf
    options = {"detect": "gaussian", "detect_sigma": 1.3, "threshold_abs": 5, "refine": None}
    if of_frame:
        found = npsubpix.find_peaks(image[None], mask=mask, frame_axis=0, **options)
    else:
        found = npsubpix.find_peaks(image, mask=mask, **options)
    result = npsubpix.assess(found.coords, TRUTH, 2.0)
    assert (result.n_matched, len(found)) == (4, 4)


@pytest.mark.exhaustive  # which compiles for integers and volumes
@pytest.mark.usefixtures("backend")
def test_integers_volumes_and_minima(faint):
    counts = faint.astype(np.uint16)
    options = {"detect_sigma": 1.3, "threshold_abs": 5, "refine": "centroid"}
    for detect in ("gaussian", "dog"):
        found = npsubpix.find_peaks(counts, detect=detect, **options)
        want = npsubpix.find_peaks(faint, detect=detect, **options)
        np.testing.assert_array_equal(found.indices, want.indices)
    dark = npsubpix.find_peaks(200.0 - faint, detect="dog", minima=True, **options)
    assert npsubpix.assess(dark, TRUTH, 1.0).n_matched == 4
    assert set(dark.flag_names()) == {"MINIMUM"}
    volume = npsubpix.render_spots([[6.2, 9.7, 10.4]], (12, 20, 22), std=(1.5, 1.2, 1.2), amplitude=500.0)
    volume += np.random.default_rng(0).normal(0, 1, volume.shape)
    found = npsubpix.find_peaks(volume, detect="dog", detect_sigma=(1.5, 1.2, 1.2), threshold_abs=8, refine="centroid")
    np.testing.assert_allclose(found.coords, [[6.2, 9.7, 10.4]], atol=0.2)


def test_periodic_images_are_filtered_beyond_their_border():
    image = npsubpix.render_spots([[0.2, 15.0], [30.2, 15.0]], (30, 31), std=1.3, amplitude=100.0)
    found = npsubpix.find_peaks(
        image, detect="gaussian", detect_sigma=1.3, mode="wrap", refine="centroid", threshold_abs=9
    )
    np.testing.assert_allclose(found.coords, [[0.2, 15.0]], atol=0.02)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"detect": "dog"}, ValueError, "detect_sigma must be the width of spots in pixels with detect='dog'"),
        ({"detect": "canny", "detect_sigma": 1}, ValueError, "detect must be one of 'dog', 'log', 'gaussian', None"),
        ({"detect_sigma": 1}, ValueError, "detect_sigma is of the filters 'dog', 'log' and 'gaussian'"),
        ({"detect": np.ones((9, 9)), "detect_sigma": 1}, ValueError, "detect_sigma is of the filters"),
        ({"detect": np.ones((9, 8))}, ValueError, r"detect must be an array of the shape of the image, \(9, 9\)"),
        ({"detect": lambda x: x[1:]}, ValueError, "detect must return an array of the shape of the image"),
        ({"detect": 5}, ValueError, "detect must be an array of the shape"),
        ({"detect": "dog", "detect_sigma": -1}, ValueError, "detect_sigma must be positive"),
        ({"detect": "gaussian", "detect_sigma": (1, 2, 3)}, ValueError, "detect_sigma must be one number or 2"),
        ({"detect": "dog", "detect_sigma": 1, "mask": np.ones((3, 3), bool)}, ValueError, "mask must have the shape"),
    ],
)
def test_misuse(options, error, message):
    with pytest.raises(error, match=message):
        npsubpix.find_peaks(np.ones((9, 9)), **options)
