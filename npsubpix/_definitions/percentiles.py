"""Percentiles: which of the sorted pixels of a window they lie between."""

from __future__ import annotations

__all__ = ["rank_of"]


def rank_of(quantile: float, count: int) -> tuple[int, float]:
    """Return the rank of the pixel below a quantile, from 0 to 1, and the fraction of the way to the next rank."""
    place = quantile * (count - 1)
    rank = int(place)
    return rank, place - rank
