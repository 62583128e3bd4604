"""Draw maps of backgrounds and of their noise, and the rows of tables on their images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import as_array, to_numpy
from npsubpix._arrays.masks import with_gaps
from npsubpix._arrays.options import check_bool, check_choice
from npsubpix.plotting.pictures import STYLES, Style, draw_image, draw_peaks, new_figure

__all__ = ["draw_background", "draw_rows"]


def draw_background(
    level: Any,
    noise: Any,
    image: Any = None,
    *,
    title: str = "",
    y_up: bool = False,
    style: str = "light",
    ax: Any = None,
) -> Any:
    """Draw a background and its noise as maps, beside the image in which they were measured.

    Parameters
    ----------
    level, noise : arrays of shape (H, W)
        Background and noise, as `npsubpix.local_background` returns them. Of stacks and volumes, means along the first
        axis are drawn.
    image : array of the shape of `level`, optional
        The image, which is drawn as `draw_peaks` draws it.
    title : str, optional
        The title, as plain text.
    y_up : bool, default False
        Draw rows upwards, as astronomers do, so that the first row is at the bottom.
    style : {"dark", "light"}, default "light"
        Colours around the panels: for screens, or for print. With `ax`, the colours are those of its figure.
    ax : sequence of matplotlib.axes.Axes, optional
        Axes to draw in, two, or three with an image, which is the first. By default, they are those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure or sequence of matplotlib.axes.Axes
        The new figure; save it with its ``savefig``. With `ax`, the axes: their figure is the caller's.

    See Also
    --------
    npsubpix.local_background : Measure background and noise.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix.plotting import draw_background
    >>> y, x = np.mgrid[:40, :60]
    >>> figure = draw_background(100.0 + x, np.full(x.shape, 5.0))
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['background', 'noise']
    """
    maps = {"background": _flat(level, "level"), "noise": _flat(noise, "noise")}
    if image is not None:
        maps = {"image": _flat(image, "image"), **maps}
    if len({pixels.shape for pixels in maps.values()}) > 1:
        shapes = ", ".join(f"{name} {pixels.shape}" for name, pixels in maps.items())
        raise ValueError(f"image, level and noise must have the same shape, got {shapes}")
    check_choice(style, "style", tuple(STYLES))
    own, up = ax is None, check_bool(y_up, "y_up")
    panels = _new_panels(maps["noise"].shape, len(maps), title, STYLES[style]) if own else list(np.ravel([ax]))
    if len(panels) != len(maps) or not all(hasattr(axes, "imshow") for axes in panels):
        raise TypeError(f"ax must be {len(maps)} Axes of matplotlib, got {ax!r}")
    ink = STYLES[style].ink if own else None
    for axes, (name, pixels) in zip(panels, maps.items(), strict=True):
        _draw_map(axes, name, pixels, up, ink)
    return panels[0].figure if own else ax


def _flat(x: Any, name: str) -> npt.NDArray[Any]:
    """Return an image on the host: the mean along the first axis of a stack or a volume."""
    pixels = to_numpy(as_array(with_gaps(x, name), name))
    if pixels.ndim == 3:
        pixels = pixels.mean(axis=0, dtype=np.float64)
    if pixels.ndim != 2:
        raise ValueError(f"{name} must have 2 or 3 dimensions, got shape {np.shape(x)}")
    return pixels


def _new_panels(shape: tuple[int, ...], count: int, title: str, style: Style) -> list[Any]:
    width = 4.2
    height = min(max(width * 0.85 * shape[0] / shape[1], 1.5), 12) + 0.7
    figure = new_figure(figsize=(width * count, height), dpi=100, layout="constrained", facecolor=style.ground)
    if title:
        figure.suptitle(title, color=style.ink, parse_math=False)
    return [figure.add_subplot(1, count, place + 1) for place in range(count)]


def _draw_map(axes: Any, name: str, pixels: npt.NDArray[Any], y_up: bool, ink: str | None) -> None:
    """Draw an image in grey, or a map in colours with their scale."""
    text = {} if ink is None else {"color": ink}
    if name == "image":
        draw_image(axes, pixels, 0.0, y_up, fill=False)
    else:
        shown = axes.imshow(pixels.astype(np.float64), cmap="viridis", origin="lower" if y_up else "upper")
        bar = axes.figure.colorbar(shown, ax=axes, shrink=0.9)
        if ink is not None:
            bar.ax.tick_params(colors=ink)
    axes.set_title(name, **text)
    axes.set_xlabel("x (pixel)", **text)
    axes.set_ylabel("y (pixel)", **text)
    if ink is not None:
        axes.tick_params(colors=ink)


def draw_rows(table: Any, image: Any, frame: int | None, *, title: str, y_up: bool, ax: Any) -> Any:
    """Draw the rows of a table, or of one frame, on their image: frames of a stack lie along its first axis."""
    if frame is not None:
        if table.frame is None:
            raise ValueError(f"frame must be None for a table without frames, got {frame!r}")
        table = table[table.frame == frame]
    if image is None:
        return draw_peaks(np.zeros(_shape(table)), table, title=title, y_up=y_up, ax=ax)
    pixels = to_numpy(as_array(with_gaps(image, "image"), "image"))
    if table.frame is not None and pixels.ndim == table.ndim + 1:
        pixels = pixels.max(axis=0) if frame is None else pixels[frame]
    if pixels.ndim != table.ndim:
        frames = " with or without frames" if table.frame is not None else ""
        raise ValueError(f"image must have {table.ndim} dimensions{frames}, got shape {np.shape(image)}")
    return draw_peaks(pixels, table, title=title, y_up=y_up, ax=ax)


def _shape(table: Any) -> tuple[int, ...]:
    """Return the shape of the image of a table, or one that holds its positions."""
    if table.image_shape is not None:
        return tuple(table.image_shape[-2:])
    places = to_numpy(table.coords)[:, -2:]
    places = places[np.isfinite(places).all(axis=1)]
    return tuple((np.ceil(places.max(axis=0)) + 2).astype(int).clip(1)) if len(places) else (1, 1)
