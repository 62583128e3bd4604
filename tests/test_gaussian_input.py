"""Rendering Gaussians from arrays of every kind, and what is wrong to pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import npsubpix
from tests.assertions import assert_library

RUNS: dict[str, Callable[[Any, Any], Any]] = {
    "render_gaussian2d": lambda x, std: npsubpix.render_gaussian2d(x, std, (7, 8), False),
    "render_gaussian": lambda x, std: npsubpix.render_gaussian(x, std, (7, 8)),
    "render_spots": lambda x, std: npsubpix.render_spots(x, (7, 8), std=std, normalization="peak"),
}


@pytest.fixture(params=list(RUNS))
def run(request: pytest.FixtureRequest) -> Callable[[Any, Any], Any]:
    return RUNS[request.param]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "float16", "float32", "float64", ">f4"])
def test_dtypes(rng, run, dtype, wrap):
    """Floats keep their precision, integers get one that holds them; the library is the caller's."""
    x, std = rng.integers(0, 8, (3, 2)).astype(dtype), np.full((1, 2), 2).astype(dtype)
    sources = (wrap(x), wrap(std)) if x.dtype.isnative else (x, std)
    got = run(*sources)
    assert_library(got, sources[0])
    expected = x.dtype.newbyteorder("=") if x.dtype.kind == "f" else np.result_type(dtype, np.float32)
    assert np.asarray(got).dtype == expected
    want = run(x.astype(float), std.astype(float))
    np.testing.assert_allclose(np.asarray(got), want, atol=4 * np.finfo(expected).eps * want.max())


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(run, dtype):
    x = torch.tensor([[1.5, 2.0], [6.0, 3.25]], dtype=dtype)
    std = torch.tensor([[1.5, 2.0]], dtype=dtype)
    got = run(x, std)
    assert got.dtype == dtype
    want = run(x.double(), std.double())
    torch.testing.assert_close(got.double(), want, rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_jax(rng, run):
    x = jnp.asarray(rng.uniform(0, 7, (3, 2)), dtype=jnp.float32)
    std = jnp.asarray([[1.0, 2.0]], dtype=jnp.float32)
    got = run(x, std)
    assert type(got) is type(x)
    np.testing.assert_array_equal(np.asarray(got), run(np.asarray(x), np.asarray(std)))
    result, pullback = npsubpix.vjp(run, x, std)
    assert all(type(g) is type(x) for g in pullback(result).values() if g.shape)


@pytest.mark.usefixtures("backend")
def test_memory_layouts(rng, run):
    """Views, reversed, Fortran-ordered and read-only arrays give the same, and nothing is written to."""
    x, std = rng.uniform(0, 7, (6, 2)), rng.uniform(1, 2, (6, 2))
    want = run(x, std)
    others = [np.repeat(x, 3, axis=1)[:, ::3], x[::-1].copy()[::-1], np.asfortranarray(x), x.copy()]
    others[3].setflags(write=False)
    for other in others:
        before = other.copy()
        np.testing.assert_array_equal(run(other, std), want)
        np.testing.assert_array_equal(other, before)
    cotangent = np.asfortranarray(rng.standard_normal(want.shape))
    before = x.copy(), std.copy(), cotangent.copy()
    gradients = npsubpix.vjp(run, x, std)[1](cotangent)
    again = npsubpix.vjp(run, x, std)[1](np.ascontiguousarray(cotangent))
    for name in gradients:
        np.testing.assert_array_equal(gradients[name], again[name])
    for array, old in zip((x, std, cotangent), before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.usefixtures("backend")
def test_lists_and_numbers():
    np.testing.assert_array_equal(
        npsubpix.render_gaussian2d([1, 2], [1, 2], (4, 5), False),
        npsubpix.render_gaussian2d(np.array([1.0, 2.0]), np.array([1.0, 2.0]), (4, 5), False),
    )
    half = npsubpix.render_gaussian2d(np.float32([1, 2]), [0.5, 1.5], (4, 5), False)
    assert half.dtype == np.float32  # a list has no dtype of its own to differ
    np.testing.assert_array_equal(
        npsubpix.render_spots([[1, 2], [3, 1]], [4, 5], std=1, amplitude=[1, 2]),
        npsubpix.render_spots(np.array([[1.0, 2], [3, 1]]), (4, 5), std=np.ones(2), amplitude=np.array([1.0, 2.0])),
    )


@pytest.mark.exhaustive  # compiles parallel forms of many kernels
def test_same_bits_for_any_number_of_threads(rng, threads):
    """Of many maps, of one of several bands, of spots of several tiles, and of their gradients."""
    mean, std = rng.uniform(-1, 1, (200, 2)).astype(np.float32), rng.uniform(0.05, 0.5, (200, 2)).astype(np.float32)
    coords = rng.uniform(-5, 300, (3000, 2)).astype(np.float32)

    def rendered() -> list[np.ndarray]:
        out = []
        for result, pullback in (
            npsubpix.vjp(npsubpix.render_gaussian2d, mean, std, (40, 50)),
            npsubpix.vjp(npsubpix.render_gaussian2d, mean[0], std[0], (600, 700)),
            npsubpix.vjp(npsubpix.render_spots, coords, (290, 280), std=1.3, integrate=True),
            npsubpix.vjp(npsubpix.render_spots, coords, (290, 280), std=2.5),
        ):
            out += [result, *pullback(np.cos(result)).values()]
        return out

    kernels = {"gaussian_maps_f4", "gaussian_maps_vjp", "gaussian_spots", "gaussian_spots_vjp"}
    assert threads(rendered) >= kernels


# Errors


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_standard_deviations_must_be_positive(std):
    mean = np.array([[1.0, 2.0]])
    for array in (np.array([[1.0, std]]), torch.tensor([[1.0, std]], dtype=torch.float64)):
        x = mean if isinstance(array, np.ndarray) else torch.from_numpy(mean)
        for run in RUNS.values():
            with pytest.raises(ValueError, match=r"std must be positive.*, got"):
                run(x, array)
    for run in (RUNS["render_gaussian"], RUNS["render_spots"]):
        with pytest.raises(ValueError, match="std must be positive, got"):
            run(mean, std)
    with pytest.raises(ValueError, match="std must be positive and finite, got inf"):
        npsubpix.render_spots(mean, (4, 5), std=float("inf"))


@pytest.mark.usefixtures("backend")
def test_dtypes_and_devices_must_agree():
    mean = np.zeros((1, 2))
    with pytest.raises(TypeError, match="mean and std must be of one dtype, got float64 and float32"):
        npsubpix.render_gaussian2d(mean, np.ones((1, 2), np.float32), (4, 5))
    with pytest.raises(TypeError, match=r"mean and std must be of one dtype, got torch.float32 and torch.float16"):
        npsubpix.render_gaussian2d(torch.zeros(2), torch.ones(2, dtype=torch.float16), (4, 5))
    with pytest.raises(TypeError, match="mean and std must be on one device, got cpu and meta"):
        npsubpix.render_gaussian2d(torch.zeros(2), torch.ones(2, device="meta"), (4, 5))


@pytest.mark.usefixtures("backend")
def test_wrong_shapes():
    mean, std = np.zeros((3, 2)), np.ones((3, 2))
    with pytest.raises(ValueError, match=r"mean must have a last axis of 2, got shape \(3, 3\)"):
        npsubpix.render_gaussian2d(np.zeros((3, 3)), std, (4, 5))
    with pytest.raises(ValueError, match=r"std must have a last axis of 2, got shape \(3, 1\)"):
        npsubpix.render_gaussian2d(mean, np.ones((3, 1)), (4, 5))
    with pytest.raises(ValueError, match=r"std must have a last axis of 2, got shape \(\)"):
        npsubpix.render_gaussian2d(mean, 1.0, (4, 5))
    with pytest.raises(ValueError, match=r"mean and std must broadcast .*, got shapes \(3, 2\) and \(4, 2\)"):
        npsubpix.render_gaussian2d(mean, np.ones((4, 2)), (4, 5))
    with pytest.raises(ValueError, match=r"mean must have a last axis of 3, got shape \(3, 2\)"):
        npsubpix.render_gaussian(mean, 1.0, (4, 5, 6))
    with pytest.raises(ValueError, match=r"std must have a last axis of 1, got shape \(3, 2\)"):
        npsubpix.render_gaussian(np.zeros((3, 1)), std, (4,))
    with pytest.raises(ValueError, match=r"coords must have 2 dimensions, \(N, ndim\), got shape \(2,\)"):
        npsubpix.render_spots(mean[0], (4, 5), std=1.0)
    with pytest.raises(ValueError, match="coords must have a last axis of 1"):
        npsubpix.render_spots(mean, (4,), std=1.0)
    with pytest.raises(ValueError, match=r"std must be a number or broadcast to the shape of coords, \(3, 2\), got"):
        npsubpix.render_spots(mean, (4, 5), std=np.ones(3))
    with pytest.raises(ValueError, match=r"std must be .* got shape \(1, 3, 2\)"):
        npsubpix.render_spots(mean, (4, 5), std=np.ones((1, 3, 2)))
    with pytest.raises(ValueError, match=r"amplitude must be a number or broadcast to the number of spots, \(3,\)"):
        npsubpix.render_spots(mean, (4, 5), std=1.0, amplitude=np.ones((3, 1)))


@pytest.mark.usefixtures("backend")
def test_wrong_options():
    mean = np.zeros((3, 2))
    for size in (5, "ab", None):
        with pytest.raises(TypeError, match="size must be a tuple of 2 integers"):
            npsubpix.render_gaussian2d(mean, mean + 1, size)
    with pytest.raises(TypeError, match="size must be an integer"):
        npsubpix.render_gaussian2d(mean, mean + 1, (4, 5.0))
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        npsubpix.render_gaussian2d(mean, mean + 1, (4, 0))
    with pytest.raises(ValueError, match=r"size must hold 2 integers, got \(4, 5, 6\)"):
        npsubpix.render_gaussian2d(mean, mean + 1, (4, 5, 6))
    with pytest.raises(TypeError, match="normalized_coordinates must be True or False"):
        npsubpix.render_gaussian2d(mean, mean + 1, (4, 5), 1)
    for run in (npsubpix.render_gaussian, lambda m, s, shape, **o: npsubpix.render_spots(m, shape, std=s, **o)):
        with pytest.raises(ValueError, match=r"shape must hold 1, 2 or 3 integers, got \(2, 2, 2, 2\)"):
            run(mean, 1.0, (2, 2, 2, 2))
        with pytest.raises(TypeError, match="shape must be a tuple of 1, 2 or 3 integers, got 5"):
            run(mean, 1.0, 5)
        with pytest.raises(ValueError, match="shape must be at least 1, got 0"):
            run(mean, 1.0, (0, 2))
        with pytest.raises(ValueError, match="normalization must be one of 'sum', 'peak', got 'max'"):
            run(mean, 1.0, (4, 5), normalization="max")
        with pytest.raises(TypeError, match="std must be a number, got 'wide'"):
            run(mean, "wide", (4, 5))
        with pytest.raises(TypeError, match="must hold integers or floats"):
            run(mean > 0, 1.0, (4, 5))
    with pytest.raises(TypeError, match="amplitude must be a number, got True"):
        npsubpix.render_spots(mean, (4, 5), std=1.0, amplitude=True)
    with pytest.raises(TypeError, match="integrate must be True or False"):
        npsubpix.render_spots(mean, (4, 5), std=1.0, integrate=1)
    for truncate in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="truncate must be positive"):
            npsubpix.render_spots(mean, (4, 5), std=1.0, truncate=truncate)
