"""Movies and frames for tests of `locate`, and the one call on the whole array with which it is compared."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np

import npsubpix
from npsubpix.movies import large, locating, plans

__all__ = [
    "assert_same_rows",
    "blocks",
    "check_blobs_in_tiles",
    "frame_of",
    "frame_of_blobs",
    "in_one_call",
    "movie",
    "tiles",
]


def movie(seed: int = 0, shape: tuple[int, ...] = (13, 40, 48)) -> np.ndarray:
    """Return photon counts with a few spots per frame."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(4.0, shape).astype(np.uint16)
    for _ in range(6 * shape[0]):
        place = tuple(int(rng.integers(n)) for n in shape)
        counts[place] += int(rng.integers(20, 60))
    return counts


def frame_of(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return a frame: floats, floats with NaN, photon counts, few values, or counts with flat areas."""
    if kind == "floats":
        return rng.normal(size=shape).astype(np.float32)
    if kind == "gaps":
        x = rng.normal(size=shape).astype(np.float32)
        x[rng.random(shape) < 0.01] = np.nan
        return x
    if kind == "counts":
        return rng.poisson(3, shape).astype(np.uint16)
    x = (rng.integers(0, 3, shape) if kind == "few" else rng.poisson(2, shape)).astype(np.uint16)
    for _ in range(6 if kind == "flat" else 0):
        box = tuple(slice(a := int(rng.integers(n)), a + int(rng.integers(1, 25))) for n in shape)
        x[box] = rng.choice([0, 6, 6, 6, 9, 255])
    return x


def in_one_call(images: np.ndarray, axis: int | None, fit: dict[str, Any] | None = None, **options: Any) -> Any:
    """Return what the functions for arrays in memory find.

    Fits where the noise is not known are made frame by frame, as their errors depend on all spots of a call.
    """
    peaks = npsubpix.find_peaks(images, frame_axis=axis, **options)
    if fit is None and options.get("refine") == "fit" and axis == 0:
        errors = [npsubpix.find_peaks(image, **options).coords_std for image in images]
        return dataclasses.replace(peaks, coords_std=np.concatenate(errors))
    if fit is None:
        return peaks
    if axis is None or "camera" in fit or "error" in fit:
        return npsubpix.fit_spots(images, peaks, frame_axis=axis, **fit)
    maps = {n: fit[n] for n in ("mask",) if np.ndim(fit.get(n)) == images.ndim}
    parts = []
    for k, image in enumerate(np.moveaxis(images, axis, 0)):
        own = {**fit, **{n: value[k] for n, value in maps.items()}}
        parts.append(npsubpix.fit_spots(image, peaks[peaks.frame == k].coords, **own))
    fits = npsubpix.Fits.concatenate(parts)
    return dataclasses.replace(fits, frame=peaks.frame, image_shape=parts[0].image_shape)


def assert_same_rows(found: Any, expected: Any) -> None:
    """Require two tables to be equal, bit for bit."""
    assert type(found) is type(expected)
    for field in dataclasses.fields(expected):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray):
            assert (one.dtype, one.shape) == (other.dtype, other.shape), field.name
            assert one.tobytes() == other.tobytes() or np.array_equal(one, other, equal_nan=True), field.name
        else:
            assert one == other, field.name


@contextlib.contextmanager
def blocks(pixels: int) -> Iterator[None]:
    """Have blocks of about so many pixels."""
    with mock.patch.object(plans, "_PIXELS", pixels):
        yield


@contextlib.contextmanager
def tiles(*lengths: int) -> Iterator[None]:
    """Have frames worked on in tiles of these lengths."""
    with (
        mock.patch.object(locating, "frames_per_block", return_value=0),
        mock.patch.object(large, "tile_lengths", return_value=lengths),
    ):
        yield


def frame_of_blobs(shape: tuple[int, ...] = (190, 230), seed: int = 1) -> np.ndarray:
    """Return blobs of many sizes, bright and dark, beside each other and at the border, in noise."""
    rng = np.random.default_rng(seed)
    image = rng.normal(20, 1, shape)
    axes = [np.arange(n) for n in shape]
    for _ in range(70):
        sigma = rng.uniform(1, 3)
        lines = [np.exp(-((x - rng.uniform(0, x.size)) ** 2) / (2 * sigma**2)) for x in axes]
        image += rng.uniform(-30, 50) * functools.reduce(np.multiply.outer, lines)
    return image.astype(np.float32)


def check_blobs_in_tiles(image: np.ndarray, lengths: tuple[int, ...], **options: Any) -> None:
    """Require the blobs of a frame in tiles to be those of one call."""
    expected = npsubpix.find_blobs(image, **options)
    assert len(expected) >= 8
    with tiles(*lengths):
        assert_same_rows(npsubpix.locate(image, task="blobs", frames=False, **options), expected)
