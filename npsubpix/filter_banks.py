"""Filter banks over channels, as in the layers of neural networks."""

from __future__ import annotations

from typing import Any

from npsubpix._arrays.checks import check_reals
from npsubpix._arrays.library import Array, as_array
from npsubpix._arrays.options import FARTHEST, check_count, check_per_axis
from npsubpix._dispatch.call import call

__all__ = ["conv2d"]


def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] | str = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Array:
    """Correlate images with a bank of filters over all channels, as ``torch.nn.functional.conv2d`` does.

    Parameters
    ----------
    input : array of shape (N, C, H, W) or (C, H, W)
        Images, of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    weight : array of shape (O, C / groups, KH, KW)
        Filters. They are not flipped.
    bias : array of shape (O,), optional
        Offset added to the result of each filter.
    stride : int or tuple of two ints, default 1
        Step between windows in pixels, for both axes or per axis.
    padding : int, tuple of two ints, "valid" or "same", default 0
        Zero padding on both sides of each axis. "valid" means none. "same" keeps the size of the images and requires
        a stride of 1; if the number of zeros is odd, the extra one is below or on the right.
    dilation : int or tuple of two ints, default 1
        Distance between the pixels of a window, for both axes or per axis.
    groups : int, default 1
        Number of groups of channels and filters. Each filter is applied to the channels of its group.

    Returns
    -------
    array of shape (N, O, H', W') or (O, H', W')
        Responses, with H' = (H + 2 padding - dilation (KH - 1) - 1) // stride + 1, in the dtype of the input, or in
        its promotion with float32 for integers.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If shapes do not match, or the padded images are smaller than a filter.

    See Also
    --------
    correlate : Correlation with a single kernel and any border extension.

    Notes
    -----
    Differentiable with respect to input, weight and bias.

    Examples
    --------
    Apply sixteen filters of 5 × 5 pixels to images of three colours:

    >>> import numpy as np
    >>> from npsubpix import conv2d
    >>> images, filters = np.ones((8, 3, 28, 28), np.float32), np.ones((16, 3, 5, 5), np.float32)
    >>> result = conv2d(images, filters, padding=2)
    >>> result.shape, result[0, 0, 10, 10], result[0, 0, 0, 0]
    ((8, 16, 28, 28), np.float32(75.0), np.float32(27.0))
    """
    x, filters = as_array(input, "input"), check_reals(weight, "weight")
    offsets = None if bias is None else check_reals(bias, "bias")
    if x.ndim not in (3, 4):
        raise ValueError(f"input must have shape (N, C, H, W) or (C, H, W), got {tuple(x.shape)}")
    count = check_count(groups, "groups", 1)
    _check_filters(x, filters, offsets, count)
    steps, gaps = check_per_axis(stride, 2, "stride", 1), check_per_axis(dilation, 2, "dilation", 1, FARTHEST)
    margins = _margins(padding, filters.shape[2:], steps, gaps)
    for k, name in enumerate(("high", "wide")):
        reach, n = gaps[k] * (filters.shape[2 + k] - 1) + 1, x.shape[x.ndim - 2 + k] + sum(margins[2 * k : 2 * k + 2])
        if n < reach:
            raise ValueError(f"input must be at least {reach} pixels {name} with its padding, as a filter is, got {n}")
    images = x if x.ndim == 4 else x[None]
    (result,) = call("conv2d", images, filters, offsets, stride=steps, padding=margins, dilation=gaps, groups=count)
    return result if x.ndim == 4 else result[0]


def _check_filters(x: Any, filters: Any, bias: Any, groups: int) -> None:
    if filters.ndim != 4 or 0 in filters.shape:
        raise ValueError(f"weight must have shape (O, C / groups, KH, KW), none empty, got {tuple(filters.shape)}")
    channels = x.shape[x.ndim - 3]
    if filters.shape[1] * groups != channels:
        wanted = f"{channels} channels over {groups} groups"
        raise ValueError(f"weight must have filters of {wanted}, got shape {tuple(filters.shape)}")
    if filters.shape[0] % groups:
        raise ValueError(f"groups must divide the number of filters, {filters.shape[0]}, got {groups}")
    if bias is not None and tuple(bias.shape) != (filters.shape[0],):
        raise ValueError(f"bias must have shape ({filters.shape[0]},), got {tuple(bias.shape)}")


def _margins(padding: Any, size: Any, stride: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """Return the number of padded rows above and below, and of columns left and right."""
    if not isinstance(padding, str):
        down, across = check_per_axis(padding, 2, "padding", 0, FARTHEST)
        return down, down, across, across
    if padding not in ("valid", "same"):
        raise ValueError(f'padding must be numbers, "valid" or "same", got {padding!r}')
    if padding == "valid":
        return 0, 0, 0, 0
    if stride != (1, 1):
        raise ValueError(f'stride must be 1 with padding="same", got {stride}')
    zeros = [d * (int(k) - 1) for k, d in zip(size, dilation, strict=True)]
    return zeros[0] // 2, zeros[0] - zeros[0] // 2, zeros[1] // 2, zeros[1] - zeros[1] // 2
