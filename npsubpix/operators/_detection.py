"""Detection of features in a scale pyramid by the rules of kornia 0.9.0, for plain detectors and modules of torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from npsubpix._arrays.checks import check_ndim
from npsubpix._arrays.home import home_of
from npsubpix._arrays.library import Array, as_array, in_library_of
from npsubpix._arrays.namespace import at_least_single, constants_like, float_array, namespace_of
from npsubpix._arrays.options import check_count
from npsubpix._definitions.blob_sizes import excess_blurs
from npsubpix.nms import nms3d_minmax
from npsubpix.operators._masks import is_clear, level_mask, weighted
from npsubpix.operators.responses import BlobDoG

__all__ = ["Detection", "shaped"]

_BORDER = 5  # pixels of an octave by which half of a frame stays away from its outermost ones


class _Candidates(NamedTuple):
    """Extrema of one octave of one image."""

    values: Array  # (K,)
    coords: Array  # (K, 3), as scale, x, y in levels and pixels of the octave


class _Features(NamedTuple):
    """Features of one octave of one image, strongest first."""

    responses: Array  # (K,)
    frames: Array  # (K, 2, 3), in pixels of the image


class _Octave(NamedTuple):
    """Responses of an octave of all images, in at least float32, and what converts them to features."""

    response: Array  # (B, 1, L, H, W)
    dtype: Any  # of the response before its promotion
    sigmas: Array  # (B,) of the first level
    excess: float | None  # variance beyond the nominal one, for unbiased sizes
    mask: Array | None  # (1 or B, H * W) weights
    spacing: tuple[float, float]  # pixels of the image per pixel of the octave, as x, y


@dataclass(frozen=True)
class Detection:
    """The parts and options of a detector, by the names of its attributes."""

    mr_size: float
    minima_are_also_good: bool
    scale_space_response: bool
    unbiased_sizes: bool
    scale_pyr: Any
    resp: Any
    subpix: Any

    @classmethod
    def of(cls, detector: Any) -> Detection:
        """Return those that a detector has now."""
        return cls(**{field.name: getattr(detector, field.name) for field in fields(cls)})

    def __call__(self, img: Array, count: int, mask: Array | None) -> tuple[Array, Array]:
        """Return responses (B, count) and frames (B, count, 2, 3), before frames are given a shape."""
        image = float_array(img, "img")
        check_ndim(image, 4, "img", "(B, C, H, W)")
        check_count(count, "num_features")
        with home_of(image).working():
            octaves, sigmas, _ = self.scale_pyr(image)
            excess = self._excess_blurs(image, octaves)
            weights = None if mask is None else _checked_mask(mask, image)
            found, dtype = [], image.dtype
            for levels, widths, extra in zip(octaves, sigmas, excess, strict=True):
                octave = self._octave(levels, widths, weights, extra, image)
                found.append(self._features(octave, count, image))
                dtype = octave.dtype
            responses, frames = _strongest(found, count, image)
            return namespace_of(image).astype(responses, dtype, copy=False), frames

    def _excess_blurs(self, image: Array, octaves: Sequence[Array]) -> Sequence[float | None]:
        if not self.unbiased_sizes:
            return [None] * len(octaves)
        if not hasattr(self.resp, "size_relation"):
            raise TypeError(f"unbiased_sizes needs a resp_module with a method size_relation, got {self.resp!r}")
        try:
            enlarged, first = bool(self.scale_pyr.double_image), float(self.scale_pyr.init_sigma)
        except AttributeError:
            raise TypeError(
                f"unbiased_sizes needs a scale_pyr_module with the attributes of ScalePyramid, got {self.scale_pyr!r}"
            ) from None
        smoothing = 1.0 if enlarged else 0.5
        shapes = [tuple(octave.shape[-2:]) for octave in octaves]
        return excess_blurs(tuple(image.shape[-2:]), shapes, max(first, smoothing), smoothing, enlarged)

    def _levels(self) -> int:
        return int(self.scale_pyr.n_levels)

    def _octave(self, octave: Array, sigmas: Array, mask: Array | None, excess: float | None, image: Array) -> _Octave:
        """Compute the response of an octave at the levels that are searched, and at their neighbours."""
        count = self._levels() + 2
        if self.scale_space_response:
            response = self.resp(octave, namespace_of(sigmas).reshape(sigmas, (-1,)))
        else:
            response = self._response_of_levels(octave[:, :, :count], sigmas[:, :count])
        batch, _, _, height, width = octave.shape
        got = tuple(response.shape)
        if len(got) != 5 or got[:2] != (batch, 1) or got[3:] != (height, width):
            raise ValueError(
                f"resp_module must return one response per level, ({batch}, 1, L, {height}, {width}), got shape {got}"
            )
        response = response[:, :, :count]
        rows, columns = image.shape[2:]
        spacing = (columns - 1) / max(width - 1, 1), (rows - 1) / max(height - 1, 1)
        weights = None if mask is None else level_mask(mask, (height, width), response.dtype)
        return _Octave(
            at_least_single(response), response.dtype, sigmas[:, 0], excess, weights, (spacing[0], spacing[1])
        )

    def _response_of_levels(self, octave: Array, sigmas: Array) -> Array:
        """Compute a response that takes images, for the levels of an octave."""
        batch, channels, levels, height, width = octave.shape
        xp = namespace_of(octave)
        images = xp.reshape(xp.permute_dims(octave, (0, 2, 1, 3, 4)), (batch * levels, channels, height, width))
        if getattr(self.resp, "_plain", type(self.resp)) is BlobDoG:
            raise ValueError("BlobDoG subtracts levels of an octave: pass scale_space_response=True")
        response = self.resp(images, xp.reshape(sigmas, (-1,)))
        if tuple(response.shape) != (batch * levels, 1, height, width):
            wanted = (batch * levels, 1, height, width)
            raise ValueError(f"resp_module must return one map per image, {wanted}, got shape {tuple(response.shape)}")
        return xp.reshape(response, (batch, 1, levels, height, width))

    def _refined(self, response: Array, mask: Array) -> tuple[Array, Array]:
        """Refine extrema, at which a mask is True; return coordinates and values of all voxels."""
        module = getattr(self.subpix, "_orig_mod", self.subpix)  # which torch.compile wraps
        parameters = inspect.signature(getattr(module, "forward", module)).parameters
        options = {"precomputed_nms_mask": mask} if "precomputed_nms_mask" in parameters else {}
        coords, values = self.subpix(response, **options)
        return coords, values

    def _features(self, octave: _Octave, count: int, image: Array) -> list[_Features]:
        """Return the features of each image in an octave."""
        return [
            self._framed(candidates, octave, number, count, image)
            for number, candidates in enumerate(self._candidates(octave))
        ]

    def _candidates(self, octave: _Octave) -> list[_Candidates]:
        """Return the refined maxima of each image, and minima with their responses negated."""
        xp = namespace_of(octave.response)
        maxima, minima = nms3d_minmax(octave.response)
        places = [_places(maxima, octave), _places(minima, octave)]
        coords, values = self._refined(octave.response, maxima)
        found = [_Candidates(*_at(coords, values, octave, image, at)) for image, at in enumerate(places[0])]
        if not self.minima_are_also_good:
            return found
        rivals = [_at(None, values, octave, image, at)[0] for image, at in enumerate(places[1])]
        del coords, values
        coords, values = self._refined(-octave.response, minima)
        for image, at in enumerate(places[1]):
            low = _at(coords, values, octave, image, at)
            stronger = xp.nonzero(low[0] > rivals[image])[0]
            high = found[image]
            found[image] = _Candidates(
                xp.concat([high.values, xp.take(low[0], stronger, axis=0)]),
                xp.concat([high.coords, xp.take(low[1], stronger, axis=0)]),
            )
        return found

    def _framed(self, found: _Candidates, octave: _Octave, number: int, count: int, image: Array) -> _Features:
        """Convert the strongest candidates of an image to frames, and leave out those too close to the border."""
        xp = namespace_of(found.values)
        best = xp.argsort(found.values, descending=True, stable=True)[:count]
        values = xp.take(found.values, best, axis=0)
        coords = xp.astype(
            xp.take(found.coords, best, axis=0), xp.float64, copy=False
        )  # libraries round powers their way
        sigma = xp.astype(octave.sigmas[number], coords.dtype, copy=False)
        scale = sigma * 2.0 ** (coords[:, 0] / self._levels())
        x, y = coords[:, 1], coords[:, 2]
        reach = scale * (self.mr_size / 2) + _BORDER
        height, width = octave.response.shape[-2:]
        inside = (x - reach >= 0) & (x + reach <= width - 1) & (y - reach >= 0) & (y + reach <= height - 1)
        if octave.mask is not None:
            inside = inside & is_clear(octave.mask[number % octave.mask.shape[0]], x, y, width)
        if octave.excess is not None:
            scale = self._width(scale, octave.excess)
        frames = _diagonal_frames(scale * self.mr_size, x, y, octave.spacing)
        frames = xp.astype(frames, xp.result_type(image.dtype, xp.float32), copy=False)
        kept = xp.nonzero(inside)[0]
        return _Features(xp.take(values, kept, axis=0), xp.take(frames, kept, axis=0))

    def _width(self, sigma: Array, excess: float) -> Array:
        """Return the standard deviations of Gaussian blobs from those of the levels at which they are extrema."""
        ratio, offset = self.resp.size_relation(2 ** (1 / self._levels()))
        xp = namespace_of(sigma)
        variance = ratio * sigma**2 - (excess + offset)
        return xp.sqrt(xp.where(variance > 0, variance, xp.zeros_like(variance)))


def shaped(frames: Array, img: Array, modules: Sequence[Callable[..., Array] | None]) -> Array:
    """Give frames a shape and an orientation by modules for it; frames that are not filled stay so."""
    xp, result = namespace_of(frames), frames
    with home_of(frames).working():
        for adapt in modules:
            result = result if adapt is None else adapt(result, img)
        if result is frames:
            return frames
        filled = xp.any(xp.reshape(frames, (*frames.shape[:2], 6)) != 0, axis=-1)
        return xp.where(filled[..., None, None], result, xp.zeros_like(result))


def _checked_mask(mask: Any, image: Array) -> Array:
    """Require a mask of an image: (1 or B, 1, H, W)."""
    home, x = home_of(image), as_array(mask, "mask")
    home.require_beside(x, "mask", "img", on_host=True)
    x = in_library_of(image, x)
    home.require_one_library(x, "mask")
    batch, _, *shape = image.shape
    if x.ndim != 4 or x.shape[0] not in (1, batch) or tuple(x.shape[1:]) != (1, *shape):
        raise ValueError(f"mask must have shape {(1, 1, *shape)} or {(batch, 1, *shape)}, got {tuple(x.shape)}")
    return x


def _places(mask: Array, octave: _Octave) -> list[Array]:
    """Return where a mask is True, and the octave not masked, in each image: indices of its voxels."""
    xp = namespace_of(mask)
    if octave.mask is not None:
        kept = xp.reshape(octave.mask > 0, (-1, 1, 1, *mask.shape[-2:]))
        mask = mask & kept
    return [xp.nonzero(xp.reshape(mask[k], (-1,)))[0] for k in range(mask.shape[0])]


def _at(coords: Array | None, values: Array, octave: _Octave, image: int, places: Array) -> tuple[Array, Any]:
    """Return weighted values, and coordinates, of voxels of an image."""
    xp = namespace_of(values)
    picked = xp.take(xp.reshape(values[image], (-1,)), places, axis=0)
    if octave.mask is not None:
        mask = octave.mask[image % octave.mask.shape[0]]
        picked = weighted(picked, xp.take(mask, places % mask.shape[0], axis=0), octave.dtype)
    if coords is None:
        return picked, None
    return picked, xp.take(xp.reshape(coords[image], (3, -1)), places, axis=1).T


def _diagonal_frames(size: Array, x: Array, y: Array, spacing: tuple[float, float]) -> Array:
    """Return frames (K, 2, 3) of positions and sizes, from pixels of an octave to those of an image."""
    xp = namespace_of(size)
    zero, (across, down) = xp.zeros_like(size), spacing
    rows = [
        xp.stack([size * across, zero, x * across], axis=-1),
        xp.stack([zero, size * down, y * down], axis=-1),
    ]
    return xp.stack(rows, axis=-2)


def _strongest(found: list[list[_Features]], count: int, image: Array) -> tuple[Array, Array]:
    """Return the strongest features of each image of all octaves; empty ones fill up the number."""
    xp = namespace_of(image)
    wide = xp.result_type(image.dtype, xp.float32)
    if image.shape[0] == 0:
        return constants_like(np.zeros((0, count)), image, wide), constants_like(
            np.zeros((0, count, 2, 3)), image, wide
        )
    values_of, frames_of = [], []
    for octaves in zip(*found, strict=True):
        values = xp.concat([octave.responses for octave in octaves])
        lines = xp.concat([octave.frames for octave in octaves])
        best = xp.argsort(values, descending=True, stable=True)[:count]
        empty = count - best.shape[0]
        values, lines = xp.take(values, best, axis=0), xp.take(lines, best, axis=0)
        values_of.append(xp.concat([values, constants_like(np.zeros(empty), values, values.dtype)]))
        frames_of.append(xp.concat([lines, constants_like(np.zeros((empty, 2, 3)), lines, lines.dtype)]))
    return xp.stack(values_of), xp.stack(frames_of)
