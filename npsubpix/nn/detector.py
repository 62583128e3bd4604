"""A detector of features in scale space, and its parts, as modules of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from npsubpix import operators
from npsubpix.nn._options import Operator
from npsubpix.nn.subpix import AdaptiveQuadInterp3d
from npsubpix.operators._detection import Detection, shaped

__all__ = ["BlobDoG", "BlobHessian", "ScalePyramid", "ScaleSpaceDetector"]


class BlobDoG(Operator):  # numpydoc ignore=PR01
    """Respond to blobs by differences of the levels of a scale pyramid, as `npsubpix.BlobDoG`.

    Examples
    --------
    >>> import torch
    >>> from npsubpix import nn
    >>> nn.BlobDoG()(torch.zeros(1, 1, 6, 8, 8)).shape
    torch.Size([1, 1, 5, 8, 8])
    """

    _plain = operators.BlobDoG

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Tensor, sigmas: Tensor | None = None) -> Tensor:
        """Return the response, (B, C, D - 1, H, W), of levels of shape (B, C, D, H, W); ``sigmas`` have no effect."""
        return operators.BlobDoG()(input, sigmas)

    def size_relation(self, step: float) -> tuple[float, float]:  # numpydoc ignore=PR01,RT01
        """Return r and a for blobs of variance r u - a that respond most at a variance u, as `npsubpix.BlobDoG`."""
        return operators.BlobDoG().size_relation(step)


class BlobHessian(Operator):  # numpydoc ignore=PR01
    """Respond to blobs by the determinant of the Hessian, with the options of `npsubpix.BlobHessian`.

    Examples
    --------
    >>> import torch
    >>> from npsubpix import nn
    >>> nn.BlobHessian()(torch.zeros(6, 1, 8, 8), torch.ones(6)).shape
    torch.Size([6, 1, 8, 8])
    """

    _plain = operators.BlobHessian

    def __init__(self, grads_mode: str = "sobel") -> None:
        super().__init__(grads_mode)

    def forward(self, input: Tensor, sigmas: Tensor | None = None) -> Tensor:
        """Return the response to images of shape (B, C, H, W), multiplied by the fourth power of B ``sigmas``."""
        return operators.BlobHessian(**self._options())(input, sigmas)

    def size_relation(self, step: float) -> tuple[float, float]:  # numpydoc ignore=PR01,RT01
        """Return r and a for blobs of variance r u - a that respond most at a variance u, as `npsubpix.BlobHessian`."""
        return operators.BlobHessian(**self._options()).size_relation(step)


class ScalePyramid(Operator):  # numpydoc ignore=PR01
    """Smooth images to the levels of a scale space, with the options of `npsubpix.ScalePyramid`.

    Examples
    --------
    >>> import torch
    >>> from npsubpix import nn
    >>> octaves, sigmas, distances = nn.ScalePyramid(3, 1.6, 15)(torch.zeros(2, 1, 40, 50))
    >>> [tuple(octave.shape) for octave in octaves]
    [(2, 1, 6, 40, 50), (2, 1, 6, 20, 25)]
    """

    _plain = operators.ScalePyramid

    def __init__(
        self,
        n_levels: int = 3,
        init_sigma: float = 1.6,
        min_size: int = 15,
        double_image: bool = False,
        extra_levels: int = 3,
    ) -> None:
        super().__init__(n_levels, init_sigma, min_size, double_image, extra_levels)

    @property
    def border(self) -> int:
        """Border of kornia's pyramid, which has no effect."""
        return operators.ScalePyramid(**self._options()).border

    @property
    def sigma_step(self) -> float:
        """Ratio of the standard deviations of neighbouring levels."""
        return operators.ScalePyramid(**self._options()).sigma_step

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return octaves (B, C, L, H, W) of images (B, C, H, W), and sigmas and pixel distances (B, L) of each."""
        octaves, sigmas, distances = operators.ScalePyramid(**self._options())(x)
        return octaves, sigmas, distances


#: The parts of a detector that kornia's argument ``compile_modules`` names.
_PARTS = ("scale_pyr", "resp", "subpix", "ori", "aff")


class ScaleSpaceDetector(torch.nn.Module):  # type: ignore[misc]
    """Detect blobs and other features at their own scale, with the options of `npsubpix.ScaleSpaceDetector`.

    Its parts are the submodules ``scale_pyr``, ``resp``, ``subpix``, ``ori`` and ``aff``, which may be kornia's, or
    any others that take and return the same.

    Parameters
    ----------
    num_features, mr_size, scale_pyr_module, resp_module, subpix_module, ori_module, aff_module
        As for `npsubpix.ScaleSpaceDetector`.
    minima_are_also_good, scale_space_response, unbiased_sizes
        As for `npsubpix.ScaleSpaceDetector`.
    compile_modules : bool or list of str, default False
        Submodules to wrap by ``torch.compile``: all of them, none, or those of these names.

    Examples
    --------
    >>> import torch
    >>> from npsubpix.nn import AdaptiveQuadInterp3d, BlobDoG, ScalePyramid, ScaleSpaceDetector
    >>> detector = ScaleSpaceDetector(
    ...     num_features=20,
    ...     resp_module=BlobDoG(),
    ...     subpix_module=AdaptiveQuadInterp3d(strict_maxima_bonus=0.0),
    ...     scale_pyr_module=ScalePyramid(3, 1.6, 32, double_image=True),
    ...     scale_space_response=True,
    ...     minima_are_also_good=True,
    ... )
    >>> frames, responses = detector(torch.rand(2, 1, 64, 80))
    >>> frames.shape, responses.shape
    (torch.Size([2, 20, 2, 3]), torch.Size([2, 20]))
    """

    def __init__(
        self,
        num_features: int = 500,
        mr_size: float = 6.0,
        scale_pyr_module: Callable[..., Any] | None = None,
        resp_module: Callable[..., Tensor] | None = None,
        subpix_module: Callable[..., Any] | None = None,
        ori_module: Callable[..., Tensor] | None = None,
        aff_module: Callable[..., Tensor] | None = None,
        minima_are_also_good: bool = False,
        scale_space_response: bool = False,
        compile_modules: bool | list[str] = False,
        *,
        unbiased_sizes: bool = False,
    ) -> None:
        super().__init__()
        operators.ScaleSpaceDetector(
            num_features, mr_size, scale_pyr_module, resp_module, subpix_module, ori_module, aff_module,
            minima_are_also_good, scale_space_response, unbiased_sizes=unbiased_sizes,
        )  # fmt: skip
        self.num_features = num_features
        self.mr_size = mr_size
        self.minima_are_also_good = minima_are_also_good
        self.scale_space_response = scale_space_response
        self.unbiased_sizes = unbiased_sizes
        if scale_pyr_module is None:
            scale_pyr_module = ScalePyramid(3, 1.6, 16, extra_levels=3 if scale_space_response else 2)
        if subpix_module is None:
            subpix_module = AdaptiveQuadInterp3d("patch", strict_maxima_bonus=0.0)
        parts = {
            "scale_pyr": scale_pyr_module,
            "resp": BlobHessian() if resp_module is None else resp_module,
            "subpix": subpix_module,
            "ori": ori_module,
            "aff": aff_module,
        }
        for name in _PARTS:
            chosen = compile_modules if isinstance(compile_modules, bool) else name in compile_modules
            part = parts[name]
            setattr(self, name, torch.compile(part, dynamic=True) if chosen and part is not None else part)
        unknown = [] if isinstance(compile_modules, bool) else sorted({*compile_modules} - {*_PARTS})
        if unknown:
            raise ValueError(f"compile_modules must be among {', '.join(_PARTS)}, got {unknown[0]!r}")

    def extra_repr(self) -> str:
        """Return the options that are no modules, as written in a call."""
        names = ("num_features", "mr_size", "minima_are_also_good", "scale_space_response", "unbiased_sizes")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)

    def forward(self, img: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return frames (B, N, 2, 3) and responses (B, N), strongest first, of images of shape (B, 1, H, W).

        A frame holds a matrix and a position (x, y) in pixels, as columns. There are always ``num_features`` of them:
        of those that are not filled, all numbers are 0. A ``mask`` of shape (1, 1, H, W) or (B, 1, H, W) is True, or
        not 0, where features may be; floats from 0 to 1 weigh the responses.
        """
        responses, frames = self.detect(img, self.num_features, mask)
        return shaped(frames, img, (self.aff, self.ori)), responses

    def detect(self, img: Tensor, num_feats: int, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return responses (B, num_feats) and frames (B, num_feats, 2, 3), without shape and orientation."""
        return Detection.of(self)(img, num_feats, mask)
