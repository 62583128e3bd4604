"""Dense quadratic refinement against its definition: every rule of kornia's, on nasty input."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch

import npsubpix
from tests.assertions import assert_library
from tests.reference import quad_interp as reference

BOTH = [npsubpix.iterative_quad_interp3d, npsubpix.conv_quad_interp3d]


def smooth(rng: np.random.Generator, shape: tuple[int, ...], sigma: float = 1.0) -> np.ndarray:
    return ndi.gaussian_filter(rng.standard_normal(shape), sigma)


def bump(centre: tuple[float, float, float], shape: tuple[int, int, int] = (5, 7, 9)) -> np.ndarray:
    """A quadratic whose fit is exact: value 1 at its centre, of (z, y, x)."""
    grid = np.indices(shape) - np.reshape(centre, (3, 1, 1, 1))
    return 1 - 0.05 * (grid[0] ** 2 + 2 * grid[1] ** 2 + grid[2] ** 2 + 0.5 * grid[0] * grid[2])


def moved(volume: np.ndarray, **options: object) -> np.ndarray:
    """Start positions of the maxima that were refined."""
    coords, values = npsubpix.iterative_quad_interp3d(volume[None, None], strict_maxima_bonus=100.0, **options)
    assert coords.shape == (1, 1, 3, *volume.shape)
    return np.argwhere(values[0, 0] - volume > 50)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("sigma", [0.0, 0.7, 1.5])
@pytest.mark.parametrize("depth_steps", [True, False])
def test_definition(rng, sigma, depth_steps):
    """Positions and values of all voxels are those of the slow definition, noisy images included."""
    volume = smooth(rng, (6, 21, 24), sigma)
    want = reference.dense(volume, depth_steps=depth_steps)
    coords, values = npsubpix.iterative_quad_interp3d(volume[None, None], allow_scale_steps=depth_steps)
    np.testing.assert_allclose(coords[0, 0], want[0], atol=1e-9)
    np.testing.assert_allclose(values[0, 0], want[1], atol=1e-9)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_radius(rng, radius):
    """A maximum that moves further than the radius is not refined."""
    volume = smooth(rng, (6, 31, 30), 0.6)
    want = reference.dense(volume, radius=radius, bonus=0.0, threshold=0.3)
    coords, values = npsubpix.conv_quad_interp3d(
        volume[None, None], strict_maxima_bonus=0.0, dilation_radius=radius, max_subpixel_shift=0.3
    )
    np.testing.assert_allclose(coords[0, 0], want[0], atol=1e-9)
    np.testing.assert_allclose(values[0, 0], want[1], atol=1e-9)


@pytest.mark.usefixtures("backend")
def test_both_agree_where_the_radius_does_not_bind(rng):
    volume = smooth(rng, (2, 1, 5, 40, 40), 1.0).astype(np.float32)
    for a, b in zip(BOTH[0](volume), BOTH[1](volume, dilation_radius=9), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("operation", BOTH)
def test_exact_on_a_quadratic(operation):
    """Coordinates come as (scale, x, y), and the value is that of the summit plus the bonus."""
    volume = bump((2.2, 3.4, 4.7))
    coords, values = operation(volume[None, None])
    np.testing.assert_allclose(coords[0, 0, :, 2, 3, 5], [2.2, 4.7, 3.4], atol=1e-12)
    assert values[0, 0, 2, 3, 5] == pytest.approx(11.0, abs=1e-12)
    assert operation(volume[None, None], strict_maxima_bonus=0.0)[1][0, 0, 2, 3, 5] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.usefixtures("backend")
def test_all_that_is_no_maximum_keeps_its_grid(rng):
    volume = smooth(rng, (4, 6, 8))
    coords, values = npsubpix.iterative_quad_interp3d(
        volume[None, None], precomputed_nms_mask=np.zeros((1, 1, 4, 6, 8), bool)
    )
    z, y, x = np.indices(volume.shape)
    np.testing.assert_array_equal(coords[0, 0], [z, x, y])
    np.testing.assert_array_equal(values[0, 0], volume)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("amplitude", [1e-300, 1e-30, 1e-12, 1.0, 1e12, 1e30, 1e300])
def test_amplitude_does_not_matter(rng, amplitude):
    """Responses of 1e-15 or 1e+15 are refined like those of 1: the singular rule is relative."""
    volume = smooth(rng, (5, 20, 20), 0.8)
    base = npsubpix.iterative_quad_interp3d(volume[None, None])[0]
    scaled = npsubpix.iterative_quad_interp3d(amplitude * volume[None, None])[0]
    np.testing.assert_allclose(scaled, base, atol=1e-9)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("amplitude", [1e-36, 1e-12, 1e12, 1e36])
def test_amplitude_float32(rng, amplitude):
    volume = (smooth(rng, (5, 20, 20), 0.8) * amplitude).astype(np.float32)
    want = reference.dense(volume, bonus=0.0)[0]
    np.testing.assert_allclose(npsubpix.iterative_quad_interp3d(volume[None, None])[0][0, 0], want, atol=2e-6)


@pytest.mark.usefixtures("backend")
def test_singular_hessian_is_rejected():
    """A maximum whose curvature vanishes along one direction stays where it is."""
    z, y, x = np.indices((5, 7, 9)) - np.reshape([2, 3, 4], (3, 1, 1, 1))
    ridge = -((x - y) ** 2.0) - z**2 - 1e-9 * (x + y) ** 2  # flat along x + y but for 1e-9
    marked = np.zeros((1, 1, 5, 7, 9), bool)
    marked[0, 0, 2, 3, 4] = True
    assert len(moved(ridge, precomputed_nms_mask=marked)) == 0
    assert len(moved(ridge - 1e-5 * (x + y) ** 2, precomputed_nms_mask=marked)) == 1
    assert len(moved(np.ones((5, 7, 9)), precomputed_nms_mask=marked)) == 0


@pytest.mark.usefixtures("backend")
def test_move_to_the_border_is_rejected():
    """A fit that leads to a voxel without all its neighbours gives the maximum up."""
    volume = bump((2.0, 3.0, 0.3))
    marked = np.zeros((1, 1, *volume.shape), bool)
    marked[0, 0, 2, 3, 1] = True  # the summit is 0.7 to the left: column 0
    assert len(moved(volume, precomputed_nms_mask=marked)) == 0
    assert len(moved(volume, precomputed_nms_mask=marked, max_subpixel_shift=0.8)) == 1


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("operation", BOTH)
def test_marked_border_voxels_are_left_alone(operation, rng):
    volume = smooth(rng, (4, 6, 8))
    coords, values = operation(volume[None, None], precomputed_nms_mask=np.ones((1, 1, 4, 6, 8), bool))
    edge = np.ones(volume.shape, bool)
    edge[1:-1, 1:-1, 1:-1] = False
    np.testing.assert_array_equal(values[0, 0][edge], volume[edge])
    np.testing.assert_array_equal(coords[0, 0, 1][edge], np.indices(volume.shape)[2][edge])


@pytest.mark.usefixtures("backend")
def test_final_shift_above_limit_is_rejected():
    """Without steps along depth a summit 1.4 away is reported, one 1.6 away is not."""
    marked = np.zeros((1, 1, 7, 7, 9), bool)
    marked[0, 0, 2, 3, 4] = True
    for centre, count in ((3.4, 1), (3.6, 0)):
        volume = bump((centre, 3.0, 4.0), (7, 7, 9)) + 0
        grid = np.indices(volume.shape) - np.reshape((centre, 3.0, 4.0), (3, 1, 1, 1))
        volume = 1 - 0.05 * (grid**2).sum(0)
        assert len(moved(volume, precomputed_nms_mask=marked, allow_scale_steps=False)) == count


@pytest.mark.usefixtures("backend")
def test_still_moving_is_rejected():
    """A start three voxels off needs four fits: with three it has not converged."""
    volume = bump((3.0, 3.0, 6.0), (7, 7, 12))
    marked = np.zeros((1, 1, *volume.shape), bool)
    marked[0, 0, 3, 3, 3] = True
    assert len(moved(volume, precomputed_nms_mask=marked, n_iters=4)) == 1
    assert len(moved(volume, precomputed_nms_mask=marked, n_iters=3)) == 0
    assert len(moved(volume, precomputed_nms_mask=marked, n_iters=0)) == 0


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_voxels_reject_their_neighbours_alone(rng, bad):
    volume = smooth(rng, (5, 15, 15), 0.7)
    marked = np.zeros((1, 1, *volume.shape), bool)
    marked[0, 0, 1:-1, 1:-1, 1:-1] = True
    volume[2, 7, 7] = bad
    coords, values = npsubpix.iterative_quad_interp3d(volume[None, None], precomputed_nms_mask=marked)
    assert np.isfinite(coords).all()
    assert np.isfinite(values).sum() == volume.size - 1
    assert (values[0, 0, 1:-1, 1:-1, 1:-1] > 5).any()


@pytest.mark.usefixtures("backend")
def test_most_candidates_an_image(rng):
    """The best of each image are refined, whatever the others hold, and of equal ones the first."""
    volume = smooth(rng, (3, 1, 5, 24, 24), (0, 0, 1, 1, 1))
    volume[1] *= 1e-3
    full = npsubpix.iterative_quad_interp3d(volume, strict_maxima_bonus=100.0)[1]
    some = npsubpix.iterative_quad_interp3d(volume, strict_maxima_bonus=100.0, max_candidates=4)[1]
    for whole, part, image in zip(full, some, volume, strict=True):
        refined = np.argwhere(part - image > 50).tolist()
        maxima = np.argwhere(npsubpix.nms3d(image[None], (3, 3, 3), mask_only=True)[0]).tolist()
        best = sorted(maxima, key=lambda p: -image[tuple(p)])[:4]  # of which some may be rejected
        assert refined == sorted(p for p in best if whole[tuple(p)] - image[tuple(p)] > 50)
        assert len(refined) >= 2
    none = npsubpix.iterative_quad_interp3d(volume, max_candidates=0)
    np.testing.assert_array_equal(none[1], volume)

    ties = np.zeros((1, 1, 3, 9, 9), np.int16)
    ties[0, 0, 1, [2, 2, 6, 6], [2, 6, 2, 6]] = 5
    first = npsubpix.iterative_quad_interp3d(ties, strict_maxima_bonus=100.0, max_candidates=3)[1]
    assert np.argwhere(first > 50)[:, 3:].tolist() == [[2, 2], [2, 6], [6, 2]]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("operation", BOTH)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "uint64", "float16", "float32", "float64"])
def test_dtypes(operation, dtype, rng, wrap):
    """Floats stay what they are, integers become the float that NumPy would make of them."""
    volume = (100 * smooth(rng, (1, 2, 4, 12, 13), (0, 0, 1, 1, 1)) + 60).astype(dtype)
    source = wrap(volume)
    coords, values = operation(source)
    assert_library(coords, source)
    want = volume.dtype if volume.dtype.kind == "f" else np.result_type(volume.dtype, np.float32)
    assert np.asarray(coords).dtype == np.asarray(values).dtype == want
    single = operation(volume.astype(np.float64))
    tolerance = {"float16": 1e-2, "float32": 2e-6}.get(dtype, 2e-6)
    np.testing.assert_allclose(np.asarray(coords, np.float64), single[0], atol=tolerance * 10, rtol=tolerance)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(0, 1, 3, 4, 5), (1, 1, 0, 4, 5), (1, 1, 2, 9, 9), (1, 1, 3, 1, 9), (1, 1, 3, 9, 2)])
@pytest.mark.parametrize("operation", BOTH)
def test_empty_and_narrow(operation, shape):
    coords, values = operation(np.ones(shape, np.float32))
    assert coords.shape == (*shape[:2], 3, *shape[2:])
    assert values.shape == shape
    assert (values == 1).all()


@pytest.mark.usefixtures("backend")
def test_modes(rng):
    """Mode auto is patch on the host; conv ignores max_candidates; patch ignores the radius."""
    volume = smooth(rng, (1, 1, 5, 20, 20), (0, 0, 0.6, 0.6, 0.6))
    patch = npsubpix.iterative_quad_interp3d(volume, max_candidates=3)
    conv = npsubpix.conv_quad_interp3d(volume, dilation_radius=0)
    options = {"max_candidates": 3, "dilation_radius": 0}
    for mode, want in (("auto", patch), ("patch", patch), ("conv", conv)):
        got = npsubpix.AdaptiveQuadInterp3d(mode, **options)(volume)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="mode must be one of 'patch', 'conv', 'auto', got 'fast'"):
        npsubpix.AdaptiveQuadInterp3d("fast")


@pytest.mark.usefixtures("backend")
def test_callables_pass_all_their_options(rng):
    volume = smooth(rng, (1, 1, 5, 20, 20), (0, 0, 0.6, 0.6, 0.6))
    mask = npsubpix.nms3d(volume, (3, 3, 3), mask_only=True)
    options = {"n_iters": 2, "strict_maxima_bonus": 3.0, "max_subpixel_shift": 0.4, "allow_scale_steps": False}
    pairs = [
        (npsubpix.ConvQuadInterp3d(**options, dilation_radius=2), npsubpix.conv_quad_interp3d, {"dilation_radius": 2}),
        (
            npsubpix.IterativeQuadInterp3d(**options, max_candidates=5),
            npsubpix.iterative_quad_interp3d,
            {"max_candidates": 5},
        ),
        (npsubpix.AdaptiveQuadInterp3d("conv", **options), npsubpix.conv_quad_interp3d, {}),
    ]
    for call, function, more in pairs:
        for given in (None, mask):
            want = function(volume, **options, **more, precomputed_nms_mask=given)
            for a, b in zip(call(volume, given), want, strict=True):
                np.testing.assert_array_equal(a, b)
    x = volume[0]
    np.testing.assert_array_equal(npsubpix.NonMaximaSuppression2d((5, 3))(x, True), npsubpix.nms2d(x, (5, 3), True))
    np.testing.assert_array_equal(npsubpix.NonMaximaSuppression3d((3, 5, 3))(volume), npsubpix.nms3d(volume, (3, 5, 3)))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("make", [np.ndarray.tolist, np.asarray, torch.from_numpy])
def test_masks_of_any_kind(rng, wrap, make):
    """A mask need not be of the library of the volume: a list, an array or a tensor marks the same voxels."""
    volume = smooth(rng, (1, 1, 4, 9, 8), (0, 0, 0.6, 0.6, 0.6))
    mask = ndi.binary_dilation(npsubpix.nms3d(volume, (3, 3, 3), mask_only=True))
    want = reference.dense(volume[0, 0], marked=mask[0, 0])
    got = npsubpix.iterative_quad_interp3d(wrap(volume), precomputed_nms_mask=make(mask))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(np.asarray(a)[0, 0], b, atol=1e-9)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("operation", BOTH)
def test_wrong_arguments(operation):
    x = np.zeros((1, 1, 3, 5, 5))
    for bad, error, words in [
        ({"n_iters": -1}, ValueError, "n_iters must be at least 0, got -1"),
        ({"n_iters": 2.5}, TypeError, "n_iters must be an integer"),
        ({"strict_maxima_bonus": np.nan}, ValueError, "strict_maxima_bonus must be finite"),
        ({"strict_maxima_bonus": "10"}, TypeError, "strict_maxima_bonus must be a number"),
        ({"max_subpixel_shift": 0}, ValueError, "max_subpixel_shift must be positive"),
        ({"max_subpixel_shift": np.nan}, ValueError, "max_subpixel_shift must be positive"),
        ({"allow_scale_steps": 1}, TypeError, "allow_scale_steps must be True or False"),
        ({"precomputed_nms_mask": x}, TypeError, "precomputed_nms_mask must be an array of booleans"),
        ({"precomputed_nms_mask": x[0] > 0}, ValueError, "precomputed_nms_mask must have the shape"),
        ({"precomputed_nms_mask": np.ma.masked_array(x > 0, x == 0)}, TypeError, "must have no masked pixels"),
    ]:
        with pytest.raises(error, match=words):
            operation(x, **bad)
    with pytest.raises(ValueError, match="input must have 5 dimensions"):
        operation(x[0])
    with pytest.raises(ValueError, match="dilation_radius must be at least 0"):
        npsubpix.conv_quad_interp3d(x, dilation_radius=-1)
    with pytest.raises(ValueError, match="max_candidates must be at least 0"):
        npsubpix.iterative_quad_interp3d(x, max_candidates=-1)
