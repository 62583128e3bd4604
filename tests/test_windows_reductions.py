"""Statistics of windows: their definition, NaN and huge values, offsets, SciPy, forms, weights, threads, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch

import npsubpix
from tests.assertions import assert_same
from tests.reference.windows import window_statistic

MOMENTS = ("sum", "mean", "var", "std", "centroid")
ORDERS = ("min", "max", "range", "median", "percentile")
#: All statistics, most of them marked: each compiles kernels of its own for every dtype and form.
OFTEN = [
    pytest.param(name, marks=() if name in ("sum", "mean", "max", "median") else pytest.mark.exhaustive)
    for name in (*MOMENTS, *ORDERS)
]
BORDERS = ("shrink", "reflect", "mirror", "nearest", "wrap", "constant")
SHAPES = [((11, 14), (3, 3)), ((9, 7), (2, 5)), ((6, 5), (7, 8)), ((23,), (4,)), ((4, 5, 6), (3, 2, 3))]
DISK = np.hypot(*np.mgrid[-3:4, -3:4]) < 3.2
CORNERS = np.zeros((5, 4), bool)
CORNERS[::4, ::3] = True


def call(name: str, x: Any, size: Any = None, *, q: float = 30.0, **options: Any) -> Any:
    if name == "percentile":
        return npsubpix.window_percentile(x, q, size, **options)
    return getattr(npsubpix, f"window_{name}")(x, size, **options)


def check(found: Any, wanted: Any) -> None:
    """Statistics are those of the definition: floats to their rounding, integers but for ties of rounding."""
    rounded = 0.5 + 1e-9 if found.dtype.kind in "iu" else None
    assert_same(found, wanted, "windows", dtype=found.dtype, within=rounded)


@pytest.mark.parametrize(("shape", "size"), SHAPES)
@pytest.mark.parametrize("name", OFTEN)
def test_the_definition(rng, name, shape, size):
    """Any border, any stride, any window: also longer than the image, and of even length."""
    x = rng.normal(size=shape) + 3
    for border in BORDERS:
        for stride in (1, 2):
            options: dict[str, Any] = {"border": border, "stride": stride, "cval": 4.0}
            check(call(name, x, size, **options), window_statistic(x, name, size, q=30.0, **options))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["u1", "i8", *(pytest.param(t, marks=pytest.mark.exhaustive) for t in (">f4", "f2"))])
@pytest.mark.parametrize("name", OFTEN)
def test_dtypes(rng, name, dtype):
    low, high = (0, 255) if dtype == "u1" else (1, 127)
    x = rng.integers(low, high, (12, 15), endpoint=True).astype(dtype)
    found = call(name, x, 3)
    check(found, window_statistic(x, name, (3, 3), q=30.0))
    kind = np.dtype(dtype).newbyteorder("=")
    wanted = {
        "sum": kind if kind.kind == "f" else np.dtype(np.int64),
        "range": np.dtype(f"u{kind.itemsize}") if kind.kind in "iu" else kind,
        "centroid": np.dtype(np.float64),
        **dict.fromkeys(("mean", "var", "std"), kind if kind.kind == "f" else np.result_type(kind, np.float32)),
    }
    assert found.dtype == wanted.get(name, kind)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", OFTEN)
@pytest.mark.parametrize("footprint", [DISK, CORNERS])
def test_footprints(rng, name, footprint):
    x = rng.normal(size=(13, 11)) + 3
    for border in ("shrink", "mirror", "constant"):
        options: dict[str, Any] = {"footprint": footprint, "border": border}
        check(call(name, x, **options), window_statistic(x, name, q=30.0, **options))
    y = rng.integers(0, 99, (13, 11), np.uint8)
    wanted = np.nan_to_num(window_statistic(y, name, footprint=footprint, q=30.0))
    check(call(name, y, footprint=footprint), wanted)


@pytest.mark.parametrize("name", MOMENTS)
def test_weights(rng, name):
    x, weights = rng.normal(size=(13, 11)) + 3, rng.random((4, 3))
    weights[1, 2] = 0
    for border in ("shrink", "reflect"):
        found = call(name, x, weights=weights, border=border)
        check(found, window_statistic(x, name, weights=weights, border=border))
    footprint = rng.random((4, 3)) > 0.4
    both = call(name, x, weights=weights, footprint=footprint)
    check(both, window_statistic(x, name, weights=weights * footprint))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", OFTEN)
@pytest.mark.parametrize("size", [3, 6, (21, 4)])
def test_nan_stays_in_its_windows(rng, name, size):
    x = rng.normal(size=(40, 30)) + 3
    bad = x.copy()
    bad[11, 17] = np.nan
    touched = call("max", np.isnan(bad).astype(np.uint8), size) > 0
    found = call(name, bad, size)
    assert np.isnan(found[..., touched]).all()
    np.testing.assert_array_equal(found[..., ~touched], call(name, x, size)[..., ~touched])


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_extrema_of_any_floats(rng, dtype):
    """Of both signs, infinite, and NaN of any sign, whose bits are beyond those of all numbers."""
    x = rng.normal(size=(9, 12)).astype(dtype)
    x[1, 1:4] = np.inf, -np.inf, -0.0
    for size in (3, 5, (1, 2), 8):
        for name, theirs in (("max", ndi.maximum_filter), ("min", ndi.minimum_filter)):
            np.testing.assert_array_equal(call(name, x, size, border="wrap"), theirs(x, size, mode="wrap"))
    for sign in (1, -1):
        x[5, 6] = np.copysign(np.nan, sign)
        for name in ("min", "max"):
            assert np.isnan(call(name, x, 3)[4:7, 5:8]).all()
    beyond = npsubpix.window_max(np.zeros((1, 3), dtype), 3, border="constant", cval=-np.nan)
    assert np.isnan(beyond).all()


@pytest.mark.parametrize(
    "name", ["sum", "mean", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("min", "max", "median"))]
)
def test_huge_values_stay_in_their_windows(rng, name):
    """Sums that run along a line would carry what is left of 1e30 to its end."""
    x = rng.normal(size=(64, 80)).astype(np.float32)
    x[20, 30] = 1e30
    x[21, 33] = np.inf
    found = call(name, x, 9)
    far = np.ones(x.shape, bool)
    far[10:32, 20:44] = False
    np.testing.assert_allclose(found[far], window_statistic(x, name, (9, 9))[far], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("offset", [1e4, 1e8, 1e12])
@pytest.mark.parametrize("shape", [(40, 50), (3, 20, 20)])
def test_variances_far_from_zero(rng, offset, shape):
    """The variance of pixels that share many digits, as of a camera with an offset, is that of their differences."""
    x = offset + rng.integers(0, 100, shape).astype(float)
    near = x - offset
    for size in (3, 7):
        wanted = window_statistic(near, "var", (size,) * x.ndim)
        np.testing.assert_allclose(npsubpix.window_var(x, size), wanted, rtol=1e-9)
    x[..., 20:] += offset  # and where it changes within the window of a tile
    parts = window_statistic(near[..., 20:], "var", (3,) * x.ndim)[..., 1:]
    np.testing.assert_allclose(npsubpix.window_var(x, 3)[..., 21:], parts, rtol=1e-6)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("size", [(5, 5), (3, 4), (9, 3), (1, 27), (26, 1)])
def test_medians_of_bytes_on_images_of_many_tiles(rng, size):
    """Columns that windows share are sorted once, in blocks of a line: the last one may be of any length."""
    for width in (1, 64, 1087):
        x = rng.integers(0, 256, (37, width), np.uint8)
        for border in ("nearest", "constant"):
            found = npsubpix.window_percentile(x, 50.0, size, border=border, cval=9.0)
            mode, places = ("edge", {}) if border == "nearest" else ("constant", {"constant_values": 9})
            wide = np.pad(x, [(k // 2, k - 1 - k // 2) for k in size], mode, **places)
            windows = np.lib.stride_tricks.sliding_window_view(wide, size).reshape(*x.shape, -1)
            np.testing.assert_array_equal(found, np.rint(np.median(windows, 2)))


@pytest.mark.exhaustive  # images of many tiles
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("size", [(3, 3), (31, 31), (4, 9), (1, 200), (150, 1)])
def test_scipy_on_images_of_many_tiles(rng, size):
    x = rng.normal(size=(300, 2500)).astype(np.float32)
    for name, theirs in (("min", ndi.minimum_filter), ("max", ndi.maximum_filter)):
        np.testing.assert_array_equal(call(name, x, size, border="reflect"), theirs(x, size, mode="reflect"))
    wanted = ndi.uniform_filter(x.astype(float), size, mode="mirror")
    np.testing.assert_allclose(npsubpix.window_mean(x, size, border="mirror"), wanted, atol=2e-6)
    odd = all(k % 2 for k in size)
    if odd and np.prod(size) < 100:
        found = npsubpix.window_median(x, size, border="nearest")
        np.testing.assert_array_equal(found, ndi.median_filter(x, size, mode="nearest"))


@pytest.mark.usefixtures("backend")
def test_a_large_median_is_that_of_scipy(rng):
    x = rng.integers(0, 40, (150, 170)).astype(np.int16)  # with ties
    found = npsubpix.window_median(x, (11, 15), border="wrap")
    np.testing.assert_array_equal(found, ndi.median_filter(x, (11, 15), mode="wrap"))
    disk = np.hypot(*np.mgrid[-6:7, -6:7]) < 6.3
    found = npsubpix.window_percentile(x, 100.0, footprint=disk, border="reflect")
    np.testing.assert_array_equal(found, ndi.maximum_filter(x, footprint=disk, mode="reflect"))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("dtype", "top"), [("u1", 2**8), ("u2", 2**16), ("i4", 2**31), ("i8", 2**50)])
def test_sums_of_integers_are_exact(rng, dtype, top):
    x = rng.integers(0, top, (40, 50), dtype=dtype)
    exact = np.lib.stride_tricks.sliding_window_view(np.pad(x.astype(object), 8), (17, 17)).sum((2, 3))
    assert (npsubpix.window_sum(x, 17).astype(object) == exact).all()


@pytest.mark.parametrize("bad", [-9999e12, -3.4e38])
def test_what_stands_for_no_data_does_not_take_the_digits_of_other_windows(rng, bad):
    x = rng.normal(size=(90, 100))
    wanted = npsubpix.window_var(x, 3)
    x[40:50, :] = x[:, 45:55] = x[2, 2] = bad
    found = npsubpix.window_var(x, 3)
    np.testing.assert_allclose(found[60:, 60:], wanted[60:, 60:], rtol=1e-9)
    np.testing.assert_allclose(found[5:35, 5:40], wanted[5:35, 5:40], rtol=1e-9)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_the_ends_of_64_bits(dtype):
    """Neither floats on the way nor a sum make a large integer another one."""
    top = np.iinfo(dtype).max
    x = np.full((5, 5), top)
    for size in (3, 7):
        assert (npsubpix.window_median(x, size) == top).all()
    assert (npsubpix.window_sum(x, footprint=[[True]]) == top).all()
    assert (npsubpix.window_sum(x, 1) == top).all()
    for name in ("max", "median"):
        assert call(name, x, 3, border="constant", cval=1e30).max() == top
    odd = np.full(3, 2**53 + 1)
    assert (npsubpix.window_sum(odd, footprint=[True]) == odd).all()


@pytest.mark.exhaustive  # which compiles for another dtype
@pytest.mark.usefixtures("backend")
def test_half_precision_is_left_where_another_is_asked_for():
    x = np.full(4, 60000, np.float16)
    for function in (npsubpix.window_sum, lambda x, k, dtype: npsubpix.correlate(x, np.ones(k), dtype=dtype)):
        found = function(x, 3, dtype=np.float32)
        assert found.dtype == np.float32
        assert found[1] == 180000
    tensor = npsubpix.window_sum(torch.full((4,), 60000.0).half(), 3, dtype="float32")
    assert tensor.dtype == torch.float32


@pytest.mark.exhaustive  # which compiles forms of footprints
@pytest.mark.usefixtures("backend")
def test_medians_beside_infinity():
    x = np.array([-np.inf, 5, 5, -np.inf])
    np.testing.assert_array_equal(npsubpix.window_median(x, 2), [-np.inf, -np.inf, 5, -np.inf])
    np.testing.assert_array_equal(npsubpix.window_median(x, footprint=[True, True]), [-np.inf, -np.inf, 5, -np.inf])
    assert npsubpix.window_median(np.array([-1.7e308, 1.7e308]), 2)[1] == 0


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("size", [(1, 5), (5, 1), 1])
def test_centroids_of_lines(rng, size):
    x = rng.random((6, 7))
    lengths = size if isinstance(size, tuple) else (size, size)
    check(npsubpix.window_centroid(x, size), window_statistic(x, "centroid", lengths))
    x[2, 3] = np.nan
    assert np.isnan(npsubpix.window_centroid(x, size)[:, 2, 3]).all()


def test_a_window_far_beyond_the_image_needs_no_memory_for_it(rng):
    x = rng.random((4, 5))
    for name in (*MOMENTS, *ORDERS):
        check(call(name, x, 10**10), window_statistic(x, name, (9, 11), q=30.0))


@pytest.mark.exhaustive  # which compiles for other dtypes
@pytest.mark.usefixtures("backend")
def test_dtype_rounds_and_keeps_within_its_range():
    x = np.array([250.0, 251.0, 252.5, -1e30, np.nan])
    np.testing.assert_array_equal(npsubpix.window_sum(x, 1, dtype=np.uint8), [250, 251, 252, 0, 0])
    np.testing.assert_array_equal(npsubpix.window_max(x, 1, dtype=np.int64), [250, 251, 252, np.iinfo(np.int64).min, 0])
    assert npsubpix.window_sum(np.array([300]), 1, dtype=np.uint8)[0] == 255
    assert npsubpix.window_mean(np.array([1, 2], np.uint8), 2, dtype=np.float64)[1] == 1.5


@pytest.mark.exhaustive  # compiles parallel forms of many kernels
def test_same_bits_for_any_number_of_threads(rng, threads):
    """Of windows small and large, with a footprint and without."""
    x = rng.normal(size=(120, 150)) + 1

    def statistics() -> list[np.ndarray]:
        found = []
        for name in (*MOMENTS, *ORDERS):
            found.append(call(name, x, 7 if name in ("median", "percentile") else 31))
            found.append(call(name, x, footprint=DISK))
        return found + [call("median", x, size) for size in (3, 31)]

    assert threads(statistics) >= {
        *(f"running_{name}" for name in ("sum", "var", "min", "min_int64", "max_int64")),
        *(f"footprint_{name}" for name in ("sum", "mean", "var", "max", "min")),
        "percentile",
    }


@pytest.mark.usefixtures("backend")
def test_libraries_and_layouts(rng):
    x = rng.normal(size=(20, 30)).astype(np.float32)
    wanted = npsubpix.window_median(x, 3)
    tensor = npsubpix.window_median(torch.from_numpy(x), 3)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor, wanted)
    x.flags.writeable = False
    np.testing.assert_array_equal(npsubpix.window_median(x[::-1, ::-1], 3), wanted[::-1, ::-1])
    np.testing.assert_array_equal(npsubpix.window_median(np.asfortranarray(x), 3), wanted)
    with pytest.raises(TypeError, match="gradient"):
        npsubpix.window_sum(torch.ones(5, requires_grad=True), 3)


@pytest.mark.usefixtures("backend")
def test_by_name(rng):
    x = rng.normal(size=(9, 8))
    for name in (*MOMENTS, *ORDERS):
        rank = {"q": 30.0} if name == "percentile" else {}
        np.testing.assert_array_equal(npsubpix.window_map(name, x, size=3, **rank), call(name, x, 3))
    weights = rng.random((3, 3))
    found = npsubpix.window_map("mean", x, weights=weights, border="wrap")
    np.testing.assert_array_equal(found, npsubpix.window_mean(x, weights=weights, border="wrap"))


@pytest.mark.exhaustive  # which compiles for integers
@pytest.mark.usefixtures("backend")
def test_a_constant_around_integers_is_rounded():
    """For every statistic: the border extension of an image of integers is of integers."""
    x = np.array([[3, 9], [4, 7]], np.uint8)
    for name in (*MOMENTS, *ORDERS):
        found, wanted = (call(name, x, 3, border="constant", cval=cval) for cval in (1.6, 2))
        np.testing.assert_array_equal(found, wanted)


X = np.zeros((5, 6))
BAD: list[Any] = [
    (lambda: npsubpix.window_sum(X), ValueError, "size must be given"),
    (lambda: npsubpix.window_sum(X, 0), ValueError, "size must be at least 1"),
    (lambda: npsubpix.window_sum(X, (3, 3, 3)), ValueError, "size must be one integer or 2 of them"),
    (lambda: npsubpix.window_sum(np.zeros((2, 2, 2, 2)), 3), ValueError, "image must have 1 to 3 dimensions"),
    (lambda: npsubpix.window_sum(X + 1j, 3), TypeError, "image must hold integers or floats"),
    (lambda: npsubpix.window_sum(X, 3, stride=0), ValueError, "stride must be at least 1"),
    (lambda: npsubpix.window_sum(X, 3, border="zero"), ValueError, "border must be one of"),
    (lambda: npsubpix.window_sum(X, 3, dtype=complex), TypeError, "dtype must be that of integers or floats"),
    (lambda: npsubpix.window_sum(X, footprint=[True, True]), ValueError, "footprint must have 2 dimensions"),
    (lambda: npsubpix.window_sum(X, footprint=np.zeros((3, 3), bool)), ValueError, "footprint must have a pixel"),
    (lambda: npsubpix.window_sum(X, footprint=np.ones((3, 3))), TypeError, "footprint must hold booleans"),
    (lambda: npsubpix.window_sum(X, 5, footprint=np.ones((3, 3), bool)), ValueError, "size must be left to"),
    (lambda: npsubpix.window_var(X, weights=[[1.0, -1.0]]), ValueError, "weights must not be negative for var"),
    (lambda: npsubpix.window_sum(X, weights=[[np.nan]]), ValueError, "weights must be finite"),
    (lambda: npsubpix.window_percentile(X, 101, 3), ValueError, "q must be from 0 to 100"),
    (lambda: npsubpix.window_map("mode", X, size=3), ValueError, "func must be a function or one of sum"),
    (lambda: npsubpix.window_map("sum", X, X, size=3), TypeError, "images must be one array"),
    (lambda: npsubpix.window_map("percentile", X, size=3), ValueError, "q must be given for percentile"),
    (lambda: npsubpix.window_map("max", X, weights=X), ValueError, "weights are for sum, mean"),
    (lambda: npsubpix.window_map(np.sum, X, size=3, weights=X), ValueError, "are for reductions by name"),
]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("function", "error", "match"), BAD)
def test_misuse(function, error, match):
    with pytest.raises(error, match=match):
        function()


@pytest.mark.exhaustive  # which compiles for volumes
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", [*MOMENTS, *ORDERS])
def test_windows_of_one_plane_with_steps_between_planes(rng, name):
    x, mask = rng.normal(size=(5, 6, 7)), rng.random((5, 6, 7)) < 0.3
    for size, stride in (((1, 3, 2), (2, 1, 1)), ((1, 3, 2), (3, 2, 1)), ((3, 1, 2), (2, 1, 3))):
        for skipped in (None, mask):
            whole = window_statistic(x, name, size, q=30.0, mask=skipped)
            wanted = whole[(..., *(slice(None, None, step) for step in stride))]
            check(call(name, x, size, stride=stride, mask=skipped), wanted)
