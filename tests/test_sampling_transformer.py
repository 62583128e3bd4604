"""grid_sample and affine_grid against torch, warp and transform_points against scikit-image and OpenCV."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch
import torch.nn.functional as F

import npsubpix
from npsubpix import GradientAdaptive, Nearest, WeightedNearest

THETA2 = torch.tensor([[[0.8, 0.3, 0.1], [-0.2, 1.1, -0.3]], [[1.3, 0.0, 0.0], [0.1, 1.4, 0.2]]], dtype=torch.float64)
THETA3 = torch.tensor([[[0.8, 0.3, 0.1, 0.1], [-0.2, 1.1, -0.3, 0.0], [0.1, 0.2, 1.2, -0.1]]], dtype=torch.float64)


@pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid behavior has changed")
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(("theta", "size"), [(THETA2, (2, 3, 5, 7)), (THETA2, (2, 1, 1, 4)), (THETA3, (1, 2, 4, 5, 6))])
def test_affine_grid(theta, size, aligned):
    want = F.affine_grid(theta, list(size), align_corners=aligned)
    np.testing.assert_allclose(npsubpix.affine_grid(theta.numpy(), size, aligned), want, atol=1e-14)
    assert torch.equal(npsubpix.affine_grid(theta, size, aligned), want)
    low = npsubpix.affine_grid(theta.numpy().astype("float32"), size, aligned)
    assert low.dtype == np.float32
    np.testing.assert_allclose(low, want, atol=1e-6)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize(
    ("mode", "shape"),
    [
        ("bilinear", (2, 3, 8, 9)),
        ("bilinear", (1, 2, 5, 6, 7)),
        *(pytest.param(m, (2, 3, 8, 9), marks=pytest.mark.exhaustive) for m in ("nearest", "bicubic")),
        pytest.param("nearest", (1, 2, 5, 6, 7), marks=pytest.mark.exhaustive),
    ],
)
def test_grid_sample(rng, mode, shape, padding, aligned):
    x = torch.from_numpy(rng.standard_normal(shape))
    axes = len(shape) - 2
    grid = torch.from_numpy(rng.uniform(-1.7, 1.7, (shape[0], *(6, 5, 4)[:axes], axes)))
    want = F.grid_sample(x, grid, mode, padding, aligned)
    np.testing.assert_allclose(npsubpix.grid_sample(x.numpy(), grid.numpy(), mode, padding, aligned), want, atol=1e-12)
    for t in (x, grid):
        t.requires_grad_()
    seed = torch.from_numpy(rng.standard_normal(want.shape))
    expected = torch.autograd.grad(F.grid_sample(x, grid, mode, padding, aligned), (x, grid), seed)
    got = torch.autograd.grad(npsubpix.grid_sample(x, grid, mode, padding, aligned), (x, grid), seed)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)


def test_defaults_are_those_of_torch(rng):
    x, grid = rng.standard_normal((1, 1, 5, 5)), rng.uniform(-1.5, 1.5, (1, 4, 4, 2))
    want = F.grid_sample(torch.from_numpy(x), torch.from_numpy(grid), align_corners=False)
    np.testing.assert_allclose(npsubpix.grid_sample(x, grid), want, atol=1e-13)


@pytest.mark.exhaustive  # which compiles for these options alone
def test_ties_go_to_even():
    x = np.arange(5.0).reshape(1, 1, 1, 5)
    columns = np.array([0.5, 1.5, 2.5, 3.5])
    grid = np.stack([columns / 2 - 1, 0 * columns], -1)[None, None]
    want = F.grid_sample(torch.from_numpy(x), torch.from_numpy(grid), "nearest", align_corners=True)
    np.testing.assert_array_equal(npsubpix.grid_sample(x, grid, "nearest", align_corners=True), want)
    np.testing.assert_array_equal(want.ravel(), [0, 2, 2, 4])


EVERY = {
    "linear": "linear",
    "catmull_rom": "catmull_rom",
    "bspline3": "bspline3",
    "lanczos3": "lanczos3",
    "nearest": Nearest(),
    "gaussian": WeightedNearest("gaussian"),
    "adaptive": GradientAdaptive(1.0),
}


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("mode", EVERY.values(), ids=EVERY)
def test_every_method_is_a_mode(rng, mode):
    x, grid = rng.standard_normal((2, 3, 9, 8)), rng.uniform(-0.9, 0.9, (2, 4, 4, 2))
    got = npsubpix.grid_sample(x, grid, mode, "reflection", True)
    for n in range(2):
        coords = np.stack([(grid[n, ..., 1] + 1) / 2 * 8, (grid[n, ..., 0] + 1) / 2 * 7])
        want = npsubpix.sample(x[n], coords, method=mode, mode="mirror", channel_axis=0)
        np.testing.assert_allclose(got[n], want, atol=1e-12)


def test_a_transformer_learns_with_an_integer_kernel():
    """A shift is found by gradient descent through nearest pixels, with the surrogate that was asked for."""
    y, x = np.mgrid[:32, :32]
    image = torch.from_numpy(np.exp(-((y - 15.0) ** 2 + (x - 15.0) ** 2) / 60)[None, None])
    target = torch.from_numpy(np.exp(-((y - 13.0) ** 2 + (x - 18.0) ** 2) / 60)[None, None])
    shift = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([shift], 0.02)
    eye = torch.eye(2, dtype=torch.float64)
    for _ in range(150):
        optimizer.zero_grad()
        grid = npsubpix.affine_grid(torch.cat([eye, shift[:, None]], 1)[None], (1, 1, 32, 32))
        loss = (npsubpix.grid_sample(image, grid, Nearest(surrogate="linear")) - target).square().mean()
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(shift.detach() * 16, [-3, 2], atol=0.3)  # the content moves the other way
    still = torch.zeros(1, 2, 3, dtype=torch.float64, requires_grad=True)
    npsubpix.grid_sample(image, npsubpix.affine_grid(still, (1, 1, 4, 4)), Nearest()).sum().backward()
    assert (still.grad == 0).all()


def test_warp_is_affine_transform(rng):
    image = rng.standard_normal((20, 24))
    matrix = np.array([[0.9, 0.2, 1.5], [-0.1, 1.1, -0.7]])
    for order, method in ((0, "nearest"), (1, "linear"), (3, "bspline3")):
        want = ndi.affine_transform(image, np.vstack([matrix, [0, 0, 1]]), output_shape=(15, 18), order=order, cval=-2)
        np.testing.assert_allclose(npsubpix.warp(image, matrix, (15, 18), method=method, cval=-2), want, atol=1e-9)
    volume = rng.standard_normal((6, 7, 8))
    matrix = np.hstack([np.eye(3) + 0.1 * rng.standard_normal((3, 3)), [[0.5], [0.2], [-0.3]]])
    want = ndi.affine_transform(volume, matrix[:, :3], matrix[:, 3], order=1)
    np.testing.assert_allclose(npsubpix.warp(volume, matrix), want, atol=1e-12)


def test_warp_by_every_kind_of_transform(rng):
    image = rng.standard_normal((12, 13, 3))
    homography = np.array([[1.1, 0.1, -0.5], [0.0, 0.9, 0.4], [0.004, 0.002, 1.0]])
    want = npsubpix.warp(image, homography, channel_axis=-1)
    by_function = npsubpix.warp(image, lambda p: npsubpix.transform_points(homography, p), channel_axis=-1)
    np.testing.assert_allclose(by_function, want)
    pixels = np.stack(np.mgrid[:12, :13], -1).astype(float)
    field = np.moveaxis(npsubpix.transform_points(homography, pixels), -1, 0)
    np.testing.assert_allclose(npsubpix.warp(image, field, channel_axis=-1), want)
    first = npsubpix.warp(np.moveaxis(image, -1, 0), homography, channel_axis=0)
    np.testing.assert_allclose(np.moveaxis(first, 0, -1), want)
    tensor = torch.from_numpy(image).requires_grad_()
    warped = npsubpix.warp(tensor, homography, channel_axis=-1)
    np.testing.assert_allclose(warped.detach(), want, atol=1e-12)
    warped.sum().backward()
    assert tensor.grad.shape == image.shape
    learned = torch.from_numpy(homography).requires_grad_()
    npsubpix.warp(torch.from_numpy(image), learned, channel_axis=-1).square().sum().backward()
    assert learned.grad.abs().min() > 0


def test_singular_matrices_are_no_error(rng):
    image = rng.standard_normal((8, 9))
    flat = npsubpix.warp(image, np.array([[0, 0, 3], [0, 1, 0]]))
    np.testing.assert_allclose(flat, image[[3]].repeat(8, 0))
    assert np.isnan(npsubpix.warp(image, np.zeros((3, 3)))).all()


def test_points_of_any_shape(rng):
    matrix = np.array([[1.0, 0.2, 3.0], [-0.1, 0.9, 1.0], [0.01, 0.02, 1.0]])
    points = rng.uniform(0, 50, (4, 5, 2))
    got = npsubpix.transform_points(matrix, points)
    for index in itertools.product(range(4), range(5)):
        h = matrix @ [*points[index], 1]
        np.testing.assert_allclose(got[index], h[:2] / h[2])
        np.testing.assert_allclose(npsubpix.transform_points(matrix, points[index]), h[:2] / h[2])
    np.testing.assert_allclose(npsubpix.transform_points(matrix, points[0]), got[0])
    assert npsubpix.transform_points(matrix, np.empty((0, 2))).shape == (0, 2)
    assert npsubpix.transform_points(matrix.tolist(), [1, 2]).dtype == np.float64
    assert npsubpix.transform_points(matrix, np.ones(2, np.float32)).dtype == np.float32
    moved = npsubpix.transform_points([[1, 0, 0], [0, 1, 0], [1, 0, 0]], [[0, 1], [2, 4]])
    np.testing.assert_array_equal(moved, [[np.nan, np.inf], [1, 2]])
    np.testing.assert_allclose(npsubpix.transform_points(np.eye(3, 4) * 2, [1, 2, 3]), [2, 4, 6])


BAD = [
    (lambda x: npsubpix.warp(x, np.eye(4)), "transform must be a matrix of shape"),
    (lambda x: npsubpix.warp(x, np.eye(3), (4,)), "output_shape must hold 2 integers"),
    (lambda x: npsubpix.warp(x, np.zeros((3, 4, 5))), r"a field of positions must have shape \(2, \*output_shape\)"),
    (lambda x: npsubpix.warp(x, np.zeros((2, 4, 5)), (3, 3)), r"must have shape \(2, 3, 3\)"),
    (lambda x: npsubpix.warp(x, lambda p: p[0]), "transform must return points of shape"),
    (lambda x: npsubpix.warp(x[0], np.eye(3)), "image must have 2 or 3 dimensions"),
    (lambda x: npsubpix.transform_points(np.eye(3), x), r"points must have shape \(\.\.\., 2\)"),
    (lambda x: npsubpix.transform_points(np.eye(5), x), "matrix must have shape"),
    (lambda x: npsubpix.grid_sample(x, x), "input must have shape"),
    (lambda x: npsubpix.grid_sample(x[None, None], x), "grid must have shape"),
    (lambda x: npsubpix.grid_sample(x[None, None], np.zeros((1, 2, 3))), "grid must have shape"),
    (lambda x: npsubpix.grid_sample(x[None, None], np.zeros((1, 2, 2)), "cubic"), "mode must be one of"),
    (lambda x: npsubpix.grid_sample(x[None, None], np.zeros((1, 2, 2)), padding_mode="wrap"), "padding_mode must be"),
    (lambda x: npsubpix.affine_grid(x[None, :2, :3], (2, 1, 4, 4)), r"theta must have shape \(2, 2, 3\)"),
    (lambda x: npsubpix.affine_grid(x[None, :2, :3], (4, 4)), "size must be"),
]


@pytest.mark.parametrize(("call", "match"), BAD)
def test_misuse(call, match):
    with pytest.raises(ValueError, match=match):
        call(np.zeros((6, 7)))
