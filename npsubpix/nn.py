"""The class forms of the operators as modules of torch: options once, tensors many times.

Importing this imports torch. Options are checked when a module is made: one of the wrong type raises
TypeError, one out of range ValueError.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from npsubpix import operators
from npsubpix.nms import nms2d, nms3d
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


class _Operator(torch.nn.Module):  # type: ignore[misc]
    """Options as attributes: those of the plain class, which checks them, and passed to a function by name."""

    _plain: ClassVar[type[Any]]

    def __init__(self, *options: Any) -> None:
        super().__init__()
        self._plain(*options)
        self._names = tuple(field.name for field in fields(self._plain))
        for name, value in zip(self._names, options, strict=True):
            if isinstance(value, Tensor) and not isinstance(value, torch.nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}

    def extra_repr(self) -> str:
        """Return the options as they are written in a call."""
        return ", ".join(f"{name}={value!r}" for name, value in self._options().items())

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # kornia keeps no temperature that is not a parameter, and 0.8.3 the window of NonMaximaSuppression2d.
        state_dict.pop(f"{prefix}kernel", None)
        for name, value in self._buffers.items():
            state_dict.setdefault(f"{prefix}{name}", value)
        super()._load_from_state_dict(state_dict, prefix, *args)


class SpatialSoftArgmax2d(_Operator):
    """Locate the soft maximum of whole maps: `npsubpix.spatial_soft_argmax2d` with its options.

    Parameters
    ----------
    temperature : float or tensor, optional
        Divides the input: less is sharper. 1 if not given. A parameter is learned, and a tensor
        becomes a buffer.
    normalized_coordinates : bool, default True
        Return coordinates from -1 to 1 instead of pixels.

    Examples
    --------
    Learn how sharp a soft maximum has to be:

    >>> import torch
    >>> from npsubpix import nn
    >>> locate = nn.SpatialSoftArgmax2d(torch.nn.Parameter(torch.tensor(1.0)), normalized_coordinates=False)
    >>> heatmaps = torch.zeros(1, 1, 5, 7)
    >>> heatmaps[0, 0, 3, 5] = 1
    >>> optimizer = torch.optim.SGD(locate.parameters(), lr=0.02)
    >>> for step in range(100):
    ...     optimizer.zero_grad()
    ...     loss = (locate(heatmaps) - torch.tensor([5.0, 3.0])).square().sum()
    ...     loss.backward()
    ...     optimizer.step()
    >>> locate.temperature.item() < 0.2
    True
    """

    _plain = operators.SpatialSoftArgmax2d

    def __init__(self, temperature: Tensor | float | None = None, normalized_coordinates: bool = True) -> None:
        super().__init__(temperature, normalized_coordinates)

    def forward(self, input: Tensor) -> Tensor:
        """Return the positions (x, y), of shape (B, N, 2), of maps of shape (B, N, H, W)."""
        return spatial_soft_argmax2d(input, **self._options())


class ConvSoftArgmax2d(_Operator):
    """Locate the soft maximum of every window of heat maps: `npsubpix.conv_soft_argmax2d` with its options.

    Parameters
    ----------
    kernel_size : tuple of two ints, default (3, 3)
        Height and width of the window in pixels.
    stride : tuple of two ints or int, default (1, 1)
        Pixels from one window to the next.
    padding : tuple of two ints or int, default (1, 1)
        Pixels that windows may reach beyond the border: at most half of the window.
    temperature : float or tensor, default 1.0
        Divides the input: less is sharper. A parameter is learned, and a tensor becomes a buffer.
    normalized_coordinates : bool, default True
        Return coordinates from -1 to 1 instead of pixels.
    eps : float, default 1e-8
        Without effect.
    output_value : bool, default False
        Return the values too.

    Examples
    --------
    >>> import torch
    >>> from npsubpix import nn
    >>> nn.ConvSoftArgmax2d((5, 5), stride=(2, 2), padding=(2, 2))(torch.zeros(1, 3, 20, 30)).shape
    torch.Size([1, 3, 2, 10, 15])
    """

    _plain = operators.ConvSoftArgmax2d

    def __init__(
        self,
        kernel_size: tuple[int, int] = (3, 3),
        stride: tuple[int, int] | int = (1, 1),
        padding: tuple[int, int] | int = (1, 1),
        temperature: Tensor | float = 1.0,
        normalized_coordinates: bool = True,
        eps: float = 1e-8,
        output_value: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, temperature, normalized_coordinates, eps, output_value)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return positions, and values if wanted, of all windows of maps of shape (B, C, H, W)."""
        return conv_soft_argmax2d(x, **self._options())


class ConvSoftArgmax3d(_Operator):
    """Locate the soft maximum of every window of volumes: `npsubpix.conv_soft_argmax3d` with its options.

    Parameters
    ----------
    kernel_size : tuple of three ints, default (3, 3, 3)
        Depth, height and width of the window in voxels.
    stride : tuple of three ints or int, default (1, 1, 1)
        Voxels from one window to the next.
    padding : tuple of three ints or int, default (1, 1, 1)
        Voxels that windows may reach beyond the border: at most half of the window.
    temperature : float or tensor, default 1.0
        Divides the input: less is sharper. A parameter is learned, and a tensor becomes a buffer.
    normalized_coordinates : bool, default False
        Return coordinates from -1 to 1 instead of voxels.
    eps : float, default 1e-8
        Without effect.
    output_value : bool, default True
        Return the values too.
    strict_maxima_bonus : float, default 0.0
        A window whose centre is its strict maximum gets ``1 + bonus`` times its value.

    Examples
    --------
    >>> import torch
    >>> from npsubpix import nn
    >>> coords, values = nn.ConvSoftArgmax3d(stride=(1, 2, 2), padding=(0, 1, 1))(torch.zeros(1, 1, 3, 8, 8))
    >>> coords.shape, values.shape
    (torch.Size([1, 1, 3, 1, 4, 4]), torch.Size([1, 1, 1, 4, 4]))
    """

    _plain = operators.ConvSoftArgmax3d

    def __init__(
        self,
        kernel_size: tuple[int, int, int] = (3, 3, 3),
        stride: tuple[int, int, int] | int = (1, 1, 1),
        padding: tuple[int, int, int] | int = (1, 1, 1),
        temperature: Tensor | float = 1.0,
        normalized_coordinates: bool = False,
        eps: float = 1e-8,
        output_value: bool = True,
        strict_maxima_bonus: float = 0.0,
    ) -> None:
        super().__init__(
            kernel_size, stride, padding, temperature, normalized_coordinates, eps, output_value, strict_maxima_bonus
        )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return positions, and values if wanted, of all windows of volumes of shape (B, C, D, H, W)."""
        return conv_soft_argmax3d(x, **self._options())


class ConvQuadInterp3d(_Operator):
    """Refine maxima within a radius: `npsubpix.conv_quad_interp3d` with its options.

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
    >>> import torch
    >>> from npsubpix import nn
    >>> coords, values = nn.ConvQuadInterp3d(dilation_radius=2)(torch.zeros(1, 1, 3, 8, 8))
    >>> coords.shape, values.shape
    (torch.Size([1, 1, 3, 3, 8, 8]), torch.Size([1, 1, 3, 8, 8]))
    """

    _plain = operators.ConvQuadInterp3d

    def __init__(
        self,
        n_iters: int = 5,
        strict_maxima_bonus: float = 10.0,
        max_subpixel_shift: float = 0.6,
        dilation_radius: int = 1,
        allow_scale_steps: bool = True,
    ) -> None:
        super().__init__(n_iters, strict_maxima_bonus, max_subpixel_shift, dilation_radius, allow_scale_steps)

    def forward(self, x: Tensor, precomputed_nms_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return positions and values of every voxel of a pyramid of shape (B, C, D, H, W)."""
        return conv_quad_interp3d(x, precomputed_nms_mask=precomputed_nms_mask, **self._options())


class IterativeQuadInterp3d(_Operator):
    """Refine maxima: `npsubpix.iterative_quad_interp3d` with its options.

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
    >>> import torch
    >>> from npsubpix import nn
    >>> coords, values = nn.IterativeQuadInterp3d(max_candidates=100)(torch.zeros(1, 1, 3, 8, 8))
    >>> coords.shape, values.shape
    (torch.Size([1, 1, 3, 3, 8, 8]), torch.Size([1, 1, 3, 8, 8]))
    """

    _plain = operators.IterativeQuadInterp3d

    def __init__(
        self,
        n_iters: int = 5,
        strict_maxima_bonus: float = 10.0,
        max_subpixel_shift: float = 0.6,
        allow_scale_steps: bool = True,
        max_candidates: int | None = None,
    ) -> None:
        super().__init__(n_iters, strict_maxima_bonus, max_subpixel_shift, allow_scale_steps, max_candidates)

    def forward(self, x: Tensor, precomputed_nms_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return positions and values of every voxel of a pyramid of shape (B, C, D, H, W)."""
        return iterative_quad_interp3d(x, precomputed_nms_mask=precomputed_nms_mask, **self._options())


class AdaptiveQuadInterp3d(_Operator):
    """Refine maxima with the operator that suits the device of the tensor.

    Parameters
    ----------
    mode : {"auto", "patch", "conv"}, default "auto"
        ``"patch"`` is `npsubpix.iterative_quad_interp3d`, ``"conv"`` is `npsubpix.conv_quad_interp3d`,
        and ``"auto"`` is ``"conv"`` for CUDA tensors and ``"patch"`` for all others.
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

    Examples
    --------
    The sub-pixel module of a detector of kornia:

    >>> from npsubpix import nn
    >>> nn.AdaptiveQuadInterp3d("patch", strict_maxima_bonus=0.0, max_candidates=2500)
    AdaptiveQuadInterp3d(mode='patch', n_iters=5, strict_maxima_bonus=0.0, max_subpixel_shift=0.6,
        dilation_radius=1, allow_scale_steps=True, max_candidates=2500)
    """

    MODES = operators.AdaptiveQuadInterp3d.MODES

    _plain = operators.AdaptiveQuadInterp3d

    def __init__(
        self,
        mode: str = "auto",
        n_iters: int = 5,
        strict_maxima_bonus: float = 10.0,
        max_subpixel_shift: float = 0.6,
        dilation_radius: int = 1,
        allow_scale_steps: bool = True,
        max_candidates: int | None = None,
    ) -> None:
        super().__init__(
            mode, n_iters, strict_maxima_bonus, max_subpixel_shift, dilation_radius, allow_scale_steps, max_candidates
        )

    def forward(self, x: Tensor, precomputed_nms_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return positions and values of every voxel of a pyramid of shape (B, C, D, H, W)."""
        return operators.AdaptiveQuadInterp3d(**self._options())(x, precomputed_nms_mask)


class NonMaximaSuppression2d(_Operator):
    """Keep the strict maxima of images: `npsubpix.nms2d` with its window.

    Parameters
    ----------
    kernel_size : tuple of two ints
        Height and width of the window in pixels.

    Examples
    --------
    >>> import torch
    >>> from npsubpix import nn
    >>> x = torch.zeros(1, 1, 5, 5)
    >>> x[..., 2, 2] = 1
    >>> nn.NonMaximaSuppression2d((3, 3))(x, mask_only=True).sum()
    tensor(1)
    """

    _plain = operators.NonMaximaSuppression2d

    def __init__(self, kernel_size: tuple[int, int]) -> None:
        super().__init__(kernel_size)

    def forward(self, x: Tensor, mask_only: bool = False) -> Tensor:
        """Suppress all but the maxima of images of shape (B, C, H, W)."""
        return nms2d(x, self.kernel_size, mask_only)


class NonMaximaSuppression3d(_Operator):
    """Keep the strict maxima of volumes: `npsubpix.nms3d` with its window.

    Parameters
    ----------
    kernel_size : tuple of three ints
        Depth, height and width of the window in voxels.

    Examples
    --------
    >>> import torch
    >>> from npsubpix import nn
    >>> x = torch.zeros(1, 1, 3, 5, 5)
    >>> x[..., 1, 2, 2] = 1
    >>> nn.NonMaximaSuppression3d((3, 3, 3))(x, mask_only=True).sum()
    tensor(1)
    """

    _plain = operators.NonMaximaSuppression3d

    def __init__(self, kernel_size: tuple[int, int, int]) -> None:
        super().__init__(kernel_size)

    def forward(self, x: Tensor, mask_only: bool = False) -> Tensor:
        """Suppress all but the maxima of volumes of shape (B, C, D, H, W)."""
        return nms3d(x, self.kernel_size, mask_only)
