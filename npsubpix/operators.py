"""The class forms of the operators, as plain callables: options once, arrays many times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from npsubpix._arrays import Array, is_on_gpu, kind_of
from npsubpix._checks import check_choice, check_window
from npsubpix.nms import nms2d, nms3d
from npsubpix.quad_interp import conv_quad_interp3d, iterative_quad_interp3d

__all__ = [
    "AdaptiveQuadInterp3d",
    "ConvQuadInterp3d",
    "IterativeQuadInterp3d",
    "NonMaximaSuppression2d",
    "NonMaximaSuppression3d",
]


@dataclass
class NonMaximaSuppression2d:
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

    kernel_size: tuple[int, int]

    def __post_init__(self) -> None:
        """Check the window."""
        check_window(self.kernel_size, 2, "kernel_size")

    def __call__(self, x: Array, mask_only: bool = False) -> Array:
        """Suppress all but the maxima of images of shape (B, C, H, W)."""
        return nms2d(x, self.kernel_size, mask_only)


@dataclass
class NonMaximaSuppression3d:
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

    kernel_size: tuple[int, int, int]

    def __post_init__(self) -> None:
        """Check the window."""
        check_window(self.kernel_size, 3, "kernel_size")

    def __call__(self, x: Array, mask_only: bool = False) -> Array:
        """Suppress all but the maxima of volumes of shape (B, C, D, H, W)."""
        return nms3d(x, self.kernel_size, mask_only)


@dataclass
class ConvQuadInterp3d:
    """Refine maxima within a radius: `conv_quad_interp3d` with its options.

    Parameters
    ----------
    n_iters : int, default 5
        Most fits a maximum.
    strict_maxima_bonus : float, default 10.0
        Added to the value of every refined maximum.
    max_subpixel_shift : float, default 0.6
        Shift in voxels that leads to the next voxel.
    dilation_radius : int, default 1
        Furthest a maximum may move, in voxels on any axis.
    allow_scale_steps : bool, default True
        Move along depth too.

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
        return conv_quad_interp3d(
            x,
            self.n_iters,
            self.strict_maxima_bonus,
            self.max_subpixel_shift,
            precomputed_nms_mask,
            self.dilation_radius,
            self.allow_scale_steps,
        )


@dataclass
class IterativeQuadInterp3d:
    """Refine maxima: `iterative_quad_interp3d` with its options.

    Parameters
    ----------
    n_iters : int, default 5
        Most fits a maximum.
    strict_maxima_bonus : float, default 10.0
        Added to the value of every refined maximum.
    max_subpixel_shift : float, default 0.6
        Shift in voxels that leads to the next voxel.
    allow_scale_steps : bool, default True
        Move along depth too.
    max_candidates : int, optional
        Refine only this many maxima an image.

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
        return iterative_quad_interp3d(
            x,
            self.n_iters,
            self.strict_maxima_bonus,
            self.max_subpixel_shift,
            self.allow_scale_steps,
            precomputed_nms_mask,
            self.max_candidates,
        )


@dataclass
class AdaptiveQuadInterp3d:
    """Refine maxima with the operator that suits the device of the array.

    Parameters
    ----------
    mode : {"auto", "patch", "conv"}, default "auto"
        ``"patch"`` is `iterative_quad_interp3d`, ``"conv"`` is `conv_quad_interp3d`, and
        ``"auto"`` is ``"conv"`` for CUDA arrays and ``"patch"`` for all others.
    n_iters : int, default 5
        Most fits a maximum.
    strict_maxima_bonus : float, default 10.0
        Added to the value of every refined maximum.
    max_subpixel_shift : float, default 0.6
        Shift in voxels that leads to the next voxel.
    dilation_radius : int, default 1
        Furthest a maximum may move in mode ``"conv"``, in voxels on any axis.
    allow_scale_steps : bool, default True
        Move along depth too.
    max_candidates : int, optional
        Refine only this many maxima an image in mode ``"patch"``.

    Raises
    ------
    ValueError
        If ``mode`` is none of the three.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import AdaptiveQuadInterp3d
    >>> coords, values = AdaptiveQuadInterp3d(mode="auto")(np.zeros((1, 1, 3, 64, 64)))
    >>> coords.shape, values.shape
    ((1, 1, 3, 3, 64, 64), (1, 1, 3, 64, 64))
    """

    MODES: ClassVar[tuple[str, ...]] = ("patch", "conv", "auto")

    mode: str = "auto"
    n_iters: int = 5
    strict_maxima_bonus: float = 10.0
    max_subpixel_shift: float = 0.6
    dilation_radius: int = 1
    allow_scale_steps: bool = True
    max_candidates: int | None = None

    def __post_init__(self) -> None:
        """Check the mode."""
        check_choice(self.mode, "mode", self.MODES)

    def __call__(self, x: Array, precomputed_nms_mask: Array | None = None) -> tuple[Array, Array]:
        """Return positions and values of every voxel of a pyramid of shape (B, C, D, H, W)."""
        common = (self.n_iters, self.strict_maxima_bonus, self.max_subpixel_shift)
        if self.mode == "conv" or (self.mode == "auto" and is_on_gpu(x, kind_of(x))):
            return conv_quad_interp3d(x, *common, precomputed_nms_mask, self.dilation_radius, self.allow_scale_steps)
        return iterative_quad_interp3d(x, *common, self.allow_scale_steps, precomputed_nms_mask, self.max_candidates)
