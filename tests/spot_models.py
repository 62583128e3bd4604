"""Every model of spots, for tests that run the kernels of all."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from npsubpix._definitions.measured_psf import PSF_PADDING, psf_geometry
from npsubpix._definitions.spot_models import Model

ALL_MODELS = [
    Model(axes, width, plane)
    for axes in (2, 3)
    for width in ("free", "fixed", "elliptical")
    for plane in (False, True)
] + [
    Model(2, width, plane, shape)
    for width, shape in (
        ("rotated", "gaussian"), ("astigmatic", "gaussian"), ("free", "moffat"), ("fixed", "moffat"),
        ("free", "moffat_beta"), ("fixed", "moffat_beta"),
    )
    for plane in (False, True)
] + [Model(axes, "fixed", plane, "psf") for axes in (2, 3) for plane in (False, True)]  # fmt: skip


def numbers_of(model: Model) -> tuple[float, ...]:
    """An exponent, a curve of widths for z from -500 to 500, or a Gaussian of sigma 1.3 as a measured function."""
    if model.shape == "psf":
        lengths, per_pixel = (7, 27, 25)[3 - model.axes :], (1.0, 2.5, 2.0)[3 - model.axes :]
        places = [(np.arange(n) - (n - 1) / 2) / s for n, s in zip(lengths, per_pixel, strict=True)]
        square = sum(p**2 for p in np.meshgrid(*places, indexing="ij"))
        spot = np.pad(np.exp(-square / 2 / 1.3**2) / (2 * np.pi * 1.3**2) ** (model.axes / 2), PSF_PADDING)
        return *psf_geometry(lengths, per_pixel), *ndimage.spline_filter(spot, 3).ravel()
    if model.width == "astigmatic":
        return -500.0, 500.0, 1.2, -200.0, 350.0, 0.0, 0.1, 1.3, 220.0, 380.0, 0.1, 0.0
    return (3.0,) if model.shape == "moffat_beta" else ()
