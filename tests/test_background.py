"""Local backgrounds against their definition, sep and photutils, and peaks above a background."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import npsubpix
from benchmarks import background_accuracy as accuracy
from npsubpix import Background, PeakFlags
from tests.assertions import assert_library, assert_same
from tests.reference import background as reference
from tests.reference import peaks as peaks_reference


@pytest.fixture
def sky(rng):
    """Noise on a slope, with stars and two bad pixels."""
    y, x = np.mgrid[:50, :61]
    image = 100 + 0.1 * y + rng.normal(0, 3, x.shape)
    for cy, cx in rng.uniform(0, 50, (8, 2)):
        image += 80 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 4)
    image[3, 4], image[40, 50] = np.nan, np.inf
    return image


def find(image, **options):
    """Find the strict maxima, whether or not refinement moves them to one place."""
    return npsubpix.find_peaks(image, **{"plateau": "drop", "duplicates": "flag", **options})


def check(image, size, dtype=None, **options):
    """Compare with the definition; return what was found."""
    found = npsubpix.local_background(image, size, **options)
    axes = np.ndim(image)
    per_axis = {k: (v,) * axes if isinstance(v, int) else v for k, v in options.items() if k in ("grow", "filter_size")}
    lengths = (size,) * axes if isinstance(size, int) else size
    level, noise, guessed = reference.background(np.asarray(image), lengths, **{**options, **per_axis})
    assert_same(found.level, level, "background", dtype=found.level.dtype)
    assert_same(found.noise, noise, "noise", dtype=found.level.dtype)
    np.testing.assert_array_equal(found.guessed, guessed)
    return found


@pytest.mark.parametrize("method", ["median", "mean"])
@pytest.mark.parametrize("size", [16, (50, 8), (11, 200), 1000])
def test_the_definition(sky, size, method):
    check(sky, size, method=method)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("options", [{"grow": 0}, {"grow": 1}, {"grow": (0, 4)}, {"grow": 10**9}, {"filter_size": 1},
                                     {"filter_size": 5}, {"filter_size": (1, 99)}])  # fmt: skip
def test_growth_and_filter(sky, options):
    check(sky, 10, **options)


MORE = [pytest.param(t, marks=pytest.mark.exhaustive) for t in (">f4", ">i2")]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint64", "float32", *MORE])
def test_dtypes(sky, dtype):
    image = np.nan_to_num(np.clip(sky - (60 if dtype == "int8" else 0), 0, 120)).astype(dtype)
    found = check(image, 20)
    wide = np.dtype(dtype).newbyteorder("=")
    assert found.level.dtype == found.noise.dtype == (wide if wide.kind == "f" else np.result_type(wide, np.float32))


@pytest.mark.parametrize("shape", [(7, 22, 23), (1, 30, 31), (2, 1, 40)])
def test_volumes(rng, shape):
    volume = rng.normal(50, 2, shape)
    volume[rng.random(shape) < 0.02] += 40
    check(volume, (3, 9, 12))
    check(volume, 64, grow=(0, 1, 2), method="mean")


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 200)])
@pytest.mark.parametrize("size", [1, 2, 64])
def test_small_images(rng, shape, size):
    check(rng.normal(size=shape), size)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 4, 4)])
def test_images_without_pixels(shape):
    found = npsubpix.local_background(np.zeros(shape, np.float32))
    assert found.level.shape == found.noise.shape == shape
    assert found.level.dtype == np.float32


def test_many_pixels_of_few_values(rng):
    """Medians of whole numbers are no whole numbers: the level is right to much less than a count."""
    image = np.round(rng.normal(100.3, 1.0, (256, 256))).astype(np.uint16)
    found = check(image[:64, :64], 64, filter_size=1)
    assert found.level.dtype == np.float32
    level = npsubpix.local_background(image, 64).level
    assert np.abs(level - 100.3).max() < 0.06


@pytest.mark.usefixtures("backend")
def test_constant_images():
    for value in (0.0, -7.5, 1e30, 255):
        found = npsubpix.local_background(np.full((70, 80), value), 16)
        np.testing.assert_allclose(found.level, value, rtol=1e-14)
        np.testing.assert_array_equal(found.noise, 0)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("factor", [1e-150, 1e-30, 1e30, 1e150])
def test_amplitudes(sky, factor):
    plain = npsubpix.local_background(sky, 20)
    scaled = npsubpix.local_background(sky * factor, 20)
    np.testing.assert_allclose(scaled.level, plain.level * factor, rtol=1e-9)
    np.testing.assert_allclose(scaled.noise, plain.noise * factor, rtol=1e-9)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("dtype", "offset"), [("float32", 2.0**20), ("float64", 2.0**45), ("uint64", 2**50)])
@pytest.mark.parametrize("method", ["median", "mean"])
def test_offsets_cost_no_precision(rng, dtype, offset, method):
    """Level and noise of small whole numbers on a large one, which the dtype holds exactly."""
    counts = rng.integers(0, 16, (90, 100))
    plain = npsubpix.local_background(counts.astype(np.float64), 30, method=method)
    moved = npsubpix.local_background((counts + int(offset)).astype(dtype), 30, method=method)
    step = np.spacing(np.array(offset, moved.level.dtype))
    np.testing.assert_allclose((moved.level - offset).astype(float), plain.level, rtol=0, atol=4 * step)
    np.testing.assert_allclose(moved.noise, plain.noise, rtol=1e-6)


@pytest.mark.usefixtures("backend")
def test_bad_pixels_and_masks_do_not_count(sky, rng):
    mask = rng.random(sky.shape) < 0.3
    mask[:20, :25] = True  # several boxes, which their neighbours fill
    found = check(sky, 10, mask=mask)
    spoilt = sky.copy()
    spoilt[mask] = rng.choice([np.nan, np.inf, -np.inf, 1e6], mask.sum())
    for x, marks in ((spoilt, mask), (np.where(mask, np.nan, sky), None)):
        again = npsubpix.local_background(x, 10, mask=marks)
        np.testing.assert_array_equal(again.level, found.level)
        np.testing.assert_array_equal(again.noise, found.noise)


@pytest.mark.usefixtures("backend")
def test_nothing_to_measure_is_nan(sky):
    for image, mask in ((np.full((20, 30), np.nan), None), (sky, np.ones(sky.shape, bool))):
        found = npsubpix.local_background(image, 8, mask=mask)
        assert np.isnan(found.level).all()
        assert np.isnan(found.noise).all()
    one = np.ones(sky.shape, bool)
    one[7, 8] = False
    found = npsubpix.local_background(sky, 8, mask=one)
    np.testing.assert_allclose(found.level, sky[7, 8], rtol=1e-14)
    np.testing.assert_array_equal(found.noise, 0)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_stacks(sky, axis):
    stack = np.stack([sky, np.full_like(sky, np.nan), sky[::-1] + 5])
    mask = np.zeros(sky.shape, bool)
    mask[:, :9] = True
    found = npsubpix.local_background(np.moveaxis(stack, 0, axis), 16, mask=mask, frame_axis=axis)
    for k, frame in enumerate(stack):
        single = npsubpix.local_background(frame, 16, mask=mask)
        np.testing.assert_array_equal(np.moveaxis(found.level, axis, 0)[k], single.level)
        np.testing.assert_array_equal(np.moveaxis(found.noise, axis, 0)[k], single.noise)


@pytest.mark.usefixtures("backend")
def test_slopes_are_followed_to_the_border():
    """The level of a plane is the plane, at corners too; that of a turned image is turned."""
    y, x = np.mgrid[:100, :130]
    plane = 3.0 * y - 2.0 * x
    level = npsubpix.local_background(plane, 16, grow=0).level
    np.testing.assert_allclose(level, plane, atol=1e-9)
    rng = np.random.default_rng(1)
    image = plane * 0.01 + rng.normal(size=plane.shape)
    turned = npsubpix.local_background(image.T, (20, 30)).level.T
    np.testing.assert_allclose(turned, npsubpix.local_background(image, (30, 20)).level, atol=1e-12)


@pytest.mark.usefixtures("backend")
def test_a_step_is_not_swung_over():
    """Level and noise stay within the range of the boxes around, and change within a box of the step."""
    image = np.zeros((64, 320))
    image[:, 160:] = 1
    level = npsubpix.local_background(image, 32).level
    assert level.min() == 0
    assert level.max() == 1
    np.testing.assert_array_equal(level[:, :110], 0)
    np.testing.assert_array_equal(level[:, 210:], 1)
    np.testing.assert_allclose(level[3, 159:161].sum(), 1, rtol=1e-12)
    rng = np.random.default_rng(2)
    noisy = rng.normal(size=image.shape) * np.where(image > 0, 50, 0.01)
    assert npsubpix.local_background(noisy, 32).noise.min() > 0.008


def test_a_large_object_is_filtered_out(rng):
    image = rng.normal(10, 1, (320, 320))
    image[128:192, 128:192] += 500
    assert np.abs(npsubpix.local_background(image, 64).level - 10).max() < 0.2


def test_libraries_and_layouts(sky, wrap):
    want = npsubpix.local_background(sky, 16)
    source = wrap(sky)
    found = npsubpix.local_background(source, 16)
    assert_library(found.level, source)
    assert_library(found.noise, source)
    np.testing.assert_array_equal(np.asarray(found.level), want.level)
    locked = sky.copy()
    locked.setflags(write=False)
    spread = np.zeros((100, 61))[::2]
    spread[...] = sky
    for variant in (sky.astype(">f8"), np.asfortranarray(sky), spread, sky[::-1].copy()[::-1], locked):
        np.testing.assert_array_equal(npsubpix.local_background(variant, 16).level, want.level)
    assert isinstance(found, Background)


def test_jax_and_gradients(sky):
    jax = pytest.importorskip("jax")
    torch = pytest.importorskip("torch")
    image = sky.astype(np.float32)
    found = npsubpix.local_background(jax.numpy.asarray(image), 16)
    assert_library(found.noise, jax.numpy.asarray(image))
    np.testing.assert_array_equal(np.asarray(found.noise), npsubpix.local_background(image, 16).noise)
    with pytest.raises(TypeError, match="image requires a gradient"):
        npsubpix.local_background(torch.from_numpy(image).requires_grad_())


def test_same_bits_for_any_number_of_threads(rng, threads):
    image = rng.normal(1000, 3, (120, 150)) + 100 * (rng.random((120, 150)) < 0.02)
    ran = threads(lambda: tuple(npsubpix.local_background(image.astype(np.float32), 32)))
    assert ran >= {"background_boxes", "spread_mesh"}


@pytest.mark.usefixtures("backend")
def test_wrong_arguments_of_local_background(sky):
    for bad, error, words in [
        ({"size": 0}, ValueError, "size must be at least 1, got 0"),
        ({"size": 2.5}, TypeError, "size must be an integer"),
        ({"size": (3, 3, 3)}, ValueError, "size must be one integer or 2 of them"),
        ({"method": "mode"}, ValueError, "method must be one of 'median', 'mean', got 'mode'"),
        ({"grow": -1}, ValueError, "grow must be at least 0"),
        ({"filter_size": 4}, ValueError, "filter_size must be odd, got 4"),
        ({"filter_size": 0}, ValueError, "filter_size must be at least 1"),
        ({"mask": sky}, TypeError, "mask must be an array of booleans"),
        ({"mask": sky[1:] > 0}, ValueError, "mask must have the shape of the image"),
        ({"frame_axis": 0}, ValueError, "image must have 2 or 3 dimensions besides its frame axis"),
    ]:
        with pytest.raises(error, match=words):
            npsubpix.local_background(sky, **bad)
    for image in (np.zeros(4), np.zeros((2, 2, 2, 2))):
        with pytest.raises(ValueError, match="image must have 2 or 3 dimensions, got shape"):
            npsubpix.local_background(image)
    for image in (sky > 0, np.zeros((5, 5), complex)):
        with pytest.raises(TypeError, match="image must hold integers or floats"):
            npsubpix.local_background(image)


# --- beside sep and photutils

#: Greatest errors that are accepted, in units of the noise: RMS of the level, RMS of the noise.
FIELDS = [
    ("flat, no stars", 0.011, 0.007),
    ("slope, no stars", 0.02, 0.009),
    ("bowl, no stars", 0.07, 0.016),
    ("slope, 100 stars", 0.032, 0.01),
    ("slope, 600 stars", 0.12, 0.021),
    ("bowl, 600 stars", 0.165, 0.028),
    ("slope, 2000 stars", 0.4, 0.07),
]


@pytest.mark.parametrize(("name", "level", "noise"), FIELDS)
def test_star_fields(name, level, noise):
    """On simulated fields errors are no greater than those of sep and photutils, and no greater than they were."""
    ours = accuracy.errors(name, "npsubpix, median")
    assert ours.rms < level
    assert ours.noise_rms < noise
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's, of what it is used with
        sep, photutils = (accuracy.errors(name, method) for method in ("sep", "photutils, median"))
    assert ours.rms < 1.01 * sep.rms
    if name == "flat, no stars":  # photutils holds the level of the last box up to the border: right if it is flat
        assert ours.rms < 1.5 * photutils.rms
    else:
        assert ours.rms < photutils.rms
    if name != "bowl, no stars":  # the curvature widens noise by as much as clipping, uncorrected, takes from theirs
        assert ours.noise_rms < 1.05 * min(sep.noise_rms, photutils.noise_rms)


def test_the_maps_of_sextractor(data):
    """On a real field of galaxies, SExtractor's own maps, to a few hundredths of the noise."""
    data("astro_sextractor_ntt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of FITS headers of 1992
        image = accuracy.real_fields()["ESO NTT"]
        mean, rms, ratio = accuracy.differences(accuracy.ours(image), accuracy.sextractor_maps())
    assert abs(mean) < 0.01
    assert rms < 0.035
    assert ratio == pytest.approx(0.985, abs=0.003)  # faint objects that it leaves in widen its noise


# --- peaks above a background


def expected(image, background, sigma, threshold, relative=None, sign=1):
    """Maxima of sign * image above thresholds by their definition, the strongest first."""
    image, background, sigma = np.broadcast_arrays(image.astype(float), background, sigma)
    height = sign * (image - background)
    limit = -np.inf if relative is None else relative * np.nanmax(height)
    found = []
    for place in peaks_reference.candidates(sign * image, (3, 3)):
        h, s = height[place], sigma[place]
        if s >= 0 and (threshold is None or h > threshold * s) and h == h and h > limit:
            found.append(((-np.copysign(np.inf, h), -h) if s == 0 else (-h / s, 0), place))
    return [place for _, place in sorted(found)]


def places(peaks):
    return [tuple(row) for row in np.asarray(peaks.indices).tolist()]


@pytest.mark.usefixtures("backend")
def test_peaks_above_what_is_returned(sky):
    """A `Background` is taken as it is."""
    image = np.nan_to_num(sky, posinf=0)
    found = find(image, background=npsubpix.local_background(image, 16), threshold_abs=5)
    assert len(found) > 3
    assert places(found) == expected(image, *reference.background(image, (16, 16))[:2], 5)


@pytest.fixture
def uneven(rng):
    """An image whose background and noise vary more than its spots are high."""
    y, x = np.mgrid[:40, :47]
    background, sigma = 2.0 * x + y, 1.0 + 0.1 * y
    image = background + 2 * sigma * rng.normal(size=x.shape)
    return image, background, sigma


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "uint64"])
@pytest.mark.parametrize("threshold", [None, -1.0, 0.0, 1.5, 1e6])
@pytest.mark.parametrize("forms", ["arrays", "numbers", "level", "noise"])
def test_thresholds_in_units_of_the_noise(uneven, dtype, threshold, forms, wrap):
    image, background, sigma = uneven
    image = np.clip(image, 0, None).astype(dtype)
    level = {"arrays": background, "numbers": 60.5, "level": background.astype(np.float32), "noise": None}[forms]
    noise = {"arrays": sigma, "numbers": 2.5, "level": None, "noise": sigma.astype(np.float32)}[forms]
    want = expected(image, 0 if level is None else level, 1 if noise is None else noise, threshold)
    given = [wrap(v) if isinstance(v, np.ndarray) else v for v in (level, noise)]
    found = find(wrap(image), background=given[0], sigma=given[1], threshold_abs=threshold)
    assert places(found) == want
    assert len(want) > 0 or threshold == 1e6
    plain = find(image)
    rows = {place: row for row, place in enumerate(places(plain))}
    same = [rows[place] for place in want]  # refinement and values are those of the image
    np.testing.assert_array_equal(np.asarray(found.coords), plain.coords[same])
    np.testing.assert_array_equal(np.asarray(found.values), plain.values[same])


def test_what_is_exactly_on_the_threshold_is_no_peak():
    image = np.full((9, 9), 10.0)
    image[2, 2], image[6, 6] = 16, 16.5
    assert places(find(image, background=10, sigma=2, threshold_abs=3)) == [(6, 6)]
    assert places(find(image, background=np.full((9, 9), 10), sigma=2, threshold_abs=3)) == [(6, 6)]


def test_relative_thresholds_are_of_heights(uneven):
    """A fraction of the greatest height, whatever the noise; and of the greatest value if there is no background."""
    image, background, sigma = uneven
    for fraction in (0.3, 0.8, 1.0, -0.1):
        found = find(image, background=background, sigma=sigma, threshold_rel=fraction)
        assert places(found) == expected(image, background, sigma, None, fraction)
        both = find(image, background=background, threshold_abs=1, threshold_rel=fraction)
        assert places(both) == expected(image, background, 1, 1, fraction)
        alone = find(image, sigma=sigma, threshold_rel=fraction)
        assert set(places(alone)) == set(places(find(image, threshold_rel=fraction)))


def test_minima_below_a_background(uneven):
    image, background, sigma = uneven
    for options in ({"threshold_abs": 1.0}, {"threshold_rel": 0.4}):
        found = find(image, background=background, sigma=sigma, minima=True, **options)
        low = found.flags & PeakFlags.MINIMUM != 0
        args = (options.get("threshold_abs"), options.get("threshold_rel"))
        assert places(found[~low]) == expected(image, background, sigma, *args)
        assert places(found[low]) == expected(image, background, sigma, *args, sign=-1)
        strength = np.abs(image - background)[tuple(found.indices.T)] / sigma[tuple(found.indices.T)]
        assert (np.diff(strength) <= 1e-12).all()


def test_the_strongest_are_those_of_the_greatest_significance():
    image = np.zeros((20, 30))
    image[5, 5], image[5, 8], image[15, 20] = 50, 30, 40
    sigma = np.ones(image.shape)
    sigma[:, :7] = 5  # the highest is the least significant
    options = {"sigma": sigma, "refine": None}
    assert places(find(image, **options)) == [(15, 20), (5, 8), (5, 5)]
    assert places(find(image, num_peaks=1, **options)) == [(15, 20)]
    assert places(find(image, min_distance=5, **options)) == [(15, 20), (5, 8)]
    assert places(find(image, min_distance=5, refine=None)) == [(5, 5), (15, 20)]


def test_pixels_without_background_or_noise():
    """NaN and negative noise: no peak. No noise: above the background is enough, and order is that of heights."""
    image = np.zeros((12, 40))
    columns = (5, 10, 15, 20, 25, 30, 35)
    for k, column in enumerate(columns):
        image[5, column] = 10 + k
    background, sigma = np.zeros(image.shape), np.ones(image.shape)
    background[5, 5], sigma[5, 10], sigma[5, 15], sigma[5, 20], sigma[5, 25] = np.nan, np.nan, -1, 0, 0
    background[5, 35] = 50
    sigma[5, 35] = 0
    options = {"background": background, "sigma": sigma, "refine": None}
    assert places(find(image, threshold_abs=3, **options)) == [(5, 25), (5, 20), (5, 30)]
    assert places(find(image, **options)) == [(5, 25), (5, 20), (5, 30), (5, 35)]
    assert places(find(image, threshold_rel=0.95, **options)) == [(5, 30)]
    assert len(find(image, background=np.full(image.shape, np.nan), threshold_abs=0)) == 0


def test_plateaus_above_a_background():
    image = np.zeros((20, 30))
    image[5, 5:7], image[12, 20:22] = 9, 7
    sigma = np.where(np.arange(30) < 15, 4.0, 1.0) * np.ones((20, 1))
    for plateau, x in (("first", 20.0), ("centroid", 20.5)):
        found = find(image, plateau=plateau, background=1, sigma=sigma, threshold_abs=3, refine=None)
        np.testing.assert_array_equal(found.coords, [[12, x]])
        assert found.flag_names() == ["PLATEAU"]


@pytest.mark.parametrize("axis", [0, 2])
def test_stacks_above_a_background(uneven, axis):
    """One background for all frames, or one each, along any axis; relative thresholds of each frame."""
    image, background, sigma = uneven
    frames = np.stack([image, 3 * image, background])
    each = np.stack([background, 3 * background, background])
    for level in (background, np.moveaxis(each, 0, axis)):
        for thresholds in ({"threshold_abs": 1.0}, {"threshold_rel": 0.5}):
            found = find(np.moveaxis(frames, 0, axis), background=level, sigma=sigma, frame_axis=axis, **thresholds)
            for k, frame in enumerate(frames):
                own = background if level is background else each[k]
                single = find(frame, background=own, sigma=sigma, **thresholds)
                np.testing.assert_array_equal(found[found.frame == k].coords, single.coords)
    assert len(found) > 0


def test_masked_pixels_above_a_background(uneven):
    image, background, sigma = uneven
    mask = np.zeros(image.shape, bool)
    mask[::3, ::4] = True
    hot = np.where(mask, 1e5, image)
    for options in ({"threshold_abs": 1.0}, {"threshold_rel": 0.5}):
        found = find(hot, background=background, sigma=sigma, mask=mask, minima=True, **options)
        for sign in (1, -1):
            rows = found[(found.flags & PeakFlags.MINIMUM != 0) == (sign < 0)]
            filled = np.where(mask, -sign * 1e5, image)
            args = (options.get("threshold_abs"), options.get("threshold_rel"))
            want = expected(filled, background, sigma, *args, sign=sign)
            assert places(rows) == [place for place in want if not mask[place]]


def test_a_background_brings_its_noise(rng):
    """Spots of ten times the noise are found on a slope that rises by more than their height, and no noise."""
    truth = np.array([[40, 30], [100, 200], [150, 90], [60, 150]])
    y, x = np.mgrid[:180, :240]
    image = 200 + 0.3 * x + rng.normal(0, 4, x.shape)
    for cy, cx in truth:
        image += 40 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 8)
    background = npsubpix.local_background(image, 20)
    found = find(image, size=7, background=background, threshold_abs=4.5)
    assert len(found) == 4
    distance = np.linalg.norm(found.coords[:, None] - truth, axis=2).min(0)
    assert distance.max() < 1.5
    doubled = find(image, size=7, background=background, sigma=2 * background.noise, threshold_abs=2.25)
    np.testing.assert_array_equal(doubled.coords, found.coords)
    assert image[:, 200:].mean() > image[:, :40].mean() + 40  # no one value would do


def test_wrong_backgrounds(uneven):
    image, background, sigma = uneven
    torch = pytest.importorskip("torch")
    for bad, error, words in [
        ({"background": background[1:]}, ValueError, r"background must be a number or have the shape of the image, \("),
        ({"sigma": sigma.T}, ValueError, "sigma must be a number or have the shape of the image"),
        ({"background": "local"}, TypeError, "background must be a number, got 'local'"),
        ({"background": np.nan}, ValueError, "background must be finite"),
        ({"sigma": 0}, ValueError, "sigma must be positive, got 0"),
        ({"sigma": -1.0}, ValueError, "sigma must be positive"),
        ({"sigma": np.inf}, ValueError, "sigma must be finite"),
        ({"sigma": sigma > 1}, TypeError, "sigma must hold integers or floats"),
        ({"background": np.ma.masked_greater(background, 9)}, TypeError, "background must have no masked pixels"),
        ({"sigma": torch.ones(image.shape, requires_grad=True)}, TypeError, "sigma requires a gradient"),
    ]:
        with pytest.raises(error, match=words):
            find(image, **bad)
    with pytest.raises(ValueError, match=r"the image, \(3, 40, 47\) or of a frame, \(40, 47\), got shape \(3, 47\)"):
        find(np.stack([image] * 3), background=np.zeros((3, 47)), frame_axis=0)


def test_an_image_less_the_pair_of_level_and_noise_is_refused(rng):
    """NumPy would make two images of it."""
    x = rng.normal(size=(20, 30))
    with pytest.raises(TypeError, match="unsupported operand"):
        x - npsubpix.local_background(x, 10)


@pytest.mark.exhaustive  # large stacks
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(2, 190, 260), (900, 7, 9)])
@pytest.mark.parametrize("background", ["number", "frame", "stack"])
def test_relative_threshold_above_a_background_of_large_and_of_many_images(rng, shape, background):
    """The greatest heights are found in blocks, of one image or of several."""
    stack = rng.integers(0, 5000, shape).astype(np.uint16)
    below = 30.5 if background == "number" else rng.normal(2000, 900, shape if background == "stack" else shape[1:])
    options = {"frame_axis": 0, "refine": None, "minima": True, "exclude_border": False}
    every = find(stack, **options)
    signs = np.where(every.flags & PeakFlags.MINIMUM, -1, 1)
    height = stack - below
    own = signs * height[(every.frame, *every.indices.T)]
    greatest = np.where(signs > 0, height.max((1, 2))[every.frame], -height.min((1, 2))[every.frame])
    found = find(stack, background=below, threshold_rel=0.8, **options)
    rows = [
        {(*p, f, n) for p, f, n in zip(t.indices.tolist(), t.flags.tolist(), t.frame.tolist(), strict=True)}
        for t in (found, every[own > 0.8 * greatest])
    ]
    assert rows[0] == rows[1]
    assert len(shape) < len(rows[0]) < len(every)
