"""Derivatives of spots of one electron with respect to their parameters, on the host: for bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.spot_models import Model, width_slope
from npsubpix.fitting.measured import MeasuredPsf

__all__ = ["spot_slopes"]

Floats = npt.NDArray[np.float64]

#: Order of the quadrature along an axis of a pixel, and the step of differences.
_ORDER, _STEP = 12, 1e-4


def spot_slopes(
    model: Model, box: tuple[int, ...], widths: tuple[float, ...], shape: tuple[float, ...], shift: Sequence[float],
    numbers: tuple[float, ...], psf: MeasuredPsf | None = None,
) -> Floats:  # fmt: skip
    """Return the derivatives of the means of the pixels of a spot of one electron, a row per parameter.

    `widths` are those along the axes of the image, and `shape` the parameters of the shape. The row of the flux are the
    means themselves.
    """
    axes = model.axes
    rows = np.zeros((model.parameters, math.prod(box)))
    if psf is not None:
        rows[axes], rows[:axes] = psf.shares(box, shift)
    elif model.is_separable:
        _write_products(rows, model, box, widths, shape, shift, numbers)
    else:
        parameters = np.array([*shift, *shape])
        for k in range(len(parameters)):
            step = _STEP * (np.arange(len(parameters)) == k)
            higher = _shares(model, box, widths, parameters + step, numbers)
            lower = _shares(model, box, widths, parameters - step, numbers)
            rows[k if k < axes else k + 1] = (higher - lower) / (2 * _STEP)
        rows[axes] = _shares(model, box, widths, parameters, numbers)
    if model.plane:
        for a in range(axes):
            rows[model.parameters - 1 - axes + a] = np.indices(box)[a].ravel() - (box[a] - 1) / 2
    rows[-1] = 1
    return rows


def _write_products(
    rows: Floats, model: Model, box: tuple[int, ...], widths: tuple[float, ...], shape: tuple[float, ...],
    shift: Sequence[float], numbers: tuple[float, ...],
) -> None:  # fmt: skip
    """Write the derivatives of a product of lines."""
    from scipy.special import erf

    lines = []
    for length, s, centre in zip(box, widths, shift, strict=True):
        edges = (np.arange(length + 1) - length / 2 - centre) / s
        density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi) / s
        lines.append([np.diff(erf(edges / math.sqrt(2))) / 2, -np.diff(density), -np.diff(density * edges)])

    def product(of: tuple[int, ...]) -> Floats:
        total = np.ones(())
        for line, k in zip(lines, of, strict=True):
            total = np.multiply.outer(total, line[k])
        return total.ravel()

    axes, depth = model.axes, model.parameter("z")
    for a in range(axes):
        rows[a] = product(tuple(int(k == a) for k in range(axes)))
        by_width = product(tuple(2 * int(k == a) for k in range(axes)))
        if depth >= 0:
            rows[depth] += by_width * width_slope(shape[0], numbers[2 + 5 * a : 7 + 5 * a])
        elif model.width_of_axis[a] >= 0:
            rows[model.width_of_axis[a]] += by_width
    rows[axes] = product((0,) * axes)


def _shares(
    model: Model, box: tuple[int, ...], widths: tuple[float, ...], parameters: Floats, numbers: tuple[float, ...]
) -> Floats:
    """Return the shares of a spot in the pixels of an image, by quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(_ORDER)
    (y, x), own = (
        (
            (((np.arange(n) - (n - 1) / 2)[:, None] + nodes / 2).ravel() - centre)
            for n, centre in zip(box, parameters[:2], strict=True)
        ),
        parameters[2:],
    )
    v, u = np.meshgrid(y, x, indexing="ij")
    if model.width == "rotated":
        sy, sx, correlation = own
        free = 1 - correlation**2
        square = ((v / sy) ** 2 - 2 * correlation * v * u / (sy * sx) + (u / sx) ** 2) / free
        density = np.exp(-square / 2) / (2 * math.pi * sy * sx * math.sqrt(free))
    else:
        beta = 1 / own[-1] if model.shape == "moffat" else numbers[0]
        sigma = own[0] if model.width_of_axis[0] >= 0 else widths[0]
        alpha = sigma * math.sqrt(2 * math.log(2) / (2 ** (1 / beta) - 1))
        density = (beta - 1) / (math.pi * alpha**2) * (1 + (v**2 + u**2) / alpha**2) ** -beta
    shares = density.reshape(box[0], _ORDER, box[1], _ORDER)
    found: Floats = np.einsum("jaib,a,b->ji", shares, weights, weights).ravel() / 4
    return found
