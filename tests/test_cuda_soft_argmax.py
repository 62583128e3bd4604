"""Soft-argmax of windows by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from npsubpix._cpu import soft_argmax as cpu
from npsubpix._cuda import soft_argmax
from tests.assertions import assert_same

pytestmark = pytest.mark.usefixtures("cuda_on_host")

CASES = [
    ((3, 3), (1, 1), (1, 1)),
    ((5, 4), (2, 3), (2, 1)),
    ((7, 7), (1, 2), (0, 3)),
    ((3, 3, 3), (1, 1, 1), (1, 1, 1)),
    ((2, 5, 3), (2, 1, 3), (0, 2, 1)),
]


def options_of(window, stride, padding, normalized=False, bonus=0.0) -> dict:
    """Options of the operation, with values."""
    return {
        "kernel_size": window,
        "stride": stride,
        "padding": padding,
        "normalized_coordinates": normalized,
        "strict_maxima_bonus": bonus,
        "output_value": True,
    }


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize(("window", "stride", "padding"), CASES)
def test_results_and_gradients_as_on_the_cpu(rng, window, stride, padding, dtype):
    """With a bonus, a temperature for each map, and a gradient by each result alone."""
    x = (3 * rng.standard_normal((2, 3, 6, 13, 70)[: 2 + len(window)])).astype(dtype)
    temperature = rng.uniform(0.5, 2, (2, 1))
    options, precision = options_of(window, stride, padding, True, 2.5), np.result_type(dtype, np.float32)
    wanted = cpu.conv_soft_argmax(x, temperature, **options)
    results = soft_argmax.conv_soft_argmax(x, temperature, **options)
    assert_same(tuple(results), tuple(wanted), "soft_argmax")
    by_coords, by_values = (rng.standard_normal(want.shape).astype(want.dtype) for want in wanted)
    for cotangents in ((by_coords, by_values), (by_coords, None), (None, by_values), (None, None)):
        wanted = cpu.conv_soft_argmax_vjp(cotangents, (x, temperature), (), **options)
        results = soft_argmax.conv_soft_argmax_vjp(cotangents, (x, temperature), (), **options)
        assert_same(tuple(results), tuple(wanted), "soft_argmax gradients", precision=precision)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_gradients_of_what_is_not_finite(rng, bad):
    """NaN in, NaN out, in the windows that hold it; infinity takes all weight."""
    x = rng.standard_normal((1, 2, 9, 12))
    x[0, 1, [2, 6], [3, 9]] = bad
    options = options_of((3, 3), (1, 1), (1, 1))
    temperature = np.array(0.7)
    cotangents = rng.standard_normal((1, 2, 2, 9, 12)), None
    found, want = (m.conv_soft_argmax_vjp(cotangents, (x, temperature), (), **options) for m in (soft_argmax, cpu))
    assert_same(tuple(found), tuple(want), "soft_argmax")


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf])
def test_a_wrong_temperature_on_the_gpu_spoils_its_map_alone(rng, wrong):
    """The host does not check it, as it would have to wait."""
    x = rng.standard_normal((2, 1, 5, 6))
    for window in ((3, 3), (1, 1)):
        options = options_of(window, (1, 1), (0, 0))
        coords, values = soft_argmax.conv_soft_argmax(x, np.array([[wrong], [1.0]]), **options)
        assert np.isnan(coords[0]).all()
        assert np.isnan(values[0]).all()
        want = cpu.conv_soft_argmax(x, np.array(1.0), **options)
        np.testing.assert_allclose(coords[1], want[0][1], atol=1e-12)
        np.testing.assert_allclose(values[1], want[1][1], atol=1e-12)
