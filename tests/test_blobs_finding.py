"""Blobs of any size: positions, widths and heights against the truth, and against the formulas of scale space."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

import npsubpix
from npsubpix import PeakFlags
from npsubpix._definitions.pixel_noise import noise_of_strips, noise_strips
from npsubpix.blobs import fitted
from tests.movie_cases import check_blobs_in_tiles, frame_of_blobs, tiles
from tests.reference import blobs as reference

NOISE = 2.0


def matched(blobs: npsubpix.Blobs, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a table, and of true blobs, that are within half a width of each other."""
    axes = blobs.ndim
    distance, nearest = cKDTree(blobs.coords).query(truth[:, :axes])
    found = distance < 0.5 * truth[:, axes]
    return nearest[found], np.flatnonzero(found)


@pytest.fixture(scope="module")
def field() -> tuple[np.ndarray, np.ndarray]:
    """60 blobs of widths from 1.5 to 8 pixels, and noise."""
    rng = np.random.default_rng(2)
    truth = reference.scattered_blobs(rng, 60, (512, 512), (1.5, 8.0), (30.0, 100.0))
    image = reference.image_of_blobs((512, 512), truth, 20.0) + rng.normal(0, NOISE, (512, 512))
    return image.astype(np.float32), truth


def bounds(truth: np.ndarray) -> tuple[float, float]:
    """The least root mean squares, of a position along an axis, and of the logarithm of the width, in white noise."""
    height, width = truth[:, 3], truth[:, 2]
    position = np.sqrt(2 / np.pi) * NOISE / height
    return np.sqrt(np.mean(position**2)), np.sqrt(np.mean((NOISE / (np.sqrt(np.pi) * height * width)) ** 2))


@pytest.mark.parametrize(("refine", "most"), [("quadratic", 1.21), ("fit", 1.1)])
def test_positions_and_widths_have_no_bias_and_nearly_the_least_scatter(field, refine, most):
    """And every blob is found, and nothing else; errors are the scatter."""
    image, truth = field
    blobs = npsubpix.find_blobs(image, 1, 10, noise=NOISE, refine=refine)
    rows, true = matched(blobs, truth)
    assert len(true) == len(truth) == len(blobs)
    assert blobs.ok.all()
    error = blobs.coords[rows] - truth[true, :2]
    growth = np.log(blobs.sigma[rows] / truth[true, 2])
    # 120 coordinates: their root mean square has a scatter of 6 %
    assert np.sqrt(np.mean(error**2)) < most * 1.06 * bounds(truth)[0]
    assert np.abs(error.mean(axis=0)).max() < 0.015  # three standard errors
    assert abs(growth.mean()) < 0.005
    assert growth.std() < 0.013
    assert abs(np.mean(blobs.amplitude[rows] / truth[true, 3]) - 1) < 0.005
    for name, difference in (
        ("coords_std", error),
        ("sigma_std", blobs.sigma[rows] - truth[true, 2]),
        ("amplitude_std", blobs.amplitude[rows] - truth[true, 3]),
    ):
        assert 0.75 < np.std(difference / getattr(blobs, name)[rows]) < 1.25, name


@pytest.mark.exhaustive  # the compiler works for it on tens of thousands of pixels
@pytest.mark.parametrize("method", ["log", "dog", "doh"])
def test_a_field_of_240_blobs(method):
    rng = np.random.default_rng(3)
    truth = reference.scattered_blobs(rng, 240, (1024, 1024), (1.5, 8.0), (30.0, 100.0))
    image = reference.image_of_blobs((1024, 1024), truth, 20.0) + rng.normal(0, NOISE, (1024, 1024))
    blobs = npsubpix.find_blobs(image, 1, 10, method=method, noise=NOISE)
    rows, true = matched(blobs, truth)
    assert len(true) == 240
    assert len(blobs) <= 241
    error, growth = blobs.coords[rows] - truth[true, :2], np.log(blobs.sigma[rows] / truth[true, 2])
    assert np.sqrt(np.mean(error**2)) < 1.21 * bounds(truth)[0]
    assert np.abs(error.mean(axis=0)).max() < 0.005
    assert abs(growth.mean()) < 0.005
    assert growth.std() < 0.013
    assert 0.85 < np.std(error / blobs.coords_std[rows]) < 1.15
    assert 0.85 < np.std((blobs.sigma[rows] - truth[true, 2]) / blobs.sigma_std[rows]) < 1.15


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["log", "dog", "doh"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_levels_are_those_of_the_formulas(method, ndim):
    """Of a Gaussian blob: the whole level, on its grid, in units of the height of the blob."""
    shape, place, width = (
        (90, 80) if ndim == 2 else (40, 44, 42),
        (41.3, 38.6) if ndim == 2 else (20.2, 21.6, 19.9),
        4.0,
    )
    image = reference.image_of_blobs(shape, np.array([[*place, width, 50.0]]), 7.0)
    steps = set()
    for level in npsubpix.scale_space(image, 2, 8, method=method):
        grid = np.meshgrid(*(np.arange(0, n, h) for n, h in zip(shape, level.step, strict=True)), indexing="ij")
        square = sum((g - c) ** 2 for g, c in zip(grid, place, strict=True))
        ratio = 2 ** (1 / 3)
        sigma = reference.filter_width(method, level.sigma[0], ndim, ratio)
        wanted = 50 * reference.response_to_gaussian(method, square, width, sigma, ndim, ratio)
        inside = tuple(slice(4, -4) for _ in shape)  # the formulas have no border
        found, wanted = np.asarray(level.response)[inside], wanted[inside]
        if method == "doh":  # which is steep where a curvature vanishes
            found, wanted = found[wanted > 0.8 * wanted.max()], wanted[wanted > 0.8 * wanted.max()]
        far = level.sigma[0] > 5  # where the border is near
        np.testing.assert_allclose(found, wanted, atol=1.5 if far and ndim == 3 else 0.15)
        steps.add(level.step[0])
    assert steps >= {1, 2}


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("width", [1.0, 1.5, 2.5, 5.0])
@pytest.mark.parametrize("method", ["log", "dog", "doh"])
def test_a_blob_without_noise(width, method):
    """Sizes are the blobs' own, and not those of filters, for every filter."""
    truth = np.array([[30.3, 33.8, width, 40.0]])
    image = reference.image_of_blobs((64, 66), truth, 100.0)
    blobs = npsubpix.find_blobs(image, 0.8, 10, method=method, threshold_abs=1)
    assert len(blobs) == 1
    assert blobs.snr.shape == (1,)
    near = 0.04 if width < 1.5 else 0.006
    np.testing.assert_allclose(blobs.coords, truth[:, :2], atol=near)
    np.testing.assert_allclose(blobs.sigma, width, rtol=near)
    np.testing.assert_allclose(blobs.radius, 2**0.5 * blobs.sigma)
    np.testing.assert_allclose(blobs.amplitude, 40, rtol=near)
    np.testing.assert_array_equal(blobs.value, image[30, 34])


@pytest.mark.usefixtures("backend")
def test_volumes_with_slices_further_apart():
    """Widths per axis, in pixels; from the spacing, or from one width per axis."""
    truth = np.array([[16.3, 30.7, 24.9, 1.5, 3.0, 3.0, 60.0]])
    volume = reference.image_of_blobs((32, 64, 60), truth)
    by_axis = npsubpix.find_blobs(volume, (1, 2, 2), (3, 6, 6), threshold_abs=5)
    by_spacing = npsubpix.find_blobs(volume, 2, 6, spacing=(2, 1, 1), threshold_abs=5)
    for blobs in (by_axis, by_spacing):
        assert len(blobs) == 1
        np.testing.assert_allclose(blobs.coords, truth[:, :3], atol=0.02)
        np.testing.assert_allclose(blobs.sigma, truth[:, 3:6], rtol=0.01)
        np.testing.assert_allclose(blobs.amplitude, 60, rtol=0.01)
    assert list(by_axis.to_dict())[3:9] == ["sigma_z", "sigma_y", "sigma_x", "radius_z", "radius_y", "radius_x"]


@pytest.mark.exhaustive  # a volume of three million pixels
@pytest.mark.parametrize("refine", ["quadratic", "fit"])
def test_widths_in_volumes(refine):
    rng = np.random.default_rng(4)
    widths, places = np.array([1.5, 2.0, 2.0]), np.empty((0, 3))
    while len(places) < 120:
        place = rng.uniform([8, 10, 10], [40, 246, 246])
        if (((places - place) / widths) ** 2 > 0).size == 0 or ((((places - place) / widths) ** 2).sum(1) > 36).all():
            places = np.vstack([places, place])
    truth = np.column_stack([places, np.tile(widths, (120, 1)), rng.uniform(30, 100, 120)])
    volume = reference.image_of_blobs((48, 256, 256), truth, 10.0) + rng.normal(0, 3, (48, 256, 256))
    blobs = npsubpix.find_blobs(volume, widths * 0.6, widths * 1.6, noise=3.0, refine=refine)
    distance, nearest = cKDTree(blobs.coords / widths).query(places / widths)
    assert (distance < 1).all()
    np.testing.assert_allclose(blobs.sigma[nearest].mean(axis=0), widths, rtol=0.01)
    for error, scatter in (
        (blobs.coords[nearest] - places, blobs.coords_std[nearest]),
        (blobs.sigma[nearest] - widths, blobs.sigma_std[nearest]),
        (blobs.amplitude[nearest] - truth[:, -1], blobs.amplitude_std[nearest]),
    ):
        assert 0.8 < np.std(error / scatter) < 1.25


@pytest.mark.usefixtures("backend")
def test_dark_blobs_and_both(rng):
    truth = np.array([[20.2, 30.6, 3.0, 50.0], [60.5, 41.1, 4.0, -70.0]])
    image = reference.image_of_blobs((90, 80), truth, 100.0) + rng.normal(size=(90, 80))
    bright, dark, both = (npsubpix.find_blobs(image, 2, 8, dark=dark, noise=1) for dark in (False, True, "both"))
    np.testing.assert_allclose(bright.amplitude, [50], rtol=0.05)
    np.testing.assert_allclose(dark.amplitude, [-70], rtol=0.05)
    assert (dark.flags == PeakFlags.MINIMUM).all()
    assert dark.ok.all()
    np.testing.assert_allclose(both.coords, np.concatenate([dark.coords, bright.coords]))
    fits = npsubpix.find_blobs(image, 2, 8, dark="both", noise=1, refine="fit")
    np.testing.assert_allclose(fits.amplitude, [-70, 50], rtol=0.03)


@pytest.mark.usefixtures("backend")
def test_results_do_not_depend_on_the_dtype(rng):
    """A threshold in units of the image is one, whatever holds it; skimage divides integers by their greatest."""
    image = np.rint(
        reference.image_of_blobs((60, 62), np.array([[30.2, 28.7, 3.0, 90.0]]), 60) + rng.normal(size=(60, 62))
    )
    wanted = npsubpix.find_blobs(image, 1.5, 6, threshold_abs=20)
    assert len(wanted) == 1
    for x in (image.astype(np.uint8), image.astype(np.int32), image.astype(np.float32), torch.from_numpy(image)):
        found = npsubpix.find_blobs(x, 1.5, 6, threshold_abs=20)
        assert isinstance(found.coords, torch.Tensor) == isinstance(x, torch.Tensor)
        np.testing.assert_allclose(found.coords, wanted.coords, atol=1e-4)
        np.testing.assert_allclose(found.amplitude, wanted.amplitude, rtol=1e-4)
    for scale in (1e-30, 1e30):
        found = npsubpix.find_blobs(scale * image, 1.5, 6, threshold_abs=20 * scale)
        np.testing.assert_allclose(found.coords, wanted.coords, atol=1e-4)
        np.testing.assert_allclose(found.amplitude, scale * wanted.amplitude, rtol=1e-4)


@pytest.mark.parametrize("refine", ["quadratic", "fit"])
def test_jax_arrays_come_back_as_jax_arrays(rng, refine):
    jax = pytest.importorskip("jax")
    image = reference.image_of_blobs((60, 62), np.array([[30.2, 28.7, 3.0, 90.0]]), 60) + rng.normal(size=(60, 62))
    blobs = npsubpix.find_blobs(jax.numpy.asarray(image), 1.5, 6, noise=1, refine=refine)
    columns = (blobs.coords, blobs.sigma, blobs.amplitude, blobs.flags, blobs.coords_std, blobs.sigma_std)
    assert all(isinstance(column, jax.Array) for column in columns)
    np.testing.assert_allclose(blobs.sigma, [3], rtol=0.05)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("axis", [0, -1])
def test_stacks(rng, axis):
    """Frame by frame, each with its own noise, and one without blobs."""
    rows = [np.array([[20.2, 30.6, 3.0, 50.0]]), np.empty((0, 4)), np.array([[33.1, 15.2, 2.0, 80.0]])]
    frames = np.stack([reference.image_of_blobs((50, 52), row) for row in rows]) + rng.normal(size=(3, 50, 52))
    blobs = npsubpix.find_blobs(np.moveaxis(frames, 0, axis), 1.5, 6, frame_axis=axis, threshold_snr=8)
    np.testing.assert_array_equal(blobs.frame, [0, 2])
    for frame in (0, 2):
        alone = npsubpix.find_blobs(frames[frame], 1.5, 6, threshold_snr=8)
        np.testing.assert_array_equal(blobs.coords[blobs.frame == frame], alone.coords)
    assert blobs.image_shape == (50, 52)
    assert blobs.coords_std is None
    empty = npsubpix.find_blobs(frames[:0], 1.5, 6, frame_axis=0)
    assert len(empty) == 0
    assert empty.coords.shape == (0, 2)
    fits = npsubpix.find_blobs(frames, 1.5, 6, frame_axis=0, threshold_snr=8, refine="fit")
    np.testing.assert_allclose(fits.sigma, [3, 2], rtol=0.1)
    assert (fits.coords_std > 0).all()


def test_noise_is_estimated_and_its_responses_are_those_of_the_formulas():
    """So that a threshold in units of it means what it says, in images and volumes."""
    rng = np.random.default_rng(0)
    for shape, factor in (((300, 310), lambda s: 1 / (s * np.sqrt(2 * np.pi))),
                          ((60, 70, 80), lambda s: np.sqrt(15 / (32 * np.pi**1.5 * s**3)))):  # fmt: skip
        noise = rng.normal(50, 3, shape)
        for level in npsubpix.scale_space(noise, 2, 2):
            sigma = level.sigma[0] * np.sqrt(2 / len(shape))
            assert np.std(level.response) == pytest.approx(3 * factor(sigma), rel=0.06)
        known, estimated = (npsubpix.find_blobs(noise, 1.5, 4, threshold_snr=3, noise=n) for n in (3.0, None))
        assert len(known) >= 3
        row = int(np.argmin(np.abs(estimated.coords - known.coords[0]).sum(axis=1)))
        assert estimated.snr[row] == pytest.approx(known.snr[0], rel=0.05)
        assert len(npsubpix.find_blobs(noise, 1.5, 4)) <= 1


def test_wide_blobs_that_cover_an_image_are_no_noise():
    """Where every pixel is of a blob, a threshold in units of the noise must lose none in silence."""
    rng = np.random.default_rng(4)
    places = np.array([(y, x) for y in (45, 130, 215) for x in (40, 125, 210)]) + rng.uniform(-9, 9, (9, 2))
    truth = np.column_stack([places, rng.uniform(18, 24, 9), rng.uniform(1.5, 3, 9)])
    image = reference.image_of_blobs((260, 250), truth, 100.0) + rng.normal(0, 2.0, (260, 250))
    estimated, known = (npsubpix.find_blobs(image, 16, 30, noise=n) for n in (None, 2.0))
    assert len(estimated) >= 8
    np.testing.assert_array_equal(estimated.coords, known.coords)
    np.testing.assert_allclose(estimated.snr, known.snr, rtol=0.03)


@pytest.mark.parametrize("shape", [(300, 310), (40, 60, 70)])
def test_the_noise_of_pixels(shape, rng):
    """Of dense blobs of any width, of coarse steps and beside gaps; correlated noise is never too high."""
    image = rng.normal(0, 1, shape)
    for width in (1.5, 3.0, 8.0, 20.0):
        waves = [np.cos(np.arange(n) * 0.8 / width) for n in shape]
        dense = 20 * math.prod(np.ix_(*waves)) + image
        assert noise_of(dense) == pytest.approx(1, rel=0.04)
    for step in (0.2, 1.0, 2.0):
        rounded = np.rint(dense / step) * step
        assert noise_of(rounded) == pytest.approx(np.sqrt(1 + step**2 / 12), rel=0.05)
    holes = np.zeros(shape, bool)
    holes[..., :100:3] = holes[..., ::2, 30:] = True
    assert noise_of(np.where(holes, 0, image), holes) in (0, pytest.approx(1, rel=0.1))
    smooth = (image + np.roll(image, 1, -1)) / np.sqrt(2)
    assert 0 < noise_of(smooth) < 1
    assert noise_of(np.ones(shape)) == 0


def noise_of(image, gaps=None):
    """The noise that `find_blobs` takes by default."""
    volume = np.asarray(image, np.float64).reshape((1,) * (3 - image.ndim) + image.shape)
    strips = noise_strips(volume.shape)
    own = [None if x is None else x.reshape(-1, volume.shape[2])[strips.rows] for x in (volume, gaps)]
    return noise_of_strips(strips, *own)


@pytest.mark.usefixtures("backend")
def test_masked_pixels_and_those_that_are_not_finite(rng):
    """They are no blobs, hide none that are far from them, and leave a flag on those whose pixels they take."""
    truth = np.array([[20.2, 30.6, 3.0, 50.0], [60.5, 41.1, 4.0, 70.0], [35.0, 60.0, 2.0, 60.0]])
    image = reference.image_of_blobs((90, 80), truth, 100.0) + rng.normal(size=(90, 80))
    hot = np.zeros(image.shape, bool)
    hot[62:70, 43:50] = hot[34:37, 59:62] = hot[5, 7] = True
    spoilt = np.where(hot, np.nan, image)
    for blobs in (
        npsubpix.find_blobs(spoilt, 1.5, 8, noise=1),
        npsubpix.find_blobs(np.where(hot, 1e4, image), 1.5, 8, noise=1, mask=hot),
    ):
        rows = [int(np.argmin(np.abs(blobs.coords - place).sum(axis=1))) for place in truth[:2, :2]]
        np.testing.assert_allclose(blobs.coords[rows[0]], truth[0, :2], atol=0.1)
        np.testing.assert_array_equal(blobs.flags[rows] & PeakFlags.MASKED, [0, PeakFlags.MASKED])
        assert not hot[tuple(np.rint(blobs.coords).astype(int).T)].any()
        assert np.isfinite(blobs.amplitude).all()
    assert len(npsubpix.find_blobs(np.full((40, 40), np.nan), 1, 4)) == 0


@pytest.mark.usefixtures("backend")
def test_overlap_and_number_and_border():
    """A small blob on a wide one, which covers it, and one at the border."""
    truth = np.array([[60.0, 60.0, 10.0, 70.0], [63.0, 58.0, 1.5, 60.0], [2.0, 100.0, 4.0, 40.0]])
    image = reference.image_of_blobs((120, 122), truth, 0.0)
    every = npsubpix.find_blobs(image, 1, 15, threshold_abs=10, overlap=1)
    assert len(every) == 3
    assert len(npsubpix.find_blobs(image, 1, 15, threshold_abs=10)) == 2
    first = npsubpix.find_blobs(image, 1, 15, threshold_abs=10, overlap=1, num_blobs=1)
    np.testing.assert_array_equal(first.coords, every.coords[:1])
    for border in (True, 6, (6, 0)):
        assert len(npsubpix.find_blobs(image, 1, 15, threshold_abs=10, overlap=1, exclude_border=border)) == 2
    assert len(npsubpix.find_blobs(image, 1, 15, threshold_rel=0.95, overlap=1)) == 1


@pytest.mark.usefixtures("backend")
def test_a_blob_at_the_border_is_not_ok_unless_it_is_fitted():
    """The reflected image shifts it; a fit knows where the image ends."""
    truth = np.array([[4.5, 45.3, 3.0, 50.0], [60.0, 40.0, 3.0, 40.0]])
    image = reference.image_of_blobs((90, 90), truth)
    blobs = npsubpix.find_blobs(image, 1.5, 8, threshold_abs=5, noise=0.01)
    np.testing.assert_array_equal(np.sort(blobs.flags), [0, PeakFlags.AT_BORDER])
    np.testing.assert_array_equal(np.isnan(blobs.coords_std[:, 0]), ~blobs.ok)
    fits = npsubpix.find_blobs(image, 1.5, 8, threshold_abs=5, noise=0.01, refine="fit")
    assert fits.ok.all()
    order = np.argsort(fits.coords[:, 0])
    np.testing.assert_allclose(fits.coords[order], truth[:, :2], atol=1e-3)
    np.testing.assert_allclose(fits.sigma, 3, rtol=1e-3)


@pytest.mark.usefixtures("backend")
def test_a_poor_fit_at_the_border_is_not_ok(rng):
    """Two blobs that are found as one: the fit says that it is poor."""
    truth = np.array([[5.0, 30.0, 3.0, 60.0], [5.0, 34.0, 3.0, 60.0]])
    image = reference.image_of_blobs((64, 64), truth, 20.0) + rng.normal(size=(64, 64))
    fits = npsubpix.find_blobs(image, 2, 8, noise=1.0, refine="fit")
    np.testing.assert_array_equal(fits.flags, [PeakFlags.AT_BORDER | PeakFlags.POOR_FIT])


@pytest.mark.usefixtures("backend")
def test_blobs_are_ok_as_their_fits_are(monkeypatch):
    """For the same reasons; and blobs of other sizes are neighbours too, though they are fitted in other boxes."""
    rng = np.random.default_rng(6)
    truth = np.array([
        [30.0, 30.0, 3.0, 60.0],  # alone
        [30.0, 80.0, 3.0, 60.0], [30.0, 84.5, 3.0, 60.0],  # found as one
        [80.0, 40.0, 8.0, 50.0], [84.0, 44.0, 1.6, 90.0],  # a small one on a wide one
    ])  # fmt: skip
    image = reference.image_of_blobs((112, 114), truth, 20.0) + rng.normal(0, NOISE, (112, 114))
    fits = []

    def fit(*arguments, **options):
        fits.append(fit_spots(*arguments, **options))
        return fits[-1]

    fit_spots = fitted.fit_spots
    monkeypatch.setattr(fitted, "fit_spots", fit)
    blobs = npsubpix.find_blobs(image, 1.5, 12, noise=NOISE, refine="fit", overlap=1, threshold_snr=4)
    assert len(blobs) == sum(map(len, fits)) > 4
    own = npsubpix.Fits.concatenate([replace(f, covariance=None) for f in fits])
    distance, rows = cKDTree(own.coords).query(blobs.coords)
    assert np.median(distance) == 0
    blended = (blobs.flags & int(PeakFlags.BLENDED)) != 0
    np.testing.assert_array_equal(blobs.ok, own.ok[rows] & ~blended)
    of_truth = matched(blobs, truth)
    flags = dict(zip(of_truth[1].tolist(), blobs.flags[of_truth[0]].tolist(), strict=True))
    assert flags[0] == 0
    assert flags[3] & PeakFlags.BLENDED
    assert (blobs.flags & int(PeakFlags.LOW_SIGNAL)).any()  # blobs of noise
    pair = blobs.flags[np.hypot(*(blobs.coords - (30, 82)).T) < 4]
    assert len(pair) == 1
    assert pair[0] & PeakFlags.POOR_FIT


@pytest.mark.parametrize("ndim", [2, 3])
def test_overlap_is_the_fraction_of_skimage(rng, ndim):
    """Of the smaller disc, or ball; and of two the stronger one is kept."""
    from skimage.feature.blob import _blob_overlap

    from npsubpix._definitions.blob_overlap import kept_by_overlap, overlap_fraction

    points, widths = rng.uniform(0, 12, (200, ndim)), rng.uniform(1, 6, 200)
    a, b = points[:100], points[100:]
    found = overlap_fraction(np.linalg.norm(a - b, axis=1), 2**0.5 * widths[:100], 2**0.5 * widths[100:], ndim)
    # the radius of skimage's blobs is their sigma times the root of the number of axes
    filters = widths * np.sqrt(2 / ndim)
    wanted = [
        _blob_overlap(np.r_[p, s], np.r_[q, t]) for p, q, s, t in zip(a, b, filters[:100], filters[100:], strict=True)
    ]
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    np.testing.assert_array_equal(
        kept_by_overlap(np.array([[0.0, 0], [1, 0], [9, 0], [1.5, 0]]), np.array([2.0, 2, 2, 30]), 0.5), [0, 2]
    )


def test_edges_are_no_blobs(rng):
    """A ridge, and a blob four times as long as wide, which a limit of its own admits."""
    y, x = np.mgrid[:90, :100].astype(float)
    image = 50 * np.exp(-((y - 20) ** 2) / 8) + 60 * np.exp(-((y - 60) ** 2) / 8 - (x - 50) ** 2 / 72)
    image += rng.normal(0, 0.1, image.shape)
    assert not (np.abs(npsubpix.find_blobs(image, 1, 6, noise=0.1).coords[:, 0] - 20) < 3).any()
    loose, strict = (npsubpix.find_blobs(image, 1, 6, noise=0.1, edge_ratio=r, num_blobs=3) for r in (None, 2.0))
    assert len(loose) > len(strict)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"min_sigma": 4, "max_sigma": 2}, ValueError, "max_sigma must not be below min_sigma"),
        ({"min_sigma": 0.4}, ValueError, "min_sigma must be at least 0.5 pixels"),
        ({"max_sigma": 9.1}, ValueError, "max_sigma must be at most a third of the image"),
        ({"min_sigma": (1, 2), "max_sigma": (4, 6)}, ValueError, "ratios between axes"),
        ({"spacing": (4, 1)}, ValueError, "min_sigma must be at least 0.5 pixels"),
        ({"scales_per_octave": 0}, ValueError, "scales_per_octave must be at least 1"),
        ({"method": "sift"}, ValueError, "method must be one of"),
        ({"dark": "yes"}, ValueError, "dark must be one of"),
        ({"dark": 1}, TypeError, "dark must be True or False"),
        ({"threshold_abs": -1}, ValueError, "threshold_abs must be at least 0"),
        ({"threshold_snr": np.nan}, ValueError, "threshold_snr must be finite"),
        ({"noise": -1.0}, ValueError, "noise must be at least 0"),
        ({"noise": np.ones((3, 3))}, ValueError, "noise must be a number or have the shape"),
        ({"edge_ratio": 0.5}, ValueError, "edge_ratio must be at least 1"),
        ({"overlap": 2}, ValueError, "overlap must be from 0 to 1"),
        ({"refine": "centroid"}, ValueError, "refine must be one of"),
        ({"exclude_border": -1}, ValueError, "exclude_border must be at least 0"),
        ({"num_blobs": 1.5}, TypeError, "num_blobs must be an integer"),
    ],
)
def test_misuse(options, error, match):
    with pytest.raises(error, match=match):
        npsubpix.find_blobs(np.zeros((27, 30)), **{"min_sigma": 1, "max_sigma": 5, **options})


@pytest.mark.usefixtures("backend")
def test_nothing_to_find():
    """Images of one value, of no pixels and of one row; noise of 0 finds what exceeds rounding alone."""
    for image in (np.zeros((30, 30)), np.full((30, 30), 1e9), np.zeros((0, 30))):
        for refine in ("quadratic", "fit"):
            blobs = npsubpix.find_blobs(image, 1, 4, refine=refine)
            assert len(blobs) == 0
            assert blobs.sigma.shape == (0,)
            assert blobs.coords.shape == (0, 2)
    with pytest.raises(ValueError, match="a third of the image"):
        npsubpix.find_blobs(np.zeros((1, 30)), 1, 4)
    with pytest.raises(ValueError, match="2 or 3 dimensions"):
        npsubpix.find_blobs(np.zeros(30), 1, 4)
    image = reference.image_of_blobs((40, 42), np.array([[20.2, 18.7, 3.0, 5.0]]), 1000.0)
    blobs = npsubpix.find_blobs(image, 1.5, 6, noise=0)
    assert len(blobs) == 1
    assert np.isposinf(blobs.snr).all()
    np.testing.assert_array_equal(blobs.coords_std, 0)


def test_tables(rng):
    truth = np.array([[20.2, 30.6, 3.0, 50.0], [60.5, 41.1, 4.0, 70.0]])
    image = reference.image_of_blobs((90, 80), truth, 100.0) + rng.normal(size=(90, 80))
    blobs = npsubpix.find_blobs(image, 2, 8, noise=1)
    assert list(blobs.to_dict()) == [
        "y", "x", "y_std", "x_std", "sigma", "sigma_std", "radius", "amplitude", "amplitude_std", "snr", "value", "ok",
        "flags", "flag_names",
    ]  # fmt: skip
    np.testing.assert_array_equal(blobs.to_skimage(), np.column_stack([blobs.coords, blobs.sigma]))
    np.testing.assert_allclose(blobs.to_trackpy()["size"], 2**0.5 * blobs.sigma)
    np.testing.assert_array_equal(blobs[:1].coords, blobs.coords[:1])
    both = npsubpix.Blobs.concatenate([blobs, blobs], frame=[0, 1])
    np.testing.assert_array_equal(both.frame, [0, 0, 1, 1])
    assert str(blobs.to_astropy(image_unit="adu")["amplitude"].unit) == "adu"
    assert "sigma" in repr(blobs)


@pytest.mark.usefixtures("backend")
def test_pixels_that_were_filled_do_not_lower_the_noise(rng):
    """They are smooth: with half of an image masked, noise in the other half would be taken for blobs."""
    image = reference.image_of_blobs((190, 180), np.array([[165.2, 30.6, 3.0, 50.0]]), 100.0)
    image += rng.normal(size=image.shape)
    (whole,) = npsubpix.find_blobs(image, 2, 8).snr
    (half,) = npsubpix.find_blobs(image, 2, 8, mask=np.indices(image.shape)[0] < 95).snr
    assert half == pytest.approx(whole, rel=0.1)


def test_gaps_masks_and_noise_of_a_frame_in_tiles():
    """Gaps are filled with the background of the whole frame, and have no part in its noise."""
    image = frame_of_blobs().astype(np.float64)
    mask = np.random.default_rng(3).random(image.shape) < 0.003
    noise = np.random.default_rng(4).uniform(0.5, 2, image.shape)
    check_blobs_in_tiles(image, (70, 60), min_sigma=1, max_sigma=2, mask=mask, noise=noise)
    image[50:55, 60:75], image[120, 33] = np.nan, -np.inf
    check_blobs_in_tiles(image, (70, 60), min_sigma=1, max_sigma=2)
    with tiles(70, 60):
        for empty in (np.full((150, 160), np.nan), np.full((150, 160), 7.0)):
            assert len(npsubpix.locate(empty, task="blobs", frames=False, min_sigma=1, max_sigma=2)) == 0


@pytest.mark.usefixtures("backend")
def test_fits_of_a_frame_do_not_depend_on_other_frames(rng):
    """Blobs of another size in the next frame must not change where fits begin, nor the errors of residuals."""
    narrow = reference.image_of_blobs((60, 64), np.array([[20.2, 30.6, 2.0, 50.0]]), 100.0) + rng.normal(size=(60, 64))
    wide = reference.image_of_blobs((60, 64), np.array([[31.4, 30.1, 2.3, 90.0]]), 100.0) + rng.normal(size=(60, 64))
    alone = npsubpix.find_blobs(narrow, 1.5, 6, refine="fit")
    stack = npsubpix.find_blobs(np.stack([narrow, -wide, wide], 2), 1.5, 6, refine="fit", frame_axis=2)
    for name in ("coords", "sigma", "amplitude", "coords_std"):
        np.testing.assert_array_equal(getattr(stack[stack.frame == 0], name), getattr(alone, name))


@pytest.mark.usefixtures("backend")
def test_a_fraction_is_one_of_the_greatest_blob_that_counts(rng):
    """A brighter one that is masked, or at the border that is left out, must not hide the others."""
    truth = np.array([[20.2, 30.6, 3.0, 500.0], [60.5, 41.1, 4.0, 70.0]])
    image = reference.image_of_blobs((90, 80), truth, 100.0) + rng.normal(size=(90, 80))
    mask = np.indices(image.shape)[0] < 42
    assert len(npsubpix.find_blobs(image, 2, 8, threshold_rel=0.5)) == 1
    assert len(npsubpix.find_blobs(image, 2, 8, threshold_rel=0.5, mask=mask)) == 1
    (row,) = npsubpix.find_blobs(image, 2, 8, threshold_rel=0.5, exclude_border=(25, 0)).coords
    np.testing.assert_allclose(row, [60.5, 41.1], atol=0.2)
