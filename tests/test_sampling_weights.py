"""Weights that users write: what they take from elsewhere is that of the call, and defaults are theirs."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest

import npsubpix
from npsubpix import WeightedNearest

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
