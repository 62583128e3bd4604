"""The background of an image, and its noise."""

from __future__ import annotations

from typing import NamedTuple

from npsubpix._arrays.library import Array

__all__ = ["Background"]


class _LevelAndNoise(NamedTuple):
    level: Array
    noise: Array


class Background(_LevelAndNoise):
    """The background of an image around each of its pixels: a named tuple of level and noise.

    Parameters
    ----------
    level, noise, guessed : arrays of the shape of the image
        The attributes.

    Attributes
    ----------
    level : array of the shape of the image
        The background: values of the image without spots, in its unit.
    noise : array of the shape of the image
        Standard deviation of the noise around the background, in the unit of the image.
    guessed : array of bool of the shape of the image, or None
        True where the noise is a guess, since the pixels do not determine it; see `local_background`. Not an item of
        the tuple.

    See Also
    --------
    local_background : Measure background and noise.
    find_peaks : Find peaks above a background.

    Notes
    -----
    Subtract ``level`` from an image; NumPy's arithmetic refuses the pair.
    """

    guessed: Array | None = None

    def __new__(cls, level: Array, noise: Array, guessed: Array | None = None) -> Background:
        """Make a pair that also knows where its noise is a guess."""
        pair = super().__new__(cls, level, noise)
        pair.guessed = guessed
        return pair


Background.__array_ufunc__ = None  # type: ignore[attr-defined] # or an image less the pair would be two images
