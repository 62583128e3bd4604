"""The pages for those who come from another library: both calls of each row, and the results that they must share."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import npsubpix

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("scikit_image", "scipy", "opencv", "trackpy", "picasso", "photutils")

#: How far results may be apart where both measure, and neither is exact: (absolute, relative).
APART = {
    "feature.blob_log": (0.5, 0),
    "feature.corner_subpix": (0.1, 0),
    "registration.phase_cross_correlation": (0.02, 0),
    "cv2.cornerSubPix": (0.1, 0),
    "cv2.phaseCorrelate": (1.0, 0),
    "cv2.findTransformECC": (0.15, 0),
    "cv2.warpAffine": (0.03, 0),
    "cv2.remap": (0.03, 0),
    "cv2.matchTemplate": (0.05, 1e-4),
    "cv2.getRectSubPix": (1e-4, 0),
    "tp.locate": (0.05, 0),
    "tp.batch": (0.05, 0),
    "tp.compute_drift": (0.02, 0),
    "tp.subtract_drift": (0.1, 0),
    "localize.identify": (0, 0),
    "gaussmle.gaussmle": (0.01, 0),
    "Background2D": (0, 0.01),
    "sep.Background": (0, 0.01),
    "DAOStarFinder": (0.1, 0),
    "PSFPhotometry": (0.02, 0),
    "sep.winpos": (0.02, 0),
    "sep.sum_circle": (0, 1e-6),
}


def rows(page: str) -> list[tuple[str, str]]:
    """The expressions of the other library and of this one."""
    text = (DOCS / f"coming_from_{page}.md").read_text()
    tables = [part.split("\n\n")[0] for part in text.split("| there | here | notes |")[1:]]
    found = [row for table in tables for row in re.findall(r"^\| `(.+?)` \| `(.+?)` \|", table, re.MULTILINE)]
    assert len(found) == sum(table.count("\n|") - 1 for table in tables) > 2, "each row has two expressions"
    return found


CASES = [(page, *row) for page in PAGES for row in rows(page)]


@functools.cache
def names(page: str) -> dict[str, Any]:
    """What the expressions of a page refer to."""
    public = {name: getattr(npsubpix, name) for name in npsubpix.__all__}
    return {**public, "np": np, **globals()[f"_{page}"](np.random.default_rng(8))}


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of the other libraries
@pytest.mark.parametrize(("page", "there", "here"), CASES, ids=[f"{page}-{there}" for page, there, _ in CASES])
def test_row(page, there, here):
    wanted, found = (np.asarray(eval(expression, dict(names(page))), np.float64) for expression in (there, here))
    assert found.shape == wanted.shape
    assert found.size
    absolute, relative = next((apart for call, apart in APART.items() if call in there), (1e-9, 1e-9))
    np.testing.assert_allclose(found, wanted, atol=absolute, rtol=relative)


def _smooth(rng: np.random.Generator) -> np.ndarray:
    from scipy import ndimage

    return 10 + 100 * ndimage.gaussian_filter(rng.normal(size=(60, 71)), 1.5)


def _field(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Spots on a background, and their positions, brightest first."""
    points = np.stack(np.mgrid[12:90:15, 14:110:16], -1).reshape(-1, 2) + rng.uniform(-0.5, 0.5, (36, 2))
    flux = np.linspace(4000, 1500, 36)
    light = npsubpix.render_spots(points, (101, 112), std=1.4, amplitude=flux, integrate=True)
    return light + rng.normal(50, 2, light.shape), points


def _board(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A turned chessboard, and pixels near its corners."""
    y, x = np.mgrid[:450, :500] / 5 - 0.4
    u, v = 0.06 * y + 0.012 * x - 0.7, -0.014 * y + 0.066 * x - 0.3
    dark = (u > 0) & (u < 5) & (v > 0) & (v < 5) & ((np.floor(u) + np.floor(v)) % 2 == 0)
    board = np.where(dark, 40.0, 200.0).reshape(90, 5, 100, 5).mean((1, 3)) + rng.normal(0, 1, (90, 100))
    corners = np.stack(np.mgrid[1:4, 1:4], -1).reshape(-1, 2)
    corners = np.linalg.solve([[0.06, 0.012], [-0.014, 0.066]], (corners + np.array([0.7, 0.3])).T).T
    return {"board": board.clip(0, 255), "seeds": np.rint(corners)}


def _pair(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Images of one scene, which are displaced, or turned and stretched."""
    from scipy import ndimage

    scene = 100 * ndimage.gaussian_filter(rng.normal(size=(120, 130)), 1.0, mode="wrap")
    moved = np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(scene), (1.3, -2.4))).real
    turned = npsubpix.warp(scene, [[1.01, -0.03, 2.0], [0.03, 1.0, -3.0]], method="bspline5", mode="reflect")
    return {"fixed": scene, "moving": moved, "turned": turned}


def _scikit_image(rng: np.random.Generator) -> dict[str, Any]:
    from skimage import feature, filters, measure, registration, transform

    blob = npsubpix.render_spots([[30.2, 41.7]], (64, 80), std=3.0, amplitude=60.0, normalization="peak")
    return {
        "feature": feature, "filters": filters, "measure": measure, "registration": registration,
        "transform": transform, "x": _smooth(rng), "t": 30.0, "blob": blob,
        "M": np.array([[0.99, -0.05, 3.2], [0.04, 1.01, 1.7], [0, 0, 1]]), **_board(rng), **_pair(rng),
    }  # fmt: skip


def _scipy(rng: np.random.Generator) -> dict[str, Any]:
    from scipy import ndimage, signal, special

    return {
        "ndimage": ndimage, "signal": signal, "special": special, "x": _smooth(rng), "t": 30.0,
        "ys": rng.uniform(0, 59, 50), "xs": rng.uniform(0, 70, 50), "k": rng.normal(size=(5, 4)),
        "A": np.array([[0.9, 0.02], [-0.03, 0.92]]), "b": np.array([2.3, 3.1]),
        "g": np.exp(-(np.arange(-6, 7) ** 2) / (2 * 1.5**2)),
    }  # fmt: skip


def _opencv(rng: np.random.Generator) -> dict[str, Any]:
    import cv2

    x = _smooth(rng).astype(np.float32)
    pair = {name: image.astype(np.float32) for name, image in _pair(rng).items()}
    board = _board(rng)
    return {
        "cv2": cv2, "x": x, "template": x[20:29, 30:37].copy(),
        "M": np.array([[0.97, -0.05, 2.2], [0.04, 0.96, 1.7]]),
        "map_y": rng.uniform(0, 59, (20, 25)).astype(np.float32),
        "map_x": rng.uniform(0, 70, (20, 25)).astype(np.float32),
        "stop": (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 100, 1e-6),
        "board": board["board"].astype(np.float32), "seeds": board["seeds"], **pair,
        "points": board["seeds"][:, ::-1].astype(np.float32).copy(),
    }  # fmt: skip


def _beads(rng: np.random.Generator, frames: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """A movie of beads that drift, and their positions in the first frame."""
    points = np.stack(np.mgrid[12:97:17, 12:97:17], -1).reshape(-1, 2) + rng.uniform(-1, 1, (25, 2))
    drift = np.linspace([0, 0], [1.5, -0.8], frames)
    movie = [
        npsubpix.render_spots(points + move, (104, 104), std=1.5, amplitude=9000.0, integrate=True)
        + rng.normal(20, 2, (104, 104))
        for move in drift
    ]
    return np.stack(movie), points


def _trackpy(rng: np.random.Generator) -> dict[str, Any]:
    tp = pytest.importorskip("trackpy")
    tp.quiet()
    movie, points = _beads(rng)
    peaks = npsubpix.find_peaks(movie, threshold_abs=100, size=7, refine="centroid", radius=4.5, frame_axis=0)
    return {
        "tp": tp, "movie": movie, "frame": movie[0], "pixels": np.rint(points).astype(int), "peaks": peaks,
        "linked": tp.link(peaks.to_trackpy(), 3), "in_order": _in_order,
    }  # fmt: skip


def _in_order(table: Any) -> np.ndarray:
    """Positions (y, x) of a table, in the order of frames, rows and columns."""
    if isinstance(table, npsubpix.Peaks):
        places = table.coords if table.frame is None else np.column_stack([table.frame, table.coords])
    else:
        named = {re.sub("_(peak|centroid)$", "", name): name for name in list(table.columns)}
        places = np.column_stack([np.asarray(table[named[key]]) for key in ("frame", "y", "x") if key in named])
    cells = np.column_stack([places[:, :-2], places[:, -2:] // 17])  # no spot is near to the edge of one
    return places[np.lexsort(cells.T[::-1])]


def _picasso(rng: np.random.Generator) -> dict[str, Any]:
    pytest.importorskip("picasso")
    from picasso import gaussmle, io, localize

    light, points = _beads(rng, 3)
    movie = rng.poisson(light / 4).astype(np.uint16)
    y, x = np.rint(points[12]).astype(int)
    return {
        "localize": localize, "gaussmle": gaussmle, "io": io, "movie": movie,
        "spots": movie[:, y - 4 : y + 5, x - 4 : x + 5].astype(np.float32), "in_order": _in_order,
    }  # fmt: skip


def _photutils(rng: np.random.Generator) -> dict[str, Any]:
    import sep
    from astropy.table import Table
    from photutils import centroids, detection, psf
    from photutils.aperture import CircularAperture, aperture_photometry
    from photutils.background import Background2D

    image, points = _field(rng)
    sky = 200 + 0.2 * np.arange(256) + rng.normal(0, 3, (256, 256))
    return {
        "aperture_photometry": aperture_photometry, "CircularAperture": CircularAperture,
        "Background2D": Background2D, "DAOStarFinder": detection.DAOStarFinder, "detection": detection,
        "centroid_com": centroids.centroid_com, "PSFPhotometry": psf.PSFPhotometry,
        "GaussianPRF": psf.CircularGaussianPRF, "Table": Table, "sep": sep, "image": image, "points": points,
        "sky": sky, "stamp": image[8:20, 8:22] - 50, "in_order": _in_order,
        "start": Table({"x": points[:, 1].round(), "y": points[:, 0].round(), "flux": np.full(36, 2000.0)}),
    }  # fmt: skip
