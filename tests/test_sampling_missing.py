"""Pixels that are not finite: where samples are NaN, what others are, and gradients; images without pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import npsubpix
from npsubpix import GradientAdaptive, WeightedNearest
from tests.reference import sampling as reference
from tests.sampling_checks import KERNELS, METHODS, MODES, positions

FILTERED = {"bspline2": 2, "bspline3": 3, "bspline4": 4, "bspline5": 5}


def wanted_samples(image: np.ndarray, coords: np.ndarray, method: str, mode: str) -> np.ndarray:
    """Samples by definition, of coefficients that are NaN at bad pixels and those of a filled image elsewhere."""
    if method in FILTERED:
        coefficients = reference.prefilter(reference.fill(image), FILTERED[method], mode)
        image = np.where(np.isfinite(image), coefficients, np.nan)
    return reference.sample(image, coords, method, mode, 0.5)


def smooth(shape: tuple[int, ...]) -> np.ndarray:
    return sum((np.cos(0.3 * k * axis + k) for k, axis in enumerate(np.indices(shape), 1)), 2.0)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("mode", ["reflect", "mirror", "constant", "grid-wrap"])
@pytest.mark.parametrize("method", ["bspline2", "bspline3", "bspline5"])
@pytest.mark.parametrize("shape", [(43,), (12, 15), (6, 7, 8)])
def test_a_bad_pixel_spoils_no_others(rng, shape, method, mode):
    """NaN where a bad pixel has weight, and elsewhere the spline of the image with such pixels filled."""
    image = 1000 * smooth(shape)
    image.flat[rng.choice(image.size, 3, replace=False)] = np.nan, np.inf, -np.inf
    coords = positions(rng, shape, 40)
    found = npsubpix.sample(image, coords, method=method, mode=mode, cval=0.5)
    wanted = wanted_samples(image, coords, method, mode)
    assert 0 < np.isnan(wanted).mean() < 1
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    coefficients = npsubpix.spline_filter(image, FILTERED[method], mode=mode)
    np.testing.assert_array_equal(np.isnan(coefficients), ~np.isfinite(image))
    apart = npsubpix.sample(coefficients, coords, method=method, mode=mode, cval=0.5, prefilter=False)
    np.testing.assert_allclose(apart, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("backend")
def test_samples_beside_a_bad_pixel_are_those_of_the_whole_image(rng):
    """To the few per cent of what the fill is off by, at two pixels, and exactly, at twenty."""
    whole = 1000 * smooth((60, 70))
    image = whole.copy()
    image[30, 35] = np.nan
    off = abs(reference.fill(image)[30, 35] - whole[30, 35])
    coords = rng.uniform(0, [[59], [69]], (2, 5000))
    found, wanted = (npsubpix.sample(x, coords, method="bspline3") for x in (image, whole))
    distance = np.abs(coords - [[30], [35]]).max(0)
    np.testing.assert_array_equal(np.isnan(found), distance < 2)
    assert np.nanmax(np.abs(found - wanted)) < 0.05 * off
    assert np.abs(found - wanted)[distance > 20].max() < 1e-9 * off


HOLES: dict[str, Any] = {
    "crossing gaps": (np.s_[5:8], np.s_[:, 6:10]),
    "half": (np.s_[:, 9:],),
    "a line along rows": (np.s_[7, 2:14],),
    "the corner": (np.s_[:4, :4],),
    "all but one": (np.s_[1:], np.s_[:, 1:]),
    "all": (np.s_[:],),
}


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
def test_holes(rng, hole):
    image = 1000 * smooth((14, 17))
    for part in hole:
        image[part] = np.nan
    coords = positions(rng, image.shape, 60)
    found = npsubpix.sample(image, coords, method="bspline3", mode="mirror")
    np.testing.assert_allclose(found, wanted_samples(image, coords, "bspline3", "mirror"), rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", [*METHODS, *KERNELS])
def test_a_move_by_whole_pixels_moves_the_hole(method):
    """Pixels of weight 0 do not count: of the methods that need no filter, only the pixel itself has weight."""
    image = smooth((16, 18))
    image[7, 9] = np.nan
    moved = npsubpix.warp(image, [[1, 0, 1], [0, 1, -2]], method=KERNELS.get(method, method))
    reach = FILTERED.get(method, 0) // 2
    wanted = np.zeros(image.shape, bool)
    wanted[6 - reach : 7 + reach, 11 - reach : 12 + reach] = True
    np.testing.assert_array_equal(np.isnan(moved), wanted)
    inside = np.s_[1:14, 3:17]
    np.testing.assert_allclose(moved[inside][~wanted[inside]], smooth((16, 18))[2:15, 1:15][~wanted[inside]])


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("mode", MODES)
def test_all_modes(rng, mode):
    """Also those for which the image is padded, with copies of a bad pixel or with NaN."""
    image = smooth((20, 22))
    image[0, 5] = image[12, 12] = np.nan
    coords = rng.uniform(3, 9, (2, 200))
    for cval in (0.0, np.nan):
        values, gradient = npsubpix.sample_with_gradient(image, coords, method="bspline3", mode=mode, cval=cval)
        wanted = npsubpix.sample_with_gradient(smooth((20, 22)), coords, method="bspline3", mode=mode)
        np.testing.assert_allclose(values, wanted.values, atol=2e-2)
        np.testing.assert_allclose(gradient, wanted.gradient, atol=5e-2)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("method", "shape"), [("bspline3", (9, 11)), ("bspline2", (15,)), ("bspline3", (5, 6, 7)), ("linear", (9, 11))]
)
@pytest.mark.parametrize("mode", ["mirror", "reflect", "nearest"])
def test_gradients(rng, method, shape, mode):
    """Samples are linear in the finite pixels, of which others are means; NaN without a cotangent does not count."""
    image, step = rng.standard_normal((2, *shape))
    bad = rng.choice(image.size, 3, replace=False)
    image.flat[bad], step.flat[bad] = np.nan, 0
    coords = rng.uniform(-1, np.array(shape)[:, None], (len(shape), 200))
    options: dict[str, Any] = {"method": method, "mode": mode}
    values, gradient = npsubpix.sample_with_gradient(image, coords, **options)
    known = np.isfinite(values)
    assert 0 < known.mean() < 1
    y = np.where(known, rng.standard_normal(200), 0)
    by_image, by_coords = npsubpix.sample_vjp(y, image, coords, **options)
    moved = npsubpix.sample(image + step, coords, **options)
    np.testing.assert_allclose((by_image * step).sum(), (y * (moved - values))[known].sum(), rtol=1e-9)
    np.testing.assert_array_equal(by_image.flat[bad], 0)
    np.testing.assert_allclose(by_coords, np.where(known, y * gradient, 0), rtol=1e-9, atol=1e-12)
    if method == "linear":
        return
    order = FILTERED[method]
    coefficients, pullback = npsubpix.vjp(npsubpix.spline_filter, image, order, mode=mode)
    y = rng.standard_normal(shape)
    by_image = pullback(y)["image"]
    known = np.isfinite(coefficients)
    change = npsubpix.spline_filter(image + step, order, mode=mode) - coefficients
    np.testing.assert_allclose((by_image * step).sum(), (y * change)[known].sum(), rtol=1e-9)


@pytest.mark.usefixtures("backend")
def test_cotangents_that_are_not_finite_spoil_no_others(rng):
    image, y = rng.standard_normal((30, 31)), np.zeros(2)
    coords = np.array([[5.5, 20.5], [6.5, 20.5]])
    y[:] = np.nan, 1.0
    found, _ = npsubpix.sample_vjp(y, image, coords, method="bspline3")
    spoilt = np.isnan(found)
    assert spoilt[4:8, 5:9].all()
    assert spoilt.sum() == 16
    wanted, _ = npsubpix.sample_vjp(y[1:], image, coords[:, 1:], method="bspline3")
    np.testing.assert_allclose(found[~spoilt], wanted[~spoilt], atol=1e-12)


@pytest.mark.usefixtures("backend")
def test_images_of_a_batch_are_apart(rng):
    """Channels, images of a grid and composite methods."""
    image = rng.standard_normal((3, 20, 21))
    whole = image.copy()
    image[1, 4, 5] = np.nan
    coords = rng.uniform(0, 19, (2, 300))
    for method in ("bspline3", GradientAdaptive(0.7, outside="bspline3"), WeightedNearest("sigmoid")):
        found, wanted = (npsubpix.sample(x, coords, method=method, channel_axis=0) for x in (image, whole))
        np.testing.assert_allclose(found[[0, 2]], wanted[[0, 2]], rtol=1e-12, atol=1e-12)
        assert 0 < np.isnan(found[1]).sum() < 30
    grid = rng.uniform(-0.9, 0.9, (3, 50, 2))
    found, wanted = (npsubpix.grid_sample(x[:, None], grid, "bspline3") for x in (image, whole))
    np.testing.assert_array_equal(found[[0, 2]], wanted[[0, 2]])
    assert np.isfinite(found[1]).any()


@pytest.mark.exhaustive  # which compiles in another precision
def test_tensors_and_single_precision(rng):
    image = rng.standard_normal((20, 21)).astype(np.float32)
    image[4, 5] = np.nan
    tensor, coords = torch.from_numpy(image).requires_grad_(), torch.from_numpy(rng.uniform(0, 19, (2, 300)))
    found = npsubpix.sample(tensor, coords, method="bspline3")
    double = npsubpix.sample(image.astype(float), coords.numpy(), method="bspline3")
    np.testing.assert_allclose(found.detach(), double, rtol=1e-4, atol=1e-5)
    found.nansum().backward()
    assert tensor.grad is not None
    assert torch.isfinite(tensor.grad).all()


def test_overflow_is_no_bad_pixel():
    """Coefficients may be larger than pixels: what overflows is not taken for a pixel that is missing."""
    image = np.full((8, 9), np.finfo(np.float32).max)
    image[::2] *= -1
    with np.errstate(all="ignore"):
        assert not np.isfinite(npsubpix.spline_filter(image.astype(np.float32))).all()


def test_a_movie_with_a_bad_pixel_is_aligned(rng):
    """The mean of warped frames, to which the others are aligned, is not lost."""
    scene = smooth((80, 90)) + rng.standard_normal((80, 90)) * 0.01
    movie = np.stack([npsubpix.warp(scene, [[1, 0, k + 5.3], [0, 1, 5 - 0.7 * k]], (64, 72)) for k in range(3)])
    movie[1, 30, 40] = np.nan
    found = npsubpix.align_stack(movie, reference="mean", model="translation")
    shifts = np.array([a.matrix[:2, 2] for a in found])
    np.testing.assert_allclose(shifts - shifts[0], [[0, 0], [-1, 0.7], [-2, 1.4]], atol=0.05)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0), (2, 0, 4)])
def test_images_without_pixels(shape):
    """Results are empty, and samples at positions are those of nothing."""
    image, axes = np.zeros(shape, np.float32), len(shape)
    assert npsubpix.spline_filter(image).shape == shape
    if axes > 1:
        for method in ("linear", "bspline3"):
            assert npsubpix.warp(image, np.eye(axes, axes + 1), method=method).shape == shape
    for method in ("nearest", "linear", "bspline3", GradientAdaptive(1.0, outside="bspline3")):
        assert npsubpix.sample(image, np.zeros((axes, 0)), method=method).shape == (0,)
        for mode in MODES:
            options: dict[str, Any] = {"method": method, "mode": mode, "cval": 7.0}
            values, gradient = npsubpix.sample_with_gradient(image, np.ones((axes, 5)), **options)
            constant = mode.endswith("constant")
            np.testing.assert_array_equal(values, np.full(5, 7.0 if constant else np.nan))
            np.testing.assert_array_equal(gradient, np.full((axes, 5), 0.0 if constant else np.nan))
            assert values.dtype == np.float32
            by_image, by_coords = npsubpix.sample_vjp(values, image, np.ones((axes, 5)), **options)
            assert by_image.shape == shape
            np.testing.assert_array_equal(by_coords, np.zeros((axes, 5)))
    channels = npsubpix.sample(np.zeros((*shape, 3)), np.zeros((axes, 4)), method="linear", channel_axis=-1)
    assert channels.shape == (4, 3)
    empty = npsubpix.grid_sample(np.zeros((0, 2, 4, 5)), np.zeros((0, 3, 3, 2)), "bspline3")
    assert empty.shape == (0, 2, 3, 3)


@pytest.mark.usefixtures("backend")
def test_infinite_gradients_that_no_cotangent_asks_for():
    """They are left out without a warning, which would be an error here."""
    image = np.array([[1.0, np.inf, 2.0, 4.0], [0.0, 3.0, 1.0, 1.0]])
    coords = np.array([[0.25, 0.25, 0.5], [0.5, 2.5, 2.25]])
    _, found = npsubpix.sample_vjp(np.array([0.0, 1.0, 1.0]), image, coords, method="linear")
    np.testing.assert_allclose(found, [[0.0, -2.0, -1.5], [0.0, 1.5, 1.0]])
