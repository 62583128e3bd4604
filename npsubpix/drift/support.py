"""Parts of a movie whose localizations repeat those of the others, once the drift is taken off."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["is_supported"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Distance of neighbours, and of the places beside a localization that say how many there are by chance, in widths.
_RADIUS, _BESIDE, _PLACES = 2.0, 8.0, 8

#: Least number of neighbours above that of chance, in its standard deviations, and as a share of the typical number.
_LEAST_EXCESS, _LEAST_SHARE = 4.0, 0.1


def is_supported(places: Floats, part: Ints) -> npt.NDArray[np.bool_]:
    """Return whether each part has more neighbours than by chance; positions are in widths, and free of drift."""
    from scipy.spatial import cKDTree

    tree = cKDTree(places)
    size = np.bincount(part)

    def neighbours(points: Floats) -> Floats:
        counts = np.asarray(tree.query_ball_point(points, _RADIUS, return_length=True), np.float64)
        return np.asarray(np.bincount(part, counts, len(size)), np.float64)

    beside = []
    for turn in 2 * np.pi * np.arange(_PLACES) / _PLACES:
        offset = np.zeros(places.shape[1])
        offset[-2:] = _BESIDE * np.sin(turn), _BESIDE * np.cos(turn)
        beside.append(neighbours(places + offset))
    chance = np.percentile(beside, 25, axis=0)  # some directions are along structures
    excess = neighbours(places) - size - chance
    typical = np.median(excess / np.maximum(size, 1))
    return np.asarray(
        (excess > _LEAST_EXCESS * np.sqrt(np.maximum(chance, 1.0))) & (excess > _LEAST_SHARE * typical * size)
    )
