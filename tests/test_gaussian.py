"""Rendered Gaussians against their definitions, and against kornia."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import npsubpix
from tests.assertions import assert_same
from tests.reference import gaussian as reference

#: Weights below this part of the greatest along an axis may be 0.
CUTOFF = {"float32": np.exp(-40.0), "float64": np.exp(-340.0)}


def check(got: np.ndarray, want: np.ndarray, peak: float | None = None, slack: float = 1.0) -> None:
    """Maps are right to four units in the last place of the peak; far from it, to what rounding an exponent does."""
    eps, cutoff = np.finfo(got.dtype).eps, CUTOFF[got.dtype.name]
    peak = want.max(initial=0) if peak is None else peak
    allowed = slack * np.minimum(4 * eps * peak, -8 * eps * np.log(cutoff) * want + 1.01 * cutoff * peak)
    assert_same(got, want, dtype=got.dtype, within=allowed)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 1), (5, 6), (17, 64), (3, 600)])
@pytest.mark.parametrize("normal", [True, False])
def test_definition_2d(rng, size, dtype, normal):
    """Every pixel is the product of two softmaxes, whatever the mean and the standard deviation."""
    mean = rng.uniform(-1.5, 1.5, (12, 2)) if normal else rng.uniform(-9, 30, (12, 2))
    std = rng.uniform(0.02, 0.7, (12, 2)) * (1 if normal else 10)
    std[0], std[1], std[2] = 1e-12, 1e12, (1e-3, 50)
    mean[3], mean[4], mean[5] = 1e12, (-1e12, 0), (3, -40)
    mean[6], std[6] = -1e12, 1e12
    mean[7], std[7] = 2.5, 1e-12  # halfway between pixels
    mean, std = mean.astype(dtype), std.astype(dtype)
    got = npsubpix.render_gaussian2d(mean, std, size, normal)
    assert got.dtype == dtype
    for k in range(len(mean)):
        # in float64, the last digit of a position in pixels shows in a Gaussian that is narrower than they are
        slack = max(1, max(size) / 2 * 1e-3 / std[k].min()) if normal and dtype == "float64" else 1
        check(got[k], reference.gaussian2d(mean[k].tolist(), std[k].tolist(), size, normal), slack=min(slack, 1e4))
    np.testing.assert_allclose(got.sum((1, 2), dtype=float), 1, rtol=20 * np.finfo(dtype).eps)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1,), (23,), (7, 9), (4, 5, 6), (1, 3, 40), (3, 1, 1)])
@pytest.mark.parametrize("normalization", ["sum", "peak"])
def test_definition_in_array_order(rng, shape, dtype, normalization):
    n = len(shape)
    mean = rng.uniform(-3, 12, (6, n)).astype(dtype)
    std = rng.uniform(0.1, 5, (6, n)).astype(dtype)
    mean[1], std[1] = 1e12, 1.0
    mean[2], std[2] = -1e12, 1e12
    std[3], std[4] = 1e-12, 1e12
    mean[5] = 1
    got = npsubpix.render_gaussian(mean, std, shape, normalization=normalization)
    assert got.dtype == dtype
    for k in range(6):
        want = reference.gaussian(mean[k].tolist(), std[k].tolist(), shape, normalization == "peak")
        check(got[k], want, 1 if normalization == "peak" else None)


@pytest.mark.usefixtures("backend")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_small_map(data):
    """Means and standard deviations of any magnitude neither under- nor overflow."""
    shape = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple))
    positions = st.sampled_from([0.0, 0.5, 1.0, 2.25, -3.0, 40.0, 1e6, -1e12, 1e100, np.nan, np.inf])
    mean = data.draw(st.lists(positions, min_size=len(shape), max_size=len(shape)))
    widths = st.sampled_from([1e-150, 1e-12, 0.3, 1.0, 7.0, 1e6, 1e12, 1e100])
    std = data.draw(st.lists(widths, min_size=len(shape), max_size=len(shape)))
    for normalization in ("sum", "peak"):
        got = npsubpix.render_gaussian(mean, std, shape, normalization=normalization)
        want = reference.gaussian(mean, std, shape, normalization == "peak")
        check(got, want, 1 if normalization == "peak" else None)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("std", [1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("shift", [1e-7, 1e-6, -1e-6, 1e-5])
def test_narrow_gaussians_between_pixels(std, shift):
    """How two pixels share a narrow Gaussian depends on the last digits of its mean, and they are not lost."""
    mean, std = np.array([2 * 20.5 / 63 - 1 + shift, 0.1], np.float32), np.array([std, std], np.float32)
    check(
        npsubpix.render_gaussian2d(mean, std, (9, 64)), reference.gaussian2d(mean.tolist(), std.tolist(), (9, 64), True)
    )


@pytest.mark.usefixtures("backend")
def test_means_that_are_not_finite(rng):
    """NaN in a mean spoils its own map and no other."""
    mean, std = rng.uniform(0, 9, (5, 2)), rng.uniform(1, 2, (5, 2))
    want = npsubpix.render_gaussian(mean, std, (9, 8))
    mean[1, 0], mean[3, 1] = np.nan, np.inf
    got = npsubpix.render_gaussian(mean, std, (9, 8))
    assert np.isnan(got[[1, 3]]).all()
    np.testing.assert_array_equal(got[[0, 2, 4]], want[[0, 2, 4]])
    wide = npsubpix.render_gaussian(mean[0], np.inf, (4, 5))
    np.testing.assert_allclose(wide, 1 / 20)  # an infinite standard deviation is a flat map


@pytest.mark.usefixtures("backend")
def test_maps_of_several_bands():
    """A large map is written in bands, without a seam."""
    got = npsubpix.render_gaussian2d(np.array([700.3, 151.1]), np.array([200.0, 80.0]), (401, 1300), False)
    y, x = (reference.softmax_axis(reference.pixels(n), m, s) for n, m, s in ((401, 151.1, 80.0), (1300, 700.3, 200.0)))
    check(got, np.outer(y, x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("normal", [True, False])
def test_kornia(rng, dtype, normal):
    """The same maps as kornia 0.9.0, and gradients of float64."""
    subpix = pytest.importorskip("kornia.geometry.subpix")
    scale = 1 if normal else 12
    mean = torch.from_numpy(rng.uniform(-1.2, 1.2, (3, 5, 2)) * scale).to(dtype).requires_grad_()
    std = torch.from_numpy(rng.uniform(0.05, 0.8, (1, 5, 2)) * scale).to(dtype).requires_grad_()
    theirs = subpix.render_gaussian2d(mean, std, (17, 24), normal)
    ours = npsubpix.render_gaussian2d(mean, std, (17, 24), normal)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=4 * torch.finfo(dtype).eps)
    if dtype == torch.float64:
        seed = torch.from_numpy(rng.standard_normal(ours.shape))
        for got, want in zip(
            torch.autograd.grad(ours, (mean, std), seed), torch.autograd.grad(theirs, (mean, std), seed), strict=True
        ):
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


SPOTS = list(itertools.product([(31,), (12, 17), (6, 7, 9)], ["sum", "peak"], [False, True]))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("shape", "normalization", "integrate"), SPOTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_spots_definition(rng, shape, normalization, integrate, dtype):
    """Spots inside, across the border and far outside; wide, narrow, overlapping and cut off."""
    n = len(shape)
    coords = rng.uniform(-6, np.array(shape) + 6, (20, n)).astype(dtype)
    coords[0], coords[1], coords[2] = 1e12, 2, -0.5
    amplitude = rng.uniform(-2, 5, 20)
    stds = [1.3, rng.uniform(0.5, 3, n), rng.uniform(0.05, 4, (20, n)), rng.uniform(0.5, 3, (20, 1))]
    for std, truncate in zip(stds, (6.0, 2.0, 3.5, np.inf), strict=True):
        options = {"normalization": normalization, "integrate": integrate, "truncate": truncate}
        got = npsubpix.render_spots(coords, shape, std=std, amplitude=amplitude, **options)
        want = reference.spots(coords, shape, std, amplitude, normalization == "peak", integrate, truncate)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=8 * np.finfo(dtype).eps, atol=1e-11 * np.abs(want).max())


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("std", [1e-12, 0.01, 1.0, 10.0, 300.0, 600.0, 1e6, 1e12])
@pytest.mark.parametrize("integrate", [False, True])
def test_spots_of_any_width(std, integrate):
    """Far narrower than a pixel and far wider than the image, on both sides of every change of method."""
    coords = np.array([[3.2, 4.9], [-0.7 * std, 0.9 * std], [5.0, 2.0]])
    options = {"normalization": "peak", "integrate": integrate, "truncate": 9.0}
    got = npsubpix.render_spots(coords, (8, 9), std=std, amplitude=1e12, **options)
    want = reference.spots(coords, (8, 9), std, 1e12, True, integrate, 9.0)
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e12 * 1e-12)
    assert got.max() > 0 or std < 0.1


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("std", [1e-9, 0.03, 0.4, 1.3])
def test_light_is_kept(rng, std):
    """With integrate, a spot inside the image brings its amplitude, however narrow it is."""
    for shape in ((40,), (40, 41), (40, 41, 42)):
        coords = rng.uniform(15, 25, (5, len(shape)))
        image = npsubpix.render_spots(coords, shape, std=std, amplitude=[1, 2, 3, 4, 5], integrate=True)
        assert image.sum() == pytest.approx(15, rel=1e-8)
    # half of the light of a spot on the border is outside
    edge = npsubpix.render_spots([[-0.5, 20.0]], (40, 41), std=std, integrate=True)
    assert edge.sum() == pytest.approx(0.5, rel=1e-8)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(9000,), (80, 2100), (17, 20, 600)])
def test_spots_across_tiles(rng, shape):
    """The image is drawn in tiles, without a seam and without a spot drawn twice."""
    coords = rng.uniform(-5, np.array(shape) + 5, (40, len(shape)))
    coords[:3] = np.array([[8.0, 32.0, 512.0], [7.5, 31.5, 1023.5], [0.0, 0.0, 4095.5]])[:, -len(shape) :]
    got = npsubpix.render_spots(coords, shape, std=1.5, amplitude=np.arange(40.0), truncate=4)
    want = reference.spots(coords, shape, 1.5, np.arange(40.0), truncate=4)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


@pytest.mark.exhaustive  # large images
@pytest.mark.usefixtures("backend")
def test_faint_spots_on_a_bright_one():
    """A float32 image is summed in float64: a million faint spots on a bright one are not lost."""
    coords = np.full((100_001, 2), 4, np.float32)
    amplitude = np.ones(100_001)
    amplitude[0] = 2**25
    image = npsubpix.render_spots(coords, (9, 9), std=1.0, amplitude=amplitude, normalization="peak")
    assert image[4, 4] == np.float32(2**25 + 100_000)


@pytest.mark.usefixtures("backend")
def test_bad_rows_are_left_out(rng):
    """A row of a table that holds NaN does not lose the others; its gradient is 0."""
    coords, amplitude, std = rng.uniform(2, 9, (6, 2)), rng.uniform(1, 2, 6), rng.uniform(1, 2, (6, 2))
    coords[1, 0], coords[2, 1], amplitude[4] = np.nan, -np.inf, np.nan
    std[1] = np.nan
    good = [0, 3, 5]
    want = npsubpix.render_spots(coords[good], (11, 12), std=std[good], amplitude=amplitude[good])
    got, pullback = npsubpix.vjp(npsubpix.render_spots, coords, (11, 12), std=std, amplitude=amplitude)
    np.testing.assert_array_equal(got, want)
    for gradient in pullback(np.ones((11, 12))).values():
        assert np.isfinite(gradient).all()
        assert (gradient[[1, 2, 4]] == 0).all()
        assert (gradient[good] != 0).any()


@pytest.mark.usefixtures("backend")
def test_no_row_is_good():
    """A table of nothing but failed rows gives a dark image and no gradient."""
    _, pullback = npsubpix.vjp(
        npsubpix.render_spots, np.full((3, 2), np.nan), (4, 5), std=np.nan * np.ones((3, 1)), truncate=np.inf
    )
    assert not any(gradient.any() for gradient in pullback(np.ones((4, 5))).values())
    assert not npsubpix.render_spots(np.full((3, 2), np.nan), (4, 5), std=1.0).any()


@pytest.mark.exhaustive  # which compiles for each dtype
@pytest.mark.usefixtures("backend")
def test_nothing_to_draw():
    empty = np.empty((0, 2), np.float32)
    assert npsubpix.render_gaussian2d(empty, empty, (4, 5)).shape == (0, 4, 5)
    assert npsubpix.render_gaussian(np.empty((3, 0, 2)), 1.0, (4, 5)).shape == (3, 0, 4, 5)
    image = npsubpix.render_spots(empty, (4, 5), std=1.0)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, np.zeros((4, 5)))
    for run, arrays in (
        (lambda m, s: npsubpix.render_gaussian2d(m, s, (4, 5)), (empty, np.ones((1, 2), np.float32))),
        (lambda c: npsubpix.render_spots(c, (4, 5), std=2.0), (empty,)),
    ):
        result, pullback = npsubpix.vjp(run, *arrays)
        gradients = pullback(np.ones_like(result))
        assert all(not gradients[name].any() for name in gradients)


@pytest.mark.usefixtures("backend")
def test_broadcasting(rng):
    """Means and standard deviations stretch against each other, to what calls one by one give."""
    mean, std = rng.uniform(0, 5, (4, 1, 2)), rng.uniform(1, 2, (3, 2))
    whole = npsubpix.render_gaussian2d(mean, std, (5, 6), False)
    one = npsubpix.render_gaussian(mean[0, 0], rng.uniform(1, 2, (7, 1)), (5, 6))
    assert whole.shape == (4, 3, 5, 6)
    assert one.shape == (7, 5, 6)
    for i, j in itertools.product(range(4), range(3)):
        np.testing.assert_array_equal(whole[i, j], npsubpix.render_gaussian2d(mean[i, 0], std[j], (5, 6), False))
        np.testing.assert_array_equal(
            whole[i, j], npsubpix.render_gaussian(mean[i, 0, ::-1], std[j, ::-1].copy(), (5, 6))
        )
