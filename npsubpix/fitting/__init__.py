"""Spots with error bars: fits of images and of patches, cameras, and the bound of their precision."""

from npsubpix._definitions.flags import FitFlags
from npsubpix.camera import Camera
from npsubpix.fitting.astigmatism import AstigmaticCurve, fit_astigmatic_curve
from npsubpix.fitting.bounds import CramerRao, cramer_rao
from npsubpix.fitting.building import EffectivePsf, build_psf
from npsubpix.fitting.calibration import estimate_camera
from npsubpix.fitting.spots import fit_patches, fit_spots
from npsubpix.results import Fits

__all__ = [
    "AstigmaticCurve",
    "Camera",
    "CramerRao",
    "EffectivePsf",
    "FitFlags",
    "Fits",
    "build_psf",
    "cramer_rao",
    "estimate_camera",
    "fit_astigmatic_curve",
    "fit_patches",
    "fit_spots",
]
