"""Differences and Laplacians of Gaussians against SciPy, and what is found in them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch

import npsubpix
from tests.reference import blobs as reference


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("border", ["reflect", "mirror", "nearest", "wrap"])
@pytest.mark.parametrize("shape", [(13,), (9, 12), (5, 6, 4)])
def test_definition(rng, shape, border):
    """From the formulas, with widths of each axis, windows cut at different radii, and images smaller than these."""
    x = rng.normal(size=shape)
    sigma, wide = (0.8, 1.1, 0.6)[: len(shape)], (1.3, 1.2, 0.9)[: len(shape)]
    found = npsubpix.laplacian_of_gaussian(x, sigma, border=border)
    np.testing.assert_allclose(found, reference.laplacian_of_gaussian(x, sigma, border), rtol=1e-11, atol=1e-12)
    found = npsubpix.difference_of_gaussians(x, sigma, wide_sigma=wide, border=border)
    wanted = reference.difference_of_gaussians(x, sigma, wide, border)
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12)


def laplace_of_scipy(x, sigma, **options):
    """The filter of SciPy, less its response to what is constant: it has the variance of a continuous Gaussian."""
    sigma = np.broadcast_to(np.asarray(sigma, float), x.ndim)
    response = 0.0
    for s in sigma:
        places = np.arange(-int(4 * s + 0.5), int(4 * s + 0.5) + 1)
        weights = reference.gaussian(s, places[-1])
        response += (weights @ places**2 - s**2) / s**4
    return ndi.gaussian_laplace(x, sigma, **options) - response * ndi.gaussian_filter(x, sigma, **options)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint16"])
@pytest.mark.parametrize("sigma", [0.1, 0.5, 1, (0.5, 3)])
def test_a_constant_has_no_laplacian(sigma, dtype):
    """The weights add up to 0, as those of differences of Gaussians do."""
    x = np.full((20, 25), 1000, dtype)
    rounding = 1e-9 if dtype == "float64" else 1e-2
    for function in (npsubpix.laplacian_of_gaussian, npsubpix.difference_of_gaussians):
        np.testing.assert_allclose(function(x, sigma), 0, atol=rounding)


@pytest.mark.usefixtures("backend")
def test_the_laplacian_of_a_parabola():
    """Its second derivatives, as far as windows reach."""
    y, x = np.mgrid[:60, :60].astype(float)
    found = npsubpix.laplacian_of_gaussian(3 * y**2 + x**2 - 7 * x, 2)
    np.testing.assert_allclose(found[20:40, 20:40], 8, rtol=4e-3)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("border", ["reflect", "mirror", "nearest", "wrap", "constant"])
@pytest.mark.parametrize("shape", [(40,), (31, 45), (9, 11, 13)])
def test_scipy(rng, shape, border):
    x = rng.normal(size=shape)
    options = {"mode": border}  # with cval of 0, since SciPy puts it beyond the ends of smoothed images too
    sigma = tuple(1 + 0.3 * k for k in range(len(shape)))
    found = npsubpix.laplacian_of_gaussian(x, sigma, border=border)
    wanted = laplace_of_scipy(x, sigma, **options)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
    found = npsubpix.difference_of_gaussians(x, sigma, wide_sigma=2.2, border=border)
    wanted = ndi.gaussian_filter(x, sigma, **options) - ndi.gaussian_filter(x, 2.2, **options)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("backend")
def test_a_constant_beyond_the_ends_is_part_of_the_image(rng):
    x = rng.normal(size=(9, 12))
    wide = np.pad(x, 30, constant_values=0.5)
    wanted = laplace_of_scipy(wide, 2.0)[30:-30, 30:-30]
    np.testing.assert_allclose(npsubpix.laplacian_of_gaussian(x, 2.0, border="constant", cval=0.5), wanted, atol=1e-12)


@pytest.mark.exhaustive  # which compiles for integers
@pytest.mark.usefixtures("backend")
def test_integers_are_not_rounded_and_images_may_be_smaller_than_gaussians(rng):
    x = rng.integers(0, 255, (5, 4), np.uint8)
    found = npsubpix.laplacian_of_gaussian(x, 3.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, laplace_of_scipy(x.astype(float), 3.0), atol=1e-4)


def test_blobs_are_found_on_a_slope(rng):
    """A threshold on the image itself would find the slope."""
    y, x = np.mgrid[:100, :120]
    places = np.array([[20.4, 30.7], [61.2, 80.5], [80.9, 25.1]])
    image = 10.0 * x + rng.normal(size=x.shape)
    for a, b in places:
        image += 40 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / (2 * 1.7**2))
    for filtered in (npsubpix.difference_of_gaussians(image, 1.7), -npsubpix.laplacian_of_gaussian(image, 1.7)):
        found = npsubpix.find_peaks(filtered, threshold_rel=0.5)
        order = np.argsort(found.coords[:, 0])
        np.testing.assert_allclose(found.coords[order], places, atol=0.1)


@pytest.mark.usefixtures("backend")
def test_tensors(rng):
    x = torch.from_numpy(rng.normal(size=(12, 13)).astype(np.float32))
    found = npsubpix.difference_of_gaussians(x, 1.0)
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found, npsubpix.difference_of_gaussians(x.numpy(), 1.0))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("function", "error", "match"),
    [
        (lambda: npsubpix.laplacian_of_gaussian(np.zeros((3, 3, 3, 3)), 1), ValueError, "image must have 1 to 3"),
        (lambda: npsubpix.laplacian_of_gaussian(np.zeros((3, 3)), 0), ValueError, "sigma must be"),
        (lambda: npsubpix.laplacian_of_gaussian(np.zeros((3, 3)), (1, 2, 3)), ValueError, "sigma must"),
        (lambda: npsubpix.laplacian_of_gaussian(np.zeros((3, 3)), 1e-200), ValueError, "sigma must be at least 1e-75"),
        (lambda: npsubpix.laplacian_of_gaussian(np.zeros((3, 3)), 1, border="shrink"), ValueError, "border must be"),
        (lambda: npsubpix.difference_of_gaussians(np.zeros((3, 3)), 2, wide_sigma=1), ValueError, "wide_sigma must be"),
        (lambda: npsubpix.difference_of_gaussians(np.zeros((3, 3)), 2, truncate=-1), ValueError, "truncate must be"),
        (
            lambda: npsubpix.difference_of_gaussians(np.zeros((3, 3)), 2, truncate=np.inf),
            ValueError,
            "truncate must be",
        ),
        (lambda: npsubpix.difference_of_gaussians(np.zeros((3, 3)) + 1j, 2), TypeError, "image must hold"),
    ],
)
def test_misuse(function, error, match):
    with pytest.raises(error, match=match):
        function()
