"""Finding peaks against its definition: windows, thresholds, borders, distances, plateaus, masks, stacks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given, settings
from hypothesis import strategies as st

import npsubpix
from npsubpix import PeakFlags
from npsubpix._cpu.nms.neighbours import near2d_kernels, near3d_kernels
from npsubpix._cpu.nms.windows import window_kernels
from tests.assertions import assert_library
from tests.reference import nms as windows
from tests.reference import peaks as reference


def places(peaks: npsubpix.Peaks) -> list[tuple[int, ...]]:
    return [tuple(row) for row in np.asarray(peaks.indices).tolist()]


def strongest_first(found: list[tuple[int, ...]], image: np.ndarray) -> list[tuple[int, ...]]:
    return sorted(found, key=lambda p: (-float(image[p]), p))


def find(image: object, **options: object) -> npsubpix.Peaks:
    """Find the strict maxima, whether or not refinement moves them to one place."""
    return npsubpix.find_peaks(image, **{"plateau": "drop", "duplicates": "flag", **options})


@pytest.fixture
def image(rng):
    return rng.integers(0, 50, (23, 31)).astype(np.float32)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("levels", [3, 2000, 10**6])
def test_equal_peaks_in_memory_order_among_thousands(rng, levels):
    """Most are equal, a few, or about none."""
    image = np.zeros((121, 121), np.float32)
    image[1::3, 1::3] = rng.integers(1, levels, (40, 40)) + 1
    found = find(image, refine=None)
    assert places(found) == strongest_first([tuple(p) for p in np.argwhere(image).tolist()], image)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("size", [3, 5, (3, 5), (4, 2), 7])
@pytest.mark.parametrize("border", [None, 0, 1, 4])
def test_windows_and_borders(image, size, border):
    window = (size, size) if isinstance(size, int) else size
    want = strongest_first(reference.candidates(image, window, border=border), image)
    for exclude in [True] if border is None else [border, (border, border)] + [False] * (border == 0):
        assert places(find(image, size=size, exclude_border=exclude)) == want
    assert len(want) > 1


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("size", [(5, 5), (3, 7), (4, 4)])
def test_wide_windows_with_gaps_and_ties(rng, size):
    """A NaN anywhere in a window hides its pixel, from maxima and from minima; so does an equal pixel."""
    image = rng.integers(0, 20, (37, 43)).astype(np.float32)
    image[rng.random(image.shape) < 0.01] = np.nan
    image[rng.random(image.shape) < 0.005] = np.inf
    peaks = find(image, size=size, minima=True, refine=None)
    minima = np.asarray(peaks.flags & PeakFlags.MINIMUM) != 0
    for sign, rows in ((1, peaks[~minima]), (-1, peaks[minima])):
        assert sorted(places(rows)) == sorted(reference.candidates(sign * image, size))
        assert len(rows) > 3


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(6, 13, 14), (3, 9, 40)])
def test_volumes(rng, shape):
    volume = rng.integers(0, 500, shape).astype(np.uint16)
    for size in (3, (1, 3, 3), (3, 5, 3)):
        window = (size,) * 3 if isinstance(size, int) else size
        want = strongest_first(reference.candidates(volume, window), volume)
        assert places(find(volume, size=size)) == want


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "float16", "float32", "float64"])
@pytest.mark.parametrize("threshold", [-1e300, -1.0, 0.0, 20.0, 29.0, 29.5, 49.0, 1e300])
def test_threshold_is_exceeded_not_met(image, dtype, threshold, wrap):
    source = wrap(image.astype(dtype))
    want = strongest_first(reference.candidates(image, (3, 3), threshold), image)
    peaks = find(source, threshold_abs=threshold)
    assert places(peaks) == want
    assert_library(peaks.coords, source)
    assert_library(peaks.flags, source)


@pytest.mark.usefixtures("backend")
def test_threshold_between_two_floats():
    """A threshold that float32 cannot hold is not rounded to one that it can."""
    image = np.zeros((5, 5), np.float32)
    image[2, 2] = np.float32(0.1)  # 0.100000001490116
    assert len(find(image, threshold_abs=0.1)) == 1
    assert len(find(image, threshold_abs=float(np.float32(0.1)))) == 0
    assert len(find(-image, threshold_abs=0.1, minima=True)) == 1
    assert len(find(-image, threshold_abs=float(np.float32(0.1)), minima=True)) == 0


@pytest.mark.usefixtures("backend")
def test_relative_threshold_is_of_each_frame(image):
    stack = np.stack([image, 0.01 * image, np.full_like(image, np.nan)])
    peaks = find(stack, threshold_rel=0.5, frame_axis=0)
    want = reference.candidates(image, (3, 3), 0.5 * image.max())
    for frame, count in ((0, len(want)), (1, len(want)), (2, 0)):
        assert (peaks.frame == frame).sum() == count
    both = find(image, threshold_rel=0.5, threshold_abs=40)
    assert places(both) == strongest_first(reference.candidates(image, (3, 3), 40), image)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32", "int64"])
def test_minima_are_maxima_of_the_negative(image, dtype):
    image = image.astype(dtype)
    peaks = find(image, minima=True, refine=None)
    negative = -image.astype(float)
    low = np.asarray(peaks.flags & PeakFlags.MINIMUM) != 0
    assert sorted(places(peaks[low])) == sorted(reference.candidates(negative, (3, 3)))
    assert sorted(places(peaks[~low])) == sorted(reference.candidates(image, (3, 3)))
    strength = np.where(low, -peaks.values, peaks.values)
    assert (np.diff(strength) <= 0).all()


@pytest.mark.usefixtures("backend")
def test_minima_threshold(image):
    image = image - 25
    peaks = find(image, minima=True, threshold_abs=20)
    assert (np.abs(image[tuple(peaks.indices.T)]) > 20).all()
    assert len(peaks) == len(reference.candidates(image, (3, 3), 20)) + len(reference.candidates(-image, (3, 3), 20))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("distance", [1, 1.5, 2, 3, 5, 5.1, 100, (2, 6), (6.0, 2.5)])
def test_distance_2d(image, distance):
    """Greedy from the strongest, ties in memory order: 3-4-5 triangles are exactly 5 apart."""
    axes = distance if isinstance(distance, tuple) else (distance, distance)
    want = reference.apart(reference.candidates(image, (3, 3)), image, axes)
    assert places(find(image, min_distance=distance)) == want


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("distance", [3, (1, 4, 2.5)])
def test_distance_3d(rng, distance):
    volume = rng.integers(0, 30, (6, 15, 16)).astype(np.int16)
    axes = distance if isinstance(distance, tuple) else (distance,) * 3
    want = reference.apart(reference.candidates(volume, (3, 3, 3)), volume, axes)
    assert places(find(volume, min_distance=distance)) == want


@pytest.mark.usefixtures("backend")
def test_distance_in_stacks_and_between_kinds(image):
    stack = np.stack([image, image[::-1], image])
    peaks = find(stack, min_distance=4, frame_axis=0, minima=True)
    for frame, plane in enumerate(stack):
        for sign in (1, -1):
            kind = (np.asarray(peaks.flags & PeakFlags.MINIMUM) != 0) == (sign < 0)
            rows = peaks[(peaks.frame == frame) & kind]
            assert places(rows) == reference.apart(reference.candidates(sign * plane, (3, 3)), sign * plane, (4, 4))


@pytest.mark.usefixtures("backend")
def test_most_peaks_are_the_strongest(image):
    every = places(find(image))
    for count in (0, 1, 7, 1000):
        assert places(find(image, num_peaks=count)) == every[:count]
    stack = find(np.stack([image, image]), num_peaks=3, frame_axis=0)
    assert stack.frame.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.usefixtures("backend")
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(3, 3), (5, 5), (3, 5)]))
def test_plateaus(seed, size):
    """Each plateau is reported once: by its first pixel, or by its centroid."""
    image = np.random.default_rng(seed).integers(0, 4, (9, 11)).astype(np.uint8)
    groups = reference.plateaus(image, size)
    first = find(image, size=size, plateau="first", refine=None)
    on_plateau = np.asarray(first.flags & PeakFlags.PLATEAU) != 0
    found = {tuple(p) for p in places(first[on_plateau])}
    firsts = {group[0] for group in groups}
    assert {tuple(p) for p in places(first[~on_plateau])} == set(reference.candidates(image, size))
    if size == (3, 3):  # wider windows may see two plateaus, of which the first counts, or two equal pixels
        assert found == firsts
        centred = find(image, size=size, plateau="centroid")
        rows = np.asarray(centred.flags & PeakFlags.PLATEAU) != 0
        want = {tuple(np.round(np.mean(group, axis=0), 9)) for group in groups}
        assert {tuple(np.round(p, 9)) for p in centred.coords[rows].tolist()} == want
    else:
        for place in found - firsts:  # the greatest of its window, which another pixel of it equals
            window = [image[p] for p in itertools.product(*windows.window(place, size))]
            assert image[place] == max(window) > min(window)
            assert window.count(image[place]) > 1


def test_thousands_of_plateaus(rng):
    """There is no limit to their number, nor to their size."""
    image = np.zeros((2, 300, 300), np.uint8)
    image[:, 5:290:6, 5:290:6] = image[:, 5:290:6, 6:290:6] = 9
    image[1, 100:200, 100:200] = 10
    peaks = find(image, plateau="centroid", frame_axis=0)
    assert (peaks.frame == 0).sum() == 48 * 48
    assert (peaks.coords[peaks.frame == 0, 1] % 6 == 5.5).all()
    big = peaks[(peaks.frame == 1) & (peaks.values == 10)]
    np.testing.assert_array_equal(big.coords, [[149.5, 149.5]])


@pytest.mark.usefixtures("backend")
def test_saturated_spot():
    """A clipped spot has no strict maximum; its centroid is the spot's."""
    y, x = np.mgrid[:21, :24]
    spot = 400 * np.exp(-((y - 9.3) ** 2 + (x - 12.6) ** 2) / 12)
    image = np.minimum(spot, 255).astype(np.uint8)
    assert len(find(image, threshold_abs=50)) == 0
    peaks = find(image, threshold_abs=50, plateau="centroid")
    assert len(peaks) == 1
    np.testing.assert_allclose(peaks.coords[0], [9.3, 12.6], atol=0.2)
    assert peaks.values[0] == 255
    assert peaks.flag_names() == ["PLATEAU"]


@pytest.mark.usefixtures("backend")
def test_flat_images_have_no_peaks():
    for plateau in ("refine", "drop", "first", "centroid"):
        for border in (True, False, 2):
            for shape in ((9, 9), (4, 9, 9)):
                peaks = find(np.ones(shape), plateau=plateau, exclude_border=border, minima=True)
                assert len(peaks) == 0


@pytest.mark.usefixtures("backend")
def test_masked_pixels_are_no_peaks_and_hide_none(image):
    hot = image.copy()
    mask = np.zeros(image.shape, bool)
    mask[::4, ::5] = True
    hot[mask] = 1e6
    filled = np.where(mask, -1, image)
    peaks = find(hot, mask=mask, refine=None)
    want = [p for p in reference.candidates(filled, (3, 3)) if not mask[p]]
    assert places(peaks) == strongest_first(want, image)
    relative = find(hot, mask=mask, threshold_rel=0.8, refine=None)
    assert len(relative) == sum(image[p] > 0.8 * image[~mask].max() for p in want)
    low = find(hot, mask=mask, minima=True, refine=None)
    low = low[low.flags & int(PeakFlags.MINIMUM) != 0]
    want = [p for p in reference.candidates(-np.where(mask, 1e6, image), (3, 3)) if not mask[p]]
    assert sorted(places(low)) == sorted(want)
    refined = find(hot, mask=mask)
    touching = np.array([mask[i - 1 : i + 2, j - 1 : j + 2].any() for i, j in places(refined)])
    still = (refined.flags & PeakFlags.MOVED) == 0
    np.testing.assert_array_equal(((refined.flags & PeakFlags.MASKED) != 0)[still], touching[still])
    assert touching.any()


@pytest.mark.usefixtures("backend")
def test_mask_of_one_frame_serves_all(image):
    stack = np.stack([image, image[:, ::-1], image])
    mask = np.zeros(image.shape, bool)
    mask[:, :15] = True
    one = find(stack, mask=mask, frame_axis=0)
    all_frames = find(stack, mask=np.stack([mask] * 3), frame_axis=0)
    assert places(one) == places(all_frames)
    assert (one.indices[:, 1] >= 15).all()


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
@pytest.mark.parametrize(("shape", "size"), [((3, 4), 1), ((3, 4), 2), ((1, 6), (5, 1)), ((1, 1), 3)])
@pytest.mark.parametrize("threshold", [{}, {"threshold_abs": 1}, {"threshold_rel": 0.5}, {"sigma": 1.0}])
def test_a_pixel_alone_in_its_window_is_a_maximum_and_a_minimum(rng, dtype, shape, size, threshold):
    """With thresholds too that no minimum of numbers above 0 exceeds, and as with a mask of nothing."""
    x = rng.permutation(np.arange(2, 2 + np.prod(shape))).reshape(shape).astype(dtype)
    options = {"size": size, "exclude_border": False, "refine": None, **threshold}
    peaks = find(x, minima=True, **options)
    minima = (peaks.flags & int(PeakFlags.MINIMUM)) != 0
    assert places(peaks[~minima]) == places(find(x, **options))
    want = places(find(-x.astype(float), **options))
    assert places(peaks[minima]) == want
    masked = find(x, minima=True, mask=np.zeros(shape, bool), **options)
    np.testing.assert_array_equal(masked.indices, peaks.indices)
    assert len(peaks) > 0


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("size", "columns"), [(3, [2.5, 6.0]), ((3, 5), [2.5])])
def test_plateaus_among_masked_pixels_are_maxima_and_minima(size, columns):
    """Of either kind, the first of two in one window."""
    mask = np.ones((5, 12), bool)
    mask[2, 2:4] = mask[2, 5:8] = False
    peaks = find(np.ones((5, 12)), size=size, mask=mask, minima=True, plateau="centroid")
    for kind in (PeakFlags.PLATEAU, PeakFlags.PLATEAU | PeakFlags.MINIMUM):
        assert peaks.coords[peaks.flags == int(kind)].tolist() == [[2.0, column] for column in columns]


def check_that_unusable_noise_is_said(wrap, noise):
    x = np.zeros((9, 8))
    x[4, 5] = 7
    sigma = np.full(x.shape, noise)
    with pytest.warns(UserWarning, match="sigma is negative or NaN at all pixels"):
        assert len(npsubpix.find_peaks(wrap(x), sigma=wrap(sigma))) == 0
    with pytest.warns(UserWarning, match="sigma is negative"):
        assert len(npsubpix.find_peaks(wrap(x), background=npsubpix.Background(wrap(0 * x), wrap(sigma)))) == 0
    sigma[0, 0] = 0  # a part can be used
    assert len(npsubpix.find_peaks(wrap(x), sigma=wrap(sigma), threshold_abs=1)) == 0
    assert len(npsubpix.find_peaks(wrap(x), sigma=wrap(0 * x), threshold_abs=100)) == 1  # without noise


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("noise", [-1.0, np.nan, -np.inf])
def test_a_map_of_noise_that_lets_no_pixel_be_a_peak_is_said(noise):
    check_that_unusable_noise_is_said(np.asarray, noise)


def test_a_map_of_noise_of_any_library_that_lets_no_pixel_be_a_peak_is_said(wrap):
    check_that_unusable_noise_is_said(wrap, -1.0)


@pytest.mark.usefixtures("backend")
def test_no_frames():
    peaks = find(np.zeros((0, 9, 8)), threshold_rel=0.5, frame_axis=0, minima=True)
    assert peaks.coords.shape == (0, 2)


@pytest.mark.usefixtures("backend")
def test_zeros_without_noise_are_ranked_alike_whatever_their_sign():
    x = np.array([[0.0, -0.0, 1.0, -0.0, 0.0, -1.0]])
    peaks = find(x, size=1, sigma=np.zeros((1, 6)), exclude_border=False, refine=None)
    assert peaks.indices[:, 1].tolist() == [2, 0, 1, 3, 4, 5]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_any_frame_axis(image, axis):
    stack = np.stack([image, image[::-1], image[:, ::-1]])
    want = find(stack, frame_axis=0)
    got = find(np.moveaxis(stack, 0, axis), frame_axis=axis)
    np.testing.assert_array_equal(got.coords, want.coords)
    np.testing.assert_array_equal(got.frame, want.frame)
    for frame, plane in enumerate(stack):
        single = find(plane)
        np.testing.assert_array_equal(want[want.frame == frame].coords, single.coords)
        assert single.frame is None


@pytest.mark.usefixtures("backend")
def test_stack_of_volumes(rng):
    stack = rng.standard_normal((2, 5, 12, 13))
    peaks = find(stack, frame_axis=0)
    assert peaks.ndim == 3
    for frame in range(2):
        np.testing.assert_array_equal(peaks[peaks.frame == frame].coords, find(stack[frame]).coords)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_pixels(image, bad):
    image[5, 5] = bad
    peaks = find(image)
    assert sorted(places(peaks)) == sorted(reference.candidates(image, (3, 3)))
    assert np.isfinite(peaks.coords).all()


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(0, 9), (9, 0), (0, 0), (1, 1), (2, 9), (1, 50), (0, 4, 5), (1, 9, 9)])
@pytest.mark.parametrize("border", [True, False, 3])
def test_empty_and_narrow(shape, border):
    """Nothing found is an empty table with the right columns and dtypes."""
    peaks = find(np.zeros(shape, np.float32), exclude_border=border, threshold_rel=0.1, min_distance=2)
    assert len(peaks) == 0
    assert peaks.coords.shape == peaks.indices.shape == (0, len(shape))
    assert peaks.coords.dtype == peaks.values.dtype == np.float64
    assert peaks.indices.dtype == np.int64
    assert "0 in" in repr(peaks)


@pytest.mark.usefixtures("backend")
def test_one_row_image_with_open_border():
    image = np.array([[0, 3, 1, 5, 2]], np.int16)
    peaks = find(image, exclude_border=False)
    assert places(peaks) == [(0, 3), (0, 1)]
    assert (peaks.flags == PeakFlags.FIXED_Y).all()
    np.testing.assert_allclose(peaks.coords, [[0, 3 + 0.5 / 7], [0, 1 + 0.5 / 5]])


@pytest.mark.usefixtures("backend")
def test_layouts(image):
    """Strides, byte order, Fortran order and read-only memory change nothing, and nothing is written."""
    want = find(image, min_distance=3)
    big = image.astype(">f4")
    fortran = np.asfortranarray(image)
    spread = np.zeros((46, 62), np.float32)[::2, ::2]
    spread[...] = image
    mirrored = np.ascontiguousarray(image[::-1, ::-1])[::-1, ::-1]
    locked = image.copy()
    locked.setflags(write=False)
    misaligned = np.frombuffer(b"\0" + image.tobytes(), np.uint8)[1:].view(np.float32).reshape(image.shape)
    for variant in (big, fortran, spread, mirrored, locked, misaligned, image.tolist()):
        before = np.array(variant)
        np.testing.assert_array_equal(find(variant, min_distance=3).coords, want.coords)
        np.testing.assert_array_equal(np.array(variant), before)
    constant = np.broadcast_to(np.float32(3), (9, 9))
    assert len(find(constant)) == 0


def test_kernels_of_suppression_are_compiled_once(image):
    """Both `find_peaks` and `nms2d` write booleans: each type of output would take a user seconds to compile."""
    find(image)
    find(image, size=13)
    find(np.stack([image] * 3))
    for kernel in (near2d_kernels["mask"], near3d_kernels["mask"], window_kernels["mask"]):
        outputs = [arguments[-1].dtype for arguments in kernel.serial.signatures]
        assert {str(getattr(out, "dtype", out)) for out in outputs} == {"bool"}


def test_same_bits_for_any_number_of_threads(rng, threads):
    """With thresholds of each frame, plateaus, minima, and distances."""
    stack = rng.integers(0, 12, (12, 210, 220)).astype(np.float32)
    options = {"frame_axis": 0, "refine": None, "minima": True, "threshold_rel": 0.3, "sigma": 1.5}

    def found() -> list[np.ndarray]:
        tables = [
            find(stack, plateau=plateau, min_distance=distance, **options)
            for plateau, distance in (("first", 1), ("centroid", 4.5))
        ]
        return [array for t in tables for array in (t.coords, t.values, t.indices, t.flags, t.frame)]

    assert threads(found) >= {"search_codes", "plateaus_maxima", "plateaus_minima", "separate"}


def test_positions_of_blurred_points(rng):
    """On smooth, separate spots the positions are right to a few hundredths of a pixel."""
    truth = np.stack(np.mgrid[10:110:20, 10:110:20], -1).reshape(-1, 2) + rng.uniform(-0.5, 0.5, (25, 2))
    grid = np.indices((120, 120))
    image = sum(np.exp(-((grid[0] - y) ** 2 + (grid[1] - x) ** 2) / (2 * 1.5**2)) for y, x in truth)
    for method, bound in (("quadratic", 0.05), ("parabola", 0.05), ("centroid", 1e-3)):
        peaks = find(image, threshold_abs=0.2, refine=method, radius=4)
        assert len(peaks) == 25
        distance = np.linalg.norm(peaks.coords[:, None] - truth, axis=2).min(1)
        assert distance.max() < bound


def test_smoothed_noise_counts(rng):
    """A big image, in bands, has the peaks that SciPy's maximum filter marks."""
    image = ndi.gaussian_filter(rng.standard_normal((600, 700)), 1).astype(np.float32)
    want = (ndi.maximum_filter(image, 5) == image)[2:-2, 2:-2]
    assert len(find(image, size=5)) == want.sum()


@pytest.mark.usefixtures("backend")
def test_huge_options(image):
    """Windows, borders and distances beyond the image mean all of it, and cost no more."""
    strongest = places(find(image, num_peaks=1))
    for distance in (1e9, 1e19, 1e300, (1e300, 1e3)):
        assert places(find(image, min_distance=distance)) == strongest
    every = places(find(image))
    for distance in (1e-300, 0.1, np.array(1.0), (1e-300, 1e-9)):
        assert places(find(image, min_distance=distance)) == every
    image[4, 7] = 99
    for size in (200, 10**8, 2**62, 10**30, (10**8, 99), np.array(999)):
        assert places(find(image, size=size, exclude_border=False)) == [(4, 7)]
        assert len(find(image, size=size)) == 0
    for border in (10**3, 2**63, 10**30):
        for plateau in ("drop", "first"):
            assert len(find(image, exclude_border=border, plateau=plateau)) == 0
    with pytest.raises(ValueError, match="threshold_abs must be a number that a float can hold"):
        find(image, threshold_abs=10**400)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1015, 1016, 1017, 1023, 1024, 1025, 3000])
def test_any_number_of_peaks_in_a_small_image(count):
    image = np.zeros((3, 2 * count + 1))
    image[1, 1::2] = np.arange(count, 0, -1)
    assert places(find(image, refine=None)) == [(1, 2 * k + 1) for k in range(count)]


def test_options_that_are_equal_but_wrong_are_refused_after_right_ones(image):
    """Options are checked once for all images of a loop, and equal numbers of Python may be of any type."""
    for right, wrong in [
        ({"size": 3}, {"size": 3.0}),
        ({"size": (3, 3)}, {"size": (3.0, 3.0)}),
        ({"num_peaks": 1}, {"num_peaks": True}),
        ({"minima": True}, {"minima": 1}),
        ({"n_iters": 1}, {"n_iters": 1.0}),
        ({"threshold_abs": 1}, {"threshold_abs": True}),
        ({"exclude_border": (1, 1)}, {"exclude_border": (1.0, 1.0)}),
    ]:
        find(image, **right)
        for _ in range(2):
            with pytest.raises(TypeError, match=f"{next(iter(wrong))} must be"):
                find(image, **wrong)
    assert places(find(image, exclude_border=1)) == places(find(image, exclude_border=True))
    assert places(find(image, exclude_border=0)) == places(find(image, exclude_border=False))


@pytest.mark.usefixtures("backend")
def test_integers_beyond_float64_are_ranked_as_they_are():
    image = np.zeros((9, 9), np.uint64)
    image[2, 2], image[2, 5] = 2**64 - 3, 2**64 - 2
    assert places(find(image, num_peaks=1, refine=None)) == [(2, 5)]
    assert places(find(image, min_distance=5, refine=None)) == [(2, 5)]


@pytest.mark.usefixtures("backend")
def test_wrong_arguments(image):
    for bad, error, words in [
        ({"size": 0}, ValueError, "size must be at least 1, got 0"),
        ({"size": 2.5}, TypeError, "size must be an integer"),
        ({"size": (3, 3, 3)}, ValueError, "size must be one integer or 2 of them"),
        ({"min_distance": 0}, ValueError, "min_distance must be positive"),
        ({"min_distance": np.nan}, ValueError, "min_distance must be finite"),
        ({"min_distance": (1, 2, 3)}, ValueError, "min_distance must be one number or 2 of them"),
        ({"threshold_abs": np.nan}, ValueError, "threshold_abs must be finite"),
        ({"threshold_rel": "a"}, TypeError, "threshold_rel must be a number"),
        ({"exclude_border": -1}, ValueError, "exclude_border must be at least 0"),
        ({"num_peaks": -1}, ValueError, "num_peaks must be at least 0"),
        ({"plateau": "keep"}, ValueError, "plateau must be one of 'refine', 'drop', 'first', 'centroid', got 'keep'"),
        ({"minima": 1}, TypeError, "minima must be True or False"),
        ({"mask": image}, TypeError, "mask must be an array of booleans"),
        ({"mask": image[1:] > 0}, ValueError, "mask must have the shape of the image"),
        ({"duplicates": "drop"}, ValueError, "duplicates must be one of 'merge', 'flag', got 'drop'"),
        ({"mode": "reflect"}, ValueError, "mode must be one of None, 'wrap', got 'reflect'"),
        ({"mode": "wrap", "exclude_border": 2}, ValueError, "exclude_border must be True or False with mode='wrap'"),
        ({"refine": "spline"}, ValueError, "refine must be one of 'quadratic', 'parabola', .*'fit', None"),
        ({"n_iters": 0}, ValueError, "n_iters must be at least 1"),
        ({"max_shift": 0}, ValueError, "max_shift must be positive"),
        ({"radius": 0.5}, ValueError, "radius must be between 1 and 1000"),
        ({"frame_axis": 2}, ValueError, "image must have 2 or 3 dimensions besides its frame axis"),
    ]:
        with pytest.raises(error, match=words):
            find(image, **bad)
    with pytest.raises(ValueError, match="image must have 2 or 3 dimensions, got shape"):
        find(np.zeros((2, 2, 2, 2)))
    with pytest.raises(ValueError, match="frame_axis must be below 3"):
        find(np.zeros((3, 3, 3)), frame_axis=3)
