"""Methods and modes of sampling, positions, and checks of derivatives that tests of both backends make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import npsubpix
from npsubpix import WeightedNearest

MODES = ("reflect", "grid-mirror", "constant", "grid-constant", "nearest", "mirror", "wrap", "grid-wrap")
METHODS = ("nearest", "linear", "catmull_rom", "bspline2", "bspline3", "bspline4", "bspline5", "lanczos3")
KERNELS: dict[str, Any] = {
    "smoothstep": WeightedNearest("smoothstep"),
    "sigmoid": WeightedNearest("sigmoid"),
    "gaussian": WeightedNearest("gaussian"),
}


def positions(rng: np.random.Generator, shape: tuple[int, ...], count: int = 60, beyond: float = 9.0) -> np.ndarray:
    """Positions inside and outside, at pixels, at the ends; none between two pixels exactly."""
    size = np.array(shape)[:, None]
    inside = rng.uniform(0, size - 1, (len(shape), count))
    outside = rng.uniform(-beyond, size - 1 + beyond, (len(shape), count))
    pixels = rng.integers(0, size, (len(shape), 6)).astype(float)
    return np.hstack([inside, outside, pixels, 0 * size, size - 1.0])


def away_from_joints(coords: np.ndarray) -> np.ndarray:
    """Move positions away from pixels and from the middles between them, where derivatives may jump."""
    fraction = np.abs(coords * 2 - np.round(coords * 2))
    return np.where(fraction < 0.01, coords + 0.05, coords)


def gradient_by_differences(sample: Callable[[np.ndarray], np.ndarray], coords: np.ndarray) -> np.ndarray:
    step = 1e-5
    gradient = []
    for axis in range(len(coords)):
        shift = np.zeros_like(coords)
        shift[axis] = step
        gradient.append((sample(coords + shift) - sample(coords - shift)) / (2 * step))
    return np.array(gradient)


def check_gradient(rng: np.random.Generator, shape: tuple[int, ...], method: Any, mode: str) -> None:
    """Gradients are differences of values, but at jumps."""
    image = rng.standard_normal(shape)
    coords = away_from_joints(positions(rng, shape, 25))
    values, gradient = npsubpix.sample_with_gradient(image, coords, method=method, mode=mode, cval=0.5)
    alone = npsubpix.sample(image, coords, method=method, mode=mode, cval=0.5)
    np.testing.assert_allclose(values, alone, atol=1e-13)

    def sample(c: np.ndarray) -> np.ndarray:
        return npsubpix.sample(image, c, method=method, mode=mode, cval=0.5)

    want = gradient_by_differences(sample, coords)
    jumps = np.abs(want) > 1e3  # from inside to outside, or from one method to the other
    assert jumps.mean() < 0.1
    np.testing.assert_allclose(gradient[~jumps], want[~jumps], atol=1e-5)


def check_cotangents(rng: np.random.Generator, shape: tuple[int, ...], method: Any, mode: str) -> None:
    """Sampling is linear in the image: <y, S x> = <S' y, x>; and the coords cotangent is the gradient of the values."""
    image = rng.standard_normal(shape)
    coords = away_from_joints(positions(rng, shape, 40))
    options = {"method": method, "mode": mode, "cval": 0.0}
    values, gradient = npsubpix.sample_with_gradient(image, coords, **options)
    y = rng.standard_normal(values.shape)
    by_image, by_coords = npsubpix.sample_vjp(y, image, coords, **options)
    np.testing.assert_allclose((by_image * image).sum(), (y * values).sum(), rtol=1e-9)
    np.testing.assert_allclose(by_coords, y * gradient, atol=1e-10)


def check_gradients_of_gradients(rng: np.random.Generator, shape: tuple[int, ...], method: Any, mode: str) -> None:
    """A loss of values and gradients is differentiated exactly."""
    image = rng.standard_normal(shape)
    coords = away_from_joints(positions(rng, shape, 5, beyond=2.0))
    options = {"method": KERNELS.get(method, method), "mode": mode}
    results, pullback = npsubpix.vjp(npsubpix.sample_with_gradient, image, coords, **options)
    seeds = [rng.standard_normal(r.shape) for r in results]
    grads = pullback(*seeds)

    def loss(x: np.ndarray, c: np.ndarray) -> float:
        return sum((s * r).sum() for s, r in zip(seeds, npsubpix.sample_with_gradient(x, c, **options), strict=True))

    np.testing.assert_allclose((grads["image"] * image).sum(), loss(image, coords), rtol=1e-8, atol=1e-9)
    k = rng.integers(coords.shape[1])
    for axis in range(len(shape)):
        shift = np.zeros_like(coords)
        shift[axis, k] = 1e-6
        want = (loss(image, coords + shift) - loss(image, coords - shift)) / 2e-6
        np.testing.assert_allclose(grads["coords"][axis, k], want, atol=1e-5, rtol=1e-5)


def check_small_image(rng: np.random.Generator, shape: tuple[int, ...], method: Any, mode: str) -> None:
    """Where a window is wider than the image, results are finite; one pixel is constant."""
    image = rng.standard_normal(shape)
    coords = rng.uniform(-4, 5, (len(shape), 50))
    got = npsubpix.sample_with_gradient(image, coords, method=method, mode=mode)
    assert np.isfinite(got.values).all()
    assert np.isfinite(got.gradient).all()
    if mode not in ("constant", "grid-constant") and image.size == 1:
        np.testing.assert_allclose(got.values, image.ravel()[0], atol=1e-12)
