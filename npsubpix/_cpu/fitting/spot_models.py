"""The functions of each model of spots."""

from __future__ import annotations

from npsubpix._cpu.fitting.contract import SpotFunctions
from npsubpix._cpu.fitting.moffat import moffat
from npsubpix._cpu.fitting.pixelwise import pixelwise
from npsubpix._cpu.fitting.psf import measured_psf
from npsubpix._cpu.fitting.rotated import rotated
from npsubpix._cpu.fitting.separable import separable
from npsubpix._definitions.spot_models import Model

__all__ = ["spot_functions"]


def spot_functions(model: Model) -> SpotFunctions:
    """Make the functions of a model."""
    if model.is_separable:
        return separable(model)
    if model.shape == "psf":
        return pixelwise(model, measured_psf(model))
    if model.shape == "gaussian":
        return pixelwise(model, rotated(model))
    return pixelwise(model, moffat(model))
