"""Statistics of windows by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch

import npsubpix
from npsubpix._arrays.home import home_of
from npsubpix._cpu.windows import reductions as cpu
from npsubpix._cuda.launch import devices
from npsubpix._cuda.windows import reductions
from npsubpix._cuda.windows.folds import _is_short
from npsubpix._dispatch import backends
from tests.assertions import assert_same
from tests.test_windows_reductions import BORDERS, DISK, MOMENTS, ORDERS, SHAPES, call

pytestmark = pytest.mark.usefixtures("cuda_on_host")

NAMES = (*MOMENTS, *ORDERS)


def reduced(
    module: Any, x: Any, name: str, size: Any, footprint: Any = None, weights: Any = None, border: str = "shrink",
    cval: float = 0.0, stride: tuple[int, ...] | None = None, mask: Any = None, nan_policy: str = "propagate",
) -> Any:  # fmt: skip
    """Reduce windows by a backend; percentiles are those of 30."""
    steps = (1,) * x.ndim if stride is None else stride
    options: dict[str, Any] = {"size": size, "border": border, "cval": cval, "stride": steps, "q": 0.3, "dtype": None}
    options["nan_policy"] = nan_policy
    return module.reduce_windows(x, footprint, weights, mask, reduction=name, **options)[0]


def check(x: Any, name: str, size: Any, **options: Any) -> None:
    """Results are those of the CPU, to the rounding of their sums."""
    found, want = (reduced(module, x, name, size, **options) for module in (reductions, cpu))
    assert_same(found, want, "exact" if name in ("min", "max", "range") else "windows on both")


def test_the_kernels_of_the_gpu_are_what_runs():
    assert backends.implementation("windows", home_of(np.zeros(1))).reduce_windows is reductions.reduce_windows


@pytest.mark.parametrize(("shape", "size"), SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_the_same_as_on_the_cpu(rng, name, shape, size):
    """Any border, any stride, any window: also longer than the image, and of even length."""
    x = rng.normal(size=shape) + 3
    for border in BORDERS:
        for stride in (1, 2):
            check(x, name, size, border=border, cval=4.0, stride=(stride,) * x.ndim)


@pytest.mark.parametrize("name", NAMES)
def test_footprints_and_weights_as_on_the_cpu(rng, name):
    x, weights = rng.normal(size=(13, 11)) + 3, rng.random(DISK.shape)
    for border in ("shrink", "mirror", "constant"):
        check(x, name, DISK.shape, footprint=DISK, border=border, cval=1.0, stride=(1, 2))
        if name in MOMENTS:
            check(x, name, DISK.shape, weights=weights, border=border, cval=1.0)
            check(x, name, DISK.shape, footprint=DISK, weights=weights, border=border, cval=1.0)


def box_sums(x: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    for axis, k in enumerate(size):
        x = np.moveaxis(x, axis, 0)
        sums = np.concatenate([np.zeros_like(x[:1]), np.cumsum(x, 0)])
        x = np.moveaxis(sums[k:] - sums[:-k], 0, axis)
    return x


def exactly(x: np.ndarray, name: str, size: tuple[int, ...], border: str) -> np.ndarray:
    """A statistic of windows of integers, from differences of running sums, which are exact."""
    if name in ("max", "min"):
        beyond = {"max": -(10**9), "min": 10**9}[name] if border == "shrink" else 2
        theirs = {"max": ndi.maximum_filter, "min": ndi.minimum_filter}[name]
        return theirs(x, size, mode="wrap" if border == "wrap" else "constant", cval=beyond)
    pads = [(k // 2, k - k // 2 - 1) for k in size]
    filled = np.pad(x, pads, "wrap") if border == "wrap" else np.pad(x, pads, constant_values=2 * (border != "shrink"))
    count = box_sums(np.pad(np.ones_like(x), pads, constant_values=border != "shrink"), size)
    total = box_sums(filled, size)
    if name == "var":
        return (count * box_sums(filled * filled, size) - total * total) / (count * count)
    if name == "centroid":
        places = np.indices(filled.shape) - np.reshape([k // 2 for k in size], (-1, *(1,) * x.ndim))
        return np.stack([box_sums(p * filled, size) / total for p in places])
    return total / count if name == "mean" else total


LONG = [((2, 5000), (1, 2347)), ((1500, 3), (733, 2)), ((900, 2, 2), (601, 1, 2)), ((7000,), (5200,))]


@pytest.mark.parametrize(("shape", "size"), LONG)
def test_windows_longer_than_tiles(rng, shape, size):
    """They are joined of parts, with a rest, in as many passes as their length needs."""
    assert not _is_short(reductions._windows(shape, size, (1,) * len(size), "wrap").axes, 512)
    x = rng.integers(1, 99, shape)
    x.flat[x.size // 3] = 10**6
    for name in ("sum", "mean", "max", "min", "centroid", "var"):
        for border, step in (("shrink", 1), ("constant", 3), ("wrap", 1)):
            found = call(name, x.astype(float), size, border=border, cval=2.0, stride=step)
            wanted = exactly(x, name, size, border)[(..., *(slice(None, None, step),) * x.ndim)]
            np.testing.assert_allclose(found, wanted, rtol=1e-11)


@pytest.mark.parametrize("offset", [1e8, 1e12])
def test_variances_far_from_zero(rng, offset):
    """The variance of pixels that share many digits is that of their differences, also where the offset changes."""
    near = rng.integers(0, 100, (30, 40)).astype(float)
    wanted = reduced(cpu, near, "var", (5, 7))
    np.testing.assert_allclose(npsubpix.window_var(near + offset, (5, 7)), wanted, rtol=1e-9)
    np.testing.assert_allclose(npsubpix.window_var(near + offset / 3, (5, 7)), wanted, rtol=1e-4)
    stepped = near + offset * (1 + (np.arange(40) > 19))
    np.testing.assert_allclose(npsubpix.window_var(stepped, (5, 7))[:, 24:36], wanted[:, 24:36], rtol=1e-9)


@pytest.mark.parametrize("bad", [1e30, -3.4e38, np.inf])
def test_huge_values_stay_in_their_windows(rng, bad):
    """What a window does not hold changes no bit of it."""
    x = rng.normal(size=(40, 50)).astype(np.float32)
    spoiled = x.copy()
    spoiled[20, 30] = bad
    far = np.ones(x.shape, bool)
    far[16:25, 26:35] = False
    for name in (*MOMENTS, "max", "median"):
        np.testing.assert_array_equal(call(name, spoiled, 9)[..., far], call(name, x, 9)[..., far])


def test_an_infinite_pixel_gives_what_it_gives_on_the_cpu():
    x = np.array([[1.0, 2.0, np.inf, 4.0, 5.0, -np.inf, 1.0]])
    for name in (*MOMENTS, "min", "max", "range"):
        check(x, name, (1, 3), border="nearest")


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u8"])
def test_percentiles_of_pixels_that_differ_in_the_last_bit(rng, dtype):
    """Counting goes down to one value of 32 or 64 bits, of either sign."""
    if dtype[0] == "f":
        x = rng.choice([-1.0, 1.0], (9, 11)).astype(dtype)
        x = np.nextafter(x, rng.choice([-2, 0, 2], x.shape).astype(dtype))
    else:
        x = np.iinfo(dtype).max // 3 * 2 + rng.integers(0, 50, (9, 11)).astype(dtype)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, 3, mode="symmetric"), (7, 7))
    ranks = np.sort(windows.reshape(*x.shape, 49), axis=2)
    for q in (0, 25, 50, 100):
        np.testing.assert_array_equal(npsubpix.window_percentile(x, q, 7, border="reflect"), ranks[..., 48 * q // 100])


@pytest.mark.parametrize("name", ["mean", "max", "var", "median"])
def test_a_grid_smaller_than_the_work(rng, name, monkeypatch):
    """Blocks stride over what a grid of the greatest size leaves, and the result is the same bits."""
    x = rng.normal(size=(150, 170))
    sizes = (5, 9), (3, 3), (1, 2500)[: 1 + (name != "median")] * 2
    before = [call(name, x, size[:2]) for size in sizes]
    monkeypatch.setattr(devices, "MOST_BLOCKS", 2)
    for size, want in zip(sizes, before, strict=True):
        np.testing.assert_array_equal(call(name, x, size[:2]), want)


def test_a_footprint_beside_an_image(rng):
    """As a list, in torch, or of numbers."""
    x = torch.from_numpy(rng.normal(size=(8, 9)))
    want = npsubpix.window_max(x, footprint=[[True, False, True]])
    for footprint in (np.array([[2, 0, 1]]), torch.tensor([[True, False, True]]), torch.tensor([[1, 0, 1]])):
        np.testing.assert_array_equal(npsubpix.window_max(x, footprint=footprint), want)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_sums_and_means_of_integers_as_on_the_cpu(rng, dtype):
    """Sums are the same integers, whatever they are summed in, and means the same floats, to one rounding."""
    info = np.iinfo(dtype)
    x = rng.integers(info.min // 2, info.max // 2, (30, 31), dtype=dtype)
    for size in ((3, 3), (19, 17)):
        check(x, "sum", size)
        found, want = (reduced(module, x, "mean", size) for module in (reductions, cpu))
        assert_same(found, want, within=2 * np.spacing(np.abs(x).max().astype(want.dtype)))
    footprint = rng.random((4, 3)) > 0.3
    found, want = (reduced(module, x, "sum", (4, 3), footprint=footprint) for module in (reductions, cpu))
    assert_same(found, want)
