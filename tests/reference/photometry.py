"""Photometry of one spot by the definition of each column, in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.integrate import quad

from tests.reference import background


def share_in_circle(y: float, x: float, radius: float) -> float:
    """Area of the unit square about (y, x) in the circle about 0: the integral over x of the height of the overlap."""

    def height(t: float) -> float:
        half = math.sqrt(max(radius**2 - t * t, 0))
        return max(min(half, y + 0.5) - max(-half, y - 0.5), 0)

    corners = {-radius, radius}
    for edge in (abs(y - 0.5), abs(y + 0.5)):
        if edge < radius:
            corners |= {math.sqrt(radius**2 - edge**2), -math.sqrt(radius**2 - edge**2)}
    inner = sorted(c for c in corners if x - 0.5 < c < x + 0.5)
    ends = [x - 0.5, *inner, x + 0.5]
    return sum(quad(height, a, b, epsabs=1e-13)[0] for a, b in itertools.pairwise(ends))


def annulus(
    image: np.ndarray, good: np.ndarray, position: np.ndarray, radii: tuple[float, float], method: str
) -> tuple[float, float, int, bool]:
    """Background, noise, number of pixels and whether the noise is a guess: those of a box of `local_background`."""
    i, j = np.indices(image.shape)
    distance = (i - position[0]) ** 2 + (j - position[1]) ** 2
    values = image[good & (distance >= radii[0] ** 2) & (distance < radii[1] ** 2)]
    if len(values) < 5:
        return math.nan, math.nan, 0, False
    step = background.step_between(values)
    kept, noise, guess = background.measured(values, step)
    level = background.median(kept) if method == "median" else float(kept.mean())
    return level, noise if step > 0 else 0.0, len(kept), guess and step > 0


def measure(
    image: np.ndarray,
    position: np.ndarray,
    radius: float,
    radii: tuple[float, float],
    *,
    method: str = "median",
    level: np.ndarray | None = None,
    error: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> dict[str, float]:
    """Return the columns of the table for a spot inside the image."""
    mask = np.zeros(image.shape, bool) if mask is None else mask
    good = np.isfinite(image) & ~mask
    b, noise, count, guess = annulus(image, good, position, radii, method)
    known = np.full(image.shape, b) if level is None else level
    sigma = np.full(image.shape, noise) if error is None else error
    i, j = np.indices(image.shape)
    u, v = i - position[0], j - position[1]
    share = np.zeros(image.shape)
    for place in np.argwhere(np.maximum(np.abs(u), np.abs(v)) < radius + 0.5):
        share[tuple(place)] = share_in_circle(u[tuple(place)], v[tuple(place)], radius)
    touched = share > 0
    w = np.where(good, share, 0)
    signal = np.where(good, image - known, 0)
    flux, area = float((w * signal).sum()), float(w.sum())
    variance = float((w**2 * sigma**2)[w > 0].sum())
    if level is None:
        variance += area**2 * noise**2 * (math.pi / 2 if method == "median" else 1) / max(count, 1)
    row = {
        "aperture_sum": float((w * np.where(good, image, 0)).sum()),
        "area": area,
        "background": b if level is None else float((w * level).sum()) / area,
        "noise": noise if error is None else math.sqrt((w**2 * sigma**2).sum() / (w**2).sum()),
        "flux": flux,
        "flux_std": math.sqrt(variance),
        "peak": float(signal[good & (u**2 + v**2 < radius**2)].max()),
    }
    cy, cx = (float((w * signal * t).sum()) / flux for t in (u, v))
    spread = np.array([[float((w * signal * s * t).sum()) / flux for s in (u - cy, v - cx)] for t in (u - cy, v - cx)])
    minor, major = np.linalg.eigvalsh(spread)
    axis = np.linalg.eigh(spread)[1][:, 1]
    row |= {"y_centroid": position[0] + cy, "x_centroid": position[1] + cx}
    row |= {"width": math.sqrt(np.trace(spread) / 2), "ellipticity": 1 - math.sqrt(minor / major)}
    angle = math.atan2(axis[1], axis[0])
    row["angle"] = angle - math.pi * round(angle / math.pi)
    row |= of_trackpy(image, signal, good, position, radius, row["noise"])
    cut = bool((position - radius < -0.5).any() or (position + radius > np.array(image.shape) - 0.5).any())
    bad = touched & ~good
    row["flags"] = cut + 2 * bool((bad & mask).any()) + 4 * bool((bad & ~mask).any()) + 128 * guess
    return row


def of_trackpy(
    image: np.ndarray, signal: np.ndarray, good: np.ndarray, position: np.ndarray, radius: float, noise: float
) -> dict[str, float]:
    """trackpy's columns, from the pixels within the radius of the nearest one."""
    i, j = np.indices(image.shape)
    ci, cj = (math.floor(p + 0.5) for p in position)
    dy, dx = i - ci, j - cj
    inside = good & (dy**2 + dx**2 <= radius**2)
    s, dy, dx = signal[inside], dy[inside], dx[inside]
    theta = np.arctan2(dy, dx)
    mass = float(s.sum())
    turned = abs((s * np.exp(2j * theta)).sum())
    return {
        "mass": mass,
        "size": math.sqrt((s * (dy**2 + dx**2)).sum() / mass),
        "ecc": turned / (mass - signal[ci, cj] + 1e-6),
        "signal": max(float(s.max()), 0.0),
        "raw_mass": float(image[inside].sum()),
        "ep": noise * math.sqrt((dy**2 + dx**2).sum() / 2) / mass,
    }
