"""Draw peaks on an image, overlays of two images, backgrounds, and assessments."""

from npsubpix.plotting.assessments import plot_assessment
from npsubpix.plotting.maps import draw_background
from npsubpix.plotting.pictures import PLOT_FORMATS, draw_alignment, draw_peaks, new_figure

__all__ = [
    "PLOT_FORMATS",
    "draw_alignment",
    "draw_background",
    "draw_peaks",
    "new_figure",
    "plot_assessment",
]
