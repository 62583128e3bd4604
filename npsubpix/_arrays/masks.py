"""Masks and units that arrays bring with them: those of numpy.ma, and of astropy's NDData, CCDData and Quantity.

Arrays are recognised by their attributes, so that nothing is imported for them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["joined_mask", "split_mask", "with_gaps", "without_mask"]


def split_mask(x: Any, name: str) -> tuple[Any, Any]:
    """Return the pixels of an array that may have a mask of its own, and this mask; None if nothing is masked."""
    if hasattr(x, "to_value") and hasattr(x, "unit"):
        x = _unitless(x, name)
    own = getattr(x, "mask", None)
    if isinstance(x, np.ma.MaskedArray):
        pixels, own = np.asarray(x.data), np.ma.getmaskarray(x)
    elif own is not None and not callable(own) and hasattr(x, "unmasked"):  # of astropy.utils.masked
        pixels = np.asarray(x.unmasked)
    elif hasattr(x, "uncertainty") and hasattr(x, "data"):  # an NDData
        pixels = np.asarray(x.data)
    else:
        return x, None
    if own is None:
        return pixels, None
    mask = np.broadcast_to(np.asarray(own, bool), pixels.shape)
    return pixels, mask if mask.any() else None


def without_mask(x: Any, name: str) -> Any:
    """Return the pixels of an array for a function that takes no mask; refuse one with masked pixels."""
    pixels, mask = split_mask(x, name)
    if mask is not None:
        raise TypeError(
            f"{name} must have no masked pixels, since this function takes no mask, got {int(mask.sum())}: "
            "fill them first, for example with NaN"
        )
    return pixels


def with_gaps(x: Any, name: str) -> Any:
    """Return the pixels of an array for a picture, in which masked pixels are NaN."""
    pixels, mask = split_mask(x, name)
    return pixels if mask is None else np.where(mask, np.nan, pixels)


def joined_mask(own: Any, mask: Any, frame_axis: int | None) -> Any:
    """Return the mask of an image joined with another one of its shape, or of the shape of one frame."""
    if mask is None:
        return own
    other = np.asarray(mask)
    if frame_axis is not None and other.ndim == own.ndim - 1:
        other = np.expand_dims(other, frame_axis)
    fits = other.ndim == own.ndim and all(n in (1, m) for n, m in zip(other.shape, own.shape, strict=True))
    if other.dtype != bool or not fits:
        return mask  # which the check of masks refuses
    return own | other


def _unitless(x: Any, name: str) -> Any:
    """Return the numbers of a quantity without a dimension; refuse any other, whose unit results would lose."""
    try:
        return x.to_value("")
    except Exception:
        raise TypeError(f"{name} must have no unit, got one in {x.unit}: pass its .value") from None
