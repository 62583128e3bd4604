"""Inputs, float32 and seeded. The last of each kind is kept, since benchmarks share them."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import scipy.ndimage

__all__ = ["SPOT_SIGMA", "SPOT_THRESHOLD", "few_spots", "noise", "smooth_volume", "spots"]

Image = npt.NDArray[np.float32]

SPOT_SIGMA = 1.5
#: Above the background and below every spot.
SPOT_THRESHOLD = 25.0

_TILE = 1024
_CELLS = 71  # 71 x 71 cells hold the 5,000 spots of a tile, at least 6 pixels apart


@functools.lru_cache(maxsize=1)
def noise(*shape: int) -> Image:
    """Return white noise, which has the most maxima."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@functools.lru_cache(maxsize=1)
def smooth_volume(side: int) -> Image:
    """Return five smooth slices, of about 8,000 maxima in 1024 x 1024; larger ones are tiled."""
    shape = (5, min(side, _TILE), min(side, _TILE))
    white = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return _tiled(scipy.ndimage.gaussian_filter(white, (1, 1.5, 1.5)), side)


@functools.lru_cache(maxsize=1)
def spots(side: int) -> Image:
    """Return an image of spots with noise, 5,000 in 1024 x 1024; larger ones are tiled."""
    rng = np.random.default_rng(0)
    cells = rng.permutation(_CELLS**2)[:5000]
    centres = (np.stack(np.divmod(cells, _CELLS), axis=1) + 0.5) * _TILE / _CELLS + rng.uniform(-4, 4, (5000, 2))
    image = rng.standard_normal((_TILE, _TILE), dtype=np.float32)
    _draw(image, centres, rng.uniform(50, 100, 5000))
    return _tiled(image, side)


def few_spots(side: int) -> Image:
    """Return an image of five spots and nothing else."""
    image = np.zeros((side, side), np.float32)
    places = np.array([[0.2, 0.25], [0.3, 0.7], [0.5, 0.45], [0.75, 0.2], [0.8, 0.8]])
    _draw(
        image, np.floor(places * side) + 0.3, np.linspace(60, 100, 5)
    )  # halfway between pixels they would be plateaus
    return image


def _draw(image: Image, centres: npt.NDArray[np.float64], heights: npt.NDArray[np.float64]) -> None:
    """Add Gaussian spots to an image, which continues on its other side."""
    pixels = np.rint(centres).astype(int)[:, :, None] + np.arange(-8, 9)
    y, x = np.moveaxis(np.exp(-((pixels - centres[:, :, None]) ** 2) / (2 * SPOT_SIGMA**2)), 1, 0)
    rows, columns = np.moveaxis(pixels % len(image), 1, 0)
    patches = heights[:, None, None] * y[:, :, None] * x[:, None, :]
    np.add.at(image, (rows[:, :, None], columns[:, None, :]), patches.astype(np.float32))


def _tiled(tile: Image, side: int) -> Image:
    """Repeat or crop the last two axes to `side`."""
    repeats = -(-side // tile.shape[-1])
    tiled = np.tile(tile, (*(1,) * (tile.ndim - 2), repeats, repeats)) if repeats > 1 else tile
    return np.ascontiguousarray(tiled[..., :side, :side])
