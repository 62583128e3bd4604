"""Drift of a sample during a movie, from the table of its localizations."""

from npsubpix.drift.application import apply_drift
from npsubpix.drift.estimation import drift_of
from npsubpix.results import Drift, DriftFlags

__all__ = ["Drift", "DriftFlags", "apply_drift", "drift_of"]
