"""Fits by the kernels of the GPU: compared with the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix._cpu import fitting as cpu
from npsubpix._cuda import fitting
from npsubpix._definitions.fitting import ESTIMATORS, Fit, Model
from tests.spot_models import ALL_MODELS, numbers_of

pytestmark = pytest.mark.usefixtures("host_device")

#: Kernels of models take seconds to compile: one stands for all.
EXHAUSTIVE = [pytest.mark.exhaustive]

#: A plane is added by one function for Gaussians along the axes of images, one for volumes, and one for all others.
WITH_PLANES = {"gaussian2d_free_plane", "gaussian3d_free_plane", "psf2d_fixed_plane"}


def fit_of(model: Model, estimator: str, sigma: float, whole: bool = False) -> Fit:
    """Options of a fit in boxes of nine pixels."""
    return Fit(
        model, estimator, (sigma,) * model.axes, (9,) * model.axes, 50, 1.5, whole, covariance=True,
        numbers=numbers_of(model),
    )  # fmt: skip


def check(arrays: tuple, fit: Fit) -> None:
    """Columns are those of the CPU, but for rounding, and flags and numbers of iterations the same.

    Rounding decides whether a spot that is hardly determined takes a last, small step. So a row may also be that of the
    CPU for pixels whose last digits differ, as near as for the pixels themselves.
    """
    stack, *others = arrays
    found, want = (module.fit_spots(*arrays, fit=fit) for module in (fitting, cpu))
    differing = np.zeros(len(want[0]), bool)
    for a, b in zip(found, want, strict=True):
        if a is None or b is None:
            assert a is b
            continue
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        differing |= ~_same_rows(a, b)
    rows = np.flatnonzero(differing)
    for change in (1e-14, -1e-14) if stack.dtype == np.float64 else ():
        nudged = cpu.fit_spots(stack * (1 + change), *others, fit=fit)
        same = [_same_rows(a[rows], b[rows]) for a, b in zip(found, nudged, strict=True) if a is not None]
        rows = rows[~np.all(same, axis=0)]
    for k, (a, b) in enumerate(zip(found, want, strict=True)):
        if a is not None:
            np.testing.assert_allclose(a[rows], b[rows], rtol=1e-7, atol=1e-7, err_msg=str(k))


def _same_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return whether each row of two columns is the same but for rounding."""
    return np.isclose(a, b, rtol=1e-7, atol=1e-7, equal_nan=True).all(axis=tuple(range(1, a.ndim)))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, id=model.name, marks=[] if model == (2, "free", False, "gaussian") else EXHAUSTIVE)
        for model in ALL_MODELS
        if not model.plane or model.name in WITH_PLANES
    ],
)
def test_models_and_estimators_as_on_the_cpu(rng, model, estimator):
    """Good and bad spots, cut boxes, neighbours, starts outside the image, masks and maps of the camera."""
    axes = model.axes
    shape = (12, 40, 50)[3 - axes :]
    spots = rng.uniform(0, 1, (30, axes)) * np.array(shape)
    image = npsubpix.render_spots(spots, shape, std=1.3, amplitude=3000.0, integrate=True) + 5.0
    stack = rng.poisson(np.stack([image] * 2)).astype(np.float64) * 2 + 100
    starts = np.concatenate([spots + rng.uniform(-0.4, 0.4, spots.shape), np.full((1, axes), np.nan), [[-9.0] * axes]])
    frame = rng.integers(0, 2, len(starts))
    mask = rng.random((1, *shape)) < 0.01
    maps = (
        rng.uniform(0.5, 2, image.size) if estimator == "wls" else None,
        rng.uniform(95, 105, image.size),
        np.array([0.5]),
        rng.uniform(0, 9, 2 * image.size) if estimator == "mle" else None,
        rng.uniform(0.9, 1, image.size),
    )
    check((stack, starts, frame, mask, *maps), fit_of(model, estimator, 1.3))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_dtypes_and_whole_images_as_on_the_cpu(rng, dtype):
    """Even lengths, and starts from moments."""
    image = npsubpix.render_spots([[4.4, 3.8]], (8, 9), std=1.2, amplitude=900.0, integrate=True) + 5.0
    stack = rng.poisson(np.stack([image] * 5)).astype(dtype)
    centres, frame = np.tile([3.5, 4.0], (5, 1)), np.arange(5)
    fit = Fit(Model(2, "free", False), "mle", (0.0, 0.0), (8, 9), 50, 1e9, True)
    check((stack, centres, frame, *(None,) * 6), fit)


def test_no_spots_at_all():
    fit = fit_of(Model(2, "free", False), "lsq", 1.3)
    check((np.zeros((1, 9, 9)), np.zeros((0, 2)), *(None,) * 7), fit)
