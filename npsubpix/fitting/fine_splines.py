"""Cubic splines through samples at any positions, and through those of a grid."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.measured_psf import PSF_PADDING
from npsubpix._dispatch.call import call

__all__ = ["coefficients_of", "design_of", "roughness_of", "sampled", "values_of"]

Floats = npt.NDArray[np.float64]

#: Rows of coefficients beyond the samples on which values at the border depend.
_BEYOND = 2


def design_of(at: Floats, shape: tuple[int, ...]) -> Any:
    """Return the sparse matrix from coefficients to samples at positions among those of a shape."""
    from scipy import sparse

    lengths = [n + 2 * _BEYOND for n in shape]
    bases = np.floor(at).astype(np.int64)
    t = at - bases
    u = 1 - t
    weights = u**3 / 6, 2 / 3 - t**2 * (1 - t / 2), 2 / 3 - u**2 * (1 - u / 2), t**3 / 6
    columns, entries = [], []
    for taps in itertools.product(range(4), repeat=len(shape)):
        places = [bases[a] - 1 + _BEYOND + tap for a, tap in enumerate(taps)]
        columns.append(np.ravel_multi_index(places, lengths))
        entries.append(math.prod(weights[tap][a] for a, tap in enumerate(taps)))
    count = at.shape[1]
    rows = np.arange(count + 1) * len(columns)
    data = np.stack(entries, -1).ravel(), np.stack(columns, -1).ravel(), rows
    return sparse.csr_matrix(data, shape=(count, math.prod(lengths)))


def roughness_of(shape: tuple[int, ...]) -> Any:
    """Return the matrix of the sum of squares of second differences of coefficients along all axes."""
    from scipy import sparse

    lengths = [n + 2 * _BEYOND for n in shape]
    total: Any = 0
    for axis, length in enumerate(lengths):
        second = sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(length - 2, length))
        before, after = sparse.identity(math.prod(lengths[:axis])), sparse.identity(math.prod(lengths[axis + 1 :]))
        total = total + sparse.kron(sparse.kron(before, second.T @ second), after)
    return total


def coefficients_of(psf: Floats) -> Floats:
    """Return the coefficients of the spline through samples, and of those just beyond."""
    found: Floats = call("spline_filter", np.pad(psf, PSF_PADDING), order=3, mode="mirror", channel_axis=None)[0]
    return found[(slice(PSF_PADDING - _BEYOND, _BEYOND - PSF_PADDING),) * psf.ndim]


def values_of(coefficients: Floats) -> Floats:
    """Return the samples of a spline."""
    for axis in range(coefficients.ndim):
        line = np.moveaxis(coefficients, axis, 0)
        coefficients = np.moveaxis((line[:-2] + 4 * line[1:-1] + line[2:]) / 6, 0, axis)
    border = (slice(_BEYOND - 1, 1 - _BEYOND),) * coefficients.ndim
    return np.ascontiguousarray(coefficients[border])


def sampled(psf: Floats, at: Floats) -> Floats:
    """Sample the spline through samples that zeros continue."""
    values: Floats = call(
        "sample", np.pad(psf, PSF_PADDING), at + PSF_PADDING, None, None, method="bspline3", mode="mirror", cval=0.0,
        channel_axis=None, prefilter=True, with_gradient=False,
    )[0]  # fmt: skip
    return values
