"""What `align` returns."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._spec import AlignmentFlags

__all__ = ["Alignment"]


class Alignment(NamedTuple):
    """A transform that puts one image on another, and how well it does.

    Attributes
    ----------
    matrix : array of shape (3, 3), float64
        Takes points (y, x, 1) of the fixed image to those of the moving one, in pixels: what `warp`
        and `transform_points` take.
    covariance : array of shape (P, P), float64
        Covariance of the parameters of the model: for "translation" the shift (y, x) in pixels; for
        "euclidean" the angle in radians and the shift; for "similarity" the change of scale, the
        angle and the shift; for "affine" and "homography" the changes of the entries of the matrix,
        row by row. They are small changes made before the matrix, about the centre of the fixed image.
        NaN if there is none.
    rms : float
        Root mean square of the residuals, weighted by the loss, in the units of the images.
    overlap : float
        How many pixels were compared, as a fraction of those of the fixed image without its border.
    n_iters : int
        Iterations, of all levels.
    converged : bool
        Whether the last iteration moved no corner of the image by more than `tol`.
    flags : AlignmentFlags
        What went wrong; 0 if nothing.
    gain, bias : float
        Brightness of the moving image: the gain times that of the fixed one, plus the bias.
    centre : tuple of two floats
        Centre (y, x) of the fixed image, about which `shift`, `angle`, `scale` and the parameters of
        the covariance are.
    """

    matrix: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]
    rms: float
    overlap: float
    n_iters: int
    converged: bool
    flags: AlignmentFlags
    gain: float = 1.0
    bias: float = 0.0
    centre: tuple[float, float] = (0.0, 0.0)

    @property
    def ok(self) -> bool:
        """True if there are no flags."""
        return not self.flags

    def flag_names(self) -> str:
        """Return the names of the flags, joined by ``|``; ``"-"`` if there are none."""
        return "|".join(str(flag.name) for flag in AlignmentFlags if flag in self.flags) or "-"

    @property
    def shift(self) -> npt.NDArray[np.float64]:
        """Where the centre of the fixed image goes, less where it is: (y, x) in pixels."""
        moved = self.matrix @ (*self.centre, 1.0)
        return np.asarray(moved[:2] / moved[2] - self.centre)

    @property
    def shift_std(self) -> npt.NDArray[np.float64]:
        """Standard deviation of the shift (y, x), in pixels."""
        count = len(self.covariance)
        places = [2, 5] if count > 4 else [count - 2, count - 1]
        inner = self._linear @ self.covariance[np.ix_(places, places)] @ self._linear.T
        return np.sqrt(np.diag(inner))

    @property
    def angle(self) -> float:
        """Angle by which the content is turned, in radians, from the y axis to the x axis."""
        m = self._linear
        return math.atan2(m[1, 0] - m[0, 1], m[0, 0] + m[1, 1])

    @property
    def scale(self) -> float:
        """Factor by which the content is larger: the square root of that of areas."""
        return math.sqrt(abs(float(np.linalg.det(self._linear))))

    @property
    def _linear(self) -> npt.NDArray[np.float64]:
        """Derivative of the transform at the centre."""
        moved = self.matrix @ (*self.centre, 1.0)
        point = moved[:2] / moved[2]
        return np.asarray((self.matrix[:2, :2] - np.outer(point, self.matrix[2, :2])) / moved[2])

    def __repr__(self) -> str:
        shifts = ", ".join(f"{v:.4f} ± {e:.2g}" for v, e in zip(self.shift, self.shift_std, strict=True))
        found = f"shift=({shifts})"
        if len(self.covariance) > 2:
            found += f", angle={self.angle:.6g}, scale={self.scale:.6g}"
        return (
            f"Alignment({found}, rms={self.rms:.4g}, overlap={self.overlap:.3f}, n_iters={self.n_iters}, "
            f"converged={self.converged}, flags={self.flag_names()})"
        )
