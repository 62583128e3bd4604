"""Measured point spread functions, as callers give them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import as_array, to_numpy
from npsubpix._arrays.options import check_lengths
from npsubpix._definitions.measured_psf import PSF_PADDING, psf_geometry
from npsubpix._dispatch.call import call

__all__ = ["MeasuredPsf", "check_psf"]

Floats = npt.NDArray[np.float64]


class MeasuredPsf(NamedTuple):
    """The spline through the samples of a point spread function of unit flux.

    Attributes
    ----------
    coefficients : array of ndim dimensions
        Coefficients of the spline, with those of zeros around the samples.
    numbers : tuple of floats
        See `psf_geometry`.
    widths : tuple of floats
        Standard deviations of the Gaussian that extends as far, in pixels along each axis.
    """

    coefficients: Floats
    numbers: tuple[float, ...]
    widths: tuple[float, ...]

    def shares(self, box: tuple[int, ...], shift: Sequence[float]) -> tuple[Floats, Floats]:
        """Return the shares of the flux in the pixels of a box, and their derivatives with respect to the position.

        `shift` is the distance of the position from the centre of the box.
        """
        _, per_pixel, centres = np.reshape(self.numbers, (-1, 3, 1)).swapaxes(0, 1)
        places = np.indices(box).reshape(len(box), -1) - (np.array(box)[:, None] - 1) / 2 - np.reshape(shift, (-1, 1))
        values, gradient = call(
            "sample", self.coefficients, centres + per_pixel * places, None, None, method="bspline3", mode="constant",
            cval=0.0, channel_axis=None, prefilter=False, with_gradient=True,
        )  # fmt: skip
        return values, -per_pixel * gradient


def check_psf(psf: Any, oversampling: Any, ndim: int) -> MeasuredPsf | None:
    """Require samples of a point spread function, if there are any."""
    per_pixel = check_lengths(oversampling, ndim, "oversampling")
    if min(per_pixel) < 1:
        raise ValueError(f"oversampling must be at least 1 sample per pixel, got {oversampling!r}")
    if psf is None:
        if max(per_pixel) > 1:
            raise ValueError(f"oversampling is for psf, got oversampling={oversampling!r} without one")
        return None
    samples = to_numpy(as_array(psf, "psf"))
    if samples.dtype.kind not in "iuf":
        raise TypeError(f"psf must hold real numbers, got dtype {samples.dtype}")
    if samples.ndim != ndim:
        raise ValueError(f"psf must have {ndim} dimensions, as each image, got shape {samples.shape}")
    if any(n < 3 or n % 2 == 0 for n in samples.shape):
        raise ValueError(
            f"psf must have odd lengths of at least 3, so that a sample is its centre, got {samples.shape}"
        )
    values = samples.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("psf must be finite")
    total = float(values.sum()) / math.prod(per_pixel)
    if not total > 0:
        raise ValueError(f"psf must have a positive sum, which is its flux, got {values.sum()}")
    spot = values / total
    coefficients = call("spline_filter", np.pad(spot, PSF_PADDING), order=3, mode="mirror", channel_axis=None)[0]
    return MeasuredPsf(coefficients, psf_geometry(samples.shape, per_pixel), _widths(spot, per_pixel))


def _widths(spot: Floats, per_pixel: tuple[float, ...]) -> tuple[float, ...]:
    """Return the standard deviations of a Gaussian of the same noise-equivalent area, and length along z."""
    steps = [1 / s for s in per_pixel]
    image = spot.sum(axis=0) * steps[0] if spot.ndim == 3 else spot  # a density, whose integral is 1
    lateral = 1 / math.sqrt(4 * math.pi * float((image**2).sum()) * steps[-2] * steps[-1])
    if spot.ndim == 2:
        return lateral, lateral
    line = spot.sum(axis=(1, 2)) * steps[1] * steps[2]
    return 1 / (2 * math.sqrt(math.pi) * float((line**2).sum()) * steps[0]), lateral, lateral
