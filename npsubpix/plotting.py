"""Draw peaks on an image, and overlays of two images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import to_numpy
from npsubpix._arrays.masks import with_gaps
from npsubpix._definitions.flags import REJECTED, PeakFlags
from npsubpix.results import Peaks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PLOT_FORMATS", "draw_alignment", "draw_peaks"]

#: Endings of the names of pictures that can be drawn.
PLOT_FORMATS = (".png", ".pdf", ".svg", ".jpg", ".jpeg")

_GROUND = "#101214"
_INK = "#d8dadd"
# Colours of Okabe and Ito, safe for colour-blind readers: warm for maxima, cold for minima
_MAXIMA = "#f5a623"
_MINIMA = "#56b4e9"
_UNREFINED = "#cc79a7"

_DPI = 100
_LONG_SIDE = (1000, 2400)  # pixels of the picture: small images are enlarged, large ones not by much
_READABLE_RADIUS = 6  # pixels of the picture: smaller circles hide the spots in them
_SAMPLES = 1_000_000  # pixels from which the stretch is estimated


def draw_peaks(image: Any, peaks: Peaks, *, title: str = "", origin: float = 0.0) -> Figure:
    """Draw an image in grey, and a circle around each peak.

    Circles are as large as the distances between peaks allow. The brightness is stretched between percentiles,
    and dark images are brightened, so that faint spots are visible beside bright ones.

    Parameters
    ----------
    image : array of two or three dimensions
        The image. Of a volume, the maximum along z is drawn.
    peaks : Peaks
        The peaks of the image. Maxima are orange, minima blue, and peaks that could not be refined purple.
    title : str, optional
        The title, as plain text.
    origin : float, default 0.0
        Coordinate of the centre of the first pixel on the axes.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; save it with its ``savefig``.

    See Also
    --------
    npsubpix.find_peaks : Find peaks.

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
    from matplotlib.figure import Figure

    pixels = to_numpy(with_gaps(image, "image"))
    if pixels.ndim == 3:
        pixels = pixels.max(axis=0)
    if pixels.ndim != 2:
        raise ValueError(f"image must have 2 or 3 dimensions, got shape {np.shape(image)}")
    height, width = pixels.shape
    spacing = _spacing(peaks)
    scale = _scale(max(height, width), spacing)
    # Letters grow with the picture, which is shown as large as the screen
    unit = max(1.0, max(height, width) * scale / _LONG_SIDE[0])
    left, right, bottom, top = 75 * unit, 20 * unit, 60 * unit, 45 * unit
    across, up = round(left + width * scale + right), round(bottom + height * scale + top)
    dpi = _DPI * unit
    figure = Figure(figsize=(across / dpi, up / dpi), dpi=dpi, facecolor=_GROUND)
    place = (left / across, bottom / up, width * scale / across, height * scale / up)
    axes = figure.add_axes(place, facecolor=_GROUND)
    low, high, power = _stretch(pixels)
    _draw_image(axes, pixels, low, high, power, origin)
    _draw_circles(axes, peaks, scale, spacing, origin, dpi)
    axes.set_xlabel("x (pixel)", color=_INK)
    axes.set_ylabel("y (pixel)", color=_INK)
    axes.tick_params(colors=_INK)
    for spine in axes.spines.values():
        spine.set_color("#505458")
    axes.set_title(title, color=_INK, parse_math=False)  # a file name may hold dollar signs
    return figure


def draw_alignment(fixed: Any, moving: Any, matrix: Any, *, title: str = "") -> Figure:
    """Overlay two images, before and after the moving one is warped by a matrix.

    The fixed image is orange and the moving one blue, so that structures in both are grey.

    Parameters
    ----------
    fixed, moving : arrays of shape (H, W)
        Images.
    matrix : array of shape (2, 3) or (3, 3)
        Matrix from the fixed image to the moving one, as `npsubpix.align` returns it.
    title : str, optional
        The title, as plain text.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; save it with its ``savefig``.

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
    from matplotlib.figure import Figure

    from npsubpix.sampling.warping import warp

    first, second = (
        np.asarray(to_numpy(with_gaps(x, name)), np.float64) for x, name in ((fixed, "fixed"), (moving, "moving"))
    )
    unmoved, warped = (warp(second, m, first.shape, cval=float("nan")) for m in (np.eye(3), matrix))
    height, width = first.shape
    across = 11.0
    figure = Figure(
        figsize=(across, min(max(across / 2 * height / width, 2), 20) + 0.6), dpi=_DPI, layout="constrained"
    )
    figure.set_facecolor(_GROUND)
    for k, (name, other) in enumerate((("before", unmoved), ("after", warped))):
        axes = figure.add_subplot(1, 2, k + 1)
        axes.imshow(_overlay(first, other), interpolation="nearest")
        axes.set_title(name, color=_INK)
        axes.set_axis_off()
    if title:
        figure.suptitle(title, color=_INK, parse_math=False)
    return figure


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


def _spacing(peaks: Peaks) -> float:
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


def _draw_image(axes: Any, pixels: npt.NDArray[Any], low: float, high: float, power: float, origin: float) -> None:
    height, width = pixels.shape
    edge = origin - 0.5
    grey = np.clip(pixels.astype(np.float64), low, high)
    grey = ((grey - low) / (high - low)) ** power
    axes.imshow(
        np.ma.masked_invalid(grey.astype(np.float32)),
        cmap="gray",
        vmin=0.0,
        vmax=1.0,
        extent=(edge, width + edge, height + edge, edge),
        interpolation="auto",
        aspect="auto",  # the axes have the shape of the image already
    )


def _draw_circles(axes: Any, peaks: Peaks, scale: float, spacing: float, origin: float, dpi: float) -> None:
    from matplotlib.collections import EllipseCollection

    places = to_numpy(peaks.coords)[:, -2:]
    shown = np.isfinite(places).all(axis=1)
    places, flags = places[shown], to_numpy(peaks.flags)[shown]
    if len(places) == 0:
        return
    unit = dpi / _DPI
    radius = min(10.0 * unit, max(3.0, 0.5 * spacing * scale))  # most circles do not touch their neighbours
    line = min(1.8 * unit, max(0.8, 0.25 * radius)) * 72 / dpi
    minimum = (flags & PeakFlags.MINIMUM) != 0
    rejected = (flags & int(REJECTED)) != 0
    diameter = 2 * radius / scale
    axes.add_collection(
        EllipseCollection(
            [diameter],
            [diameter],
            [0.0],
            units="xy",
            offsets=places[:, ::-1] + origin,
            offset_transform=axes.transData,
            facecolors="none",
            edgecolors=np.where(rejected, _UNREFINED, np.where(minimum, _MINIMA, _MAXIMA)),
            linewidths=line,
        ),
        autolim=False,
    )
