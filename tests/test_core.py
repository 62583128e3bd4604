"""Every family of kernels, once or twice each: the tests that run with other versions of NumPy, SciPy and Numba.

They need nothing but these and pytest, and compile as few kernels as they can.
"""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
import scipy.ndimage as ndi

import npsubpix
from tests.reference import gaussian, nms, quad_interp

pytestmark = pytest.mark.core


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((17, 19))


def directional(function, array, step, *args, **options):
    """Change of the sum of squares of what a function returns, by central differences."""
    up, down = (float((function(array + s * step, *args, **options) ** 2).sum()) for s in (1e-6, -1e-6))
    return (up - down) / 2e-6


def assert_gradient(function, array, rng, *args, **options):
    """Compare a gradient with differences along a direction."""
    step = rng.standard_normal(array.shape)
    result, back = npsubpix.vjp(function, array, *args, **options)
    gradient = next(iter(back(2 * result).values()))
    assert float((gradient * step).sum()) == pytest.approx(
        directional(function, array, step, *args, **options), rel=1e-5
    )


def test_linking_is_as_asked():
    """With the versions that are declared pieces of kernels are linked, unless that is turned off."""
    from npsubpix._cpu.compiler import internals

    off = os.environ.get("NPSUBPIX_LINKING") == "0"
    assert internals.why_not_linking() == ("NPSUBPIX_LINKING=0" if off else None)
    assert internals.missing(internals.FUSED_LOOPS) == []


@pytest.mark.parametrize("size", [(3, 3), (5, 4)])
def test_nms(image, size):
    np.testing.assert_array_equal(npsubpix.nms2d(image[None, None], size, mask_only=True)[0, 0], nms.mask(image, size))


def test_threads(rng, threads):
    wide = rng.standard_normal((1, 1, 90, 91))
    assert threads(lambda: npsubpix.nms2d(wide, (3, 3), mask_only=True))
    np.testing.assert_array_equal(npsubpix.nms2d(wide, (3, 3), mask_only=True)[0, 0], nms.mask(wide[0, 0], (3, 3)))


def test_peaks(image):
    peaks = npsubpix.find_peaks(image)
    starts = list(zip(*np.nonzero(nms.mask(image, (3, 3))), strict=True))
    assert sorted(map(tuple, peaks.indices.tolist())) == starts
    for start, coords, value in zip(peaks.indices.tolist(), peaks.coords, peaks.values, strict=True):
        want = quad_interp.refine(image, tuple(start))
        if want is not None:
            np.testing.assert_allclose(coords, want[0], atol=1e-9)
            assert value == pytest.approx(want[1])


def test_centroids():
    spot = gaussian.gaussian((6.3, 7.8), (1.2, 1.2), (14, 16))
    peaks = npsubpix.refine_peaks(spot, [[6, 8]], method="centroid", radius=4)
    np.testing.assert_allclose(peaks.coords, [[6.3, 7.8]], atol=0.01)


def test_quad_interp(rng):
    volume = rng.standard_normal((5, 7, 8))
    want_coords, want_values = quad_interp.dense(volume)
    coords, values = npsubpix.iterative_quad_interp3d(volume[None, None])
    np.testing.assert_allclose(coords[0, 0], want_coords, atol=1e-9)
    np.testing.assert_allclose(values[0, 0], want_values, atol=1e-9)


def test_background(rng):
    noise = rng.normal(100.0, 5.0, (90, 80))
    noise[40:43, 50:53] += 1000
    level, sigma = npsubpix.local_background(noise, 30)
    np.testing.assert_allclose(level, 100, atol=1.5)
    np.testing.assert_allclose(sigma, 5, atol=1)


def test_photometry(rng):
    spot = 500 * gaussian.gaussian((14.3, 15.8), (1.2, 1.2), (30, 31)) + rng.normal(20.0, 1.0, (30, 31))
    measured = npsubpix.measure_spots(spot, [[14, 16]], 5)
    assert abs(measured.flux[0] - 500) < 5 * measured.flux_std[0] < 150
    np.testing.assert_allclose(measured.centroid, [[14.3, 15.8]], atol=0.3)


def test_fits(rng):
    """From a simulated image through a detector and fits to their assessment."""
    truth = np.stack(np.mgrid[10:60:16, 10:60:16], axis=-1).reshape(-1, 2) + rng.uniform(-0.5, 0.5, (16, 2))
    camera = npsubpix.Camera(offset=100, electrons_per_count=0.5, read_variance=2)
    image = npsubpix.simulate_spots((64, 66), truth, flux=2000, sigma=1.2, background=6, camera=camera, rng=rng)
    peaks = npsubpix.find_peaks(image, detect="dog", detect_sigma=1.2, threshold_abs=30)
    fits = npsubpix.fit_spots(image, peaks, sigma=1.2, camera=camera)
    found = npsubpix.assess(fits, truth, 1.0, bound=npsubpix.cramer_rao(2000, 1.2, 6, camera=camera).coords_std)
    assert found.recall == found.precision == 1
    assert 0.5 < np.mean(found.rms_over_bound) < 1.5
    assert abs(np.median(fits.flux) - 2000) < 100
    measured = npsubpix.measure_spots(image, fits, 3.6, camera=camera)
    assert abs(np.median(measured.flux) - 2000) < 100


def softmax_mean(window):
    """Mean position of the pixels of a map, weighted by their exponentials."""
    weights = np.exp(window - window.max())
    return np.array([(weights * axis).sum() for axis in np.indices(window.shape)]) / weights.sum()


def test_soft_argmax(image):
    coords = npsubpix.conv_soft_argmax2d(image[None, None], padding=(0, 0), normalized_coordinates=False)[0, 0]
    for i, j in ((0, 0), (4, 7), (14, 16)):
        want = np.add(softmax_mean(image[i : i + 3, j : j + 3]), (i, j))
        np.testing.assert_allclose(coords[:, i, j], want[::-1], atol=1e-6)


def test_spatial(image, rng):
    np.testing.assert_allclose(npsubpix.spatial_soft_argmax(image, 1.0), softmax_mean(image), atol=1e-9)
    assert_gradient(npsubpix.spatial_soft_argmax, image, rng, 1.0)


def test_gaussians():
    mean, std = (6.3, 7.8), (1.2, 1.5)
    np.testing.assert_allclose(
        npsubpix.render_gaussian(np.array(mean), np.array(std), (14, 16)),
        gaussian.gaussian(mean, std, (14, 16)),
        atol=1e-12,
    )
    spots = np.array([[3.2, 4.4], [9.0, 12.7]])
    np.testing.assert_allclose(
        npsubpix.render_spots(spots, (14, 16), std=1.3), gaussian.spots(spots, (14, 16), 1.3), atol=1e-9
    )


def test_convolution(image, rng):
    kernel = rng.standard_normal((3, 5))
    np.testing.assert_allclose(npsubpix.correlate(image, kernel), ndi.correlate(image, kernel), atol=1e-12)
    lines = rng.standard_normal(3), rng.standard_normal(5)
    want = ndi.convolve(image, np.multiply.outer(*lines))
    np.testing.assert_allclose(npsubpix.convolve_separable(image, lines), want, atol=1e-12)
    assert_gradient(npsubpix.correlate, image, rng, kernel)


def test_filter_banks(rng):
    images, weights = rng.standard_normal((2, 3, 9, 10)), rng.standard_normal((4, 3, 3, 3))
    want = [
        [sum(ndi.correlate(x, w)[1:-1, 1:-1] for x, w in zip(xs, ws, strict=True)) for ws in weights] for xs in images
    ]
    np.testing.assert_allclose(npsubpix.conv2d(images, weights), want, atol=1e-10)


def test_blobs(image):
    want = ndi.gaussian_filter(image, 1.0, truncate=4.0) - ndi.gaussian_filter(image, 1.6, truncate=4.0)
    np.testing.assert_allclose(npsubpix.difference_of_gaussians(image, 1.0), want, atol=1e-12)


def test_sampling(image, rng):
    coords = np.stack([rng.uniform(-3, 20, 80), rng.uniform(-3, 22, 80)])

    def scipy(order, shift=(0, 0)):
        return ndi.map_coordinates(image, coords + np.reshape(shift, (2, 1)), order=order, mode="mirror")

    np.testing.assert_allclose(npsubpix.sample(image, coords, method="linear", mode="mirror"), scipy(1), atol=1e-12)
    assert_gradient(npsubpix.sample, image, rng, coords, method="linear", mode="mirror")
    found = npsubpix.sample_with_gradient(image, coords, method="bspline3", mode="mirror")
    np.testing.assert_allclose(found.values, scipy(3), atol=1e-9)
    for gradient, step in zip(found.gradient, 1e-6 * np.eye(2), strict=True):
        np.testing.assert_allclose(gradient, (scipy(3, step) - scipy(3, -step)) / 2e-6, atol=1e-6)


def test_alignment():
    y, x = np.indices((40, 44))
    fixed, moving = (np.exp(-((y - 20 - d) ** 2 + (x - 22 + d) ** 2) / 40) for d in (0.0, 0.4))
    found = npsubpix.align(fixed, moving, levels=1)
    assert found.converged
    np.testing.assert_allclose(found.matrix[:2, 2], [0.4, -0.4], atol=0.01)


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("mean", lambda x: ndi.uniform_filter(x, (3, 5), mode="reflect")),
        ("var", lambda x: ndi.generic_filter(x, np.var, (3, 5), mode="reflect")),
        ("max", lambda x: ndi.maximum_filter(x, (3, 5), mode="reflect")),
        ("median", lambda x: ndi.median_filter(x, (3, 5), mode="reflect")),
    ],
)
def test_windows(image, name, want):
    found = getattr(npsubpix, f"window_{name}")(image, (3, 5), border="reflect")
    np.testing.assert_allclose(found, want(image), atol=1e-12)


def test_footprints(image):
    footprint = np.hypot(*(np.indices((5, 5)) - 2)) < 2.3
    found = npsubpix.window_sum(image, footprint=footprint, border="mirror")
    np.testing.assert_allclose(found, ndi.correlate(image, footprint * 1.0, mode="mirror"), atol=1e-12)
    found = npsubpix.window_percentile(image, 20, (9, 9), border="mirror")
    want = ndi.generic_filter(image, lambda w: np.percentile(w, 20), (9, 9), mode="mirror")
    np.testing.assert_allclose(found, want, atol=1e-12)


def test_functions_of_windows(image):
    """Of arrays and of single pixels; a NaN stays where it is in the window."""
    image[8, 9] = math.nan
    found = npsubpix.window_map(lambda w: (2 * w - w.mean()).max(), image, size=3, border="nearest")
    want = ndi.generic_filter(image, lambda w: (2 * w - w.mean()).max(), 3, mode="nearest")
    np.testing.assert_allclose(found, want, atol=1e-12)
    assert np.isnan(found).sum() == 9
