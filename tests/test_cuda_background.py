"""Backgrounds by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from npsubpix._arrays.home import home_of
from npsubpix._cpu import background as cpu
from npsubpix._cpu.background import mesh as cpu_mesh
from npsubpix._cuda import background
from npsubpix._cuda.background import mesh
from npsubpix._cuda.launch import devices
from npsubpix._definitions.background import box_count, box_ends
from npsubpix._dispatch import backends
from tests.assertions import assert_same
from tests.cuda_host.on_gpu import CHOSEN
from tests.reference import background as reference

pytestmark = pytest.mark.usefixtures("cuda_on_host")


def check(x: np.ndarray, mask: np.ndarray | None, size: Any, method: str, grow: Any, window: Any) -> None:
    """Results for a stack are those of the definition."""
    found = background.local_background(x, mask, size=size, method=method, grow=grow, filter_size=window)
    masks = [None] * len(x) if mask is None else np.broadcast_to(mask, x.shape)
    for k, image in enumerate(x):
        wanted = reference.background(image, size, method, grow, window, masks[k])
        for got, want in zip(found, wanted, strict=True):
            assert got.shape == x.shape
            assert_same(got[k], want, "background of stacks", dtype=got.dtype if got.dtype == bool else x.dtype)


def nasty(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Few values, of both signs, and some that are far from them; a whole box is missing."""
    x = np.round(rng.normal(0, 2, shape)) / 4
    x[rng.random(shape) < 0.1] *= -0.0
    x[rng.random(shape) < 0.02] += 40
    x[rng.random(shape) < 0.02] = np.nan
    x[rng.random(shape) < 0.02] = np.inf
    x[..., :6, :7] = np.nan
    return x


def test_the_kernels_of_the_gpu_are_what_runs():
    assert backends.implementation("background", home_of(np.zeros(1))) is background
    names = [list(inspect.signature(module.local_background).parameters) for module in (background, cpu)]
    assert names[0] == names[1]


SIZES = [
    ((2, 41, 47), (16, 5)),
    ((1, 50, 61), (1000, 9)),
    ((2, 7, 22, 23), (3, 9, 12)),
    ((1, 1, 1), (2, 2)),
    ((1, 1, 9), (1, 2)),
    ((1, 9, 1), (64, 64)),
    ((3, 2, 1, 40), (1, 1, 1)),
]


@pytest.mark.parametrize(("shape", "size"), SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_definition_on_stacks(rng, shape, size, dtype):
    """Narrow images, one box and many, masks of all frames and of one, means and medians."""
    x, axes = nasty(rng, shape).astype(dtype), len(size)
    for mask, method, grow, window in (
        (None, "median", (3,) * axes, (3,) * axes),
        (rng.random(shape) < 0.4, "mean", (0,) * axes, (1,) * axes),
        (rng.random(shape[1:])[None] < 0.4, "median", (0, 1, 5)[-axes:], (9, 1, 5)[-axes:]),
    ):
        check(x, mask, size, method, grow, window)


def test_boxes_whose_pixels_are_counted_in_parts(rng):
    """Of more pixels than are counted at a time, few of them good; half are equal, or differ in the last bit."""
    x = np.where(rng.random((1, 290, 300)) < 0.5, np.nextafter(7.0, rng.choice([0, 7, 9], 300)), rng.normal(7, 1, 300))
    x[0, :200] = np.nan
    for image in (x, -x):
        check(image, None, (290, 300), "median", (0, 0), (1, 1))


def test_a_grid_smaller_than_the_work(rng, monkeypatch):
    """Blocks and threads stride over what a grid of the greatest size leaves, and the result is the same bits."""
    x = nasty(rng, (2, 60, 70))
    options = {"size": (9, 11), "method": "median", "grow": (2, 2), "filter_size": (3, 3)}
    before = background.local_background(x, None, **options)
    monkeypatch.setattr(devices, "MOST_BLOCKS", 2)
    for got, want in zip(background.local_background(x, None, **options), before, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("boxes", [(1, 9, 40), (4, 5, 6), (1, 1, 7), (3, 1, 2)])
def test_meshes(rng, boxes):
    """Holes are filled round by round, and medians are exact."""
    values_of_boxes = rng.normal(size=(3, *boxes)) * 10.0 ** rng.integers(-5, 5, (3, *boxes))
    good = np.full(values_of_boxes.shape, 9)
    good[rng.random(values_of_boxes.shape) < 0.8] = 4  # less than half
    values_of_boxes[2] = np.nan
    values = np.stack([values_of_boxes, values_of_boxes**2])
    wanted = np.where(2 * good < good.max((1, 2, 3), keepdims=True), np.nan, values)
    for kind in wanted:
        cpu_mesh.fill(kind)
    device = CHOSEN()
    mesh.fill(device, values, good)
    np.testing.assert_array_equal(values, wanted)
    for window in ((3, 3, 3), (1, 9, 1), (99, 5, 3), (1, 1, 1)):
        smooth = mesh.median_filter(device, values, window)
        for got, want in zip(smooth, wanted, strict=True):
            np.testing.assert_array_equal(got, cpu_mesh.median_filter(want, window))


@pytest.mark.parametrize(("pixels", "size"), [(1, 1), (7, 9), (9, 4), (29, 3), (64, 1), (101, 7)])
def test_what_pixels_take_of_a_mesh(pixels, size):
    """The weights of the CPU, of the same boxes."""
    boxes = box_count(pixels, size)
    taps = cpu_mesh._taps(box_ends(pixels, boxes))
    ((starts, weights),) = mesh.taps_of(CHOSEN(), (pixels,), (boxes,))
    np.testing.assert_array_equal(starts, np.repeat(np.arange(len(taps.starts) - 1), np.diff(taps.starts)))
    np.testing.assert_allclose(weights, taps.weights, rtol=1e-13, atol=1e-15)
