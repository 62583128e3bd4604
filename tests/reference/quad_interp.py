"""Quadratic refinement by its definition, one maximum after the other, with a general linear solver."""

from __future__ import annotations

import itertools

import numpy as np
import scipy.ndimage as ndi

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


def fit(
    image: np.ndarray,
    start: tuple[int, ...],
    n_iters: int = 5,
    threshold: float = 0.6,
    radius: float = np.inf,
    steps: tuple[bool, ...] | None = None,
    limit: float = 1.5,
) -> tuple[tuple[int, ...], np.ndarray, float] | None:
    """Voxel of the last fit from one start, shift from there and value; None if it is rejected."""
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
            return tuple(centre.tolist()), shift, float(image[tuple(centre)]) + gradient @ shift / 2
        centre = centre + move
        if (centre < 1).any() or (centre > shape - 2).any() or np.abs(centre - start).max() > radius:
            return None
    return None


def refine(image: np.ndarray, start: tuple[int, ...], *args: object, **options: object) -> tuple | None:
    """Position and value of one maximum; None if it is rejected."""
    found = fit(image, start, *args, **options)
    return None if found is None else (np.add(found[0], found[1]), found[2])


def fits(
    volume: np.ndarray,
    marked: np.ndarray,
    n_iters: int = 5,
    threshold: float = 0.6,
    radius: float = np.inf,
    depth_steps: bool = True,
) -> dict:
    """What becomes of every marked voxel of a volume of shape (D, H, W)."""
    steps = (depth_steps, True, True)
    starts = map(tuple, np.argwhere(marked).tolist())
    return {start: fit(volume, start, n_iters, threshold, radius, steps) for start in starts}


def maps(volume: np.ndarray, found: dict, bonus: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (scale, x, y) and values of every voxel, from what became of the marked ones."""
    coords = np.array(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), float)[[0, 2, 1]]
    values = volume.astype(np.float64)
    for start, one in found.items():
        if one is not None:
            z, y, x = np.add(one[0], one[1])
            coords[(slice(None), *start)] = z, x, y
            values[start] = one[2] + bonus
    return coords, values


def dense(
    volume: np.ndarray, bonus: float = 10.0, marked: np.ndarray | None = None, **options: object
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates and values of every voxel; of the strict maxima, if no others are marked."""
    volume = volume.astype(np.float64)
    marked = nms.mask(volume, (3, 3, 3)) if marked is None else marked
    return maps(volume, fits(volume, marked, **options), bonus)


def gradient(
    volume: np.ndarray,
    by_coords: np.ndarray,
    by_values: np.ndarray,
    marked: np.ndarray | None = None,
    step: float = 1e-6,
    **options: object,
) -> np.ndarray:
    """Gradient of the sum of both results times weights, by central differences at every voxel.

    Refuses a volume where a step changes which voxels are refined, or where their fits end.
    """
    if marked is None:
        marked = nms.mask(volume, (3, 3, 3))
        around = ndi.maximum_filter(volume, footprint=np.arange(27).reshape(3, 3, 3) != 13)
        assert np.abs(volume - around)[1:-1, 1:-1, 1:-1].min() > 4 * step

    def ends(found: dict) -> list:
        return [one and one[0] for one in found.values()]

    def loss(changed: np.ndarray) -> float:
        found = fits(changed, marked, **options)
        assert ends(found) == usual
        coords, values = maps(changed, found, 0.0)
        return (by_coords * coords).sum() + (by_values * values).sum()

    usual = ends(fits(volume, marked, **options))
    out = np.empty(volume.shape)
    for place in np.ndindex(volume.shape):
        above, below = volume.copy(), volume.copy()
        above[place] += step
        below[place] -= step
        out[place] = (loss(above) - loss(below)) / (above[place] - below[place])
    return out
