"""The transform between two images."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.flags import AlignmentFlags
from npsubpix.results.display import draw_images, table_html

__all__ = ["Alignment"]


class Alignment(NamedTuple):
    """A transform that maps one image to another, and the quality of the match.

    Attributes
    ----------
    matrix : array of shape (3, 3), float64
        Maps points (y, x, 1) of the fixed image to those of the moving one, in pixels, as for `warp`
        and `transform_points`.
    covariance : array of shape (P, P), float64
        Covariance of the parameters of the model: for "translation" the shift (y, x) in pixels; for
        "euclidean" the angle in radians and the shift; for "similarity" the change of scale, the
        angle and the shift; for "affine" and "homography" the changes of the entries of the matrix,
        row by row. The parameters describe a small transform about the centre of the fixed image that
        is applied before the matrix. NaN if it cannot be estimated.
    rms : float
        Root mean square of the residuals, weighted by the loss, in the units of the images. If noise hides the texture
        of single pixels, it is that of means of pixels, and so are ``noise`` and ``correlation``.
    overlap : float
        Number of pixels compared, as a fraction of those of the fixed image without its border.
    n_iters : int
        Number of iterations at all levels.
    converged : bool
        Whether the last iteration moved no corner by more than `tol`, or by far less than the standard error.
    flags : AlignmentFlags
        Reasons not to rely on the alignment; 0 if there are none.
    gain, bias : float
        Brightness of the moving image relative to the fixed one: gain times the fixed image, plus bias.
    centre : tuple of two floats
        Centre (y, x) of the fixed image, to which `shift`, `angle`, `scale` and the parameters of the
        covariance refer.
    correlation : float
        Goodness of fit: zero-mean normalised correlation of both images where they overlap, weighted by the
        loss, from -1 to 1. 1 for images that differ by gain and bias alone; noise makes it smaller.
    noise : float
        Root mean square of residuals of images that differ by noise alone. A greater ``rms`` has other reasons.
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
    correlation: float = math.nan
    noise: float = math.nan

    @property
    def ok(self) -> bool:
        """True if there are no flags: the images look alike where they overlap, and iterations converged."""
        return not self.flags

    def flag_names(self) -> str:
        """Return the names of the flags, joined by ``|``; ``"-"`` if there are none."""
        return "|".join(str(flag.name) for flag in AlignmentFlags if flag in self.flags) or "-"

    @property
    def shift(self) -> npt.NDArray[np.float64]:
        """Displacement (y, x) of the centre of the fixed image, in pixels."""
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
        """Angle of rotation of the content, in radians, from the y axis to the x axis."""
        m = self._linear
        return math.atan2(m[1, 0] - m[0, 1], m[0, 0] + m[1, 1])

    @property
    def scale(self) -> float:
        """Factor of magnification of the content: the square root of that of areas."""
        return math.sqrt(abs(float(np.linalg.det(self._linear))))

    def plot(self, fixed: Any, moving: Any, ax: Any = None, *, title: str = "", y_up: bool = False) -> Any:
        """Overlay both images before and after, as `npsubpix.plotting.draw_alignment` and the command line do.

        Parameters
        ----------
        fixed, moving : arrays of shape (H, W)
            The images that were aligned.
        ax : sequence of two matplotlib.axes.Axes, optional
            Axes to draw in, before and after. By default, they are those of a new figure.
        title : str, optional
            The title, as plain text.
        y_up : bool, default False
            Draw rows upwards, as astronomers do.

        Returns
        -------
        matplotlib.figure.Figure or sequence of two matplotlib.axes.Axes
            The new figure, which a notebook shows. With `ax`, the axes.

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        return draw_images(self, fixed, moving, title=title, y_up=y_up, ax=ax)

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
            f"Alignment({found}, rms={self.rms:.4g}, noise={self.noise:.4g}, correlation={self.correlation:.4g}, "
            f"overlap={self.overlap:.3f}, n_iters={self.n_iters}, "
            f"converged={self.converged}, flags={self.flag_names()})"
        )

    def _repr_html_(self) -> str:
        """Show the transform and the quality of the match as a table of HTML, as notebooks do."""
        values = {f"shift {axis}": (v, e) for axis, v, e in zip("yx", self.shift, self.shift_std, strict=True)}
        rows = [(name, f"{value:.4f} ± {error:.2g}", "pixels") for name, (value, error) in values.items()]
        if len(self.covariance) > 2:
            rows += [("angle", f"{math.degrees(self.angle):.5g}", "degrees"), ("scale", f"{self.scale:.6g}", "")]
        rows += [
            ("correlation", f"{self.correlation:.4g}", ""),
            ("overlap", f"{100 * self.overlap:.3g}", "%"),
            ("rms, noise", f"{self.rms:.4g}, {self.noise:.4g}", "units of the image"),
        ]
        names, texts, units = (list(column) for column in zip(*rows, strict=True))
        head = "Alignment: ok" if self.ok else f"Alignment: not ok, {self.flag_names()}"
        return table_html(head, {"": names, "value": texts, "unit": units}, [], left={"", "unit"})
