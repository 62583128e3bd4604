"""Blob filters against SciPy, and blobs of all sizes against scikit-image, OpenCV and kornia."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

import npsubpix
from benchmarks import blobbing, data
from benchmarks.agreement import close
from benchmarks.blobbing import Field
from benchmarks.registry import Contest, Peer, Row, Run, contest, measurement, rows_of


@contest("difference_of_gaussians", side=1024)
def difference_of_gaussians(side: int) -> Contest:
    image = data.noise(side, side)

    def theirs() -> np.ndarray:
        return ndimage.gaussian_filter(image, 2) - ndimage.gaussian_filter(image, 3.2)

    return Contest(
        f"{side}², widths 2 and 3.2",
        lambda: npsubpix.difference_of_gaussians(image, 2),
        [Peer("ndimage.gaussian_filter, twice", theirs, None, close(1e-4))],
    )


def _finds(drawn: Field, places: Callable[[Any], np.ndarray], share: float) -> Callable[[Any, Any], str]:
    """Require a share of the blobs that were drawn to be found by the other library, and all of them by ours."""

    def differs(ours: Any, theirs: Any) -> str:
        for name, coords, least in (("npsubpix", ours.coords, 1.0), ("the peer", places(theirs), share)):
            distance, _ = KDTree(coords).query(drawn.coords)
            found = float(np.mean(distance < 0.5 * drawn.sigma.max(axis=1)))
            if found < least:
                return f"{name} finds {found:.0%} of the blobs"
        return ""

    return differs


def _rows(found: np.ndarray) -> np.ndarray:
    """Return the positions of a table of scikit-image, whose rows are (y, x, sigma) or (z, y, x, sigmas)."""
    return found[:, : 2 if found.shape[1] == 3 else 3]


def _keypoints(found: Any) -> np.ndarray:
    return np.array([key.pt[::-1] for key in found])


def _local_frames(found: Any) -> np.ndarray:
    return found[0][0, :, :, 2].numpy()[:, ::-1]


def _field(side: int) -> Field:
    return blobbing.field(side, max(1, 240 * side**2 // 1024**2))


@contest("find_blobs 2-D", side=1024, sweep_bytes=400)
def find_blobs_2d(side: int) -> Contest:
    drawn = _field(side)
    image = drawn.image
    options = {"min_sigma": 1, "max_sigma": 10}
    peers = [
        ("skimage blob_log", blobbing.skimage_blobs("blob_log", image, threshold=0.1, **options), 8, _rows, 0.9),
        ("skimage blob_dog", blobbing.skimage_blobs("blob_dog", image, threshold=0.1, **options), 3, _rows, 0.9),
        ("cv2.SIFT.detect", blobbing.cv2_sift(image), 2, _keypoints, 0.5),
        ("kornia ScaleSpaceDetector", blobbing.kornia_detector(image, double=True), 20, _local_frames, 0.9),
    ]
    return Contest(
        f"{side}², {len(drawn.coords)} blobs, sizes 1 to 10",
        lambda: npsubpix.find_blobs(image, 1, 10),
        [Peer(name, call, target, _finds(drawn, places, share)) for name, call, target, places, share in peers],
    )


@contest("find_blobs 2-D, determinant of the Hessian", side=1024)
def find_blobs_doh(side: int) -> Contest:
    drawn = _field(side)
    theirs = blobbing.skimage_blobs("blob_doh", drawn.image, min_sigma=1, max_sigma=10, threshold=0.002)
    return Contest(
        f"{side}², {len(drawn.coords)} blobs, sizes 1 to 10",
        lambda: npsubpix.find_blobs(drawn.image, 1, 10, method="doh"),
        [Peer("skimage blob_doh", theirs)],
    )


@contest("find_blobs 3-D", side=256)
def find_blobs_3d(side: int) -> Contest:
    shape = (48, side, side)
    drawn = blobbing.volume(shape, max(1, 120 * side**2 // 256**2))
    low, high = (0.9, 1.2, 1.2), (2.4, 3.2, 3.2)
    theirs = blobbing.skimage_blobs("blob_log", drawn.image, min_sigma=low, max_sigma=high, num_sigma=6, threshold=0.08)
    return Contest(
        f"48×{side}², {len(drawn.coords)} blobs, sizes 0.6 to 1.6 × (1.5, 2, 2)",
        lambda: npsubpix.find_blobs(drawn.image, low, high),
        [Peer("skimage blob_log", theirs, 8, _finds(drawn, _rows, 0.9))],
    )


@measurement("find_blobs of noise, threshold 0")
def find_blobs_of_noise(run: Run) -> Iterable[Row]:
    """Blobs without number: the other library compares each pair of them, and needs gigabytes."""
    side = 64 if run.quick else 512
    image = data.noise(side, side)
    theirs = blobbing.skimage_blobs("blob_log", image, min_sigma=1, max_sigma=10, threshold=0)
    entered = Contest(
        f"{side}², sizes 1 to 10",
        lambda: npsubpix.find_blobs(image, 1, 10, threshold_abs=0),
        [Peer("skimage blob_log", theirs, 100)],
    )
    return rows_of("find_blobs of noise, threshold 0", entered, run)
