"""Series in which frames fail: the others are not harmed."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import align_stack
from tests.test_alignment_fit import field, stars

SHIFTS = np.array([[0.4 * k, -0.3 * k] for k in range(7)])


def movie(rng: np.random.Generator, noise: float = 1.0) -> np.ndarray:
    scene = stars(rng, 60, 72)
    return np.array([field(rng, scene, 72, shift, noise) for shift in SHIFTS])


@pytest.mark.parametrize("reference", ["first", "previous", "mean"])
@pytest.mark.parametrize("bad", [0, 3])
@pytest.mark.parametrize("content", ["blank", "dark", "nan"])
def test_a_bad_frame_harms_no_other(rng, reference, bad, content):
    """Wherever it is: no frame is compared with it, or begins from its matrix."""
    frames = movie(rng)
    frames[bad] = {"blank": 7.0, "dark": rng.normal(0, 1, (72, 72)), "nan": np.nan}[content]
    results = align_stack(frames, reference=reference)
    assert [result.ok for result in results] == [k != bad for k in range(len(SHIFTS))]
    first = 1 if bad == 0 else 0
    for k, result in enumerate(results):
        if k != bad:
            shift = result.matrix[:2, 2] - results[first].matrix[:2, 2]
            np.testing.assert_allclose(shift, SHIFTS[k] - SHIFTS[first], atol=0.05)
            assert np.isfinite(result.shift_std).all()


@pytest.mark.parametrize("dims", ["y x time", "Y X T", "row col frame"])
def test_frames_lie_along_the_axis_of_times_wherever_it_is(rng, dims):
    """Rows of pixels of an array of xarray were aligned with each other, and each was ok."""
    frames = movie(rng)[:3]
    array = pytest.importorskip("xarray").DataArray(np.moveaxis(frames, 0, -1), dims=dims.split())
    expected = align_stack(frames)
    for images in (array, npsubpix.open_image(array)):
        found = align_stack(images)
        assert [result.matrix.tolist() for result in found] == [result.matrix.tolist() for result in expected]
    summed = npsubpix.coadd(array, expected)
    np.testing.assert_array_equal(summed.image, npsubpix.coadd(frames, expected).image)


def test_error_bars_of_a_mean():
    """They are those of a shift from one frame to another: the noise of a frame is not in the mean it is aligned to."""
    squares = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        results = align_stack(movie(rng, noise=10.0), reference="mean")
        assert all(result.ok for result in results)
        errors = np.array([result.shift for result in results]) - SHIFTS
        variances = np.array([result.shift_std for result in results]) ** 2
        first, second = np.triu_indices(len(SHIFTS), 1)
        squares.append((errors[first] - errors[second]) ** 2 / (variances[first] + variances[second]))
    assert 0.9 < np.sqrt(np.mean(squares)) < 1.15


def test_positions_move_with_the_scene(rng):
    """With "previous", those around which frames are compared are of the frame that another is aligned to."""
    places = rng.uniform(10, 60, (12, 2))
    frames = np.array(
        [
            npsubpix.render_spots(places + np.multiply(k, (0, 2.5)), (72, 96), std=1.5, amplitude=500.0)
            + rng.normal(0, 1, (72, 96))
            for k in range(8)
        ]
    )
    results = align_stack(frames, reference="previous", around=places, radius=6)
    assert all(result.ok for result in results)
    np.testing.assert_allclose(results[-1].shift, [0, 17.5], atol=0.1)
