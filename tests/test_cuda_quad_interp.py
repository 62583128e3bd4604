"""Quadratic refinement by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from npsubpix._cpu import quad_interp as cpu
from npsubpix._cuda import quad_interp
from npsubpix._cuda.launch import devices
from tests.assertions import assert_same

pytestmark = pytest.mark.usefixtures("cuda_on_host")

OPTIONS = {
    "n_iters": 5,
    "strict_maxima_bonus": 10.0,
    "max_subpixel_shift": 0.6,
    "dilation_radius": 2**63 - 1,
    "allow_scale_steps": True,
}


def noise(rng, dtype: str) -> np.ndarray:
    """Many maxima, ties among them; in floats NaN and infinity too."""
    x = rng.integers(0, 120, (2, 2, 6, 21, 18)).astype(dtype)
    if x.dtype.kind == "f":
        x.ravel()[rng.integers(0, x.size, 40)] = np.resize([np.nan, np.inf, -np.inf, 0.0, -0.0], 40)
    return x


@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint64", "float32", "float64"])
@pytest.mark.parametrize("most", [None, 0, 1, 7, 10**6])
def test_the_same_as_on_the_cpu(rng, dtype, most):
    """Arithmetic is rounded alike, so results are equal, bit for bit."""
    x = noise(rng, dtype)
    for mask in (None, rng.random(x.shape) < 0.2):
        wanted = cpu.quad_interp3d(x, mask, **OPTIONS, max_candidates=most)
        assert_same(tuple(quad_interp.quad_interp3d(x, mask, **OPTIONS, max_candidates=most)), tuple(wanted))


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
@pytest.mark.parametrize("most", [None, 5])
def test_gradients_as_on_the_cpu(rng, dtype, most):
    """Also where several walks end at one voxel, and each results' gradient alone."""
    x = noise(rng, dtype)
    x = np.where(np.isfinite(x), x, 0).astype(dtype)
    mask = rng.random(x.shape) < 0.5
    result = np.result_type(dtype, np.float32)
    coords_cotangent = rng.standard_normal((2, 2, 3, *x.shape[2:])).astype(result)
    values_cotangent = rng.standard_normal(x.shape).astype(result)
    for cotangents in (
        (coords_cotangent, values_cotangent),
        (coords_cotangent, None),
        (None, values_cotangent),
        (None, None),
    ):
        (grad,) = quad_interp.quad_interp3d_vjp(cotangents, (x, mask), (), **OPTIONS, max_candidates=most)
        (want,) = cpu.quad_interp3d_vjp(cotangents, (x, mask), (), **OPTIONS, max_candidates=most)
        assert_same(grad, want, "quad_interp gradients")


def test_gradient_does_not_depend_on_the_order_of_threads(rng, monkeypatch):
    """Lists of walks are built in any order and read in one."""
    x = rng.standard_normal((1, 1, 5, 30, 30)).astype(np.float32)
    mask = np.ones(x.shape, bool)
    cotangents = rng.standard_normal((1, 1, 3, 5, 30, 30)).astype(np.float32), x
    options = {**OPTIONS, "n_iters": 50, "max_subpixel_shift": 0.1, "max_candidates": None}
    (whole,) = quad_interp.quad_interp3d_vjp(cotangents, (x, mask), (), **options)
    monkeypatch.setattr(devices, "MOST_BLOCKS", 3)
    np.testing.assert_array_equal(quad_interp.quad_interp3d_vjp(cotangents, (x, mask), (), **options)[0], whole)
