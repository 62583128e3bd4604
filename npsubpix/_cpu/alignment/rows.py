"""Cubic spline samples along a row of positions that go on by about one pixel.

The windows of such positions follow each other pixel by pixel, for as long as none is skipped and
the row stays the same. In such a run pixels are read in order, and the code is vector code. Where
runs are short, samples are gathered one by one.
"""

from __future__ import annotations

import numpy as np

from npsubpix._cpu.compiler.jit import device, fused
from npsubpix._cpu.sampling.planes import planes_of
from npsubpix._cpu.sampling.weights import TAPS

__all__ = ["SHORTEST", "end_of_run", "sample_row"]

#: Positions of a run, below which gathering is faster.
SHORTEST = 12

#: Positions that are compared at a time.
_STRIDE = 16

_CUBIC = TAPS["bspline3"]
_value, _gradient = planes_of(_CUBIC)
_weights, _slopes = _CUBIC.weights, _CUBIC.slopes


@fused
def _run_of_values(a, b, c, d, tx, ty, out):
    F = out.dtype.type
    for j in range(out.size):
        u, v = _weights(tx[j], F, (0, 0)), _weights(ty[j], F, (0, 0))
        p = v[0] * a[j] + v[1] * b[j] + v[2] * c[j] + v[3] * d[j]
        q = v[0] * a[j + 1] + v[1] * b[j + 1] + v[2] * c[j + 1] + v[3] * d[j + 1]
        r = v[0] * a[j + 2] + v[1] * b[j + 2] + v[2] * c[j + 2] + v[3] * d[j + 2]
        s = v[0] * a[j + 3] + v[1] * b[j + 3] + v[2] * c[j + 3] + v[3] * d[j + 3]
        out[j] = u[0] * p + u[1] * q + u[2] * r + u[3] * s


@fused
def _run_of_gradients(a, b, c, d, tx, ty, out, gy, gx):
    F = out.dtype.type
    for j in range(out.size):
        u, v = _weights(tx[j], F, (0, 0)), _weights(ty[j], F, (0, 0))
        du, dv = _slopes(tx[j], F, (0, 0)), _slopes(ty[j], F, (0, 0))
        p = v[0] * a[j] + v[1] * b[j] + v[2] * c[j] + v[3] * d[j]
        q = v[0] * a[j + 1] + v[1] * b[j + 1] + v[2] * c[j + 1] + v[3] * d[j + 1]
        r = v[0] * a[j + 2] + v[1] * b[j + 2] + v[2] * c[j + 2] + v[3] * d[j + 2]
        s = v[0] * a[j + 3] + v[1] * b[j + 3] + v[2] * c[j + 3] + v[3] * d[j + 3]
        out[j] = u[0] * p + u[1] * q + u[2] * r + u[3] * s
        gx[j] = du[0] * p + du[1] * q + du[2] * r + du[3] * s
        p = dv[0] * a[j] + dv[1] * b[j] + dv[2] * c[j] + dv[3] * d[j]
        q = dv[0] * a[j + 1] + dv[1] * b[j + 1] + dv[2] * c[j + 1] + dv[3] * d[j + 1]
        r = dv[0] * a[j + 2] + dv[1] * b[j + 2] + dv[2] * c[j + 2] + dv[3] * d[j + 2]
        s = dv[0] * a[j + 3] + dv[1] * b[j + 3] + dv[2] * c[j + 3] + dv[3] * d[j + 3]
        gy[j] = u[0] * p + u[1] * q + u[2] * r + u[3] * s


@device
def _go_on(starts):
    """Whether each position follows the one before; vector code, as it compares all of them."""
    breaks = 0
    for j in range(starts.size - 1):
        breaks += starts[j + 1] - starts[j] != 1
    return breaks == 0


@device
def end_of_run(starts, begin):
    """Return the end of the run that begins at a position."""
    end = begin + 1
    while end + _STRIDE <= starts.size and _go_on(starts[end - 1 : end + _STRIDE]):
        end += _STRIDE
    while end < starts.size and starts[end] - starts[end - 1] == 1:
        end += 1
    return end


@device
def sample_row(x, starts, t, width, differentiate, out, gy, gx):
    """Sample spline coefficients x, flat, where windows begin at `starts` and positions are `t` from their bases.

    Write gradients too, if wanted.
    """
    F = out.dtype.type
    begin = np.int64(0)  # no literal, for which `end_of_run` would be compiled as well
    while begin < starts.size:
        end = end_of_run(starts, begin)
        if end - begin >= SHORTEST:
            o, n = np.int64(starts[begin]), end - begin + 3
            a, b = x[o : o + n], x[o + width : o + width + n]
            c, d = x[o + 2 * width : o + 2 * width + n], x[o + 3 * width : o + 3 * width + n]
            part = slice(begin, end)
            if differentiate:
                _run_of_gradients(a, b, c, d, t[2, part], t[1, part], out[part], gy[part], gx[part])
            else:
                _run_of_values(a, b, c, d, t[2, part], t[1, part], out[part])
        elif differentiate:
            for k in range(begin, end):
                out[k], gy[k], gx[k] = _gradient(x, np.uint64(starts[k]), np.uint64(width), t, k, (0, 0), F)
        else:
            for k in range(begin, end):
                out[k] = _value(x, np.uint64(starts[k]), np.uint64(width), t, k, (0, 0), F)
        begin = end
