"""Alignment by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import npsubpix
from npsubpix import AlignmentFlags
from npsubpix._cpu import alignment as cpu
from npsubpix._cuda import alignment
from npsubpix._cuda.launch import devices, kernels
from npsubpix._definitions.alignment.gauss_newton import Options
from tests.test_alignment import MATRICES, corner_error, pair

pytestmark = pytest.mark.usefixtures("cuda_on_host")


def options_of(model: str, inverse: bool, loss: str, gain_bias: bool) -> Options:
    return Options(model, inverse, None, 30, 1e-6, loss, gain_bias)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(
    ("model", "loss", "gain_bias"), [("homography", "least_squares", True), ("euclidean", "huber", False)]
)
def test_all_that_is_found_is_as_on_the_cpu(rng, model, loss, gain_bias, inverse):
    """Matrix, covariance, residuals, gain and bias, of noisy images with holes and a mask."""
    fixed, moving = (x + 0.3 * rng.standard_normal(x.shape) for x in pair(rng, MATRICES[model], (80, 91)))
    fixed[20:23, 30:34], moving[60, 5:40] = np.nan, np.inf
    mask = np.zeros(fixed.shape, bool)
    mask[50:60, 50:60] = True
    moving_mask = np.zeros(moving.shape, bool)
    moving_mask[10:14, 70:80] = True
    options = options_of(model, inverse, loss, gain_bias)
    found, wanted = (m.align(fixed, moving, mask, moving_mask, init=None, options=options) for m in (alignment, cpu))
    assert found.flags == wanted.flags == 0
    assert found.overlap == wanted.overlap
    assert corner_error(found.matrix, wanted.matrix, fixed.shape) < 1e-4
    np.testing.assert_allclose(found.covariance, wanted.covariance, rtol=1e-3, atol=1e-3 * wanted.covariance.max())
    for name in ("rms", "gain", "bias", "correlation", "noise"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-5, atol=1e-5)


def test_a_grid_smaller_than_the_work(rng, monkeypatch):
    """Threads stride over what a grid of the greatest size leaves, and the result is the same bits."""
    fixed, moving = (x.astype(np.float32) for x in pair(rng, MATRICES["affine"]))
    fixed[70:73, 30:34] = np.nan
    options = options_of("affine", True, "tukey", True)
    before = alignment.align(fixed, moving, None, None, init=None, options=options)
    monkeypatch.setattr(devices, "MOST_BLOCKS", 3)
    after = alignment.align(fixed, moving, None, None, init=None, options=options)
    np.testing.assert_array_equal(after.matrix, before.matrix)
    np.testing.assert_array_equal(after.covariance, before.covariance)


@pytest.mark.parametrize(("loss", "waits", "end"), [("least_squares", 1, 2), ("huber", 2, 3)])
def test_how_often_the_host_waits(rng, monkeypatch, loss, waits, end):
    """Once at the beginning; once an iteration, or twice; and two or three times at the end: as documented."""
    device = type(devices.device_of(np.zeros(1)))
    copies: list[int] = []
    get = device.get
    monkeypatch.setattr(device, "get", lambda self, x: copies.append(x.nbytes) or get(self, x))
    fixed, moving = pair(rng, MATRICES["translation"])
    result = npsubpix.align(fixed, moving, levels=1, loss=loss)
    assert result.flags == AlignmentFlags(0)
    assert 1 + end + result.n_iters <= len(copies) <= 1 + end + waits * (result.n_iters + 1)
    assert max(copies[:: waits + 1]) < 100_000


@pytest.mark.parametrize("part", [1, 4, 23, 64])
def test_any_hole_is_filled_from_its_surroundings(rng: Any, part: int):
    """The nearest good pixel, as a search of all of them finds it, is what smoothing begins with."""
    x = rng.standard_normal((23, 31))
    bad = rng.random(x.shape) < 0.6
    bad[:, 10:20] = bad[5:9] = True
    bad[0, 0] = False
    rows = np.empty(x.shape, np.int64)
    out = np.empty(x.shape)
    device = devices.device_of(x)
    for name, *arguments in (
        ("align_nearest_rows", bad, *x.shape, part, rows),
        ("align_fill", x, bad, rows, *x.shape, out),
    ):
        devices.run(device, kernels.Kernel.of("alignment", name, Real=x.dtype), 3, *arguments)
    good = np.argwhere(~bad)
    for i, j in np.argwhere(bad):
        far = ((good - [i, j]) ** 2).sum(1)
        assert out[i, j] in x[tuple(good[far == far.min()].T)]
    np.testing.assert_array_equal(out[~bad], x[~bad])
