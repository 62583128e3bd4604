"""Weights that are functions of the distance, over any number of pixels: named ones, functions, and samples of them."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import npsubpix
from npsubpix import GradientAdaptive, WeightedNearest
from tests.reference import sampling as reference
from tests.sampling_checks import (
    MODES,
    away_from_joints,
    check_gradient,
    check_gradients_of_gradients,
    positions,
)

SHAPES = ((23,), (12, 13), (7, 8, 9))

#: Samples of weights, by reach: 4, 5, 6 and 8 of them, none of which ends at 0.
TABLES = {
    1: np.array([1.0, 0.9, 0.4, 0.1]),
    2: np.array([1.0, 0.8, 0.3, -0.1, 0.05]),
    3: np.array([1.0, 0.9, 0.5, 0.2, 0.1, 0.15]),
    8: np.array([1.0, 0.9, 0.7, 0.6, 0.4, 0.3, 0.1, 0.2]),
}


def learned(reach: int) -> WeightedNearest:
    return WeightedNearest(table=TABLES[reach], reach=reach)


# Values


@pytest.mark.exhaustive  # which compiles kernels for each reach
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("reach", TABLES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{len(shape)}d")
def test_tables_by_their_definition(rng, shape, reach):
    if len(shape) == 3 and reach == 8:
        shape = (4, 5, 6)
    image, coords = rng.standard_normal(shape), positions(rng, shape, 6 if len(shape) == 3 else 20)
    kernel = reference.of_table(TABLES[reach], reach)
    for mode in MODES:
        got = npsubpix.sample(image, coords, method=learned(reach), mode=mode, cval=0.5)
        np.testing.assert_allclose(got, reference.sample(image, coords, kernel, mode, 0.5), atol=1e-11)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", ["linear", "smoothstep", "sigmoid", "gaussian"])
def test_weights_that_have_a_name_are_stretched(rng, name):
    image, coords = rng.standard_normal((12, 13)), positions(rng, (12, 13), 20)
    kernel = reference.stretched(name, 2)
    for mode in ("reflect", "grid-constant", "wrap"):
        got = npsubpix.sample(image, coords, method=WeightedNearest(name, reach=2), mode=mode, cval=0.5)
        np.testing.assert_allclose(got, reference.sample(image, coords, kernel, mode, 0.5), atol=1e-11)


@pytest.mark.exhaustive
def test_functions_of_any_reach(rng):
    """Of the distance in pixels; the derivative by differences is that of the stretch between two pixels."""
    image, coords = rng.standard_normal((12, 13)), positions(rng, (12, 13), 20)

    def keys(d):
        return (1.5 * d - 2.5) * d * d + 1 if d < 1 else ((-0.5 * d + 2.5) * d - 4) * d + 2

    named = npsubpix.sample_with_gradient(image, coords, method="catmull_rom")
    got = npsubpix.sample_with_gradient(image, coords, method=WeightedNearest(keys, reach=2))
    np.testing.assert_allclose(got.values, named.values, atol=1e-11)
    np.testing.assert_allclose(got.gradient, named.gradient, atol=1e-6)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
def test_two_samples_are_linear_interpolation(rng):
    """Values, gradients and cotangents are those of the method that was written for it."""
    image, coords = rng.standard_normal((12, 13)), positions(rng, (12, 13), 40)
    table = WeightedNearest(table=np.array([1.0, 0.0]))
    for mode in MODES:
        pairs = [
            (npsubpix.sample_with_gradient(image, coords, method=method, mode=mode),
             npsubpix.sample_vjp(coords[0], image, coords, method=method, mode=mode)[:2])
            for method in (table, "linear")
        ]  # fmt: skip
        for found, want in zip(itertools.chain(*pairs[0]), itertools.chain(*pairs[1]), strict=True):
            np.testing.assert_allclose(found, want, atol=1e-12)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
def test_pixels_that_are_missing(rng):
    """A pixel whose weight is 0 does not count; a sample that a loss leaves out does not spoil a table."""
    image = rng.standard_normal((9, 10))
    image[4, 5] = np.nan
    coords = np.array([[4.0, 4.0, 2.5, 4.25], [4.0, 2.5, 5.5, 4.75]])
    method = WeightedNearest(table=np.array([1.0, 0.5, 0.0]))
    values = npsubpix.sample(image, coords, method=method)
    np.testing.assert_array_equal(np.isnan(values), [False, False, False, True])
    *_, spoilt = npsubpix.sample_vjp(np.ones(4), image, coords, method=method)
    assert np.isnan(spoilt).any()
    *_, whole = npsubpix.sample_vjp(np.array([1.0, 1.0, 1.0, 0.0]), image, coords, method=method)
    image[4, 5] = 0.0
    *_, without = npsubpix.sample_vjp(np.array([0.0, 1.0, 1.0, 0.0]), image, coords, method=method)
    assert np.isfinite(whole[:2]).all()
    np.testing.assert_allclose(
        npsubpix.sample_vjp(np.array([0.0, 1.0, 1.0, 0.0]), image, coords, method=method)[2], without
    )


# Derivatives


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("mode", ["reflect", "grid-constant", "wrap", "nearest"])
@pytest.mark.parametrize("shape", [(23,), (9, 11), (5, 6, 7)], ids=lambda shape: f"{len(shape)}d")
def test_derivatives(rng, shape, mode):
    for method in (WeightedNearest(table=np.array([1.0, 0.6, 0.0])), WeightedNearest("gaussian", reach=2)):
        check_gradient(rng, shape, method, mode)
        image, coords = rng.standard_normal(shape), away_from_joints(positions(rng, shape, 20))
        y = rng.standard_normal(coords.shape[1])
        values, gradient = npsubpix.sample_with_gradient(image, coords, method=method, mode=mode)
        by_image, by_coords, *_ = npsubpix.sample_vjp(y, image, coords, method=method, mode=mode)
        np.testing.assert_allclose((by_image * image).sum(), (y * values).sum(), rtol=1e-9)
        np.testing.assert_allclose(by_coords, y * gradient, atol=1e-10)
        check_gradients_of_gradients(rng, shape, method, mode)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
def test_the_derivative_at_a_sample_of_the_table_is_that_towards_the_next_pixel(rng):
    """And towards the previous one at the end of the last stretch, as for linear interpolation."""
    image = rng.standard_normal(12)
    method, step = WeightedNearest(table=np.array([1.0, 0.8, 0.5, 0.1, 0.0])), 1e-6
    coords = np.array([[3.0, 3.25, 3.5, 7.75, 11.0]])
    gradient = npsubpix.sample_with_gradient(image, coords, method=method, mode="constant").gradient[0]
    steps = np.array([step] * 4 + [-step])
    ahead, here = (npsubpix.sample(image, c, method=method, mode="constant") for c in (coords + steps, coords))
    np.testing.assert_allclose(gradient, (ahead - here) / steps, atol=1e-4)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("reach", [1, 2])
@pytest.mark.parametrize("mode", ["reflect", "grid-constant", "wrap", "constant"])
@pytest.mark.parametrize("shape", [(23,), (9, 11), (5, 6, 7)], ids=lambda shape: f"{len(shape)}d")
def test_cotangents_of_tables(rng, shape, mode, reach):
    """Of values against differences of the definition; of gradients too against differences of these."""
    image, coords = rng.standard_normal(shape), away_from_joints(positions(rng, shape, 8, beyond=3.0))
    table = TABLES[reach]
    options: dict[str, Any] = {"mode": mode, "cval": 0.5}
    y = rng.standard_normal(coords.shape[1])
    *_, found = npsubpix.sample_vjp(y, image, coords, method=learned(reach), **options)
    step = 1e-5

    def differences(loss):
        return [(loss(table + step * unit) - loss(table - step * unit)) / (2 * step) for unit in np.eye(table.size)]

    want = differences(lambda t: y @ reference.sample(image, coords, reference.of_table(t, reach), mode, 0.5))
    np.testing.assert_allclose(found, want, atol=1e-6 * (1 + np.abs(want).max()))
    z = rng.standard_normal((len(shape), coords.shape[1]))
    _, pullback = npsubpix.vjp(npsubpix.sample_with_gradient, image, coords, method=learned(reach), **options)

    def loss(t):
        method = WeightedNearest(table=t, reach=reach)
        values, gradient = npsubpix.sample_with_gradient(image, coords, method=method, **options)
        return y @ values + (z * gradient).sum()

    want = differences(loss)
    np.testing.assert_allclose(pullback(y, z)["table"], want, atol=1e-6 * (1 + np.abs(want).max()))


@pytest.mark.exhaustive
@pytest.mark.usefixtures("backend")
def test_channels_and_single_precision(rng):
    image, coords = rng.standard_normal((3, 30, 31)), rng.uniform(-2, 32, (2, 4, 600))
    y = rng.standard_normal((3, 4, 600))
    options: dict[str, Any] = {"channel_axis": 0, "mode": "mirror", "method": learned(1)}
    *_, found = npsubpix.sample_vjp(y, image, coords, **options)
    one_by_one = [
        npsubpix.sample_vjp(g, x, coords, method=learned(1), mode="mirror")[2] for g, x in zip(y, image, strict=True)
    ]
    np.testing.assert_allclose(found, sum(one_by_one), rtol=1e-10)
    single = (a.astype(np.float32) for a in (y, image, coords))
    *_, rounded = npsubpix.sample_vjp(*single, **options)
    np.testing.assert_allclose(rounded, found, atol=2e-5 * np.abs(found).max())
    assert rounded.dtype == np.float64  # that of the table


@pytest.mark.exhaustive
def test_same_bits_for_any_number_of_threads(rng, threads):
    image = rng.standard_normal((60, 70)).astype(np.float32)
    coords, y = rng.uniform(-5, 65, (2, 90_000)).astype(np.float32), rng.standard_normal(90_000).astype(np.float32)
    assert threads(lambda: [*npsubpix.sample_vjp(y, image, coords, method=learned(1))]) >= {
        "sample_vjp_table",
        "sample_table_vjp_table",
    }


# torch


def losses(image, coords, table, other):
    """One number for each way of using tables."""
    weighted = WeightedNearest(table=table)
    values, gradient = npsubpix.sample_with_gradient(image, coords, method=weighted, mode="mirror")
    grid = coords.T[None, :, None] / 8
    blend = GradientAdaptive(0.8, inside=weighted, outside=WeightedNearest(table=other))
    return (
        values.square().sum() + gradient.square().sum(),
        npsubpix.grid_sample(image[None, None], grid, weighted).square().sum(),
        npsubpix.sample(image, coords, method=blend).square().sum(),
    )


@pytest.mark.exhaustive
def test_tables_that_require_gradients(rng):
    """Autograd's gradients are those of differences, in graphs of torch.compile too, where a kernel is made inline."""
    image, coords = rng.standard_normal((6, 7)), away_from_joints(rng.uniform(-1, 6, (2, 9)))
    arrays = image, coords, TABLES[1].copy(), TABLES[1][::-1].copy()
    tensors = [torch.from_numpy(x).requires_grad_() for x in arrays]
    for k in range(3):
        assert torch.autograd.gradcheck(lambda *x, k=k: losses(*x)[k], tensors, nondet_tol=0.0)
    torch.compiler.reset()
    run = torch.compile(losses, fullgraph=True, backend="aot_eager")
    for found, want in zip(run(*tensors), losses(*tensors), strict=True):
        grads = (torch.autograd.grad(x, tensors, allow_unused=True, retain_graph=True) for x in (found, want))
        for a, b in zip(*grads, strict=True):
            if a is None or b is None:  # not used: graphs may have zeros there
                assert a is None or not a.any()
                assert b is None or not b.any()
            else:
                torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.exhaustive
def test_a_network_learns_the_kernel_that_made_its_target():
    rng = np.random.default_rng(0)
    image, coords = torch.from_numpy(rng.standard_normal((40, 40))), torch.from_numpy(rng.uniform(3, 36, (2, 3000)))
    true = torch.tensor([1.0, 0.9, 0.5, 0.2, 0.05], dtype=torch.float64)
    target = npsubpix.sample(image, coords, method=WeightedNearest(table=true))
    table = torch.ones(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([table], max_iter=60, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        error = (npsubpix.sample(image, coords, method=WeightedNearest(table=table)) - target).square().mean()
        error.backward()
        return error

    optimizer.step(loss)
    found = table.detach() / table.detach()[0]  # of one scale
    np.testing.assert_allclose(found, true, atol=1e-3)


# Misuse


BAD = [
    ({"reach": 0}, ValueError, "reach must be at least 1, got 0"),
    ({"reach": 9}, ValueError, "reach must be at most 8, got 9"),
    ({"table": [1.0]}, ValueError, r"table must have shape \(n,\) with n >= 2, got \(1,\)"),
    ({"table": np.ones((2, 2))}, ValueError, r"table must have shape \(n,\)"),
    ({"table": ["a", "b"]}, TypeError, "table must"),
    ({"weight": lambda d: 1 - d, "table": [1.0, 0.0]}, TypeError, "weight must be left out if there is a table"),
    ({"weight": "linear", "args": (1,)}, TypeError, "derivative and args are for a weight that is a function"),
    ({"weight": lambda d, a: a - d, "args": 2.0}, TypeError, r"args must be a tuple, got float: write args="),
    ({"weight": lambda d: d, "args": (2.0,)}, TypeError, "weight must be a function of one number and 1 args"),
    ({"weight": lambda d, a: a - d, "args": ("b",)}, TypeError, r"args\[0\] must"),
    ({"weight": torch.sigmoid}, TypeError, r"one of torch, .*: pass table=…"),
    ({"weight": torch.nn.Tanh()}, TypeError, r"one of torch, .*: pass table=…"),
    ({"weight": torch.ones(3)}, TypeError, r"one of torch, .*: pass table=…"),
    ({"weight": lambda d: torch.exp(-d)}, TypeError, r"one of torch, torch\.exp: pass table=…"),
]


@pytest.mark.parametrize(("options", "error", "match"), BAD, ids=[match for _, _, match in BAD])
def test_misuse(options, error, match):
    with pytest.raises(error, match=match):
        WeightedNearest(**options)


def test_kernels_are_values():
    table = np.array([1.0, 0.0])
    kernel = WeightedNearest(table=table, reach=2)
    assert kernel == WeightedNearest(table=table, reach=2)
    assert kernel != WeightedNearest(table=table.copy(), reach=2)
    assert len({WeightedNearest("sigmoid"), WeightedNearest("sigmoid"), WeightedNearest("sigmoid", reach=2)}) == 2
    restored = pickle.loads(pickle.dumps(kernel))
    np.testing.assert_array_equal(restored.table, table)
    assert restored.reach == copy.copy(kernel).reach == 2


def test_a_table_of_another_library_that_requires_a_gradient():
    """It would be lost beside an image of NumPy."""
    method = WeightedNearest(table=torch.ones(3, requires_grad=True))
    with pytest.raises(TypeError, match="table requires a gradient"):
        npsubpix.sample(np.ones(5), [[1.5]], method=method)
