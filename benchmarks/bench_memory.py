"""Peak memory of one large call, each in a process of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

import npsubpix
from benchmarks import blobbing, data, peers
from benchmarks.bench_nms import on_tensor
from benchmarks.child import run_module
from benchmarks.registry import Row, Run, Stats, Target, measurement

__all__ = ["CASES", "Case", "Use"]


@dataclass(frozen=True)
class Use:
    """Memory that a call needed, in bytes."""

    extra: int  # above what was resident before it, at the peak
    outputs: int
    pixels: int
    method: str


@dataclass(frozen=True)
class Case:
    """An operation of which the memory is measured."""

    name: str
    side: int
    image: Callable[[int], np.ndarray]
    ours: Callable[[np.ndarray], Any]
    peer: str
    theirs: Callable[[np.ndarray], Callable[[], Any] | None]
    unit: str = "× outputs"
    limit: float = 1.1


def _image(side: int) -> np.ndarray:
    return data.noise(1, 1, side, side)


def _volume(side: int) -> np.ndarray:
    return data.noise(1, 1, 5, side, side)


def _smooth(side: int) -> np.ndarray:
    return data.smooth_volume(side)[None, None]


def _peak_local_max(image: np.ndarray) -> Callable[[], Any] | None:
    feature = peers.load("skimage.feature")
    return feature and (lambda: feature.peak_local_max(image, min_distance=2, threshold_abs=data.SPOT_THRESHOLD))


def _flat(side: int) -> np.ndarray:
    return data.noise(side, side)


def _blobs(side: int) -> np.ndarray:
    return blobbing.field(side, 240 * side**2 // 1024**2).image


def _by_cv2(name: str, *arguments: Any) -> Callable[[np.ndarray], Callable[[], Any] | None]:
    cv2 = peers.load("cv2")
    return lambda x: cv2 and (lambda: getattr(cv2, name)(x, *arguments))


_WEIGHTS = np.random.default_rng(3).standard_normal((7, 7)).astype(np.float32)

CASES = [
    Case(
        "correlate 7×7",
        8192,
        _flat,
        lambda x: npsubpix.correlate(x, _WEIGHTS),
        "cv2.filter2D",
        _by_cv2("filter2D", -1, _WEIGHTS),
    ),
    Case(
        "window_sum 31×31",
        8192,
        _flat,
        lambda x: npsubpix.window_sum(x, 31),
        "cv2.boxFilter",
        _by_cv2("boxFilter", -1, (31, 31)),
    ),
    Case(
        "window_median 5×5",
        8192,
        _flat,
        lambda x: npsubpix.window_median(x, 5),
        "cv2.medianBlur",
        _by_cv2("medianBlur", 5),
    ),
    Case(
        "window_median 15×15",
        2048,
        _flat,
        lambda x: npsubpix.window_median(x, 15),
        "none",
        lambda _: None,
    ),
    Case(
        "nms2d 3×3, values",
        8192,
        _image,
        lambda x: npsubpix.nms2d(x, (3, 3)),
        "kornia",
        lambda x: on_tensor("nms2d", x, (3, 3)),
    ),
    Case(
        "nms2d 3×3, mask",
        8192,
        _image,
        lambda x: npsubpix.nms2d(x, (3, 3), mask_only=True),
        "kornia",
        lambda x: on_tensor("nms2d", x, (3, 3), mask_only=True),
    ),
    Case(
        "nms2d 15×15, mask",
        8192,
        _image,
        lambda x: npsubpix.nms2d(x, (15, 15), mask_only=True),
        "kornia",
        lambda x: on_tensor("nms2d", x, (15, 15), mask_only=True),
    ),
    Case(
        "nms3d 3×3×3, mask",
        4096,
        _volume,
        lambda x: npsubpix.nms3d(x, (3, 3, 3), mask_only=True),
        "kornia",
        lambda x: on_tensor("nms3d", x, (3, 3, 3), mask_only=True),
    ),
    Case(
        "iterative_quad_interp3d",
        2048,
        _smooth,
        npsubpix.iterative_quad_interp3d,
        "kornia",
        lambda x: on_tensor("iterative_quad_interp3d", x),
    ),
    Case(
        "find_peaks 2-D, besides the result",
        4096,
        data.spots,
        lambda x: npsubpix.find_peaks(x, min_distance=2, threshold_abs=data.SPOT_THRESHOLD),
        "skimage peak_local_max",
        _peak_local_max,
        unit="B/pixel",
        limit=1.0,
    ),
    Case(
        "find_blobs, besides the result",
        2048,
        _blobs,
        lambda x: npsubpix.find_blobs(x, 1, 10),
        "skimage blob_log",
        lambda x: blobbing.skimage_blobs("blob_log", x, min_sigma=1, max_sigma=10, threshold=0.1),
        unit="B/pixel",
        limit=24.0,  # six images
    ),
    Case(
        "find_peaks 3-D, besides the result",
        2048,
        data.smooth_volume,
        npsubpix.find_peaks,
        "kornia iterative_quad_interp3d",
        lambda x: on_tensor("iterative_quad_interp3d", x[None, None]),
        unit="B/pixel",
        limit=1.0,
    ),
]


def _stats(use: Use, unit: str) -> Stats:
    if unit == "B/pixel":
        return Stats.of([(use.extra - use.outputs) / use.pixels])
    return Stats.of([use.extra / use.outputs])


def _use(case: Case, who: str, side: int, run: Run) -> Use | None:
    found = run_module("benchmarks.memory_child", case.name, who, str(side), threads=run.threads)
    return Use(**found) if found else None


def _rows(case: Case, run: Run) -> Iterable[Row]:
    side = 512 if run.quick else case.side
    use = _use(case, "ours", side, run)
    theirs = None if run.quick else _use(case, "theirs", side, run)
    depth = "5×" if use.pixels > side**2 else ""
    assert use is not None
    yield Row(
        f"memory: {case.name}",
        f"{depth}{side}², {use.method}",
        case.unit,
        _stats(use, case.unit),
        case.peer,
        _stats(theirs, case.unit) if theirs else None,
        Target(case.limit, at_least=False),
    )


for _case in CASES:
    measurement(f"memory: {_case.name}")(functools.partial(_rows, _case))
