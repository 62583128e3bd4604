"""Levels of a scale space, one after the other, whatever computes them: three responses are held at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.scale_space import ScalePlan

__all__ = ["LevelOps", "ScaleOps", "triples"]

Floats = npt.NDArray[np.float64]


class LevelOps(Protocol):
    """Images of a backend, and how levels are made of them."""

    def smooth(self, x: Any, lines: Any) -> Any:
        """Correlate an image with the product of lines of weights."""

    def shrink(self, x: Any, factors: tuple[int, ...]) -> Any:
        """Keep the pixels whose places are multiples of factors."""

    def respond(self, x: Any, method: str, factors: tuple[float, ...]) -> Any:
        """Return the Laplacian, or the determinant of the Hessian, in units of the width."""

    def subtract(self, x: Any, y: Any) -> Any:
        """Return the difference of two images, of which the first is needed no more."""


class ScaleOps(LevelOps, Protocol):
    """Images of a backend, of three axes in float32, and what a search for blobs needs of them."""

    def extrema(self, levels: list[Any], low: float, sign: int) -> npt.NDArray[np.int64]:
        """Return the places of pixels of the middle level that exceed `low` and all neighbours, times a sign."""

    def gather(self, levels: list[Any], places: npt.NDArray[np.int64]) -> Floats:
        """Return the neighbours of places, of shape (N, 3, 3, 3, 3), those beyond the image as they are at its end."""

    def rows(self, x: Any, numbers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return rows of an image on the host, by their numbers, of any shape, in the image of shape (D * H, W)."""

    def values(self, x: Any, places: npt.NDArray[np.int64]) -> Floats:
        """Return pixels by their places in memory."""

    def range_of(self, x: Any) -> tuple[float, float]:
        """Return the least and the greatest pixel."""

    def scaled(self, x: Any, offset: float, factor: float) -> Any:
        """Subtract an offset and multiply by a factor, to float32."""

    def gaps_of(self, x: Any, mask: Any) -> Any:
        """Return where pixels are masked or not finite; None if none are."""

    def near_gaps(self, gaps: Any, pixels: Any, reach: Any) -> tuple[Any, Any]:
        """Return which pixels are gaps, and which have one within reach."""

    def put(self, x: Any, dtype: Any) -> Any:
        """Copy an array of the host to the backend."""


def triples(ops: LevelOps, images: list[Any], plan: ScalePlan) -> Iterator[tuple[int, tuple[int, ...], list[Any]]]:
    """Yield each level at which blobs are reported, its grid, and its response between those of its neighbours.

    The image is taken out of a list, so that it is not in memory longer than its first level takes.
    """
    x = images.pop()
    for lines, factors in plan.segments[0].start:
        x = ops.smooth(x, lines)
        x = ops.shrink(x, factors) if max(factors) > 1 else x
    for number, segment in enumerate(plan.segments):
        after = plan.segments[number + 1].start[0][1] if number + 1 < len(plan.segments) else None
        held: list[Any] = []
        level, x = x, None
        for place, j in enumerate(range(segment.first - 1, segment.last + 2)):
            if place and plan.method != "dog":
                level = ops.smooth(level, segment.lines[place - 1])
            if j == segment.last and after is not None:
                x = ops.shrink(level, after)
            if plan.method == "dog":
                following = ops.smooth(level, segment.lines[place])
                held.append(ops.subtract(level, following))
                level = following
                del following
            else:
                held.append(ops.respond(level, plan.method, plan.factors(j, segment.steps)))
            if len(held) == 3:
                yield j - 1, segment.steps, held
                del held[0]  # also for those who have the list
