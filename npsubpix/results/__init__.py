"""Results of operations: tables of positions, backgrounds, alignments, drifts and assessments."""

from npsubpix.results.alignment import Alignment
from npsubpix.results.assessment import Assessment
from npsubpix.results.background import Background
from npsubpix.results.blobs import Blobs
from npsubpix.results.drift import Drift, DriftFlags
from npsubpix.results.fits import Fits
from npsubpix.results.measurements import Measurements
from npsubpix.results.peaks import Peaks

__all__ = ["Alignment", "Assessment", "Background", "Blobs", "Drift", "DriftFlags", "Fits", "Measurements", "Peaks"]
