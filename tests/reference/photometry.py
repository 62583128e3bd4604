"""Photometry of one spot by the definition of each column, in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.integrate import quad

from tests.reference import background

ALLOWANCE = 2.0


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
    image: np.ndarray,
    good: np.ndarray,
    position: np.ndarray,
    radii: tuple[float, float],
    method: str,
    electron: float = 0.0,
) -> tuple[float, float, int, bool]:
    """Background, noise, number of pixels and whether the noise is a guess, of pixels clipped about their median.

    The upper limit is higher by two electrons, or two steps between values, of which several pixels have
    one, if these are not known.
    """
    i, j = np.indices(image.shape)
    distance = (i - position[0]) ** 2 + (j - position[1]) ** 2
    values = image[good & (distance >= radii[0] ** 2) & (distance < radii[1] ** 2)]
    if len(values) < 5:
        return math.nan, math.nan, 0, False
    step = background.step_between(values)
    repeated = (values == np.sort(values)[(len(values) - 1) // 2]).sum() > 1
    kept, allowance = values, ALLOWANCE * (electron or (step if repeated else 0.0))
    while True:
        d, far = kept - background.median(kept), 3 * kept.std()
        near = kept[(d <= far + allowance) & (d >= -far)]
        if len(near) in (0, len(kept)):
            break
        kept = near
    level = background.median(kept) if method == "median" else float(kept.mean())
    guess = bool(np.ptp(kept) == 0 and step > 0)
    noise = step / math.sqrt(12) if guess else float(kept.std()) / background.share_that_clipping_leaves()
    return level, noise, len(kept), guess


def measure(
    image: np.ndarray,
    position: np.ndarray,
    radius: float,
    radii: tuple[float, float],
    *,
    method: str = "mean",
    electron: float = 0.0,
    slope: float = 0.0,
    level: np.ndarray | None = None,
    error: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> dict[str, float]:
    """Return the columns of the table for a spot inside the image."""
    mask = np.zeros(image.shape, bool) if mask is None else mask
    good = np.isfinite(image) & ~mask
    b, noise, count, guess = annulus(image, good, position, radii, method, electron)
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
    variance += slope * max(float((w**2 * signal).sum()), 0.0)
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


def width_in(variance: float, radius: float) -> float:
    """Width of a Gaussian of which a circle about its centre shows a variance along an axis; at most the radius.

    Twelve steps of a fixed-point iteration, which has not converged for spots wider than the circle.
    """
    s = math.sqrt(variance)
    for _ in range(12):
        t = radius**2 / (2 * s * s)
        s = math.sqrt(variance / max(1 - t * math.exp(-t) / (1 - math.exp(-t)), 1e-9))
        if s >= radius:
            return radius
    return max(s, 0.4)


def scatter(
    image: np.ndarray, good: np.ndarray, position: np.ndarray, radius: float, level: np.ndarray, sigma: np.ndarray
) -> tuple[float, float, np.ndarray] | None:
    """Excess of squared residuals over those of the background, the signal they are of, and terms of the variance.

    None if the spot cannot be fitted. Residuals are those of a series of Hermite functions and a constant.
    """
    i, j = np.indices(image.shape)
    u, v = i - position[0], j - position[1]
    w = np.zeros(image.shape)
    for place in np.argwhere(np.maximum(np.abs(u), np.abs(v)) < radius + 0.5):
        w[tuple(place)] = share_in_circle(u[tuple(place)], v[tuple(place)], radius)
    cut = (position - radius < -0.5).any() or (position + radius > np.array(image.shape) - 0.5).any()
    corner = [math.floor(p + 0.5) for p in position]
    cut = cut or any(
        c < math.floor(radius) or c + math.floor(radius) >= n for c, n in zip(corner, image.shape, strict=True)
    )
    near = (w > 0) | ((i - corner[0]) ** 2 + (j - corner[1]) ** 2 <= radius**2)
    if cut or not good[near].all():
        return None
    s = w * (image - level)
    flux = s[w > 0].sum()
    if not flux > 0:
        return None
    cy, cx = (s * u)[w > 0].sum() / flux, (s * v)[w > 0].sum() / flux
    du, dv = u - cy, v - cx
    (yy, yx), (_, xx) = ([float((s * p * q)[w > 0].sum() / flux) for q in (du, dv)] for p in (du, dv))
    if not (yy + xx > 0 and cy**2 + cx**2 <= radius**2):
        return None
    width, reach = width_in((yy + xx) / 2, radius), max(radius, min(4.0, 1.5 * radius))
    values, axes = np.linalg.eigh([[yy, yx], [yx, xx]])
    unlike = min((values[1] - values[0]) / (values[1] + values[0]), 0.8)
    minor, major = (
        (axes[0, k] * du + axes[1, k] * dv) / width / math.sqrt(1 + sign * unlike) for k, sign in ((0, -1), (1, 1))
    )
    fitted = good & (u**2 + v**2 <= reach**2)
    y, x = major[fitted], minor[fitted]
    most = 0.6 * (y**2 + x**2 <= 2.5**2).sum()
    orders = [n for n in range(5) if (n + 1) * (n + 2) // 2 + 1 <= most]
    if not orders:
        return None
    columns = [hermite(a, y) * hermite(b, x) for a in range(orders[-1] + 1) for b in range(orders[-1] + 1 - a)]
    columns += [np.exp(-(y**2 + x**2) / 2 / t**2) for t in (0.5, 0.7, 1.8) if most >= 19]
    basis = np.linalg.qr(np.stack([*columns, np.ones(len(y))], axis=1))[0]
    data, free = (image - level)[fitted], 1 - (basis**2).sum(axis=1)
    model = basis @ (basis.T @ data)
    signal, a = model.clip(0), sigma[fitted] ** 2
    terms = np.array([(a * a * free).sum(), (a * signal * free).sum(), (signal**2 * free).sum()])
    return float(((data - model) ** 2).sum() - (a * free).sum()), float((signal * free).sum()), terms


def hermite(order: int, u: np.ndarray) -> np.ndarray:
    """Hermite function."""
    polynomial = np.polynomial.hermite.Hermite.basis(order)
    values: np.ndarray = polynomial(u) * np.exp(-(u**2) / 2) / math.sqrt(2.0**order * math.factorial(order))
    return values


def noise_slope(spots: list[tuple[float, float, np.ndarray]]) -> float:
    """Variance of a pixel per signal: the weighted mean of spots, without those that are too great."""
    spots = [s for s in spots if s[1] > 0]
    if not spots:
        return math.nan
    excess, signal, terms = (np.array(part) for part in zip(*spots, strict=True))
    estimates, slope = excess / signal, max(excess.sum() / signal.sum(), 0.0)
    for step in range(5):
        variance = 2 * (terms @ [1, 2 * slope, slope**2]) / signal**2
        if step == 0:
            order = np.argsort(estimates)
            total = np.cumsum(1 / variance[order])
            slope = max(float(estimates[order][np.searchsorted(total, total[-1] / 2)]), 0.0)
            continue
        kept = estimates - slope <= 5 * np.sqrt(variance)
        slope = max(float(np.average(estimates[kept], weights=1 / variance[kept])), 0.0)
    return slope
