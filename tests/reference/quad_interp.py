"""Quadratic refinement by its definition, one maximum after the other, with a general linear solver."""

from __future__ import annotations

import itertools

import numpy as np

from tests.reference import nms


def derivatives(image: np.ndarray, centre: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian by central differences, in array order."""
    n = image.ndim
    step = np.eye(n, dtype=int)

    def at(offset: np.ndarray) -> float:
        return float(image[tuple(np.add(centre, offset))])

    gradient = np.array([(at(e) - at(-e)) / 2 for e in step])
    hessian = np.empty((n, n))
    for a, b in itertools.product(range(n), repeat=2):
        if a == b:
            hessian[a, a] = at(step[a]) - 2 * at(0 * step[a]) + at(-step[a])
        else:
            p, q = step[a], step[b]
            hessian[a, b] = (at(p + q) - at(p - q) - at(q - p) + at(-p - q)) / 4
    return gradient, hessian


def refine(
    image: np.ndarray,
    start: tuple[int, ...],
    n_iters: int = 5,
    threshold: float = 0.6,
    radius: float = np.inf,
    steps: tuple[bool, ...] | None = None,
    limit: float = 1.5,
) -> tuple[np.ndarray, float] | None:
    """Position and value of one maximum; None if it is rejected."""
    shape = np.array(image.shape)
    centre = np.array(start)
    if (centre < 1).any() or (centre > shape - 2).any():
        return None
    for _ in range(n_iters):
        gradient, hessian = derivatives(image, tuple(centre))
        m = np.abs(hessian).max()
        if not np.isfinite(m) or m == 0:
            return None
        if not abs(np.linalg.det(hessian / m)) > 1e-7:
            return None
        shift = np.linalg.solve(hessian / m, -gradient / m)
        move = (shift > threshold).astype(int) - (shift < -threshold).astype(int)
        if steps is not None:
            move *= np.array(steps)
        if not move.any():
            if np.abs(shift).max() > limit:
                return None
            return centre + shift, float(image[tuple(centre)]) + gradient @ shift / 2
        centre = centre + move
        if (centre < 1).any() or (centre > shape - 2).any() or np.abs(centre - start).max() > radius:
            return None
    return None


def dense(
    volume: np.ndarray,
    n_iters: int = 5,
    bonus: float = 10.0,
    threshold: float = 0.6,
    radius: float = np.inf,
    depth_steps: bool = True,
    marked: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (scale, x, y) and values of every voxel of a volume of shape (D, H, W)."""
    volume = volume.astype(np.float64)
    coords = np.array(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), float)[[0, 2, 1]]
    values = volume.copy()
    marked = nms.mask(volume, (3, 3, 3)) if marked is None else marked
    for start in map(tuple, np.argwhere(marked)):
        found = refine(volume, start, n_iters, threshold, radius, (depth_steps, True, True))
        if found is not None:
            (z, y, x), value = found
            coords[(slice(None), *start)] = z, x, y
            values[start] = value + bonus
    return coords, values
