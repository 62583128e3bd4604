"""Weights that users write: what they take from elsewhere is that of the call, and defaults are theirs."""

from __future__ import annotations

import itertools
import types
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

import npsubpix
from npsubpix import GradientAdaptive, Nearest, WeightedNearest
from npsubpix._cpu.compiler.user_functions import compiled_for_number
from npsubpix._cpu.sampling import user_weights
from npsubpix._cpu.sampling.weights import _bspline_pieces

IMAGE, COORDS = np.array([0.0, 10.0, 30.0]), [[0.25]]


def value(method: WeightedNearest) -> float:
    return float(npsubpix.sample(IMAGE, COORDS, method=method)[0])


def test_a_weight_is_of_the_values_at_the_call():
    """Also where an object was made before they changed, and where they change back."""
    config = types.ModuleType("config")
    config.floor = 0.0
    method = WeightedNearest(lambda d: 1.0 - d + config.floor)
    config.floor = 1.0
    assert value(method) == pytest.approx(10 * 1.25 / 3)
    config.floor = 0.0
    assert value(method) == value(WeightedNearest(lambda d: 1.0 - d + config.floor)) == pytest.approx(2.5)
    config.floor = 1.0
    assert value(method) == pytest.approx(10 * 1.25 / 3)


def test_zeros_of_both_signs_are_two_weights():
    def sign_of(zero: float) -> WeightedNearest:
        return WeightedNearest(lambda d: 1.0 - d + (1.0 if np.copysign(1.0, zero) > 0 else 0.0))

    assert value(sign_of(0.0)) == pytest.approx(10 * 1.25 / 3)
    assert value(sign_of(-0.0)) == pytest.approx(2.5)


def test_defaults_of_weights():
    def weight(d: Any, floor: Any = 1.0, *, times: Any = 2.0) -> Any:
        return (1.0 - d) * times + floor

    assert value(WeightedNearest(weight)) == pytest.approx(10 * 1.5 / 4)
    weight.__defaults__, weight.__kwdefaults__ = (0.0,), {"times": 3.0}
    assert value(WeightedNearest(weight)) == pytest.approx(2.5)


def test_values_are_passed_to_weights_without_compiling_again(monkeypatch):
    """A loop over a parameter compiles once, with the results of functions that close over its values."""
    made = []

    def counted(*args: Any) -> Any:
        made.append(args)
        return compiled_for_number(*args)

    monkeypatch.setattr(user_weights, "compiled_for_number", counted)

    def weight(d: Any, power: Any, floor: Any) -> Any:
        return (1.0 - d) ** power + floor[0, 1]

    def closing_over(power: float, floor: float) -> WeightedNearest:
        return WeightedNearest(lambda d: (1.0 - d) ** power + floor)

    steps = (1, 0.0), (2.5, 0.0), (2.5, 0.5)
    found = [value(WeightedNearest(weight, args=(power, [[9.0, floor]]))) for power, floor in steps]
    assert len(made) == 1
    assert found == [value(closing_over(*step)) for step in steps]
    assert len(made) == 1 + len(steps)
    blend = GradientAdaptive(1.0, inside=WeightedNearest(weight, args=(2.5, [[9.0, 0.5]])))
    assert float(npsubpix.sample(IMAGE, COORDS, method=blend)[0]) == found[2]


def exact_spline(degree: int, x: Fraction) -> Fraction:
    """Centred B-spline, by the recursion of Cox and de Boor in fractions."""
    if degree == 0:
        return Fraction(-1 <= 2 * x < 1)
    half, step = Fraction(degree + 1, 2), Fraction(1, 2)
    below, above = exact_spline(degree - 1, x + step), exact_spline(degree - 1, x - step)
    return ((half + x) * below + (half - x) * above) / degree


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 5])
def test_coefficients_of_pieces_are_exact(degree):
    """Each is then rounded once; rounded more often, they cost 14 units of rounding at the ends of a spline."""
    pieces = _bspline_pieces(degree)
    assert len(pieces) == degree + 1
    begin = Fraction(0) if degree % 2 else Fraction(-1, 2)
    for t in (begin + Fraction(k, 8) for k in range(8)):
        for k, piece in enumerate(pieces):
            value = sum(Fraction(c) * t**power for power, c in enumerate(piece.coef))
            assert value == exact_spline(degree, t + degree // 2 - k)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", ["bspline2", "bspline3", "bspline4", "bspline5"])
def test_weights_of_splines_are_exact_to_rounding(method):
    pixels, t, degree = np.eye(13), np.arange(17) / 16, int(method[-1])
    found = npsubpix.sample(pixels, [6 + t], method=method, prefilter=False, channel_axis=0)
    wanted = [[exact_spline(degree, Fraction(x) + 6 - k) for x in t] for k in range(13)]
    errors = [float(abs(Fraction(a) - b)) for a, b in zip(found.ravel(), itertools.chain(*wanted), strict=True)]
    assert max(errors) <= 2**-52


def in_a_graph(function):
    torch.compiler.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def test_a_weight_in_a_graph_of_torch():
    """torch.compile follows the call in one graph, in which a weight is that of the values at each run."""
    config = types.ModuleType("config")
    config.floor = 0.0
    method = WeightedNearest(lambda d: 1.0 - d + config.floor)
    coords = torch.tensor(COORDS, dtype=torch.float64)
    run = in_a_graph(lambda x: npsubpix.sample(x, coords, method=method))
    for config.floor, wanted in ((0.0, 2.5), (1.0, 10 * 1.25 / 3), (0.0, 2.5)):
        assert run(torch.from_numpy(IMAGE)).item() == pytest.approx(wanted)


@pytest.mark.exhaustive  # which compiles the gradients of all these methods
def test_gradients_of_kernels_in_a_graph_of_torch(rng):
    config = types.ModuleType("config")
    config.power = 2.0
    image, coords = torch.from_numpy(rng.random((6, 7))), torch.from_numpy(rng.uniform(0, 5, (2, 9)))
    image.requires_grad_()
    weighted = WeightedNearest(lambda d: (1.0 - d) ** config.power)
    blend = GradientAdaptive(0.3, inside=Nearest("down", surrogate="linear"), outside=weighted)

    def loss(x):
        inline = npsubpix.sample(x, coords, method=Nearest(surrogate="linear"))
        samples = (npsubpix.sample(x, coords, method=method) for method in (weighted, blend))
        return sum(values.square().sum() for values in samples) + inline.sum()

    run = in_a_graph(loss)
    for config.power in (2.0, 3.0, 2.0):
        (wanted,), (found,) = (torch.autograd.grad(function(image), image) for function in (loss, run))
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-14)
