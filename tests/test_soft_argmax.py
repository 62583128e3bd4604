"""Soft-argmax of windows against its definition, where it is easy to get wrong: dim windows, borders, strides."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import npsubpix
from tests.assertions import TOLERANCES, assert_library, assert_same
from tests.reference import soft_argmax as reference


def check(x, size, stride, padding, temperature=1.0):
    """Compare one map with the definition, in pixels and normalised."""
    run = npsubpix.conv_soft_argmax2d if x.ndim == 2 else npsubpix.conv_soft_argmax3d
    want, want_values = reference.windows(x, size, stride, padding, temperature)
    coords, values = run(x[None, None], size, stride, padding, temperature, False, output_value=True)
    order = [1, 0] if x.ndim == 2 else [0, 2, 1]
    assert_same(coords[0, 0], want[order], "position", dtype=x.dtype)
    eps = np.finfo(values.dtype).eps
    finite = np.isfinite(want_values)
    np.testing.assert_array_equal(values[0, 0][~finite], want_values[~finite])
    pixels = x[np.isfinite(x)].astype(float)
    size_of = np.abs(want_values[finite]) + (np.ptp(pixels) if pixels.size else 0.0) + temperature
    assert (np.abs(values[0, 0][finite] - want_values[finite]) <= 16 * eps * size_of).all()
    scaled, _ = run(x[None, None], size, stride, padding, temperature, True, output_value=True)
    # coordinates from -1 to 1 are rounded as numbers near 1, wherever the pixel is
    ends = np.array([max(x.shape[a] - 1, 2) for a in order]).reshape(-1, *(1,) * x.ndim)
    off = np.abs(scaled[0, 0] - reference.normalized(want, x.shape)[order]) * ends / 2
    assert not (off > TOLERANCES["position"][coords.dtype.name].atol + 4 * ends * eps).any()


WINDOWS = [
    ((3, 3), (1, 1), (1, 1)),
    ((5, 5), (1, 1), (2, 2)),
    ((4, 2), (1, 2), (2, 1)),
    ((1, 7), (2, 3), (0, 3)),
    ((9, 3), (3, 1), (4, 0)),
    ((2, 2), (2, 2), (0, 1)),
    ((1, 1), (1, 1), (0, 0)),
]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("size", "stride", "padding"), WINDOWS)
def test_images(rng, size, stride, padding, dtype):
    """Any window, stride and padding, at the sizes of numbers that heat maps and cameras have."""
    for amplitude in (1e-12, 1.0, 30.0, 1e5, 1e12):
        x = (rng.standard_normal((13, 21)) * amplitude).astype(dtype)
        check(x, size, stride, padding, temperature=1.0)
    check(rng.standard_normal((40, 9)).astype(dtype), size, stride, padding, temperature=1e-3)
    check(rng.standard_normal((9, 40)).astype(dtype), size, stride, padding, temperature=1e3)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [
        ((3, 3, 3), (1, 1, 1), (1, 1, 1)),
        ((2, 3, 4), (1, 2, 2), (1, 1, 2)),
        ((1, 3, 3), (2, 1, 1), (0, 1, 0)),
        ((5, 1, 2), (3, 1, 1), (2, 0, 1)),
        ((3, 7, 3), (1, 3, 2), (0, 3, 1)),
    ],
)
def test_volumes(rng, size, stride, padding, dtype):
    for amplitude in (1.0, 1e4):
        check((rng.standard_normal((19, 7, 11)) * amplitude).astype(dtype), size, stride, padding)


@pytest.mark.usefixtures("backend")
def test_tiles_meet_without_a_seam(rng):
    """A map of several tiles along each axis, with tiles of both kinds side by side, agrees with its pieces."""
    x = rng.standard_normal((70, 1300)).astype(np.float32)
    x[:, 900:] *= 1000
    coords = npsubpix.conv_soft_argmax2d(x[None, None], normalized_coordinates=False)[0, 0]
    for i, j in ((0, 0), (28, 500), (30, 890), (28, 1020), (60, 1290)):
        part = (slice(i, i + 10), slice(j, j + 10))
        around = (slice(max(i - 1, 0), i + 11), slice(max(j - 1, 0), j + 11))
        want, _ = reference.windows(x[around], (3, 3), None, (1, 1))
        want += np.array([around[0].start, around[1].start]).reshape(2, 1, 1)
        inner = want[:, part[0].start - around[0].start :, part[1].start - around[1].start :][:, :10, :10]
        assert_same(coords[(slice(None), *part)], inner[::-1], "position", dtype=np.float32)


@pytest.mark.exhaustive  # compiles parallel forms of many kernels
def test_same_bits_for_any_number_of_threads(rng, threads):
    """Of windows and of their gradient."""
    maps = rng.standard_normal((2, 1, 70, 90)).astype(np.float32)

    def located() -> list[np.ndarray]:
        coords, pullback = npsubpix.vjp(npsubpix.conv_soft_argmax2d, maps, (5, 3), temperature=0.5)
        return [coords, *pullback(np.cos(coords)).values()]

    assert threads(located) >= {"softmax_windows_f4", "softmax_windows_vjp_f4"}


@pytest.mark.usefixtures("backend")
def test_windows_far_below_the_peak():
    """A dim pair of pixels in a 16-bit frame is where it is, whatever else the frame holds."""
    frame = np.full((1, 1, 9, 30), 100, np.uint16)
    frame[0, 0, 4, 3] = 65535
    frame[0, 0, 4, 20:22] = 140
    coords, values = npsubpix.conv_soft_argmax2d(frame, normalized_coordinates=False, output_value=True)
    assert coords.dtype == np.float32
    np.testing.assert_allclose(coords[0, 0, :, 4, 20], [20.5, 4], atol=1e-5)
    np.testing.assert_allclose(values[0, 0, 4, [3, 20, 28]], [65535, 140, 100], rtol=1e-6)
    np.testing.assert_allclose(coords[0, 0, :, 4, 28], [28, 4], atol=1e-6)  # all equal: the middle


@pytest.mark.usefixtures("backend")
def test_far_from_the_origin():
    """Coordinates of 1e4 pixels keep the digits of float32."""
    x = np.zeros((1, 1, 4, 10_000), np.float32)
    x[0, 0, 1, 9990:9992] = 40
    coords = npsubpix.conv_soft_argmax2d(x, normalized_coordinates=False)
    np.testing.assert_allclose(coords[0, 0, :, 1, 9990], [9990.5, 1], atol=4 * np.spacing(np.float32(9990)))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(11, 14), (4, 6, 7)])
def test_nan_and_infinity(rng, bad, shape):
    """NaN spoils the windows that hold it alone; +inf takes all weight, -inf none."""
    x = rng.standard_normal(shape)
    x[rng.random(shape) < 0.05] = bad
    for stride in (1, 2):
        check(x, (3,) * x.ndim, (stride,) * x.ndim, (1,) * x.ndim)
        check(x.astype(np.float32), (3,) * x.ndim, (stride,) * x.ndim, (1,) * x.ndim)


@pytest.mark.usefixtures("backend")
def test_windows_of_infinity_alone():
    for value in (np.inf, -np.inf):
        coords, values = npsubpix.conv_soft_argmax2d(
            np.full((1, 1, 4, 5), value), normalized_coordinates=False, output_value=True
        )
        np.testing.assert_array_equal(coords[0, 0, :, 2, 0], [0.5, 2])  # the middle of what is inside
        np.testing.assert_array_equal(values, value)


@pytest.mark.usefixtures("backend")
def test_bonus(rng):
    """A window centred on a strict maximum scores (1 + bonus) times its value; its position is the same."""
    for size, stride, padding in (
        ((3, 3, 3), (1, 1, 1), (1, 1, 1)),
        ((3, 3, 3), (1, 2, 2), (0, 1, 1)),
        ((2, 3, 4), (1, 1, 3), (1, 0, 2)),
        ((1, 5, 3), (2, 1, 1), (0, 2, 1)),
    ):
        x = rng.standard_normal((6, 13, 12))
        want, want_values = reference.windows(x, size, stride, padding, 0.5, bonus=10.0)
        coords, values = npsubpix.conv_soft_argmax3d(
            x[None, None], size, stride, padding, 0.5, strict_maxima_bonus=10.0
        )
        np.testing.assert_allclose(values[0, 0], want_values, rtol=1e-12)
        np.testing.assert_allclose(coords[0, 0], want[[0, 2, 1]], atol=1e-12)
        assert (want_values != reference.windows(x, size, stride, padding, 0.5)[1]).any()


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [3, 7])
def test_temperatures_beyond_what_the_precision_holds(rng, dtype, size):
    x = rng.permutation(81).reshape(1, 1, 9, 9).astype(dtype)
    options = {"normalized_coordinates": False, "output_value": True}
    coords, values = npsubpix.conv_soft_argmax2d(x, (size, size), (1, 1), (0, 0), 1e-300, **options)
    windows = np.lib.stride_tricks.sliding_window_view(x[0, 0], (size, size))
    rows, columns = np.divmod(windows.reshape(*windows.shape[:2], -1).argmax(-1), size)
    starts = np.arange(windows.shape[0])
    np.testing.assert_array_equal(values[0, 0], windows.max((-2, -1)))
    np.testing.assert_allclose(coords[0, 0], [columns + starts, rows + starts[:, None]])
    coords, values = npsubpix.conv_soft_argmax2d(x, (size, size), (1, 1), (0, 0), 1e300, **options)
    np.testing.assert_allclose(values[0, 0], windows.mean((-2, -1)), rtol=1e-5)
    np.testing.assert_allclose(coords[0, 0, 0], np.broadcast_to(starts + size // 2, windows.shape[:2]), rtol=1e-5)


@pytest.mark.usefixtures("backend")
def test_temperature_of_each_map(rng):
    x = rng.standard_normal((2, 3, 8, 9))
    temperature = np.array([0.1, 1.0, 10.0])
    coords = npsubpix.conv_soft_argmax2d(x, temperature=temperature)
    for c in range(3):
        alone = npsubpix.conv_soft_argmax2d(x[:, c : c + 1], temperature=float(temperature[c]))
        np.testing.assert_array_equal(coords[:, c : c + 1], alone)
    per_map = npsubpix.conv_soft_argmax2d(x, temperature=np.tile(temperature, (2, 1)))
    np.testing.assert_array_equal(per_map, coords)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint64", "float16", ">f4", "float32", "float64"])
def test_dtypes(rng, dtype):
    x = rng.integers(0, 40, (1, 2, 9, 10)).astype(dtype)
    coords, values = npsubpix.conv_soft_argmax2d(x, normalized_coordinates=False, output_value=True)
    kept = x.dtype.kind == "f"
    assert coords.dtype == values.dtype == (x.dtype.newbyteorder("=") if kept else np.result_type(x.dtype, np.float32))
    for c in range(2):
        want, want_values = reference.windows(x[0, c].astype(float), (3, 3), None, (1, 1))
        tolerance = 4 * np.finfo(coords.dtype).eps
        np.testing.assert_allclose(coords[0, c], want[::-1], rtol=tolerance, atol=1e-5)
        np.testing.assert_allclose(values[0, c], want_values, rtol=tolerance * 8)


@pytest.mark.usefixtures("backend")
def test_libraries(rng, wrap):
    x = wrap(rng.standard_normal((2, 1, 9, 11)))
    coords, values = npsubpix.conv_soft_argmax2d(x, output_value=True)
    assert_library(coords, x)
    assert_library(values, x)
    assert npsubpix.conv_soft_argmax2d(x).shape == (2, 1, 2, 9, 11)
    source = jnp.asarray(np.asarray(x), dtype=jnp.float32)
    assert type(npsubpix.conv_soft_argmax2d(source)) is type(source)
    half = torch.from_numpy(np.asarray(x)).to(torch.bfloat16)
    assert npsubpix.conv_soft_argmax2d(half).dtype == torch.bfloat16


@pytest.mark.usefixtures("backend")
def test_memory_layouts(rng):
    """Strided, reversed, Fortran-ordered and read-only input gives the same, and is left alone."""
    x = rng.standard_normal((2, 2, 10, 12)).astype(np.float32)
    want = npsubpix.conv_soft_argmax2d(x)
    wide = np.repeat(x, 2, axis=3)
    locked = x.copy()
    locked.setflags(write=False)
    for other in (wide[..., ::2], x[..., ::-1].copy()[..., ::-1], np.asfortranarray(x), locked, x.tolist()):
        np.testing.assert_allclose(npsubpix.conv_soft_argmax2d(other), want, atol=1e-6)
    before = x.copy()
    npsubpix.conv_soft_argmax2d(x, output_value=True)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(npsubpix.conv_soft_argmax2d(np.broadcast_to(x[:1], (3, 2, 10, 12)))[2], want[0])


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(0, 1, 5, 5), (1, 0, 5, 5)])
def test_no_maps(shape):
    coords, values = npsubpix.conv_soft_argmax2d(np.ones(shape, np.float32), output_value=True)
    assert coords.shape == (*shape[:2], 2, 5, 5)
    assert values.shape == shape


@pytest.mark.usefixtures("backend")
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_small_image(data):
    """Few grey values, any shape, window, stride and padding: the definition holds."""
    shape = data.draw(st.tuples(st.integers(1, 7), st.integers(1, 12)))
    size = data.draw(st.tuples(*(st.integers(1, n + 2) for n in shape)))
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in size)
    if any(n + 2 * p < k for n, p, k in zip(shape, padding, size, strict=True)):
        return
    stride = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    grey = st.sampled_from([-300.0, -1.0, 0.0, 1.0, 2.0, 500.0, np.inf, -np.inf, np.nan])
    check(
        data.draw(hnp.arrays(np.float64, shape, elements=grey)),
        size,
        stride,
        padding,
        data.draw(st.sampled_from([0.1, 1.0, 50.0])),
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kernel_size": 3}, TypeError, "kernel_size must be a tuple of 2 integers, got 3"),
        ({"kernel_size": (3, 0)}, ValueError, "kernel_size must be at least 1, got 0"),
        ({"stride": (0, 1)}, ValueError, "stride must be at least 1, got 0"),
        ({"stride": (-1, 1)}, ValueError, "stride must be at least 1, got -1"),
        ({"stride": 1.5}, TypeError, r"stride must be an integer, got 1\.5"),
        ({"stride": (1, 1, 1)}, ValueError, "stride must be one integer or 2 of them"),
        ({"padding": (2, 1)}, ValueError, r"padding must be at most half of kernel_size, \(3, 3\), got \(2, 1\)"),
        ({"padding": (-1, 1)}, ValueError, "padding must be at least 0, got -1"),
        ({"kernel_size": (9, 3), "padding": 0}, ValueError, r"kernel_size must fit into the padded map, \(5, 6\)"),
        ({"temperature": 0}, ValueError, r"temperature must be positive, got 0\.0"),
        ({"temperature": -1.0}, ValueError, r"temperature must be positive, got -1\.0"),
        ({"temperature": float("nan")}, ValueError, "temperature must be positive, got nan"),
        ({"temperature": float("inf")}, ValueError, "temperature must be finite"),
        ({"temperature": "1"}, TypeError, "temperature must be a number, got '1'"),
        ({"temperature": np.array([1.0, -2.0])}, ValueError, r"temperature must be positive and finite, got -2\.0"),
        (
            {"temperature": np.ones(3)},
            ValueError,
            r"temperature .* leading axes of the input, \(1, 2\), got shape \(3,\)",
        ),
        ({"temperature": np.array(True)}, TypeError, "temperature must hold integers or floats"),
        ({"eps": "small"}, TypeError, "eps must be a number"),
        ({"normalized_coordinates": 1}, TypeError, "normalized_coordinates must be True or False"),
        ({"output_value": None}, TypeError, "output_value must be True or False"),
    ],
)
def test_wrong_arguments(options, error, message):
    for x in (np.zeros((1, 2, 5, 6)), torch.zeros(1, 2, 5, 6)):
        with pytest.raises(error, match=message):
            npsubpix.conv_soft_argmax2d(x, **options)


@pytest.mark.usefixtures("backend")
def test_wrong_input():
    with pytest.raises(ValueError, match=r"input must have 4 dimensions, \(B, C, H, W\), got shape \(5, 6\)"):
        npsubpix.conv_soft_argmax2d(np.zeros((5, 6)))
    with pytest.raises(ValueError, match="input must have 5 dimensions"):
        npsubpix.conv_soft_argmax3d(np.zeros((1, 1, 5, 6)))
    for dtype in (bool, complex, object, "U3"):
        with pytest.raises(TypeError, match="input must hold integers or floats"):
            npsubpix.conv_soft_argmax2d(np.zeros((1, 1, 5, 6)).astype(dtype))
