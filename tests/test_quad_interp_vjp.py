"""Gradients of dense quadratic refinement: finite differences of its definition, formulas, kornia's autograd."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch

import npsubpix
import npsubpix._dispatch.autograd  # registers the operators
from tests.reference import quad_interp as reference
from tests.test_quad_interp import BOTH, bump, smooth


def pulled(operation, volume: np.ndarray, by_coords: np.ndarray | None, by_values: np.ndarray | None, **options):
    return npsubpix.vjp(operation, volume, **options)[1](by_coords, by_values)["input"]


def weights(rng: np.random.Generator, volume: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Random gradients of a loss by the coordinates and by the values."""
    shape = volume.shape
    return rng.standard_normal((*shape[:2], 3, *shape[2:])), rng.standard_normal(shape)


def spots(rng: np.random.Generator, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Volumes with one wide spot every six rows and columns, each somewhere near the middle of its cell."""
    _, _, depth, height, width = shape
    out = np.zeros(shape)
    for image in out.reshape(-1, depth, height, width):
        for i in range(3, height - 2, 6):
            for j in range(3, width - 2, 6):
                centre = np.add((depth // 2, i, j), rng.uniform(-0.3, 0.3, 3))
                grid = np.indices(image.shape) - centre.reshape(3, 1, 1, 1)
                image += np.exp(-(grid**2).sum(0) / 3)
    return torch.from_numpy(out).to(dtype)


CASES = {
    "maxima": (BOTH[0], {}, {}),
    "bonus": (BOTH[0], {"strict_maxima_bonus": 0.0}, {}),
    "marked": (BOTH[0], {"marked": True}, {}),
    "few fits": (BOTH[0], {"marked": True, "n_iters": 1}, {"n_iters": 1}),
    "no steps along depth": (BOTH[0], {"marked": True, "allow_scale_steps": False}, {"depth_steps": False}),
    "threshold": (BOTH[0], {"marked": True, "max_subpixel_shift": 1.1}, {"threshold": 1.1}),
    "radius 0": (BOTH[1], {"marked": True, "dilation_radius": 0}, {"radius": 0}),
    "radius 1": (BOTH[1], {"marked": True, "dilation_radius": 1}, {"radius": 1}),
}

#: Those that are compared in `make test`: differences at every voxel take seconds.
OFTEN = ("maxima", "bonus", "few fits", "radius 1")


@pytest.mark.parametrize(
    ("operation", "options", "settings"),
    [
        pytest.param(*case, id=name, marks=() if name in OFTEN else pytest.mark.exhaustive)
        for name, case in CASES.items()
    ],
)
def test_gradient_at_every_voxel(rng, operation, options, settings):
    """Training on positions and values follows finite differences of the definition, moved and rejected maxima too."""
    options = dict(options)
    volume = np.stack([smooth(rng, (4, 7, 8), 0.6) for _ in range(2)])[None]
    by_coords, by_values = weights(rng, volume)
    marked = None
    if options.pop("marked", False):  # the maxima, their neighbours, and voxels on the border
        marked = ndi.binary_dilation(npsubpix.nms3d(volume, (3, 3, 3), mask_only=True))
        marked[..., 0, 0] = True
        found = [end for image, marks in zip(volume[0], marked[0], strict=True)
                 for end in reference.fits(image, marks, **settings).items()]  # fmt: skip
        assert {end is None for _, end in found} == {True, False}
        if settings in ({}, {"radius": 1}):
            assert any(end is not None and end[0] != start for start, end in found)
        options["precomputed_nms_mask"] = marked
    grad = pulled(operation, volume, by_coords, by_values, **options)
    for channel in range(2):
        marks = None if marked is None else marked[0, channel]
        want = reference.gradient(volume[0, channel], by_coords[0, channel], by_values[0, channel], marks, **settings)
        np.testing.assert_allclose(grad[0, channel], want, atol=1e-6)


@pytest.mark.usefixtures("backend")
def test_gradient_of_most_candidates(rng):
    """Of maxima beyond the limit of an image, the value has a gradient, and the position none."""
    volume = spots(rng, (2, 1, 3, 13, 13)).numpy()
    volume[1] *= 1e-3  # each image has its own best
    by_coords, by_values = weights(rng, volume)
    grad = pulled(BOTH[0], volume, by_coords, by_values, max_candidates=2)
    for image in range(2):
        x = volume[image, 0]
        maxima = npsubpix.nms3d(volume[image : image + 1], (3, 3, 3), mask_only=True)[0, 0]
        assert maxima.sum() == 4
        best = maxima & (x >= np.sort(x[maxima])[-2])
        want = reference.gradient(x, by_coords[image, 0], by_values[image, 0], best, step=1e-8)
        np.testing.assert_allclose(grad[image, 0], want, atol=1e-4 * np.abs(want).max())


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("start", [(2, 3, 5), (2, 4, 4)])  # where the summit is, and one voxel off
def test_gradient_of_a_quadratic(start):
    """Moving a quadratic bump by a little moves its position by that, and raising it raises its value."""
    centre, shape = np.array([2.2, 3.4, 4.7]), (5, 7, 9)
    volume = bump(centre, shape)
    z, y, x = np.indices(shape) - centre.reshape(3, 1, 1, 1)
    by_centre = 0.05 * np.stack([2 * z + 0.5 * x, 2 * x + 0.5 * z, 4 * y])  # of the volume by z, x, y
    marked = np.zeros((1, 1, *shape), bool)
    marked[(0, 0, *start)] = True
    jacobian = np.empty((4, *shape))
    for k in range(4):
        by_coords, by_values = np.zeros((1, 1, 3, *shape)), np.zeros((1, 1, *shape))
        (by_coords[:, :, k] if k < 3 else by_values)[(0, 0, *start)] = 1
        jacobian[k] = pulled(BOTH[0], volume[None, None], by_coords, by_values, precomputed_nms_mask=marked)[0, 0]
    moves = np.tensordot(jacobian, by_centre, ([1, 2, 3], [1, 2, 3]))
    np.testing.assert_allclose(moves, np.eye(4)[:, :3], atol=1e-12)
    np.testing.assert_allclose(jacobian.sum((1, 2, 3)), [0, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose((jacobian * volume).sum((1, 2, 3)), [0, 0, 0, 1], atol=1e-12)
    assert np.count_nonzero(jacobian[3]) <= 19


@pytest.mark.usefixtures("backend")
def test_gradient_of_a_row():
    """Along one axis the shift is half the difference of the neighbours over their bend, and so are its slopes."""
    grid = np.indices((5, 7, 9)) - np.reshape([2.0, 3.0, 4.2], (3, 1, 1, 1))
    volume = 1 - 0.05 * (grid**2).sum(0)
    by_coords = np.zeros((1, 1, 3, 5, 7, 9))
    by_coords[0, 0, 1, 2, 3, 4] = 1
    grad = pulled(BOTH[0], volume[None, None], by_coords, None)[0, 0, 2, 3, 3:6]
    before, centre, after = volume[2, 3, 3:6]
    bend = before - 2 * centre + after
    shift = (before - after) / (2 * bend)
    np.testing.assert_allclose(grad, np.array([0.5 - shift, 2 * shift, -0.5 - shift]) / bend, atol=1e-12)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("amplitude", [1e-300, 1e-12, 1e12, 1e300])
def test_gradient_of_any_amplitude(rng, amplitude):
    """Positions of faint responses have gradients as steep as they are faint, and values the same as ever."""
    volume = smooth(rng, (1, 1, 5, 16, 16), (0, 0, 0.8, 0.8, 0.8))
    by_coords, by_values = weights(rng, volume)
    for given in ((by_coords, None), (None, by_values)):
        unit = pulled(BOTH[0], volume, *given)
        grad = pulled(BOTH[0], amplitude * volume, *given)
        np.testing.assert_allclose(grad, unit / (amplitude if given[1] is None else 1), rtol=1e-9)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_voxels_do_not_spoil_gradients(rng, bad):
    """A fit that a bad voxel is part of is rejected; the gradient is finite, and far from the voxel as ever."""
    volume = smooth(rng, (1, 1, 5, 12, 30), (0, 0, 0.7, 0.7, 0.7))
    marked = np.ones(volume.shape, bool)
    by_coords, by_values = weights(rng, volume)
    usual = pulled(BOTH[0], volume, by_coords, by_values, precomputed_nms_mask=marked)
    volume[0, 0, 2, 6, 3] = bad
    grad = pulled(BOTH[0], volume, by_coords, by_values, precomputed_nms_mask=marked)
    assert np.isfinite(grad).all()
    np.testing.assert_array_equal(grad[..., 16:], usual[..., 16:])  # a walk ends within 5 voxels
    assert np.abs(grad - by_values)[..., 16:].max() > 1


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("shape", [(0, 1, 3, 4, 5), (1, 0, 3, 4, 5), (1, 1, 0, 4, 5), (1, 1, 2, 9, 9), (2, 1, 3, 9, 2)])
def test_gradient_of_empty_and_narrow(rng, shape):
    volume = rng.standard_normal(shape)
    by_coords, by_values = weights(rng, volume)
    np.testing.assert_array_equal(pulled(BOTH[0], volume, by_coords, by_values), by_values)
    np.testing.assert_array_equal(pulled(BOTH[1], volume, by_coords, None), np.zeros(shape))
    marked = np.ones(shape, bool)
    np.testing.assert_array_equal(pulled(BOTH[0], volume, None, by_values, precomputed_nms_mask=marked), by_values)


def test_same_bits_for_any_number_of_threads(rng, threads):
    """Fits that share voxels are added in one order."""
    volume = rng.standard_normal((2, 1, 6, 20, 30)).astype(np.float32)
    by_coords, by_values = weights(rng, volume)
    marked = np.ones(volume.shape, bool)

    def refined() -> list[np.ndarray]:
        found = [*BOTH[0](volume), *BOTH[1](volume)]
        return [*found, pulled(BOTH[0], volume, by_coords, by_values, precomputed_nms_mask=marked)]

    assert threads(refined) >= {f"quad_interp3d_{name}" for name in ("all", "candidates", "fill", "scatter", "vjp")}


@pytest.mark.exhaustive  # which compiles for other dtypes
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", ["int16", "uint8", "float16", "float32"])
def test_gradient_dtypes(rng, dtype):
    """Through vjp, a gradient is of the dtype of the results, and right to their precision."""
    volume = (100 * spots(rng, (1, 1, 5, 14, 14))).numpy().astype(dtype)
    by_coords, by_values = weights(rng, volume)
    grad = pulled(BOTH[0], volume, by_coords, by_values)
    assert grad.dtype == (dtype if volume.dtype.kind == "f" else np.float32)
    want = pulled(BOTH[0], volume.astype(np.float64), by_coords, by_values)
    assert np.abs(want - by_values).max() > 0.1
    np.testing.assert_allclose(
        grad, want, rtol=2e-3 if dtype == "float16" else 1e-5, atol=1e-3 if dtype == "float16" else 1e-5
    )


@pytest.mark.parametrize("operation", BOTH)
def test_torch_gradients(rng, operation):
    """torch's own check of a gradient: batches, both results, and each of them alone."""
    x = spots(rng, (2, 2, 3, 7, 8)).requires_grad_()
    assert torch.autograd.gradcheck(operation, (x,))
    for k in range(2):
        assert torch.autograd.gradcheck(lambda x, k=k: operation(x)[k], (x,))


@pytest.mark.usefixtures("backend")
def test_torch_registration(rng):
    """What torch requires of an operator that it differentiates and compiles."""
    x = spots(rng, (1, 1, 3, 7, 8)).requires_grad_()
    mask = torch.ones(x.shape, dtype=torch.bool)
    for arguments in ((x, None, 5, 10.0, 0.6, 9, True, None), (x, mask, 2, 0.0, 0.5, 1, False, 3)):
        torch.library.opcheck(torch.ops.npsubpix.quad_interp3d.default, arguments)


@pytest.mark.exhaustive  # torch.compile
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("operation", BOTH)
def test_compiled(rng, operation):
    """Compiled in one graph, results and gradients are the bits of an eager call."""
    x = spots(rng, (1, 2, 4, 13, 13), torch.float32)
    options = {"n_iters": 3, "precomputed_nms_mask": npsubpix.nms3d(x, (3, 3, 3), mask_only=True)}
    if operation is BOTH[0]:
        options["max_candidates"] = 3

    def loss(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        coords, values = operation(2 * x, **options)
        return coords, values, (coords.square().sum(2) * values).sum()

    answers = []
    for run in (loss, torch.compile(loss, fullgraph=True)):
        leaf = x.clone().requires_grad_()
        results = run(leaf)
        results[2].backward()
        answers.append((*results[:2], leaf.grad))
    for a, b in zip(*answers, strict=True):
        assert a.dtype == b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_gradient_of_kornia(rng):
    """Where both refine a maximum, kornia's autograd differentiates the same fit."""
    kornia = pytest.importorskip("kornia")
    volume = torch.from_numpy(smooth(rng, (1, 2, 5, 70, 60), (0, 0, 1, 1.5, 1.5)))
    by_coords, by_values = (torch.from_numpy(w) for w in weights(rng, volume))
    grads, refined = [], []
    for run in (npsubpix.iterative_quad_interp3d, kornia.geometry.subpix.iterative_quad_interp3d):
        x = volume.clone().requires_grad_()
        coords, values = run(x, strict_maxima_bonus=0.0) if run is npsubpix.iterative_quad_interp3d else run(x)
        refined.append(values.detach() != volume)
        torch.autograd.backward((coords, values), (by_coords, by_values))
        grads.append(x.grad)
    assert torch.equal(*refined)
    assert refined[0].sum() > 20
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-9)
