"""Astigmatic widths: a curve of the depth, and its calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.checks import check_positions, check_reals
from npsubpix._arrays.library import Array, as_array, to_numpy
from npsubpix._arrays.options import check_finite
from npsubpix._arrays.stacks import check_frame_axis
from npsubpix._definitions.constants import FIT_LEAST_WIDTH
from npsubpix.camera import Camera
from npsubpix.results import Fits

__all__ = ["AstigmaticCurve", "fit_astigmatic_curve"]

Floats = npt.NDArray[np.float64]

#: Fewest depths of a calibration: five parameters of an axis, and one more.
_FEWEST = 6

#: Residuals of more robust standard deviations are those of outliers; the factor from the median of magnitudes to the
#: standard deviation; how often outliers are sought; and the scale of the robust loss with which that begins.
_CLIP, _MEDIAN, _PASSES, _SOFT = 4.0, 1.4826, 5, 0.05


@dataclass(frozen=True)
class AstigmaticCurve:
    r"""Widths of a spot along y and x as a function of z, behind a cylindrical lens.

    Along each axis the width is :math:`\sigma_0 \sqrt{1 + u^2 + A u^3 + B u^4}` with :math:`u = (z - c) / d` [1]_.

    Parameters
    ----------
    sigma0 : tuple of two numbers
        Least width along y and along x, in pixels; exactly, that at `focus`.
    focus : tuple of two numbers
        Position c of the focus of each axis along z, in the unit of z, such as nanometres.
    depth : tuple of two numbers
        Depth d of the focus of each axis, in the unit of z, above 0.
    z_range : tuple of two numbers
        Least and greatest z of the calibration.
    a, b : tuples of two numbers, default (0, 0)
        The coefficients A and B of each axis.

    Attributes
    ----------
    sigma0, focus, depth, z_range, a, b : tuples of two floats
        The parameters.

    Raises
    ------
    TypeError
        If a parameter does not consist of numbers.
    ValueError
        If a parameter does not have two numbers, a width or a depth is not positive, or a width has no value somewhere
        in the range.

    See Also
    --------
    fit_astigmatic_curve : Fit the curve to images of beads at known z.
    fit_spots : Fit z, with ``width=curve``.

    References
    ----------
    .. [1] B. Huang et al., "Three-dimensional super-resolution imaging by stochastic optical reconstruction
       microscopy", Science 319, 810-813, 2008

    Examples
    --------
    >>> import npsubpix
    >>> curve = npsubpix.AstigmaticCurve((1.3, 1.2), (-200, 200), (350, 350), z_range=(-500, 500))
    >>> curve.sigma([-200, 0, 200]).round(2)
    array([[1.3 , 1.82],
           [1.5 , 1.38],
           [1.97, 1.2 ]])
    >>> npsubpix.AstigmaticCurve.from_dict(curve.to_dict()) == curve
    True
    """

    sigma0: tuple[float, float]
    focus: tuple[float, float]
    depth: tuple[float, float]
    z_range: tuple[float, float]
    a: tuple[float, float] = (0.0, 0.0)
    b: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        """Check parameters, and that widths exist in the whole range."""
        for field in fields(self):
            object.__setattr__(self, field.name, _pair(getattr(self, field.name), field.name))
        for name in ("sigma0", "depth"):
            if not min(getattr(self, name)) > 0:
                raise ValueError(f"{name} must be positive along both axes, got {getattr(self, name)}")
        if not self.z_range[0] < self.z_range[1]:
            raise ValueError(f"z_range must be the least and the greatest z, got {self.z_range}")
        for axis, name in enumerate("yx"):
            ends = [(z - self.focus[axis]) / self.depth[axis] for z in self.z_range]
            # Least where the derivative 2 u + 3 A u**2 + 4 B u**3 is 0, or at an end
            turns = np.roots([4 * self.b[axis], 3 * self.a[axis], 2, 0])
            inside = [u.real for u in turns if abs(u.imag) < 1e-9 and ends[0] < u.real < ends[1]]
            least = min(self._square(np.array([*ends, *inside]), axis))
            if not least > 0:
                raise ValueError(f"a and b must leave 1 + u**2 + a u**3 + b u**4 positive in z_range, along {name} too")

    def _square(self, u: Floats, axis: int) -> Floats:
        return 1 + u**2 * (1 + u * (self.a[axis] + u * self.b[axis]))

    def sigma(self, z: Array | float) -> Floats:
        r"""Return the widths along y and x at z.

        Parameters
        ----------
        z : number or array of shape S
            Positions along z.

        Returns
        -------
        array of shape (\*S, 2), float64
            Widths along y and x in pixels; NaN where the curve has none, outside the calibrated range.
        """
        depths = np.asarray(to_numpy(as_array(z, "z")), np.float64)
        widths = []
        for axis in range(2):
            square = self._square((depths - self.focus[axis]) / self.depth[axis], axis)
            widths.append(self.sigma0[axis] * np.sqrt(np.where(square > 0, square, math.nan)))
        return np.stack(widths, -1)

    def to_dict(self) -> dict[str, list[float]]:
        """Return the parameters as lists, as JSON stores them."""
        return {field.name: list(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> AstigmaticCurve:
        """Make a curve from the parameters that `to_dict` returns.

        Parameters
        ----------
        parameters : mapping of str to two numbers
            The parameters by name; ``a`` and ``b`` may be absent.

        Returns
        -------
        AstigmaticCurve
            The curve.
        """
        names = [field.name for field in fields(cls)]
        unknown = sorted(set(parameters) - set(names))
        missing = sorted(set(names[:4]) - set(parameters))
        if unknown or missing:
            raise ValueError(f"parameters must be {', '.join(names)}, got {', '.join(sorted(parameters)) or 'none'}")
        return cls(**parameters)

    def _numbers(self) -> tuple[float, ...]:
        """Return the numbers that kernels take: the range, and the parameters of each axis."""
        axes = [(self.sigma0[k], self.focus[k], self.depth[k], self.a[k], self.b[k]) for k in range(2)]
        return (*self.z_range, *axes[0], *axes[1])


def _pair(value: Any, name: str) -> tuple[float, float]:
    """Require two finite numbers."""
    if np.ndim(value) != 1 or len(value) != 2:
        raise ValueError(f"{name} must have two numbers, along y and along x, got {value!r}")
    first, second = (check_finite(number, name) for number in value)
    return first, second


def fit_astigmatic_curve(
    beads: Array | Fits,
    z: Array,
    /,
    coords: Array | None = None,
    *,
    camera: Camera | None = None,
    box: int | tuple[int, ...] | None = None,
    frame_axis: int = 0,
) -> AstigmaticCurve:
    """Fit the curve of astigmatic widths to images of beads at known z.

    Parameters
    ----------
    beads : array of three dimensions, or Fits
        Images of beads, one per z; or fits of beads in them by ``width="elliptical"``.
    z : array of shape (M,)
        Position of each frame along z, in any unit, which is then that of the curve. For fits without frames, that of
        each row.
    coords : array of shape (N, 2), or a table with positions, optional
        Positions of beads, the same in all frames, such as the peaks of their mean: required with images.
    camera : Camera, optional
        Calibration of the camera.
    box : odd int, or one per axis, optional
        Length of the boxes that are fitted: wide enough for beads far from the focus; by default 13.
    frame_axis : int, default 0
        Axis of the frames.

    Returns
    -------
    AstigmaticCurve
        The curve. Its range is that of z.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If there are fewer than six values of z with beads that could be fitted, shapes do not match, or widths have no
        minimum in the range.

    See Also
    --------
    AstigmaticCurve : The curve.
    fit_spots : Fit z, with ``width=curve``.

    Notes
    -----
    Widths are fitted by least squares, each axis for itself, from a start by the medians of each z. Widths of more than
    four robust standard deviations from the curve are left out, repeatedly. All beads are taken to have the same focus.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> true = npsubpix.AstigmaticCurve((1.3, 1.2), (-200, 200), (350, 400), z_range=(-500, 500))
    >>> z = np.linspace(-500, 500, 41)
    >>> bead = {"amplitude": 9000, "integrate": True}
    >>> light = [npsubpix.render_spots([[20, 21]], (41, 42), std=s, **bead) for s in true.sigma(z)]
    >>> stack = np.random.default_rng(0).poisson(np.array(light) + 2.0)
    >>> curve = npsubpix.fit_astigmatic_curve(stack, z, [[20, 21]], camera=npsubpix.Camera())
    >>> bool(np.abs(curve.sigma(z) - true.sigma(z)).max() < 0.03)
    True
    """
    depths = np.asarray(to_numpy(check_reals(as_array(z, "z"), "z")), np.float64)
    needed: int | None
    if isinstance(beads, Fits):
        if coords is not None or camera is not None or box is not None:
            raise ValueError("coords, camera and box are for images, got fits that have been made")
        fits, needed = beads, len(beads) if beads.frame is None else None
    else:
        fits, needed = _fits_of(beads, coords, camera, box, frame_axis)
    frames = np.arange(len(fits)) if fits.frame is None else to_numpy(fits.frame)
    if depths.ndim != 1 or (len(depths) != needed if needed is not None else len(depths) <= frames.max(initial=-1)):
        expected = "one number per frame" if needed is None else f"shape ({needed},)"
        raise ValueError(f"z must have {expected}, got shape {depths.shape}")
    if not np.isfinite(depths).all():
        raise ValueError("z must be finite")
    sigma = to_numpy(fits.sigma)
    if sigma.ndim != 2 or fits.ndim != 2 or fits.angle is not None:
        raise ValueError("beads must be fits of images by width='elliptical'")
    # A bead far from the focus is wider than its signal to noise needs: it takes part if its widths were measured
    usable = np.isfinite(to_numpy(fits.sigma_std)).all(1) & (sigma > FIT_LEAST_WIDTH).all(1)
    places = depths[frames[usable]]
    if len(np.unique(places)) < _FEWEST:
        raise ValueError(f"beads must have been fitted at {_FEWEST} values of z at least, got {len(np.unique(places))}")
    axes = [_axis(places, sigma[usable, axis], "yx"[axis]) for axis in range(2)]
    sigma0, focus, depth, a, b = zip(*axes, strict=True)
    return AstigmaticCurve(sigma0, focus, depth, (float(places.min()), float(places.max())), a, b)


def _fits_of(stack: Any, coords: Any, camera: Camera | None, box: Any, frame_axis: int) -> tuple[Fits, int]:
    """Fit beads in each frame; return the fits, and the number of frames."""
    from npsubpix.fitting.spots import fit_spots

    images = np.asarray(to_numpy(as_array(stack, "beads")))
    if images.dtype.kind not in "iuf":
        raise TypeError(f"beads must hold real numbers, got dtype {images.dtype}")
    if images.ndim != 3:
        raise ValueError(f"beads must have 3 dimensions, frames, rows and columns, got shape {images.shape}")
    images = np.moveaxis(images, check_frame_axis(frame_axis, 3), 0)
    box = 13 if box is None else box
    if coords is None:
        raise ValueError("coords must be given with images: the positions of beads, such as the peaks of their mean")
    places = np.asarray(to_numpy(check_reals(check_positions(coords, "coords"), "coords")), np.float64)
    count = len(images)
    frame = np.repeat(np.arange(count), len(places))
    fits = fit_spots(
        images, np.tile(places, (count, 1)), frame=frame, frame_axis=0, width="elliptical", box=box, camera=camera,
        max_shift=3.0,
    )  # fmt: skip
    return fits, count


def _axis(z: Floats, widths: Floats, name: str) -> tuple[float, ...]:
    """Fit the curve of one axis; return sigma0, c, d, A and B."""
    from scipy.optimize import least_squares

    def residuals(p: Floats, at: Floats, own: Floats) -> Floats:
        u = (at - p[1]) / math.exp(p[2])
        square = 1 + u**2 * (1 + u * (p[3] + u * p[4]))
        model: Floats = math.exp(p[0]) * np.sqrt(np.maximum(square, 1e-6))
        return model - own

    depths = np.unique(z)
    medians = np.array([np.median(widths[z == depth]) for depth in depths])
    # Near the focus squares of widths are a parabola
    near = medians < 2 * medians.min()
    near = near if near.sum() >= 3 else np.argsort(np.argsort(medians)) < 3
    middle, scale = float(depths[np.argmin(medians)]), float(np.ptp(depths))
    square, slope, level = np.polyfit((depths[near] - middle) / scale, medians[near] ** 2, 2)
    if not square > 0:
        raise ValueError(f"widths along {name} must have a minimum in the range of z")
    centre = -slope / (2 * square)
    least = max(level - square * centre**2, 0.25 * medians.min() ** 2)
    start = [math.log(least) / 2, middle + centre * scale, math.log(scale * math.sqrt(least / square)), 0.0, 0.0]
    units = [0.1, 0.1 * scale, 0.1, 0.1, 0.1]
    found = least_squares(residuals, start, args=(z, widths), x_scale=units, loss="soft_l1", f_scale=_SOFT)
    kept = np.ones(len(z), bool)
    for _ in range(_PASSES):
        error = np.abs(residuals(found.x, z, widths))
        deviation = _MEDIAN * float(np.median(error[kept]))
        now = error <= max(_CLIP * deviation, 1e-9)
        if now.sum() < _FEWEST:
            break
        found = least_squares(residuals, found.x, args=(z[now], widths[now]), x_scale=units)
        if (now == kept).all():
            break
        kept = now
    sigma0, focus, depth, a, b = found.x
    return math.exp(sigma0), float(focus), math.exp(depth), float(a), float(b)
