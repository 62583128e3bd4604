"""Coefficients of splines know what they are of; positions of kornia's functions in `grid_sample`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import npsubpix
from npsubpix import GradientAdaptive
from npsubpix._arrays.notes import with_note
from npsubpix.sampling.coefficients import Filtered, check_coefficients


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(12,), (9, 11)])
def test_defaults_fit(rng, shape):
    """Filtered first or not, samples are the same, also at the border, and pixels are kept."""
    image = rng.standard_normal(shape)
    coords = np.indices(shape).reshape(len(shape), -1)
    found = npsubpix.sample(npsubpix.spline_filter(image), coords, method="bspline3", prefilter=False)
    np.testing.assert_allclose(found, image.ravel(), atol=1e-12)
    apart = coords + rng.uniform(-2, 2, coords.shape)
    found = npsubpix.sample(npsubpix.spline_filter(image), apart, method="bspline3", prefilter=False)
    np.testing.assert_allclose(found, npsubpix.sample(image, apart, method="bspline3"), atol=1e-12)


@pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy])
def test_a_mismatch_is_an_error(rng, wrap):
    image, coords = wrap(rng.standard_normal((9, 11))), wrap(rng.uniform(0, 8, (2, 20)))
    mirrored = npsubpix.spline_filter(image, mode="mirror")
    options = {"method": "bspline3", "prefilter": False}
    match = r"spline_filter computed with mode='mirror', got 'reflect': pass mode='reflect' to spline_filter"
    with pytest.raises(ValueError, match=match):
        npsubpix.sample(mirrored, coords, **options)
    with pytest.raises(ValueError, match="mode must be that of the coefficients"):
        npsubpix.sample_with_gradient(npsubpix.spline_filter(image), coords, mode="grid-wrap", **options)
    with pytest.raises(ValueError, match="mode must be that of the coefficients"):
        npsubpix.warp(npsubpix.spline_filter(image), np.eye(3), **options)
    with pytest.raises(ValueError, match="method must be 'bspline3' for coefficients from spline_filter of order 3"):
        npsubpix.sample(mirrored, coords, method="bspline5", mode="mirror", prefilter=False)
    with pytest.raises(ValueError, match="method must be 'bspline3'"):
        npsubpix.sample(mirrored, coords, method=GradientAdaptive(1, "bspline2"), mode="mirror", prefilter=False)
    with pytest.raises(ValueError, match="image holds coefficients from spline_filter: pass prefilter=False"):
        npsubpix.sample(mirrored, coords, method="bspline3", mode="mirror")
    for mode in ("mirror", "constant", "wrap"):  # for all of which the filter is the same
        npsubpix.sample(mirrored, coords, mode=mode, **options)
    npsubpix.sample(mirrored, coords, method="linear")  # interpolates the coefficients, and says so


@pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy])
def test_views_of_coefficients_are_known(rng, wrap):
    """Of an array that is alive, or not any more; not copies, nor what is computed from them."""
    stack, coords = wrap(rng.standard_normal((3, 9, 11))), wrap(rng.uniform(0, 8, (2, 20)))
    mirrored = npsubpix.spline_filter(stack, mode="mirror", channel_axis=0)
    flipped = npsubpix.spline_filter(stack, mode="mirror", channel_axis=0).swapaxes(1, 2)
    views = [mirrored[0], mirrored[:, 1:, ::2][1], mirrored.reshape(27, 11), mirrored.swapaxes(1, 2)[2], flipped[0]]
    if isinstance(mirrored, torch.Tensor):
        views += [mirrored.detach()[0], mirrored.numpy()[0], mirrored.view(9, 33)]
    for view in views:
        points = coords if isinstance(view, torch.Tensor) else np.asarray(coords)
        with pytest.raises(ValueError, match="mode must be that of the coefficients"):
            npsubpix.sample(view, points, method="bspline3", prefilter=False)
        with pytest.raises(ValueError, match="image holds coefficients from spline_filter"):
            npsubpix.sample(view, points, method="bspline3", mode="mirror")
        npsubpix.sample(view, points, method="bspline3", mode="mirror", prefilter=False)
    for other in (mirrored[0] + 0, 2 * mirrored[0], stack[0]):
        npsubpix.sample(other, coords, method="bspline3", prefilter=False)


def test_an_array_in_the_memory_of_coefficients_is_none(rng):
    """What is known of an array ends with it, and does not go over to the next one at its address."""
    options = {"method": "bspline3", "mode": "reflect", "prefilter": True}
    addresses = set()
    for _ in range(50):
        coefficients = with_note(rng.standard_normal((9, 11)), Filtered(3, "mirror"))
        with pytest.raises(ValueError, match="image holds coefficients"):
            check_coefficients(coefficients, options)
        addresses.add(id(coefficients))
        del coefficients
        image = rng.standard_normal((9, 11))
        check_coefficients(image, options)
        addresses.add(id(image))
    assert len(addresses) < 50  # so that addresses were used again


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(24, 32), (7, 5)])
def test_features_at_the_positions_of_kornia(rng, shape):
    """A map of the coordinates themselves gives the position in pixels back, with aligned corners."""
    heat_maps = 5 * rng.standard_normal((2, 6, *shape))
    in_pixels = npsubpix.spatial_soft_argmax2d(heat_maps, normalized_coordinates=False)
    features = np.broadcast_to(np.indices(shape, float)[::-1], (2, 2, *shape))  # x, y
    grid = npsubpix.spatial_soft_argmax2d(heat_maps)[:, :, None]
    found = npsubpix.grid_sample(features, grid, align_corners=True)[..., 0]
    np.testing.assert_allclose(found.swapaxes(1, 2), in_pixels, atol=1e-10)
    textures = rng.standard_normal((2, 3, *shape))
    found = npsubpix.grid_sample(textures, grid, align_corners=True)[..., 0]
    for k in range(2):
        wanted = npsubpix.sample(textures[k], in_pixels[k, :, ::-1].T, method="linear", channel_axis=0)
        np.testing.assert_allclose(found[k], wanted, atol=1e-10)
    theirs = torch.nn.functional.grid_sample(
        torch.from_numpy(textures), torch.from_numpy(np.ascontiguousarray(grid)), align_corners=True
    )
    np.testing.assert_allclose(found, theirs[..., 0], atol=1e-10)
