"""Results of operations: tables of peaks and of fits, backgrounds of images, and alignments."""

from npsubpix.results.alignment import Alignment
from npsubpix.results.background import Background
from npsubpix.results.fits import Fits
from npsubpix.results.peaks import Peaks

__all__ = ["Alignment", "Background", "Fits", "Peaks"]
