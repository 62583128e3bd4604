"""Finding peaks by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from npsubpix._cpu import peaks as cpu
from npsubpix._cuda import peaks
from npsubpix._cuda.launch import devices
from npsubpix._definitions.peaks import PeakSearch
from tests.assertions import assert_same

pytestmark = pytest.mark.usefixtures("cuda_on_host")


def search(axes: int, **options: object) -> PeakSearch:
    """Windows of three pixels inside the image, and all maxima, but for what is asked."""
    defaults = PeakSearch((3,) * axes, (1,) * (2 * axes), None, None, "drop", False, None, None)
    return defaults._replace(**options)


def check(
    x: np.ndarray, mask: object = None, background: object = None, sigma: object = None, **options: object
) -> int:
    """The same candidates in the same order; return how many.

    The CPU gets float64, which holds all values of these tests, so that it compiles for no other types.
    """
    wanted = search(x.ndim - 1, **options)
    got = peaks.candidates(x, mask, background, sigma, wanted)
    want = cpu.candidates(x.astype(np.float64), mask, background, sigma, wanted)
    assert_same((got.indices, got.flags), (want.indices, want.flags))
    if wanted.plateau != "drop":
        count = len(want.indices)
        centres = np.full((count, x.ndim - 1), np.nan) if want.centres is None else want.centres
        extents = np.ones((count, 4), np.int64) if want.extents is None else want.extents
        assert_same((got.centres, got.extents), (centres, extents))
    return len(want.indices)


def nasty(rng, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Few values, so that there are ties and plateaus, and some that are far from them."""
    x = rng.integers(1, 9, shape).astype(dtype)
    far = {"float32": [np.nan, np.inf, -np.inf, -0.0], "uint8": [254]}.get(dtype, [-(2**40), 2**40])
    x.ravel()[rng.integers(0, x.size, 40)] = np.resize(np.array(far).astype(dtype), 40)
    return x


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
@pytest.mark.parametrize("shape", [(3, 21, 26), (2, 5, 9, 14)])
@pytest.mark.parametrize("plateau", ["drop", "centroid", "refine"])
def test_the_same_as_on_the_cpu(rng, dtype, shape, plateau):
    """Windows, borders, minima, masks, backgrounds, thresholds, distances, numbers of peaks: a part of all products."""
    x, axes = nasty(rng, dtype, shape), len(shape) - 1
    background, sigma = rng.uniform(0, 4, shape[1:]).ravel().astype(np.float32), rng.uniform(-0.1, 1, x.size)
    sigma[::7], background[::11] = 0, np.nan
    every = itertools.product(
        [((3,) * axes, (1,) * 6), ((5, 3, 4), (0,) * 6), ((2, 1, 3), (0, 2, 1, 0, 0, 3))],
        [False, True],
        [None, rng.random(shape) < 0.1],
        [(None, None), (background, sigma), (np.array([2.0]), None), (None, sigma)],
        [(None, None, None, None), (1.5, 0.4, None, 5), (None, None, (2.5, 3.0, 1.5), None), (2.0, 0.0, (4.0,) * 3, 2)],
    )
    first = len(dtype) + 3 * axes + len(plateau)
    found = 0
    for (size, margins), minima, mask, measured, (absolute, relative, distance, most) in [*every][first % 7 :: 7]:
        found += check(
            x, mask, *measured, size=size[:axes], margins=margins[: 2 * axes], threshold_abs=absolute,
            threshold_rel=relative, plateau=plateau, minima=minima,
            min_distance=None if distance is None else distance[:axes], num_peaks=most,
        )  # fmt: skip
    assert found > 200


def test_alone_in_a_window():
    """What no pixel is below is no maximum; with all others masked, a pixel is a maximum and a minimum."""
    for value, count in ((0, 0), (3, 1), (255, 1)):
        x = np.full((1, 1, 1), value, np.uint8)
        found = peaks.candidates(x, None, None, None, search(2, size=(1, 1), margins=(0,) * 4))
        assert len(found.indices) == count
    mask = np.ones((1, 3, 3), bool)
    mask[0, 1, 1] = False
    x = np.full((1, 3, 3), 7, np.uint8)
    for distance in (None, (9.0, 9.0)):
        found = peaks.candidates(x, mask, None, None, search(2, minima=True, min_distance=distance))
        np.testing.assert_array_equal(found.indices, [4, 4])
        np.testing.assert_array_equal(found.flags, [0, 4])


@pytest.mark.parametrize("minima", [False, True])
def test_plateaus_in_windows_of_others(rng, minima):
    """Chains of plateaus each of which is in the window of the one before."""
    x = np.zeros((2, 40, 60), np.uint8)
    x[0, ::2, ::3] = 7
    x[1, 4:36:3, 4:56:2] = rng.integers(6, 8, (11, 26))
    x = 8 - x if minima else x + 1
    for size, plateau in (((5, 5), "centroid"), ((7, 4), "refine"), ((2, 2), "centroid"), ((1, 9), "refine")):
        assert check(x, size=size, margins=(0,) * 4, plateau=plateau, minima=minima) > 5


@pytest.mark.parametrize("minima", [False, True])
def test_periodic_images(rng, minima):
    """With windows, distances and plateaus across the border."""
    for shape in ((2, 13, 18), (1, 5, 6, 7)):
        x = rng.integers(0, 7, shape).astype(np.uint8)
        axes = len(shape) - 1
        for size, distance in ((3, None), (5, 2.5), (99, 4.0)):
            options = {"size": (size,) * axes, "min_distance": None if distance is None else (distance,) * axes}
            check(x, plateau="refine", minima=minima, wrap=True, margins=(0,) * (2 * axes), **options)


def test_a_chain_of_distances():
    """Each of a thousand candidates is too close to a stronger one: no number of rounds is enough for all."""
    x = np.zeros((1, 3, 2100), np.float32)
    x[0, 1, 1:2001:2] = np.arange(1000, 0, -1)
    x = np.concatenate([x, x[:, :, ::-1]])
    assert check(x, min_distance=(3.0, 3.0)) == 1000
    assert check(x, min_distance=(3.0, 3.0), num_peaks=300) == 600


def test_a_grid_smaller_than_the_work(rng, monkeypatch):
    """Blocks and threads stride over what a grid of the greatest size leaves."""
    monkeypatch.setattr(devices, "MOST_BLOCKS", 2)
    x = rng.integers(0, 30, (3, 60, 35)).astype(np.uint8)
    options = {"margins": (2,) * 4, "threshold_abs": 3.0, "threshold_rel": 0.2, "minima": True, "num_peaks": 50}
    for plateau, size in (("drop", (3, 3)), ("centroid", (5, 5))):
        for measured in ((None, None), (np.array([1.0]), np.ones(3 * 60 * 35))):
            found = check(x, None, *measured, plateau=plateau, size=size, min_distance=(3.0, 4.0), **options)
            assert found == 150


def test_values_of_different_signs_are_ranked_together():
    """Maxima and minima of 64 bits, whose strengths need one bit more."""
    x = np.full((1, 9, 30), 2**63, np.uint64)
    x[0, 2, 2:28:4] = [2**64 - 1, 2**64 - 2, 2**63 + 1, 2**64 - 1, 2**63 + 2, 0, 1]
    x[0, 6, 3:27:4] = [2**63 - 1, 2**63 - 2, 5, 3, 2**62, 2**62 + 1]
    for wide in (x, (x ^ np.uint64(2**63)).view(np.int64)):
        strength = [int(wide[0, 2, j]) for j in range(2, 28, 4)] + [-int(wide[0, 6, j]) for j in range(3, 27, 4)]
        strength[5:7] = [-int(v) for v in wide[0, 2, 22:28:4]]
        columns = [*range(2, 28, 4), *range(3, 27, 4)]
        order = sorted(range(13), key=lambda k: (-strength[k], k))
        places = np.array([(2 if k < 7 else 6, columns[k]) for k in order])
        for threshold in (None, -(2.0**63) - 5000, 2.0**62):
            got = peaks.candidates(wide, None, None, None, search(2, minima=True, threshold_abs=threshold))
            kept = [k for k, n in enumerate(order) if threshold is None or strength[n] > int(threshold)]
            found = np.column_stack(np.unravel_index(got.indices, (9, 30)))
            np.testing.assert_array_equal(found, places[kept])
