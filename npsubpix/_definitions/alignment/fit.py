"""Goodness of fit of an alignment, and the covariance of its parameters.

Sources: White, "A heteroskedasticity-consistent covariance matrix estimator and a direct test for
heteroskedasticity", Econometrica 48 (1980); Huber, "Robust Statistics" (1981), for the covariance with a loss function;
Spearman, "The proof and measurement of association between two things", American Journal of Psychology 15 (1904), for
the correlation without noise; Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding 64
(1996), for noise.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from npsubpix._definitions.alignment.normal_equations import Equations, Likeness
from npsubpix._definitions.alignment.solutions import inverse, significance_of
from npsubpix._definitions.dtypes import HostArray

__all__ = [
    "Areas",
    "Brightness",
    "areas_of",
    "attainable_correlation",
    "brightness_of",
    "covariance_of",
    "interpolation_error",
    "is_explained",
    "is_linear",
    "is_poor",
    "matched_brightness",
    "share_of_noise",
]

#: Correlation below which one image is the negative of the other.
_NEGATIVE = -0.5

#: Phases of a pixel, along each axis, at which the share of noise is known.
_PHASES = 64

#: Least variance of the structures of an image, in pixels squared: that of a pixel.
_LEAST_VARIANCE = 1 / 12

# Limits from `python -m benchmarks.alignment_success`.

#: Least correlation, in units of the standard deviation of that of white noise.
_SIGNIFICANT = 6.0

#: Root mean square of residuals, in units of that expected from noise, up to which noise explains them.
_EXPLAINED = 1.15

#: Least number of structures by which images correlate, times the ratio of what they share to what they do not.
_ALIKE = 8.0

#: Share of the variance of the noise to which the variance of residuals can be told from it.
_DOUBT = 0.1

#: Least number of structures that overlaps have room for, times the logarithm of the ratio of what the images share to
#: what they do not. Images with room for few structures resemble each other somewhere by chance.
_LEAST_EVIDENCE = 12.0

#: Standard error of a shift, in units of the width of structures, over which residuals change linearly with it.
_LINEAR = 0.3

#: Relative variance of the squared inverse of crossed products, in units of that of the products, to second order; and
#: one more, as those that noise makes too small are not used.
_UNCERTAIN = 4.0

#: Number of structures that images have at least.
_LEAST_STRUCTURES = 0.5


class Brightness(NamedTuple):
    """Weighted means and variances of both images over the pixels compared, and their covariance."""

    fixed_mean: float
    moving_mean: float
    fixed_variance: float
    moving_variance: float
    covariance: float

    @property
    def correlation(self) -> float:
        """Zero-mean normalised correlation; NaN where an image is constant."""
        product = self.fixed_variance * self.moving_variance
        return self.covariance / math.sqrt(product) if product > 0 else math.nan


def brightness_of(e: Equations, gain: float, bias: float) -> Brightness:
    """Return the brightness of images from sums over residuals, with the gain and the bias that these had."""
    count = e.products[-1, -1]
    fixed, residual = e.products[-1, -2] / count, -e.right[-1] / count
    variance = e.products[-2, -2] / count - fixed * fixed
    shared = -e.right[-2] / count - fixed * residual
    remaining = e.squares / count - residual * residual
    return Brightness(
        fixed, residual + gain * fixed + bias, max(variance, 0.0),
        max(remaining + 2 * gain * shared + gain * gain * variance, 0.0), shared + gain * variance,
    )  # fmt: skip


def matched_brightness(b: Brightness) -> tuple[float, float]:
    """Return the gain and the bias that give both images one mean and one standard deviation."""
    if not (b.fixed_variance > 0 and b.moving_variance > 0):
        return 1.0, b.moving_mean - b.fixed_mean
    gain = math.sqrt(b.moving_variance / b.fixed_variance)
    gain = -gain if b.correlation < _NEGATIVE else gain
    return gain, b.moving_mean - gain * b.fixed_mean


def _weights(phase: HostArray) -> tuple[HostArray, HostArray]:
    """Return pixels around a position, and their weights in a cubic spline, one row per phase."""
    pole = math.sqrt(3) - 2
    pixels = np.arange(-12, 13)
    weights = np.zeros((phase.size, pixels.size))
    for m in range(-12, 13):
        u = np.abs(phase[:, None] - pixels - m)
        basis = np.where(u < 1, 2 / 3 - u * u + 0.5 * u**3, np.clip(2 - u, 0, None) ** 3 / 6)
        weights += -6 * pole / (1 - pole * pole) * pole ** abs(m) * basis
    return pixels, weights


@functools.cache
def _shares() -> HostArray:
    """Return the sums of the squared weights of pixels in a cubic spline, at phases from 0 to 1."""
    return np.asarray((_weights(np.linspace(0, 1, _PHASES + 1))[1] ** 2).sum(1))


def _phases(matrix: HostArray, shape: tuple[int, ...]) -> HostArray:
    """Return the fractions (y, x) of the positions to which a grid of pixels is projected."""
    lines = [np.unique(np.linspace(0, n - 1, 17).round()) for n in shape]
    y, x = (a.ravel() for a in np.meshgrid(*lines, indexing="ij"))
    with np.errstate(all="ignore"):
        moved = matrix @ np.stack([y, x, np.ones(y.size)])
        return np.asarray((moved[:2] / moved[2]) % 1)


def share_of_noise(matrix: HostArray, shape: tuple[int, ...]) -> float:
    """Return the variance of white noise after interpolation at the positions of pixels, as a share of that before."""
    shares = np.interp(_phases(matrix, shape), np.linspace(0, 1, _PHASES + 1), _shares())
    return float(np.nanmean(shares[0] * shares[1]))


@functools.cache
def _spectra() -> tuple[HostArray, HostArray, HostArray]:
    """Return frequencies with their aliases, the gradient of a spline, and the error of the phase between pixels.

    The error is that of the interpolated value a quarter of a pixel beside a pixel, where it is greatest.
    """
    pixels, weights = _weights(np.array([0.25]))
    base = (np.arange(-128, 128) + 0.5) * math.pi / 128
    response = weights[0] @ np.exp(1j * np.outer(pixels, base))
    gradient = np.sin(base) / (2 / 3 + np.cos(base) / 3)
    aliases = base + 2 * math.pi * np.arange(-2, 3)[:, None]
    return aliases, gradient, np.imag(np.exp(-0.25j * aliases) * response)


def interpolation_error(
    matrix: HostArray, shape: tuple[int, ...], brightness: Brightness, e: Equations, gain: float, shifts: list[int]
) -> HostArray:
    """Return the errors (y, x) of a shift that come from interpolation, for structures of a Gaussian spectrum.

    Their width follows from the variance that both images share and from the products of their gradients, to neither
    of which noise adds. Narrow structures are drawn to the pixels, most a quarter of a pixel beside them.
    """
    assert e.crossed is not None
    aliases, gradient, error = _spectra()
    turns = np.nanmean(np.sin(2 * math.pi * _phases(matrix, shape)), axis=1)
    found = np.zeros(2)
    for axis, place in enumerate(shifts):
        energy = e.crossed[place, place] / e.weight
        shared = brightness.covariance * gain
        if energy > 0 and shared > 0:
            power = np.exp(-max(0.5 * shared / energy, _LEAST_VARIANCE) * aliases**2)
            found[axis] = (power * gradient * error).sum() / (power * gradient**2).sum() * turns[axis]
    return found


def covariance_of(
    sensitivity: Equations, scores: Equations, scale: float, likeness: Likeness, share: float, gain: float
) -> HostArray:
    """Return the covariance of the parameters, whatever the variance of the noise at each pixel.

    It is C^-1 S C^-T. C are the crossed products, and S is the scatter of the sums that are zero at the solution: of
    gradients times noise, and of the gradient of the fixed image's noise times that of the moving one. The noise of
    the fixed image times its own gradient sums to nothing, as it is the derivative of a square. Crossed products have
    the gradients alone, and the others the noise's too, each weighted by the squared derivative of the loss function,
    in units of `scale`. Interpolation takes high frequencies of the noise from the residuals, of which gradients have
    few.
    """
    assert sensitivity.crossed is not None
    assert scores.crossed is not None
    crossed = 0.5 * (scores.crossed + scores.crossed.T)
    seen = likeness.noise_of_residuals(gain, share)
    of_scene = likeness.noise_of_residuals(gain, 1.0) / seen if seen > 0 else 1.0
    of_noise = share * likeness.moving / seen if seen > 0 else 0.5
    spread = of_scene * crossed + of_noise * (scores.products - crossed)
    if not (np.diag(spread) > 0).all() or np.linalg.eigvalsh(spread)[0] <= 0:  # images that hardly correlate
        spread = of_scene * scores.products
    significance = significance_of(sensitivity)
    if not abs(significance) > 0:
        return np.full_like(spread, np.nan)
    back = inverse(sensitivity.crossed)
    spread *= 1 + _UNCERTAIN / significance**2
    freedom = sensitivity.pixels / max(sensitivity.pixels - len(sensitivity.right), 1)
    return np.asarray(freedom * scale * scale * (back @ spread @ back.T))


class Areas(NamedTuple):
    """Areas of the structures of images in pixels: their autocorrelation, squared, integrated."""

    fixed: float  # of the fixed image, with its noise
    shared: float  # of both images, to which noise does not add; infinity if they share none


def areas_of(e: Equations, brightness: Brightness, gain: float, shifts: list[int]) -> Areas:
    """Return the areas of structures, from the variances of images and of their gradients along y and x."""
    assert e.crossed is not None
    of_fixed, crossed = (0.5 * float(x[shifts, shifts].sum()) / e.weight for x in (e.products, e.crossed))
    shared = brightness.covariance * gain
    return Areas(
        math.pi * brightness.fixed_variance * gain**2 / of_fixed,
        math.pi * shared / crossed if crossed > 0 and shared > 0 else math.inf,
    )


def is_explained(rms: float, noise: float) -> bool:
    """Whether noise explains residuals."""
    return rms < _EXPLAINED * noise


def is_linear(shift_std: HostArray, areas: Areas) -> bool:
    """Whether standard errors of a shift are so small that residuals change linearly with it."""
    return bool((shift_std < _LINEAR * math.sqrt(areas.shared / (2 * math.pi))).all())


def attainable_correlation(brightness: Brightness, likeness: Likeness, share: float) -> float:
    """Return the correlation that images of one scene would have, of this brightness and noise."""
    fixed = 1 - likeness.fixed / brightness.fixed_variance
    moving = 1 - share * likeness.moving / brightness.moving_variance
    return math.sqrt(max(fixed, 0.0) * max(moving, 0.0))


def is_poor(
    brightness: Brightness, likeness: Likeness, gain: float, share: float, pixels: float, rms: float, areas: Areas
) -> bool:
    """Whether two images are no better alike than images of different scenes.

    They correlate no more than noise does; or they are too smooth for their size; or noise does not explain the
    residuals, and the images correlate no more, or by no more structures of this area, than different scenes do where a
    few structures coincide.
    """
    correlation = math.copysign(1.0, gain) * brightness.correlation
    if not correlation * math.sqrt(pixels) > _SIGNIFICANT:
        return True
    noise = likeness.noise_of_residuals(gain, share)
    differing = max(rms * rms - noise, _DOUBT * noise) / (2 * gain * brightness.covariance)
    if differing > 0 and -math.log(differing) * pixels < _LEAST_EVIDENCE * areas.shared:
        return True
    if is_explained(rms, math.sqrt(noise)):
        return False
    attainable = attainable_correlation(brightness, likeness, share)
    shared = (correlation / attainable) ** 2 if attainable > 0 else 1.0
    structures = max(likeness.pixels / areas.fixed, _LEAST_STRUCTURES)
    return bool(shared < 1 and structures * shared < _ALIKE * (1 - shared))
