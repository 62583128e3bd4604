"""Direct alignment of images on the host.

Source: Kuglin and Hines, "The phase correlation image alignment method" (1975).
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.alignment.levels import filled, grown, is_flat, pyramid
from npsubpix._cpu.sampling.interior import MOST
from npsubpix._definitions.alignment.gauss_newton import Options, Outcome, aligned, nothing_to_align
from npsubpix._definitions.flags import AlignmentFlags

__all__ = ["align", "phase_correlation"]

#: Amplitudes below this part of the mean are not raised to 1 by the phase correlation: they are noise.
_WHITEST = 0.1


def align(
    fixed: HostArray, moving: HostArray, mask: HostArray | None, *, init: HostArray | str | None, options: Options
) -> Outcome:
    """Find the matrix that takes pixels of the fixed image to positions in the moving one."""
    if isinstance(init, str):
        init = phase_correlation(fixed, moving) if fixed.size and moving.size else None
    matrix = np.eye(3) if init is None else init
    if moving.size >= MOST:
        raise ValueError(f"moving must have less than {MOST} pixels, got {moving.size}")
    dtype = np.result_type(fixed.dtype, moving.dtype, np.float32)
    left_out = [~np.isfinite(fixed), ~np.isfinite(moving)]
    if mask is not None:
        left_out[0] |= mask
    images, marks = [], []
    for x, bad in zip((fixed, moving), left_out, strict=True):
        images.append(filled(x.astype(dtype), bad))
        marks.append(grown(bad) if bad.any() else np.zeros((0, 0), bool))
    nothing = 0
    if min(*fixed.shape, *moving.shape) < 4 or any(bad.all() for bad in left_out):
        nothing = int(AlignmentFlags.NO_OVERLAP)
    elif any(is_flat(x) for x in images):
        nothing = int(AlignmentFlags.NO_TEXTURE)
    if nothing:
        return nothing_to_align(options, matrix, nothing)
    return aligned(pyramid(images[0], images[1], marks[0], marks[1], options.levels), options, matrix)


def phase_correlation(fixed: HostArray, moving: HostArray) -> HostArray:
    """Find the translation from the peak of the phase correlation, to about a tenth of a pixel."""
    shape = tuple(max(n, m) for n, m in zip(fixed.shape, moving.shape, strict=True))
    spectra = []
    for x in (fixed, moving):
        x = x.astype(np.float64)
        seen = np.isfinite(x)
        x = np.where(seen, x - (x[seen].mean() if seen.any() else 0.0), 0.0)
        window = np.outer(*(np.hanning(n + 2)[1:-1] for n in x.shape))
        spectra.append(scipy.fft.rfft2(x * window, shape))
    cross = np.conj(spectra[0]) * spectra[1]
    size = np.abs(cross)
    cross /= np.maximum(size, max(_WHITEST * size.mean(), np.finfo(float).tiny))
    surface = scipy.fft.irfft2(cross, shape)
    peak = np.unravel_index(np.argmax(surface), shape)
    shift = []
    for axis, (k, n) in enumerate(zip(peak, shape, strict=True)):
        line = np.moveaxis(surface, axis, -1)[peak[1 - axis]]
        before, there, after = (line[(k + d) % n] for d in (-1, 0, 1))
        curvature = before - 2 * there + after
        offset = 0.5 * (before - after) / curvature if curvature < 0 else 0.0
        shift.append(float(k if k <= n // 2 else k - n) + offset)
    matrix = np.eye(3)
    matrix[:2, 2] = shift
    return matrix
