"""The background of an image, and its noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from npsubpix._arrays.library import Array, to_numpy
from npsubpix.results.display import draw_background, table_html

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

    def plot(self, image: Any = None, ax: Any = None, *, title: str = "", y_up: bool = False) -> Any:
        """Draw background and noise as maps, beside the image, as `npsubpix.plotting.draw_background` does.

        Parameters
        ----------
        image : array of the shape of the background, optional
            The image.
        ax : sequence of matplotlib.axes.Axes, optional
            Axes to draw in, two, or three with an image. By default, they are those of a new figure.
        title : str, optional
            The title, as plain text.
        y_up : bool, default False
            Draw rows upwards, as astronomers do.

        Returns
        -------
        matplotlib.figure.Figure or sequence of matplotlib.axes.Axes
            The new figure, which a notebook shows. With `ax`, the axes.

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        return draw_background(self.level, self.noise, image, title=title, y_up=y_up, ax=ax)

    def _repr_html_(self) -> str:
        """Show the range of background and noise as a table of HTML, as notebooks do."""
        cells: dict[str, list[str]] = {"": [], "least": [], "median": [], "greatest": []}
        for name in ("level", "noise"):
            values = to_numpy(getattr(self, name))
            seen = values[np.isfinite(values)]
            numbers = [seen.min(), np.median(seen), seen.max()] if seen.size else [np.nan] * 3
            for column, text in zip(cells.values(), [name, *(f"{number:.4g}" for number in numbers)], strict=True):
                column.append(text)
        shape = " × ".join(map(str, self.level.shape))
        notes = (
            [] if self.guessed is None else [f"noise guessed at {100 * to_numpy(self.guessed).mean():.3g} % of pixels"]
        )
        return table_html(f"Background of {shape} pixels", cells, notes, left={""})


Background.__array_ufunc__ = None  # type: ignore[attr-defined] # or an image less the pair would be two images
