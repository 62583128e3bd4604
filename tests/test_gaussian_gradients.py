"""Gradients of rendered Gaussians against differences, in every form of arguments; and what torch makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import npsubpix

GRADIENTS: dict[str, tuple[Callable[..., Any], dict[str, np.ndarray]]] = {}
_rng = np.random.default_rng(5)
for _shape in ((9,), (5, 7), (3, 4, 5)):
    _n = len(_shape)
    _mean, _std = _rng.uniform(-1, 5, (2, 3, _n)), _rng.uniform(0.5, 2.5, (3, 1))
    for _kind in ("sum", "peak"):
        GRADIENTS[f"render_gaussian {_n}-D {_kind}"] = (
            lambda mean, std, shape=_shape, kind=_kind: npsubpix.render_gaussian(mean, std, shape, normalization=kind),
            {"mean": _mean, "std": _std},
        )
        for _integrate in (False, True):
            GRADIENTS[f"render_spots {_n}-D {_kind} {'pixels' if _integrate else 'points'}"] = (
                lambda coords, std, amplitude, shape=_shape, kind=_kind, integrate=_integrate: npsubpix.render_spots(
                    coords,
                    shape,
                    std=std,
                    amplitude=amplitude,
                    normalization=kind,
                    integrate=integrate,
                    truncate=np.inf,
                ),
                {
                    "coords": _rng.uniform(-2, 6, (4, _n)),
                    "std": _rng.uniform(0.4, 2.5, (4, 1)),
                    "amplitude": _rng.uniform(-1, 3, 4),
                },
            )
GRADIENTS |= {
    "render_gaussian2d": (
        lambda mean, std: npsubpix.render_gaussian2d(mean, std, (5, 6)),
        {"mean": _rng.uniform(-1.3, 1.3, (1, 3, 2)), "std": _rng.uniform(0.2, 0.9, (2, 1, 2))},
    ),
    "render_gaussian2d in pixels": (
        lambda mean, std: npsubpix.render_gaussian2d(mean, std, (1, 6), False),
        {"mean": _rng.uniform(-1, 5, (2, 2)), "std": _rng.uniform(0.5, 2, 2)},
    ),
    "render_spots, one width": (
        lambda coords, std, amplitude: npsubpix.render_spots(coords, (5, 6), std=std, amplitude=amplitude),
        {"coords": _rng.uniform(0, 5, (3, 2)), "std": np.array(1.1), "amplitude": np.array([2.0])},
    ),
    "render_spots, wide": (
        lambda coords, std: npsubpix.render_spots(
            coords, (5, 6), std=std, amplitude=1e5, normalization="peak", integrate=True
        ),
        {"coords": _rng.uniform(-900, 900, (3, 2)), "std": np.array([700.0, 550.0])},
    ),
}


@pytest.fixture(params=list(GRADIENTS))
def differentiable(request: pytest.FixtureRequest) -> tuple[Callable[..., Any], dict[str, np.ndarray]]:
    return GRADIENTS[request.param]


def test_gradients_are_those_of_differences(rng, differentiable):
    run, arguments = differentiable
    result, pullback = npsubpix.vjp(run, **arguments)
    seed = rng.standard_normal(result.shape)
    gradients = pullback(seed)
    assert set(arguments) <= set(gradients)
    for name, array in arguments.items():
        assert gradients[name].shape == array.shape
        for place in np.ndindex(array.shape):
            step = 1e-5 * max(1.0, abs(array[place]))
            ends = []
            for sign in (1, -1):
                moved = array.copy()
                moved[place] += sign * step
                ends.append((run(**arguments | {name: moved}) * seed).sum())
            want = (ends[0] - ends[1]) / (2 * step)
            assert gradients[name][place] == pytest.approx(want, rel=1e-6, abs=1e-8 * np.abs(seed).sum())


@pytest.mark.usefixtures("backend")
def test_no_cotangent(differentiable):
    """A loss that does not depend on the result has a gradient of 0."""
    run, arguments = differentiable
    _, pullback = npsubpix.vjp(run, **arguments)
    for name, gradient in pullback(None).items():
        assert not gradient.any()
        assert name not in arguments or gradient.shape == arguments[name].shape


def test_torch_differentiates_every_form(differentiable):
    """torch's own check of gradients passes, for each number of axes, normalisation and kind of pixel."""
    run, arguments = differentiable
    tensors = [torch.from_numpy(a.copy()).requires_grad_() for a in arguments.values()]
    assert torch.autograd.gradcheck(lambda *t: run(**dict(zip(arguments, t, strict=True))), tensors)


@pytest.mark.usefixtures("backend")
def test_gradients_of_extremes():
    """Where a map is one pixel, or flat, it does not move: the gradient is 0, and never NaN."""
    mean = np.array([[3.0, 2.0], [1e12, -1e12], [3.0, 2.0], [1e6, 2.0]])
    std = np.array([[1e-12, 1e-12], [1.0, 1.0], [1e12, 1e12], [1e-9, 1e9]])
    seed = np.arange(48.0).reshape(1, 6, 8).repeat(4, 0)
    for normalization in ("sum", "peak"):
        _, pullback = npsubpix.vjp(npsubpix.render_gaussian, mean, std, (6, 8), normalization=normalization)
        gradients = pullback(seed)
        for gradient in gradients.values():
            assert np.isfinite(gradient).all()
            np.testing.assert_allclose(gradient, 0, atol=1e-6)
    mean[1] = np.nan
    gradients = npsubpix.vjp(npsubpix.render_gaussian, mean, std, (6, 8))[1](seed)
    assert np.isnan(gradients["mean"][1]).all()
    assert np.isfinite(gradients["mean"][[0, 2, 3]]).all()


def test_gradients_of_several_bands(rng):
    """Bands meet without a seam: the gradient of a large map is that of its pieces."""
    mean, std = np.array([260.2, 300.7]), np.array([150.0, 90.0])
    seed = rng.standard_normal((500, 700))
    got = npsubpix.vjp(npsubpix.render_gaussian, mean, std, (500, 700), normalization="peak")[1](seed)
    y, x = ((np.arange(n) - m) / s for n, m, s in zip((500, 700), mean, std, strict=True))
    weighted = seed * np.exp(-(y[:, None] ** 2 + x**2) / 2)
    want = [(weighted * y[:, None]).sum() / std[0], (weighted * x).sum() / std[1]]
    np.testing.assert_allclose(got["mean"], want, rtol=1e-9)
    want = [(weighted * y[:, None] ** 2).sum() / std[0], (weighted * x**2).sum() / std[1]]
    np.testing.assert_allclose(got["std"], want, rtol=1e-9)


@pytest.mark.exhaustive  # torch.compile
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled(dynamic):
    """torch.compile follows the calls in one graph: numbers, infinity and shapes that vary among the options."""

    def loss(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
        maps = npsubpix.render_gaussian2d(mean, std, (6, 7))
        peaks = npsubpix.render_gaussian(mean * 3, 1.5, (6, 7), normalization="peak")
        image = npsubpix.render_spots(mean * 5, (9, 8), std=2, amplitude=3.0, integrate=True, truncate=float("inf"))
        return (maps * peaks).square().sum() + image.square().sum()

    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for count in (3, 5):
        mean = torch.linspace(-1, 1, 2 * count).reshape(count, 2).requires_grad_()
        std = torch.full((1, 2), 0.4, requires_grad=True)
        got = torch.autograd.grad(compiled(mean, std), (mean, std))
        want = torch.autograd.grad(loss(mean, std), (mean, std))
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b)
