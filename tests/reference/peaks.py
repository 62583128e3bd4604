"""Finding peaks by its definition, one candidate after the other."""

from __future__ import annotations

import itertools
import math

import numpy as np

from tests.reference import nms


def candidates(
    image: np.ndarray, size: tuple[int, ...], threshold: float = -math.inf, border: int | None = None
) -> list[tuple[int, ...]]:
    """Strict maxima above a threshold, in memory order; with a border width, of clipped windows."""
    clip = border is not None
    found = []
    for place in np.ndindex(image.shape):
        if clip and any(not border <= p < n - border for p, n in zip(place, image.shape, strict=True)):
            continue
        if float(image[place]) > threshold and nms.is_maximum(image, place, size, clip):
            found.append(place)
    return found


def apart(places: list[tuple[int, ...]], image: np.ndarray, distance: tuple[float, ...]) -> list[tuple[int, ...]]:
    """Go from the strongest on, and keep what is not closer than the distance to one that is kept."""
    kept: list[tuple[int, ...]] = []
    for place in sorted(places, key=lambda p: (-float(image[p]), p)):
        if all(sum(((a - b) / d) ** 2 for a, b, d in zip(place, k, distance, strict=True)) >= 1 - 1e-12 for k in kept):
            kept.append(place)
    return kept


def plateaus(image: np.ndarray, size: tuple[int, ...]) -> list[list[tuple[int, ...]]]:
    """Sets of equal adjacent pixels, of two or more, that nothing in their windows exceeds."""
    labels = np.zeros(image.shape, int)
    groups = []
    for start in np.ndindex(image.shape):
        if labels[start]:
            continue
        group, todo = [], [start]
        labels[start] = len(groups) + 1
        while todo:
            place = todo.pop()
            group.append(place)
            for step in itertools.product((-1, 0, 1), repeat=image.ndim):
                other = tuple(np.add(place, step))
                inside = all(0 <= p < n for p, n in zip(other, image.shape, strict=True))
                if inside and not labels[other] and image[other] == image[start]:
                    labels[other] = labels[start]
                    todo.append(other)
        groups.append(sorted(group))
    found = []
    for group in groups:
        around = [
            image[p] if is_inside(p, image.shape) else math.inf
            for c in group
            for p in itertools.product(*nms.window(c, size))
        ]
        if len(group) > 1 and max(around) == image[group[0]] and min(around) < image[group[0]]:
            found.append(group)
    return found


def is_inside(place: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a place is in an image."""
    return all(0 <= p < n for p, n in zip(place, shape, strict=True))


def centre(group: list[tuple[int, ...]]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Centroid of a plateau, and the pixel of it that is nearest along the axes; of equal ones, the first."""
    totals = np.sum(group, axis=0)
    nearest = min(group, key=lambda place: (int(np.abs(len(group) * np.array(place) - totals).sum()), place))
    return totals / len(group), nearest


def duplicates(
    coords: np.ndarray,
    moved: np.ndarray,
    groups: np.ndarray,
    valid: np.ndarray,
    distance: float = 0.5,
    period: tuple[int, ...] | None = None,
) -> list[bool]:
    """Whether a stronger row, one before it, of the same group is within a distance, and one of both moved.

    With a period, distances are those to the nearest repetition.
    """

    def apart(n: int, k: int) -> float:
        steps = coords[n] - coords[k]
        if period is not None:
            steps = steps - np.array(period) * np.rint(steps / np.array(period))
        return float(np.linalg.norm(steps))

    return [
        bool(valid[k])
        and any(
            valid[n] and groups[n] == groups[k] and bool(moved[n] or moved[k]) and apart(n, k) < distance
            for n in range(k)
        )
        for k in range(len(coords))
    ]
