"""A detector of features in scale space, as of kornia."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from npsubpix._arrays.library import Array
from npsubpix.operators._detection import Detection, shaped
from npsubpix.operators._options import Operator
from npsubpix.operators.pyramid import ScalePyramid
from npsubpix.operators.responses import BlobHessian
from npsubpix.operators.subpix import AdaptiveQuadInterp3d

__all__ = ["ScaleSpaceDetector"]


@dataclass
class ScaleSpaceDetector(Operator):
    r"""Detect blobs and other features at their own scale, as local affine frames.

    Parameters
    ----------
    num_features : int, default 500
        Number of features per image.
    mr_size : float, default 6.0
        Size of a frame in units of the scale at which its feature was detected.
    scale_pyr_module : callable, optional
        Scale pyramid. By default, `ScalePyramid` with three levels per octave.
    resp_module : callable, optional
        Response in which extrema are sought, `BlobHessian` by default.
    subpix_module : callable, optional
        Refinement of extrema. By default, `AdaptiveQuadInterp3d` in the mode "patch" without a bonus, so that features
        are the same on all devices. A bonus of the refinement is part of the responses.
    ori_module, aff_module : callable, optional
        Orientation and shape of frames: called with frames and images, they return frames. None by default.
    minima_are_also_good : bool, default False
        Also detect minima of the response. `BlobDoG` is negative at bright blobs.
    scale_space_response : bool, default False
        Call ``resp_module`` with each octave, as for `BlobDoG`, instead of with its levels as images.
    unbiased_sizes : bool, default False
        Make frames ``mr_size`` times the standard deviation of Gaussian blobs, instead of that of the level at which
        they are detected, as in kornia; see Notes. Keyword only.

    Raises
    ------
    TypeError
        If an argument has the wrong type; in calls, if ``unbiased_sizes`` does not know the response or the pyramid.
    ValueError
        If a number is out of range; in calls, if shapes do not match.

    See Also
    --------
    ScalePyramid, BlobDoG, BlobHessian, AdaptiveQuadInterp3d : The parts.
    npsubpix.nn.ScaleSpaceDetector : The same as a module of torch.

    Notes
    -----
    Follows ``kornia.feature.ScaleSpaceDetector`` of kornia 0.9.0. Candidates are strict 3 x 3 x 3 maxima of the
    response over level, row and column, at the levels from the second to the one before the last, and with
    ``minima_are_also_good`` minima whose refined response, negated, is greater than the response of the voxel. There is
    no threshold: choose ``num_features``, and compare responses. The method is that of [1]_ for `BlobDoG`.

    Each octave contributes its ``num_features`` strongest candidates, less those of which half the frame is closer than
    5 pixels of the octave to its outermost pixels. A weaker candidate does not take their place, as in kornia; where
    frames are missing, increase ``num_features``. Of equal responses, maxima come first, then those that are first in
    memory.

    The difference of Gaussians with standard deviations :math:`\sigma` and :math:`k \sigma` responds most to a Gaussian
    blob of standard deviation :math:`\sqrt{k} \sigma`, and the determinant of the Hessian to one of :math:`\sigma`.
    `ScalePyramid` moreover assumes that images have a smoothing of 0.5 pixels, and `BlobHessian` smooths by its
    differences. In kornia, and here by default, frames of blobs are therefore 11 to 13 % too small with `BlobDoG`,
    three levels per octave and blobs of 1.2 to 12 pixels, and up to 9 % too large with `BlobHessian`. With
    ``unbiased_sizes`` their sizes are within 1 %. Which features are found, their positions and responses do not depend
    on it. It needs a ``resp_module`` with a method ``size_relation``.

    Frames and responses of torch are differentiable with respect to the image, as in kornia. Which voxels are extrema
    is held fixed.

    References
    ----------
    .. [1] D. G. Lowe, "Distinctive image features from scale-invariant keypoints", International Journal of Computer
       Vision 60, 91-110, 2004.

    Examples
    --------
    A blob of standard deviation 4 at x = 50.2 and y = 29.7:

    >>> import numpy as np
    >>> from npsubpix import BlobDoG, ScalePyramid, ScaleSpaceDetector
    >>> y, x = np.mgrid[:64, :96]
    >>> image = np.exp(-((x - 50.2) ** 2 + (y - 29.7) ** 2) / (2 * 4.0**2))
    >>> detector = ScaleSpaceDetector(
    ...     num_features=1,
    ...     mr_size=1.0,
    ...     resp_module=BlobDoG(),
    ...     scale_pyr_module=ScalePyramid(3, 1.6, 32, double_image=True),
    ...     scale_space_response=True,
    ...     minima_are_also_good=True,
    ...     unbiased_sizes=True,
    ... )
    >>> frames, responses = detector(image[None, None])
    >>> frames[0, 0].round(1) + 0.0
    array([[ 4. ,  0. , 50.2],
           [ 0. ,  4. , 29.7]])
    """

    num_features: int = 500
    mr_size: float = 6.0
    scale_pyr_module: Callable[..., Any] | None = None
    resp_module: Callable[..., Array] | None = None
    subpix_module: Callable[..., Any] | None = None
    ori_module: Callable[..., Array] | None = None
    aff_module: Callable[..., Array] | None = None
    minima_are_also_good: bool = False
    scale_space_response: bool = False
    unbiased_sizes: bool = field(default=False, kw_only=True)

    @property
    def scale_pyr(self) -> Callable[..., Any]:
        """The pyramid."""
        if self.scale_pyr_module is not None:
            return self.scale_pyr_module
        return ScalePyramid(3, 1.6, 16, extra_levels=3 if self.scale_space_response else 2)

    @property
    def resp(self) -> Callable[..., Array]:
        """The response."""
        return BlobHessian() if self.resp_module is None else self.resp_module

    @property
    def subpix(self) -> Callable[..., Any]:
        """The refinement."""
        if self.subpix_module is not None:
            return self.subpix_module
        return AdaptiveQuadInterp3d("patch", strict_maxima_bonus=0.0)

    @property
    def ori(self) -> Callable[..., Array] | None:
        """The orientation of frames, if any."""
        return self.ori_module

    @property
    def aff(self) -> Callable[..., Array] | None:
        """The shape of frames, if any."""
        return self.aff_module

    def __call__(self, img: Array, mask: Array | None = None) -> tuple[Array, Array]:
        """Return frames (B, N, 2, 3) and responses (B, N), strongest first, of images of shape (B, 1, H, W).

        A frame holds a matrix and a position (x, y) in pixels, as columns. There are always ``num_features`` of them:
        of those that are not filled, all numbers are 0. A ``mask`` of shape (1, 1, H, W) or (B, 1, H, W) is True, or
        not 0, where features may be; floats from 0 to 1 weigh the responses.
        """
        responses, frames = self.detect(img, self.num_features, mask)
        return shaped(frames, img, (self.aff, self.ori)), responses

    def detect(self, img: Array, num_feats: int, mask: Array | None = None) -> tuple[Array, Array]:
        """Return responses (B, num_feats) and frames (B, num_feats, 2, 3), without shape and orientation."""
        return Detection.of(self)(img, num_feats, mask)
