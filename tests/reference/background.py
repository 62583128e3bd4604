"""Level and noise of a background by their definitions: boxes, clipping, a median filter, a spline, pixel by pixel."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np


def ends_of_boxes(pixels: int, size: int) -> list[int]:
    """Borders of boxes of one length that is nearest to the size, rounded to pixels."""
    count = max(math.floor(pixels / size + 0.5), 1)
    return [math.floor(k * pixels / count + 0.5) for k in range(count + 1)]


def share_that_clipping_leaves(limit: float = 3.0) -> float:
    """Standard deviation of Gaussian noise that is clipped at `limit` of that standard deviation, by iteration."""
    normal, share = NormalDist(), 1.0
    for _ in range(200):
        c = limit * share
        share = math.sqrt(1 - 2 * c * normal.pdf(c) / (2 * normal.cdf(c) - 1))
    return share


def median(values: np.ndarray) -> float:
    """Median; several equal values are spread evenly, halfway to the next smaller and greater ones."""
    middle = float(np.median(values))
    below, equal, above = values[values < middle], values[values == middle], values[values > middle]
    if len(equal) < 2 or len(below) == 0 or len(above) == 0:
        return middle
    low, high = (middle + below.max()) / 2, (middle + above.min()) / 2
    return float(low + (high - low) * (len(values) / 2 - len(below)) / len(equal))


def clipped(values: np.ndarray) -> np.ndarray:
    """Take off what is further than three standard deviations from the median, until nothing is."""
    while True:
        kept = values[np.abs(values - median(values)) <= 3 * values.std()]
        if len(kept) in (0, len(values)):
            return values
        values = kept


def step_between(values: np.ndarray) -> float:
    """Distance from the pixel in the middle to the next value, 1 between whole numbers, 0 if there is none."""
    middle = np.sort(values)[(len(values) - 1) // 2]
    others = values[values != middle]
    if len(others) == 0:
        return 0.0
    step = float(np.abs(others - middle).min())
    return 1.0 if step % 1 == 0 and middle % 1 == 0 else step


def lower_side_is_missing(values: np.ndarray) -> bool:
    """Whether 5 % of the pixels have the least value, and more than have the next one."""
    distinct, counts = np.unique(values, return_counts=True)
    return len(distinct) > 1 and counts[0] >= max(2, 0.05 * len(values)) and bool(counts[0] > counts[1])


def middle_of(distances: np.ndarray) -> float:
    """Median, the lower one of an even number."""
    return float(np.sort(distances)[(len(distances) - 1) // 2]) if len(distances) else 0.0


def from_the_upper_side(values: np.ndarray, step: float, clipped_below: bool) -> tuple[np.ndarray, float, bool]:
    """Pixels that are kept, the noise above the median, or on both sides of it, and whether it is a guess."""
    centre = median(values)
    d = values - centre
    both = not (d > 0).any() or (not clipped_below and 4 * (d < 0).sum() >= (d > 0).sum())
    none_above = not (d > 0).any()
    while True:
        above, below = d[d > 0], -d[d < 0]
        side = below if none_above or (both and len(below) > len(above)) else above
        far = 3 * max(middle_of(side) / 0.6744897501960817, step)
        near = (d <= far) & (d >= -far if both else True)
        if near.all():
            break
        d, values = d[near], values[near]
    above = d[d > 0]
    if both:
        square = float((d**2).mean())
    elif len(above) < max(0.0027 * len(d), 4):
        square = 0.0
    else:
        square = float((above**2).sum()) / max(len(above), len(d) / 2 if len(above) >= 0.3 * len(d) else 0)
    noise = max(math.sqrt(square) / share_that_clipping_leaves(), step / math.sqrt(12))
    return values, noise, not clipped_below or centre == values.min()


def measured(values: np.ndarray, step: float) -> tuple[np.ndarray, float, bool]:
    """Pixels that are kept, their noise, and whether it is a guess."""
    if lower_side_is_missing(values):
        return from_the_upper_side(values, step, True)
    kept = clipped(values)
    if np.ptp(kept) == 0 and step > 0:
        return from_the_upper_side(values, step, False)
    return kept, float(kept.std()) / share_that_clipping_leaves(), False


#: Of a box: level, noise, whether it is a guess, the least and the greatest pixel of the background.
Box = tuple[float, float, bool, float, float]


def box(pixels: np.ndarray, good: np.ndarray, method: str, grow: tuple[int, ...]) -> Box:
    """Measure a box. The noise of equal pixels is not known."""
    if not good.any():
        return math.nan, math.nan, False, math.inf, -math.inf
    step = step_between(pixels[good])
    kept, noise, guess = measured(pixels[good], step)
    out = good & ((pixels < kept.min()) | (pixels > kept.max()))
    far = good.copy()
    for clip in np.argwhere(out) if max(grow) > 0 else []:
        steps = np.ogrid[tuple(slice(-q, n - q) for q, n in zip(clip, pixels.shape, strict=True))]
        near = sum((s / max(g, 1)) ** 2 for s, g in zip(steps, grow, strict=True)) <= 1 + 1e-9
        for s, g in zip(steps, grow, strict=True):
            near = near & ((s == 0) | (g > 0))
        far[near] = False
    if far.sum() >= good.sum() / 4 and not far[good].all():
        kept, noise, guess = measured(pixels[far], step)
    level = median(kept) if method == "median" else float(kept.mean())
    return level, noise if step > 0 else math.nan, guess and step > 0, float(kept.min()), float(kept.max())


def filled(mesh: np.ndarray) -> np.ndarray:
    """Means of known neighbours for what is NaN, until all is known."""
    while np.isnan(mesh).any() and not np.isnan(mesh).all():
        known = mesh.copy()
        for place in np.argwhere(np.isnan(known)):
            part = tuple(slice(max(p - 1, 0), p + 2) for p in place)
            if not np.isnan(known[part]).all():
                mesh[tuple(place)] = np.nanmean(known[part])
    return mesh


def at(values: np.ndarray, k: int) -> np.ndarray:
    """Row k of an array that goes on point-symmetrically beyond its ends."""
    if len(values) == 1:
        return values[0]
    if k < 0:
        return 2 * values[0] - at(values, -k)
    last = len(values) - 1
    return 2 * values[last] - at(values, 2 * last - k) if k > last else values[k]


def continued(mesh: np.ndarray, axis: int, reach: int) -> np.ndarray:
    """A mesh with rows before and after it along an axis."""
    rows = np.moveaxis(mesh, axis, 0)
    return np.moveaxis(np.stack([at(rows, k) for k in range(-reach, len(rows) + reach)]), 0, axis)


def smoothed(mesh: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Medians of windows, which reach n - 1 boxes at most on an axis of n."""
    reach = [min(k // 2, n - 1) for k, n in zip(size, mesh.shape, strict=True)]
    wide = mesh
    for axis, r in enumerate(reach):
        wide = continued(wide, axis, r)
    out = np.empty(mesh.shape)
    for place in np.ndindex(mesh.shape):
        out[place] = np.median(wide[tuple(slice(p, p + 2 * r + 1) for p, r in zip(place, reach, strict=True))])
    return out


def interpolated(rows: np.ndarray, ends: list[int], pixel: int) -> np.ndarray:
    """A row between rows of boxes: cubic between their centres, with slopes of parabolas, and straight beyond."""
    n = len(rows)
    if n == 1:
        return rows[0]
    centres = np.array([(a + b - 1) / 2 for a, b in itertools.pairwise(ends)])

    def slope(k: int) -> np.ndarray:
        if k == 0 or k == n - 1:  # of the straight line through the last two
            k = min(k, n - 2)
            return (rows[k + 1] - rows[k]) / (centres[k + 1] - centres[k])
        left, right = centres[k] - centres[k - 1], centres[k + 1] - centres[k]
        return ((rows[k] - rows[k - 1]) / left * right + (rows[k + 1] - rows[k]) / right * left) / (left + right)

    if pixel <= centres[0]:
        return rows[0] + (pixel - centres[0]) * slope(0)
    if pixel >= centres[-1]:
        return rows[-1] + (pixel - centres[-1]) * slope(n - 1)
    k = int(np.searchsorted(centres, pixel, "right")) - 1
    h = centres[k + 1] - centres[k]
    cubic = np.array([rows[k], h * slope(k), rows[k + 1], h * slope(k + 1)])
    t = (pixel - centres[k]) / h
    powers = np.array([1, t, t * t, t**3])
    hermite = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [-3, -2, 3, -1], [2, 1, -2, 1]])
    return np.tensordot(powers @ hermite, cubic, 1)


def around(mesh: np.ndarray, ends: list[list[int]], extreme: str) -> np.ndarray:
    """Least or greatest value of the four boxes along each axis that have weight at a pixel."""
    wide, first = mesh, []
    for axis, e in enumerate(ends):
        wide = continued(wide, axis, 2)
        centres = [(a + b - 1) / 2 for a, b in itertools.pairwise(e)]
        last = max(len(centres) - 2, 0)
        first.append([min(max(sum(c <= pixel for c in centres) - 1, 0), last) + 1 for pixel in range(e[-1])])
    out = np.empty([e[-1] for e in ends])
    for place in np.ndindex(out.shape):
        out[place] = getattr(wide[tuple(slice(f[p], f[p] + 4) for f, p in zip(first, place, strict=True))], extreme)()
    return out


def background(
    image: np.ndarray,
    size: tuple[int, ...],
    method: str = "median",
    grow: tuple[int, ...] | None = None,
    filter_size: tuple[int, ...] | None = None,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Level and noise at each pixel of an image, and where the noise is a guess."""
    axes = image.ndim
    grow, filter_size = grow or (3,) * axes, filter_size or (3,) * axes
    pixels = image.astype(np.float64)
    good = np.isfinite(pixels) & ~(np.zeros(image.shape, bool) if mask is None else mask)
    ends = [ends_of_boxes(n, k) for n, k in zip(image.shape, size, strict=True)]
    meshes = np.full((5, *(len(e) - 1 for e in ends)), np.nan)
    counts = np.zeros(meshes.shape[1:], int)
    guessed = np.zeros(image.shape, bool)
    for place in np.ndindex(counts.shape):
        part = tuple(slice(e[k], e[k + 1]) for e, k in zip(ends, place, strict=True))
        meshes[(slice(None), *place)] = box(pixels[part], good[part], method, grow)
        counts[place] = good[part].sum()
    meshes[:2, 2 * counts < counts.max()] = np.nan
    unknown = np.isnan(meshes[1])
    filled(meshes[1])
    meshes[2, unknown & ~np.isnan(meshes[1])] = True
    for place in np.ndindex(counts.shape):
        guessed[tuple(slice(e[k], e[k + 1]) for e, k in zip(ends, place, strict=True))] = meshes[(2, *place)]
    if np.isnan(meshes[1]).all():
        meshes[1] = np.where(np.isnan(filled(meshes[0])), np.nan, 0)
    maps = []
    bounds = (meshes[3].min(), meshes[4].max()), (meshes[1].min(), meshes[1].max())
    for mesh, (low, high) in zip(meshes[:2], bounds, strict=True):
        values = smooth = np.clip(smoothed(filled(mesh), filter_size), low, high)
        for axis, e in enumerate(ends):
            rows = np.moveaxis(values, axis, 0)
            values = np.moveaxis(np.stack([interpolated(rows, e, p) for p in range(e[-1])]), 0, axis)
        limits = (np.clip(around(smooth, ends, extreme), low, high) for extreme in ("min", "max"))
        maps.append(np.clip(values, *limits))
    return maps[0], maps[1], guessed
