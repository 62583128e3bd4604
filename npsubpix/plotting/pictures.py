"""Draw peaks on an image, and overlays of two images."""

from __future__ import annotations

import functools
import io
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import as_array, to_numpy, without_booleans
from npsubpix._arrays.masks import with_gaps
from npsubpix._arrays.options import check_bool, check_choice
from npsubpix._definitions.flags import DOUBTFUL, REJECTED, PeakFlags
from npsubpix._tables.localizations import package
from npsubpix.results import Blobs, Fits, Measurements, Peaks

__all__ = ["PLOT_FORMATS", "STYLES", "Style", "draw_alignment", "draw_image", "draw_peaks", "new_figure"]

#: Endings of the names of pictures that can be drawn.
PLOT_FORMATS = (".png", ".pdf", ".svg", ".jpg", ".jpeg")


class Style(NamedTuple):
    """Colours around an image."""

    ground: str
    ink: str
    frame: str


STYLES = {"dark": Style("#101214", "#d8dadd", "#505458"), "light": Style("#ffffff", "#101214", "#808488")}

# Colours of Okabe and Ito, safe for colour-blind readers: warm for maxima, cold for minima
_MAXIMA = "#f5a623"
_MINIMA = "#56b4e9"
_UNREFINED = "#cc79a7"

_DPI = 100
_LONG_SIDE = (1000, 2400)  # pixels of the picture: small images are enlarged, large ones not by much
_READABLE_RADIUS = 6  # pixels of the picture: smaller circles hide the spots in them
_SAMPLES = 1_000_000  # pixels from which the stretch is estimated


def draw_peaks(
    image: Any,
    peaks: Peaks | Fits | Blobs | Measurements,
    *,
    title: str = "",
    origin: float = 0.0,
    y_up: bool = False,
    style: str = "dark",
    ax: Any = None,
) -> Any:
    """Draw an image in grey, and a circle around each peak or blob.

    Circles around blobs have their radius; those around peaks are as large as the distances between them allow. The
    brightness is stretched between percentiles, and dark images are brightened, so that faint spots are visible beside
    bright ones.

    Parameters
    ----------
    image : array of two or three dimensions
        The image. Of a volume, the maximum along z is drawn.
    peaks : Peaks, Fits, Blobs or Measurements
        The rows of the image. Maxima and bright blobs are orange, minima and dark blobs blue, and those that could not
        be refined, or whose fits are not ok, purple. Fits and measurements are orange, and purple if they are not ok.
        Where blobs have a radius along each axis, ellipses are drawn; those of a volume are as if seen along z.
    title : str, optional
        The title, as plain text.
    origin : float, default 0.0
        Coordinate of the centre of the first pixel on the axes.
    y_up : bool, default False
        Draw rows upwards, as astronomers do, so that the first row is at the bottom.
    style : {"dark", "light"}, default "dark"
        Colours around the image: for screens, or for print. With `ax`, the colours are those of its figure.
    ax : matplotlib.axes.Axes, optional
        Axes to draw in. By default, they are those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure or matplotlib.axes.Axes
        The new figure; save it with its ``savefig``. A notebook shows it once, where it is returned. With `ax`,
        the axes: their figure is the caller's.

    See Also
    --------
    npsubpix.find_peaks : Find peaks.
    npsubpix.find_blobs : Find blobs.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> from npsubpix.plotting import draw_peaks
    >>> y, x = np.mgrid[:40, :60]
    >>> image = np.exp(-((y - 20.2) ** 2 + (x - 30.7) ** 2) / 8)
    >>> figure = draw_peaks(image, npsubpix.find_peaks(image, threshold_abs=0.5))
    >>> figure.axes[0].get_xlabel()
    'x (pixel)'
    """
    pixels = to_numpy(without_booleans(as_array(with_gaps(image, "image"), "image")))
    if pixels.ndim == 3:
        pixels = pixels.max(axis=0)
    if pixels.ndim != 2:
        raise ValueError(f"image must have 2 or 3 dimensions, got shape {np.shape(image)}")
    check_choice(style, "style", tuple(STYLES))
    spacing = _spacing(peaks)
    drawing = _new_axes(pixels.shape, spacing, STYLES[style]) if ax is None else _caller_axes(ax, pixels.shape)
    draw_image(drawing.axes, pixels, origin, check_bool(y_up, "y_up"), fill=ax is None)
    _draw_circles(drawing, peaks, spacing, origin)
    text = {} if ax is not None else {"color": STYLES[style].ink}
    drawing.axes.set_xlabel("x (pixel)", **text)
    drawing.axes.set_ylabel("y (pixel)", **text)
    if title or ax is None:
        drawing.axes.set_title(title, parse_math=False, **text)  # a file name may hold dollar signs
    return drawing.axes.figure if ax is None else ax


class _Drawing(NamedTuple):
    """Axes, and the pixels of the picture per pixel of the image."""

    axes: Any
    scale: float
    dpi: float


def _new_axes(shape: tuple[int, ...], spacing: float, style: Style) -> _Drawing:
    """Return the axes of a new figure, in which a pixel of the image is a whole number of pixels if it can be."""
    height, width = shape
    scale = _scale(max(height, width), spacing)
    # Letters grow with the picture, which is shown as large as the screen
    unit = max(1.0, max(height, width) * scale / _LONG_SIDE[0])
    left, right, bottom, top = 75 * unit, 20 * unit, 60 * unit, 45 * unit
    across, up = round(left + width * scale + right), round(bottom + height * scale + top)
    dpi = _DPI * unit
    figure = new_figure(figsize=(across / dpi, up / dpi), dpi=dpi, facecolor=style.ground)
    place = (left / across, bottom / up, width * scale / across, height * scale / up)
    axes = figure.add_axes(place, facecolor=style.ground)
    axes.tick_params(colors=style.ink)
    for spine in axes.spines.values():
        spine.set_color(style.frame)
    return _Drawing(axes, scale, dpi)


def _caller_axes(axes: Any, shape: tuple[int, ...]) -> _Drawing:
    """Return the axes of a caller, with the scale at which they show an image of a shape."""
    if not hasattr(axes, "imshow"):
        raise TypeError(f"ax must be Axes of matplotlib, got {type(axes).__name__}")
    place = axes.get_window_extent()
    return _Drawing(axes, min(place.width / shape[1], place.height / shape[0]), axes.figure.dpi)


def new_figure(**options: Any) -> Any:
    """Return a figure that no window shows: a notebook shows it where it is returned, and only there."""
    package("matplotlib", "a picture", "plot")
    from matplotlib.figure import Figure

    figure: Any = Figure(**options)
    # Notebooks show figures as pictures only where matplotlib's own windows were set up; this they always know
    figure._repr_png_ = functools.partial(_as_png, figure)
    return figure


def _as_png(figure: Any) -> bytes:
    with io.BytesIO() as file:
        figure.savefig(file, format="png")
        return file.getvalue()


def draw_alignment(
    fixed: Any, moving: Any, matrix: Any, *, title: str = "", y_up: bool = False, style: str = "dark", ax: Any = None
) -> Any:
    """Overlay two images, before and after the moving one is warped by a matrix.

    The fixed image is orange and the moving one blue, so that structures in both are grey.

    Parameters
    ----------
    fixed, moving : arrays of shape (H, W)
        Images.
    matrix : array of shape (2, 3) or (3, 3), or Alignment
        Matrix from the fixed image to the moving one, or the result of `npsubpix.align`.
    title : str, optional
        The title, as plain text.
    y_up : bool, default False
        Whether rows go upwards, as FITS images are drawn.
    style : {"dark", "light"}, default "dark"
        Colours around the images: for screens, or for print. With `ax`, the colours are those of its figure.
    ax : sequence of two matplotlib.axes.Axes, optional
        Axes to draw in, before and after. By default, they are those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure or sequence of two matplotlib.axes.Axes
        The new figure; save it with its ``savefig``. A notebook shows it once, where it is returned. With `ax`,
        the axes: their figure is the caller's.

    See Also
    --------
    npsubpix.align : Find the matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix.plotting import draw_alignment
    >>> image = np.random.default_rng(0).uniform(size=(20, 30))
    >>> figure = draw_alignment(image[:, 1:], image[:, :-1], [[1, 0, 0], [0, 1, 1]])
    >>> [axes.get_title() for axes in figure.axes]
    ['before', 'after']
    """
    from npsubpix.sampling.warping import warp

    arrays = (as_array(with_gaps(x, name), name) for x, name in ((fixed, "fixed"), (moving, "moving")))
    first, second = (np.asarray(to_numpy(x), np.float64) for x in arrays)
    unmoved, warped = (warp(second, m, first.shape, cval=float("nan")) for m in (np.eye(3), matrix))
    check_choice(style, "style", tuple(STYLES))
    own, up = ax is None, check_bool(y_up, "y_up")
    panels = _new_panels(first.shape, title, STYLES[style]) if own else list(np.ravel(np.asarray(ax, object)))
    if len(panels) != 2 or not all(hasattr(axes, "imshow") for axes in panels):
        raise TypeError(f"ax must be two Axes of matplotlib, got {ax!r}")
    text = {"color": STYLES[style].ink} if own else {}
    for axes, name, other in zip(panels, ("before", "after"), (unmoved, warped), strict=True):
        axes.imshow(_overlay(first, other), interpolation="nearest", origin="lower" if up else "upper")
        axes.set_title(f"{title}, {name}" if title and not own else name, parse_math=False, **text)
        axes.set_axis_off()
    return panels[0].figure if own else ax


def _new_panels(shape: tuple[int, ...], title: str, style: Style) -> list[Any]:
    """Return the two axes of a new figure."""
    across = 11.0
    up = min(max(across / 2 * shape[0] / shape[1], 2), 20) + 0.6
    figure = new_figure(figsize=(across, up), dpi=_DPI, layout="constrained", facecolor=style.ground)
    if title:
        figure.suptitle(title, color=style.ink, parse_math=False)
    return [figure.add_subplot(1, 2, place) for place in (1, 2)]


def _overlay(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Colour two images: the sum of their complementary colours is grey."""
    colours = np.array([[0.96, 0.62, 0.14], [0.04, 0.38, 0.86]])
    brightness = []
    for x in (first, second):
        seen = x[np.isfinite(x)]
        low, high = np.percentile(seen, (0.5, 99.5)) if seen.size else (0.0, 1.0)
        scaled = (x - low) / (high - low) if high > low else np.zeros_like(x)
        brightness.append(np.clip(np.nan_to_num(scaled), 0, 1))
    mixed: npt.NDArray[Any] = np.clip(np.stack(brightness, -1) @ colours, 0, 1)
    return mixed


def _spacing(peaks: Peaks | Fits | Blobs | Measurements) -> float:
    """Return the distance of peaks to their neighbours, in pixels: three of four peaks have a greater one."""
    from scipy.spatial import cKDTree

    places = to_numpy(peaks.coords)[:, -2:]
    places = places[np.isfinite(places).all(axis=1)]
    if len(places) < 2:
        return np.inf
    distances, _ = cKDTree(places).query(places, k=2)
    return float(np.percentile(distances[:, 1], 25))


def _scale(long: int, spacing: float) -> float:
    """Return the pixels of the picture per pixel of the image: a whole number if the image is enlarged."""
    least, most = _LONG_SIDE
    if long > most:
        return most / long
    readable = 2 * _READABLE_RADIUS / max(spacing, 1.0)
    return float(min(max(np.ceil(least / long), np.ceil(readable)), max(1, most // long), 24))


def _stretch(pixels: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Return the values drawn black and white, and the exponent of the stretch between them."""
    step = max(1, int(np.sqrt(pixels.size / _SAMPLES)))
    sample = pixels[::step, ::step].astype(np.float64).ravel()
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return 0.0, 1.0, 1.0
    low, middle, high = np.percentile(sample, (1.0, 50.0, 99.8))
    # In an empty sky the percentile is noise: white is what stands well above it
    noise = 1.4826 * np.median(np.abs(sample - middle))
    high = min(max(high, middle + 10 * noise), sample.max())
    if not high > low:
        low, high = sample.min(), sample.max()
    if not high > low:
        return float(low), float(low) + 1.0, 1.0
    # A dark sky is raised to an eighth of white, a bright ground left as it is
    sky = max((middle - low) / (high - low), 1e-3)
    power = min(1.0, max(0.4, np.log(0.125) / np.log(sky))) if sky < 0.125 else 1.0
    return float(low), float(high), float(power)


def draw_image(axes: Any, pixels: npt.NDArray[Any], origin: float, y_up: bool, fill: bool) -> None:
    """Draw the pixels, stretched; axes that have the shape of the image already are filled by it."""
    height, width = pixels.shape
    low, high, power = _stretch(pixels)
    first, last = origin - 0.5, height + origin - 0.5
    grey = np.clip(pixels.astype(np.float64), low, high)
    grey = ((grey - low) / (high - low)) ** power
    axes.imshow(
        np.ma.masked_invalid(grey.astype(np.float32)),
        cmap="gray",
        vmin=0.0,
        vmax=1.0,
        origin="lower" if y_up else "upper",
        extent=(first, width + first, first, last) if y_up else (first, width + first, last, first),
        interpolation="auto",
        aspect="auto" if fill else "equal",
    )


def _colours_of(peaks: Peaks | Fits | Blobs | Measurements) -> npt.NDArray[Any]:
    """Return the colour of each row."""
    if isinstance(peaks, Fits | Measurements):
        return np.where(to_numpy(peaks.ok), _MAXIMA, _UNREFINED)
    flags = to_numpy(peaks.flags)
    minimum, doubtful = (flags & int(PeakFlags.MINIMUM)) != 0, (flags & int(REJECTED | DOUBTFUL)) != 0
    return np.where(doubtful, _UNREFINED, np.where(minimum, _MINIMA, _MAXIMA))


def _draw_circles(drawing: _Drawing, peaks: Peaks | Fits | Blobs | Measurements, spacing: float, origin: float) -> None:
    from matplotlib.collections import EllipseCollection

    places = to_numpy(peaks.coords)[:, -2:]
    shown = np.isfinite(places).all(axis=1)
    places, colours = places[shown], _colours_of(peaks)[shown]
    if len(places) == 0:
        return
    axes, scale, dpi = drawing
    unit = dpi / _DPI
    radius = min(10.0 * unit, max(3.0, 0.5 * spacing * scale))  # most circles do not touch their neighbours
    line = min(1.8 * unit, max(0.8, 0.25 * radius)) * 72 / dpi
    up = across = np.array([2 * radius / scale])
    if isinstance(peaks, Blobs):
        radii = to_numpy(peaks.radius)[shown]
        up, across = 2 * (radii[:, -2:].T if radii.ndim == 2 else np.stack([radii, radii]))
        line = 1.2 * unit * 72 / dpi
    axes.add_collection(
        EllipseCollection(
            across,
            up,
            np.zeros(1),
            units="xy",
            offsets=places[:, ::-1] + origin,
            offset_transform=axes.transData,
            facecolors="none",
            edgecolors=colours,
            linewidths=line,
        ),
        autolim=False,
    )
