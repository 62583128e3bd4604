"""Gaussians by the kernels of the GPU: launches, and comparisons with the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from npsubpix._cpu import gaussian as cpu
from npsubpix._cuda import gaussian
from npsubpix._cuda.launch import devices
from tests.assertions import assert_same

pytestmark = pytest.mark.usefixtures("cuda_on_host")


def maps_of(size: tuple[int, ...], peak: bool = False) -> dict:
    """Options of one Gaussian per map, in pixels and array order."""
    return {"size": size, "normalized_coordinates": False, "xy": False, "peak": peak}


def spots_of(shape: tuple[int, ...], peak: bool = False, integrate: bool = False) -> dict:
    """Options of many Gaussians in one image."""
    return {"shape": shape, "peak": peak, "integrate": integrate, "truncate": 6.0}


def check(name: str, cotangent: np.ndarray, arrays: tuple[np.ndarray, ...], **options: object) -> None:
    """Results and gradients of an operation are those of the CPU."""
    found, want = (
        (
            *getattr(module, name)(*arrays, **options),
            *getattr(module, f"{name}_vjp")((cotangent,), arrays, (), **options),
        )
        for module in (gaussian, cpu)
    )
    assert_same(found, want, "gaussian")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("peak", [False, True])
@pytest.mark.parametrize("size", [(40,), (60, 90), (1, 7), (5, 17, 33), (1, 9, 8)])
def test_maps_and_gradients_as_on_the_cpu(rng, size, peak, dtype):
    """Maps of several parts; means off the map; standard deviations of one number, or one an axis and map."""
    axes = len(size)
    mean = rng.uniform(-0.3, 1.2, (3, 2, axes)) * np.array(size)
    cotangent = rng.standard_normal((3, 2, *size)).astype(dtype)
    for std in (np.array(1.7), rng.uniform(0.3, 4, (2, 1)), rng.uniform(0.3, 4, (3, 2, axes))):
        check("render_gaussian", cotangent, (mean.astype(dtype), std.astype(dtype)), **maps_of(size, peak=peak))
    if axes == 2:
        unit = rng.uniform(-1.2, 1.2, (3, 2, 2)).astype(dtype)
        options = {**maps_of(size, peak=peak), "normalized_coordinates": True, "xy": True}
        check("render_gaussian", cotangent, (unit, np.full((1, 2), 0.1, dtype)), **options)


@pytest.mark.parametrize("peak", [False, True])
@pytest.mark.parametrize("integrate", [False, True])
@pytest.mark.parametrize("shape", [(200,), (70, 45), (6, 20, 33)])
def test_spots_and_gradients_as_on_the_cpu(rng, shape, integrate, peak):
    """More spots than a block lists at a time; narrow and wide; off the image; bad rows."""
    count, axes = 300, len(shape)
    coords = rng.uniform(-0.1, 1.1, (count, axes)) * np.array(shape)
    coords[5], coords[6] = np.nan, np.inf
    amplitude = rng.uniform(-1, 2, count)
    amplitude[7] = np.nan
    cotangent = rng.standard_normal(shape)
    std = rng.uniform(0.2, 3, (count, axes))
    std[8], std[9] = 1e-9, 3000.0
    for widths, heights in ((np.array(1.3), np.array(2.0)), (std, amplitude), (std[:, :1], amplitude[:1])):
        check("render_spots", cotangent, (coords, widths, heights), **spots_of(shape, peak, integrate))


def test_a_grid_smaller_than_the_work(rng, monkeypatch):
    """Blocks stride over what a grid of the greatest size leaves, and the result is the same bits."""
    coords = rng.uniform(0, 70, (400, 2))
    arrays = coords, np.array(1.5), np.ones(400)
    (image,) = gaussian.render_spots(*arrays, **spots_of((70, 75)))
    maps = gaussian.render_gaussian(coords, np.array(1.5), **maps_of((20, 30)))
    monkeypatch.setattr(devices, "MOST_BLOCKS", 2)
    np.testing.assert_array_equal(gaussian.render_spots(*arrays, **spots_of((70, 75)))[0], image)
    again = gaussian.render_gaussian(coords, np.array(1.5), **maps_of((20, 30)))
    np.testing.assert_array_equal(again[0], maps[0])


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan])
def test_wrong_standard_deviations_on_the_gpu(wrong):
    """The host does not check arrays of them: a map is NaN, and so is the image of a spot."""
    std = np.array([[wrong], [1.0]])
    (maps,) = gaussian.render_gaussian(np.array([[2.0], [3.0]]), std, **maps_of((6,)))
    assert np.isnan(maps[0]).all()
    assert maps[1].sum() == pytest.approx(1)
    (image,) = gaussian.render_spots(np.array([[2.0], [3.0]]), std, np.ones(2), **spots_of((6,)))
    assert np.isnan(image).all()
    with pytest.raises(ValueError, match="std must be positive"):
        gaussian.render_gaussian(np.array([[2.0]]), np.array(wrong), **maps_of((6,)))
    with pytest.raises(ValueError, match="std must be positive and finite"):
        gaussian.render_spots(np.array([[2.0]]), np.array(wrong), np.ones(1), **spots_of((6,)))
