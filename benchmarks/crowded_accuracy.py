"""Scatter and standard errors of spots that are fitted together: ``python -m benchmarks.crowded_accuracy``.

Fields have 600 spots of 1,000 photons and a width of 1.2 pixels, on a background of 10 photons per pixel, anywhere in
256 x 256 pixels. Rows of the table are of spots by the distance of the nearest other one, in widths. The bound is that
of Cramér and Rao for the positions, fluxes and, if free, widths of all spots of a field and one background, from all of
its pixels. Only rows that are ``ok`` count.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree
from scipy.special import erf

import npsubpix

Floats = npt.NDArray[np.float64]

SPOTS, SIDE, FLUX, SIGMA, BACKGROUND = 600, 256, 1000.0, 1.2, 10.0

#: Distances of nearest neighbours, in widths.
DISTANCES = ((1.0, 1.5), (1.5, 3.0), (3.0, np.inf))

_REACH = 8  # pixels around a spot that has light there


class Row(NamedTuple):
    """Spots of a range of distances.

    How many there are; the share that is ok; the scatter of positions over the bound; and the scatter of positions, of
    fluxes and of backgrounds in units of standard errors; the mean error over the bound, both as root mean squares.
    """

    spots: int
    ok: float
    rms: float
    error: float
    flux_error: float
    background_error: float
    error_over_bound: float


def field(rng: np.random.Generator, count: int = SPOTS) -> tuple[Floats, Floats]:
    """Return positions, and the image without noise."""
    spots = rng.uniform(8, SIDE - 8, (count, 2))
    light = npsubpix.render_spots(spots, (SIDE, SIDE), std=SIGMA, amplitude=FLUX, integrate=True)
    return spots, np.asarray(light) + BACKGROUND


def _lines(places: Floats, centre: float) -> list[Floats]:
    edges = (np.append(places, places[-1] + 1) - 0.5 - centre) / SIGMA
    density = np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi) / SIGMA
    return [np.diff(erf(edges / np.sqrt(2))) / 2, -np.diff(density), -np.diff(density * edges)]


def joint_bound(spots: Floats, image: Floats, width: str) -> Floats:
    """Return the bounds of the positions of all spots of a field."""
    size, data, columns, rows = 3 + (width == "free"), [], [], []
    for n, spot in enumerate(spots):
        y, x = (np.arange(max(round(c) - _REACH, 0), min(round(c) + _REACH + 1, SIDE)) for c in spot)
        own_y, own_x = _lines(y, spot[0]), _lines(x, spot[1])
        slopes = [
            FLUX * np.outer(own_y[1], own_x[0]),
            FLUX * np.outer(own_y[0], own_x[1]),
            np.outer(own_y[0], own_x[0]),
        ]
        if width == "free":
            slopes.append(FLUX * (np.outer(own_y[2], own_x[0]) + np.outer(own_y[0], own_x[2])))
        pixels = (y[:, None] * SIDE + x).ravel()
        for k, slope in enumerate(slopes):
            data.append(slope.ravel())
            columns.append(pixels)
            rows.append(np.full(pixels.size, size * n + k))
    last = size * len(spots)
    data.append(np.ones(SIDE * SIDE))
    columns.append(np.arange(SIDE * SIDE))
    rows.append(np.full(SIDE * SIDE, last))
    table = scipy.sparse.csr_array(
        (np.concatenate(data), (np.concatenate(rows), np.concatenate(columns))), shape=(last + 1, SIDE * SIDE)
    )
    information = (table.multiply(1 / image.ravel())).tocsr() @ table.T
    scale = 1 / np.sqrt(information.diagonal())
    scaling = scipy.sparse.diags_array(scale)
    solver = splu((scaling @ information @ scaling).tocsc())
    wanted = [size * n + k for n in range(len(spots)) for k in range(2)]
    bounds = []
    for first in range(0, len(wanted), 256):
        part = wanted[first : first + 256]
        unit = np.zeros((last + 1, len(part)))
        unit[part, np.arange(len(part))] = 1
        bounds.append(solver.solve(unit)[part, np.arange(len(part))] * scale[part] ** 2)
    return np.asarray(np.sqrt(np.concatenate(bounds)).reshape(-1, 2), np.float64)


def measure(width: str, estimator: str, fields: int = 5) -> dict[tuple[float, float], Row]:
    """Return rows by the distance of nearest neighbours."""
    rng = np.random.default_rng(3)
    parts = []
    for _ in range(fields):
        spots, image = field(rng)
        counts = rng.poisson(image).astype(float)
        starts = spots + rng.normal(0, 0.3, spots.shape)
        known = {"mle": {"camera": npsubpix.Camera()}, "wls": {"error": np.sqrt(image)}, "lsq": {}}[estimator]
        fits = npsubpix.fit_spots(counts, starts, sigma=SIGMA, width=width, neighbors="fit", **known)  # type: ignore[arg-type]
        bound = joint_bound(spots, image, width)
        nearest = cKDTree(spots).query(spots, 2)[0][:, 1] / SIGMA
        parts.append(
            np.column_stack(
                [
                    nearest,
                    fits.ok,
                    fits.coords - spots,
                    bound,
                    fits.coords_std,
                    (fits.flux - FLUX) / fits.flux_std,
                    (fits.background - BACKGROUND) / fits.background_std,
                ]
            )
        )
    table, rows = np.concatenate(parts), {}
    for low, high in DISTANCES:
        near = table[(table[:, 0] >= low) & (table[:, 0] < high)]
        kept = near[near[:, 1] > 0]
        shift, best, errors = kept[:, 2:4], kept[:, 4:6], kept[:, 6:8]
        rows[low, high] = Row(
            len(kept), len(kept) / len(near), float(np.sqrt(np.mean((shift / best) ** 2))),
            float(np.std(shift / errors)), float(np.std(kept[:, 8])), float(np.nanstd(kept[:, 9])),
            float(np.sqrt(np.mean((errors / best) ** 2))),
        )  # fmt: skip
    return rows


def lines(fields: int) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| width | estimator | nearest neighbour | spots | ok | RMS / bound | error / bound | error of x, y | flux | background |"  # noqa: E501
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for width, estimator in (("fixed", "mle"), ("free", "mle"), ("fixed", "lsq"), ("free", "lsq")):
        for (low, high), row in measure(width, estimator, fields).items():
            where = f"beyond {low:g} σ" if np.isinf(high) else f"{low:g} to {high:g} σ"
            yield (
                f"| {width} | {estimator} | {where} | {row.spots} | {row.ok:.3f} | {row.rms:.3f} "
                f"| {row.error_over_bound:.3f} | {row.error:.2f} | {row.flux_error:.2f} | {row.background_error:.2f} |"
            )


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lines(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
