"""Slow definitions in float64, written from the formulas: what every backend is compared with."""
