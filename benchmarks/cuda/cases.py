"""Cases: an operation with its input, to be compared with the CPU and timed."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

import npsubpix
from npsubpix._dispatch.operation import Example
from npsubpix._dispatch.operations import OPERATIONS

__all__ = ["CHECKED", "IMPORTANT", "Case", "all_cases", "by_importance", "functions_on_gpu", "noise"]

Arrays = tuple[np.ndarray, ...]

#: Height and width that results are compared on.
CHECKED = (37, 52)

#: Random numbers of an array, a prime number so that columns differ: a gigabyte of them takes longer than its row.
_DIFFERENT = 4_000_037

_TABLES = ("maps", "filters", "measuring")

#: Names of the cases that are timed first where there is little time, and one of each family before all others.
IMPORTANT = (
    "nms2d 3×3",
    "iterative_quad_interp3d 6 slices",
    "conv_quad_interp3d 6 slices",
    "spatial_soft_argmax2d 256 maps",
    "render_gaussian2d a map a pixel of the side",
    "window_sum 7×7",
    "nms3d 3×3×3",
    "spatial_soft_argmax 256 maps",
    "render_gaussian a map a pixel of the side",
    "render_spots one for 200 pixels",
    "conv_soft_argmax2d 3×3",
    "sample linear, as many points as pixels",
    "correlate 3×3",
    "find_peaks refined",
    "window_median 7×7",
    "grid_sample bilinear, 2 images of 4 channels",
    "sample_with_gradient linear, as many points as pixels",
    "correlate 7×7",
    "conv2d 16 to 32 channels, 4 images",
    "local_background boxes of 16",
    "refine_peaks 1 % of pixels",
    "laplacian_of_gaussian",
    "find_blobs widths from 1.5 to 6",
    "measure_spots 1 % of pixels",
    "fit_patches 11×11, likelihood",
    "align translation",
)


@dataclass(frozen=True)
class Case:
    """A call of a function of the library."""

    function: str  # as the table of capabilities names it
    work: str  # what is timed, beside the side of the image
    make: Callable[[np.random.Generator, int, int], Arrays]  # of a height and a width, in float64
    call: Callable[..., Any]
    side: int  # of the image that is timed
    integers: bool = True  # whether the first array may hold integers
    tolerance: float = 2e-5  # of the greatest value, in float32
    tight: float = 1e-10  # and in float64
    share: float = 0.0  # of elements that may be further off, where nearly singular fits are decided by rounding

    @property
    def name(self) -> str:
        return f"{self.function} {self.work}".rstrip()

    def arrays(self, seed: int, shape: tuple[int, int], dtype: str) -> Arrays:
        """Make the input in a dtype; of integers, the first array alone."""
        made = self.make(np.random.default_rng(seed), *shape)
        if np.dtype(dtype).kind == "f":
            return tuple(a.astype(dtype) if a.dtype.kind == "f" else a for a in made)
        return (np.rint(50 * made[0]).astype(dtype), *made[1:])


def noise(*leading: int) -> Callable[[np.random.Generator, int, int], Arrays]:
    """Return what makes one array of noise with some axes ahead of the height and the width; large ones repeat it."""

    def make(rng: np.random.Generator, height: int, width: int) -> Arrays:
        shape = (*leading, height, width)
        return (np.resize(rng.standard_normal(min(math.prod(shape), _DIFFERENT)), shape),)

    return make


def functions_on_gpu() -> set[str]:
    """Names of the functions that run on GPUs, from the table of operations."""
    return {name for operation in OPERATIONS.values() for name in operation.functions}


def all_cases() -> list[Case]:
    """Return the cases of all functions; of those without one of their own, the example of the table of operations."""
    cases = [case for table in _TABLES for case in importlib.import_module(f"benchmarks.cuda.{table}").CASES]
    timed = {case.function for case in cases}
    examples = {name: e for operation in OPERATIONS.values() for name, e in operation.functions.items()}
    return cases + [_case(name, example) for name, example in examples.items() if name not in timed]


def by_importance(cases: Iterable[Case]) -> list[Case]:
    """Put the cases of `IMPORTANT` first, in its order."""
    ranks = {name: rank for rank, name in enumerate(IMPORTANT)}
    return sorted(cases, key=lambda case: ranks.get(case.name, len(ranks)))


def _case(name: str, example: Example) -> Case:
    return Case(name, "", noise(1, 2, 4), lambda x: example(npsubpix, x), side=512)
