"""The classes of `kornia.geometry.subpix`: maxima, their quadratic refinement, and soft maxima."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from npsubpix._arrays.home import home_of
from npsubpix._arrays.library import Array
from npsubpix.nms import nms2d, nms3d
from npsubpix.operators._options import MODES, Operator
from npsubpix.quad_interp import conv_quad_interp3d, iterative_quad_interp3d
from npsubpix.soft_argmax import conv_soft_argmax2d, conv_soft_argmax3d
from npsubpix.spatial.kornia import spatial_soft_argmax2d

__all__ = [
    "AdaptiveQuadInterp3d",
    "ConvQuadInterp3d",
    "ConvSoftArgmax2d",
    "ConvSoftArgmax3d",
    "IterativeQuadInterp3d",
    "NonMaximaSuppression2d",
    "NonMaximaSuppression3d",
    "SpatialSoftArgmax2d",
]


@dataclass
class NonMaximaSuppression2d(Operator):
    """Keep the strict maxima of images: `nms2d` with its window.

    Parameters
    ----------
    kernel_size : tuple of two ints
        Height and width of the window in pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import NonMaximaSuppression2d
    >>> suppress = NonMaximaSuppression2d((3, 3))
    >>> image = np.zeros((1, 1, 3, 3))
    >>> image[0, 0, 1, 1] = 1
    >>> suppress(image, mask_only=True).sum()
    np.int64(1)
    """

    _window_axes = 2
    kernel_size: tuple[int, int]

    def __call__(self, x: Array, mask_only: bool = False) -> Array:
        """Suppress all but the maxima of images of shape (B, C, H, W)."""
        return nms2d(x, self.kernel_size, mask_only)


@dataclass
class NonMaximaSuppression3d(Operator):
    """Keep the strict maxima of volumes: `nms3d` with its window.

    Parameters
    ----------
    kernel_size : tuple of three ints
        Depth, height and width of the window in voxels.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import NonMaximaSuppression3d
    >>> suppress = NonMaximaSuppression3d((3, 3, 3))
    >>> suppress(np.zeros((1, 1, 3, 8, 8))).shape
    (1, 1, 3, 8, 8)
    """

    _window_axes = 3
    kernel_size: tuple[int, int, int]

    def __call__(self, x: Array, mask_only: bool = False) -> Array:
        """Suppress all but the maxima of volumes of shape (B, C, D, H, W)."""
        return nms3d(x, self.kernel_size, mask_only)


@dataclass
class SpatialSoftArgmax2d(Operator):
    """Locate the soft maximum of whole maps: `spatial_soft_argmax2d` with its options.

    Parameters
    ----------
    temperature : float or array, optional
        Divides the input: a lower temperature is sharper. 1 by default.
    normalized_coordinates : bool, default True
        Return coordinates from -1 to 1 instead of pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import SpatialSoftArgmax2d
    >>> locate = SpatialSoftArgmax2d(temperature=0.1, normalized_coordinates=False)
    >>> heatmaps = np.zeros((1, 1, 5, 7))
    >>> heatmaps[0, 0, 3, 4] = 1
    >>> locate(heatmaps).round(2)
    array([[[4., 3.]]])
    """

    temperature: Array | float | None = None
    normalized_coordinates: bool = True

    def __call__(self, input: Array) -> Array:
        """Return the positions (x, y), of shape (B, N, 2), of maps of shape (B, N, H, W)."""
        return spatial_soft_argmax2d(input, self.temperature, self.normalized_coordinates)


@dataclass
class ConvSoftArgmax2d(Operator):
    """Locate the soft maximum of every window of heat maps: `conv_soft_argmax2d` with its options.

    Parameters
    ----------
    kernel_size : tuple of two ints, default (3, 3)
        Height and width of the window in pixels.
    stride : tuple of two ints or int, default (1, 1)
        Pixels from one window to the next.
    padding : tuple of two ints or int, default (1, 1)
        Padding at both ends of each axis, at most half of the window.
    temperature : float or array, default 1.0
        Divides the input: a lower temperature is sharper.
    normalized_coordinates : bool, default True
        Return coordinates from -1 to 1 instead of pixels.
    eps : float, default 1e-8
        Has no effect.
    output_value : bool, default False
        Also return the values.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import ConvSoftArgmax2d
    >>> ConvSoftArgmax2d((5, 5), stride=(2, 2), padding=(2, 2))(np.zeros((1, 3, 20, 30))).shape
    (1, 3, 2, 10, 15)
    """

    _window_axes = 2
    kernel_size: tuple[int, int] = (3, 3)
    stride: tuple[int, int] | int = (1, 1)
    padding: tuple[int, int] | int = (1, 1)
    temperature: Array | float = 1.0
    normalized_coordinates: bool = True
    eps: float = 1e-8
    output_value: bool = False

    def __call__(self, x: Array) -> Array | tuple[Array, Array]:
        """Return positions, and with ``output_value`` values, of all windows of maps of shape (B, C, H, W)."""
        return conv_soft_argmax2d(x, **self._options())


@dataclass
class ConvSoftArgmax3d(Operator):
    """Locate the soft maximum of every window of volumes: `conv_soft_argmax3d` with its options.

    Parameters
    ----------
    kernel_size : tuple of three ints, default (3, 3, 3)
        Depth, height and width of the window in voxels.
    stride : tuple of three ints or int, default (1, 1, 1)
        Voxels from one window to the next.
    padding : tuple of three ints or int, default (1, 1, 1)
        Padding at both ends of each axis, at most half of the window.
    temperature : float or array, default 1.0
        Divides the input: a lower temperature is sharper.
    normalized_coordinates : bool, default False
        Return coordinates from -1 to 1 instead of voxels.
    eps : float, default 1e-8
        Has no effect.
    output_value : bool, default True
        Also return the values.
    strict_maxima_bonus : float, default 0.0
        Multiply the value of windows whose centre is their strict maximum by 1 + ``strict_maxima_bonus``.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import ConvSoftArgmax3d
    >>> coords, values = ConvSoftArgmax3d(stride=(1, 2, 2), padding=(0, 1, 1))(np.zeros((1, 1, 3, 8, 8)))
    >>> coords.shape, values.shape
    ((1, 1, 3, 1, 4, 4), (1, 1, 1, 4, 4))
    """

    _window_axes = 3
    kernel_size: tuple[int, int, int] = (3, 3, 3)
    stride: tuple[int, int, int] | int = (1, 1, 1)
    padding: tuple[int, int, int] | int = (1, 1, 1)
    temperature: Array | float = 1.0
    normalized_coordinates: bool = False
    eps: float = 1e-8
    output_value: bool = True
    strict_maxima_bonus: float = 0.0

    def __call__(self, x: Array) -> Array | tuple[Array, Array]:
        """Return positions, and with ``output_value`` values, of all windows of volumes of shape (B, C, D, H, W)."""
        return conv_soft_argmax3d(x, **self._options())


@dataclass
class ConvQuadInterp3d(Operator):
    """Refine maxima within a radius: `conv_quad_interp3d` with its options.

    Parameters
    ----------
    n_iters : int, default 5
        Maximum number of fits per maximum.
    strict_maxima_bonus : float, default 10.0
        Added to the value of every refined maximum.
    max_subpixel_shift : float, default 0.6
        Shift in voxels beyond which the fit moves to the next voxel.
    dilation_radius : int, default 1
        Limit of the displacement of a maximum, in voxels on any axis.
    allow_scale_steps : bool, default True
        Also move along depth.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import ConvQuadInterp3d
    >>> coords, values = ConvQuadInterp3d()(np.zeros((1, 1, 3, 8, 8), np.float32))
    >>> coords.shape, values.shape
    ((1, 1, 3, 3, 8, 8), (1, 1, 3, 8, 8))
    """

    n_iters: int = 5
    strict_maxima_bonus: float = 10.0
    max_subpixel_shift: float = 0.6
    dilation_radius: int = 1
    allow_scale_steps: bool = True

    def __call__(self, x: Array, precomputed_nms_mask: Array | None = None) -> tuple[Array, Array]:
        """Return positions and values of every voxel of a pyramid of shape (B, C, D, H, W)."""
        return conv_quad_interp3d(x, precomputed_nms_mask=precomputed_nms_mask, **self._options())


@dataclass
class IterativeQuadInterp3d(Operator):
    """Refine maxima: `iterative_quad_interp3d` with its options.

    Parameters
    ----------
    n_iters : int, default 5
        Maximum number of fits per maximum.
    strict_maxima_bonus : float, default 10.0
        Added to the value of every refined maximum.
    max_subpixel_shift : float, default 0.6
        Shift in voxels beyond which the fit moves to the next voxel.
    allow_scale_steps : bool, default True
        Also move along depth.
    max_candidates : int, optional
        Maximum number of maxima to refine per image.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import IterativeQuadInterp3d
    >>> coords, values = IterativeQuadInterp3d(max_candidates=100)(np.zeros((1, 1, 3, 8, 8)))
    >>> coords.shape, values.shape
    ((1, 1, 3, 3, 8, 8), (1, 1, 3, 8, 8))
    """

    n_iters: int = 5
    strict_maxima_bonus: float = 10.0
    max_subpixel_shift: float = 0.6
    allow_scale_steps: bool = True
    max_candidates: int | None = None

    def __call__(self, x: Array, precomputed_nms_mask: Array | None = None) -> tuple[Array, Array]:
        """Return positions and values of every voxel of a pyramid of shape (B, C, D, H, W)."""
        return iterative_quad_interp3d(x, precomputed_nms_mask=precomputed_nms_mask, **self._options())


@dataclass
class AdaptiveQuadInterp3d(Operator):
    """Refine maxima with the operator that suits the device of the array.

    Parameters
    ----------
    mode : {"auto", "patch", "conv"}, default "auto"
        ``"patch"`` is `iterative_quad_interp3d`, ``"conv"`` is `conv_quad_interp3d`, and
        ``"auto"`` is ``"conv"`` for arrays on a GPU and ``"patch"`` for all others.
    n_iters : int, default 5
        Maximum number of fits per maximum.
    strict_maxima_bonus : float, default 10.0
        Added to the value of every refined maximum.
    max_subpixel_shift : float, default 0.6
        Shift in voxels beyond which the fit moves to the next voxel.
    dilation_radius : int, default 1
        Limit of the displacement of a maximum in mode ``"conv"``, in voxels on any axis.
    allow_scale_steps : bool, default True
        Also move along depth.
    max_candidates : int, optional
        Maximum number of maxima to refine per image in mode ``"patch"``.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import AdaptiveQuadInterp3d
    >>> coords, values = AdaptiveQuadInterp3d(mode="auto")(np.zeros((1, 1, 3, 64, 64)))
    >>> coords.shape, values.shape
    ((1, 1, 3, 3, 64, 64), (1, 1, 3, 64, 64))
    """

    MODES: ClassVar[tuple[str, ...]] = MODES

    mode: str = "auto"
    n_iters: int = 5
    strict_maxima_bonus: float = 10.0
    max_subpixel_shift: float = 0.6
    dilation_radius: int = 1
    allow_scale_steps: bool = True
    max_candidates: int | None = None

    def __call__(self, x: Array, precomputed_nms_mask: Array | None = None) -> tuple[Array, Array]:
        """Return positions and values of every voxel of a pyramid of shape (B, C, D, H, W)."""
        common = (self.n_iters, self.strict_maxima_bonus, self.max_subpixel_shift)
        if self.mode == "conv" or (self.mode == "auto" and home_of(x).on_gpu):
            return conv_quad_interp3d(x, *common, precomputed_nms_mask, self.dilation_radius, self.allow_scale_steps)
        return iterative_quad_interp3d(x, *common, self.allow_scale_steps, precomputed_nms_mask, self.max_candidates)
