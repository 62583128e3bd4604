"""Transforms of the plane as matrices, and the parameters of their models."""

from __future__ import annotations

import math

import numpy as np

from npsubpix._definitions.dtypes import HostArray

__all__ = [
    "centred",
    "exponential",
    "farthest",
    "from_level",
    "from_parameters",
    "generators",
    "parameter_units",
    "parameters",
    "shifts_of",
    "tangents",
    "to_level",
]


def generators(model: str) -> HostArray:
    """Return the matrices that generate the transforms of a model on (y, x, 1), about the origin."""
    g = np.zeros((8, 3, 3))
    if model == "translation":
        g[0, 0, 2] = g[1, 1, 2] = 1
        return g[:2]
    if model in ("euclidean", "similarity"):
        g[0, 0, 1], g[0, 1, 0] = -1, 1
        g[1, 0, 2] = g[2, 1, 2] = 1
        if model == "euclidean":
            return g[:3]
        g[3, 0, 0] = g[3, 1, 1] = 1
        return g[[3, 0, 1, 2]]
    g[0, 0, 0] = g[1, 0, 1] = g[2, 0, 2] = 1
    g[3, 1, 0] = g[4, 1, 1] = g[5, 1, 2] = 1
    g[6, 2, 0] = g[7, 2, 1] = 1
    return g if model == "homography" else g[:6]


def centred(matrices: HostArray, shape: tuple[int, ...]) -> HostArray:
    """Move transforms about the origin to the centre of an image."""
    to = np.eye(3)
    to[:2, 2] = [0.5 * (n - 1) for n in shape]
    return np.asarray(to @ matrices @ np.linalg.inv(to))


def farthest(a: HostArray, b: HostArray, corners: HostArray) -> float:
    """Return the greatest distance between the positions to which two transforms take a corner."""
    with np.errstate(all="ignore"):
        p, q = corners @ a.T, corners @ b.T
        return float(np.hypot(*(p[:, :2] / p[:, 2:] - q[:, :2] / q[:, 2:]).T).max())


def parameters(model: str, matrix: HostArray, shape: tuple[int, ...]) -> HostArray:
    """Return the parameters of a matrix about the centre of an image, to which forward additive steps are added."""
    m = _about_centre(matrix, shape)
    if model == "translation":
        return np.array(m[:2, 2])
    if model == "euclidean":
        return np.array([math.atan2(m[1, 0] - m[0, 1], m[0, 0] + m[1, 1]), m[0, 2], m[1, 2]])
    if model == "similarity":
        return np.array([0.5 * (m[0, 0] + m[1, 1]), 0.5 * (m[1, 0] - m[0, 1]), m[0, 2], m[1, 2]])
    return np.array((m / m[2, 2]).ravel()[: 8 if model == "homography" else 6])


def from_parameters(model: str, p: HostArray, shape: tuple[int, ...]) -> HostArray:
    """Return the matrix with these parameters about the centre of an image."""
    m = np.eye(3)
    if model == "translation":
        m[:2, 2] = p
    elif model == "euclidean":
        c, s = math.cos(p[0]), math.sin(p[0])
        m[:2] = [[c, -s, p[1]], [s, c, p[2]]]
    elif model == "similarity":
        m[:2] = [[p[0], -p[1], p[2]], [p[1], p[0], p[3]]]
    else:
        m.ravel()[: len(p)] = p
    return centred(m, shape)


def _about_centre(matrix: HostArray, shape: tuple[int, ...]) -> HostArray:
    to = np.eye(3)
    to[:2, 2] = [0.5 * (n - 1) for n in shape]
    return np.asarray(np.linalg.inv(to) @ matrix @ to)


def tangents(model: str, matrix: HostArray, shape: tuple[int, ...]) -> HostArray:
    """Return the derivatives of the matrix with respect to each parameter."""
    if model == "euclidean":
        angle = parameters(model, matrix, shape)[0]
        turn = np.zeros((3, 3))
        turn[:2, :2] = [[-math.sin(angle), -math.cos(angle)], [math.cos(angle), -math.sin(angle)]]
        return centred(np.stack([turn, *generators("translation")]), shape)
    return centred(generators(model), shape)


def exponential(m: HostArray) -> HostArray:
    """Return the exponential of a small matrix, without BLAS: its threads, once awake, slow kernels down."""
    halvings = max(0, math.frexp(float(np.abs(m).sum()))[1])
    scaled = m / 2.0**halvings
    term = total = np.eye(len(m))
    for k in range(1, 19):
        term = (term[:, :, None] * scaled[None]).sum(1) / k
        total = total + term
        if np.abs(term).max() < 1e-18:
            break
    for _ in range(halvings):
        total = (total[:, :, None] * total[None]).sum(1)
    return np.asarray(total)


def to_level(matrix: HostArray, scale: int) -> HostArray:
    """Convert a matrix between pixels of the whole images to one between pixels of a level."""
    s = _of_scale(scale)
    inner: HostArray = np.linalg.inv(s) @ matrix @ s
    return np.asarray(inner / inner[2, 2])


def from_level(matrix: HostArray, scale: int) -> HostArray:
    """Convert a matrix between pixels of a level to one between pixels of the whole images."""
    s = _of_scale(scale)
    outer: HostArray = s @ matrix @ np.linalg.inv(s)
    return np.asarray(outer / outer[2, 2])


def _of_scale(scale: int) -> HostArray:
    s = np.eye(3)
    s[:2, :2] *= scale
    s[:2, 2] = 0.5 * (scale - 1)
    return s


def parameter_units(model: str, scale: int) -> HostArray:
    """Return the units of the parameters at a level, in those at whole images: pixels, or one over them."""
    units = np.ones((3, 3))
    units[:2, 2], units[2, :2] = scale, 1 / scale
    return np.array([units[g != 0][0] for g in generators(model)])


def shifts_of(size: int) -> list[int]:
    """Return the places of the shift (y, x) among so many parameters of a model."""
    return [2, 5] if size > 4 else [size - 2, size - 1]
