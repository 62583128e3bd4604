"""Statistics of windows that skip NaN and masked pixels: their definition, NumPy's nan* functions, masks, kernels."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import npsubpix
from npsubpix._cpu.compiler import jit
from npsubpix._cpu.windows import small_percentiles
from npsubpix._cpu.windows.networks import selector
from tests.reference.windows import window_statistic
from tests.test_windows_reductions import DISK, MOMENTS, ORDERS, call, check

NAMES = (*MOMENTS, *ORDERS)
NUMPY = {
    "sum": np.nansum, "mean": np.nanmean, "var": np.nanvar, "std": np.nanstd, "min": np.nanmin, "max": np.nanmax,
    "median": np.nanmedian,
    "percentile": lambda x, axis: np.nanpercentile(x, 30, axis=axis),
    "range": lambda x, axis: np.nanmax(x, axis=axis) - np.nanmin(x, axis=axis),
}  # fmt: skip


@pytest.fixture
def holed(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image with NaN, and a mask: alone, in groups larger than windows, and at the border."""
    x = rng.normal(size=(14, 17)) + 3
    x[rng.random(x.shape) < 0.2] = np.nan
    mask = rng.random(x.shape) < 0.2
    x[:5, :6] = np.nan
    mask[9:, 11:] = True
    x[12, 13] = np.inf  # where the mask is
    return x, mask


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", NAMES)
def test_the_definition_without_skipped_pixels(holed, name):
    """By any border extension, of small windows, long ones and those of a footprint."""
    x, mask = holed
    for options in (
        {"size": (3, 3)},
        {"size": (2, 5), "border": "wrap", "stride": 2},
        {"size": (7, 8), "border": "constant", "cval": 4.0},
        {"size": (3, 4), "border": "constant", "cval": np.nan},
        {"footprint": DISK, "border": "reflect"},
    ):
        wanted = window_statistic(x, name, q=30.0, mask=mask, nan_policy="omit", **options)
        check(call(name, x, mask=mask, nan_policy="omit", **options), wanted)
    empty = call(name, x, 3, mask=mask, nan_policy="omit")[..., 1, 1]
    assert (empty == 0).all() if name == "sum" else np.isnan(empty).all()


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", MOMENTS)
def test_weights_of_the_pixels_that_count(rng, holed, name):
    x, mask = holed
    weights = rng.random((3, 4))
    wanted = window_statistic(x, name, weights=weights, mask=mask, nan_policy="omit")
    check(call(name, x, weights=weights, mask=mask, nan_policy="omit"), wanted)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize(
    "shape", [(9, 11), *(pytest.param(s, marks=pytest.mark.exhaustive) for s in ((40,), (5, 6, 7)))]
)
def test_numpy_on_windows_that_end_with_the_image(rng, name, shape):
    x = rng.normal(size=shape)
    x[rng.random(shape) < 0.6] = np.nan
    wide = np.pad(x, 1, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(wide, (3,) * x.ndim)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of windows without a number
        wanted = NUMPY[name](windows.reshape(*shape, -1), axis=-1)
    np.testing.assert_allclose(call(name, x, 3, nan_policy="omit"), wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.exhaustive  # which compiles for other dtypes
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", NAMES)
def test_integers_under_a_mask(rng, name):
    """Any values may lie there; a window without pixels gives 0."""
    x = rng.integers(0, 99, (12, 13)).astype(np.uint8)
    mask = rng.random(x.shape) < 0.4
    mask[4:8, 5:9] = True
    for options in ({"size": 3}, {"footprint": DISK}):
        size = {"size": (3, 3)} if "size" in options else options
        check(call(name, x, mask=mask, **options), np.nan_to_num(window_statistic(x, name, mask=mask, q=30.0, **size))
              if name in ("sum", *ORDERS) else window_statistic(x, name, mask=mask, **size))  # fmt: skip
        other = np.where(mask, rng.choice([0, 255], x.shape), x).astype(np.uint8)
        np.testing.assert_array_equal(call(name, other, mask=mask, **options), call(name, x, mask=mask, **options))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", NAMES)
def test_a_mask_leaves_nan_elsewhere_in_its_windows(rng, name):
    x = rng.normal(size=(12, 13)) + 3
    x[3, 4] = x[8, 8] = np.nan
    mask = np.zeros(x.shape, bool)
    mask[3, 4] = True
    found = call(name, x, 3, mask=mask)
    assert np.isnan(found[..., 7:10, 7:10]).all()
    rest = np.ones(x.shape, bool)
    rest[7:10, 7:10] = False
    assert np.isfinite(found[..., rest]).all()
    np.testing.assert_array_equal(found, call(name, np.where(mask, 1e300, x), 3, mask=mask))


@pytest.mark.usefixtures("backend")
@pytest.mark.exhaustive
def test_long_windows_of_many_pixels_that_count(rng):
    """Counts and sums stay exact; windows longer than the image need no more memory."""
    x = rng.integers(0, 2**16, (90, 2000)).astype(np.uint16)
    mask = rng.random(x.shape) < 0.3
    whole, numbers = x[~mask].astype(float), (10**10, 31)
    assert npsubpix.window_sum(x, 10**10, mask=mask)[40, 900] == whole.sum()
    np.testing.assert_allclose(npsubpix.window_mean(x, 10**10, mask=mask)[3, 900], whole.mean(), rtol=1e-7)
    assert npsubpix.window_max(x, 10**10, mask=mask)[3, 9] == whole.max()
    want = np.ma.array(x, mask=mask)[:, 100:131].mean()
    np.testing.assert_allclose(npsubpix.window_mean(x, numbers, mask=mask)[5, 115], want, rtol=1e-7)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", ["mean", "median", "var"])
def test_masks_of_the_image_are_joined(holed, name):
    """Those of numpy.ma count as `mask` does; of torch, the mask comes as a tensor."""
    x, mask = holed
    own = np.isnan(x)
    wanted = call(name, x, 3, mask=own | mask)
    np.testing.assert_array_equal(call(name, np.ma.array(x, mask=own), 3, mask=mask), wanted)
    np.testing.assert_array_equal(call(name, np.ma.masked_invalid(x), 3), call(name, x, 3, mask=~np.isfinite(x)))
    tensor = call(name, torch.from_numpy(x), 3, mask=torch.from_numpy(own | mask))
    np.testing.assert_array_equal(tensor.numpy(), wanted)
    found = npsubpix.window_map(name, x, size=3, mask=mask, nan_policy="omit")
    np.testing.assert_array_equal(found, call(name, x, 3, mask=mask, nan_policy="omit"))


def test_wrong_masks_and_policies():
    x = np.zeros((5, 6))
    for options, error, words in [
        ({"mask": np.zeros((6, 5), bool)}, ValueError, r"mask must have the shape of the image, \(5, 6\)"),
        ({"mask": x}, TypeError, "mask must be an array of booleans"),
        ({"nan_policy": "raise"}, ValueError, "nan_policy must be one of 'propagate', 'omit'"),
    ]:
        with pytest.raises(error, match=words):
            npsubpix.window_mean(x, 3, **options)
    with pytest.raises(ValueError, match="nan_policy and mask are for reductions by name"):
        npsubpix.window_map(np.sum, x, size=3, nan_policy="omit")


@pytest.mark.usefixtures("backend")
def test_percentiles_of_windows_of_one_pixel():
    """Whatever the percentile, they are the pixels: one kernel serves all, under one name."""
    x = np.arange(12.0).reshape(3, 4)
    for q in (50, 0, 37.5, 100, -0.0):
        np.testing.assert_array_equal(npsubpix.window_percentile(x, q, 1), x)


def test_quantiles_of_equal_ranks_share_a_kernel():
    """Kernels are told apart by what they are made of: the size, the rank and the fraction between two ranks."""
    of = small_percentiles.small_percentiles
    assert of((1, 1, 1), 0.3) is of((1, 1, 1), 0.9)
    assert of((1, 3, 3), 0.5) is of((1, 3, 3), 0.5)
    assert of((1, 3, 3), 0.5) is not of((1, 3, 3), 0.25)
    assert of((1, 1, 2), 0.25) is not of((1, 1, 2), 0.75)


def test_a_factory_makes_one_kernel_for_threads_that_ask_at_once():
    """Two kernels of one name would be an error for one of the threads."""
    made, start = [], threading.Barrier(8)

    @jit.made_once
    def factory(number: int) -> Any:
        made.append(number)
        return object()

    found: list[Any] = []

    def ask() -> None:
        start.wait()
        found.extend(factory(k % 3) for k in range(30))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [0, 1, 2]
    assert len(set(map(id, found))) == 3


def test_functions_around_intrinsics_have_names_of_their_own():
    """Two processes that fill one cache would otherwise give one selector in place of the other."""

    def around(sort: Any) -> Any:
        def sort_line() -> Any:
            return sort

        return sort_line

    sorters = [selector(3, 3, (rank, rank), False, 16) for rank in (0, 1)]
    names = {jit._name_with_closure(around(sort)) for sort in sorters}
    assert len(names) == 2


@pytest.mark.exhaustive  # which compiles for other dtypes
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integers_with_a_result_in_floats(rng, dtype):
    """Nothing is rounded to an integer first, and a window without pixels that count is NaN, not 0."""
    x, mask = rng.integers(0, 250, (6, 7)).astype(np.uint8), np.zeros((6, 7), bool)
    mask[:4, :4] = True
    for name in ORDERS:
        for options in ({"size": (3, 2)}, {"size": (2, 3), "border": "constant", "cval": 3.6}):
            beyond = {"cval": 4.0} if "cval" in options else {}  # which pixels of integers are
            wanted = window_statistic(x.astype(float), name, q=30.0, mask=mask, **{**options, **beyond})
            found = call(name, x, mask=mask, dtype=dtype, **options)
            assert found.dtype == dtype
            np.testing.assert_allclose(found, wanted, rtol=1e-6)
        assert np.isnan(call(name, x, 3, mask=mask, dtype=dtype)[1, 1])
        assert call(name, x, 3, mask=mask)[1, 1] == 0


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", MOMENTS)
def test_pixels_of_weight_zero_do_not_count(rng, name):
    """Nor outside of a footprint: also if they are not finite, in the image or beyond it."""
    x = rng.normal(size=(9, 8)) + 3
    x[4, 5], x[0, 2] = np.nan, np.inf
    footprint = np.array([[True, False, True], [False, True, True]])
    for options in (
        {"footprint": footprint},
        {"weights": np.where(footprint, 0.5, 0.0)},
        {"footprint": footprint, "border": "constant", "cval": np.nan},
    ):
        with np.errstate(invalid="ignore"):
            wanted = window_statistic(x, name, **options)
        found = call(name, x, **options)
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(wanted))
        np.testing.assert_allclose(np.where(np.isfinite(wanted), found, 0), np.where(np.isfinite(wanted), wanted, 0))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_only_pixel_of_a_window(value):
    """Its deviation from itself is 0, or NaN if it is not finite: with others masked, beyond the border, or none."""
    x = np.array([[1.0, value, 2.0], [3.0, 4.0, value]])
    mask = np.array([[True, False, True], [True, True, False]])
    wanted = np.array([[0.0, np.nan, 0.0], [0.0, 0.0, np.nan]])
    for name in ("var", "std"):
        np.testing.assert_array_equal(call(name, x, 1), wanted)
        np.testing.assert_array_equal(call(name, x[None], 1)[0], wanted)
        np.testing.assert_array_equal(call(name, x, (1, 1), mask=mask), np.where(mask, np.nan, wanted))
        assert np.isnan(call(name, x, (1, 3), mask=mask)).all()
        np.testing.assert_array_equal(call(name, x[:, 1:2], (1, 2)), wanted[:, 1:2])
