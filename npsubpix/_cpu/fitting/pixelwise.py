"""Spots that are evaluated pixel by pixel: means and derivatives are written for a whole box, and then summed."""

from __future__ import annotations

from npsubpix._cpu.compiler.jit import device, summing
from npsubpix._cpu.fitting.contract import PixelFunctions, SpotFunctions
from npsubpix._cpu.fitting.gaussian import BLOCK, width_of
from npsubpix._definitions.constants import FIT_LEAST_MEAN
from npsubpix._definitions.spot_models import Model

__all__ = ["pixelwise"]


@summing
def _dot(first, second):
    total = 0.0
    for k in range(first.size):
        total += first[k] * second[k]
    return total


@summing
def _weigh(weights, residuals, mean, data, spread, likelihood):
    """Write weights and weighted residuals; return chi2."""
    total = 0.0
    for k in range(data.size):
        variance = mean[k] + spread[k]
        weight = 1.0 / (variance if variance > FIT_LEAST_MEAN else FIT_LEAST_MEAN) if likelihood else spread[k]
        residual = data[k] - mean[k]
        weights[k], residuals[k] = weight, weight * residual
        total += weight * residual * residual
    return total


@summing
def _scale(out, first, second):
    for k in range(out.size):
        out[k] = first[k] * second[k]


def pixelwise(model: Model, functions: PixelFunctions) -> SpotFunctions:
    """Make the functions of a model from those of its pixels.

    Lines are the derivatives of means, the means, numbers that pixels share, derivatives at one pixel, and three that
    sums use.
    """
    prepare, pixel = functions.prepare, functions.pixel
    axes, count, widths, plane = model.axes, model.parameters, model.widths, model.plane
    last, volume = count - 1, model.axes == 3

    @device
    def write(parameters, sigma, constants, box, padded, lines, edges):
        mean, shared, slopes = lines[count], lines[count + 1], lines[count + 2]
        prepare(shared, parameters, sigma, constants)
        flux, start = parameters[axes], 0
        for d in range(box[0]):
            for j in range(box[1]):
                for i in range(box[2]):
                    k = start + i
                    value = pixel(slopes, shared, parameters, sigma, constants, d, j, i)
                    for a in range(axes):
                        lines[a, k] = flux * slopes[a]
                    lines[axes, k] = value
                    for a in range(axes + 1, axes + 1 + widths):
                        lines[a, k] = flux * slopes[a]
                    background = parameters[last]
                    if plane:
                        from_z, from_y = d - 0.5 * (box[0] - 1), j - 0.5 * (box[1] - 1)
                        lines[last - 1, k] = i - 0.5 * (box[2] - 1)
                        lines[last - 2, k] = from_y
                        background += parameters[last - 1] * lines[last - 1, k] + parameters[last - 2] * from_y
                        if volume:
                            lines[last - 3, k] = from_z
                            background += parameters[last - 3] * from_z
                    lines[last, k] = 1.0
                    mean[k] = flux * value + background
                start += padded

    @device
    def add_rows(sums, parameters, box, padded, lines, data, spread, likelihood):
        weights, residuals, scaled = lines[count + 3], lines[count + 4], lines[count + 5]
        sums[:] = 0.0
        chi2 = _weigh(weights, residuals, lines[count], data, spread, likelihood)
        place = 0
        for a in range(count):
            _scale(scaled, weights, lines[a])
            for b in range(a + 1):
                sums[BLOCK * place] = _dot(scaled, lines[b])
                place += 1
        for a in range(count):
            sums[BLOCK * place] = _dot(residuals, lines[a])
            place += 1
        sums[BLOCK * place] = chi2

    @device
    def means(mean, parameters, box, padded, lines):
        start = 0
        for _ in range(box[0] * box[1]):
            for k in range(start, start + box[2]):
                mean[k] = lines[count, k]
            start += padded

    return SpotFunctions(write, add_rows, means, width_of(model), count + 6, by_pixel=True)
