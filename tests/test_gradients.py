"""`vjp`, for those who have no autograd: what the pullback returns, and what it refuses."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import npsubpix


def differences(function, x: np.ndarray, seeds: list[np.ndarray], step: float = 1e-6) -> np.ndarray:
    """Gradient of the sum of results times seeds, by central differences."""

    def total(x: np.ndarray) -> float:
        results = function(x)
        results = results if isinstance(results, tuple) else (results,)
        return sum(float((r * s).sum()) for r, s in zip(results, seeds, strict=True))

    gradient = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        ahead, back = x.copy(), x.copy()
        ahead[place] += step
        back[place] -= step
        gradient[place] = (total(ahead) - total(back)) / (2 * step)
    return gradient


def test_gradients_of_every_array(rng):
    """By name, of the shape of the array, and right."""
    x, temperature = rng.standard_normal((1, 2, 5, 6)), np.array([0.7, 1.3])
    results, pullback = npsubpix.vjp(npsubpix.conv_soft_argmax2d, x, temperature=temperature, output_value=True)
    seeds = [rng.standard_normal(r.shape) for r in results]
    grads = pullback(*seeds)
    assert list(grads) == ["input", "temperature"]

    def of_input(x):
        return npsubpix.conv_soft_argmax2d(x, temperature=temperature, output_value=True)

    def of_temperature(t):
        return npsubpix.conv_soft_argmax2d(x, temperature=t, output_value=True)

    np.testing.assert_allclose(grads["input"], differences(of_input, x, seeds), atol=1e-7)
    np.testing.assert_allclose(grads["temperature"], differences(of_temperature, temperature, seeds), atol=1e-7)
    again = pullback(*seeds)
    np.testing.assert_array_equal(again["input"], grads["input"])


def test_results_that_do_not_matter(rng):
    """None stands for no dependence, and is the same as zeros."""
    x = rng.standard_normal((1, 1, 5, 6))
    (coords, values), pullback = npsubpix.vjp(npsubpix.conv_soft_argmax2d, x, output_value=True)
    seed = rng.standard_normal(values.shape)
    alone = pullback(None, seed)["input"]
    np.testing.assert_array_equal(alone, pullback(np.zeros_like(coords), seed)["input"])
    np.testing.assert_allclose(alone.sum(), seed.sum())  # a shift of all pixels shifts all values
    assert not pullback(None, None)["input"].any()
    moments, pullback = npsubpix.vjp(npsubpix.spatial_moments, x)
    assert moments.covariance.shape == (1, 1, 2, 2)
    assert pullback(None, np.ones((1, 1, 2, 2)))["input"].shape == x.shape


def test_classes(rng):
    x = rng.standard_normal((1, 1, 6, 7))
    values, pullback = npsubpix.vjp(npsubpix.NonMaximaSuppression2d((3, 3)), x)
    np.testing.assert_array_equal(pullback(np.ones_like(values))["input"], values != 0)
    counts = rng.integers(1, 99, (1, 1, 6, 7))
    values, pullback = npsubpix.vjp(npsubpix.nms2d, counts, (3, 3))
    np.testing.assert_array_equal(pullback(np.full(values.shape, 0.5))["input"], 0.5 * (values != 0))


@pytest.mark.parametrize("dtype", ["float16", "float32", "int16"])
def test_dtypes(dtype):
    """Gradients come in the precision of a float input, and as floats for integers."""
    x = np.arange(30).reshape(1, 1, 5, 6).astype(dtype)
    coords, pullback = npsubpix.vjp(npsubpix.spatial_soft_argmax2d, x)
    grad = pullback(np.ones(coords.shape))["input"]
    assert grad.dtype == (dtype if dtype.startswith("float") else np.float32)
    exact = npsubpix.vjp(npsubpix.spatial_soft_argmax2d, x.astype(np.float64))[1](np.ones(coords.shape))["input"]
    np.testing.assert_allclose(grad, exact, atol=1e-3 if dtype == "float16" else 1e-6)


def test_jax(rng):
    x = jnp.asarray(rng.standard_normal((1, 1, 5, 6)), dtype=jnp.float32)
    coords, pullback = npsubpix.vjp(npsubpix.spatial_soft_argmax2d, x)
    grad = pullback(jnp.ones_like(coords))["input"]
    assert type(coords) is type(grad) is type(x)


def test_inside_another_call(rng):
    """A call that fails leaves nothing behind, and calls outside are not recorded."""
    x = rng.standard_normal((1, 1, 5, 6))
    with pytest.raises(ValueError, match="temperature"):
        npsubpix.vjp(npsubpix.spatial_soft_argmax2d, x, -1.0)
    npsubpix.spatial_soft_argmax2d(x)
    coords, pullback = npsubpix.vjp(lambda x: npsubpix.spatial_soft_argmax2d(x), x)
    assert pullback(coords)["input"].shape == x.shape


def test_wrong_use(rng):
    x = rng.standard_normal((1, 1, 5, 6))
    with pytest.raises(TypeError, match="nms3d_minmax is not a differentiable operator of npsubpix"):
        npsubpix.vjp(npsubpix.nms3d_minmax, x[None])
    with pytest.raises(TypeError, match="sum is not a differentiable operator"):
        npsubpix.vjp(np.sum, x)
    with pytest.raises(TypeError, match=r"vjp takes NumPy and JAX arrays; call nms2d on the tensors"):
        npsubpix.vjp(npsubpix.nms2d, torch.from_numpy(x), (3, 3))
    _, pullback = npsubpix.vjp(npsubpix.spatial_soft_argmax2d, x)
    with pytest.raises(ValueError, match="the pullback takes 1 arrays, one for each result, got 2"):
        pullback(np.ones((1, 1, 2)), None)
    with pytest.raises(ValueError, match=r"a gradient must have the shape of its result, \(1, 1, 2\), got \(2,\)"):
        pullback(np.ones(2))
    with pytest.raises(TypeError, match="the gradient must hold integers or floats"):
        pullback(np.ones((1, 1, 2), complex))
