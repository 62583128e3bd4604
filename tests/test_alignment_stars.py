"""Alignment that begins with the stars: any angle and scale, and nothing between fields that have no star in common."""

from __future__ import annotations

import math

import numpy as np
import pytest

import npsubpix
from npsubpix import AlignmentFlags, align, align_stack, transform_points
from npsubpix.alignment.asterisms import match_points
from npsubpix.alignment.stars import _fitted as fitted_to_pairs
from npsubpix.alignment.stars import match_stars, stars_of

SIDE = 256
SHAPE = (SIDE, SIDE)


def about_centre(degrees: float, scale: float, shift: tuple[float, float], side: int = SIDE) -> np.ndarray:
    """Matrix that turns and scales around the centre of an image, and displaces it."""
    c, s = (scale * f(math.radians(degrees)) for f in (math.cos, math.sin))
    to, move = np.eye(3), np.eye(3)
    to[:2, 2], move[:2, 2] = (side - 1) / 2, shift
    return move @ to @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.linalg.inv(to)


def scene(rng: np.random.Generator, count: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Stars over four times the area of an image, few of them bright."""
    return rng.uniform(-SIDE / 2, 1.5 * SIDE, (count, 2)), 30 * (rng.pareto(1.5, count) + 0.3)


def seen(rng, stars, matrix, *, std: float = 1.5, gain: float = 1.0, sky: float = 100.0) -> np.ndarray:
    """An exposure of the scene."""
    places, heights = stars
    amplitude = gain * heights * 2 * math.pi * std**2
    image = npsubpix.render_spots(transform_points(matrix, places), SHAPE, std=std, amplitude=amplitude)
    return image + sky + rng.normal(0, 1, SHAPE)


def corner_error(result, matrix: np.ndarray) -> float:
    corners = np.array([[y, x] for y in (0, SIDE - 1) for x in (0, SIDE - 1)], float)
    found = transform_points(result.matrix, corners)
    return float(np.hypot(*(found - transform_points(matrix, corners)).T).max())


@pytest.mark.parametrize(
    ("model", "degrees", "scale", "shift"),
    [
        ("translation", 0, 1, (60.4, -85.2)),
        ("euclidean", 137, 1, (12.3, -20.1)),
        ("euclidean", -90, 1, (0, 0)),
        ("similarity", 71, 1.4, (8, 3)),
        ("similarity", -163, 0.7, (-15, 9)),
        ("affine", 20, 1.1, (-30, 10)),
        ("homography", 180, 1, (5, 5)),
    ],
)
def test_any_angle_and_scale(rng, model, degrees, scale, shift):
    matrix, stars = about_centre(degrees, scale, shift), scene(rng)
    images = seen(rng, stars, np.eye(3)), seen(rng, stars, matrix, std=1.5 * scale)
    result = align(*images, model=model, init="stars", gain_bias=True)
    assert result.ok, result
    assert corner_error(result, matrix) < 0.3


def test_unrelated_fields_are_not_ok(rng):
    images = seen(rng, scene(rng), np.eye(3)), seen(rng, scene(rng), np.eye(3))
    for model in ("translation", "similarity"):
        result = align(*images, model=model, init="stars")
        assert not result.ok
        assert AlignmentFlags.POOR_FIT in result.flags


@pytest.mark.exhaustive
def test_unrelated_fields_are_never_ok(rng):
    for _ in range(12):
        images = seen(rng, scene(rng), np.eye(3)), seen(rng, scene(rng), np.eye(3))
        for model in ("translation", "euclidean", "similarity", "homography"):
            assert not align(*images, model=model, init="stars").ok


def test_random_points_do_not_match(rng):
    for count in (3, 4, 6, 20, 60):
        lists = [rng.uniform(0, SIDE, (count, 2)) for _ in range(2)]
        assert match_points(*lists, "euclidean", SHAPE, SHAPE) is None


@pytest.mark.exhaustive
def test_random_points_never_match(rng):
    """By the number of false alarms, without any pixels: in lists of all lengths, also such that crowd together."""
    for count in (3, 4, 6, 10, 30, 100, 300):
        for model in ("translation", "euclidean", "similarity"):
            for _ in range(10):
                lists = [rng.uniform(0, SIDE, (count, 2)) for _ in range(2)]
                assert match_points(*lists, model, SHAPE, SHAPE) is None
    for _ in range(20):
        lists = [SIDE / 2 + rng.normal(0, SIDE / 8, (80, 2)) for _ in range(2)]
        assert match_points(*lists, "similarity", SHAPE, SHAPE) is None


def test_points_that_are_alike_in_two_ways_do_not_match():
    """A lattice fits itself after any of its steps: no transform is the one."""
    lattice = np.stack(np.meshgrid(np.arange(20.0, SIDE, 40), np.arange(20.0, SIDE, 40)), -1).reshape(-1, 2)
    assert match_points(lattice, lattice + np.array([40, 0]), "euclidean", SHAPE, SHAPE) is None


def test_a_mirrored_field_does_not_match(rng):
    points = rng.uniform(0, SIDE, (60, 2))
    assert match_points(points, points[:, ::-1], "similarity", SHAPE, SHAPE) is None
    assert match_points(points, points, "similarity", SHAPE, SHAPE) is not None


@pytest.mark.parametrize("common", [0.4, 0.7])
def test_lists_of_which_a_part_is_common(rng, common):
    """As those of images that overlap in part, with errors of a third of a pixel."""
    matrix = about_centre(50, 1.0, (30, -10))
    points = rng.uniform(0, SIDE, (60, 2))
    other = transform_points(matrix, points) + rng.normal(0, 0.3, (60, 2))
    strangers = rng.random(60) > common
    other[strangers] = rng.uniform(0, SIDE, (int(strangers.sum()), 2))
    match = match_points(points, other, "euclidean", SHAPE, SHAPE)
    assert match is not None
    np.testing.assert_allclose(match.matrix, matrix, atol=0.5)
    assert match.false_alarms < 1e-6


def test_other_seeing_and_brightness(rng):
    """Where pixels do not fit, the transform is that of the stars."""
    matrix, stars = about_centre(30, 1.0, (4.3, -7.9)), scene(rng)
    images = seen(rng, stars, np.eye(3), std=1.2), seen(rng, stars, matrix, std=3.2, gain=0.4)
    result = align(*images, model="euclidean", init="stars")
    assert result.ok
    assert corner_error(result, matrix) < 0.3
    assert not align(*images, model="euclidean", init=result.matrix, levels=1).ok


@pytest.mark.exhaustive
@pytest.mark.parametrize(("std", "count"), [(3.2, 240), (2.2, 120), (1.5, 240)])
def test_error_bars_of_stars_are_the_scatter(std, count):
    squares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        matrix, stars = about_centre(30 * seed, 1.0, (4.3, -7.9)), scene(rng, count)
        images = seen(rng, stars, np.eye(3), std=1.2), seen(rng, stars, matrix, std=std, gain=0.4)
        match = match_stars(images, (None, None), "euclidean")
        middle = [(SIDE - 1) / 2] * 2
        errors = transform_points(match.matrix, middle) - transform_points(matrix, middle)
        turn = match.matrix[:2, :2]
        squares.append(errors**2 / np.diag(turn @ match.covariance[1:, 1:] @ turn.T))
    assert 0.8 < np.sqrt(np.mean(squares)) < 1.3


def test_error_bars_of_few_stars_are_the_scatter(rng):
    """One bright star decides most of a match: it is near a transform of its own, and its error not small for that."""
    matrix, errors = about_centre(170, 1.0, (4.3, -7.9)), np.r_[0.05, 0.1, 0.1, np.full(9, 0.2)]
    middle, squares = [(SIDE - 1) / 2] * 2, []
    for _ in range(200):
        places = rng.uniform(0, SIDE, (12, 2))
        scatter = rng.normal(0, 1, (12, 2)) * errors[:, None] * rng.choice([1, 1, 1, 2], (12, 1))  # blends
        first = np.column_stack([places, errors])
        second = np.column_stack([transform_points(matrix, places) + scatter, errors])
        found, covariance = fitted_to_pairs(matrix, first, second, "euclidean", SHAPE)
        error = transform_points(found, middle) - transform_points(matrix, middle)
        turn = found[:2, :2]
        squares.append(error**2 / np.diag(turn @ covariance[1:, 1:] @ turn.T))
    assert 0.85 < np.sqrt(np.mean(squares)) < 1.2


def test_pairs_that_determine_no_more_than_the_transform_have_no_error(rng):
    matrix, places = about_centre(30, 1.0, (4.3, -7.9)), np.array([[20.0, 30.0], [150.0, 40.0]])
    pairs = (np.column_stack([p, [0.1, 0.1]]) for p in (places, transform_points(matrix, places)))
    assert np.isnan(fitted_to_pairs(matrix, *pairs, "similarity", SHAPE)[1]).all()


def test_hot_pixels_are_no_stars(rng):
    """Thousands that do not move would match each other, and say that nothing moved."""
    stars = scene(rng)
    matrix = about_centre(0, 1.0, (11, -6))
    hot = 2000.0 * (rng.random(SHAPE) < 0.003)
    images = seen(rng, stars, np.eye(3)) + hot, seen(rng, stars, matrix) + hot
    match = match_stars(images, (None, None), "translation")
    np.testing.assert_allclose(match.matrix, matrix, atol=0.3)


def test_images_without_stars(rng):
    for images in ((np.zeros(SHAPE),) * 2, (rng.normal(size=SHAPE),) * 2, (np.full(SHAPE, np.nan),) * 2):
        result = align(*images, init="stars", model="euclidean")
        assert result.flags == AlignmentFlags.NO_TEXTURE
        assert np.isnan(result.shift_std).all()
    assert align(np.zeros((5, 40)), np.zeros((5, 40)), init="stars").flags == AlignmentFlags.NO_TEXTURE


def test_masked_stars_do_not_count(rng):
    stars = scene(rng)
    image = seen(rng, stars, np.eye(3))
    mask = np.indices(SHAPE)[1] < 100
    assert (stars_of(image, mask, 1.5)[:, 1] > 98).all()
    gaps = np.where(mask, np.nan, image)
    assert (stars_of(gaps, None, 1.5)[:, 1] > 98).all()


def test_a_rotation_is_no_translation(rng):
    stars = scene(rng)
    images = seen(rng, stars, np.eye(3)), seen(rng, stars, about_centre(40, 1.0, (0, 0)))
    assert not align(*images, init="stars").ok


def test_series_of_exposures_at_any_angle(rng):
    """One without stars harms no other."""
    stars = scene(rng)
    matrices = [about_centre(55 * k, 1.0, (3 * k, -2 * k)) for k in range(4)]
    frames = [seen(rng, stars, matrix) for matrix in matrices]
    frames[2] = rng.normal(100, 1, SHAPE)
    results = align_stack(frames, reference="mean", model="euclidean", init="stars")
    assert [result.ok for result in results] == [True, True, False, True]
    for result, matrix in zip(results, matrices, strict=True):
        assert not result.ok or corner_error(result, matrix) < 0.1


@pytest.mark.exhaustive  # which takes seconds, and another library
def test_as_often_right_as_astroalign():
    """Fields of many and of few stars, of which parts overlap: never wrong, and right where astroalign is."""
    astroalign = pytest.importorskip("astroalign")
    right = theirs = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        stars = scene(rng, int(rng.uniform(60, 500)))
        matrix = about_centre(rng.uniform(0, 360), 1.0, tuple(rng.uniform(-70, 70, 2)))
        images = [seen(rng, stars, m, sky=0.0).astype(np.float32) for m in (np.eye(3), matrix)]
        result = align(*images, model="euclidean", init="stars")
        error = corner_error(result, matrix)
        assert error < 1 or not result.ok
        right += result.ok
        try:
            found = astroalign.find_transform(*images)[0].params
        except (astroalign.MaxIterError, ValueError, TypeError):
            continue
        swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
        corners = np.array([[y, x] for y in (0, SIDE - 1) for x in (0, SIDE - 1)], float)
        moved = transform_points(swap @ found @ swap, corners) - transform_points(matrix, corners)
        theirs += bool(np.hypot(*moved.T).max() < 1)
    assert right >= theirs >= 25
