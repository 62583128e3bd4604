"""Whether the GPU gives what the CPU gives, on input that no one has seen before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cuda.cases import CHECKED, Case
from npsubpix._arrays.library import to_numpy

__all__ = ["DTYPES", "Verdict", "as_markdown", "compare", "verdicts"]

#: Dtypes that results are compared for.
DTYPES = ("float32", "float64", "int16")


@dataclass(frozen=True)
class Verdict:
    """The outcome for one case and dtype; `difference` says what differs, nothing if all is the same."""

    case: str
    dtype: str
    difference: str


def verdicts(
    cases: Iterable[Case], to_gpu: Callable[[np.ndarray], Any], seed: int, dtypes: tuple[str, ...] = DTYPES
) -> list[Verdict]:
    """Run every case on both; an error on the GPU is a difference too."""
    found = []
    for case in cases:
        for dtype in dtypes:
            if np.dtype(dtype).kind == "i" and not case.integers:
                continue
            arrays = case.arrays(seed, CHECKED, dtype)
            try:
                results = [to_numpy(r) for r in _tuple(case.call(*map(to_gpu, arrays)))]
            except Exception as error:
                difference = f"{type(error).__name__}: {error}"
            else:
                difference = compare(results, [np.asarray(r) for r in _tuple(case.call(*arrays))], case)
            found.append(Verdict(case.name, dtype, difference))
    return found


def _tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def compare(results: list[np.ndarray], wanted: list[np.ndarray], case: Case) -> str:
    """Say in what results differ from those that are wanted."""
    if len(results) != len(wanted):
        return f"{len(results)} results, {len(wanted)} on the CPU"
    return next(filter(None, (_difference(a, b, case) for a, b in zip(results, wanted, strict=True))), "")


def _difference(result: np.ndarray, want: np.ndarray, case: Case) -> str:
    if (result.shape, result.dtype) != (want.shape, want.dtype):
        return f"{result.dtype} of shape {result.shape}, on the CPU {want.dtype} of {want.shape}"
    if want.dtype.kind != "f":
        far = result != want
    else:
        room = (case.tolerance if want.dtype == np.float32 else case.tight) * (
            1 + np.abs(want[np.isfinite(want)]).max(initial=0)
        )
        with np.errstate(invalid="ignore"):  # infinity less infinity
            near = np.abs(np.subtract(result, want, dtype=np.float64)) <= room
        far = ~(near | (result == want) | (np.isnan(result) & np.isnan(want)))
    count = int(np.count_nonzero(far))
    return f"{count} of {want.size} differ" if count > case.share * want.size else ""


def as_markdown(found: list[Verdict], seed: int) -> list[str]:
    """Lines that say how many comparisons there were, and what differed."""
    wrong = [v for v in found if v.difference]
    head = f"Results of {len(found)} calls on random input (seed {seed}) were compared with those of the CPU: "
    lines = [f"- {v.case}, {v.dtype}: {v.difference}" for v in wrong]
    return [head + ("all agree." if not wrong else f"{len(wrong)} differ."), *([""] if lines else []), *lines]
