"""Ties are peaks: every regional maximum is found once, and refined from its centre where the method is valid."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given, settings
from hypothesis import strategies as st

import npsubpix
from npsubpix import PeakFlags
from tests.reference import peaks as reference


def places(peaks: npsubpix.Peaks) -> list[tuple[int, ...]]:
    return [tuple(row) for row in np.asarray(peaks.indices).tolist()]


def is_plateau(peaks: npsubpix.Peaks) -> np.ndarray:
    return (np.asarray(peaks.flags) & PeakFlags.PLATEAU) != 0


def spots(truth: np.ndarray, shape: tuple[int, ...], sigma: float, height: float) -> np.ndarray:
    grid = np.indices(shape)
    return sum(height * np.exp(-(((grid[0] - y) ** 2 + (grid[1] - x) ** 2) / (2 * sigma**2))) for y, x in truth)


def truths(rng: np.random.Generator, count: int, step: int) -> np.ndarray:
    grid = np.stack(np.mgrid[:count, :count], -1).reshape(-1, 2) * step + step // 2
    return grid + rng.uniform(-0.5, 0.5, grid.shape)


@pytest.mark.usefixtures("backend")
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(9, 11), (3, 5, 6)]), st.integers(2, 5))
def test_every_regional_maximum_is_found_once(seed, shape, values):
    """With the pixel of a plateau that is nearest to its centre; SciPy labels the same sets."""
    image = np.random.default_rng(seed).integers(0, values, shape).astype(np.uint8)
    size = (3,) * len(shape)
    groups = reference.plateaus(image, size)
    peaks = npsubpix.find_peaks(image, refine=None)
    flat = is_plateau(peaks)
    assert sorted(places(peaks[flat])) == sorted(reference.centre(group)[1] for group in groups)
    assert sorted(places(peaks[~flat])) == sorted(reference.candidates(image, size))
    assert (np.diff(peaks.values) <= 0).all()
    centred = npsubpix.find_peaks(image, plateau="centroid")
    found = sorted(np.round(centred.coords[is_plateau(centred)], 9).tolist())
    assert found == sorted(np.round(reference.centre(group)[0], 9).tolist() for group in groups)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_minima_and_masks(rng, dtype):
    """Plateaus of both signs, among masked pixels, as those of the image that SciPy's filters see."""
    image = rng.integers(0, 5, (20, 23)).astype(dtype)
    mask = rng.random(image.shape) < 0.1
    for sign in (1, -1):
        seen = np.where(mask, -100, sign * image.astype(float))
        top = (ndi.maximum_filter(seen, 3) == seen) & ~mask
        sets, count = ndi.label(top, np.ones((3, 3)))
        want = set()
        for k in range(1, count + 1):
            group = [tuple(p) for p in np.argwhere(sets == k).tolist()]
            around = ndi.binary_dilation(sets == k, np.ones((3, 3))) & ~(sets == k)
            inside = all(0 < p < n - 1 for place in group for p, n in zip(place, image.shape, strict=True))
            higher = seen[group[0]] in seen[around]  # an equal pixel that is no top: the set is on a slope
            if inside and not higher and (seen[around] < seen[group[0]]).any():
                want.add(reference.centre(group)[1])
        peaks = npsubpix.find_peaks(image, mask=mask, minima=True, refine=None)
        minima = (peaks.flags & int(PeakFlags.MINIMUM)) != 0
        assert set(places(peaks[minima == (sign < 0)])) == want


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["quadratic", "parabola", "centroid"])
def test_dim_spots_of_8_bits_are_all_found(rng, method):
    """Isolated spots whose brightest pixels are often equal: none is lost, and tied ones are as good as others."""
    truth = truths(rng, 12, 14)
    image = np.rint(20 + spots(truth, (168, 168), 1.6, 40)).astype(np.uint8)
    peaks = npsubpix.find_peaks(image, threshold_abs=30, refine=method, radius=5)
    assert len(npsubpix.find_peaks(image, threshold_abs=30, plateau="drop")) < 0.95 * len(truth)
    assert len(peaks) == len(truth)
    flat = is_plateau(peaks)
    errors = peaks.coords - truth[np.linalg.norm(peaks.coords[:, None] - truth, axis=2).argmin(1)]
    assert flat.sum() > 8
    for rows in (flat & peaks.ok, ~flat):
        assert np.sqrt((errors[rows] ** 2).mean()) < (0.01 if method == "centroid" else 0.05)
    assert (peaks.ok | flat).all()
    assert peaks.ok.mean() > 0.97


@pytest.mark.usefixtures("backend")
def test_saturated_spots(rng):
    """The centroid is valid for them, from the centre of the plateau; fits are not, and say so at that centre."""
    truth = truths(rng, 6, 24)
    image = np.minimum(20 + spots(truth, (144, 144), 2.0, 900), 255).astype(np.uint8)
    for method, rms in (("centroid", 0.02), ("quadratic", 0.15), ("parabola", 0.15)):
        peaks = npsubpix.find_peaks(image, threshold_abs=100, refine=method, radius=6)
        assert len(peaks) == len(truth)
        assert is_plateau(peaks).all()
        assert (peaks.values == 255).all()
        errors = peaks.coords - truth[np.linalg.norm(peaks.coords[:, None] - truth, axis=2).argmin(1)]
        assert np.sqrt((errors**2).mean()) < rms
        assert (peaks.ok == (method == "centroid")).all()
        if method != "centroid":
            assert ((peaks.flags & PeakFlags.SINGULAR) != 0).all()
            centres = npsubpix.find_peaks(image, threshold_abs=100, plateau="centroid").coords
            np.testing.assert_allclose(sorted(peaks.coords.tolist()), sorted(centres.tolist()))


@pytest.mark.usefixtures("backend")
def test_corners_of_wide_plateaus_are_not_ok(rng):
    """A fit at the first pixel of a saturated spot is wrong by pixels; the pixel stays, and is rejected."""
    image = np.minimum(20 + spots(truths(rng, 2, 30), (60, 60), 3.0, 2000), 255).astype(np.uint8)
    peaks = npsubpix.find_peaks(image, threshold_abs=100, plateau="first")
    assert len(peaks) == 4
    assert not peaks.ok.any()
    np.testing.assert_array_equal(peaks.coords, peaks.indices)


@pytest.mark.usefixtures("backend")
def test_a_plateau_wider_than_the_window_of_its_centroid():
    """What lies under the window says nothing of its place: it is set to its centre, and rejected."""
    image = np.zeros((40, 40))
    image[9:24, 11:24] = 200
    for radius, ok in ((5.0, False), (9.0, True)):
        peaks = npsubpix.find_peaks(image, refine="centroid", radius=radius)
        assert peaks.ok.tolist() == [ok]
        np.testing.assert_allclose(peaks.coords, [[16, 17]], atol=1e-9)


@pytest.mark.usefixtures("backend")
def test_a_ring_begins_on_itself():
    """The centre of a ring is not one of its pixels: refinement begins at the first of the nearest."""
    image = np.full((9, 9), 2.0)
    image[2:7, 2:7] = 5
    image[3:6, 3:6] = 3
    image[2:7:4, 2:7:4] = 4
    peaks = npsubpix.find_peaks(image, refine=None)
    assert places(peaks) == [(2, 4)]
    np.testing.assert_array_equal(npsubpix.find_peaks(image).coords, [[4, 4]])


@pytest.mark.usefixtures("backend")
def test_in_volumes_and_stacks(rng):
    volume = rng.integers(0, 3, (4, 9, 10)).astype(np.int16)
    want = sorted(reference.centre(group)[1] for group in reference.plateaus(volume, (3, 3, 3)))
    peaks = npsubpix.find_peaks(np.stack([volume, volume]), frame_axis=0, refine=None)
    for frame in range(2):
        rows = peaks[(peaks.frame == frame) & is_plateau(peaks)]
        assert sorted(places(rows)) == want


@pytest.mark.usefixtures("backend")
def test_flat_ground_is_no_peak():
    """Nor is a plateau that touches something higher, or the border that is left out."""
    image = np.zeros((20, 30), np.uint8)
    image[5, 5] = 9
    image[0:3, 20:24] = 4
    image[10:14, 10:14] = 5
    image[11, 11] = 6
    peaks = npsubpix.find_peaks(image, refine=None)
    assert places(peaks) == [(5, 5), (11, 11)]
    assert places(npsubpix.find_peaks(image, refine=None, exclude_border=False)) == [(5, 5), (11, 11), (1, 21)]


@pytest.mark.usefixtures("backend")
def test_distances_are_from_the_centres_of_plateaus():
    image = np.zeros((9, 20))
    image[4, 3:10] = 5
    image[4, 12] = 4
    assert places(npsubpix.find_peaks(image, min_distance=6, refine=None)) == [(4, 6), (4, 12)]
    assert places(npsubpix.find_peaks(image, min_distance=6.1, refine=None)) == [(4, 6)]
