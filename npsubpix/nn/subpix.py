"""The classes of `kornia.geometry.subpix` as modules of torch."""

from __future__ import annotations

from torch import Tensor

from npsubpix import operators
from npsubpix.nms import nms2d, nms3d
from npsubpix.nn._options import Operator
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


class SpatialSoftArgmax2d(Operator):  # numpydoc ignore=PR01
    """Locate the soft maximum of whole maps, with the options of `npsubpix.SpatialSoftArgmax2d`.

    Examples
    --------
    Learn the temperature:

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


class ConvSoftArgmax2d(Operator):  # numpydoc ignore=PR01
    """Locate the soft maximum of every window of heat maps, with the options of `npsubpix.ConvSoftArgmax2d`.

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
        """Return positions, and with `output_value` values, of all windows of maps of shape (B, C, H, W)."""
        return conv_soft_argmax2d(x, **self._options())


class ConvSoftArgmax3d(Operator):  # numpydoc ignore=PR01
    """Locate the soft maximum of every window of volumes, with the options of `npsubpix.ConvSoftArgmax3d`.

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
        """Return positions, and with `output_value` values, of all windows of volumes of shape (B, C, D, H, W)."""
        return conv_soft_argmax3d(x, **self._options())


class ConvQuadInterp3d(Operator):  # numpydoc ignore=PR01
    """Refine maxima within a radius, with the options of `npsubpix.ConvQuadInterp3d`.

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


class IterativeQuadInterp3d(Operator):  # numpydoc ignore=PR01
    """Refine maxima, with the options of `npsubpix.IterativeQuadInterp3d`.

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


class AdaptiveQuadInterp3d(Operator):  # numpydoc ignore=PR01
    """Refine maxima by the operator for the device, with the options of `npsubpix.AdaptiveQuadInterp3d`.

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


class NonMaximaSuppression2d(Operator):  # numpydoc ignore=PR01
    """Keep the strict maxima of images, with the options of `npsubpix.NonMaximaSuppression2d`.

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


class NonMaximaSuppression3d(Operator):  # numpydoc ignore=PR01
    """Keep the strict maxima of volumes, with the options of `npsubpix.NonMaximaSuppression3d`.

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
