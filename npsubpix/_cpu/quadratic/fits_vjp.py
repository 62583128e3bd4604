"""The derivative of the quadratic fit in three dimensions.

With the gradient g and the Hessian H of the fit, the shift is s = -inv(H) g and the value is
v = c + g.s / 2. Let p and q be the cotangents of s and v, and t = inv(H) p. Then those of g and H
are q s - t and q s s' / 2 - (t s' + s t') / 2, and that of c is q. Each is distributed over the
voxels of its central difference, with the weights of that difference.
"""

from __future__ import annotations

from npsubpix._cpu.compiler.jit import device
from npsubpix._cpu.quadratic.fits import mixed_difference, scaled3d, second_difference, solved3d

__all__ = ["add_quadratic3d", "quadratic3d_vjp"]


@device
def _hessian(x, d, i, j):
    """Return xx, yy, zz, xy, xz, yz as the fit does; it would be slower by a fifth if it called this function."""
    c = x[d, i, j]
    xx = second_difference(x[d, i, j - 1], c, x[d, i, j + 1])
    yy = second_difference(x[d, i - 1, j], c, x[d, i + 1, j])
    zz = second_difference(x[d - 1, i, j], c, x[d + 1, i, j])
    xy = mixed_difference(x[d, i - 1, j - 1], x[d, i - 1, j + 1], x[d, i + 1, j - 1], x[d, i + 1, j + 1])
    xz = mixed_difference(x[d - 1, i, j - 1], x[d - 1, i, j + 1], x[d + 1, i, j - 1], x[d + 1, i, j + 1])
    yz = mixed_difference(x[d - 1, i - 1, j], x[d - 1, i + 1, j], x[d + 1, i - 1, j], x[d + 1, i + 1, j])
    return xx, yy, zz, xy, xz, yz


@device
def quadratic3d_vjp(x, d, i, j, shift, p, q, out):
    """Write the cotangents of x, y, z, xx, yy, zz, xy, xz, yz at a voxel, and of the voxel itself.

    `shift` is that of the fit there, along depth, rows and columns; `p`, its cotangent, is in the
    order (scale, x, y) of coordinates.
    """
    sz, sy, sx = shift
    unit, scale, _, det = scaled3d(_hessian(x, d, i, j))
    tx, ty, tz = solved3d(unit, det, p[1], p[2], p[0])
    # Times the scale last: it is huge where responses are tiny, and infinity times 0 is no number.
    out[0] = q * sx - scale * tx
    out[1] = q * sy - scale * ty
    out[2] = q * sz - scale * tz
    out[3] = 0.5 * q * sx * sx - scale * (tx * sx)
    out[4] = 0.5 * q * sy * sy - scale * (ty * sy)
    out[5] = 0.5 * q * sz * sz - scale * (tz * sz)
    # Both entries of the Hessian that one difference gives.
    out[6] = q * sx * sy - scale * (tx * sy + ty * sx)
    out[7] = q * sx * sz - scale * (tx * sz + tz * sx)
    out[8] = q * sy * sz - scale * (ty * sz + tz * sy)
    out[9] = q


@device
def _add_mixed(low, high, k, cotangent):
    low[k - 1] += 0.25 * cotangent
    low[k + 1] -= 0.25 * cotangent
    high[k - 1] -= 0.25 * cotangent
    high[k + 1] += 0.25 * cotangent


@device
def add_quadratic3d(grad, d, i, j, fit):
    """Add the cotangents of a fit, as `quadratic3d_vjp` wrote them, to those of the voxels around its own."""
    x, y, z, xx, yy, zz, xy, xz, yz, c = fit[0], fit[1], fit[2], fit[3], fit[4], fit[5], fit[6], fit[7], fit[8], fit[9]
    grad[d, i, j] += c - 2.0 * (xx + yy + zz)
    grad[d, i, j - 1] += xx - 0.5 * x
    grad[d, i, j + 1] += xx + 0.5 * x
    grad[d, i - 1, j] += yy - 0.5 * y
    grad[d, i + 1, j] += yy + 0.5 * y
    grad[d - 1, i, j] += zz - 0.5 * z
    grad[d + 1, i, j] += zz + 0.5 * z
    _add_mixed(grad[d, i - 1], grad[d, i + 1], j, xy)
    _add_mixed(grad[d - 1, i], grad[d + 1, i], j, xz)
    _add_mixed(grad[d - 1, :, j], grad[d + 1, :, j], i, yz)
