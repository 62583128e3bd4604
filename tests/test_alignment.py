"""Alignment of images whose transforms are known: errors in pixels, error bars, flags."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage as ndi
import torch

import npsubpix
from npsubpix import AlignmentFlags
from npsubpix._cpu import alignment as cpu
from npsubpix._definitions.alignment.gauss_newton import Options
from npsubpix._definitions.alignment.transforms import exponential
from tests.reference import alignment as definition

MATRICES = {
    "translation": [[1, 0, 1.7], [0, 1, -2.1], [0, 0, 1]],
    "euclidean": [[math.cos(0.02), -math.sin(0.02), 1.7], [math.sin(0.02), math.cos(0.02), -2.1], [0, 0, 1]],
    "similarity": [[1.01, -0.02, 1.7], [0.02, 1.01, -2.1], [0, 0, 1]],
    "affine": [[1.01, 0.02, 1.7], [-0.015, 0.99, -2.1], [0, 0, 1]],
    "homography": [[1.01, 0.02, 1.7], [-0.015, 0.99, -2.1], [2e-5, -3e-5, 1]],
}
METHODS = ("inverse_compositional", "forward_additive")


class Texture:
    """A smooth random function of the plane, a sum of waves: its values between pixels are exact."""

    def __init__(self, rng: np.random.Generator, waves: int = 60, shortest: float = 12.0) -> None:
        length = rng.uniform(shortest, 60, waves)
        angle = rng.uniform(0, 2 * math.pi, waves)
        self.k = 2 * math.pi / length * np.array([np.sin(angle), np.cos(angle)])
        self.phase, self.height = rng.uniform(0, 2 * math.pi, waves), rng.uniform(0.5, 1.5, waves)

    def __call__(self, shape: tuple[int, int], matrix: Any = ((1, 0, 0), (0, 1, 0))) -> np.ndarray:
        points = npsubpix.transform_points(np.asarray(matrix, float), np.stack(np.mgrid[: shape[0], : shape[1]], -1))
        waves = np.cos(points @ self.k + self.phase) * self.height
        return np.asarray(waves.sum(-1))


def corner_error(found: np.ndarray, matrix: Any, shape: tuple[int, int]) -> float:
    corners = np.array([[y, x] for y in (0, shape[0] - 1) for x in (0, shape[1] - 1)], float)
    difference = npsubpix.transform_points(found, corners) - npsubpix.transform_points(
        np.asarray(matrix, float), corners
    )
    return float(np.hypot(*difference.T).max())


def pair(rng: np.random.Generator, matrix: Any, shape: tuple[int, int] = (150, 170)) -> tuple[np.ndarray, np.ndarray]:
    """A fixed image, and one in which its content is where the matrix puts it."""
    texture = Texture(rng)
    return texture(shape), texture(shape, np.linalg.inv(np.asarray(matrix, float)))


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("method", "limit"), [("forward_additive", 0.01), ("inverse_compositional", 1.0)])
def test_the_least_sum_of_squares(rng, method, limit):
    """The shift and its error bar are those of a general minimiser.

    The inverse algorithm takes the gradient of the fixed image for that of the moving one, whose noise is another: it
    has as great an error, but not the same.
    """
    fixed, moving = (x + rng.normal(0, 0.02, x.shape) for x in pair(rng, MATRICES["translation"], (70, 80)))
    found = npsubpix.align(fixed, moving, method=method, tol=1e-6, n_iters=100)
    wanted, covariance = definition.shift(fixed, moving, np.array([1.7, -2.1]), margin=4)
    error = np.sqrt(np.diag(covariance))
    assert np.abs(found.shift - wanted).max() < limit * error.min()
    np.testing.assert_allclose(found.shift_std, error, rtol=0.1)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MATRICES)
def test_known_transforms(rng, model, method):
    """A noise-free texture is aligned to a thousandth of a pixel, in every corner."""
    fixed, moving = pair(rng, MATRICES[model])
    result = npsubpix.align(fixed, moving, model=model, method=method)
    assert result.converged
    assert result.flags == 0
    assert corner_error(result.matrix, MATRICES[model], fixed.shape) < 1e-3
    assert 0.8 < result.overlap <= 1
    assert result.rms < 1e-3 * fixed.std()
    assert result.covariance.shape == (len(result.covariance),) * 2


@pytest.mark.parametrize("method", METHODS)
def test_more_than_a_model_can_do_shows_in_the_residuals(rng, method):
    fixed, moving = pair(rng, MATRICES["affine"])
    good = npsubpix.align(fixed, moving, model="affine", method=method)
    assert npsubpix.align(fixed, moving, model="translation", method=method).rms > 20 * good.rms


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", ["translation", "affine"])
def test_error_bars_and_the_bound(model, method):
    """At a given noise, errors are those that the covariance says, and within 1.2 of the Cramer-Rao bound."""
    shape, sigma, trials = (60, 64), 0.3, 60
    texture = Texture(np.random.default_rng(1))
    matrix = np.array([[1, 0, 0.4], [0, 1, -0.3], [0, 0, 1.0]])
    fixed, moving = texture(shape), texture(shape, np.linalg.inv(matrix))
    rng = np.random.default_rng(2)
    errors, said = [], []
    for _ in range(trials):
        noisy = [x + sigma * rng.standard_normal(shape) for x in (fixed, moving)]
        result = npsubpix.align(*noisy, model=model, method=method)
        assert result.converged
        middle = (np.array(shape) - 1) / 2
        moved = npsubpix.transform_points(result.matrix, middle) - middle
        errors.append(moved - [0.4, -0.3])
        places = [0, 1] if model == "translation" else [2, 5]
        said.append(np.sqrt(np.diag(result.covariance))[places])
    found = np.std(errors, 0)
    gy, gx = np.gradient(fixed[1:-1, 1:-1])
    information = np.array([[(gy * gy).sum(), (gy * gx).sum()], [(gy * gx).sum(), (gx * gx).sum()]]) / (2 * sigma**2)
    bound = np.sqrt(np.diag(np.linalg.inv(information)))
    slack = 1 + 2 / math.sqrt(2 * trials)  # of a standard deviation of so many trials
    if model == "translation":
        assert (found < 1.2 * bound * slack).all()
    np.testing.assert_allclose(np.mean(said, 0), found, rtol=0.35)
    # the sum of squares has its minimum nearer to the middle between pixels, as the docstring says
    bias = 0.06 if method == "forward_additive" else 4 * bound.max() / math.sqrt(trials)
    np.testing.assert_allclose(np.mean(errors, 0), 0, atol=bias)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", METHODS)
def test_gain_and_bias(rng, method):
    fixed, moving = pair(rng, MATRICES["euclidean"])
    result = npsubpix.align(fixed, 1.3 * moving + 5, model="euclidean", method=method, gain_bias=True)
    assert corner_error(result.matrix, MATRICES["euclidean"], fixed.shape) < 1e-3
    assert result.gain == pytest.approx(1.3, abs=1e-3)
    assert result.bias == pytest.approx(5, abs=1e-2)
    assert result.covariance.shape == (3, 3)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("loss", ["huber", "tukey"])
def test_outliers_do_less_harm(rng, loss):
    """Something that does not move with the rest pulls least squares, not a robust loss."""
    fixed, moving = pair(rng, MATRICES["translation"])
    fixed[40:75, 40:75] = moving[40:75, 40:75] = rng.uniform(-30, 30, (35, 35))
    plain = npsubpix.align(fixed, moving)
    robust = npsubpix.align(fixed, moving, loss=loss)
    error = corner_error(robust.matrix, MATRICES["translation"], fixed.shape)
    assert error < 0.05
    assert error < 0.2 * corner_error(plain.matrix, MATRICES["translation"], fixed.shape)
    mask = np.zeros(fixed.shape, bool)
    mask[36:79, 36:79] = True
    moving[38:77, 36:79] = np.nan
    masked = npsubpix.align(fixed, moving, mask=mask)
    assert corner_error(masked.matrix, MATRICES["translation"], fixed.shape) < 0.02


@pytest.mark.usefixtures("backend")
def test_pixels_that_are_not_finite_are_left_out(rng):
    fixed, moving = pair(rng, MATRICES["translation"])
    fixed[10:20, 30:40], moving[100, :30], fixed[5, 5] = np.nan, np.inf, -np.inf
    result = npsubpix.align(fixed, moving)
    assert result.converged
    assert corner_error(result.matrix, MATRICES["translation"], fixed.shape) < 0.02


@pytest.mark.usefixtures("backend")
def test_phase_correlation_finds_large_shifts(rng):
    scene = ndi.gaussian_filter(rng.standard_normal((240, 260)), 2)
    fixed, moving = scene[20:170, 60:230], scene[51:201, 20:190]  # what is at (31, -40) more in the first
    result = npsubpix.align(fixed, moving, init="phase_correlation")
    np.testing.assert_allclose(result.matrix[:2, 2], [-31, 40], atol=1e-3)
    assert result.overlap == pytest.approx((119 / 150) * (130 / 170), abs=0.05)
    assert not abs(npsubpix.align(fixed, moving).matrix[0, 2] + 31) < 1


@pytest.mark.usefixtures("backend")
def test_images_of_two_sizes(rng):
    texture = Texture(rng)
    matrix = np.array([[1, 0, 20.25], [0, 1, 30.5], [0, 0, 1]])
    fixed, moving = texture((80, 90), matrix), texture((140, 170))
    result = npsubpix.align(fixed, moving, init=[[1, 0, 19], [0, 1, 31]])
    assert corner_error(result.matrix, matrix, fixed.shape) < 1e-3
    assert result.overlap == pytest.approx(1, abs=0.01)


@pytest.mark.usefixtures("backend")
def test_more_levels_than_the_images_have(rng):
    """The pyramid ends where its images become too small, whatever the caller asks for."""
    fixed, moving = pair(rng, MATRICES["translation"], (70, 61))
    result = npsubpix.align(fixed, moving, levels=20)
    assert result.ok
    assert corner_error(result.matrix, MATRICES["translation"], fixed.shape) < 0.02


def test_a_moving_image_of_too_many_pixels():
    """Kernels of the host count pixels in 32 bits: a larger image is refused, not read at wrong places."""
    huge = np.broadcast_to(np.float32(1), (1 << 16, 1 << 15))
    options = Options("translation", True, None, 30, 1e-6, "least_squares", False)
    with pytest.raises(ValueError, match="moving must have less than 2147483648 pixels, got 2147483648"):
        cpu.align(np.zeros((9, 9)), huge, None, None, init=None, options=options)


@pytest.mark.usefixtures("backend")
@pytest.mark.exhaustive  # which compiles all kernels of a registration for each
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_dtypes(rng, dtype):
    fixed, moving = pair(rng, MATRICES["translation"])
    low = min(fixed.min(), moving.min())
    images = [((x - low) * 3).astype(dtype) for x in (fixed, moving)]
    tolerance = 1e-3 if dtype == "float32" else 2e-2
    assert corner_error(npsubpix.align(*images).matrix, MATRICES["translation"], fixed.shape) < tolerance
    tensors = [torch.from_numpy(x) for x in images]
    np.testing.assert_array_equal(npsubpix.align(*tensors).matrix, npsubpix.align(*images).matrix)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("fixed", "moving", "flag"),
    [
        (np.zeros((40, 40)), np.zeros((40, 40)), AlignmentFlags.NO_TEXTURE),
        (np.full((40, 40), 1e12), np.full((40, 40), 1e12), AlignmentFlags.NO_TEXTURE),
        (np.mgrid[:40, :40][0] * 1.0, np.mgrid[:40, :40][0] * 1.0, AlignmentFlags.NO_TEXTURE),
        (np.full((40, 40), np.nan), np.zeros((40, 40)), AlignmentFlags.NO_OVERLAP),
        (np.zeros((3, 40)), np.zeros((40, 40)), AlignmentFlags.NO_OVERLAP),
        (np.zeros((0, 40)), np.zeros((40, 40)), AlignmentFlags.NO_OVERLAP),
        (np.zeros((1, 1)), np.zeros((1, 1)), AlignmentFlags.NO_OVERLAP),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_aligned_is_flagged(fixed, moving, flag, method):
    result = npsubpix.align(fixed, moving, method=method)
    assert result.flags & flag
    assert not result.converged
    np.testing.assert_allclose(result.matrix, np.eye(3), atol=1e-6)
    assert np.isnan(result.covariance).all()
    for model in MATRICES:
        npsubpix.align(fixed, moving, method=method, model=model, gain_bias=True, loss="tukey")


@pytest.mark.usefixtures("backend")
def test_no_overlap(rng):
    fixed, moving = pair(rng, MATRICES["translation"])
    result = npsubpix.align(fixed, moving, init=[[1, 0, 500], [0, 1, 0]])
    assert result.flags & AlignmentFlags.NO_OVERLAP
    assert result.overlap == 0
    hidden = npsubpix.align(fixed, moving, mask=np.ones(fixed.shape, bool))
    assert hidden.flags & AlignmentFlags.NO_OVERLAP


@pytest.mark.usefixtures("backend")
def test_not_enough_iterations(rng):
    fixed, moving = pair(rng, MATRICES["affine"])
    result = npsubpix.align(fixed, moving, model="affine", n_iters=1, levels=1)
    assert not result.converged
    assert result.flags == AlignmentFlags.NOT_CONVERGED


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("reference", ["first", "previous", "mean"])
def test_drift(rng, reference):
    texture = Texture(rng)
    drift = np.cumsum(rng.uniform(-1, 1, (6, 2)), 0)
    drift -= drift[0]
    movie = np.array([texture((90, 100), [[1, 0, -d[0]], [0, 1, -d[1]], [0, 0, 1]]) for d in drift])
    movie += 0.05 * rng.standard_normal(movie.shape)
    calls: list[tuple[int, int]] = []
    results = npsubpix.align_stack(movie, reference=reference, progress=lambda *a: calls.append(a))
    shifts = np.array([r.matrix[:2, 2] for r in results])
    np.testing.assert_allclose(shifts - shifts[0], drift, atol=0.01)
    total = 12 if reference == "mean" else 6
    assert calls == [(k + 1, total) for k in range(total)]


def test_a_bad_frame_does_not_stop_the_rest(rng):
    texture = Texture(rng)
    movie = [texture((70, 70), [[1, 0, -k / 2], [0, 1, 0], [0, 0, 1]]) for k in range(4)]
    movie[2] = np.full((70, 70), np.nan)
    for reference in ("first", "previous", "mean"):
        results = npsubpix.align_stack(movie, reference=reference)
        assert results[2].flags & AlignmentFlags.NO_OVERLAP
        assert results[1].matrix[0, 2] - results[0].matrix[0, 2] == pytest.approx(0.5, abs=1e-2)
    assert results[3].matrix[0, 2] - results[0].matrix[0, 2] == pytest.approx(1.5, abs=1e-2)


def test_photographs_with_known_shifts():
    """A camera's box pixels: shifts of eighths of a pixel, with aliasing, of a smoothed texture."""
    rng = np.random.default_rng(5)
    scene = ndi.gaussian_filter(rng.standard_normal((496 + 8, 496 + 8)), 10)

    def photograph(a: int, b: int) -> np.ndarray:
        return np.asarray(scene[b : b + 496, a : a + 496].reshape(62, 8, 62, 8).mean((1, 3)))

    for a, b in ((3, 5), (7, 1)):
        result = npsubpix.align(photograph(0, 0), photograph(a, b))
        np.testing.assert_allclose(result.matrix[:2, 2], [-b / 8, -a / 8], atol=2e-3)


def test_exponential(rng):
    for size in (1e-9, 0.1, 3.0, 40.0):
        m = size * rng.standard_normal((3, 3))
        np.testing.assert_allclose(exponential(m), scipy.linalg.expm(m), rtol=1e-9, atol=1e-15)


BAD = [
    (((4, 5, 6), (4, 5)), {}, ValueError, r"fixed must have shape \(H, W\), got \(4, 5, 6\): use align_stack"),
    (((9, 9), (9,)), {}, ValueError, r"moving must have shape \(H, W\)"),
    (((9, 9), (9, 9)), {"model": "rigid"}, ValueError, "model must be one of"),
    (((9, 9), (9, 9)), {"method": "lk"}, ValueError, "method must be one of"),
    (((9, 9), (9, 9)), {"loss": "l1"}, ValueError, "loss must be one of"),
    (((9, 9), (9, 9)), {"levels": 0}, ValueError, "levels must be at least 1"),
    (((9, 9), (9, 9)), {"n_iters": 1.5}, TypeError, "n_iters must be an integer"),
    (((9, 9), (9, 9)), {"tol": 0}, ValueError, "tol must be positive"),
    (((9, 9), (9, 9)), {"mask": np.zeros((9, 8), bool)}, ValueError, "mask must have the shape"),
    (((9, 9), (9, 9)), {"mask": np.zeros((9, 9))}, TypeError, "mask must be an array of booleans"),
    (((9, 9), (9, 9)), {"init": "fourier"}, ValueError, "init must be one of"),
    (((9, 9), (9, 9)), {"init": np.eye(4)}, ValueError, "init must be a matrix"),
    (((9, 9), (9, 9)), {"init": np.zeros((3, 3))}, ValueError, "init must be a finite matrix with an inverse"),
]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(("shapes", "options", "error", "match"), BAD)
def test_misuse(shapes, options, error, match):
    with pytest.raises(error, match=match):
        npsubpix.align(np.zeros(shapes[0]), np.zeros(shapes[1]), **options)


def test_misuse_of_stacks():
    with pytest.raises(ValueError, match="images must hold at least one image"):
        npsubpix.align_stack([])
    with pytest.raises(ValueError, match="images must have one shape"):
        npsubpix.align_stack([np.zeros((9, 9)), np.zeros((9, 8))])
    with pytest.raises(ValueError, match="reference must be one of"):
        npsubpix.align_stack(np.zeros((2, 9, 9)), reference="last")


def ramp_with_texture(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A texture on a steep ramp, on which a filled pixel is far from its neighbours unless it is filled well."""
    return 3 * (np.sin(y / 5) * np.cos(x / 7) + np.sin((x + y) / 9)) + 0.5 * (2 * y + x)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("where", ["fixed", "moving", "mask"])
@pytest.mark.parametrize("part", [0.001, 0.03])
def test_dead_pixels_do_no_harm(rng, method, where, part):
    """Neighbours of dead or masked pixels are not drawn to what stands in for them."""
    y, x = np.mgrid[:128, :128].astype(float)
    fixed, moving = ramp_with_texture(y, x), ramp_with_texture(y - 1.25, x + 0.5)
    dead = rng.random(fixed.shape) < part
    options = {}
    if where == "mask":
        fixed = np.where(dead, fixed.mean(), fixed)
        options["mask"] = dead
    elif where == "fixed":
        fixed = np.where(dead, np.nan, fixed)
    else:
        moving = np.where(dead, np.nan, moving)
    result = npsubpix.align(fixed, moving, method=method, **options)
    assert result.converged
    assert not result.flags
    np.testing.assert_allclose(result.matrix[:2, 2], (1.25, -0.5), atol=5e-3)


@pytest.mark.usefixtures("backend")
def test_phase_correlation_sees_no_dead_pixels(rng):
    """Dead pixels at the same places of both images say nothing about the shift."""
    big = npsubpix.render_spots(rng.uniform(0, 256, (700, 2)), (256, 256), std=1.0)
    fixed, moving = big[40:168, 40:168] + 50, big[25:153, 60:188] + 50
    dead = np.zeros(fixed.shape, bool)
    dead[60, 20] = dead[64, 90:94] = dead[10:14, 64] = True
    dead[:6] = True
    fixed[dead] = moving[dead] = np.nan
    result = npsubpix.align(fixed, moving, init="phase_correlation")
    np.testing.assert_allclose(result.matrix[:2, 2], (15, -20), atol=0.01)


@pytest.mark.parametrize("reference", ["first", "previous", "mean"])
def test_frames_of_noise_are_no_error(rng, reference):
    """A frame that fits nothing may end with any matrix; the next one begins with one that has an inverse."""
    stack = [rng.normal(size=(20, 20)) for _ in range(12)]
    assert len(npsubpix.align_stack(stack, reference=reference, model="homography", gain_bias=True)) == 12


def test_a_chain_goes_around_a_bad_frame(rng):
    """The frame after a bad one is aligned to the one before it."""
    texture = Texture(rng)
    shifts = [(0.6 * k, -0.3 * k) for k in range(6)]
    stack = [texture((80, 90), [[1, 0, -y], [0, 1, -x]]) for y, x in shifts]
    stack[2] = np.zeros_like(stack[2])
    results = npsubpix.align_stack(stack, reference="previous")
    assert [bool(r.flags) for r in results] == [False, False, True, False, False, False]
    for k in (0, 1, 3, 4, 5):
        np.testing.assert_allclose(results[k].matrix[:2, 2], shifts[k], atol=2e-3)
        assert np.isfinite(results[k].covariance).all()


def test_same_bits_for_any_number_of_threads(rng, threads):
    fixed, moving = pair(rng, MATRICES["translation"], (70, 90))

    def align() -> list[np.ndarray]:
        results = [npsubpix.align(fixed, moving, method=method) for method in METHODS]
        return [array for r in results for array in (r.matrix, r.covariance)]

    assert threads(align) >= {"normal_equations_forward", "normal_equations_inverse"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("model", "init"),
    [
        ("translation", [[0.99, -0.1, 3], [0.1, 0.99, 1]]),
        ("euclidean", [[1.1, 0, 0], [0, 1.1, 0]]),
        ("affine", [[1, 0, 0], [0, 1, 0], [1e-3, 0, 1]]),
    ],
)
def test_a_model_must_hold_where_it_begins(model, init, method):
    image = np.random.default_rng(0).normal(size=(40, 50))
    with pytest.raises(ValueError, match=f"init must be a matrix of the model '{model}'"):
        npsubpix.align(image, image, model=model, init=init, method=method)


def test_overlap(rng):
    """An image on itself overlaps fully, and on a half of itself by a half."""
    image = Texture(rng)((100, 100))
    assert npsubpix.align(image, image).overlap == 1
    assert abs(npsubpix.align(image, image[:, 46:], init=[[1, 0, 0], [0, 1, -46]]).overlap - 0.5) < 0.02


@pytest.mark.parametrize("angle", [0.02, 0.3, 1.2])
def test_turned_images(rng, angle):
    """Rows that follow the pixels for long, for short, and not at all."""
    middle = np.array([75.0, 85.0])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = turn, middle - turn @ middle + [0.3, -0.6]
    fixed, moving = pair(rng, matrix)
    start = matrix.copy()
    start[:2, 2] += [0.8, -0.5]
    for method in METHODS:
        result = npsubpix.align(fixed, moving, model="euclidean", init=start, method=method)
        assert corner_error(result.matrix, matrix, fixed.shape) < 2e-3


@pytest.mark.parametrize(("peak", "noise"), [(15, 3), (60, 3)])
def test_error_bars_of_spots(peak, noise):
    """Spots at 5 and 20 times the noise, where the noise's own gradient is as strong as theirs, and where it is not."""
    z = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        spots, shift = rng.uniform(6, 122, (60, 2)), np.array([0.37, -0.62])
        images = [
            npsubpix.render_spots(p, (128, 128), std=1.5, amplitude=peak * 2 * math.pi * 1.5**2)
            + rng.normal(0, noise, (128, 128))
            for p in (spots, spots + shift)
        ]
        result = npsubpix.align(*images)
        assert result.ok
        z.append((result.shift - shift) / result.shift_std)
    assert 0.9 < np.sqrt(np.mean(np.square(z))) < 1.15


def test_noise_alone_is_flagged(rng):
    for method in METHODS:
        result = npsubpix.align(*rng.normal(size=(2, 100, 100)), method=method)
        assert not result.ok
        assert np.isnan(result.covariance).all()


def test_shift_angle_and_scale(rng):
    """They are about the centre of the fixed image, whatever the matrix does to its first pixel."""
    shape, angle, scale, shift = (150, 170), 0.03, 1.02, np.array([1.25, -0.75])
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = np.array([74.5, 84.5])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = turn, centre + shift - turn @ centre
    fixed, moving = pair(rng, matrix, shape)
    for model in ("similarity", "affine", "homography"):
        result = npsubpix.align(fixed, moving, model=model)
        np.testing.assert_allclose(result.shift, shift, atol=1e-3)
        assert result.angle == pytest.approx(angle, abs=1e-5)
        assert result.scale == pytest.approx(scale, abs=1e-5)
        assert repr(result).startswith("Alignment(shift=(1.2")
    noisy = [image + rng.normal(0, 1, shape) for image in (fixed, moving)]
    errors = [npsubpix.align(*noisy, model=model).shift_std for model in ("translation", "similarity", "affine")]
    np.testing.assert_allclose(
        errors[1], errors[2], rtol=0.2
    )  # the other parameters hardly touch the shift of a centre
