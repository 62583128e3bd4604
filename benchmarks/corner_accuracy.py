"""Cameras calibrated from corners of chessboards: ``python -m benchmarks.corner_accuracy``.

The photographs of `corners_sony` and `corners_opencv_left`, which are read from the folder beside the project, with
the integer positions from which corners are refined. The residual is that of ``cv2.calibrateCamera`` with focal
lengths, centre and two radial coefficients: better corners agree better with one camera. Seeds moved by up to two
pixels show how much a result depends on them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import npsubpix
from benchmarks.accuracy import DATA, columns, rows_of

Floats = npt.NDArray[np.float64]

SETS = ("corners_sony", "corners_opencv_left")

#: Standard deviations with which corners are compared; the default is 2.
SIGMAS = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0)


class View(NamedTuple):
    """A photograph in grey, the corners of the board in squares, and seeds (y, x) in pixels."""

    image: npt.NDArray[np.uint8]
    board: Floats
    seeds: Floats


class Calibration(NamedTuple):
    """Corners that were refined, of how many, and the camera that fits them best."""

    refined: int
    listed: int
    residual: float
    focal_length: float


def views(folder: Path) -> list[View]:
    """Read the photographs of a set."""
    import cv2

    rows = rows_of(folder / "corners_cv2.csv")
    names = np.array([row["image"] for row in rows])
    board, seeds = columns(rows, "X", "Y"), columns(rows, "seed_y", "seed_x")
    return [
        View(cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE), board[names == name], seeds[names == name])
        for name in np.unique(names)
    ]


def ours(image: npt.NDArray[Any], seeds: Floats, **options: Any) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Refine corners by `refine_corners`; which of them are good."""
    corners = npsubpix.refine_corners(image, seeds, **options)
    return corners.coords, corners.ok


def opencv(image: npt.NDArray[Any], seeds: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Refine corners by ``cv2.cornerSubPix`` in windows of 11 x 11 pixels; it does not say which are good."""
    import cv2

    xy = np.ascontiguousarray(seeds[:, None, ::-1], np.float32)
    criteria = cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-4
    found = cv2.cornerSubPix(image, xy, (5, 5), (-1, -1), criteria)
    return found[:, 0, ::-1].astype(np.float64), np.ones(len(seeds), bool)


def calibrated(photographs: list[View], refine: Callable[..., Any], moved: int = 0) -> Calibration:
    """Calibrate a camera from corners that were refined from seeds, moved by up to so many pixels along each axis."""
    import cv2

    rng = np.random.default_rng(0)
    boards, corners = [], []
    for view in photographs:
        seeds = view.seeds + rng.integers(-moved, moved + 1, view.seeds.shape)
        coords, ok = refine(view.image, seeds)
        board = np.concatenate([view.board, np.zeros((len(view.board), 1))], 1)
        boards.append(board[ok].astype(np.float32))
        corners.append(np.ascontiguousarray(coords[ok][:, ::-1], np.float32))
    height, width = photographs[0].image.shape
    flags = cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K3
    residual, matrix, *_ = cv2.calibrateCamera(boards, corners, (width, height), None, None, flags=flags)
    return Calibration(sum(map(len, corners)), sum(len(v.seeds) for v in photographs), residual, float(matrix[0, 0]))


def main() -> None:
    """Print the tables as Markdown."""
    if not DATA.exists():
        sys.exit(f"{DATA} is not there: it holds the photographs")
    methods: dict[str, Callable[..., Any]] = {"`cv2.cornerSubPix`": opencv}
    methods |= {f"`refine_corners`, σ {sigma:g}": partial(ours, sigma=sigma) for sigma in SIGMAS}
    print("| set | method | refined | residual, px | focal length, px | residual from seeds 2 px off | refined |")
    print("|---|---|---|---|---|---|---|")
    for name in SETS:
        photographs = views(DATA / name)
        for method, refine in methods.items():
            best, moved = calibrated(photographs, refine), calibrated(photographs, refine, moved=2)
            print(
                f"| `{name}` | {method} | {best.refined} of {best.listed} | {best.residual:.3f} "
                f"| {best.focal_length:.1f} | {moved.residual:.3f} | {moved.refined} of {moved.listed} |"
            )


if __name__ == "__main__":
    main()
