"""Rendered Gaussians against their definitions, against kornia, and their gradients against differences."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numba
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import npsubpix
from tests.conftest import same_library
from tests.reference import gaussian as reference

#: Weights below this part of the greatest along an axis may be 0.
CUTOFF = {"float32": np.exp(-40.0), "float64": np.exp(-340.0)}


def close(got: np.ndarray, want: np.ndarray, peak: float | None = None, slack: float = 1.0) -> None:
    """Four units in the last place of the peak; far from it, what rounding an exponent does."""
    eps, cutoff = np.finfo(got.dtype).eps, CUTOFF[got.dtype.name]
    assert got.shape == want.shape
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    peak = want.max(initial=0) if peak is None else peak
    off = np.abs(got.astype(float) - want)
    allowed = slack * np.minimum(4 * eps * peak, -8 * eps * np.log(cutoff) * want + 1.01 * cutoff * peak)
    assert not (off > allowed).any(), (off / np.maximum(allowed, 1e-300)).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 1), (5, 6), (17, 64), (3, 600)])
@pytest.mark.parametrize("normal", [True, False])
def test_definition_2d(rng, size, dtype, normal):
    """Every pixel is the product of two softmaxes, whatever the mean and the standard deviation."""
    mean = rng.uniform(-1.5, 1.5, (12, 2)) if normal else rng.uniform(-9, 30, (12, 2))
    std = rng.uniform(0.02, 0.7, (12, 2)) * (1 if normal else 10)
    std[0], std[1], std[2] = 1e-12, 1e12, (1e-3, 50)
    mean[3], mean[4], mean[5] = 1e12, (-1e12, 0), (3, -40)
    mean[6], std[6] = -1e12, 1e12
    mean[7], std[7] = 2.5, 1e-12  # halfway between pixels
    mean, std = mean.astype(dtype), std.astype(dtype)
    got = npsubpix.render_gaussian2d(mean, std, size, normal)
    assert got.dtype == dtype
    for k in range(len(mean)):
        # in float64, the last digit of a position in pixels shows in a Gaussian that is narrower than they are
        slack = max(1, max(size) / 2 * 1e-3 / std[k].min()) if normal and dtype == "float64" else 1
        close(got[k], reference.gaussian2d(mean[k].tolist(), std[k].tolist(), size, normal), slack=min(slack, 1e4))
    np.testing.assert_allclose(got.sum((1, 2), dtype=float), 1, rtol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1,), (23,), (7, 9), (4, 5, 6), (1, 3, 40), (3, 1, 1)])
@pytest.mark.parametrize("normalization", ["sum", "peak"])
def test_definition_in_array_order(rng, shape, dtype, normalization):
    n = len(shape)
    mean = rng.uniform(-3, 12, (6, n)).astype(dtype)
    std = rng.uniform(0.1, 5, (6, n)).astype(dtype)
    mean[1], std[1] = 1e12, 1.0
    mean[2], std[2] = -1e12, 1e12
    std[3], std[4] = 1e-12, 1e12
    mean[5] = 1
    got = npsubpix.render_gaussian(mean, std, shape, normalization=normalization)
    assert got.dtype == dtype
    for k in range(6):
        want = reference.gaussian(mean[k].tolist(), std[k].tolist(), shape, normalization == "peak")
        close(got[k], want, 1 if normalization == "peak" else None)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_small_map(data):
    """Means and standard deviations of any magnitude neither under- nor overflow."""
    shape = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple))
    positions = st.sampled_from([0.0, 0.5, 1.0, 2.25, -3.0, 40.0, 1e6, -1e12, 1e100, np.nan, np.inf])
    mean = data.draw(st.lists(positions, min_size=len(shape), max_size=len(shape)))
    widths = st.sampled_from([1e-150, 1e-12, 0.3, 1.0, 7.0, 1e6, 1e12, 1e100])
    std = data.draw(st.lists(widths, min_size=len(shape), max_size=len(shape)))
    for normalization in ("sum", "peak"):
        got = npsubpix.render_gaussian(mean, std, shape, normalization=normalization)
        want = reference.gaussian(mean, std, shape, normalization == "peak")
        close(got, want, 1 if normalization == "peak" else None)


@pytest.mark.parametrize("std", [1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("shift", [1e-7, 1e-6, -1e-6, 1e-5])
def test_narrow_gaussians_between_pixels(std, shift):
    """How two pixels share a narrow Gaussian depends on the last digits of its mean, and they are not lost."""
    mean, std = np.array([2 * 20.5 / 63 - 1 + shift, 0.1], np.float32), np.array([std, std], np.float32)
    close(
        npsubpix.render_gaussian2d(mean, std, (9, 64)), reference.gaussian2d(mean.tolist(), std.tolist(), (9, 64), True)
    )


def test_means_that_are_not_finite(rng):
    """NaN in a mean spoils its own map and no other."""
    mean, std = rng.uniform(0, 9, (5, 2)), rng.uniform(1, 2, (5, 2))
    want = npsubpix.render_gaussian(mean, std, (9, 8))
    mean[1, 0], mean[3, 1] = np.nan, np.inf
    got = npsubpix.render_gaussian(mean, std, (9, 8))
    assert np.isnan(got[[1, 3]]).all()
    np.testing.assert_array_equal(got[[0, 2, 4]], want[[0, 2, 4]])
    wide = npsubpix.render_gaussian(mean[0], np.inf, (4, 5))
    np.testing.assert_allclose(wide, 1 / 20)  # an infinite standard deviation is a flat map


def test_maps_of_several_bands():
    """A large map is written in bands, without a seam."""
    got = npsubpix.render_gaussian2d(np.array([700.3, 151.1]), np.array([200.0, 80.0]), (401, 1300), False)
    y, x = (reference.softmax_axis(reference.pixels(n), m, s) for n, m, s in ((401, 151.1, 80.0), (1300, 700.3, 200.0)))
    close(got, np.outer(y, x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("normal", [True, False])
def test_kornia(rng, dtype, normal):
    """The same maps as kornia 0.9.0, and gradients of float64."""
    subpix = pytest.importorskip("kornia.geometry.subpix")
    scale = 1 if normal else 12
    mean = torch.from_numpy(rng.uniform(-1.2, 1.2, (3, 5, 2)) * scale).to(dtype).requires_grad_()
    std = torch.from_numpy(rng.uniform(0.05, 0.8, (1, 5, 2)) * scale).to(dtype).requires_grad_()
    theirs = subpix.render_gaussian2d(mean, std, (17, 24), normal)
    ours = npsubpix.render_gaussian2d(mean, std, (17, 24), normal)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=4 * torch.finfo(dtype).eps)
    if dtype == torch.float64:
        seed = torch.from_numpy(rng.standard_normal(ours.shape))
        for got, want in zip(
            torch.autograd.grad(ours, (mean, std), seed), torch.autograd.grad(theirs, (mean, std), seed), strict=True
        ):
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


SPOTS = list(itertools.product([(31,), (12, 17), (6, 7, 9)], ["sum", "peak"], [False, True]))


@pytest.mark.parametrize(("shape", "normalization", "integrate"), SPOTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_spots_definition(rng, shape, normalization, integrate, dtype):
    """Spots inside, across the border and far outside; wide, narrow, overlapping and cut off."""
    n = len(shape)
    coords = rng.uniform(-6, np.array(shape) + 6, (20, n)).astype(dtype)
    coords[0], coords[1], coords[2] = 1e12, 2, -0.5
    amplitude = rng.uniform(-2, 5, 20)
    stds = [1.3, rng.uniform(0.5, 3, n), rng.uniform(0.05, 4, (20, n)), rng.uniform(0.5, 3, (20, 1))]
    for std, truncate in zip(stds, (6.0, 2.0, 3.5, np.inf), strict=True):
        options = {"normalization": normalization, "integrate": integrate, "truncate": truncate}
        got = npsubpix.render_spots(coords, shape, std=std, amplitude=amplitude, **options)
        want = reference.spots(coords, shape, std, amplitude, normalization == "peak", integrate, truncate)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=8 * np.finfo(dtype).eps, atol=1e-11 * np.abs(want).max())


@pytest.mark.parametrize("std", [1e-12, 0.01, 1.0, 10.0, 300.0, 600.0, 1e6, 1e12])
@pytest.mark.parametrize("integrate", [False, True])
def test_spots_of_any_width(std, integrate):
    """Far narrower than a pixel and far wider than the image, on both sides of every change of method."""
    coords = np.array([[3.2, 4.9], [-0.7 * std, 0.9 * std], [5.0, 2.0]])
    options = {"normalization": "peak", "integrate": integrate, "truncate": 9.0}
    got = npsubpix.render_spots(coords, (8, 9), std=std, amplitude=1e12, **options)
    want = reference.spots(coords, (8, 9), std, 1e12, True, integrate, 9.0)
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e12 * 1e-12)
    assert got.max() > 0 or std < 0.1


@pytest.mark.parametrize("std", [1e-9, 0.03, 0.4, 1.3])
def test_light_is_kept(rng, std):
    """With integrate, a spot inside the image brings its amplitude, however narrow it is."""
    for shape in ((40,), (40, 41), (40, 41, 42)):
        coords = rng.uniform(15, 25, (5, len(shape)))
        image = npsubpix.render_spots(coords, shape, std=std, amplitude=[1, 2, 3, 4, 5], integrate=True)
        assert image.sum() == pytest.approx(15, rel=1e-8)
    # half of the light of a spot on the border is outside
    edge = npsubpix.render_spots([[-0.5, 20.0]], (40, 41), std=std, integrate=True)
    assert edge.sum() == pytest.approx(0.5, rel=1e-8)


@pytest.mark.parametrize("shape", [(9000,), (80, 2100), (17, 20, 600)])
def test_spots_across_tiles(rng, shape):
    """The image is drawn in tiles, without a seam and without a spot drawn twice."""
    coords = rng.uniform(-5, np.array(shape) + 5, (40, len(shape)))
    coords[:3] = np.array([[8.0, 32.0, 512.0], [7.5, 31.5, 1023.5], [0.0, 0.0, 4095.5]])[:, -len(shape) :]
    got = npsubpix.render_spots(coords, shape, std=1.5, amplitude=np.arange(40.0), truncate=4)
    want = reference.spots(coords, shape, 1.5, np.arange(40.0), truncate=4)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


def test_faint_spots_on_a_bright_one():
    """A float32 image is summed in float64: a million faint spots on a bright one are not lost."""
    coords = np.full((100_001, 2), 4, np.float32)
    amplitude = np.ones(100_001)
    amplitude[0] = 2**25
    image = npsubpix.render_spots(coords, (9, 9), std=1.0, amplitude=amplitude, normalization="peak")
    assert image[4, 4] == np.float32(2**25 + 100_000)


def test_bad_rows_are_left_out(rng):
    """A row of a table that holds NaN does not lose the others; its gradient is 0."""
    coords, amplitude, std = rng.uniform(2, 9, (6, 2)), rng.uniform(1, 2, 6), rng.uniform(1, 2, (6, 2))
    coords[1, 0], coords[2, 1], amplitude[4] = np.nan, -np.inf, np.nan
    std[1] = np.nan
    good = [0, 3, 5]
    want = npsubpix.render_spots(coords[good], (11, 12), std=std[good], amplitude=amplitude[good])
    got, pullback = npsubpix.vjp(npsubpix.render_spots, coords, (11, 12), std=std, amplitude=amplitude)
    np.testing.assert_array_equal(got, want)
    for gradient in pullback(np.ones((11, 12))).values():
        assert np.isfinite(gradient).all()
        assert (gradient[[1, 2, 4]] == 0).all()
        assert (gradient[good] != 0).any()


def test_no_row_is_good():
    """A table of nothing but failed rows gives a dark image and no gradient."""
    _, pullback = npsubpix.vjp(
        npsubpix.render_spots, np.full((3, 2), np.nan), (4, 5), std=np.nan * np.ones((3, 1)), truncate=np.inf
    )
    assert not any(gradient.any() for gradient in pullback(np.ones((4, 5))).values())
    assert not npsubpix.render_spots(np.full((3, 2), np.nan), (4, 5), std=1.0).any()


def test_nothing_to_draw():
    empty = np.empty((0, 2), np.float32)
    assert npsubpix.render_gaussian2d(empty, empty, (4, 5)).shape == (0, 4, 5)
    assert npsubpix.render_gaussian(np.empty((3, 0, 2)), 1.0, (4, 5)).shape == (3, 0, 4, 5)
    image = npsubpix.render_spots(empty, (4, 5), std=1.0)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, np.zeros((4, 5)))
    for run, arrays in (
        (lambda m, s: npsubpix.render_gaussian2d(m, s, (4, 5)), (empty, np.ones((1, 2), np.float32))),
        (lambda c: npsubpix.render_spots(c, (4, 5), std=2.0), (empty,)),
    ):
        result, pullback = npsubpix.vjp(run, *arrays)
        gradients = pullback(np.ones_like(result))
        assert all(not gradients[name].any() for name in gradients)


def test_broadcasting(rng):
    """Means and standard deviations stretch against each other, to what calls one by one give."""
    mean, std = rng.uniform(0, 5, (4, 1, 2)), rng.uniform(1, 2, (3, 2))
    whole = npsubpix.render_gaussian2d(mean, std, (5, 6), False)
    one = npsubpix.render_gaussian(mean[0, 0], rng.uniform(1, 2, (7, 1)), (5, 6))
    assert whole.shape == (4, 3, 5, 6)
    assert one.shape == (7, 5, 6)
    for i, j in itertools.product(range(4), range(3)):
        np.testing.assert_array_equal(whole[i, j], npsubpix.render_gaussian2d(mean[i, 0], std[j], (5, 6), False))
        np.testing.assert_array_equal(
            whole[i, j], npsubpix.render_gaussian(mean[i, 0, ::-1], std[j, ::-1].copy(), (5, 6))
        )


# Gradients

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


def test_large_gradients_take_the_parallel_kernels(rng):
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


# Libraries, dtypes and memory

RUNS: dict[str, Callable[[Any, Any], Any]] = {
    "render_gaussian2d": lambda x, std: npsubpix.render_gaussian2d(x, std, (7, 8), False),
    "render_gaussian": lambda x, std: npsubpix.render_gaussian(x, std, (7, 8)),
    "render_spots": lambda x, std: npsubpix.render_spots(x, (7, 8), std=std, normalization="peak"),
}


@pytest.fixture(params=list(RUNS))
def run(request: pytest.FixtureRequest) -> Callable[[Any, Any], Any]:
    return RUNS[request.param]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "float16", "float32", "float64", ">f4"])
def test_dtypes(rng, run, dtype, wrap):
    """Floats keep their precision, integers get one that holds them; the library is the caller's."""
    x, std = rng.integers(0, 8, (3, 2)).astype(dtype), np.full((1, 2), 2).astype(dtype)
    sources = (wrap(x), wrap(std)) if x.dtype.isnative else (x, std)
    got = run(*sources)
    same_library(got, sources[0])
    expected = x.dtype.newbyteorder("=") if x.dtype.kind == "f" else np.result_type(dtype, np.float32)
    assert np.asarray(got).dtype == expected
    want = run(x.astype(float), std.astype(float))
    np.testing.assert_allclose(np.asarray(got), want, atol=4 * np.finfo(expected).eps * want.max())


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


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_bits_for_any_number_of_threads(rng, dtype):
    mean, std = rng.uniform(-1, 1, (200, 2)).astype(dtype), rng.uniform(0.05, 0.5, (200, 2)).astype(dtype)
    coords = rng.uniform(-5, 300, (3000, 2)).astype(dtype)

    def results() -> list[np.ndarray]:
        out = []
        for call in (
            lambda: npsubpix.vjp(npsubpix.render_gaussian2d, mean, std, (40, 50)),
            lambda: npsubpix.vjp(npsubpix.render_gaussian2d, mean[0], std[0], (600, 700)),
            lambda: npsubpix.vjp(npsubpix.render_spots, coords, (290, 280), std=1.3, integrate=True),
            lambda: npsubpix.vjp(npsubpix.render_spots, coords, (290, 280), std=2.5),
        ):
            result, pullback = call()
            out += [result, *pullback(np.cos(np.arange(result.size, dtype=dtype)).reshape(result.shape)).values()]
        return out

    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = results()
        numba.set_num_threads(2)
        two = results()
    finally:
        numba.set_num_threads(before)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


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


def test_dtypes_and_devices_must_agree():
    mean = np.zeros((1, 2))
    with pytest.raises(TypeError, match="mean and std must be of one dtype, got float64 and float32"):
        npsubpix.render_gaussian2d(mean, np.ones((1, 2), np.float32), (4, 5))
    with pytest.raises(TypeError, match=r"mean and std must be of one dtype, got torch.float32 and torch.float16"):
        npsubpix.render_gaussian2d(torch.zeros(2), torch.ones(2, dtype=torch.float16), (4, 5))
    with pytest.raises(TypeError, match="mean and std must be on one device, got cpu and meta"):
        npsubpix.render_gaussian2d(torch.zeros(2), torch.ones(2, device="meta"), (4, 5))


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
    with pytest.raises(ValueError, match=r"std must be a number or broadcast to \(3, 2\), the shape of coords, got"):
        npsubpix.render_spots(mean, (4, 5), std=np.ones(3))
    with pytest.raises(ValueError, match=r"std must be .* got shape \(1, 3, 2\)"):
        npsubpix.render_spots(mean, (4, 5), std=np.ones((1, 3, 2)))
    with pytest.raises(ValueError, match=r"amplitude must be a number or broadcast to \(3,\), the number of spots"):
        npsubpix.render_spots(mean, (4, 5), std=1.0, amplitude=np.ones((3, 1)))


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


def test_a_table_of_peaks_is_not_an_array_of_positions():
    image = npsubpix.render_spots([[3.0, 4.0]], (9, 9), std=1.0)
    peaks = npsubpix.find_peaks(image)
    for call in (lambda: npsubpix.render_spots(peaks, (9, 9), std=1.0), lambda: npsubpix.refine_peaks(image, peaks)):
        with pytest.raises(TypeError, match=r"coords must be an array of positions, got Peaks: pass its \.coords"):
            call()
