"""Pixels that do not move with the scene, and pixels that rounding must not choose."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import AlignmentFlags, align
from tests.test_alignment_fit import field, stars


def with_hot_pixels(rng: np.random.Generator, images: list[np.ndarray], share: float, height: float):
    """Images with hot and dead pixels at the same places, and the mask of these."""
    hot = rng.random(images[0].shape) < share
    heights = height * rng.uniform(0.3, 1, hot.sum()) * rng.choice([-1, 1], hot.sum(), p=[0.2, 0.8])
    for image in images:
        image[hot] += heights
    return images, hot


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shift", [(0.4, -0.3), (1.25, -0.5), (9.0, 14.0)])
def test_hot_pixels_that_hold_the_shift_are_reported(rng, shift):
    """Near the right shift, and where the other pixels cannot be aligned without a better start."""
    scene = stars(rng, 60, 72, 1.5)
    images = [field(rng, scene, 72), field(rng, scene, 72, shift)]
    (fixed, moving), hot = with_hot_pixels(rng, images, 0.006, 3000)
    held = align(fixed, moving)
    assert np.hypot(*held.shift) < 0.1
    assert held.flags == AlignmentFlags.FIXED_PATTERN
    assert held.flag_names() == "FIXED_PATTERN"
    result = align(fixed, moving, mask=hot, moving_mask=hot, init="phase_correlation")
    assert result.ok
    np.testing.assert_allclose(result.shift, shift, atol=0.1)


def test_a_scene_that_did_not_move_is_no_fixed_pattern(rng):
    """Stars narrower than a pixel look like hot pixels, and so do hot pixels in front of a scene at rest."""
    for std in (0.3, 0.4, 0.5, 0.6):
        for count in (3, 60):
            for noise in (0.0, 1.0):
                places, heights = rng.uniform(4, 68, (count, 2)), 50 * (rng.pareto(1.5, count) + 0.3)
                image = npsubpix.render_spots(places, (72, 72), std=std, amplitude=heights, integrate=True)
                result = align(*(image + rng.normal(0, noise, (2, 72, 72))))
                assert AlignmentFlags.FIXED_PATTERN not in result.flags
    for noise in (1.0, 10.0):
        scene = stars(rng, 60, 72)
        images, _ = with_hot_pixels(rng, [field(rng, scene, 72, noise=noise) for _ in range(2)], 0.006, 3000)
        assert align(*images).ok
    dim = rng.poisson(0.02, (72, 72)).astype(np.float32)
    for image in (dim, rng.normal(0, 1, (72, 72))):
        assert AlignmentFlags.FIXED_PATTERN not in align(image, image.copy()).flags


def test_few_hot_pixels_do_no_harm(rng):
    """They are not reported where the scene decides."""
    scene = stars(rng, 200, 96)
    images = [field(rng, scene, 96, noise=5.0), field(rng, scene, 96, (0.2, -0.1), noise=5.0)]
    for image in images:
        image[30, 40] += 40
    result = align(*images)
    assert result.ok
    assert (np.abs(result.shift - (0.2, -0.1)) < 4 * result.shift_std).all()


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("column", [0, 3])
def test_rounding_does_not_choose_pixels(rng, masked, column):
    """Of an image on itself all are compared, whatever the sign of a shift of nothing."""
    scene = stars(rng, 40, 61)
    image = field(rng, scene, 61)
    mask = None
    if masked:
        mask = np.zeros(image[:, column:].shape, bool)
        mask[20, 30] = mask[40, 7] = True
    found = [
        align(image, image[:, column:], init=[[1, 0, shift], [0, 1, shift - column]], moving_mask=mask)
        for shift in (0.0, 3e-17, -3e-17, 1e-12, -1e-12, 1e-6, -1e-6)
    ]
    assert len({result.overlap for result in found}) == 1
    assert found[0].overlap == 1 or masked or column
    for result in found:
        np.testing.assert_allclose(result.shift, (0, -column), atol=1e-4)
