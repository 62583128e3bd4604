"""An alignment that is ok is right, and its error bars are the scatter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage as ndi

import npsubpix
from npsubpix import AlignmentFlags, align
from npsubpix.alignment.preparation import mask_around


def stars(rng: np.random.Generator, count: int, size: int, wide: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Positions over an area wider than an image, and amplitudes of which few are large."""
    edge = size * (wide - 1) / 2
    return rng.uniform(-edge, size + edge, (count, 2)), 20 * (rng.pareto(1.5, count) + 0.3)


def field(rng: np.random.Generator, scene: tuple[np.ndarray, np.ndarray], size: int, shift=(0.0, 0.0), noise=1.0):
    """An image of stars, displaced, with noise."""
    places, heights = scene
    image = npsubpix.render_spots(places + shift, (size, size), std=1.5, amplitude=heights * 2 * math.pi * 1.5**2)
    return image + rng.normal(0, noise, image.shape)


@pytest.mark.usefixtures("backend")
def test_images_of_different_stars_do_not_fit(rng):
    for _ in range(5):
        fixed, moving = (field(rng, stars(rng, 80, 96), 96) for _ in range(2))
        result = align(fixed, moving)
        assert AlignmentFlags.POOR_FIT in result.flags
        assert not result.ok


def test_noise_alone_is_never_ok(rng):
    for size in (16, 24, 40):
        assert not any(align(*rng.normal(size=(2, size, size))).ok for _ in range(40))
        smooth = ndi.gaussian_filter(rng.normal(size=(20, 2, size, size)), (0, 0, 1.5, 1.5))
        assert not any(align(*images).ok for images in smooth)


def test_a_shift_that_is_wrong_is_not_ok(rng):
    """Far shifts, of which most cannot be found from the identity."""
    wrong = 0
    for k in range(60):
        scene, angle = stars(rng, 150, 128, 2.0), rng.uniform(0, 2 * math.pi)
        shift = rng.uniform(10, 35) * np.array([math.sin(angle), math.cos(angle)])
        result = align(field(rng, scene, 128), field(rng, scene, 128, shift))
        error = np.hypot(*(result.shift - shift))
        assert error < 0.5 or not result.ok, k
        wrong += error > 1
    assert wrong > 10


@pytest.mark.parametrize("noise", [0.0, 1.0, 10.0])
@pytest.mark.parametrize("count", [1, 3, 20, 200])
def test_a_shift_that_is_right_is_ok(rng, count, noise):
    """For one star and for many, for bright and for faint ones."""
    for _ in range(10):
        places, heights = stars(rng, count, 80)
        scene, shift = (10 + 0.75 * places, np.maximum(heights, 20 * noise)), rng.uniform(-1.5, 1.5, 2)
        result = align(field(rng, scene, 80, noise=noise), field(rng, scene, 80, shift, noise=noise))
        assert result.ok, result
        assert np.hypot(*(result.shift - shift)) < 0.5


@pytest.mark.usefixtures("backend")
def test_correlation_and_noise(rng):
    """They are those of their definitions, on the pixels compared."""
    scene = stars(rng, 60, 80)
    fixed, moving = field(rng, scene, 80, noise=3), field(rng, scene, 80, (5, -7), noise=4)
    result = align(fixed, moving, init=[[1, 0, 5], [0, 1, -7]])
    here, there = fixed[1:70, 11:79], moving[6:75, 4:72]
    assert result.correlation == pytest.approx(np.corrcoef(here.ravel(), there.ravel())[0, 1], abs=0.02)
    assert result.noise == pytest.approx(5, rel=0.1)
    assert result.rms == pytest.approx(5, rel=0.1)
    assert "correlation=" in repr(result)
    assert align(fixed, 7 * fixed - 5, gain_bias=True).correlation == pytest.approx(1)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("factor", [0.05, 0.2, 5, 20])
def test_any_gain_is_found(rng, factor):
    """The result does not depend on the unit of either image, nor on which of both is brighter."""
    scene = stars(rng, 60, 96)
    fixed, moving = field(rng, scene, 96), field(rng, scene, 96, (1.25, -0.5))
    plain = align(fixed, moving, gain_bias=True)
    assert plain.ok
    for method in ("inverse_compositional", "forward_additive"):
        result = align(fixed, factor * moving + 30, gain_bias=True, method=method)
        assert result.ok
        np.testing.assert_allclose(result.shift, (1.25, -0.5), atol=0.05)
    result = align(fixed, factor * moving + 30, gain_bias=True)
    np.testing.assert_allclose(result.shift, plain.shift, atol=1e-4)
    np.testing.assert_allclose([result.gain, result.bias], [factor * plain.gain, factor * plain.bias + 30], rtol=1e-3)
    np.testing.assert_allclose(result.shift_std, plain.shift_std, rtol=1e-3)
    back = align(factor * moving + 30, fixed, gain_bias=True)
    assert back.ok
    np.testing.assert_allclose(back.shift, (-1.25, 0.5), atol=0.05)


def test_a_negative_is_flagged(rng):
    scene = stars(rng, 60, 96)
    result = align(field(rng, scene, 96), 50 - field(rng, scene, 96, (0.3, -0.2)), gain_bias=True)
    assert AlignmentFlags.NEGATIVE_GAIN in result.flags
    assert result.gain < 0
    assert not result.ok


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shift", [(80, 0), (57, -57), (100, 20), (-30.4, 12.7)])
def test_the_reach_of_phase_correlation(rng, shift):
    """More than half of an image: one of four places at which a periodic correlation has its maximum."""
    scene = rng.uniform(-192, 384, (1000, 2)), np.full(1000, 20.0)
    result = align(field(rng, scene, 192), field(rng, scene, 192, shift), init="phase_correlation")
    assert result.ok
    np.testing.assert_allclose(result.shift, shift, atol=0.1)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("unit", [1e-21, 1e-30, 2.0**-120, 1e30])
def test_the_unit_of_images_does_not_matter(rng, unit):
    scene = stars(rng, 40, 48)
    images = [field(rng, scene, 48, shift).astype(np.float32) for shift in ((0, 0), (1.25, -0.5))]
    plain, result = align(*images), align(*(np.float32(unit) * x for x in images))
    assert result.ok
    np.testing.assert_allclose(result.matrix, plain.matrix, atol=1e-4)
    np.testing.assert_allclose(result.covariance, plain.covariance, rtol=1e-3)
    np.testing.assert_allclose([result.rms, result.noise], [unit * plain.rms, unit * plain.noise], rtol=1e-3)


def test_a_large_offset_does_not_matter(rng):
    """Of 24 bits of a float32, few are left for the differences between pixels."""
    scene = stars(rng, 60, 64)
    images = [field(rng, scene, 64, shift) for shift in ((0, 0), (1.25, -0.5))]
    plain, result = (align(*((x + offset).astype(np.float32) for x in images), gain_bias=True) for offset in (0, 1e5))
    assert result.correlation == pytest.approx(plain.correlation, abs=1e-3)
    np.testing.assert_allclose(result.shift, plain.shift, atol=2e-3)
    np.testing.assert_allclose(result.covariance, plain.covariance, rtol=0.05)


def test_whole_pixel_shifts_converge(rng):
    """Pixels at the border do not enter and leave in turn."""
    for _ in range(100):
        scene = stars(rng, 60, 64, 1.5)
        shift = rng.integers(-3, 4, 2)
        result = align(field(rng, scene, 64), field(rng, scene, 64, shift))
        assert AlignmentFlags.NOT_CONVERGED not in result.flags


def scatter(std: float, photons: float, noise: str, loss: str = "least_squares", count: int = 60, trials: int = 60):
    """Standard deviation of errors over standard errors, for spots of so many photons at their peak."""
    errors = []
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        places, shift = rng.uniform(-4, 100, (count, 2)), rng.uniform(-1.5, 1.5, 2)
        images = [
            npsubpix.render_spots(p, (96, 96), std=std, amplitude=photons * 2 * math.pi * std**2) + 2
            for p in (places, places + shift)
        ]
        if noise == "poisson":
            images = [rng.poisson(x).astype(np.float64) for x in images]
        else:
            images = [x + rng.normal(0, photons / 20, x.shape) for x in images]
        result = align(*images, loss=loss)
        assert result.ok, (seed, result)
        errors.append((result.shift - shift) / result.shift_std)
    return np.sqrt(np.mean(np.square(errors)))


@pytest.mark.parametrize(
    ("std", "photons", "noise"),
    [
        (1.0, 10, "poisson"), (1.5, 10, "poisson"),
        (1.0, 100, "poisson"), (1.5, 100, "poisson"), (2.5, 100, "poisson"),
        (1.0, 10_000, "poisson"), (1.5, 10_000, "poisson"), (2.5, 10_000, "poisson"),
        (1.0, 100, "white"), (1.5, 100, "white"), (2.5, 100, "white"),
    ],
)  # fmt: skip
def test_error_bars_are_the_scatter(std, photons, noise):
    """For noise that differs from pixel to pixel, and for spots so narrow that interpolation errs by more."""
    assert 0.9 < scatter(std, photons, noise) < 1.15


@pytest.mark.parametrize(("std", "photons"), [(2.5, 10), (0.7, 10_000)])
def test_error_bars_where_noise_or_interpolation_decide(std, photons):
    """Of enough pairs to tell: the scatter of 150 pairs is known to 4 %."""
    assert 0.9 < scatter(std, photons, "poisson", trials=150) < 1.15


def test_noise_that_hides_the_texture_of_pixels_is_averaged():
    """Spots of 3 photons at their peak, on 2 per pixel, are wide enough for means of pixels to show them."""
    assert 0.7 < scatter(2.5, 3, "poisson", trials=16) < 1.3  # and all are ok


@pytest.mark.parametrize("loss", ["huber", "tukey"])
def test_error_bars_with_a_loss_function(loss):
    assert 0.9 < scatter(1.5, 100, "white", loss) < 1.15


@pytest.mark.usefixtures("backend")
def test_hot_pixels_are_masked_in_both_images(rng):
    """They hold the shift at zero, unless both images are masked."""
    scene = rng.uniform(0, 96, (60, 2)), np.full(60, 20.0)
    fixed, moving = field(rng, scene, 96), field(rng, scene, 96, (1.25, -0.5))
    hot = rng.random(fixed.shape) < 0.005
    fixed[hot] += 2000
    moving[hot] += 2000
    assert np.hypot(*(align(fixed, moving).shift - (1.25, -0.5))) > 1
    for init in (None, "phase_correlation"):
        result = align(fixed, moving, mask=hot, moving_mask=hot, init=init)
        assert result.ok
        np.testing.assert_allclose(result.shift, (1.25, -0.5), atol=0.05)


@pytest.mark.usefixtures("backend")
def test_sparse_beads_on_an_uneven_background(rng):
    """A background that changes between frames says nothing about beads."""
    places = rng.uniform(8, 248, (30, 2))
    y, x = np.mgrid[:256, :256] / 256
    images = []
    for k in range(2):
        beads = npsubpix.render_spots(places + np.multiply(k, (0.3, -0.2)), (256, 256), std=1.5, amplitude=5000.0)
        glow = 400 * np.exp(-((y - 0.5 - 0.25 * k) ** 2 + (x - 0.5) ** 2) / 0.1)
        images.append(rng.poisson(100 + glow + beads).astype(float))
    plain = align(*images)
    assert not plain.ok or np.hypot(*(plain.shift - [0.3, -0.2])) > 1
    background = npsubpix.local_background(images[0], 32)
    peaks = npsubpix.find_peaks(images[0], background=background, threshold_abs=5)
    result = align(*images, background=32, around=peaks, radius=5)
    assert result.ok
    np.testing.assert_allclose(result.shift, [0.3, -0.2], atol=5 * result.shift_std.max())
    assert result.shift_std.max() < 0.03
    same = align(*images, background=np.int64(32), around=peaks.coords, radius=5, mask=np.zeros((256, 256), bool))
    np.testing.assert_array_equal(same.matrix, result.matrix)


@pytest.mark.parametrize(("radius", "step"), [(2.5, 0.5), (6.3, 0.01), (1e6, 0.5), (1e300, 1.0)])
def test_pixels_around_positions(rng, radius, step):
    """Those within the radius, without a look at every pixel of a window that may be greater than all memory."""
    shape = (17, 23)
    points = np.vstack([np.round(rng.uniform(-9, 30, (5, 2)) / step) * step, [[-2.5, 4.0]]])
    rows, columns = np.indices(shape)
    near = (np.hypot(rows - points[:, :1, None], columns - points[:, 1:, None]) <= radius).any(0)
    np.testing.assert_array_equal(mask_around(points, radius, np.zeros(shape), None), ~near)


@pytest.mark.usefixtures("backend")
def test_a_known_background_is_subtracted(rng):
    scene = stars(rng, 60, 64)
    fixed, moving = field(rng, scene, 64), field(rng, scene, 64, (1.25, -0.5))
    dust = 30 * ndi.gaussian_filter(rng.normal(size=(64, 64)), 2)
    plain = align(fixed, moving)
    for background in (dust, npsubpix.Background(dust, np.ones_like(dust))):
        result = align(fixed + dust, moving + dust, background=background)
        np.testing.assert_allclose(result.shift, plain.shift, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"moving_mask": np.zeros((9, 8), bool)}, ValueError, "moving_mask must have the shape"),
        ({"background": 0}, ValueError, "background must be at least 1"),
        ({"background": 2.5}, TypeError, "background must be an integer"),
        ({"background": np.zeros((9, 8))}, ValueError, "background must have the shape of both images"),
        ({"around": np.zeros((4, 3))}, ValueError, r"around must be Peaks of an image, or have shape \(N, 2\)"),
        ({"around": np.zeros((4, 2)), "radius": 0}, ValueError, "radius must be positive"),
    ],
)
def test_misuse(options, error, match):
    with pytest.raises(error, match=match):
        align(np.zeros((9, 9)), np.zeros((9, 9)), **options)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["linear", "bspline3"])
def test_an_image_aligned_to_itself_keeps_its_edges(rng, method):
    image = field(rng, stars(rng, 40, 61), 61)
    warped = npsubpix.warp(image, align(image, image.copy()), method=method, cval=np.nan)
    assert np.isfinite(warped).all()
    np.testing.assert_allclose(warped, image, atol=1e-3)


@pytest.mark.usefixtures("backend")
def test_an_alignment_is_a_transform(rng):
    scene = stars(rng, 40, 64)
    fixed, moving = field(rng, scene, 64), field(rng, scene, 64, (1.25, -0.5))
    result = align(fixed, moving)
    np.testing.assert_array_equal(npsubpix.warp(moving, result), npsubpix.warp(moving, result.matrix))
    points = rng.uniform(0, 60, (5, 2))
    moved = npsubpix.transform_points(result, points)
    np.testing.assert_array_equal(moved, npsubpix.transform_points(result.matrix, points))
    np.testing.assert_allclose(moved - points, np.broadcast_to([1.25, -0.5], (5, 2)), atol=0.1)


def test_a_texture_of_outliers_alone_is_flagged():
    """Where cosmic rays are most of what differs, products of Tukey's loss are negative: this divided by zero."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        scene = stars(rng, 60, 64)
        images = [field(rng, scene, 64, shift).astype(np.float32) for shift in ((0, 0), (0.5, -0.3), (1.2, 0.9))]
        for image in images:
            image[tuple(rng.integers(6, 58, (2, 3)))] += 400
        images[1][50:, 50:] = np.nan
        for fixed, moving in ((0, 1), (1, 0), (1, 2), (0, 2)):
            result = align(images[fixed], images[moving], loss="tukey")
            assert np.isfinite(result.matrix).all()
            assert np.isfinite(result.shift_std).all() or not result.ok
